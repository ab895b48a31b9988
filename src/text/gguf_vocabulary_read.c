/* From a GGUF file's metadata to tokenizer.json and tokenizer_config.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/gguf_vocabulary.h"
#include "text/load_private.h"
#include "text/vocab.h"

struct reader {
    struct um_gguf_words words;
    const struct um_gguf_pair *template; /* of chats; NULL: none */
    struct um_vocab vocab;               /* the normal tokens */
    bool has_ties;                       /* two pieces that are merged have one score */
};

static json_t *token_text(const struct reader *r, int64_t id)
{
    const struct um_gguf_pair *tokens = r->words.tokens;
    return id < 0 ? json_null() : json_stringn(tokens->strings[id], tokens->lengths[id]);
}

/* ---- tokens */

static enum um_status fail(const struct reader *r, const char *what, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot read the vocabulary of '%s': %s", r->words.where, what);
}

/* A list of texts, all of UTF-8 without zeros, and with a space in them if they are merges. */
static bool is_list_of_texts(const struct um_gguf_pair *list, bool is_of_merges)
{
    bool is_sound = true;
    for (size_t i = 0; is_sound && i < list->n; i++) {
        const char *text = list->strings[i];
        size_t n = list->lengths[i];
        is_sound = um_utf8_valid(text, n) == n && !memchr(text, '\0', n) &&
                   (!is_of_merges || memchr(text, ' ', n));
    }
    return is_sound;
}

/* All that is used further on: what fails then is memory. */
static enum um_status check_texts(struct reader *r, struct um_error *err)
{
    r->template = um_gguf_pair(r->words.gguf, "tokenizer.chat_template");
    if (r->template && r->template->type != UM_GGUF_STRING)
        r->template = NULL;
    if (!is_list_of_texts(r->words.tokens, false))
        return fail(r, "tokenizer.ggml.tokens is no list of texts of UTF-8", err);
    if (r->words.merges && !is_list_of_texts(r->words.merges, true))
        return fail(r, "tokenizer.ggml.merges is no list of pairs of UTF-8", err);
    for (size_t i = 0; r->words.kind == UM_GGUF_PIECES && i < r->words.tokens->n; i++)
        if (r->words.tokens->lengths[i] > UM_PIECE_BYTES_MAX &&
            um_gguf_word_type(&r->words, i) == UM_TOKEN_NORMAL)
            return fail(r, "a piece that is merged from others is too long", err);
    if (r->template && um_utf8_valid(r->template->text, r->template->n) != r->template->n)
        return fail(r, "tokenizer.chat_template is not UTF-8", err);
    return UM_OK;
}

static json_t *make_vocab(struct reader *r)
{
    json_t *vocab = json_object();
    for (size_t i = 0; vocab && i < r->words.tokens->n; i++) {
        const char *text = r->words.tokens->strings[i];
        size_t n = r->words.tokens->lengths[i];
        if (json_object_setn_new(vocab, text, n, json_integer((json_int_t)i)) != 0 ||
            (um_gguf_word_type(&r->words, i) == UM_TOKEN_NORMAL &&
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
    for (size_t i = 0; added && i < r->words.tokens->n; i++) {
        if (!um_gguf_word_is_added(&r->words, i))
            continue;
        json_t *token = json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i,
                                  "content", token_text(r, (int64_t)i), "single_word", 0, "lstrip",
                                  0, "rstrip", 0, "normalized", 0, "special",
                                  um_gguf_word_type(&r->words, i) != UM_TOKEN_USER_DEFINED);
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
    const char *text = r->words.tokens->strings[id];
    size_t n_text = r->words.tokens->lengths[id];
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
    for (size_t i = 0; is_done && i < r->words.tokens->n; i++) {
        double score = um_gguf_real_at(r->words.scores, i);
        if (um_gguf_word_type(&r->words, i) == UM_TOKEN_NORMAL && !isnan(score))
            is_done = add_merges(&merges, &capacity, &n, r, (int32_t)i, (float)score);
    }
    if (n)
        qsort(merges, n, sizeof(*merges), compare_merges);
    for (size_t i = 1; i < n; i++)
        r->has_ties = r->has_ties || (merges[i].id != merges[i - 1].id &&
                                      !(merges[i].score < merges[i - 1].score));
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
    for (size_t i = 0; list && i < r->words.merges->n; i++) {
        const char *text = r->words.merges->strings[i];
        const char *space = memchr(text, ' ', r->words.merges->lengths[i]);
        size_t n = (size_t)(space - text);
        json_t *pair = json_pack("[o, o]", json_stringn(text, n),
                                 json_stringn(space + 1, r->words.merges->lengths[i] - n - 1));
        if (json_array_append_new(list, pair) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* ---- the pipeline */

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

static json_t *make_model(struct reader *r)
{
    const struct um_gguf_words *w = &r->words;
    bool is_pieces = w->kind == UM_GGUF_PIECES;
    json_t *vocab = make_vocab(r);
    json_t *merges = !vocab ? NULL : is_pieces ? merges_of_scores(r) : merges_of_texts(r);
    if (!merges) {
        json_decref(vocab);
        return NULL;
    }
    return json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", is_pieces ? token_text(r, w->unknown) : json_null(),
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", is_pieces,
                     "byte_fallback", is_pieces, "ignore_merges", w->cut && w->cut->ignores_merges,
                     "vocab", vocab, "merges", merges);
}

static json_t *make_tokenizer(struct reader *r)
{
    const struct um_gguf_words *w = &r->words;
    return json_pack(
        "{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
        "added_tokens", make_added(r), "normalizer", um_gguf_words_normalizer(w), "pre_tokenizer",
        um_gguf_words_pre_tokenizer(w), "post_processor",
        make_template(r, w->starts ? w->bos : -1, w->ends ? w->eos : -1), "decoder",
        um_gguf_words_decoder(w), "model", make_model(r));
}

/* The token that fills rows up, -1: none. Training does not need it, so a wrong one is let be. */
static int64_t padding_id(const struct reader *r)
{
    int32_t id = -1;
    (void)um_gguf_words_id(&id, &r->words, "tokenizer.ggml.padding_token_id", NULL);
    return id;
}

static json_t *make_config(const struct reader *r)
{
    const struct {
        const char *name;
        int64_t id;
    } kinds[] = {{"bos_token", r->words.bos},
                 {"eos_token", r->words.eos},
                 {"unk_token", r->words.unknown},
                 {"pad_token", padding_id(r)}};
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    int failed = config == NULL;
    for (size_t i = 0; !failed && i < UM_COUNT(kinds); i++)
        failed = json_object_set_new(config, kinds[i].name, token_text(r, kinds[i].id));
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

static bool is_text(const struct um_gguf_pair *pair, const char *text)
{
    return pair && pair->type == UM_GGUF_STRING && pair->n == strlen(text) &&
           memcmp(pair->text, text, pair->n) == 0;
}

/* NULL, or why the vocabulary cannot be said. */
static const char *reason_of(const struct um_gguf *gguf)
{
    const struct um_gguf_pair *model = um_gguf_pair(gguf, "tokenizer.ggml.model");
    const struct um_gguf_pair *pre = um_gguf_pair(gguf, "tokenizer.ggml.pre");
    const struct um_gguf_cut *cut;
    if (!um_gguf_pair(gguf, "tokenizer.ggml.tokens"))
        return "the file has no vocabulary";
    if (!is_text(model, "llama") && !is_text(model, "gpt2"))
        return "its vocabulary is of a kind that tokenizer.json has no like of";
    if (is_text(model, "gpt2") && pre && pre->type == UM_GGUF_STRING &&
        um_gguf_cut_find(&cut, pre->text, pre->n, "", NULL) != UM_OK)
        return "what its pre-tokenizer's name stands for is not known";
    return NULL;
}

enum um_status um_vocabulary_from_gguf(json_t **tokenizer, json_t **config, const char **reason,
                                       const struct um_gguf *gguf, const char *path,
                                       struct um_error *err)
{
    struct reader r = {0};
    enum um_status status = UM_OK;
    *tokenizer = *config = NULL;
    *reason = reason_of(gguf);
    if (*reason)
        return UM_OK;
    UM_TRY(um_gguf_words_read(&r.words, gguf, path, err));
    UM_TRY(check_texts(&r, err));
    *tokenizer = make_tokenizer(&r);
    *config = make_config(&r);
    if (!*tokenizer || !*config)
        status = um_fail_memory(err, path, 0);
    else if (r.has_ties)
        *reason =
            "pieces of one score are merged as they come, which its list of merges cannot say";
    if (status != UM_OK || *reason) {
        json_decref(*tokenizer);
        json_decref(*config);
        *tokenizer = *config = NULL;
    }
out:
    um_vocab_free(&r.vocab);
    return status;
}
