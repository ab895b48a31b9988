/* The parts of byte-pair encoding: its tables, and merging. */
#ifndef UM_TEXT_BPE_PRIVATE_H
#define UM_TEXT_BPE_PRIVATE_H

#include "text/pipeline_private.h"
#include "text/word_cache.h"

enum { UM_BPE_AFFIX_MAX = 64 }; /* bytes of a prefix or suffix */

/* A pair of adjacent ids: in which turn it merges, and to what. */
struct um_bpe_merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: a free slot */
    uint32_t rank;
    int32_t id;
};

struct um_bpe {
    const struct um_vocab *vocab;
    struct um_text_option prefix, suffix; /* of characters within, and at the end of, a word */
    bool fuses_unknown, ignores_merges;
    int32_t unknown;             /* -1: none */
    int32_t bytes[256];          /* of the byte tokens; -1: none */
    struct um_bpe_merge *merges; /* an open-addressing table in the arena */
    uint32_t shift;              /* 64 - log2 of its size */
};

/* A symbol of the word that is being merged. */
struct um_bpe_symbol {
    int32_t id;              /* -1: merged into the one before it */
    uint32_t before, behind; /* indices; UINT32_MAX: none */
};

struct um_bpe_candidate {
    uint64_t key; /* rank << 32 | position: the heap's order */
    int32_t id;   /* what the pair became when it was put in: to tell if it is out of date */
};

struct um_bpe_scratch {
    struct um_bpe_symbol *symbols; /* owned, like all below */
    size_t n_symbols;
    struct um_bpe_candidate *heap;
    size_t n_heap, heap_capacity;
    struct um_word_cache cache;
};

static inline uint64_t um_bpe_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* An empty table with room for n_merges. */
enum um_status um_bpe_new_table(struct um_bpe *bpe, struct um_loader *loader, size_t n_merges,
                                struct um_error *err);
/* A pair that is there already is overwritten. */
void um_bpe_put_merge(struct um_bpe *bpe, struct um_bpe_merge merge);
/* Fills the table from loader->scores (bpe_scores.c). */
enum um_status um_bpe_derive_merges(struct um_bpe *bpe, struct um_loader *loader,
                                    struct um_error *err);
enum um_status um_bpe_read_merges(struct um_bpe *bpe, struct um_loader *loader,
                                  struct um_error *err);
/* Merges the ids behind out->items[start]. */
enum um_status um_bpe_merge(struct um_ids *out, size_t start, const struct um_bpe *bpe,
                            struct um_bpe_scratch *scratch, struct um_error *err);

#endif
