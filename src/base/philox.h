/*
 * Philox4x32: counter-based random numbers (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, counter): nothing to save but
 * the counter, the same for any number of threads, and recomputation gives the same bits.
 */
#ifndef UM_BASE_PHILOX_H
#define UM_BASE_PHILOX_H

#include <math.h>
#include <stdint.h>

#include "base/compiler.h"

/* One block of four words. `rounds` is 10 for statistics, 7 (Crush-resistant) where speed
 * counts. */
static inline void um_philox(uint32_t out[4], uint64_t seed, uint64_t stream, uint64_t counter,
                             int rounds)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int r = 0; r < rounds; r++) {
        uint64_t p0 = (uint64_t)0xD2511F53U * c0, p1 = (uint64_t)0xCD9E8D57U * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* A stream of numbers for code that draws one after another. The state is plain data. */
struct um_random {
    uint64_t seed, stream, counter;
};

static inline uint64_t um_random_u64(struct um_random *r)
{
    uint32_t w[4];
    um_philox(w, r->seed, r->stream, r->counter++, 10);
    return (uint64_t)w[1] << 32 | w[0];
}

/* Uniform in [0, n), n > 0, without bias (Lemire 2019). */
static inline uint64_t um_random_below(struct um_random *r, uint64_t n)
{
    for (;;) {
        um_u128 m = (um_u128)um_random_u64(r) * n;
        if ((uint64_t)m >= (UINT64_MAX - n + 1) % n)
            return (uint64_t)(m >> 64);
    }
}

/* Uniform in (0, 1). */
static inline double um_random_unit(struct um_random *r)
{
    return ((double)(um_random_u64(r) >> 11) + 0.5) * 0x1p-53;
}

/* Standard normal (Box-Muller, one of the pair). */
static inline double um_random_normal(struct um_random *r)
{
    double radius = sqrt(-2 * log(um_random_unit(r)));
    return radius * cos(6.283185307179586 * um_random_unit(r));
}

#endif
