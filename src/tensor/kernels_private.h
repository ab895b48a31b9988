/* What the kernel files share: names per instruction set, and functions that vectorise. */
#ifndef UM_TENSOR_KERNELS_PRIVATE_H
#define UM_TENSOR_KERNELS_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "tensor/kernels.h"

#define UM_JOIN_(a, b)  a##_##b
#define UM_JOIN(a, b)   UM_JOIN_(a, b)
#define UM_LEVELED(name) UM_JOIN(name, UM_LEVEL)

/* Every kernel file fills its part of the table. */
void UM_LEVELED(um_kernels_fill_math)(struct um_kernels *k);
void UM_LEVELED(um_kernels_fill_column)(struct um_kernels *k);
void UM_LEVELED(um_kernels_fill_select)(struct um_kernels *k);
void UM_LEVELED(um_kernels_fill_expand)(struct um_kernels *k);
void UM_LEVELED(um_kernels_fill_dot)(struct um_kernels *k);

/* exp for |x| <= 87, clamped beyond; relative error below 2e-7. x = n ln 2 + r, |r| <= ln 2 / 2;
 * e^r by the Taylor-like minimax polynomial of Cephes' expf. */
static UM_ALWAYS_INLINE float um_exp(float x)
{
    x = x < -87.0F ? -87.0F : x;
    x = x > 88.0F ? 88.0F : x;
    /* Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. */
    float shifted = x * 1.44269504088896341F + 12582912.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof(bits));
    float n = shifted - 12582912.0F;
    float r = x - n * 0.693359375F - n * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    uint32_t power = (bits + 127U) << 23;
    float two_n;
    memcpy(&two_n, &power, sizeof(two_n));
    return p * two_n;
}

/* erf to about 1 ulp: two polynomials joined at 0.921875 (coefficients by N. Juffa). */
static UM_ALWAYS_INLINE float um_erf(float a)
{
    float t = a < 0 ? -a : a, s = a * a;
    float r = -1.72853470e-5F * t + 3.83197126e-4F;
    float u = -3.88396438e-3F * t + 2.42546219e-2F;
    r = r * s + u;
    r = r * t - 1.06777877e-1F;
    r = r * t - 6.34846687e-1F;
    r = r * t - 1.28717512e-1F;
    r = r * t - t;
    float far = 1.0F - um_exp(r);
    far = a < 0 ? -far : far;
    float q = -5.96761703e-4F;
    q = q * s + 4.99119423e-3F;
    q = q * s - 2.67681349e-2F;
    q = q * s + 1.12819925e-1F;
    q = q * s - 3.76125336e-1F;
    q = q * s + 1.28379166e-1F;
    return t > 0.921875F ? far : q * a + a;
}

#endif
