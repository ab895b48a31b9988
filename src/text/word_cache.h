/* A cache of words and what a model makes of them: most words of a text have come before. */
#ifndef UM_TEXT_WORD_CACHE_H
#define UM_TEXT_WORD_CACHE_H

#include "base/mem.h"

enum { UM_WORD_CACHED_BYTES = 64 }; /* longer words are not kept */

struct um_word {
    uint64_t hash;
    uint32_t text, ids;     /* where they start in the cache's pools */
    uint32_t n_text, n_ids; /* n_text 0: a free slot */
};

/* Start with all zero; the memory comes with the first word that is added. */
struct um_word_cache {
    struct um_word *slots; /* owned, like the pools */
    char *text;
    int32_t *ids;
    size_t n_words, n_text, n_ids;
};

uint64_t um_word_hash(const char *text, size_t n); /* what the others ask for */
/* NULL if the word is not there. Borrows, until the next word is added. */
const struct um_word *um_word_cache_find(const struct um_word_cache *cache, uint64_t hash,
                                         const char *text, size_t n);
/* Keeps a word if it can. False when out of memory. */
bool um_word_cache_add(struct um_word_cache *cache, uint64_t hash, const char *text, size_t n,
                       const int32_t *ids, size_t n_ids);
void um_word_cache_free(struct um_word_cache *cache);

#endif
