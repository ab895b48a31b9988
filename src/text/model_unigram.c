/*
 * Unigram (Kudo, ACL 2018): of all ways to cut a text into tokens, the one whose scores (log
 * probabilities) have the greatest sum, by Viterbi's algorithm over byte positions. A character
 * that no token covers costs ten less than the worst token; neighbouring ones become one unknown
 * token, or bytes.
 */
#include <math.h>
#include <string.h>

#include "text/model_private.h"

static const double unknown_penalty = 10;

struct unigram {
    const struct um_vocab *vocab;
    const struct um_trie *trie; /* tokens to id + 1 */
    const double *scores;       /* by id */
    size_t n_tokens;
    int32_t unknown; /* -1: none */
    double unknown_score;
    int32_t bytes[256]; /* -1: none */
};

/* The best way to reach a position: its score, by which token from where. */
struct node {
    double score;
    uint32_t start; /* UINT32_MAX: not reached */
    int32_t id;     /* -1: a character that no token covers */
};

struct token {
    size_t start, end;
    bool is_unknown; /* characters that no token covers */
};

struct unigram_scratch {
    struct node *nodes; /* owned */
    size_t n_nodes;
    struct token *tokens; /* the best way, last token first; owned */
    size_t n_tokens, capacity;
    struct um_word_cache cache;
};

static void free_scratch(void *pointer)
{
    struct unigram_scratch *scratch = pointer;
    if (!scratch)
        return;
    um_free(scratch->nodes);
    um_free(scratch->tokens);
    um_word_cache_free(&scratch->cache);
    um_free(scratch);
}

/* ["token", score] */
static enum um_status read_token(struct unigram *model, struct um_loader *loader, double *scores,
                                 char **text, struct um_scan *scan, struct um_error *err)
{
    struct um_vocab *vocab = &loader->tokenizer->vocab;
    size_t n;
    if (!um_scan_take(scan, '[') || !um_scan_string(*text, &n, scan) || !um_scan_take(scan, ',') ||
        !um_scan_f64(&scores[model->n_tokens], scan) || !um_scan_take(scan, ']'))
        return um_scan_fail(scan, "[token, score]", err);
    if (!isfinite(scores[model->n_tokens]))
        return um_scan_fail(scan, "a finite score", err);
    if (!um_vocab_add(vocab, *text, n, (int32_t)model->n_tokens) ||
        (n &&
         !um_trie_insert(&loader->tokenizer->model_trie, *text, n, (uint32_t)model->n_tokens + 1)))
        return um_fail_memory(err, loader->where, n);
    if (scores[model->n_tokens] < model->unknown_score)
        model->unknown_score = scores[model->n_tokens];
    model->n_tokens++;
    *text += n + 1;
    return UM_OK;
}

/* An upper bound of the tokens: each has a bracket. */
static size_t count_brackets(const struct um_scan *scan)
{
    size_t n = 0;
    for (const char *p = scan->at; p < scan->end; p++)
        n += *p == '[';
    return n;
}

static enum um_status read_vocab(struct unigram *model, struct um_loader *loader,
                                 struct um_error *err)
{
    struct um_scan scan = {.text = loader->text,
                           .at = loader->vocab.start,
                           .end = loader->vocab.end,
                           .where = loader->where};
    if (!scan.at || !um_scan_take(&scan, '['))
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': model.vocab is not a list of [token, "
                       "score]",
                       loader->where);
    size_t n_bytes = (size_t)(scan.end - scan.at), n_max = count_brackets(&scan);
    char *text = um_arena_alloc(loader->arena, n_bytes + 1);
    double *scores = UM_ARENA_NEW(loader->arena, n_max, double);
    if (!text || !scores)
        return um_fail_memory(err, loader->where, n_max * sizeof(*scores));
    model->scores = scores;
    model->unknown_score = INFINITY;
    if (!um_scan_take(&scan, ']')) {
        do
            UM_RETURN_IF(read_token(model, loader, scores, &text, &scan, err));
        while (um_scan_take(&scan, ','));
        if (!um_scan_take(&scan, ']'))
            return um_scan_fail(&scan, "',' or ']'", err);
    }
    model->unknown_score -= unknown_penalty;
    return UM_OK;
}

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct unigram *model = um_options_new(options, loader, sizeof(*model), err);
    int64_t unknown = -1;
    bool falls_back = false;
    if (!model)
        return UM_E_RUNTIME;
    UM_RETURN_IF(read_vocab(model, loader, err));
    UM_RETURN_IF(um_json_get_i64(&unknown, json, "unk_id", loader->where, err));
    UM_RETURN_IF(um_json_get_bool(&falls_back, json, "byte_fallback", loader->where, err));
    if (unknown < -1 || unknown >= (int64_t)model->n_tokens)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': unk_id is %lld, the vocabulary has %zu "
                       "tokens",
                       loader->where, (long long)unknown, model->n_tokens);
    model->unknown = (int32_t)unknown;
    model->vocab = &loader->tokenizer->vocab;
    model->trie = &loader->tokenizer->model_trie;
    memset(model->bytes, 0xff, sizeof(model->bytes));
    if (falls_back)
        um_model_find_bytes(model->bytes, &loader->tokenizer->vocab);
    return UM_OK;
}

static void reach(struct node *node, double score, size_t start, int32_t id)
{
    if (node->start == UINT32_MAX || score > node->score)
        *node = (struct node){.score = score, .start = (uint32_t)start, .id = id};
}

/* Fills nodes[1..n]: forward over the text's characters, by all tokens that start at each. */
static void find_ways(struct node *nodes, const struct unigram *model, const char *text, size_t n)
{
    nodes[0] = (struct node){.start = 0};
    for (size_t i = 1; i <= n; i++)
        nodes[i].start = UINT32_MAX;
    for (size_t start = 0, length; start < n; start += length) {
        double score = nodes[start].score;
        uint32_t node = um_trie_root(model->trie, text[start]);
        bool is_covered = false;
        length = um_utf8_length(text[start]);
        for (size_t end = start + 1; node;) {
            uint32_t value = model->trie->nodes[node].value;
            if (value) {
                reach(&nodes[end], score + model->scores[value - 1], start, (int32_t)value - 1);
                is_covered = is_covered || end == start + length;
            }
            node = end < n ? um_trie_step(model->trie, node, text[end]) : 0;
            end++;
        }
        if (!is_covered)
            reach(&nodes[start + length], score + model->unknown_score, start, -1);
    }
}

/* Follows the best way back; neighbouring characters that nothing covers (and the unknown token
 * itself) are one. */
static enum um_status collect(struct unigram_scratch *scratch, const struct unigram *model,
                              size_t n, struct um_error *err)
{
    scratch->n_tokens = 0;
    bool was_unknown = false;
    for (size_t end = n, start; end > 0; end = start) {
        const struct node *node = &scratch->nodes[end];
        start = node->start;
        bool is_unknown = node->id < 0 || node->id == model->unknown;
        if (!um_grow(&scratch->tokens, &scratch->capacity, scratch->n_tokens + 1,
                     sizeof(*scratch->tokens)))
            return um_fail_memory(err, "tokenizing", scratch->n_tokens * sizeof(*scratch->tokens));
        if (is_unknown && was_unknown)
            scratch->tokens[scratch->n_tokens - 1].start = start;
        else
            scratch->tokens[scratch->n_tokens++] =
                (struct token){.start = start, .end = end, .is_unknown = is_unknown};
        was_unknown = is_unknown;
    }
    return UM_OK;
}

/* A text that no token covers: the unknown token itself, spelled out; bytes; or unknown. */
static enum um_status put_unknown(struct um_ids *out, const struct unigram *model, const char *text,
                                  size_t n, struct um_error *err)
{
    int32_t id = um_vocab_find(model->vocab, text, n);
    bool is_done;
    if (id >= 0)
        return um_ids_add(out, id, err);
    UM_RETURN_IF(um_model_put_bytes(out, &is_done, model->bytes, text, n, err));
    if (is_done)
        return UM_OK;
    if (model->unknown >= 0)
        return um_ids_add(out, model->unknown, err);
    return um_fail(err, UM_E_INPUT,
                   "cannot tokenize '%.*s': not in the vocabulary, and the "
                   "tokenizer has no unknown token",
                   n < 40 ? (int)n : 40, text);
}

static enum um_status encode_piece(struct um_scratch *s, const void *options, const char *text,
                                   size_t n, struct um_error *err)
{
    const struct unigram *model = options;
    struct unigram_scratch *scratch = s->model;
    if (n >= UINT32_MAX ||
        !um_grow(&scratch->nodes, &scratch->n_nodes, n + 1, sizeof(*scratch->nodes)))
        return um_fail_memory(err, "tokenizing", n);
    find_ways(scratch->nodes, model, text, n);
    UM_RETURN_IF(collect(scratch, model, n, err));
    for (size_t i = scratch->n_tokens; i-- > 0;) {
        struct token token = scratch->tokens[i];
        if (token.is_unknown)
            UM_RETURN_IF(
                put_unknown(s->out, model, text + token.start, token.end - token.start, err));
        else
            UM_RETURN_IF(um_ids_add(s->out, scratch->nodes[token.end].id, err));
    }
    return UM_OK;
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    if (!s->model) {
        s->model = UM_NEW(1, struct unigram_scratch);
        s->free_model = free_scratch;
        if (!s->model)
            return um_fail_memory(err, "tokenizing", sizeof(struct unigram_scratch));
    }
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        UM_RETURN_IF(
            encode_piece(s, options, s->text.text + piece.start, piece.end - piece.start, err));
    }
    return UM_OK;
}

const struct um_kind um_model_unigram = {.type = "Unigram",
                                         .summary = "most probable tokens (SentencePiece)",
                                         .parse = parse,
                                         .run = run};
