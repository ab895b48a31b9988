/*
 * Eight lanes of fp32: what a compiler does not make of plain loops by itself when numbers of one
 * byte become fp32 (measured: AVX2 by hand is twice as fast). For the kernel files; without AVX2
 * the same in plain C.
 */
#ifndef UM_TENSOR_LANES_PRIVATE_H
#define UM_TENSOR_LANES_PRIVATE_H

#include "tensor/half_private.h"

enum { UM_LANES = 8 };

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

struct um_lanes {
    __m256 v;
};
struct um_whole_lanes {
    __m256i v;
};

static UM_ALWAYS_INLINE struct um_lanes um_lanes_zero(void)
{
    return (struct um_lanes){_mm256_setzero_ps()};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_load(const float *from)
{
    return (struct um_lanes){_mm256_loadu_ps(from)};
}

/* Eight bytes, unsigned or signed. */
static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_bytes(const unsigned char *from)
{
    return (struct um_whole_lanes){
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from))};
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_signed(const unsigned char *from)
{
    return (struct um_whole_lanes){
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from))};
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_low_half(struct um_whole_lanes x)
{
    return (struct um_whole_lanes){_mm256_and_si256(x.v, _mm256_set1_epi32(15))};
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_high_half(struct um_whole_lanes x)
{
    return (struct um_whole_lanes){_mm256_srli_epi32(x.v, 4)};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_of_whole(struct um_whole_lanes x)
{
    return (struct um_lanes){_mm256_cvtepi32_ps(x.v)};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_f16(const unsigned char *from)
{
    return (struct um_lanes){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from))};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_bf16(const unsigned char *from)
{
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return (struct um_lanes){_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16))};
}

/* a b + c */
static UM_ALWAYS_INLINE struct um_lanes um_lanes_fma(struct um_lanes a, struct um_lanes b,
                                                     struct um_lanes c)
{
    return (struct um_lanes){_mm256_fmadd_ps(a.v, b.v, c.v)};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_scaled(float a, struct um_lanes b,
                                                        struct um_lanes c)
{
    return (struct um_lanes){_mm256_fmadd_ps(_mm256_set1_ps(a), b.v, c.v)};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_product(struct um_lanes a, struct um_lanes b)
{
    return (struct um_lanes){_mm256_mul_ps(a.v, b.v)};
}

static UM_ALWAYS_INLINE void um_lanes_store(float *to, struct um_lanes x)
{
    _mm256_storeu_ps(to, x.v);
}

static UM_ALWAYS_INLINE float um_lanes_half(const unsigned char *from)
{
    return _cvtsh_ss(um_half_at(from));
}

#else

struct um_lanes {
    float v[UM_LANES];
};
struct um_whole_lanes {
    int32_t v[UM_LANES];
};

static UM_ALWAYS_INLINE struct um_lanes um_lanes_zero(void)
{
    return (struct um_lanes){{0}};
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_load(const float *from)
{
    struct um_lanes y;
    memcpy(y.v, from, sizeof(y.v));
    return y;
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_bytes(const unsigned char *from)
{
    struct um_whole_lanes y;
    for (int i = 0; i < UM_LANES; i++)
        y.v[i] = from[i];
    return y;
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_signed(const unsigned char *from)
{
    struct um_whole_lanes y;
    for (int i = 0; i < UM_LANES; i++)
        y.v[i] = (int8_t)from[i];
    return y;
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_low_half(struct um_whole_lanes x)
{
    for (int i = 0; i < UM_LANES; i++)
        x.v[i] &= 15;
    return x;
}

static UM_ALWAYS_INLINE struct um_whole_lanes um_lanes_high_half(struct um_whole_lanes x)
{
    for (int i = 0; i < UM_LANES; i++)
        x.v[i] >>= 4;
    return x;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_of_whole(struct um_whole_lanes x)
{
    struct um_lanes y;
    for (int i = 0; i < UM_LANES; i++)
        y.v[i] = (float)x.v[i];
    return y;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_f16(const unsigned char *from)
{
    struct um_lanes y;
    for (int i = 0; i < UM_LANES; i++)
        y.v[i] = um_f32_of_f16(um_half_at(from + 2 * i));
    return y;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_bf16(const unsigned char *from)
{
    struct um_lanes y;
    for (int i = 0; i < UM_LANES; i++)
        y.v[i] = um_f32_of_bf16(um_half_at(from + 2 * i));
    return y;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_fma(struct um_lanes a, struct um_lanes b,
                                                     struct um_lanes c)
{
    for (int i = 0; i < UM_LANES; i++)
        c.v[i] += a.v[i] * b.v[i];
    return c;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_scaled(float a, struct um_lanes b,
                                                        struct um_lanes c)
{
    for (int i = 0; i < UM_LANES; i++)
        c.v[i] += a * b.v[i];
    return c;
}

static UM_ALWAYS_INLINE struct um_lanes um_lanes_product(struct um_lanes a, struct um_lanes b)
{
    for (int i = 0; i < UM_LANES; i++)
        a.v[i] *= b.v[i];
    return a;
}

static UM_ALWAYS_INLINE void um_lanes_store(float *to, struct um_lanes x)
{
    memcpy(to, x.v, sizeof(x.v));
}

static UM_ALWAYS_INLINE float um_lanes_half(const unsigned char *from)
{
    return um_f32_of_f16(um_half_at(from));
}

#endif

static UM_ALWAYS_INLINE float um_lanes_sum(struct um_lanes x)
{
    float v[UM_LANES];
    um_lanes_store(v, x);
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

#endif
