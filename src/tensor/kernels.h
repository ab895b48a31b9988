/*
 * Vector kernels. One source, built once per instruction set; the table is filled once at the
 * first use: generic, then AVX2, then AVX-512, as far as the machine goes (UNMASK_CPU caps it).
 * Kernels never fail, allocate nothing, know no model, and run on the calling thread.
 *
 * Activations are feature-major: a matrix [features, tokens] whose rows are contiguous along
 * tokens.
 */
#ifndef UM_TENSOR_KERNELS_H
#define UM_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cpu.h"
#include "tensor/dtype.h"

/* Identifies the random numbers of one row of a dropout mask; element i is number i of the
 * stream. */
struct um_drop {
    uint64_t seed, stream;
    uint32_t threshold; /* an element is dropped if its 16-bit number is below; 0 = no dropout */
    float scale;        /* 1 / (1 - p) of what is kept */
};

/* Tokens that the column-wise kernels take at a time at most: their per-token sums stay in L1. */
enum { UM_COLUMN_BLOCK = 128 };

/* Offsets (row of dy, row of x) of one dot product. */
struct um_pair {
    int32_t row, column;
};

struct um_kernels {
    enum um_cpu_level level;

    /* y[i] = value; y = a + b; y += x; y *= s. */
    void (*fill)(float *y, float value, int64_t n);
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    void (*add_to)(float *y, const float *x, int64_t n);
    void (*scale)(float *y, float s, int64_t n);
    void (*multiply)(float *y, const float *a, const float *b, int64_t n);

    void (*add_scaled)(float *y, float s, const float *x, int64_t n); /* y += s x */
    float (*dot)(const float *a, const float *b, int64_t n);

    /* Activations and their derivatives: y = f(x); dx = dy f'(x), written or (_add) accumulated. */
    void (*gelu)(float *y, const float *x, int64_t n);      /* x Phi(x), by erf */
    void (*gelu_grad)(float *dx, const float *dy, const float *x, int64_t n);
    void (*gelu_tanh)(float *y, const float *x, int64_t n); /* the tanh approximation */
    void (*gelu_tanh_grad)(float *dx, const float *dy, const float *x, int64_t n);
    void (*silu)(float *y, const float *x, int64_t n);
    void (*silu_grad)(float *dx, const float *dy, const float *x, int64_t n);
    void (*relu)(float *y, const float *x, int64_t n);
    void (*relu_grad)(float *dx, const float *dy, const float *x, int64_t n);
    void (*tanh)(float *y, const float *x, int64_t n);
    void (*tanh_grad)(float *dx, const float *dy, const float *x, int64_t n);

    /* Turns pairs: y1 = x1 c - x2 s, y2 = x2 c + x1 s with s scaled by `sign`, written or added. A
     * result may stand where its own input does. */
    void (*rotate)(float *y1, float *y2, const float *x1, const float *x2, const float *c,
                   const float *s, float sign, bool add, int64_t n);

    /* y = drop(x); y = a + drop(x); element numbers are 0..n-1 of d's stream. y may be x. */
    void (*drop)(float *y, const float *x, int64_t n, struct um_drop d);
    void (*add_drop)(float *y, const float *a, const float *x, int64_t n, struct um_drop d);

    /* Layer norm over the rows of n (<= UM_COLUMN_BLOCK) token columns: y = (x - mean) rstd gamma
     * + beta. is_rms: mean is 0 and beta is not read (RMS norm); beta may be NULL. */
    void (*norm)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows, int64_t n,
                 const float *gamma, const float *beta, float eps, bool is_rms, float *mean,
                 float *rstd);
    /* dx = rstd (dy gamma - mean_d(dy gamma) - xhat mean_d(dy gamma xhat)), written or
     * accumulated. */
    void (*norm_grad)(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *x,
                      int64_t ldx, int64_t rows, int64_t n, const float *gamma, bool is_rms,
                      const float *mean, const float *rstd, bool accumulate);
    /* One feature: *d_gamma = sum_t dy xhat, *d_beta = sum_t dy. */
    void (*norm_grad_row)(float *d_gamma, float *d_beta, const float *dy, const float *x,
                          const float *mean, const float *rstd, int64_t n);

    /* Softmax down each of n (<= UM_COLUMN_BLOCK) columns of s [rows, n], in place; s is scaled
     * first; lse[n] = log of the sum of exponentials. Column j sees rows first[j]..last[j]-1 only
     * (the others become 0); first or last NULL: all. */
    void (*softmax)(float *s, int64_t lds, int64_t rows, int64_t n, float scale,
                    const int32_t *first, const int32_t *last, float *lse);
    /* The same probabilities again, from lse. */
    void (*softmax_again)(float *s, int64_t lds, int64_t rows, int64_t n, float scale,
                          const int32_t *first, const int32_t *last, const float *lse);
    /* x = e^(x - greatest x), n >= 1 numbers; returns their sum. */
    float (*exp_row)(float *x, int64_t n);
    /* p = drop(p) for a block [rows, n]: its elements, row by row, are one stream. */
    void (*drop_block)(float *p, int64_t ld, int64_t rows, int64_t n, struct um_drop d);
    /* ds = p (drop(dp) - delta) scale over dp, and p = drop(p), with the mask of drop_block. */
    void (*softmax_grad)(float *dp, float *p, int64_t ld, int64_t rows, int64_t n,
                         const float *delta, float scale, struct um_drop d);
    /* out[j] = sum over rows of a[., j] b[., j], for n columns. */
    void (*column_dots)(float *out, const float *a, int64_t lda, const float *b, int64_t ldb,
                        int64_t rows, int64_t n);

    /* Sums in a fixed order, whatever the instruction set's width. */
    float (*sum)(const float *x, int64_t n);
    float (*sum_squares)(const float *x, int64_t n);
    double (*sum_squares_f64)(const float *x, int64_t n);
    bool (*is_finite)(const float *x, int64_t n);

    /* out[k] = sum_t dy[pair.row][t] x[pair.column][t]: the gradient entries a method asks for.
     * A given pair gives the same bits whatever else is in the list. */
    void (*dots)(float *out, const struct um_pair *pairs, int64_t n_pairs, const float *dy,
                 int64_t lddy, const float *x, int64_t ldx, int64_t n_tokens);

    /* Writes the j for which |theta[j]| + eps <= bound[j] * scale may hold (or a comparison with
     * not-a-number makes it unclear); theta NULL: 1 <= bound[j] * scale. Returns their number. */
    int64_t (*scan)(int32_t *out, const float *theta, const float *bound, float scale, float eps,
                    int64_t n);

    /* One AdamW step on n consecutive values (see optim/optimizer.h for the order of operations);
     * the rates are 1 - beta. */
    void (*adamw)(float *w, float *m, float *v, const float *g, int64_t n, float g_scale,
                  float rate1, float beta2, float rate2, float step_size,
                  float inv_sqrt_correction, float eps, float decay);

    /* n stored elements (whole blocks, any alignment) as fp32; NULL for what is no weight type. */
    void (*expand[UM_N_DTYPES])(float *to, const void *from, int64_t n);
    /* n fp32 numbers to bfloat16 (any alignment), to nearest even. */
    void (*round_bf16)(void *to, const float *from, int64_t n);

    /* out[r] = the dot product of stored row r (n elements, whole blocks; rows end to end) with x,
     * straight from what is stored. x_sums: the sum of each 32 numbers of x, n / 32 of them. NULL
     * for a type whose rows are to be expanded first. */
    void (*dot_rows[UM_N_DTYPES])(float *out, const void *rows, int64_t n_rows, const float *x,
                                  const float *x_sums, int64_t n);
};

const struct um_kernels *um_kernels(void);
/* The table of one level, capped at what the machine has: for tests. */
const struct um_kernels *um_kernels_at(enum um_cpu_level level);

#endif
