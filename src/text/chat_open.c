/* A model's chat template: where folders and GGUF files keep it, and the tokens that it writes. */
#include <string.h>

#include "text/chat.h"

/* Where a program may stand, and the names of tokens. */
struct source {
    json_t *config;      /* tokenizer_config.json; NULL: none */
    char *file;          /* chat_template.jinja's text; NULL: none */
    const char *program; /* borrows; NULL: none */
    size_t n;
};

static void close_source(struct source *s)
{
    json_decref(s->config);
    um_free(s->file);
    *s = (struct source){0};
}

/* "chat_template": a text, or a list of {"name", "template"} of which "default" is taken. */
static void take_program(struct source *s, const json_t *value)
{
    const json_t *item;
    size_t i;
    if (json_is_string(value)) {
        s->program = json_string_value(value);
        s->n = json_string_length(value);
    }
    json_array_foreach (value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *program = json_object_get(item, "template");
        if (name && strcmp(name, "default") == 0 && json_is_string(program))
            take_program(s, program);
    }
}

/* The file of its own comes before the key, as in transformers. */
static enum um_status read_folder(struct source *s, const char *folder, struct um_error *err)
{
    char *config = um_path_join(folder, "tokenizer_config.json");
    char *file = um_path_join(folder, "chat_template.jinja");
    enum um_status status = UM_OK;
    if (!config || !file)
        UM_TRY(um_fail_memory(err, folder, strlen(folder)));
    if (um_path_exists(config))
        UM_TRY(um_json_load(&s->config, config, err));
    take_program(s, json_object_get(s->config, "chat_template"));
    if (um_path_exists(file)) {
        UM_TRY(um_file_read(&s->file, &s->n, file, err));
        s->program = s->file;
    }
out:
    um_free(config);
    um_free(file);
    return status;
}

static enum um_status read_source(struct source *s, const struct um_folder *folder,
                                  struct um_error *err)
{
    if (!folder->gguf)
        return read_folder(s, folder->path, err);
    const struct um_gguf_pair *pair = um_gguf_pair(folder->gguf, "tokenizer.chat_template");
    if (pair && pair->type == UM_GGUF_STRING) {
        s->program = pair->text;
        s->n = pair->n;
    }
    return UM_OK;
}

/* A token's text, by the key of its id, as a GGUF file has it. Owned; NULL: none, or no memory. */
static char *gguf_token(const struct um_gguf *gguf, const char *key)
{
    const struct um_gguf_pair *id = um_gguf_pair(gguf, key);
    const struct um_gguf_pair *tokens = um_gguf_pair(gguf, "tokenizer.ggml.tokens");
    bool is_there = id && id->type != UM_GGUF_STRING && id->type != UM_GGUF_ARRAY && tokens &&
                    tokens->type == UM_GGUF_ARRAY && tokens->element == UM_GGUF_STRING &&
                    id->integer >= 0 && (size_t)id->integer < tokens->n;
    return is_there ? um_strndup(tokens->strings[id->integer], tokens->lengths[id->integer])
                    : NULL;
}

/* "bos_token": a text, or an object with its "content". */
static const char *config_token(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* `other` stands in where the model names no token. */
static enum um_status find_token(char **token, const struct source *s,
                                 const struct um_folder *folder, const char *key,
                                 const char *gguf_key, const char *other, struct um_error *err)
{
    const char *own = config_token(s->config, key);
    *token = folder->gguf ? gguf_token(folder->gguf, gguf_key) : NULL;
    if (!*token)
        *token = um_strdup(own ? own : other);
    return *token ? UM_OK : um_fail_memory(err, key, 0);
}

static enum um_status use_named(struct um_chat *chat, const char *name, struct um_error *err)
{
    const struct um_chat_template *t = chat->template = um_chat_template_find(name);
    if (!t)
        return um_fail(err, UM_E_USAGE, "data.template: '%s' is not a chat template", name);
    chat->begins = t->begins;
    chat->takes_special = t->is_plain;
    return UM_OK;
}

static enum um_status use_own(struct um_chat *chat, const struct source *s, const char *path,
                              struct um_error *err)
{
    if (um_utf8_valid(s->program, s->n) != s->n)
        return um_fail(err, UM_E_INPUT, "'%s': the chat template is not UTF-8", path);
    enum um_status status = um_chat_recognise(chat, s->program, s->n, err);
    if (status != UM_OK)
        um_error_prefix(err, "'%s'", path);
    return status;
}

/* A program of the plain template says by itself whether it has one. */
static enum um_status add_default_system(struct um_chat *chat, bool is_own, struct um_error *err)
{
    const char *system = chat->template->default_system;
    if (chat->system || !system || (is_own && chat->template->is_plain))
        return UM_OK;
    chat->system = um_strdup(system);
    return chat->system ? UM_OK : um_fail_memory(err, "a chat template", strlen(system));
}

enum um_status um_chat_open(struct um_chat **chat, const struct um_folder *folder,
                            const char *name, const char *begin, const char *end,
                            struct um_error *err)
{
    struct source source = {0};
    bool is_own = strcmp(name, "model") == 0;
    enum um_status status;
    *chat = NULL;
    UM_TRY(read_source(&source, folder, err));
    if (is_own && !source.program)
        goto out;
    *chat = UM_NEW(1, struct um_chat);
    if (!*chat)
        UM_TRY(um_fail_memory(err, "a chat template", sizeof(**chat)));
    UM_TRY(is_own ? use_own(*chat, &source, folder->path, err) : use_named(*chat, name, err));
    UM_TRY(find_token(&(*chat)->bos, &source, folder, "bos_token", "tokenizer.ggml.bos_token_id",
                      begin ? begin : "", err));
    UM_TRY(find_token(&(*chat)->eos, &source, folder, "eos_token", "tokenizer.ggml.eos_token_id",
                      end ? end : "</s>", err));
    status = add_default_system(*chat, is_own, err);
out:
    close_source(&source);
    if (status != UM_OK) {
        um_chat_free(*chat);
        *chat = NULL;
    }
    return status;
}

const char *um_chat_end(const struct um_chat *chat)
{
    const char *close = chat->template->answer.close;
    return strstr(close, "{eos}") ? chat->eos : close;
}

void um_chat_free(struct um_chat *chat)
{
    if (!chat)
        return;
    um_free(chat->system);
    um_free(chat->bos);
    um_free(chat->eos);
    um_free(chat);
}
