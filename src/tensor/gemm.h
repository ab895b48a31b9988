/* Matrix products in fp32, row-major, by oneDNN (which picks AVX2, AVX-512, AMX by itself). */
#ifndef UM_TENSOR_GEMM_H
#define UM_TENSOR_GEMM_H

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

/* About what the library behind it keeps: compiled kernels, and packed operands of each thread. */
int64_t um_gemm_bytes(void);

#endif
