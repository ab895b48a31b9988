/* Ids by text and texts by id: FNV-1a into an open-addressing table at most half full. */
#include <string.h>

#include "text/tokenizer.h"

static uint64_t hash(const char *text, size_t n)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3U;
    return h ^ h >> 32;
}

int32_t um_vocabulary_find(const struct um_vocabulary *v, const char *text, size_t n)
{
    for (uint64_t i = hash(text, n);; i++) {
        int32_t id = v->slots[i & v->mask] - 1;
        if (id < 0)
            return -1;
        if (v->lengths[id] == n && memcmp(v->texts[id], text, n) == 0)
            return id;
    }
}

static enum um_status add(struct um_vocabulary *v, const char *text, int64_t id,
                          struct um_arena *arena, const char *where, struct um_error *err)
{
    size_t n = strlen(text);
    if (v->texts[id])
        return um_fail(err, UM_E_INPUT, "cannot load '%s': id %lld stands twice: '%s' and '%s'",
                       where, (long long)id, v->texts[id], text);
    v->texts[id] = um_arena_strndup(arena, text, n);
    v->lengths[id] = (uint32_t)n;
    if (!v->texts[id])
        return um_fail_memory(err, where, n);
    uint64_t i = hash(text, n);
    while (v->slots[i & v->mask])
        i++;
    v->slots[i & v->mask] = (int32_t)id + 1;
    return UM_OK;
}

enum um_status um_vocabulary_build(struct um_vocabulary *v, const json_t *object,
                                   struct um_arena *arena, const char *where,
                                   struct um_error *err)
{
    enum { SPARE = 16 }; /* ids may have gaps, but not mostly gaps */
    const char *text;
    json_t *value;
    int64_t n_texts = (int64_t)json_object_size(object), n = 0;
    if (!json_is_object(object) || n_texts == 0)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': the model has no vocabulary", where);
    json_object_foreach ((json_t *)object, text, value) {
        int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= INT32_MAX / 2 || id > n_texts * SPARE + 1000)
            return um_fail(err, UM_E_INPUT, "cannot load '%s': token '%s' has no sensible id",
                           where, text);
        n = id >= n ? id + 1 : n;
    }
    uint64_t n_slots = 16;
    while (n_slots < 2 * (uint64_t)n_texts)
        n_slots *= 2;
    v->n = n;
    v->mask = n_slots - 1;
    v->texts = UM_ARENA_NEW(arena, n, const char *);
    v->lengths = UM_ARENA_NEW(arena, n, uint32_t);
    v->slots = UM_ARENA_NEW(arena, n_slots, int32_t);
    if (!v->texts || !v->lengths || !v->slots)
        return um_fail_memory(err, where, (size_t)n * sizeof(char *));
    json_object_foreach ((json_t *)object, text, value)
        UM_RETURN_IF(add(v, text, json_integer_value(value), arena, where, err));
    return UM_OK;
}
