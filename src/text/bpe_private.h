/* The parts of byte-pair encoding: its tables, merging, and the cache of words. */
#ifndef UM_TEXT_BPE_PRIVATE_H
#define UM_TEXT_BPE_PRIVATE_H

#include "text/pipeline_private.h"

enum {
    UM_BPE_AFFIX_MAX = 64,    /* bytes of a prefix or suffix */
    UM_BPE_CACHED_BYTES = 64, /* longer words are not kept in the cache */
};

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

struct um_bpe_cached {
    uint64_t hash;
    uint32_t text, ids;     /* where they start in the pools */
    uint32_t n_text, n_ids; /* n_text 0: a free slot */
};

struct um_bpe_scratch {
    struct um_bpe_symbol *symbols; /* owned, like all below */
    size_t n_symbols;
    struct um_bpe_candidate *heap;
    size_t n_heap, heap_capacity;
    struct um_bpe_cached *slots;
    char *cached_text;
    int32_t *cached_ids;
    size_t n_cached, n_cached_text, n_cached_ids;
};

struct um_bpe_scratch *um_bpe_scratch_new(void); /* owned; NULL = no memory */
void um_bpe_scratch_free(void *scratch);

enum um_status um_bpe_read_merges(struct um_bpe *bpe, struct um_loader *loader,
                                  struct um_error *err);
/* Merges the ids behind out->items[start]. */
enum um_status um_bpe_merge(struct um_ids *out, size_t start, const struct um_bpe *bpe,
                            struct um_bpe_scratch *scratch, struct um_error *err);

/* NULL if the word is not there (or too long to be). */
const struct um_bpe_cached *um_bpe_cache_find(const struct um_bpe_scratch *scratch, uint64_t hash,
                                              const char *word, size_t n);
void um_bpe_cache_add(struct um_bpe_scratch *scratch, uint64_t hash, const char *word, size_t n,
                      const int32_t *ids, size_t n_ids);

#endif
