/* Writing a conversation down by a template. */
#include "text/chat.h"

#include <string.h>

#include "text/unicode.h"

const char *const um_chat_role_names[UM_CHAT_N_ROLES] = {"system", "user", "assistant"};

struct writer {
    const struct um_chat *chat;
    um_chat_piece_fn *piece;
    void *user;
};

/* ---- white space */

/* What Python's str.isspace() holds for one: White_Space and the four separators. */
static bool is_space(uint32_t c)
{
    return um_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

static void trim_end(struct um_chat_message *m)
{
    size_t length;
    while (m->n > 0) {
        size_t start = um_utf8_before(m->text, m->n);
        if (!is_space(um_utf8_decode(&length, m->text + start)))
            break;
        m->n = start;
    }
}

static void trim(struct um_chat_message *m)
{
    size_t length;
    while (m->n > 0 && is_space(um_utf8_decode(&length, m->text))) {
        m->text += length;
        m->n -= length;
    }
    trim_end(m);
}

static void trim_newlines(struct um_chat_message *m)
{
    for (; m->n > 0 && m->text[0] == '\n'; m->n--)
        m->text++;
    while (m->n > 0 && m->text[m->n - 1] == '\n')
        m->n--;
}

/* ---- order */

static enum um_status fail_order(size_t i, enum um_chat_role found, enum um_chat_role expected,
                                 struct um_error *err)
{
    um_fail(err, UM_E_INPUT, "message %zu is of role '%s' where '%s' must stand", i + 1,
            um_chat_role_names[found], um_chat_role_names[expected]);
    um_error_hint(err, "a conversation is an optional system message, then user and assistant in "
                       "turns; join messages of one role");
    return UM_E_INPUT;
}

static enum um_status check_message(const struct um_chat_message *message, size_t i,
                                    struct um_error *err)
{
    struct um_chat_message m = *message;
    trim(&m);
    if (m.n > 0)
        return UM_OK;
    if (m.role == UM_CHAT_ASSISTANT)
        return um_fail(err, UM_E_INPUT, "message %zu (assistant) is empty: nothing to learn",
                       i + 1);
    return um_fail(err, UM_E_INPUT, "message %zu (%s) is empty", i + 1, um_chat_role_names[m.role]);
}

static enum um_status check_order(const struct um_chat *chat, const struct um_chat_message *m,
                                  size_t n, bool is_prompt, struct um_error *err)
{
    size_t first = n > 0 && m[0].role == UM_CHAT_SYSTEM;
    if (n == first)
        return um_fail(err, UM_E_INPUT, "a conversation without messages");
    if (first && chat->template->place == UM_CHAT_NOWHERE) {
        um_fail(err, UM_E_INPUT, "message 1 is of role 'system', which template '%s' does not have",
                chat->template->name);
        um_error_hint(err, "put its text in front of the first user message");
        return UM_E_INPUT;
    }
    for (size_t i = first; i < n; i++) {
        enum um_chat_role expected = (i - first) % 2 ? UM_CHAT_ASSISTANT : UM_CHAT_USER;
        if (m[i].role != expected)
            return fail_order(i, m[i].role, expected, err);
        UM_RETURN_IF(check_message(&m[i], i, err));
    }
    enum um_chat_role last = is_prompt ? UM_CHAT_USER : UM_CHAT_ASSISTANT;
    if (m[n - 1].role == last)
        return UM_OK;
    um_fail(err, UM_E_INPUT, "the last message is of role '%s', not '%s'",
            um_chat_role_names[m[n - 1].role], um_chat_role_names[last]);
    um_error_hint(err, is_prompt ? "only a user message can be answered"
                                 : "what is learnt is what the assistant says, so it speaks last");
    return UM_E_INPUT;
}

/* ---- writing */

static void put(const struct writer *w, const char *text, size_t n, bool is_learnt)
{
    if (n)
        w->piece(w->user, text, n, is_learnt);
}

/* A frame's text, with the model's tokens in their places. */
static void put_frame(const struct writer *w, const char *text, bool is_learnt)
{
    for (const char *brace; (brace = strchr(text, '{')); text = brace + 5) {
        const char *token = strncmp(brace, "{bos}", 5) == 0 ? w->chat->bos : w->chat->eos;
        put(w, text, (size_t)(brace - text), is_learnt);
        put(w, token, strlen(token), is_learnt);
    }
    put(w, text, strlen(text), is_learnt);
}

static void put_system(const struct writer *w, const struct um_chat_message *system)
{
    struct um_chat_message m = *system;
    if (w->chat->template->place == UM_CHAT_OWN_TURN &&
        w->chat->template->trim != UM_CHAT_KEPT)
        trim(&m);
    put_frame(w, w->chat->template->system.open, false);
    put(w, m.text, m.n, false);
    put_frame(w, w->chat->template->system.close, false);
}

/* `system` is NULL unless it goes into this message. */
static void put_user(const struct writer *w, struct um_chat_message m,
                     const struct um_chat_message *system)
{
    const struct um_chat_template *t = w->chat->template;
    put_frame(w, t->user.open, false);
    if (system)
        put_system(w, system);
    if (system && t->trim == UM_CHAT_TRIMMED_JOINED)
        trim_end(&m);
    else if (t->trim != UM_CHAT_KEPT)
        trim(&m);
    put(w, m.text, m.n, false);
    put_frame(w, t->user.close, false);
}

/* The last place of `text` in a message, NULL if there is none. */
static const char *find_last(const struct um_chat_message *m, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = m->n + 1 < n ? 0 : m->n + 1 - n; i > 0; i--)
        if (memcmp(m->text + i - 1, text, n) == 0)
            return m->text + i - 1;
    return NULL;
}

/* The first place, likewise. */
static const char *find_first(const struct um_chat_message *m, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= m->n; i++)
        if (memcmp(m->text + i, text, n) == 0)
            return m->text + i;
    return NULL;
}

/* An answer that may open with thoughts, which are written in the last answer only. */
static void put_thoughts(const struct writer *w, struct um_chat_message *m, bool is_last)
{
    static const char begin[] = "<think>", end[] = "</think>";
    struct um_chat_message thought = {.text = m->text};
    const char *close = find_last(m, end);
    if (close) {
        const char *text_end = m->text + m->n, *open;
        thought.n = (size_t)(find_first(m, end) - m->text);
        while (thought.n > 0 && thought.text[thought.n - 1] == '\n')
            thought.n--;
        if ((open = find_last(&thought, begin))) {
            thought.n -= (size_t)(open - thought.text) + strlen(begin);
            thought.text = open + strlen(begin);
        }
        m->text = close + strlen(end);
        m->n = (size_t)(text_end - m->text);
    }
    trim_newlines(&thought);
    for (; (close || is_last) && m->n > 0 && m->text[0] == '\n'; m->n--)
        m->text++;
    if (!is_last)
        return;
    put_frame(w, "<think>\n", true);
    put(w, thought.text, thought.n, true);
    put_frame(w, "\n</think>\n\n", true);
}

static void put_answer(const struct writer *w, struct um_chat_message m, bool is_last)
{
    const struct um_chat_template *t = w->chat->template;
    put_frame(w, t->prompt, false);
    put_frame(w, t->answer.open, true);
    if (t->has_thoughts)
        put_thoughts(w, &m, is_last);
    if (t->trim != UM_CHAT_KEPT)
        trim(&m);
    put(w, m.text, m.n, true);
    put_frame(w, t->answer.close, true);
    put_frame(w, t->gap, false);
}

enum um_status um_chat_write(const struct um_chat *chat, const struct um_chat_message *messages,
                             size_t n, bool is_prompt, um_chat_piece_fn *piece, void *user,
                             struct um_error *err)
{
    const struct writer w = {chat, piece, user};
    enum um_chat_place place = chat->template->place;
    struct um_chat_message own = {UM_CHAT_SYSTEM, chat->system, 0};
    const struct um_chat_message *system = NULL;
    UM_RETURN_IF(check_order(chat, messages, n, is_prompt, err));
    size_t first = messages[0].role == UM_CHAT_SYSTEM, last_user = n - (is_prompt ? 1 : 2);
    if (first) {
        system = messages;
    } else if (own.text) {
        own.n = strlen(own.text);
        system = &own;
    }
    if (chat->begins)
        put_frame(&w, "{bos}", false);
    if (system && place == UM_CHAT_OWN_TURN)
        put_system(&w, system);
    size_t with_system = place == UM_CHAT_FIRST_USER  ? first
                         : place == UM_CHAT_LAST_USER ? last_user
                                                      : n;
    for (size_t i = first; i < n; i++) {
        if (messages[i].role == UM_CHAT_USER)
            put_user(&w, messages[i], i == with_system ? system : NULL);
        else
            put_answer(&w, messages[i], i == n - 1);
    }
    if (is_prompt)
        put_frame(&w, chat->template->prompt, false);
    return UM_OK;
}
