/*
 * Stored weights to fp32: 16-bit floats and ggml's quantised blocks (tensor/quant.h). Plain loops
 * of 16 to 64 elements, marked as vectors because compilers would rather unroll what is this short.
 * Products are exact, so every instruction set gives the same bits.
 */
#include "tensor/half_private.h"
#include "tensor/kernels_private.h"
#include "tensor/quant.h"

static UM_ALWAYS_INLINE float half(const unsigned char bytes[2])
{
    return um_f32_of_f16(um_half_at(bytes));
}

static void expand_f32(float *restrict to, const void *restrict from, int64_t n)
{
    memcpy(to, from, (size_t)n * sizeof(float));
}

static void expand_f16(float *restrict to, const void *restrict from, int64_t n)
{
    const unsigned char *bytes = from;
    for (int64_t i = 0; i < n; i++)
        to[i] = um_f32_of_f16(um_half_at(bytes + 2 * i));
}

static void expand_bf16(float *restrict to, const void *restrict from, int64_t n)
{
    const unsigned char *bytes = from;
    for (int64_t i = 0; i < n; i++)
        to[i] = um_f32_of_bf16(um_half_at(bytes + 2 * i));
}

static void k_round_bf16(void *restrict to, const float *restrict from, int64_t n)
{
    unsigned char *bytes = to;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = um_bf16_of_f32(from[i]);
        memcpy(bytes + 2 * i, &h, sizeof(h));
    }
}

/* ---- blocks of 32 */

static void expand_q4_0(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q4_0 *b = from;
    for (; n > 0; n -= UM_QUANT_BLOCK, to += UM_QUANT_BLOCK, b++) {
        float d = half(b->d);
#pragma omp simd
        for (int i = 0; i < 16; i++) {
            to[i] = d * (float)((b->q[i] & 15) - 8);
            to[i + 16] = d * (float)((b->q[i] >> 4) - 8);
        }
    }
}

static void expand_q4_1(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q4_1 *b = from;
    for (; n > 0; n -= UM_QUANT_BLOCK, to += UM_QUANT_BLOCK, b++) {
        float d = half(b->d), m = half(b->m);
#pragma omp simd
        for (int i = 0; i < 16; i++) {
            to[i] = d * (float)(b->q[i] & 15) + m;
            to[i + 16] = d * (float)(b->q[i] >> 4) + m;
        }
    }
}

static UM_ALWAYS_INLINE uint32_t word(const unsigned char bytes[4])
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static void expand_q5_0(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q5_0 *b = from;
    for (; n > 0; n -= UM_QUANT_BLOCK, to += UM_QUANT_BLOCK, b++) {
        float d = half(b->d);
        uint32_t high = word(b->high);
#pragma omp simd
        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> i & 1) << 4, upper_fifth = (int)(high >> (i + 16) & 1) << 4;
            to[i] = d * (float)(((b->q[i] & 15) | fifth) - 16);
            to[i + 16] = d * (float)((b->q[i] >> 4 | upper_fifth) - 16);
        }
    }
}

static void expand_q5_1(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q5_1 *b = from;
    for (; n > 0; n -= UM_QUANT_BLOCK, to += UM_QUANT_BLOCK, b++) {
        float d = half(b->d), m = half(b->m);
        uint32_t high = word(b->high);
#pragma omp simd
        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> i & 1) << 4, upper_fifth = (int)(high >> (i + 16) & 1) << 4;
            to[i] = d * (float)((b->q[i] & 15) | fifth) + m;
            to[i + 16] = d * (float)(b->q[i] >> 4 | upper_fifth) + m;
        }
    }
}

static void expand_q8_0(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q8_0 *b = from;
    for (; n > 0; n -= UM_QUANT_BLOCK, to += UM_QUANT_BLOCK, b++) {
        float d = half(b->d);
#pragma omp simd
        for (int i = 0; i < UM_QUANT_BLOCK; i++)
            to[i] = d * (float)(int8_t)b->q[i];
    }
}

/* ---- superblocks of 256; those with sub-blocks of 16 are split into bytes first */

/* 128 elements from 32 bytes: byte i has i, i + 32, i + 64, i + 96 in its pairs of bits. */
static UM_ALWAYS_INLINE void split_pairs(unsigned char *restrict q,
                                         const unsigned char *restrict packed)
{
    for (int j = 0; j < 4; j++)
#pragma omp simd
        for (int i = 0; i < 32; i++)
            q[32 * j + i] = packed[i] >> 2 * j & 3;
}

static void expand_q2_k(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q2_k *b = from;
    for (; n > 0; n -= UM_QUANT_SUPERBLOCK, b++) {
        unsigned char q[UM_QUANT_SUPERBLOCK];
        float d = half(b->d), m = half(b->m);
        split_pairs(q, b->q);
        split_pairs(q + 128, b->q + 32);
        for (int g = 0; g < 16; g++, to += 16) {
            float scale = d * (float)(b->scales[g] & 15), least = m * (float)(b->scales[g] >> 4);
#pragma omp simd
            for (int i = 0; i < 16; i++)
                to[i] = scale * (float)q[16 * g + i] - least;
        }
    }
}

static void expand_q3_k(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q3_k *b = from;
    for (; n > 0; n -= UM_QUANT_SUPERBLOCK, b++) {
        unsigned char q[UM_QUANT_SUPERBLOCK];
        float d = half(b->d);
        split_pairs(q, b->q);
        split_pairs(q + 128, b->q + 32);
        for (int j = 0; j < 8; j++)
#pragma omp simd
            for (int i = 0; i < 32; i++)
                q[32 * j + i] |= (unsigned char)((b->high[i] >> j & 1) << 2);
        for (int g = 0; g < 16; g++, to += 16) {
            int low = b->scales[g % 8] >> 4 * (g / 8) & 15;
            int high = b->scales[8 + g % 4] >> 2 * (g / 4) & 3;
            float scale = d * (float)((low | high << 4) - 32);
#pragma omp simd
            for (int i = 0; i < 16; i++)
                to[i] = scale * (float)(q[16 * g + i] - 4);
        }
    }
}

/* The j-th scale and minimum of Q4_K and Q5_K: the first four of each in 6 bits of a byte, the
 * others in 4 bits of the last four bytes and the 2 bits that the first left. */
static UM_ALWAYS_INLINE void scale_min(float *scale, float *least, const unsigned char s[12], int j,
                                       float d, float m)
{
    int s6 = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int m6 = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    *scale = d * (float)s6;
    *least = m * (float)m6;
}

static void expand_q4_k(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q4_k *b = from;
    for (; n > 0; n -= UM_QUANT_SUPERBLOCK, b++) {
        float d = half(b->d), m = half(b->m), scale[2], least[2];
        const unsigned char *q = b->q;
        for (int j = 0; j < 8; j += 2, to += 64, q += 32) {
            scale_min(&scale[0], &least[0], b->scales, j, d, m);
            scale_min(&scale[1], &least[1], b->scales, j + 1, d, m);
#pragma omp simd
            for (int i = 0; i < 32; i++) {
                to[i] = scale[0] * (float)(q[i] & 15) - least[0];
                to[i + 32] = scale[1] * (float)(q[i] >> 4) - least[1];
            }
        }
    }
}

static void expand_q5_k(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q5_k *b = from;
    for (; n > 0; n -= UM_QUANT_SUPERBLOCK, b++) {
        float d = half(b->d), m = half(b->m), scale[2], least[2];
        const unsigned char *q = b->q;
        for (int j = 0; j < 8; j += 2, to += 64, q += 32) {
            scale_min(&scale[0], &least[0], b->scales, j, d, m);
            scale_min(&scale[1], &least[1], b->scales, j + 1, d, m);
#pragma omp simd
            for (int i = 0; i < 32; i++) {
                int high = b->high[i] >> j;
                to[i] = scale[0] * (float)((q[i] & 15) | (high & 1) << 4) - least[0];
                to[i + 32] = scale[1] * (float)(q[i] >> 4 | (high & 2) << 3) - least[1];
            }
        }
    }
}

static void expand_q6_k(float *restrict to, const void *restrict from, int64_t n)
{
    const struct um_q6_k *b = from;
    for (; n > 0; n -= UM_QUANT_SUPERBLOCK, b++) {
        unsigned char q[UM_QUANT_SUPERBLOCK], high[UM_QUANT_SUPERBLOCK];
        float d = half(b->d);
        for (int h = 0; h < 2; h++) {
            split_pairs(high + 128 * h, b->high + 32 * h);
#pragma omp simd
            for (int i = 0; i < 64; i++) {
                q[128 * h + i] = b->q[64 * h + i] & 15;
                q[128 * h + i + 64] = b->q[64 * h + i] >> 4;
            }
        }
        for (int g = 0; g < 16; g++, to += 16) {
            float scale = d * (float)(int8_t)b->scales[g];
#pragma omp simd
            for (int i = 0; i < 16; i++)
                to[i] = scale * (float)((q[16 * g + i] | high[16 * g + i] << 4) - 32);
        }
    }
}

void UM_LEVELED(um_kernels_fill_expand)(struct um_kernels *k)
{
    k->round_bf16 = k_round_bf16;
    k->expand[UM_F32] = expand_f32;
    k->expand[UM_F16] = expand_f16;
    k->expand[UM_BF16] = expand_bf16;
    k->expand[UM_Q4_0] = expand_q4_0;
    k->expand[UM_Q4_1] = expand_q4_1;
    k->expand[UM_Q5_0] = expand_q5_0;
    k->expand[UM_Q5_1] = expand_q5_1;
    k->expand[UM_Q8_0] = expand_q8_0;
    k->expand[UM_Q2_K] = expand_q2_k;
    k->expand[UM_Q3_K] = expand_q3_k;
    k->expand[UM_Q4_K] = expand_q4_k;
    k->expand[UM_Q5_K] = expand_q5_k;
    k->expand[UM_Q6_K] = expand_q6_k;
}
