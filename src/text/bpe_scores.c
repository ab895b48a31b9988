/*
 * SentencePiece's byte-pair encoding (Kudo and Richardson, EMNLP 2018) has no list of merges but a
 * score for each token: of all adjacent pairs whose texts together are a token, that of the highest
 * score merges first, the leftmost of equals. That is a list of merges again: every way to cut a
 * token into two tokens is one, and equal scores share a rank.
 */
#include <math.h>
#include <stdlib.h>

#include "text/bpe_private.h"
#include "text/gguf_words.h"

struct scored {
    float score;
    int32_t id;
};

struct merges {
    struct um_bpe_merge *items; /* owned */
    size_t n, capacity;
};

/* The highest score first; a total order, so that the sort does not depend on its algorithm. */
static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The tokens that may be merged to, the first to be merged first; returns how many. */
static size_t sort_tokens(struct scored *tokens, const struct um_vocab *vocab, const float *scores)
{
    size_t n = 0;
    for (size_t i = 0; i < vocab->n_entries; i++) {
        if (vocab->entries[i].text && scores[i] > -INFINITY)
            tokens[n++] = (struct scored){.score = scores[i], .id = (int32_t)i};
    }
    qsort(tokens, n, sizeof(*tokens), compare_scored);
    return n;
}

/* All ways to cut the token into two tokens. Cuts within a character find none: tokens are whole
 * characters. */
static enum um_status add_cuts(struct merges *merges, const struct um_bpe *bpe, int32_t id,
                               uint32_t rank, const char *where, struct um_error *err)
{
    struct um_vocab_entry token = bpe->vocab->entries[id];
    uint64_t hash = UM_VOCAB_HASH_START;
    if (token.n_bytes > UM_PIECE_BYTES_MAX)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': token %d has %u bytes, expected at most %d of one that "
                       "is merged from others",
                       where, (int)id, token.n_bytes, UM_PIECE_BYTES_MAX);
    for (size_t n = 1; n < token.n_bytes; n++) {
        hash = um_vocab_hash_byte(hash, token.text[n - 1]);
        int32_t left = um_vocab_find_hashed(bpe->vocab, hash, "", 0, token.text, n);
        int32_t right =
            left < 0 ? -1 : um_vocab_find(bpe->vocab, token.text + n, token.n_bytes - n);
        if (right < 0)
            continue;
        if (!um_grow(&merges->items, &merges->capacity, merges->n + 1, sizeof(*merges->items)))
            return um_fail_memory(err, where, merges->n * sizeof(*merges->items));
        merges->items[merges->n++] =
            (struct um_bpe_merge){.pair = um_bpe_pair(left, right), .rank = rank, .id = id};
    }
    return UM_OK;
}

enum um_status um_bpe_derive_merges(struct um_bpe *bpe, struct um_loader *loader,
                                    struct um_error *err)
{
    struct scored *tokens = UM_NEW(bpe->vocab->n_entries, struct scored);
    struct merges merges = {0};
    enum um_status status = UM_OK;
    uint32_t rank = 0;
    if (!tokens)
        UM_TRY(um_fail_memory(err, loader->where, bpe->vocab->n_entries * sizeof(*tokens)));
    size_t n = sort_tokens(tokens, bpe->vocab, loader->scores);
    for (size_t i = 0; i < n; i++) {
        rank += i > 0 && tokens[i].score < tokens[i - 1].score;
        UM_TRY(add_cuts(&merges, bpe, tokens[i].id, rank, loader->where, err));
    }
    UM_TRY(um_bpe_new_table(bpe, loader, merges.n, err));
    for (size_t i = 0; i < merges.n; i++)
        um_bpe_put_merge(bpe, merges.items[i]);
out:
    um_free(tokens);
    um_free(merges.items);
    return status;
}
