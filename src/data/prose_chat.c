/* Rows as conversations: a JSON array of messages, or an instruction and its answer as two of
 * them. */
#include <string.h>

#include "base/json.h"
#include "data/prose.h"

/* Where pieces of a conversation go. */
struct target {
    struct um_prose *prose;
    bool learns_all;
};

static void add_piece(void *user, const char *text, size_t n, bool is_learnt)
{
    const struct target *target = user;
    um_prose_add(target->prose, text, n, is_learnt || target->learns_all);
}

enum um_status um_prose_write_chat(struct um_prose *prose, const struct um_chat *chat,
                                   const struct um_chat_message *messages, size_t n,
                                   bool learns_all, bool is_prompt, struct um_error *err)
{
    struct target target = {prose, learns_all};
    prose->takes_special = chat->takes_special;
    return um_chat_write(chat, messages, n, is_prompt, add_piece, &target, err);
}

/* A member of message i that must be a text. */
static enum um_status read_text(const char **text, size_t *n, const json_t *message,
                                const char *key, size_t i, struct um_error *err)
{
    const json_t *value = json_object_get(message, key);
    if (json_is_string(value)) {
        *text = json_string_value(value);
        *n = json_string_length(value);
        return UM_OK;
    }
    um_fail(err, UM_E_INPUT, value ? "message %zu: '%s' is not a text" : "message %zu has no '%s'",
            i + 1, key);
    um_error_hint(err, "each message is {\"role\": ..., \"content\": ...}, both texts");
    return UM_E_INPUT;
}

static enum um_status read_message(struct um_chat_message *m, const json_t *json, size_t i,
                                   struct um_error *err)
{
    const char *role;
    size_t n;
    if (!json_is_object(json))
        return um_fail(err, UM_E_INPUT, "message %zu is not an object", i + 1);
    UM_RETURN_IF(read_text(&role, &n, json, "role", i, err));
    UM_RETURN_IF(read_text(&m->text, &m->n, json, "content", i, err));
    for (int r = 0; r < UM_CHAT_N_ROLES; r++) {
        if (strcmp(um_chat_role_names[r], role) == 0) {
            m->role = (enum um_chat_role)r;
            return UM_OK;
        }
    }
    return um_fail(err, UM_E_INPUT,
                   "message %zu is of role '%.40s', which is none of system, user, assistant",
                   i + 1, role);
}

static enum um_status write_messages(struct um_prose *prose, const json_t *list,
                                     const struct um_prose_options *o, bool is_prompt,
                                     struct um_error *err)
{
    size_t n = json_array_size(list);
    struct um_chat_message *messages = UM_NEW(n, struct um_chat_message);
    enum um_status status;
    if (!messages)
        UM_TRY(um_fail_memory(err, "a conversation", n * sizeof(*messages)));
    for (size_t i = 0; i < n; i++)
        UM_TRY(read_message(&messages[i], json_array_get(list, i), i, err));
    if (is_prompt && n > 0 && messages[n - 1].role == UM_CHAT_ASSISTANT)
        n--;
    status = um_prose_write_chat(prose, o->chat, messages, n, o->learns_all, is_prompt, err);
out:
    um_free(messages);
    return status;
}

static enum um_status render_messages(struct um_prose *prose, const struct um_row *row,
                                      const struct um_prose_options *o, bool is_prompt,
                                      struct um_error *err)
{
    json_error_t fault;
    json_t *list = json_loadb(row->text, row->n_text, 0, &fault);
    enum um_status status;
    if (!list && json_error_code(&fault) == json_error_out_of_memory)
        return um_fail_memory(err, "a conversation", row->n_text);
    if (json_is_array(list)) {
        status = write_messages(prose, list, o, is_prompt, err);
    } else {
        status = um_fail(err, UM_E_INPUT, "the messages are not a JSON array");
        um_error_hint(err, "a conversation is [{\"role\": \"user\", \"content\": ...}, ...]; "
                           "data.text names its column");
    }
    json_decref(list);
    return status;
}

/* An instruction, its input a paragraph of its own, and the answer. */
static enum um_status render_record(struct um_prose *prose, const struct um_row *row,
                                    const struct um_prose_options *o, bool is_prompt,
                                    struct um_error *err)
{
    struct um_str joined = {0};
    struct um_chat_message messages[] = {{UM_CHAT_USER, row->text, row->n_text},
                                         {UM_CHAT_ASSISTANT, row->completion, row->n_completion}};
    enum um_status status;
    if (row->pair) {
        um_str_add_n(&joined, row->text, row->n_text);
        um_str_add(&joined, "\n\n");
        um_str_add_n(&joined, row->pair, row->n_pair);
        if (joined.failed)
            UM_TRY(um_fail_memory(err, "a record", joined.length));
        messages[0].text = joined.text;
        messages[0].n = joined.length;
    }
    status = um_prose_write_chat(prose, o->chat, messages, is_prompt ? 1 : 2, o->learns_all,
                                 is_prompt, err);
out:
    um_str_free(&joined);
    return status;
}

enum um_status um_prose_render_chat(struct um_prose *prose, const struct um_row *row,
                                    const struct um_prose_options *o, bool is_prompt,
                                    struct um_error *err)
{
    return (o->style == UM_STYLE_CHAT ? render_messages : render_record)(prose, row, o, is_prompt,
                                                                         err);
}
