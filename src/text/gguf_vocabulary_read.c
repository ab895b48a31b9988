/* From a GGUF file's metadata to tokenizer.json and tokenizer_config.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/gguf_vocabulary.h"
#include "text/load_private.h"
#include "text/vocab.h"

#define MARK "\xe2\x96\x81" /* SentencePiece's space */

struct reader {
    const struct um_gguf *gguf;
    const char *path;
    const struct um_gguf_pair *tokens, *types; /* types may be NULL: all normal */
    const struct um_gguf_pair *scores, *merges, *template;
    bool is_pieces;
    const struct um_gguf_cut *pre; /* of merges of bytes */
    struct um_vocab vocab; /* the normal ones */
};

static const struct um_gguf_pair *find(const struct reader *r, const char *key,
                                       enum um_gguf_type type)
{
    const struct um_gguf_pair *pair = um_gguf_pair(r->gguf, key);
    return pair && pair->type == type ? pair : NULL;
}

static bool is_text(const struct um_gguf_pair *pair, const char *text)
{
    return pair && pair->n == strlen(text) && memcmp(pair->text, text, pair->n) == 0;
}

static bool flag(const struct reader *r, const char *key, bool otherwise)
{
    const struct um_gguf_pair *pair = find(r, key, UM_GGUF_BOOL);
    return pair ? pair->integer != 0 : otherwise;
}

static int64_t type_of(const struct reader *r, size_t id)
{
    return r->types ? um_gguf_integer_at(r->types, id) : UM_TOKEN_NORMAL;
}

/* A special token's id, -1: none. */
static int64_t special_id(const struct reader *r, const char *key)
{
    const struct um_gguf_pair *pair = um_gguf_pair(r->gguf, key);
    bool is_number = pair && pair->type != UM_GGUF_STRING && pair->type != UM_GGUF_ARRAY;
    return is_number && pair->integer >= 0 && pair->integer < (int64_t)r->tokens->n ? pair->integer
                                                                                     : -1;
}

static json_t *token_text(const struct reader *r, int64_t id)
{
    return id < 0 ? json_null() : json_stringn(r->tokens->strings[id], r->tokens->lengths[id]);
}

/* ---- tokens */

static enum um_status fail(const struct reader *r, const char *what, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot read the vocabulary of '%s': %s", r->path, what);
}

/* A list of texts, all of UTF-8 without zeros, and with a space in them if they are merges. */
static bool is_list_of_texts(const struct um_gguf_pair *list, bool is_of_merges)
{
    bool is_sound = list && list->element == UM_GGUF_STRING && list->n < INT32_MAX;
    for (size_t i = 0; is_sound && i < list->n; i++) {
        const char *text = list->strings[i];
        size_t n = list->lengths[i];
        is_sound = um_utf8_valid(text, n) == n && !memchr(text, '\0', n) &&
                   (!is_of_merges || memchr(text, ' ', n));
    }
    return is_sound;
}

static bool is_list_of_numbers(const struct um_gguf_pair *list, size_t n)
{
    return list && list->element != UM_GGUF_STRING && list->n == n;
}

/* All that is used further on: what fails then is memory. */
static enum um_status check_pairs(struct reader *r, struct um_error *err)
{
    r->tokens = find(r, "tokenizer.ggml.tokens", UM_GGUF_ARRAY);
    r->types = find(r, "tokenizer.ggml.token_type", UM_GGUF_ARRAY);
    r->scores = find(r, "tokenizer.ggml.scores", UM_GGUF_ARRAY);
    r->merges = find(r, "tokenizer.ggml.merges", UM_GGUF_ARRAY);
    r->template = find(r, "tokenizer.chat_template", UM_GGUF_STRING);
    if (!is_list_of_texts(r->tokens, false))
        return fail(r, "tokenizer.ggml.tokens is no list of texts of UTF-8", err);
    if (r->types && !is_list_of_numbers(r->types, r->tokens->n))
        return fail(r, "tokenizer.ggml.token_type is not a number for each token", err);
    if (r->is_pieces && !is_list_of_numbers(r->scores, r->tokens->n))
        return fail(r, "tokenizer.ggml.scores is not a number for each token", err);
    if (!r->is_pieces && !is_list_of_texts(r->merges, true))
        return fail(r, "tokenizer.ggml.merges is no list of pairs of UTF-8", err);
    if (r->template && um_utf8_valid(r->template->text, r->template->n) != r->template->n)
        return fail(r, "tokenizer.chat_template is not UTF-8", err);
    return UM_OK;
}

static json_t *make_vocab(struct reader *r)
{
    json_t *vocab = json_object();
    for (size_t i = 0; vocab && i < r->tokens->n; i++) {
        const char *text = r->tokens->strings[i];
        size_t n = r->tokens->lengths[i];
        if (json_object_setn_new(vocab, text, n, json_integer((json_int_t)i)) != 0 ||
            (type_of(r, i) == UM_TOKEN_NORMAL &&
             !um_vocab_add(&r->vocab, text, n, (int32_t)i))) {
            json_decref(vocab);
            vocab = NULL;
        }
    }
    return vocab;
}

static json_t *make_added(const struct reader *r)
{
    json_t *added = json_array();
    for (size_t i = 0; added && i < r->tokens->n; i++) {
        int64_t type = type_of(r, i);
        if (type != UM_TOKEN_CONTROL && type != UM_TOKEN_UNKNOWN && type != UM_TOKEN_USER_DEFINED)
            continue;
        json_t *token = json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i,
                                  "content", token_text(r, (int64_t)i), "single_word", 0, "lstrip", 0,
                                  "rstrip", 0, "normalized", 0, "special",
                                  type != UM_TOKEN_USER_DEFINED);
        if (json_array_append_new(added, token) != 0) {
            json_decref(added);
            added = NULL;
        }
    }
    return added;
}

/* ---- merges */

/* A piece that two others make. */
struct merge {
    float score;
    int32_t id, left, right;
};

/* The best whole first; of one whole, the parts of lower numbers. */
static int compare_merges(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

/* All ways to make the piece of two. */
static bool add_merges(struct merge **merges, size_t *capacity, size_t *n, const struct reader *r,
                       int32_t id, float score)
{
    const char *text = r->tokens->strings[id];
    size_t n_text = r->tokens->lengths[id];
    for (size_t cut = 1; cut < n_text; cut++) {
        if (((unsigned char)text[cut] & 0xc0) == 0x80)
            continue; /* within a character */
        int32_t left = um_vocab_find(&r->vocab, text, cut);
        int32_t right = um_vocab_find(&r->vocab, text + cut, n_text - cut);
        if (left < 0 || right < 0)
            continue;
        if (!um_grow(merges, capacity, *n + 1, sizeof(**merges)))
            return false;
        (*merges)[(*n)++] = (struct merge){score, id, left, right};
    }
    return true;
}

/* SentencePiece's scores as a list of merges. */
static json_t *merges_of_scores(struct reader *r)
{
    struct merge *merges = NULL;
    size_t capacity = 0, n = 0;
    json_t *list = json_array();
    bool is_done = list != NULL;
    for (size_t i = 0; is_done && i < r->tokens->n; i++) {
        double score = um_gguf_real_at(r->scores, i);
        if (type_of(r, i) == UM_TOKEN_NORMAL && !isnan(score))
            is_done = add_merges(&merges, &capacity, &n, r, (int32_t)i, (float)score);
    }
    if (n)
        qsort(merges, n, sizeof(*merges), compare_merges);
    for (size_t i = 0; is_done && i < n; i++)
        is_done = json_array_append_new(list, json_pack("[o, o]", token_text(r, merges[i].left),
                                                        token_text(r, merges[i].right))) == 0;
    um_free(merges);
    if (!is_done) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

/* "a b" as it stands in the file, as a pair. */
static json_t *merges_of_texts(const struct reader *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->merges->n; i++) {
        const char *text = r->merges->strings[i];
        const char *space = memchr(text, ' ', r->merges->lengths[i]);
        size_t n = (size_t)(space - text);
        json_t *pair = json_pack("[o, o]", json_stringn(text, n),
                                 json_stringn(space + 1, r->merges->lengths[i] - n - 1));
        if (json_array_append_new(list, pair) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* ---- the pipeline */

static json_t *replace(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static json_t *byte_level(bool by_pattern)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 0, "use_regex", !by_pattern);
}

static json_t *make_normalizer(const struct reader *r, bool is_prepended)
{
    if (!r->is_pieces)
        return r->pre->composes ? json_pack("{s:s}", "type", "NFC") : json_null();
    json_t *spaces = replace(" ", MARK);
    return is_prepended ? json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers",
                                    "type", "Prepend", "prepend", MARK, spaces)
                        : spaces;
}

static json_t *make_pre_tokenizer(const struct reader *r)
{
    if (r->is_pieces)
        return json_null();
    json_t *bytes = byte_level(r->pre->pattern != NULL);
    if (r->pre->pattern)
        return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                         "pretokenizers", "type", "Split", "pattern", "Regex", r->pre->pattern,
                         "behavior", "Isolated", "invert", 0, bytes);
    if (r->pre->digits_apart)
        return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                         "Digits", "individual_digits", 1, bytes);
    return bytes;
}

static json_t *make_decoder(const struct reader *r, bool is_prepended)
{
    if (!r->is_pieces)
        return byte_level(false);
    json_t *decoders = json_pack("[o, {s:s}, {s:s}]", replace(MARK, " "), "type", "ByteFallback",
                                 "type", "Fuse");
    if (decoders && is_prepended &&
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                  "content", " ", "start", 1, "stop", 0)) != 0) {
        json_decref(decoders);
        decoders = NULL;
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders);
}

static int append_special(json_t *template, json_t *specials, const struct reader *r, int64_t id)
{
    json_t *text = token_text(r, id);
    const char *key = json_string_value(text);
    int failed = json_array_append_new(template, json_pack("{s:{s:O, s:i}}", "SpecialToken", "id",
                                                           text, "type_id", 0));
    failed |= json_object_set_new(specials, key ? key : "",
                                  json_pack("{s:O, s:[I], s:[O]}", "id", text, "ids",
                                            (json_int_t)id, "tokens", text));
    json_decref(text);
    return failed;
}

/* The tokens that a text begins and ends with; a pair is the same twice. */
static json_t *make_template(const struct reader *r, int64_t first, int64_t last)
{
    json_t *single = json_array(), *pair = json_array(), *specials = json_object();
    int failed = !single || !pair || !specials;
    for (int part = 0; !failed && part < 3; part++) {
        json_t *list = part == 0 ? single : pair;
        if (first >= 0)
            failed |= append_special(list, specials, r, first);
        failed |= json_array_append_new(
            list, json_pack("{s:{s:s, s:i}}", "Sequence", "id", part == 2 ? "B" : "A", "type_id",
                            part == 2));
        if (last >= 0)
            failed |= append_special(list, specials, r, last);
    }
    json_t *template = failed ? NULL
                              : json_pack("{s:s, s:O, s:O, s:O}", "type", "TemplateProcessing",
                                          "single", single, "pair", pair, "special_tokens",
                                          specials);
    json_decref(single);
    json_decref(pair);
    json_decref(specials);
    return template;
}

static json_t *make_model(struct reader *r, int64_t unknown)
{
    json_t *vocab = make_vocab(r);
    json_t *merges = !vocab ? NULL : r->is_pieces ? merges_of_scores(r) : merges_of_texts(r);
    if (!merges) {
        json_decref(vocab);
        return NULL;
    }
    return json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", r->is_pieces ? token_text(r, unknown) : json_null(),
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", r->is_pieces,
                     "byte_fallback", r->is_pieces, "ignore_merges",
                     !r->is_pieces && r->pre->ignores_merges, "vocab", vocab, "merges", merges);
}

static json_t *make_tokenizer(struct reader *r)
{
    bool starts = flag(r, "tokenizer.ggml.add_bos_token", r->is_pieces || r->pre->starts);
    bool ends = flag(r, "tokenizer.ggml.add_eos_token", false);
    bool is_prepended = flag(r, "tokenizer.ggml.add_space_prefix", r->is_pieces);
    int64_t unknown = special_id(r, "tokenizer.ggml.unknown_token_id");
    return json_pack(
        "{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
        "added_tokens", make_added(r), "normalizer", make_normalizer(r, is_prepended),
        "pre_tokenizer", make_pre_tokenizer(r), "post_processor",
        make_template(r, starts ? special_id(r, "tokenizer.ggml.bos_token_id") : -1,
                      ends ? special_id(r, "tokenizer.ggml.eos_token_id") : -1),
        "decoder", make_decoder(r, is_prepended), "model",
        make_model(r, unknown < 0 && r->is_pieces ? 0 : unknown));
}

static json_t *make_config(const struct reader *r)
{
    static const char *const kinds[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                           {"pad_token", "tokenizer.ggml.padding_token_id"}};
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    int failed = config == NULL;
    for (size_t i = 0; !failed && i < UM_COUNT(kinds); i++)
        failed = json_object_set_new(config, kinds[i][0], token_text(r, special_id(r, kinds[i][1])));
    if (!failed && r->template)
        failed = json_object_set_new(config, "chat_template",
                                     json_stringn(r->template->text, r->template->n));
    if (failed) {
        json_decref(config);
        config = NULL;
    }
    return config;
}

/* ---- all */

/* NULL, or why the vocabulary cannot be said. */
static const char *read_kind(struct reader *r)
{
    const struct um_gguf_pair *model = find(r, "tokenizer.ggml.model", UM_GGUF_STRING);
    const struct um_gguf_pair *pre = find(r, "tokenizer.ggml.pre", UM_GGUF_STRING);
    r->is_pieces = is_text(model, "llama");
    if (r->is_pieces)
        return NULL;
    if (!is_text(model, "gpt2"))
        return "its vocabulary is of a kind that tokenizer.json has no like of";
    bool is_known = um_gguf_cut_find(&r->pre, pre ? pre->text : "default", pre ? pre->n : 7, r->path,
                                     NULL) == UM_OK;
    return is_known ? NULL : "what its pre-tokenizer's name stands for is not known";
}

enum um_status um_vocabulary_from_gguf(json_t **tokenizer, json_t **config, const char **reason,
                                       const struct um_gguf *gguf, const char *path,
                                       struct um_error *err)
{
    struct reader r = {.gguf = gguf, .path = path};
    enum um_status status = UM_OK;
    *tokenizer = *config = NULL;
    *reason = um_gguf_pair(gguf, "tokenizer.ggml.tokens") ? read_kind(&r)
                                                          : "the file has no vocabulary";
    if (*reason)
        return UM_OK;
    UM_TRY(check_pairs(&r, err));
    *tokenizer = make_tokenizer(&r);
    *config = make_config(&r);
    if (!*tokenizer || !*config) {
        json_decref(*tokenizer);
        json_decref(*config);
        *tokenizer = *config = NULL;
        status = um_fail_memory(err, path, 0);
    }
out:
    um_vocab_free(&r.vocab);
    return status;
}
