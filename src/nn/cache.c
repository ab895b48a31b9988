/* The memory of a key-value cache. */
#include "nn/cache.h"

#include <string.h>

size_t um_cache_bytes(const struct um_cache *c)
{
    return (size_t)(2 * c->n_layers * c->n_slots * c->rows * c->capacity) * sizeof(*c->data);
}

enum um_status um_cache_open(struct um_cache *cache, int64_t n_layers, int64_t n_slots,
                             int64_t rows, int64_t capacity, bool is_dry, struct um_error *err)
{
    capacity = (capacity + 15) / 16 * 16;
    if (capacity % 1024 == 0) /* or all rows would fall into one set of the cache */
        capacity += 16;
    *cache = (struct um_cache){.n_layers = n_layers, .n_slots = n_slots, .rows = rows,
                               .capacity = capacity,
                               .lengths = UM_NEW(n_slots, int64_t)};
    size_t n_bytes = um_cache_bytes(cache);
    if (!is_dry)
        cache->data = um_alloc(n_bytes);
    if (cache->lengths && (cache->data || is_dry))
        return UM_OK;
    um_cache_close(cache);
    um_fail_memory(err, "keys and values", n_bytes);
    um_error_hint(err, "fewer texts at a time (--batch) or fewer new tokens need less");
    return UM_E_RUNTIME;
}

void um_cache_close(struct um_cache *cache)
{
    um_free(cache->lengths);
    um_free(cache->data);
    *cache = (struct um_cache){0};
}

float *um_cache_part(const struct um_cache *c, int64_t layer, int part, int64_t slot)
{
    return c->data + ((2 * layer + part) * c->n_slots + slot) * c->rows * c->capacity;
}

void um_cache_copy(const struct um_cache *c, int64_t to, int64_t from)
{
    size_t n_bytes = (size_t)c->lengths[from] * sizeof(*c->data);
    for (int64_t layer = 0; layer < c->n_layers; layer++)
        for (int part = 0; part < 2; part++)
            for (int64_t row = 0; row < c->rows; row++)
                memcpy(um_cache_part(c, layer, part, to) + row * c->capacity,
                       um_cache_part(c, layer, part, from) + row * c->capacity, n_bytes);
    c->lengths[to] = c->lengths[from];
}
