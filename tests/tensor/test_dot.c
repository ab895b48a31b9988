/* Dot products straight from stored rows, against the expanded rows in double: every type that has
 * them, on each instruction set, rows of odd lengths at odd addresses. */
#include "test.h"

#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "tensor/kernels.h"

enum { N_ROWS = 5, N_MAX = 320 };

/* Random rows; 16-bit numbers and the scales of blocks (their first bytes) are kept small. */
static void make_rows(unsigned char *rows, enum um_dtype dtype, int64_t n, struct um_random *random)
{
    size_t bytes = um_dtype_size(dtype, N_ROWS * n), block = um_dtype_bytes(dtype);
    size_t n_halves = dtype == UM_Q4_1 ? 2 : 1;
    for (size_t i = 0; i < bytes; i++)
        rows[i] = (unsigned char)um_random_u64(random);
    for (size_t at = 0; at < bytes; at += block)
        for (size_t i = 0; i < n_halves; i++)
            rows[at + 2 * i + 1] &= 0xBB; /* an exponent bit of fp16 and bf16 each */
}

static void check_rows(const struct um_kernels *k, enum um_dtype dtype, int64_t n)
{
    struct um_random random = {.seed = (uint64_t)n, .stream = dtype};
    float x[N_MAX], x_sums[N_MAX / 32], expanded[N_MAX], out[N_ROWS];
    unsigned char *memory = um_alloc(um_dtype_size(dtype, N_ROWS * n) + 1), *rows = memory + 1;
    assert_non_null(memory);
    make_rows(rows, dtype, n, &random);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)um_random_normal(&random);
    for (int64_t b = 0; b < n / 32; b++)
        x_sums[b] = k->sum(x + 32 * b, 32);
    k->dot_rows[dtype](out, rows, N_ROWS, x, x_sums, n);
    for (int64_t r = 0; r < N_ROWS; r++) {
        double sum = 0, size = 0;
        um_to_f32(expanded, rows + um_dtype_size(dtype, r * n), dtype, n);
        for (int64_t i = 0; i < n; i++) {
            sum += (double)expanded[i] * (double)x[i];
            size += fabs((double)expanded[i] * (double)x[i]);
        }
        if (!(fabs((double)out[r] - sum) <= 2e-6 * size))
            fail_msg("%s, %d numbers, row %d: %g, expected %g", um_dtype_name(dtype), (int)n,
                     (int)r, (double)out[r], sum);
    }
    um_free(memory);
}

static void test_rows_as_expanded(void **state)
{
    (void)state;
    for (int level = 0; level < 3; level++) {
        const struct um_kernels *k = um_kernels_at((enum um_cpu_level)level);
        int n_types = 0;
        for (int t = 0; t < UM_N_DTYPES; t++) {
            enum um_dtype dtype = (enum um_dtype)t;
            int64_t block = um_dtype_block(dtype);
            n_types += k->dot_rows[t] != NULL;
            for (int64_t n = block; k->dot_rows[t] && n <= N_MAX; n += block)
                check_rows(k, dtype, n);
        }
        assert_true(n_types >= 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_as_expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
