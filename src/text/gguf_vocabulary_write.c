/* From tokenizer.json to a GGUF file's metadata, as llama.cpp's converter has it. */
#include <stdio.h>
#include <string.h>

#include "text/gguf_vocabulary.h"
#include "text/load_private.h"
#include "text/vocab.h"

struct writer {
    struct um_gguf_writer *w;
    json_t *tokenizer, *settings; /* tokenizer.json; tokenizer_config.json or NULL */
    const json_t *model_config;
    const char *path;             /* of tokenizer.json */
    int64_t n;                    /* tokens to write */
    const char **texts;           /* of each id; borrowed or of the arena */
    size_t *lengths;
    int32_t *types;
    struct um_arena arena;
};

static const json_t *get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static bool is_type(const json_t *component, const char *type)
{
    const char *name = json_string_value(get(component, "type"));
    return name && strcmp(name, type) == 0;
}

/* The part of that type of a normalizer, pre-tokenizer and so on: itself, or one of a sequence. */
static const json_t *part_of(const json_t *component, const char *list, const char *type)
{
    const json_t *parts = get(component, list);
    for (size_t i = 0; is_type(component, "Sequence") && i < json_array_size(parts); i++)
        if (is_type(json_array_get(parts, i), type))
            return json_array_get(parts, i);
    return is_type(component, type) ? component : NULL;
}

static enum um_status fail(const struct writer *r, const char *what, struct um_error *err)
{
    um_fail(err, UM_E_USAGE, "cannot say the tokenizer of '%s' in a GGUF file: %s", r->path, what);
    um_error_hint(err, "merge into a folder, and let llama.cpp's converter try");
    return UM_E_USAGE;
}

/* ---- tokens */

static void put_token(struct writer *r, int64_t id, const char *text, size_t n, int32_t type)
{
    if (id < 0 || id >= r->n)
        return; /* more tokens than the table of words has rows: they cannot be used */
    r->texts[id] = text;
    r->lengths[id] = n;
    r->types[id] = type;
}

static bool is_byte(const char *text, size_t n)
{
    return n == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
}

/* SentencePiece's mark of a space as a space, which is how llama.cpp has added tokens. */
static const char *with_spaces(struct writer *r, const char *text, size_t *n)
{
    static const char mark[] = "\xe2\x96\x81";
    struct um_str s = {0};
    for (size_t i = 0; i < *n;) {
        bool is_mark = *n - i >= 3 && memcmp(text + i, mark, 3) == 0;
        um_str_add_n(&s, is_mark ? " " : text + i, 1);
        i += is_mark ? 3 : 1;
    }
    const char *copy =
        s.failed ? NULL : um_arena_strndup(&r->arena, s.text ? s.text : "", s.length);
    *n = s.length;
    um_str_free(&s);
    return copy;
}

static enum um_status collect_added(struct writer *r, bool is_pieces, struct um_error *err)
{
    const char *unknown = json_string_value(get(get(r->tokenizer, "model"), "unk_token"));
    const json_t *added = get(r->tokenizer, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *text = json_string_value(get(token, "content"));
        size_t n = json_string_length(get(token, "content"));
        bool is_special = json_is_true(get(token, "special"));
        if (!text || !json_is_integer(get(token, "id")))
            return um_fail(err, UM_E_INPUT,
                           "cannot load '%s': added token %zu has no id or content", r->path, i);
        bool is_unknown = is_pieces && unknown && strcmp(text, unknown) == 0;
        if (is_pieces && !is_special)
            text = with_spaces(r, text, &n);
        if (!text)
            return um_fail_memory(err, r->path, n);
        put_token(r, json_integer_value(get(token, "id")), text, n,
                  is_unknown   ? UM_TOKEN_UNKNOWN
                  : is_special ? UM_TOKEN_CONTROL
                               : UM_TOKEN_USER_DEFINED);
    }
    return UM_OK;
}

static enum um_status collect_tokens(struct writer *r, bool is_pieces, struct um_error *err)
{
    json_t *vocab = json_object_get(json_object_get(r->tokenizer, "model"), "vocab"), *id;
    const char *text;
    r->texts = UM_ARENA_NEW(&r->arena, r->n, const char *);
    r->lengths = UM_ARENA_NEW(&r->arena, r->n, size_t);
    r->types = UM_ARENA_NEW(&r->arena, r->n, int32_t);
    if (!r->texts || !r->lengths || !r->types)
        return um_fail_memory(err, r->path, (size_t)r->n * 20);
    json_object_foreach (vocab, text, id) {
        size_t n = strlen(text);
        put_token(r, json_is_integer(id) ? json_integer_value(id) : -1, text, n,
                  is_pieces && is_byte(text, n) ? UM_TOKEN_BYTE : UM_TOKEN_NORMAL);
    }
    UM_RETURN_IF(collect_added(r, is_pieces, err));
    for (int64_t i = 0; i < r->n; i++) {
        char name[32];
        if (r->texts[i])
            continue;
        int n = snprintf(name, sizeof(name), "[PAD%lld]", (long long)i);
        const char *copy = um_arena_strdup(&r->arena, name);
        if (!copy)
            return um_fail_memory(err, r->path, sizeof(name));
        put_token(r, i, copy, (size_t)n, UM_TOKEN_UNUSED);
    }
    return UM_OK;
}

/* ---- merges, scores */

/* Both parts of a merge: "a b", or ["a", "b"]. */
static bool read_merge(const json_t *merge, const char *parts[2], size_t lengths[2])
{
    const char *text = json_string_value(merge);
    if (text) {
        const char *space = strchr(text, ' ');
        parts[0] = text;
        lengths[0] = space ? (size_t)(space - text) : 0;
        parts[1] = space ? space + 1 : NULL;
        lengths[1] = space ? json_string_length(merge) - lengths[0] - 1 : 0;
        return space != NULL;
    }
    for (size_t i = 0; i < 2; i++) {
        parts[i] = json_string_value(json_array_get(merge, i));
        lengths[i] = json_string_length(json_array_get(merge, i));
    }
    return parts[0] && parts[1];
}

/* "a b" in one string. A space within a part is written as U+0120, 256 further, as in ggml. */
static enum um_status declare_merges(struct writer *r, struct um_error *err)
{
    const json_t *merges = get(get(r->tokenizer, "model"), "merges");
    size_t n = json_array_size(merges);
    const char **texts = UM_ARENA_NEW(&r->arena, n, const char *);
    size_t *lengths = UM_ARENA_NEW(&r->arena, n, size_t);
    struct um_str s = {0};
    enum um_status status = UM_OK;
    if (!texts || !lengths)
        return um_fail_memory(err, r->path, n * sizeof(*texts));
    for (size_t i = 0; i < n; i++) {
        const char *parts[2];
        size_t part_lengths[2];
        if (!read_merge(json_array_get(merges, i), parts, part_lengths))
            UM_TRY(
                um_fail(err, UM_E_INPUT, "cannot load '%s': merge %zu is not a pair", r->path, i));
        um_str_clear(&s);
        for (size_t p = 0; p < 2; p++) {
            um_str_add(&s, p ? " " : "");
            for (size_t k = 0; k < part_lengths[p]; k++)
                um_str_add_n(&s, parts[p][k] == ' ' ? "\xc4\xa0" : parts[p] + k,
                             parts[p][k] == ' ' ? 2 : 1);
        }
        texts[i] = s.failed ? NULL : um_arena_strndup(&r->arena, s.text, s.length);
        lengths[i] = s.length;
        if (!texts[i])
            UM_TRY(um_fail_memory(err, r->path, s.length));
    }
    um_gguf_declare_texts(r->w, "tokenizer.ggml.merges", texts, lengths, n);
out:
    um_str_free(&s);
    return status;
}

/* SentencePiece merges two pieces whose whole has the best score: minus the place of the first
 * merge that makes it. What no merge makes comes last. */
static enum um_status declare_scores(struct writer *r, struct um_error *err)
{
    const json_t *merges = get(get(r->tokenizer, "model"), "merges");
    float *scores = UM_ARENA_NEW(&r->arena, r->n, float);
    struct um_vocab vocab = {0};
    struct um_str whole = {0};
    enum um_status status = UM_OK;
    if (!scores)
        return um_fail_memory(err, r->path, (size_t)r->n * sizeof(float));
    for (int64_t i = 0; i < r->n; i++) {
        bool is_normal = r->types[i] == UM_TOKEN_NORMAL;
        scores[i] = is_normal ? -1e6F : 0;
        if (is_normal && !um_vocab_add(&vocab, r->texts[i], r->lengths[i], (int32_t)i))
            UM_TRY(um_fail_memory(err, r->path, r->lengths[i]));
    }
    for (size_t i = json_array_size(merges); i-- > 0;) {
        const char *parts[2];
        size_t lengths[2];
        if (!read_merge(json_array_get(merges, i), parts, lengths))
            UM_TRY(
                um_fail(err, UM_E_INPUT, "cannot load '%s': merge %zu is not a pair", r->path, i));
        um_str_clear(&whole);
        um_str_add_n(&whole, parts[0], lengths[0]);
        um_str_add_n(&whole, parts[1], lengths[1]);
        if (whole.failed)
            UM_TRY(um_fail_memory(err, r->path, lengths[0] + lengths[1]));
        int32_t id = um_vocab_find(&vocab, whole.text, whole.length);
        if (id >= 0)
            scores[id] = -(float)i;
    }
    um_gguf_declare_f32s(r->w, "tokenizer.ggml.scores", scores, (size_t)r->n);
out:
    um_vocab_free(&vocab);
    um_str_free(&whole);
    return status;
}

/* ---- how text is cut */

/* One name of each way to cut text. */
static const char *const cut_names[] = {"gpt-2", "smollm", "llama-bpe", "dbrx",  "qwen2",
                                        "stablelm2", "qwen35", "tekken", "gpt-4o"};

static enum um_status declare_pre_tokenizer(struct writer *r, struct um_error *err)
{
    const json_t *pre = get(r->tokenizer, "pre_tokenizer");
    const json_t *split = part_of(pre, "pretokenizers", "Split");
    const json_t *bytes = part_of(pre, "pretokenizers", "ByteLevel");
    const json_t *digits = part_of(pre, "pretokenizers", "Digits");
    const char *pattern = json_string_value(get(get(split, "pattern"), "Regex"));
    bool by_pattern = split && pattern && json_is_false(get(bytes, "use_regex"));
    bool digits_apart = digits && json_is_true(get(digits, "individual_digits"));
    bool composes = part_of(get(r->tokenizer, "normalizer"), "normalizers", "NFC") != NULL;
    bool ignores_merges = json_is_true(get(get(r->tokenizer, "model"), "ignore_merges"));
    bool is_whole = bytes && digits_apart == (digits != NULL) &&
                    json_array_size(get(pre, "pretokenizers")) <=
                        (size_t)(1 + (split != NULL) + (digits != NULL));
    for (size_t i = 0; is_whole && i < UM_COUNT(cut_names); i++) {
        const char *name = cut_names[i];
        const struct um_gguf_cut *cut;
        UM_RETURN_IF(um_gguf_cut_find(&cut, name, strlen(name), r->path, err));
        bool fits = cut->pattern ? by_pattern && strcmp(cut->pattern, pattern) == 0
                                 : !split && !json_is_false(get(bytes, "use_regex"));
        if (!fits || cut->digits_apart != digits_apart || cut->composes != composes ||
            cut->ignores_merges != ignores_merges)
            continue;
        um_gguf_declare_text(r->w, "tokenizer.ggml.pre", name, strlen(name));
        return UM_OK;
    }
    return fail(r, "its pre-tokenizer is none that this program knows a name of", err);
}

/* ---- special tokens */

static int64_t id_of(const struct writer *r, const char *text)
{
    size_t n = strlen(text);
    for (int64_t i = 0; i < r->n; i++)
        if (r->lengths[i] == n && memcmp(r->texts[i], text, n) == 0)
            return i;
    return -1;
}

/* By its text in tokenizer_config.json, else by number in config.json; -1: none. */
static int64_t special_id(const struct writer *r, const char *setting, const char *key)
{
    const json_t *token = get(r->settings, setting), *id = get(r->model_config, key);
    const char *text = json_string_value(json_is_object(token) ? get(token, "content") : token);
    int64_t number = text ? id_of(r, text) : -1;
    if (number < 0 && json_is_array(id))
        id = json_array_get(id, 0);
    if (number < 0 && json_is_integer(id))
        number = json_integer_value(id);
    return number < r->n ? number : -1;
}

/* Whether the template of a single text has the token before (or after) it; what
 * tokenizer_config.json says if there is none. */
static bool adds(const struct writer *r, int64_t token, bool at_start, const char *setting)
{
    const json_t *post = get(r->tokenizer, "post_processor");
    const json_t *template = part_of(post, "processors", "TemplateProcessing");
    const json_t *single = get(template, "single");
    size_t n = json_array_size(single);
    const json_t *item = json_array_get(single, at_start ? 0 : n - 1);
    const char *text = json_string_value(get(get(item, "SpecialToken"), "id"));
    if (!template)
        return json_is_true(get(r->settings, setting));
    return n > 0 && text && token >= 0 && id_of(r, text) == token;
}

static void declare_special(struct writer *r)
{
    static const struct {
        const char *setting, *key, *pair;
    } kinds[] = {{"bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"},
                 {"eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"},
                 {"unk_token", "unk_token_id", "tokenizer.ggml.unknown_token_id"},
                 {"pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"}};
    int64_t ids[UM_COUNT(kinds)];
    for (size_t i = 0; i < UM_COUNT(kinds); i++) {
        ids[i] = special_id(r, kinds[i].setting, kinds[i].key);
        if (ids[i] >= 0)
            um_gguf_declare_u32(r->w, kinds[i].pair, (uint32_t)ids[i]);
    }
    um_gguf_declare_bool(r->w, "tokenizer.ggml.add_bos_token",
                         adds(r, ids[0], true, "add_bos_token"));
    um_gguf_declare_bool(r->w, "tokenizer.ggml.add_eos_token",
                         adds(r, ids[1], false, "add_eos_token"));
}

/* In a file of its own, as transformers has it before tokenizer_config.json's (one, or several of
 * which "default" counts). */
static enum um_status declare_template(struct writer *r, const char *folder, struct um_error *err)
{
    const json_t *template = get(r->settings, "chat_template");
    char *path = um_path_join(folder, "chat_template.jinja"), *text = NULL;
    size_t n;
    enum um_status status = path ? UM_OK : um_fail_memory(err, folder, 0);
    for (size_t i = 0; json_is_array(template) && i < json_array_size(template); i++) {
        const json_t *one = json_array_get(template, i);
        const char *name = json_string_value(get(one, "name"));
        if (name && strcmp(name, "default") == 0)
            template = get(one, "template");
    }
    if (status == UM_OK && um_path_exists(path)) {
        status = um_file_read(&text, &n, path, err);
        if (status == UM_OK)
            um_gguf_declare_text(r->w, "tokenizer.chat_template", text, n);
    } else if (json_is_string(template)) {
        um_gguf_declare_text(r->w, "tokenizer.chat_template", json_string_value(template),
                             json_string_length(template));
    }
    um_free(text);
    um_free(path);
    return status;
}

/* ---- all */

static enum um_status declare(struct writer *r, const char *folder, struct um_error *err)
{
    const json_t *model = get(r->tokenizer, "model");
    bool is_pieces = json_is_true(get(model, "byte_fallback"));
    const char *kind = is_pieces ? "llama" : "gpt2";
    if (model && get(model, "type") && !is_type(model, "BPE"))
        return fail(r, "it is none of pairs of bytes (BPE)", err);
    um_gguf_declare_text(r->w, "tokenizer.ggml.model", kind, strlen(kind));
    UM_RETURN_IF(collect_tokens(r, is_pieces, err));
    if (is_pieces) {
        const json_t *normalizer = get(r->tokenizer, "normalizer");
        const json_t *spaces = part_of(get(r->tokenizer, "pre_tokenizer"), "pretokenizers",
                                       "Metaspace");
        const char *scheme = json_string_value(get(spaces, "prepend_scheme"));
        bool is_prepended = part_of(normalizer, "normalizers", "Prepend") ||
                            (spaces && !(scheme && strcmp(scheme, "never") == 0));
        um_gguf_declare_text(r->w, "tokenizer.ggml.pre", "default", 7);
        um_gguf_declare_bool(r->w, "tokenizer.ggml.add_space_prefix", is_prepended);
        UM_RETURN_IF(declare_scores(r, err));
    } else {
        UM_RETURN_IF(declare_pre_tokenizer(r, err));
        UM_RETURN_IF(declare_merges(r, err));
    }
    um_gguf_declare_texts(r->w, "tokenizer.ggml.tokens", r->texts, r->lengths, (size_t)r->n);
    um_gguf_declare_i32s(r->w, "tokenizer.ggml.token_type", r->types, (size_t)r->n);
    declare_special(r);
    return declare_template(r, folder, err);
}

enum um_status um_vocabulary_declare(struct um_gguf_writer *w, bool *is_there, const char *folder,
                                     const json_t *model_config, int64_t n_words,
                                     struct um_error *err)
{
    struct writer r = {.w = w, .model_config = model_config, .n = n_words};
    char *path = um_path_join(folder, "tokenizer.json");
    char *settings = um_path_join(folder, "tokenizer_config.json");
    enum um_status status = UM_OK;
    *is_there = false;
    if (!path || !settings)
        UM_TRY(um_fail_memory(err, folder, 0));
    r.path = path;
    *is_there = um_path_exists(path);
    if (!*is_there) {
        um_gguf_declare_text(w, "tokenizer.ggml.model", "no_vocab", 8);
        goto out;
    }
    UM_TRY(um_json_load(&r.tokenizer, path, err));
    if (um_path_exists(settings))
        UM_TRY(um_json_load(&r.settings, settings, err));
    UM_TRY(declare(&r, folder, err));
out:
    json_decref(r.tokenizer);
    json_decref(r.settings);
    um_arena_free(&r.arena);
    um_free(path);
    um_free(settings);
    return status;
}
