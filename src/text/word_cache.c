/*
 * The cache of words: an open-addressing table with pools for texts and ids. When a pool or the
 * table is full, it is emptied: simple, and words that matter come back at once.
 */
#include "text/word_cache.h"

#include <string.h>

#include "text/vocab.h"

enum { N_SLOTS = 1 << 16, TEXT_BYTES = 1 << 19, N_IDS = 1 << 17 };

static bool has_room(size_t n)
{
    return n > 0 && n <= UM_WORD_CACHED_BYTES;
}

uint64_t um_word_hash(const char *text, size_t n)
{
    return has_room(n) ? um_vocab_hash(UM_VOCAB_HASH_START, text, n) : 0;
}

void um_word_cache_free(struct um_word_cache *cache)
{
    um_free(cache->slots);
    um_free(cache->text);
    um_free(cache->ids);
    *cache = (struct um_word_cache){0};
}

static bool allocate(struct um_word_cache *cache)
{
    cache->slots = UM_NEW(N_SLOTS, struct um_word);
    cache->text = um_alloc(TEXT_BYTES);
    cache->ids = um_alloc(N_IDS * sizeof(*cache->ids));
    if (cache->slots && cache->text && cache->ids)
        return true;
    um_word_cache_free(cache);
    return false;
}

/* The word's slot, or the free one where it belongs. */
static struct um_word *find_slot(const struct um_word_cache *cache, uint64_t hash, const char *text,
                                 size_t n)
{
    size_t i = (hash ^ hash >> 32) & (N_SLOTS - 1);
    while (cache->slots[i].n_text) {
        const struct um_word *slot = &cache->slots[i];
        if (slot->hash == hash && slot->n_text == n && !memcmp(cache->text + slot->text, text, n))
            break;
        i = (i + 1) & (N_SLOTS - 1);
    }
    return &cache->slots[i];
}

const struct um_word *um_word_cache_find(const struct um_word_cache *cache, uint64_t hash,
                                         const char *text, size_t n)
{
    if (!has_room(n) || !cache->slots)
        return NULL;
    const struct um_word *slot = find_slot(cache, hash, text, n);
    return slot->n_text ? slot : NULL;
}

bool um_word_cache_add(struct um_word_cache *cache, uint64_t hash, const char *text, size_t n,
                       const int32_t *ids, size_t n_ids)
{
    if (!has_room(n))
        return true;
    if (!cache->slots && !allocate(cache))
        return false;
    if (cache->n_words >= N_SLOTS / 2 || cache->n_text + n > TEXT_BYTES ||
        cache->n_ids + n_ids > N_IDS) {
        memset(cache->slots, 0, N_SLOTS * sizeof(*cache->slots));
        cache->n_words = cache->n_text = cache->n_ids = 0;
    }
    *find_slot(cache, hash, text, n) = (struct um_word){.hash = hash,
                                                        .text = (uint32_t)cache->n_text,
                                                        .n_text = (uint32_t)n,
                                                        .ids = (uint32_t)cache->n_ids,
                                                        .n_ids = (uint32_t)n_ids};
    memcpy(cache->text + cache->n_text, text, n);
    if (n_ids)
        memcpy(cache->ids + cache->n_ids, ids, n_ids * sizeof(*ids));
    cache->n_text += n;
    cache->n_ids += n_ids;
    cache->n_words++;
    return true;
}
