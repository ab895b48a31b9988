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

/* A matrix of bfloat16 numbers [rows, cols], as um_gemm_bf16 takes it. */
struct um_bf16 {
    const uint16_t *values;
    int64_t rows, cols;
};

/* Rounds a matrix [rows, cols] to nearest even into memory of um_bf16_floats(rows, cols) floats. */
struct um_bf16 um_round_bf16(float *to, const float *from, int64_t ld, int64_t rows, int64_t cols);
int64_t um_bf16_floats(int64_t rows, int64_t cols);

/* c = op(a) b of such matrices, with fp32 sums over k > 0; or added to c; bias [m] (NULL: none) is
 * added to every column. Scratch of um_gemm_bf16_floats() floats. Several times um_gemm's speed
 * where the processor has AMX or AVX-512's bfloat16 products, and slower than it elsewhere. */
void um_gemm_bf16(float *c, int64_t ldc, struct um_bf16 a, enum um_trans trans_a, struct um_bf16 b,
                  const float *bias, bool adds, float *scratch);
int64_t um_gemm_bf16_floats(void);
bool um_gemm_bf16_is_native(void);

/* The same of fp32 matrices, rounded into `scratch` of um_gemm_rounded_floats(m, n, k) floats. */
void um_gemm_rounded(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k,
                     const float *bias, bool adds, float *scratch);
int64_t um_gemm_rounded_floats(int64_t m, int64_t n, int64_t k);

/* About what the library behind it keeps: compiled kernels (of bfloat16 products too, if
 * is_rounded), and packed operands of each thread. */
int64_t um_gemm_bytes(bool is_rounded);

#endif
