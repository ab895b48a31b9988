/*
 * Kernels of selection and update: sums in a fixed order, dot products along tokens, the scan for
 * candidates, the AdamW step. Lanes are explicit, so that AVX2 and AVX-512 add in the same order.
 */
#include <math.h>

#include "tensor/kernels_private.h"

/* Tokens that dot products take at a time: a block of x rows then stays in the second-level cache
 * while all pairs use it. A pair's sum is the sum of its blocks' sums, in order. */
enum { LANES = 32, DOT_BLOCK = 512, SCAN_BLOCK = 64 };

static UM_ALWAYS_INLINE float lanes_sum(const float lane[LANES])
{
    float half[LANES / 2];
    for (int l = 0; l < LANES / 2; l++)
        half[l] = lane[l] + lane[l + LANES / 2];
    for (int width = LANES / 4; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            half[l] += half[l + width];
    return half[0];
}

static UM_ALWAYS_INLINE float dot_block(const float *a, const float *b, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    for (int l = 0; i < n; i++, l++)
        lane[l] += a[i] * b[i];
    return lanes_sum(lane);
}

/* Four at once against one row, which is loaded once; each sum has the bits of dot_block. */
static UM_ALWAYS_INLINE void dot_block_4(float out[4], const float *a, const float *const b[4],
                                         int64_t n)
{
    float lane[4][LANES] = {{0}};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < 4; k++)
            for (int l = 0; l < LANES; l++)
                lane[k][l] += a[i + l] * b[k][i + l];
    for (int l = 0; i < n; i++, l++)
        for (int k = 0; k < 4; k++)
            lane[k][l] += a[i] * b[k][i];
    for (int k = 0; k < 4; k++)
        out[k] += lanes_sum(lane[k]);
}

static float k_sum(const float *x, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    for (int l = 0; i < n; i++, l++)
        lane[l] += x[i];
    return lanes_sum(lane);
}

static float k_sum_squares(const float *x, int64_t n)
{
    return dot_block(x, x, n);
}

static double k_sum_squares_f64(const float *x, int64_t n)
{
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < n; i++, l++)
        lane[l] += (double)x[i] * (double)x[i];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* Infinities and not-a-number have an exponent of all ones. */
static bool k_is_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        bad |= (uint32_t)((bits & 0x7f800000) == 0x7f800000);
    }
    return bad == 0;
}

static void k_dots(float *out, const struct um_pair *pairs, int64_t n_pairs, const float *dy,
                   int64_t lddy, const float *x, int64_t ldx, int64_t n_tokens)
{
    for (int64_t k = 0; k < n_pairs; k++)
        out[k] = 0;
    for (int64_t t = 0; t < n_tokens; t += DOT_BLOCK) {
        int64_t n = n_tokens - t < DOT_BLOCK ? n_tokens - t : DOT_BLOCK;
        for (int64_t k = 0; k < n_pairs;) {
            const float *row = dy + pairs[k].row * lddy + t;
            if (k + 4 <= n_pairs && pairs[k + 3].row == pairs[k].row &&
                pairs[k + 1].row == pairs[k].row && pairs[k + 2].row == pairs[k].row) {
                const float *const columns[4] = {
                    x + pairs[k].column * ldx + t, x + pairs[k + 1].column * ldx + t,
                    x + pairs[k + 2].column * ldx + t, x + pairs[k + 3].column * ldx + t};
                dot_block_4(out + k, row, columns, n);
                k += 4;
            } else {
                out[k] += dot_block(row, x + pairs[k].column * ldx + t, n);
                k++;
            }
        }
    }
}

static UM_ALWAYS_INLINE int is_candidate(const float *theta, const float *bound, float scale,
                                         float eps, int64_t j)
{
    float size = 1.0F;
    if (theta)
        size = fabsf(theta[j]) + eps;
    return !(size > bound[j] * scale + 0x1p-125F); /* what an underflow may have lost */
}

static UM_ALWAYS_INLINE int64_t scan_with(int32_t *out, const float *theta, const float *bound,
                                          float scale, float eps, int64_t n)
{
    int64_t n_out = 0, j = 0;
    for (; j + SCAN_BLOCK <= n; j += SCAN_BLOCK) {
        int any = 0;
        for (int l = 0; l < SCAN_BLOCK; l++)
            any |= is_candidate(theta, bound, scale, eps, j + l);
        if (UM_LIKELY(!any))
            continue;
        for (int l = 0; l < SCAN_BLOCK; l++)
            if (is_candidate(theta, bound, scale, eps, j + l))
                out[n_out++] = (int32_t)(j + l);
    }
    for (; j < n; j++)
        if (is_candidate(theta, bound, scale, eps, j))
            out[n_out++] = (int32_t)j;
    return n_out;
}

static int64_t k_scan(int32_t *out, const float *theta, const float *bound, float scale, float eps,
                      int64_t n)
{
    return theta ? scan_with(out, theta, bound, scale, eps, n)
                 : scan_with(out, NULL, bound, scale, eps, n);
}

static void k_adamw(float *restrict w, float *restrict m, float *restrict v,
                    const float *restrict g, int64_t n, float g_scale, float rate1, float beta2,
                    float rate2, float step_size, float inv_sqrt_correction, float eps,
                    float decay)
{
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * g_scale;
        float p = w[i] * decay;
        m[i] += (d - m[i]) * rate1;
        v[i] = v[i] * beta2 + d * d * rate2;
        w[i] = p - step_size * (m[i] / (sqrtf(v[i]) * inv_sqrt_correction + eps));
    }
}

void UM_LEVELED(um_kernels_fill_select)(struct um_kernels *k)
{
    k->sum = k_sum;
    k->sum_squares = k_sum_squares;
    k->sum_squares_f64 = k_sum_squares_f64;
    k->is_finite = k_is_finite;
    k->dots = k_dots;
    k->scan = k_scan;
    k->adamw = k_adamw;
}
