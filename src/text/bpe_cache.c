/*
 * The cache of words: an open-addressing table with pools for texts and ids. When a pool or the
 * table is full, it is emptied: simple, and words that matter come back at once.
 */
#include <string.h>

#include "text/bpe_private.h"

enum { N_SLOTS = 1 << 14, TEXT_BYTES = 1 << 18, N_IDS = 1 << 16 };

struct um_bpe_scratch *um_bpe_scratch_new(void)
{
    struct um_bpe_scratch *s = UM_NEW(1, struct um_bpe_scratch);
    if (!s)
        return NULL;
    s->slots = UM_NEW(N_SLOTS, struct um_bpe_cached);
    s->cached_text = um_alloc(TEXT_BYTES);
    s->cached_ids = um_alloc(N_IDS * sizeof(*s->cached_ids));
    if (s->slots && s->cached_text && s->cached_ids)
        return s;
    um_bpe_scratch_free(s);
    return NULL;
}

void um_bpe_scratch_free(void *scratch)
{
    struct um_bpe_scratch *s = scratch;
    if (!s)
        return;
    um_free(s->symbols);
    um_free(s->heap);
    um_free(s->slots);
    um_free(s->cached_text);
    um_free(s->cached_ids);
    um_free(s);
}

/* The word's slot, or the free one where it belongs. */
static struct um_bpe_cached *find_slot(const struct um_bpe_scratch *s, uint64_t hash,
                                       const char *word, size_t n)
{
    size_t i = (hash ^ hash >> 32) & (N_SLOTS - 1);
    while (s->slots[i].n_text) {
        const struct um_bpe_cached *slot = &s->slots[i];
        if (slot->hash == hash && slot->n_text == n &&
            !memcmp(s->cached_text + slot->text, word, n))
            break;
        i = (i + 1) & (N_SLOTS - 1);
    }
    return &s->slots[i];
}

const struct um_bpe_cached *um_bpe_cache_find(const struct um_bpe_scratch *s, uint64_t hash,
                                              const char *word, size_t n)
{
    if (n == 0 || n > UM_BPE_CACHED_BYTES)
        return NULL;
    const struct um_bpe_cached *slot = find_slot(s, hash, word, n);
    return slot->n_text ? slot : NULL;
}

void um_bpe_cache_add(struct um_bpe_scratch *s, uint64_t hash, const char *word, size_t n,
                      const int32_t *ids, size_t n_ids)
{
    if (n == 0 || n > UM_BPE_CACHED_BYTES)
        return;
    if (s->n_cached >= N_SLOTS / 2 || s->n_cached_text + n > TEXT_BYTES ||
        s->n_cached_ids + n_ids > N_IDS) {
        memset(s->slots, 0, N_SLOTS * sizeof(*s->slots));
        s->n_cached = s->n_cached_text = s->n_cached_ids = 0;
    }
    *find_slot(s, hash, word, n) = (struct um_bpe_cached){.hash = hash,
                                                          .text = (uint32_t)s->n_cached_text,
                                                          .n_text = (uint32_t)n,
                                                          .ids = (uint32_t)s->n_cached_ids,
                                                          .n_ids = (uint32_t)n_ids};
    memcpy(s->cached_text + s->n_cached_text, word, n);
    if (n_ids)
        memcpy(s->cached_ids + s->n_cached_ids, ids, n_ids * sizeof(*ids));
    s->n_cached_text += n;
    s->n_cached_ids += n_ids;
    s->n_cached++;
}
