/* The vocabulary's hash table: linear probing, at most half full. */
#include "text/vocab.h"

#include <string.h>

/* The high half of FNV's product is the well-mixed one; fold both. */
static uint32_t fold(uint64_t hash)
{
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static void insert(struct um_vocab_slot *slots, size_t n_slots, uint32_t hash, int32_t id)
{
    size_t i = hash & (n_slots - 1);
    while (slots[i].id >= 0)
        i = (i + 1) & (n_slots - 1);
    slots[i] = (struct um_vocab_slot){.hash = hash, .id = id};
}

static bool resize(struct um_vocab *vocab, size_t n_slots)
{
    struct um_vocab_slot *slots = um_alloc(n_slots * sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < n_slots; i++)
        slots[i].id = -1;
    for (size_t i = 0; i < vocab->n_slots; i++) {
        if (vocab->slots[i].id >= 0)
            insert(slots, n_slots, vocab->slots[i].hash, vocab->slots[i].id);
    }
    um_free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n_slots;
    return true;
}

/* Slots for n tokens. */
static bool reserve(struct um_vocab *vocab, size_t n)
{
    size_t n_slots = vocab->n_slots ? vocab->n_slots : 64;
    while (n_slots < 2 * n)
        n_slots *= 2;
    return n_slots == vocab->n_slots || resize(vocab, n_slots);
}

/* Extends entries[] to `n`, the new ones empty. */
static bool extend(struct um_vocab *vocab, size_t n)
{
    if (!um_grow(&vocab->entries, &vocab->capacity, n, sizeof(*vocab->entries)))
        return false;
    for (; vocab->n_entries < n; vocab->n_entries++)
        vocab->entries[vocab->n_entries] = (struct um_vocab_entry){0};
    return true;
}

/* The slot of prefix + text, or the free one where it belongs. */
static struct um_vocab_slot *find_slot(const struct um_vocab *vocab, uint64_t hash,
                                       const char *prefix, size_t n_prefix, const char *text,
                                       size_t n)
{
    uint32_t folded = fold(hash);
    size_t i = folded & (vocab->n_slots - 1);
    for (; vocab->slots[i].id >= 0; i = (i + 1) & (vocab->n_slots - 1)) {
        if (vocab->slots[i].hash != folded)
            continue;
        const struct um_vocab_entry *entry = &vocab->entries[vocab->slots[i].id];
        if (entry->n_bytes == n_prefix + n && !memcmp(entry->text, prefix, n_prefix) &&
            !memcmp(entry->text + n_prefix, text, n))
            break;
    }
    return &vocab->slots[i];
}

bool um_vocab_add(struct um_vocab *vocab, const char *text, size_t n_bytes, int32_t id)
{
    size_t index = (size_t)id;
    if (!reserve(vocab, vocab->n_tokens + 1))
        return false;
    if (index >= vocab->n_entries && !extend(vocab, index + 1))
        return false;
    vocab->entries[index] = (struct um_vocab_entry){.text = text, .n_bytes = (uint32_t)n_bytes};
    if (n_bytes > vocab->longest)
        vocab->longest = n_bytes;
    uint64_t hash = um_vocab_hash(UM_VOCAB_HASH_START, text, n_bytes);
    struct um_vocab_slot *slot = find_slot(vocab, hash, "", 0, text, n_bytes);
    vocab->n_tokens += slot->id < 0;
    *slot = (struct um_vocab_slot){.hash = fold(hash), .id = id};
    return true;
}

void um_vocab_free(struct um_vocab *vocab)
{
    um_free(vocab->entries);
    um_free(vocab->slots);
    *vocab = (struct um_vocab){0};
}

int32_t um_vocab_find_hashed(const struct um_vocab *vocab, uint64_t hash, const char *prefix,
                             size_t n_prefix, const char *text, size_t n)
{
    return vocab->n_slots ? find_slot(vocab, hash, prefix, n_prefix, text, n)->id : -1;
}

int32_t um_vocab_find(const struct um_vocab *vocab, const char *text, size_t n)
{
    return um_vocab_find_hashed(vocab, um_vocab_hash(UM_VOCAB_HASH_START, text, n), "", 0, text, n);
}
