/* Matrix products by oneDNN's sgemm, whose C interface is the same in versions 2 and 3. */
#include "tensor/gemm.h"

#include <assert.h>

#include <oneapi/dnnl/dnnl.h>

#include "base/cpu.h"

void um_gemm(float *c, int64_t ldc, const float *a, int64_t lda, enum um_trans trans_a,
             const float *b, int64_t ldb, enum um_trans trans_b, int64_t m, int64_t n, int64_t k,
             float beta)
{
    if (m == 0 || n == 0)
        return;
    if (k == 0) { /* an empty sum */
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        return;
    }
    dnnl_status_t fault = dnnl_sgemm(trans_a == UM_TRANSPOSED ? 'T' : 'N',
                                     trans_b == UM_TRANSPOSED ? 'T' : 'N', m, n, k, 1.0F, a, lda,
                                     b, ldb, beta, c, ldc);
    assert(fault == dnnl_success); /* only wrong arguments are refused */
    (void)fault;
}

int64_t um_gemm_bytes(bool is_rounded)
{
    /* Seen with oneDNN 2.6 on two threads: 14 MB by AVX2, 40 and 60 MB by AVX-512 without and with
     * AMX; bfloat16's code for each number of tokens is about 8 MB. */
    enum { ROUNDED = 8 };
    static const struct {
        int64_t fixed, per_thread;
    } mebibytes[] = {[UM_CPU_GENERIC] = {4, 5}, [UM_CPU_AVX2] = {4, 5}, [UM_CPU_AVX512] = {36, 12}};
    enum um_cpu_level level = um_cpu_level_of_machine();
    int64_t sum = mebibytes[level].fixed + mebibytes[level].per_thread * um_threads();
    return (sum + (is_rounded ? ROUNDED : 0)) << 20;
}
