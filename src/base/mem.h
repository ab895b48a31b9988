/*
 * The one counted allocator and the arenas over it.
 *
 * Every allocation of the library goes through um_alloc and friends, so that a high-water mark and
 * a fail-the-nth-allocation hook (for tests) hold everywhere. Lifetimes are arenas.
 */
#ifndef UM_BASE_MEM_H
#define UM_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* 64-byte aligned; NULL when out of memory or told to fail. Zero bytes give a
 * valid pointer. Freed with um_free. */
void *um_alloc(size_t bytes);
void *um_calloc(size_t count, size_t bytes); /* zeroed; NULL too if count * bytes overflows */
void *um_realloc(void *pointer, size_t bytes);
void um_free(void *pointer);
char *um_strdup(const char *text);
char *um_strndup(const char *text, size_t n);

size_t um_mem_used(void);
size_t um_mem_peak(void);
/* Fails the n-th allocation from now (1 = the next) and all after it; 0 switches the hook off. */
void um_mem_fail_after(int64_t n);
int64_t um_mem_left(void); /* of that: 1 when the next fails, or some have */

/* Grows an array to hold at least `need` elements of `bytes`, at least doubling; false = no
 * memory. */
bool um_grow(void *array_pointer, size_t *capacity, size_t need, size_t bytes);

/* An arena: allocations that live and die together. */
struct um_arena {
    struct um_arena_chunk *chunk; /* the newest; older ones linked behind it */
    size_t used_bytes;            /* in all chunks */
};

void *um_arena_alloc(struct um_arena *arena, size_t bytes); /* 64-byte aligned; NULL = no memory */
void *um_arena_calloc(struct um_arena *arena, size_t count, size_t bytes);
char *um_arena_strdup(struct um_arena *arena, const char *text);
char *um_arena_strndup(struct um_arena *arena, const char *text, size_t n);
void um_arena_free(struct um_arena *arena); /* frees all; the arena can be used anew */

/* A typed array from an arena or the heap; NULL = no memory. */
#define UM_NEW(n, type)              ((type *)um_calloc((size_t)(n), sizeof(type)))
#define UM_ARENA_NEW(arena, n, type) ((type *)um_arena_calloc(arena, (size_t)(n), sizeof(type)))

#endif
