/* Products of bfloat16 matrices against sums in double, in every layout; by the processor's own
 * instructions where it has them, and by the way without (tests/CMakeLists.txt runs both). */
#include "test.h"

#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "tensor/gemm.h"
#include "tensor/half_private.h"

static double value_at(const struct um_bf16 *o, int64_t row, int64_t col)
{
    int64_t at = o->trans == UM_PLAIN ? row * o->ld + col : col * o->ld + row;
    return (double)um_f32_of_bf16(o->values[at]);
}

/* An operand of op(o) [rows, cols]; its memory goes to *memory. */
static struct um_bf16 operand(float **memory, struct um_random *random, int64_t rows, int64_t cols,
                              enum um_trans trans)
{
    int64_t r = trans == UM_PLAIN ? rows : cols, c = trans == UM_PLAIN ? cols : rows, ld = c + 3;
    float *from = UM_NEW(r * ld, float);
    *memory = UM_NEW(um_bf16_floats(r, c), float);
    for (int64_t i = 0; i < r * ld; i++)
        from[i] = (float)um_random_normal(random);
    struct um_bf16 o = um_round_bf16(*memory, from, ld, r, c, trans);
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < c; j++)
            assert_int_equal(o.values[i * o.ld + j], um_bf16_of_f32(from[i * ld + j]));
    um_free(from);
    return o;
}

static void check(int64_t m, int64_t n, int64_t k, enum um_trans trans_a, enum um_trans trans_b,
                  float beta)
{
    struct um_random random = {.seed = (uint64_t)(m * 31 + n * 7 + k)};
    float *memory[2];
    const struct um_bf16 a = operand(&memory[0], &random, m, k, trans_a);
    const struct um_bf16 b = operand(&memory[1], &random, k, n, trans_b);
    int64_t ld = n + 5;
    float *c = UM_NEW(m * ld, float);
    for (int64_t i = 0; i < m * ld; i++)
        c[i] = beta == 0 ? NAN : (float)(i % 100);
    um_gemm_bf16(c, ld, a, b, m, n, k, beta);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < ld; j++) {
            double sum = beta == 0 ? 0 : (double)((i * ld + j) % 100), size = 1 + fabs(sum);
            if (j >= n) { /* what lies between the rows is not touched */
                assert_true(beta == 0 ? isnan(c[i * ld + j]) : (double)c[i * ld + j] == sum);
                continue;
            }
            for (int64_t l = 0; l < k; l++) {
                double product = value_at(&a, i, l) * value_at(&b, l, j);
                sum += product;
                size += fabs(product);
            }
            if (!(fabs((double)c[i * ld + j] - sum) <= 1e-6 * size))
                fail_msg("[%lld, %lld, %lld] %d %d: c[%lld][%lld] is %g, expected %g", (long long)m,
                         (long long)n, (long long)k, trans_a, trans_b, (long long)i, (long long)j,
                         (double)c[i * ld + j], sum);
        }
    }
    um_free(c);
    um_free(memory[0]);
    um_free(memory[1]);
}

static void test_products(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1},     {5, 7, 3},     {64, 513, 100}, {33, 1040, 17},
                                       {300, 16, 70}, {17, 530, 129}, {2, 15, 64}};
    print_message("bfloat16 products %s\n",
                  um_gemm_bf16_is_native() ? "by the processor" : "by way of fp32");
    for (size_t i = 0; i < UM_COUNT(sizes); i++)
        for (int layout = 0; layout < 4; layout++)
            for (int beta = 0; beta < 2; beta++)
                check(sizes[i][0], sizes[i][1], sizes[i][2],
                      layout & 1 ? UM_TRANSPOSED : UM_PLAIN, layout & 2 ? UM_TRANSPOSED : UM_PLAIN,
                      (float)beta);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    float c = 3;
    const uint16_t one = 0x3f80;
    const struct um_bf16 o = {.values = &one, .ld = 1};
    um_gemm_bf16(&c, 1, o, o, 0, 1, 1, 0);
    um_gemm_bf16(&c, 1, o, o, 1, 0, 1, 0);
    assert_true(c == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_nothing_to_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
