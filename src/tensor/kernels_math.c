/*
 * Elementwise kernels: sums, activations and their derivatives, dropout. Outputs may be inputs
 * (`omp simd` says that elements are independent, which `restrict` could not).
 *
 * Dropout keeps element i of a stream if 16 bits of Philox4x32-7 are not below a threshold. A group
 * of 128 elements takes 16 counters: element 16 w + l of a group is half w / 4 of word w % 4 of
 * counter l, so that lanes of a vector stand side by side.
 */
#include "tensor/kernels_private.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { LANES = 16, GROUP = 128, DROP_ROUNDS = 7 };

static void k_fill(float *y, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
}

static void k_add(float *y, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void k_add_to(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void k_scale(float *y, float s, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] *= s;
}

static void k_multiply(float *y, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}

/* tanh: odd polynomial of Cephes below 0.625, else 1 - 2 / (e^2x + 1). */
static UM_ALWAYS_INLINE float tanh_of(float x)
{
    float t = x < 0 ? -x : x, s = x * x;
    float p = -5.70498872745e-3F;
    p = p * s + 2.06390887954e-2F;
    p = p * s - 5.37397155531e-2F;
    p = p * s + 1.33314422036e-1F;
    p = p * s - 3.33332819422e-1F;
    p = p * s * x + x;
    float far = 1.0F - 2.0F / (um_exp(2 * t) + 1.0F);
    far = x < 0 ? -far : far;
    return t < 0.625F ? p : far;
}

static UM_ALWAYS_INLINE float sigmoid_of(float x)
{
    return 1.0F / (1.0F + um_exp(-x));
}

static void k_gelu(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 0.5F * x[i] * (1.0F + um_erf(x[i] * 0.70710678118654752F));
}

static void k_gelu_grad(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i];
        float below = 0.5F * (1.0F + um_erf(v * 0.70710678118654752F));
        dx[i] = dy[i] * (below + v * 0.39894228040143268F * um_exp(-0.5F * v * v));
    }
}

#define SQRT_2_OVER_PI 0.79788456080286536F

static void k_gelu_tanh(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i];
        y[i] = 0.5F * v * (1.0F + tanh_of(SQRT_2_OVER_PI * (v + 0.044715F * v * v * v)));
    }
}

static void k_gelu_tanh_grad(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i];
        float t = tanh_of(SQRT_2_OVER_PI * (v + 0.044715F * v * v * v));
        float slope = SQRT_2_OVER_PI * (1.0F + 3 * 0.044715F * v * v);
        dx[i] = dy[i] * (0.5F * (1.0F + t) + 0.5F * v * (1.0F - t * t) * slope);
    }
}

static void k_add_scaled(float *y, float s, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

static float k_dot(const float *a, const float *b, int64_t n)
{
    enum { WIDE = 64 }; /* several vectors of sums: additions need not wait for each other */
    float sums[WIDE] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        for (int l = 0; l < WIDE; l++)
            sums[l] += a[i + l] * b[i + l];
    for (int l = 0; i < n; i++, l++)
        sums[l] += a[i] * b[i];
    for (int l = 0; l < WIDE; l++)
        sum += sums[l];
    return sum;
}

static void k_rotate(float *y1, float *y2, const float *x1, const float *x2, const float *c,
                     const float *s, float sign, bool add, int64_t n)
{
    if (add) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            y1[i] += x1[i] * c[i] - x2[i] * (sign * s[i]);
            y2[i] += x2[i] * c[i] + x1[i] * (sign * s[i]);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float a = x1[i], b = x2[i], t = sign * s[i];
        y1[i] = a * c[i] - b * t;
        y2[i] = b * c[i] + a * t;
    }
}

static void k_silu(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * sigmoid_of(x[i]);
}

static void k_silu_grad(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float s = sigmoid_of(x[i]);
        dx[i] = dy[i] * s * (1.0F + x[i] * (1.0F - s));
    }
}

static void k_relu(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

static void k_relu_grad(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = x[i] > 0 ? dy[i] : 0;
}

static void k_tanh(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = tanh_of(x[i]);
}

static void k_tanh_grad(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float t = tanh_of(x[i]);
        dx[i] = dy[i] * (1.0F - t * t);
    }
}

/* Products of the low halves of 64-bit lanes: one instruction that compilers do not find. */
typedef uint64_t u64x8 __attribute__((vector_size(64)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));

static UM_ALWAYS_INLINE u64x8 multiply_low(u64x8 a, uint32_t b)
{
#if defined(__AVX512F__)
    return (u64x8)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
    union {
        u64x8 all;
        __m256i half[2];
    } x = {.all = a};
    x.half[0] = _mm256_mul_epu32(x.half[0], _mm256_set1_epi64x(b));
    x.half[1] = _mm256_mul_epu32(x.half[1], _mm256_set1_epi64x(b));
    return x.all;
#else
    return (a & 0xffffffffU) * b;
#endif
}

/* The four words of 8 consecutive counters. Only low halves of lanes count; what gathers above them
 * is cut off at the end. */
static UM_ALWAYS_INLINE void random_words(uint32_t words[4][LANES], int first, struct um_drop d,
                                          uint32_t counter)
{
    static const u64x8 steps = {0, 1, 2, 3, 4, 5, 6, 7};
    u64x8 c0 = steps + (counter + (uint32_t)first), c1 = {0}, c2 = c1, c3 = c1;
    uint32_t k0 = (uint32_t)d.seed, k1 = (uint32_t)(d.seed >> 32);
    c2 += (uint32_t)d.stream;
    c3 += (uint32_t)(d.stream >> 32);
    for (int r = 0; r < DROP_ROUNDS; r++) {
        u64x8 p0 = multiply_low(c0, 0xD2511F53U), p1 = multiply_low(c2, 0xCD9E8D57U);
        c0 = (p1 >> 32) ^ c1 ^ k0;
        c2 = (p0 >> 32) ^ c3 ^ k1;
        c1 = p1;
        c3 = p0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    const u64x8 all[4] = {c0, c1, c2, c3};
    for (int w = 0; w < 4; w++) {
        u32x8 low = __builtin_convertvector(all[w], u32x8);
        memcpy(&words[w][first], &low, sizeof(low));
    }
}

/* keep[i] = scale or 0 for the elements of group `group`. */
static UM_ALWAYS_INLINE void keep_factors(float keep[GROUP], struct um_drop d, int64_t group)
{
    uint32_t words[4][LANES];
    random_words(words, 0, d, (uint32_t)group * LANES);
    random_words(words, LANES / 2, d, (uint32_t)group * LANES);
    for (int w = 0; w < 4; w++) {
        for (int l = 0; l < LANES; l++) {
            keep[w * LANES + l] = (words[w][l] & 0xffff) < d.threshold ? 0 : d.scale;
            keep[(w + 4) * LANES + l] = (words[w][l] >> 16) < d.threshold ? 0 : d.scale;
        }
    }
}

static void k_drop(float *y, const float *x, int64_t n, struct um_drop d)
{
    if (d.threshold == 0) {
        memmove(y, x, (size_t)n * sizeof(float));
        return;
    }
    float keep[GROUP];
    for (int64_t i = 0; i < n; i += GROUP) {
        keep_factors(keep, d, i / GROUP);
        int64_t m = n - i < GROUP ? n - i : GROUP;
#pragma omp simd
        for (int64_t j = 0; j < m; j++)
            y[i + j] = x[i + j] * keep[j];
    }
}

static void k_add_drop(float *y, const float *a, const float *x, int64_t n, struct um_drop d)
{
    if (d.threshold == 0) {
        k_add(y, a, x, n);
        return;
    }
    float keep[GROUP];
    for (int64_t i = 0; i < n; i += GROUP) {
        keep_factors(keep, d, i / GROUP);
        int64_t m = n - i < GROUP ? n - i : GROUP;
#pragma omp simd
        for (int64_t j = 0; j < m; j++)
            y[i + j] = a[i + j] + x[i + j] * keep[j];
    }
}

/* Keep factors of consecutive elements of a stream, handed out in runs. */
struct keep_stream {
    struct um_drop d;
    int64_t group, used; /* the group in hand, elements of it that are used up */
    float keep[GROUP];
};

static UM_ALWAYS_INLINE const float *next_keep(struct keep_stream *s, int64_t want, int64_t *n)
{
    if (s->used == GROUP) {
        keep_factors(s->keep, s->d, s->group++);
        s->used = 0;
    }
    const float *keep = s->keep + s->used;
    *n = want < GROUP - s->used ? want : GROUP - s->used;
    s->used += *n;
    return keep;
}

static void k_drop_block(float *p, int64_t ld, int64_t rows, int64_t n, struct um_drop d)
{
    struct keep_stream s = {.d = d, .used = GROUP};
    for (int64_t i = 0; d.threshold && i < rows; i++) {
        for (int64_t j = 0, m; j < n; j += m) {
            float *run = p + i * ld + j;
            const float *keep = next_keep(&s, n - j, &m);
#pragma omp simd
            for (int64_t k = 0; k < m; k++)
                run[k] *= keep[k];
        }
    }
}

static void k_softmax_grad(float *dp, float *p, int64_t ld, int64_t rows, int64_t n,
                           const float *delta, float scale, struct um_drop d)
{
    struct keep_stream s = {.d = d, .used = GROUP};
    for (int64_t i = 0; i < rows; i++) {
        float *q = p + i * ld, *ds = dp + i * ld;
        if (!d.threshold) {
#pragma omp simd
            for (int64_t j = 0; j < n; j++)
                ds[j] = q[j] * (ds[j] - delta[j]) * scale;
            continue;
        }
        for (int64_t j = 0, m; j < n; j += m) {
            const float *keep = next_keep(&s, n - j, &m);
#pragma omp simd
            for (int64_t k = 0; k < m; k++) {
                ds[j + k] = q[j + k] * (ds[j + k] * keep[k] - delta[j + k]) * scale;
                q[j + k] *= keep[k];
            }
        }
    }
}

void UM_LEVELED(um_kernels_fill_math)(struct um_kernels *k)
{
    k->fill = k_fill;
    k->add = k_add;
    k->add_to = k_add_to;
    k->scale = k_scale;
    k->multiply = k_multiply;
    k->gelu = k_gelu;
    k->gelu_grad = k_gelu_grad;
    k->gelu_tanh = k_gelu_tanh;
    k->gelu_tanh_grad = k_gelu_tanh_grad;
    k->add_scaled = k_add_scaled;
    k->dot = k_dot;
    k->rotate = k_rotate;
    k->silu = k_silu;
    k->silu_grad = k_silu_grad;
    k->relu = k_relu;
    k->relu_grad = k_relu_grad;
    k->tanh = k_tanh;
    k->tanh_grad = k_tanh_grad;
    k->drop = k_drop;
    k->add_drop = k_add_drop;
    k->drop_block = k_drop_block;
    k->softmax_grad = k_softmax_grad;
}
