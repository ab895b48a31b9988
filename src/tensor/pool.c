/* First-fit allocation in one region; the few hundred blocks of a step are a sorted array. */
#define _GNU_SOURCE /* madvise */
#include "tensor/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN_BYTES ((size_t)64)
/* Dry pools hand out addresses from here on: never dereferenced, never NULL. */
#define DRY_BASE ((uintptr_t)1 << 46)

struct um_pool_block {
    size_t offset, bytes;
    bool is_used;
};

static char *region(const struct um_pool *pool)
{
    return pool->is_dry ? (char *)DRY_BASE : pool->base; // NOLINT: an address, not memory
}

enum um_status um_pool_open(struct um_pool *pool, size_t size_bytes, bool is_dry,
                            struct um_error *err)
{
    *pool = (struct um_pool){.size_bytes = size_bytes & ~(ALIGN_BYTES - 1), .is_dry = is_dry};
    if (!um_grow(&pool->blocks, &pool->capacity, 64, sizeof(*pool->blocks)))
        return um_fail_memory(err, "a pool", 64 * sizeof(*pool->blocks));
    if (!is_dry && pool->size_bytes) {
        void *base = mmap(NULL, pool->size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED) {
            um_pool_close(pool);
            return um_fail(err, UM_E_RUNTIME, "cannot reserve %zu bytes for activations: %s",
                           size_bytes, strerror(errno));
        }
        pool->base = base;
        (void)madvise(base, pool->size_bytes, MADV_HUGEPAGE); /* fewer TLB misses, if it can be */
    }
    um_pool_reset(pool);
    return UM_OK;
}

void um_pool_reset(struct um_pool *pool)
{
    pool->blocks[0] = (struct um_pool_block){.bytes = pool->size_bytes};
    pool->n_blocks = 1;
    pool->used_bytes = 0;
}

void um_pool_close(struct um_pool *pool)
{
    if (pool->base)
        munmap(pool->base, pool->size_bytes);
    um_free(pool->blocks);
    *pool = (struct um_pool){0};
}

static void remove_block(struct um_pool *pool, size_t i)
{
    memmove(pool->blocks + i, pool->blocks + i + 1,
            (pool->n_blocks - i - 1) * sizeof(*pool->blocks));
    pool->n_blocks--;
}

float *um_pool_take(struct um_pool *pool, int64_t n_floats)
{
    assert(n_floats >= 0);
    if ((size_t)n_floats > SIZE_MAX / 8)
        return NULL;
    size_t bytes = ((size_t)n_floats * sizeof(float) + ALIGN_BYTES) & ~(ALIGN_BYTES - 1);
    size_t i = 0;
    while (i < pool->n_blocks && (pool->blocks[i].is_used || pool->blocks[i].bytes < bytes))
        i++;
    if (i == pool->n_blocks ||
        !um_grow(&pool->blocks, &pool->capacity, pool->n_blocks + 1, sizeof(*pool->blocks)))
        return NULL;
    struct um_pool_block *block = &pool->blocks[i];
    if (block->bytes > bytes) {
        memmove(block + 1, block, (pool->n_blocks - i) * sizeof(*block));
        pool->n_blocks++;
        block[1].offset += bytes;
        block[1].bytes -= bytes;
        block->bytes = bytes;
    }
    block->is_used = true;
    pool->used_bytes += bytes;
    if (block->offset + bytes > pool->peak_bytes)
        pool->peak_bytes = block->offset + bytes;
    return (float *)(void *)(region(pool) + block->offset);
}

void um_pool_give(struct um_pool *pool, float *memory)
{
    if (!memory)
        return;
    size_t offset = (size_t)((char *)memory - region(pool)), low = 0, high = pool->n_blocks;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (pool->blocks[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    struct um_pool_block *block = &pool->blocks[low];
    assert(block->offset == offset && block->is_used);
    block->is_used = false;
    pool->used_bytes -= block->bytes;
    if (low + 1 < pool->n_blocks && !block[1].is_used) {
        block->bytes += block[1].bytes;
        remove_block(pool, low + 1);
    }
    if (low > 0 && !block[-1].is_used) {
        block[-1].bytes += block->bytes;
        remove_block(pool, low);
    }
}
