/*
 * A vocabulary: the text of every token by id, and the id by text through an open-addressing hash
 * table. The hash can be extended byte by byte, so that all prefixes of a word are hashed in one
 * pass over it.
 */
#ifndef UM_TEXT_VOCAB_H
#define UM_TEXT_VOCAB_H

#include "base/mem.h"

struct um_vocab_entry {
    const char *text; /* NUL-terminated; NULL for an id without token */
    uint32_t n_bytes;
};

struct um_vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
};

struct um_vocab {
    struct um_vocab_entry *entries; /* by id; owned */
    size_t n_entries, capacity;     /* the greatest id + 1 */
    struct um_vocab_slot *slots;    /* owned; a power of two of them */
    size_t n_slots, n_tokens;
    size_t longest; /* bytes of the longest token */
};

/* Adds a token; the text must outlive the vocabulary. A text that is there already is found by the
 * new id from now on. False when out of memory. `id` >= 0. */
bool um_vocab_add(struct um_vocab *vocab, const char *text, size_t n_bytes, int32_t id);
void um_vocab_free(struct um_vocab *vocab);

#define UM_VOCAB_HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a, one byte further. */
static inline uint64_t um_vocab_hash_byte(uint64_t hash, char c)
{
    return (hash ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}

static inline uint64_t um_vocab_hash(uint64_t hash, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = um_vocab_hash_byte(hash, text[i]);
    return hash;
}

/* The id of prefix + text, whose hash is given, or -1. */
int32_t um_vocab_find_hashed(const struct um_vocab *vocab, uint64_t hash, const char *prefix,
                             size_t n_prefix, const char *text, size_t n);
/* The id of the text, or -1. */
int32_t um_vocab_find(const struct um_vocab *vocab, const char *text, size_t n);

#endif
