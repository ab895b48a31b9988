/*
 * The memory of a step: activations, gradients and scratch in one mapped region, handed out first
 * fit and given back in any order. Deterministic: the same requests get the same offsets, so a dry
 * pass that touches nothing (a pool without memory) tells the peak of the real one exactly.
 */
#ifndef UM_TENSOR_POOL_H
#define UM_TENSOR_POOL_H

#include "base/mem.h"

struct um_pool_block;

struct um_pool {
    char *base;             /* start of the region; NULL in a dry pool */
    size_t size_bytes;      /* of address space; pages come as they are touched */
    size_t used_bytes, peak_bytes; /* given out now; highest end of a block so far */
    struct um_pool_block *blocks;  /* all blocks by offset, free and used */
    size_t n_blocks, capacity;
    bool is_dry;
};

/* Reserves address space for `size_bytes`; `is_dry`: none, only the bookkeeping. */
enum um_status um_pool_open(struct um_pool *pool, size_t size_bytes, bool is_dry,
                            struct um_error *err);
void um_pool_close(struct um_pool *pool);
/* Takes everything back; the peak and the pages stay. */
void um_pool_reset(struct um_pool *pool);

/* Offset-stable memory, 64-byte aligned, contents undefined. NULL when the region is full. A dry
 * pool returns addresses that must not be touched. */
float *um_pool_take(struct um_pool *pool, int64_t n_floats);
void um_pool_give(struct um_pool *pool, float *memory); /* NULL is allowed */

#endif
