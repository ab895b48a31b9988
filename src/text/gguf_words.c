/* Reads and checks the vocabulary in a GGUF file's metadata. */
#include "text/gguf_words.h"

#include <string.h>

#define KEY UM_GGUF_KEY

static enum um_status fail_key(const struct um_gguf_words *w, const char *key, const char *expected,
                               struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot read '%s': %s is %s, expected %s", w->where, key,
                   um_gguf_pair(w->gguf, key) ? "something else" : "missing", expected);
}

static bool is_number(enum um_gguf_type type)
{
    return type != UM_GGUF_STRING && type != UM_GGUF_ARRAY && type != UM_GGUF_BOOL;
}

/* An array of texts or numbers, NULL if it is not there. */
static enum um_status get_array(const struct um_gguf_pair **array, const struct um_gguf_words *w,
                                const char *key, bool of_texts, struct um_error *err)
{
    *array = um_gguf_pair(w->gguf, key);
    if (!*array)
        return UM_OK;
    if ((*array)->type != UM_GGUF_ARRAY ||
        (of_texts ? (*array)->element != UM_GGUF_STRING : !is_number((*array)->element)))
        return fail_key(w, key, of_texts ? "an array of texts" : "an array of numbers", err);
    return UM_OK;
}

/* An array with a number for each token. */
static enum um_status get_per_token(const struct um_gguf_pair **array,
                                    const struct um_gguf_words *w, const char *key,
                                    struct um_error *err)
{
    UM_RETURN_IF(get_array(array, w, key, false, err));
    if (*array && (*array)->n != w->tokens->n)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': %s has %zu elements, expected one for each of the %zu "
                       "tokens",
                       w->where, key, (*array)->n, w->tokens->n);
    return UM_OK;
}

enum um_status um_gguf_words_bool(bool *value, const struct um_gguf_words *w, const char *key,
                                  struct um_error *err)
{
    const struct um_gguf_pair *pair = um_gguf_pair(w->gguf, key);
    if (!pair)
        return UM_OK;
    if (pair->type != UM_GGUF_BOOL)
        return fail_key(w, key, "true or false", err);
    *value = pair->integer != 0;
    return UM_OK;
}

enum um_status um_gguf_words_id(int32_t *value, const struct um_gguf_words *w, const char *key,
                                struct um_error *err)
{
    const struct um_gguf_pair *pair = um_gguf_pair(w->gguf, key);
    if (!pair)
        return UM_OK;
    if (!is_number(pair->type) || pair->type == UM_GGUF_F32 || pair->type == UM_GGUF_F64)
        return fail_key(w, key, "a token's id", err);
    if (pair->integer < 0 || (uint64_t)pair->integer >= w->tokens->n)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': %s is %lld, expected an id below %zu",
                       w->where, key, (long long)pair->integer, w->tokens->n);
    *value = (int32_t)pair->integer;
    return UM_OK;
}

/* ---- reading */

static const struct model {
    const char *name;
    enum um_gguf_kind kind;
    int32_t bos, eos, unknown; /* unless the file says otherwise */
} models[] = {
    {"gpt2", UM_GGUF_BYTES, -1, -1, -1},
    {"llama", UM_GGUF_PIECES, 1, 2, 0},
    {"bert", UM_GGUF_WORD_PIECES, -1, -1, -1},
};

static enum um_status find_model(const struct model **model, const struct um_gguf_words *w,
                                 struct um_error *err)
{
    const struct um_gguf_pair *name = um_gguf_pair(w->gguf, KEY "model");
    if (!name) {
        (void)um_fail(err, UM_E_INPUT,
                      "cannot open the tokenizer of '%s': the file holds none (" KEY
                      "model is missing)",
                      w->where);
        um_error_hint(err, "convert the model again, with its tokenizer beside it");
        return UM_E_INPUT;
    }
    if (name->type != UM_GGUF_STRING)
        return fail_key(w, KEY "model", "a name", err);
    for (size_t i = 0; i < UM_COUNT(models); i++) {
        *model = &models[i];
        if (strlen(models[i].name) == name->n && !memcmp(models[i].name, name->text, name->n))
            return UM_OK;
    }
    return um_fail(err, UM_E_INPUT,
                   "cannot read '%s': unknown " KEY "model '%.*s'; known are: gpt2, llama, bert",
                   w->where, name->n < 100 ? (int)name->n : 100, name->text);
}

/* The arrays and ids that all models have. */
static enum um_status read_common(struct um_gguf_words *w, const struct model *model,
                                  struct um_error *err)
{
    w->kind = model->kind;
    UM_RETURN_IF(get_array(&w->tokens, w, KEY "tokens", true, err));
    if (!w->tokens || !w->tokens->n || w->tokens->n >= INT32_MAX)
        return fail_key(w, KEY "tokens", "an array of texts", err);
    UM_RETURN_IF(get_per_token(&w->types, w, KEY "token_type", err));
    UM_RETURN_IF(get_per_token(&w->scores, w, KEY "scores", err));
    w->bos = (size_t)model->bos < w->tokens->n ? model->bos : -1;
    w->eos = (size_t)model->eos < w->tokens->n ? model->eos : -1;
    w->unknown = model->unknown;
    UM_RETURN_IF(um_gguf_words_id(&w->bos, w, KEY "bos_token_id", err));
    UM_RETURN_IF(um_gguf_words_id(&w->eos, w, KEY "eos_token_id", err));
    return um_gguf_words_id(&w->unknown, w, KEY "unknown_token_id", err);
}

static enum um_status read_cut(struct um_gguf_words *w, struct um_error *err)
{
    const struct um_gguf_pair *pre = um_gguf_pair(w->gguf, KEY "pre");
    if (pre && pre->type != UM_GGUF_STRING)
        return fail_key(w, KEY "pre", "a name", err);
    return um_gguf_cut_find(&w->cut, pre ? pre->text : "default", pre ? pre->n : strlen("default"),
                            w->where, err);
}

/* What begins and ends a text. A file that only by default begins texts may have no token for
 * it. */
static enum um_status read_ends(struct um_gguf_words *w, bool starts, struct um_error *err)
{
    w->starts = starts && w->bos >= 0;
    UM_RETURN_IF(um_gguf_words_bool(&w->starts, w, KEY "add_bos_token", err));
    UM_RETURN_IF(um_gguf_words_bool(&w->ends, w, KEY "add_eos_token", err));
    if (w->starts && w->bos < 0)
        return fail_key(w, KEY "bos_token_id", "an id, as add_bos_token is true", err);
    if (w->ends && w->eos < 0)
        return fail_key(w, KEY "eos_token_id", "an id, as add_eos_token is true", err);
    return UM_OK;
}

enum um_status um_gguf_words_read(struct um_gguf_words *w, const struct um_gguf *gguf,
                                  const char *where, struct um_error *err)
{
    const struct model *model;
    *w = (struct um_gguf_words){.gguf = gguf, .where = where};
    UM_RETURN_IF(find_model(&model, w, err));
    UM_RETURN_IF(read_common(w, model, err));
    if (w->kind == UM_GGUF_WORD_PIECES)
        return UM_OK;
    w->adds_blank = w->kind == UM_GGUF_PIECES;
    UM_RETURN_IF(um_gguf_words_bool(&w->adds_blank, w, KEY "add_space_prefix", err));
    if (w->kind == UM_GGUF_PIECES)
        return w->scores ? read_ends(w, true, err)
                         : fail_key(w, KEY "scores", "an array of numbers", err);
    UM_RETURN_IF(read_cut(w, err));
    UM_RETURN_IF(get_array(&w->merges, w, KEY "merges", true, err));
    return w->merges ? read_ends(w, w->cut->starts, err)
                     : fail_key(w, KEY "merges", "an array of texts", err);
}

/* Files without types name three tokens that are no text. */
enum um_gguf_word_type um_gguf_word_type(const struct um_gguf_words *w, size_t id)
{
    int64_t i = (int64_t)id;
    if (!w->types)
        return i == w->unknown              ? UM_TOKEN_UNKNOWN
               : i == w->bos || i == w->eos ? UM_TOKEN_CONTROL
                                            : UM_TOKEN_NORMAL;
    int64_t type = um_gguf_integer_at(w->types, id);
    return type >= UM_TOKEN_NORMAL && type <= UM_TOKEN_BYTE ? (enum um_gguf_word_type)type
                                                            : UM_TOKEN_NORMAL;
}

bool um_gguf_word_is_added(const struct um_gguf_words *w, size_t id)
{
    enum um_gguf_word_type type = um_gguf_word_type(w, id);
    return w->tokens->lengths[id] &&
           (type == UM_TOKEN_UNKNOWN || type == UM_TOKEN_CONTROL || type == UM_TOKEN_USER_DEFINED);
}

/* ---- as tokenizer.json has it */

static json_t *replace(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static json_t *byte_level(bool adds_blank, bool by_pattern)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", adds_blank,
                     "trim_offsets", 0, "use_regex", !by_pattern);
}

json_t *um_gguf_words_normalizer(const struct um_gguf_words *w)
{
    if (w->kind == UM_GGUF_BYTES)
        return w->cut->composes ? json_pack("{s:s}", "type", "NFC") : json_null();
    json_t *spaces = replace(" ", UM_GGUF_MARK);
    return w->adds_blank ? json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers",
                                     "type", "Prepend", "prepend", UM_GGUF_MARK, spaces)
                         : spaces;
}

json_t *um_gguf_words_pre_tokenizer(const struct um_gguf_words *w)
{
    if (w->kind == UM_GGUF_PIECES)
        return json_null();
    json_t *bytes = byte_level(w->adds_blank, w->cut->pattern != NULL);
    if (w->cut->pattern)
        return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                         "pretokenizers", "type", "Split", "pattern", "Regex", w->cut->pattern,
                         "behavior", "Isolated", "invert", 0, bytes);
    if (w->cut->digits_apart)
        return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                         "Digits", "individual_digits", 1, bytes);
    return bytes;
}

json_t *um_gguf_words_decoder(const struct um_gguf_words *w)
{
    if (w->kind == UM_GGUF_BYTES)
        return byte_level(false, false);
    json_t *decoders = json_pack("[o, {s:s}, {s:s}]", replace(UM_GGUF_MARK, " "), "type",
                                 "ByteFallback", "type", "Fuse");
    if (decoders && w->adds_blank &&
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                  "content", " ", "start", 1, "stop", 0)) != 0) {
        json_decref(decoders);
        decoders = NULL;
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders);
}
