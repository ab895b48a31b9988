/*
 * Dot products of stored rows with fp32 numbers: each weight goes from its bits to a register and
 * is multiplied there, so that going on with a text by one token reads a quantised model once, as
 * it is stored. Activations stay fp32 (llama.cpp rounds them to 8 bits): results are those of the
 * expanded row but for the order of the sums.
 *
 * Of types with a minimum, sum (d q + m) x = d sum q x + m sum x; the sums of x by block come with
 * it.
 */
#include "tensor/kernels_private.h"
#include "tensor/lanes_private.h"
#include "tensor/quant.h"

/* Two chains of sums, so that additions need not wait for each other. */
struct sums {
    struct um_lanes a, b;
};

static UM_ALWAYS_INLINE float total(struct sums s)
{
    return um_lanes_sum(s.a) + um_lanes_sum(s.b);
}

/* ---- 16-bit floats */

/* `wide` and `one` make eight numbers and one of their bytes; constants, so that they are
 * inlined. */
static UM_ALWAYS_INLINE void dot_halves(float *restrict out, const unsigned char *restrict w,
                                        int64_t n_rows, const float *restrict x, int64_t n,
                                        struct um_lanes (*wide)(const unsigned char *),
                                        float (*one)(const unsigned char *))
{
    for (int64_t r = 0; r < n_rows; r++, w += 2 * n) {
        struct sums s = {um_lanes_zero(), um_lanes_zero()};
        int64_t i = 0;
        for (; i + 2 * UM_LANES <= n; i += 2 * UM_LANES) {
            s.a = um_lanes_fma(wide(w + 2 * i), um_lanes_load(x + i), s.a);
            s.b = um_lanes_fma(wide(w + 2 * (i + UM_LANES)), um_lanes_load(x + i + UM_LANES), s.b);
        }
        float rest = 0;
        for (; i < n; i++)
            rest += one(w + 2 * i) * x[i];
        out[r] = total(s) + rest;
    }
}

static void dot_f16(float *restrict out, const void *restrict rows, int64_t n_rows,
                    const float *restrict x, const float *restrict x_sums, int64_t n)
{
    (void)x_sums;
    dot_halves(out, rows, n_rows, x, n, um_lanes_f16, um_lanes_half);
}

static UM_ALWAYS_INLINE float one_bf16(const unsigned char *from)
{
    return um_f32_of_bf16(um_half_at(from));
}

static void dot_bf16(float *restrict out, const void *restrict rows, int64_t n_rows,
                     const float *restrict x, const float *restrict x_sums, int64_t n)
{
    (void)x_sums;
    dot_halves(out, rows, n_rows, x, n, um_lanes_bf16, one_bf16);
}

/* ---- blocks of 32 */

/* s += d sum q x, of 16 bytes that hold 32 numbers of four bits. */
static UM_ALWAYS_INLINE struct sums
add_halves(struct sums s, float d, const unsigned char *restrict q, const float *restrict x)
{
    struct um_whole_lanes first = um_lanes_bytes(q), second = um_lanes_bytes(q + UM_LANES);
    struct um_lanes a =
        um_lanes_product(um_lanes_of_whole(um_lanes_low_half(first)), um_lanes_load(x));
    struct um_lanes b =
        um_lanes_product(um_lanes_of_whole(um_lanes_low_half(second)), um_lanes_load(x + UM_LANES));
    a = um_lanes_fma(um_lanes_of_whole(um_lanes_high_half(first)), um_lanes_load(x + 2 * UM_LANES),
                     a);
    b = um_lanes_fma(um_lanes_of_whole(um_lanes_high_half(second)), um_lanes_load(x + 3 * UM_LANES),
                     b);
    return (struct sums){um_lanes_scaled(d, a, s.a), um_lanes_scaled(d, b, s.b)};
}

static void dot_q4_0(float *restrict out, const void *restrict rows, int64_t n_rows,
                     const float *restrict x, const float *restrict x_sums, int64_t n)
{
    const struct um_q4_0 *b = rows;
    for (int64_t r = 0; r < n_rows; r++) {
        struct sums s = {um_lanes_zero(), um_lanes_zero()};
        float offset = 0;
        for (int64_t k = 0; k < n / UM_QUANT_BLOCK; k++, b++) {
            float d = um_lanes_half(b->d);
            s = add_halves(s, d, b->q, x + k * UM_QUANT_BLOCK);
            offset += d * x_sums[k];
        }
        out[r] = total(s) - 8 * offset;
    }
}

static void dot_q4_1(float *restrict out, const void *restrict rows, int64_t n_rows,
                     const float *restrict x, const float *restrict x_sums, int64_t n)
{
    const struct um_q4_1 *b = rows;
    for (int64_t r = 0; r < n_rows; r++) {
        struct sums s = {um_lanes_zero(), um_lanes_zero()};
        float least = 0;
        for (int64_t k = 0; k < n / UM_QUANT_BLOCK; k++, b++) {
            s = add_halves(s, um_lanes_half(b->d), b->q, x + k * UM_QUANT_BLOCK);
            least += um_lanes_half(b->m) * x_sums[k];
        }
        out[r] = total(s) + least;
    }
}

static void dot_q8_0(float *restrict out, const void *restrict rows, int64_t n_rows,
                     const float *restrict x, const float *restrict x_sums, int64_t n)
{
    const struct um_q8_0 *b = rows;
    (void)x_sums;
    for (int64_t r = 0; r < n_rows; r++) {
        struct sums s = {um_lanes_zero(), um_lanes_zero()};
        for (int64_t k = 0; k < n / UM_QUANT_BLOCK; k++, b++) {
            const float *y = x + k * UM_QUANT_BLOCK;
            struct um_lanes q[4];
            for (int i = 0; i < 4; i++)
                q[i] = um_lanes_of_whole(um_lanes_signed(b->q + i * UM_LANES));
            struct um_lanes a = um_lanes_product(q[0], um_lanes_load(y));
            struct um_lanes c = um_lanes_product(q[1], um_lanes_load(y + UM_LANES));
            a = um_lanes_fma(q[2], um_lanes_load(y + 2 * UM_LANES), a);
            c = um_lanes_fma(q[3], um_lanes_load(y + 3 * UM_LANES), c);
            float d = um_lanes_half(b->d);
            s = (struct sums){um_lanes_scaled(d, a, s.a), um_lanes_scaled(d, c, s.b)};
        }
        out[r] = total(s);
    }
}

void UM_LEVELED(um_kernels_fill_dot)(struct um_kernels *k)
{
    k->dot_rows[UM_F16] = dot_f16;
    k->dot_rows[UM_BF16] = dot_bf16;
    k->dot_rows[UM_Q4_0] = dot_q4_0;
    k->dot_rows[UM_Q4_1] = dot_q4_1;
    k->dot_rows[UM_Q8_0] = dot_q8_0;
}
