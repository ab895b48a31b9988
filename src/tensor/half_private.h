/* 16-bit floats by bits: every value (denormals, infinities, NaN with its payload) survives, no
 * instruction set is needed, and loops of these vectorise. */
#ifndef UM_TENSOR_HALF_PRIVATE_H
#define UM_TENSOR_HALF_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

static UM_ALWAYS_INLINE float um_f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static UM_ALWAYS_INLINE uint32_t um_bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* The 16 bits at `from`, which may be unaligned. */
static UM_ALWAYS_INLINE uint16_t um_half_at(const unsigned char *from)
{
    uint16_t h;
    memcpy(&h, from, sizeof(h));
    return h;
}

/* The exponent's bias grows from 15 to 127; the one of infinity and NaN, from 31 to 255. Zero and
 * denormals are fraction * 2^-24. */
static UM_ALWAYS_INLINE float um_f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    uint32_t normal = (magnitude << 13) + (magnitude < 0x7c00 ? 112U << 23 : 224U << 23);
    uint32_t denormal = um_bits_of_f32((float)(int32_t)magnitude * 0x1p-24F);
    return um_f32_of_bits(sign | (magnitude < 0x400 ? denormal : normal));
}

static UM_ALWAYS_INLINE float um_f32_of_bf16(uint16_t h)
{
    return um_f32_of_bits((uint32_t)h << 16);
}

/* Rounded to nearest even. */
static inline uint16_t um_f16_of_f32(float value)
{
    uint32_t bits = um_bits_of_f32(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
    if (magnitude >= 0x477ff000) /* rounds to 65536 or is larger: infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: denormal; adding 0.5 rounds at 2^-24 */
        uint32_t rounded = um_bits_of_f32(um_f32_of_bits(magnitude) + 0.5F) - um_bits_of_f32(0.5F);
        return (uint16_t)(sign | rounded);
    }
    uint32_t odd = (magnitude >> 13) & 1;
    return (uint16_t)(sign | ((magnitude + 0xfff + odd - (112U << 23)) >> 13));
}

static UM_ALWAYS_INLINE uint16_t um_bf16_of_f32(float value)
{
    uint32_t bits = um_bits_of_f32(value);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40
                                                       : rounded); /* stays NaN */
}

#endif
