/*
 * Recognising chat templates: a program in the Jinja language is brought into a canonical form, in
 * which differences of layout are gone, and compared with the marks of the table's descriptors.
 *
 * transformers runs these programs with trim_blocks and lstrip_blocks: the line's end behind a
 * statement and the white space before one are no text; nor is white space beside a tag's dash.
 */
#include <ctype.h>
#include <string.h>

#include "text/chat.h"

struct scanner {
    struct um_str *out;
    const char *at, *end;
};

static bool is_at(const struct scanner *s, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(s->end - s->at) >= n && memcmp(s->at, text, n) == 0;
}

/* A string literal, which begins here: into single quotes, one behind a plus joined to the one
 * before. False if it does not end. */
static bool scan_literal(struct scanner *s)
{
    char quote = *s->at++;
    struct um_str *out = s->out;
    if (out->length >= 2 && memcmp(out->text + out->length - 2, "'+", 2) == 0) {
        out->length -= 2;
        out->text[out->length] = '\0';
    } else {
        um_str_add(out, "'");
    }
    for (; s->at < s->end && *s->at != quote; s->at++) {
        if (*s->at == '\\' && s->at + 1 < s->end) {
            bool is_quote = s->at[1] == '"';
            um_str_add_n(out, s->at + is_quote, is_quote ? 1 : 2);
            s->at++;
        } else if (*s->at == '\n') {
            um_str_add(out, "\\n");
        } else if (*s->at == '\'') {
            um_str_add(out, "\\'");
        } else {
            um_str_add_n(out, s->at, 1);
        }
    }
    um_str_add(out, "'");
    return s->at++ < s->end;
}

/* A member by its name in brackets, ['x'] or ["x"], as .x; false if none begins here. */
static bool scan_member(struct scanner *s)
{
    if (!is_at(s, "['") && !is_at(s, "[\""))
        return false;
    const char *name = s->at + 2, *p = name;
    while (p < s->end && (isalnum((unsigned char)*p) || *p == '_'))
        p++;
    if (p == name || s->end - p < 2 || p[0] != s->at[1] || p[1] != ']')
        return false;
    um_str_add(s->out, ".");
    um_str_add_n(s->out, name, (size_t)(p - name));
    s->at = p + 2;
    return true;
}

/* The inside of a tag, up to and with its closing pair; false if it does not end. */
static bool scan_tag(struct scanner *s, const char *close)
{
    while (s->at < s->end) {
        if (*s->at == '-' && s->end - s->at > 2 && memcmp(s->at + 1, close, 2) == 0)
            s->at++;
        if (is_at(s, close)) {
            um_str_add_n(s->out, close, 2);
            s->at += 2;
            return true;
        }
        if (*s->at == '\'' || *s->at == '"') {
            if (!scan_literal(s))
                return false;
        } else if (isspace((unsigned char)*s->at)) {
            s->at++;
        } else if (!scan_member(s)) {
            um_str_add_n(s->out, s->at++, 1);
        }
    }
    return false;
}

static bool scan_comment(struct scanner *s)
{
    for (; s->at < s->end; s->at++) {
        if (is_at(s, "#}")) {
            s->at += 2;
            return true;
        }
    }
    return false;
}

/* A tag beside a text. */
struct side {
    char kind; /* '%', '{', '#'; '\0': the program's start or end */
    bool has_dash; /* on the text's side */
};

/* Whether the text between two tags, text[0..n), comes to nothing. */
static bool is_nothing(const char *text, size_t n, struct side before, struct side behind)
{
    size_t start = 0;
    for (size_t i = 0; i < n; i++)
        if (!isspace((unsigned char)text[i]))
            return false;
    if (before.has_dash || behind.has_dash)
        return true;
    if ((before.kind == '%' || before.kind == '#') && n > 0 && text[0] == '\n')
        start = 1; /* trim_blocks */
    if (behind.kind == '%' || behind.kind == '#')
        while (n > start && text[n - 1] != '\n')
            n--; /* lstrip_blocks */
    if (behind.kind == '\0' && n > start && text[n - 1] == '\n')
        n--; /* the program's last line end is dropped */
    return n == start;
}

bool um_chat_canonical(struct um_str *out, const char *program, size_t n)
{
    struct scanner s = {out, program, program + n};
    struct side before = {'\0', false};
    while (s.at < s.end) {
        const char *text = s.at;
        while (s.at < s.end && !is_at(&s, "{%") && !is_at(&s, "{{") && !is_at(&s, "{#"))
            s.at++;
        size_t n_text = (size_t)(s.at - text);
        char kind = s.at < s.end ? s.at[1] : '\0';
        bool has_dash = s.end - s.at > 2 && s.at[2] == '-';
        if (!is_nothing(text, n_text, before, (struct side){kind, has_dash}))
            return false;
        if (kind == '\0')
            break;
        s.at += 2 + has_dash;
        if (kind != '#')
            um_str_add(out, kind == '%' ? "{%" : "{{");
        if (kind == '#' ? !scan_comment(&s) : !scan_tag(&s, kind == '%' ? "%}" : "}}"))
            return false;
        before = (struct side){kind, s.at[-3] == '-'};
    }
    return !out->failed;
}

/* A frame's text as it stands in a canonical literal. */
static void add_escaped(struct um_str *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            um_str_add(out, "\\n");
        else
            um_str_add_n(out, text, 1);
    }
}

/* The text of a canonical literal's inside. Owned; NULL when out of memory. */
static char *unescape(const char *text, size_t n)
{
    char *out = um_alloc(n + 1), *to = out;
    for (size_t i = 0; out && i < n; i++) {
        bool is_escape = text[i] == '\\' && i + 1 < n;
        char c = text[i += is_escape];
        *to++ = !is_escape ? c : c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    if (out)
        *to = '\0';
    return out;
}

/* The system message that a program writes by itself: a literal of a whole turn. */
static enum um_status find_system(struct um_chat *chat, const char *canonical,
                                  struct um_error *err)
{
    struct um_str open = {0}, close = {0};
    enum um_status status = UM_OK;
    um_str_add(&open, "'");
    add_escaped(&open, chat->template->system.open);
    add_escaped(&close, chat->template->system.close);
    um_str_add(&close, "'");
    if (open.failed || close.failed)
        UM_TRY(um_fail_memory(err, "a chat template", open.length));
    for (const char *p = canonical; !chat->system && (p = strstr(p, open.text));) {
        p += open.length;
        const char *end = strstr(p, close.text), *quote = p;
        while (*quote && *quote != '\'')
            quote += *quote == '\\' && quote[1] ? 2 : 1;
        if (!end || end + close.length - 1 != quote)
            continue; /* another literal ends so */
        chat->system = unescape(p, (size_t)(end - p));
        if (!chat->system)
            UM_TRY(um_fail_memory(err, "a chat template", (size_t)(end - p)));
    }
out:
    um_str_free(&open);
    um_str_free(&close);
    return status;
}

static bool matches(const struct um_chat_template *t, const char *canonical)
{
    for (int i = 0; i < UM_CHAT_MARKS && t->marks[i]; i++)
        if (!strstr(canonical, t->marks[i]))
            return false;
    for (int i = 0; i < UM_CHAT_MARKS && t->foreign[i]; i++)
        if (strstr(canonical, t->foreign[i]))
            return false;
    return t->marks[0] != NULL;
}

static enum um_status fail_unknown(struct um_error *err)
{
    struct um_str names = {0};
    for (size_t i = 0; i < um_n_chat_templates; i++)
        um_str_add_item(&names, um_chat_templates[i]->name);
    um_fail(err, UM_E_INPUT, "the model's chat template is not one of those known");
    um_error_hint(err, "name the one that it is like, by data.template (--template): %s",
                  names.text ? names.text : "");
    um_str_free(&names);
    return UM_E_INPUT;
}

enum um_status um_chat_recognise(struct um_chat *chat, const char *program, size_t n,
                                 struct um_error *err)
{
    struct um_str canonical = {0};
    enum um_status status;
    bool is_whole = um_chat_canonical(&canonical, program, n);
    if (canonical.failed)
        UM_TRY(um_fail_memory(err, "a chat template", n));
    chat->template = NULL;
    for (size_t i = 0; is_whole && canonical.text && i < um_n_chat_templates; i++)
        if (!chat->template && matches(um_chat_templates[i], canonical.text))
            chat->template = um_chat_templates[i];
    if (!chat->template)
        UM_TRY(fail_unknown(err));
    chat->begins = chat->template->begins || (!strstr(chat->template->user.open, "{bos}") &&
                                              strstr(canonical.text, "{{bos_token"));
    status = *chat->template->system.open && chat->template->place == UM_CHAT_OWN_TURN
                 ? find_system(chat, canonical.text, err)
                 : UM_OK;
out:
    um_str_free(&canonical);
    return status;
}
