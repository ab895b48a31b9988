/* Matrix products, row-major, by oneDNN (which picks AVX2, AVX-512, AMX by itself). */
#ifndef UM_TENSOR_GEMM_H
#define UM_TENSOR_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum um_trans { UM_PLAIN, UM_TRANSPOSED };

/*
 * c = op(a) op(b) + beta * c, with op(a) [m, k], op(b) [k, n], c [m, n]; ld* are row strides of the
 * matrices as they are stored. With beta 0, c is written, never read. Inside a parallel region it
 * runs on the calling thread alone. Never fails on valid arguments.
 */
void um_gemm(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
             const float *b, int64_t ldb, enum um_trans trans_b, int64_t m, int64_t n, int64_t k,
             float beta);

/* A matrix of bfloat16 numbers; rows are ld numbers apart. */
struct um_bf16 {
    const uint16_t *values;
    int64_t ld;
    enum um_trans trans;
};

/* Rounds a matrix [rows, cols] to nearest even into memory of um_bf16_floats(rows, cols) floats. */
struct um_bf16 um_round_bf16(float *to, const float *from, int64_t ld, int64_t rows, int64_t cols,
                             enum um_trans trans);
int64_t um_bf16_floats(int64_t rows, int64_t cols);

/* um_gemm of such matrices, k > 0; sums are fp32. Several times um_gemm's speed where the processor
 * has AMX or AVX-512's bfloat16 products, and slower than it elsewhere. Not for parallel regions. */
void um_gemm_bf16(float *c, int64_t ldc, struct um_bf16 a, struct um_bf16 b, int64_t m, int64_t n,
                  int64_t k, float beta);
bool um_gemm_bf16_is_native(void);

/* The same of fp32 matrices, b as it is, rounded into `scratch` of um_gemm_rounded_floats floats. */
void um_gemm_rounded(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k, float beta,
                     float *scratch);
int64_t um_gemm_rounded_floats(int64_t m, int64_t n, int64_t k, enum um_trans trans_a);

/* About what the library behind it keeps: compiled kernels (of bfloat16 products too, if is_rounded),
 * and packed operands of each thread. */
int64_t um_gemm_bytes(bool is_rounded);

#endif
