/*
 * Keys and values of tokens that were gone through before: what makes going on with a text cost one
 * token at a time. Feature-major, [K E, capacity] for each layer, key or value, and slot (a text).
 */
#ifndef UM_NN_CACHE_H
#define UM_NN_CACHE_H

#include "base/mem.h"

struct um_cache {
    int64_t n_layers, n_slots, rows; /* rows: K E */
    int64_t capacity;                /* tokens of a slot; rows lie so far apart */
    int64_t *lengths;                /* tokens that are there, by slot; the caller moves them on */
    float *data;
};

/* `is_dry`: without data, for planning. */
enum um_status um_cache_open(struct um_cache *cache, int64_t n_layers, int64_t n_slots,
                             int64_t rows, int64_t capacity, bool is_dry, struct um_error *err);
size_t um_cache_bytes(const struct um_cache *cache); /* of data */
void um_cache_close(struct um_cache *cache);
/* Gives slot `to` all that slot `from` holds. */
void um_cache_copy(const struct um_cache *cache, int64_t to, int64_t from);
/* Keys (part 0) or values (1) of a layer and slot. */
float *um_cache_part(const struct um_cache *cache, int64_t layer, int part, int64_t slot);

#endif
