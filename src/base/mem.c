/* The counted allocator: a 64-byte header holds the size, so that frees can be counted. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES ((size_t)64)
#define CHUNK_BYTES  ((size_t)256 * 1024)

static atomic_size_t mem_used;
static atomic_size_t mem_peak;
static atomic_int_least64_t mem_fail_after;

static bool must_fail(void)
{
    int64_t n = atomic_load_explicit(&mem_fail_after, memory_order_relaxed);
    if (n == 0)
        return false;
    if (n == 1)
        return true;
    atomic_store_explicit(&mem_fail_after, n - 1, memory_order_relaxed);
    return false;
}

static void count_bytes(size_t bytes)
{
    size_t now = atomic_fetch_add(&mem_used, bytes) + bytes;
    size_t peak = atomic_load(&mem_peak);
    while (now > peak && !atomic_compare_exchange_weak(&mem_peak, &peak, now))
        ;
}

void *um_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || must_fail())
        return NULL;
    size_t total = (bytes + 2 * HEADER_BYTES - 1) & ~(HEADER_BYTES - 1);
    char *block = aligned_alloc(HEADER_BYTES, total);
    if (!block)
        return NULL;
    memcpy(block, &bytes, sizeof(bytes));
    count_bytes(bytes);
    return block + HEADER_BYTES;
}

void *um_calloc(size_t count, size_t bytes)
{
    if (bytes && count > SIZE_MAX / bytes)
        return NULL;
    void *pointer = um_alloc(count * bytes);
    if (pointer)
        memset(pointer, 0, count * bytes);
    return pointer;
}

static size_t size_of(const void *pointer)
{
    size_t bytes;
    memcpy(&bytes, (const char *)pointer - HEADER_BYTES, sizeof(bytes));
    return bytes;
}

void *um_realloc(void *pointer, size_t bytes)
{
    void *fresh = um_alloc(bytes);
    if (!fresh || !pointer)
        return fresh;
    size_t old = size_of(pointer);
    memcpy(fresh, pointer, old < bytes ? old : bytes);
    um_free(pointer);
    return fresh;
}

void um_free(void *pointer)
{
    if (!pointer)
        return;
    atomic_fetch_sub(&mem_used, size_of(pointer));
    free((char *)pointer - HEADER_BYTES);
}

char *um_strndup(const char *text, size_t n)
{
    char *copy = um_alloc(n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *um_strdup(const char *text)
{
    return um_strndup(text, strlen(text));
}

size_t um_mem_used(void)
{
    return atomic_load(&mem_used);
}

size_t um_mem_peak(void)
{
    return atomic_load(&mem_peak);
}

int64_t um_mem_left(void)
{
    return atomic_load(&mem_fail_after);
}

void um_mem_fail_after(int64_t n)
{
    atomic_store(&mem_fail_after, n);
}

bool um_grow(void *array_pointer, size_t *capacity, size_t need, size_t bytes)
{
    if (need <= *capacity)
        return true;
    size_t fresh = *capacity ? *capacity * 2 : 16;
    if (fresh < need)
        fresh = need;
    if (bytes && fresh > SIZE_MAX / 2 / bytes)
        return false;
    void *old;
    memcpy(&old, array_pointer, sizeof(old));
    void *grown = um_realloc(old, fresh * bytes);
    if (!grown)
        return false;
    memcpy(array_pointer, &grown, sizeof(grown));
    *capacity = fresh;
    return true;
}

struct um_arena_chunk {
    struct um_arena_chunk *older;
    size_t used, size; /* of the bytes behind this header */
};

void *um_arena_alloc(struct um_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    size_t need = (bytes + 63) & ~(size_t)63;
    struct um_arena_chunk *chunk = arena->chunk;
    if (!chunk || chunk->size - chunk->used < need) {
        size_t size = need > CHUNK_BYTES / 4 ? need : CHUNK_BYTES;
        struct um_arena_chunk *fresh = um_alloc(HEADER_BYTES + size);
        if (!fresh)
            return NULL;
        *fresh = (struct um_arena_chunk){.size = size};
        /* A block with a chunk of its own goes behind the current one, whose room stays in use. */
        if (chunk && size != CHUNK_BYTES) {
            fresh->older = chunk->older;
            chunk->older = fresh;
        } else {
            fresh->older = chunk;
            arena->chunk = fresh;
        }
        chunk = fresh;
    }
    void *pointer = (char *)chunk + HEADER_BYTES + chunk->used;
    chunk->used += need;
    arena->used_bytes += need;
    return pointer;
}

void *um_arena_calloc(struct um_arena *arena, size_t count, size_t bytes)
{
    if (bytes && count > SIZE_MAX / bytes)
        return NULL;
    void *pointer = um_arena_alloc(arena, count * bytes);
    if (pointer)
        memset(pointer, 0, count * bytes);
    return pointer;
}

char *um_arena_strndup(struct um_arena *arena, const char *text, size_t n)
{
    char *copy = um_arena_alloc(arena, n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *um_arena_strdup(struct um_arena *arena, const char *text)
{
    return um_arena_strndup(arena, text, strlen(text));
}

void um_arena_free(struct um_arena *arena)
{
    struct um_arena_chunk *chunk = arena->chunk;
    while (chunk) {
        struct um_arena_chunk *older = chunk->older;
        um_free(chunk);
        chunk = older;
    }
    *arena = (struct um_arena){0};
}
