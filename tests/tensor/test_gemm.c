/* Products of bfloat16 matrices against sums in double, either way round; by the processor's own
 * instructions where it has them, and by the way without (tests/CMakeLists.txt runs both). */
#include "test.h"

#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "tensor/gemm.h"
#include "tensor/half_private.h"

/* An operand [rows, cols] of numbers that bfloat16 has, and the same rounded; memory goes to
 * *memory. */
static struct um_bf16 operand(float **values, float **memory, struct um_random *random,
                              int64_t rows, int64_t cols)
{
    int64_t ld = cols + 3;
    *values = UM_NEW(rows * ld, float);
    *memory = UM_NEW(um_bf16_floats(rows, cols), float);
    for (int64_t i = 0; i < rows * ld; i++)
        (*values)[i] = (float)um_random_normal(random);
    struct um_bf16 o = um_round_bf16(*memory, *values, ld, rows, cols);
    assert_int_equal(o.rows, rows);
    assert_int_equal(o.cols, cols);
    for (int64_t i = 0; i < rows * ld; i++)
        (*values)[i] = um_f32_of_bf16(um_bf16_of_f32((*values)[i]));
    return o;
}

static void check(int64_t m, int64_t n, int64_t k, enum um_trans trans, bool adds,
                  bool has_bias)
{
    struct um_random random = {.seed = (uint64_t)(m * 31 + n * 7 + k)};
    float *memory[2], *values[2];
    bool is_plain = trans == UM_PLAIN;
    const struct um_bf16 a =
        operand(&values[0], &memory[0], &random, is_plain ? m : k, is_plain ? k : m);
    const struct um_bf16 b = operand(&values[1], &memory[1], &random, k, n);
    int64_t ld = n + 5, row_stride = is_plain ? k + 3 : 1, col_stride = is_plain ? 1 : m + 3;
    float *c = UM_NEW(m * ld, float), *scratch = UM_NEW(um_gemm_bf16_floats(), float);
    float *bias = UM_NEW(m, float);
    for (int64_t i = 0; i < m; i++)
        bias[i] = (float)um_random_normal(&random);
    for (int64_t i = 0; i < m * ld; i++)
        c[i] = adds ? (float)(i % 100) : NAN;
    um_gemm_bf16(c, ld, a, trans, b, has_bias ? bias : NULL, adds, scratch);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < ld; j++) {
            double sum = adds ? (double)((i * ld + j) % 100) : 0, size = 1 + fabs(sum);
            if (j >= n) { /* what lies between the rows is not touched */
                assert_true(adds ? (double)c[i * ld + j] == sum : isnan(c[i * ld + j]));
                continue;
            }
            sum += has_bias ? (double)bias[i] : 0;
            for (int64_t l = 0; l < k; l++) {
                double product = (double)values[0][i * row_stride + l * col_stride] *
                                 (double)values[1][l * (n + 3) + j];
                sum += product;
                size += fabs(product);
            }
            if (!(fabs((double)c[i * ld + j] - sum) <= 1e-6 * size))
                fail_msg("[%lld, %lld, %lld] %d: c[%lld][%lld] is %g, expected %g", (long long)m,
                         (long long)n, (long long)k, trans, (long long)i, (long long)j,
                         (double)c[i * ld + j], sum);
        }
    }
    um_free(bias);
    um_free(scratch);
    um_free(c);
    for (int i = 0; i < 2; i++) {
        um_free(memory[i]);
        um_free(values[i]);
    }
}

static void test_products(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1},     {5, 7, 3},     {64, 513, 100}, {33, 1040, 17},
                                       {300, 16, 70}, {17, 530, 129}, {2, 15, 64},
                                       {270, 20, 600}};
    print_message("bfloat16 products %s\n",
                  um_gemm_bf16_is_native() ? "by the processor" : "by way of fp32");
    for (size_t i = 0; i < UM_COUNT(sizes); i++)
        for (int way = 0; way < 8; way++)
            check(sizes[i][0], sizes[i][1], sizes[i][2], way & 1 ? UM_TRANSPOSED : UM_PLAIN,
                  (way & 2) != 0, (way & 4) != 0);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    float c = 3, scratch;
    const struct um_bf16 flat = {.rows = 0, .cols = 1}, thin = {.rows = 1, .cols = 0};
    const uint16_t one = 0x3f80;
    const struct um_bf16 o = {.values = &one, .rows = 1, .cols = 1};
    um_gemm_bf16(&c, 1, flat, UM_PLAIN, o, NULL, false, &scratch);
    um_gemm_bf16(&c, 1, o, UM_PLAIN, thin, NULL, false, &scratch);
    assert_true(c == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_nothing_to_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
