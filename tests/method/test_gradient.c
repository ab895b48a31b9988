/* The gradient at the elements of a sparse entry, few and many of a stripe of rows, against sums in
 * double. */
#include "test.h"

#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "method/gradient.h"

enum { ROWS = 300, COLS = 40, TOKENS = 70, MANY = ROWS * COLS };

static float dy[ROWS * TOKENS], x[COLS * TOKENS];

static void draw(float *values, int64_t n, struct um_random *random)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)um_random_normal(random);
}

/* One of `share[i]` elements of the rows from 100 i on, 0 being none. */
static void check(const int share[3])
{
    static int64_t index[MANY];
    static float grad[MANY];
    struct um_random random = {.seed = 5};
    struct um_param param = {.name = "m", .rows = ROWS, .cols = COLS, .n_elements = MANY};
    const struct um_factor factor = {.kind = UM_FACTOR_PRODUCT,
                                     .n_tokens = TOKENS,
                                     .dy = dy,
                                     .x = x,
                                     .lddy = TOKENS,
                                     .ldx = TOKENS};
    struct um_entry entry = {.param = &param, .index = index, .column = {[UM_COLUMN_GRAD] = grad}};
    struct um_gradient_work work = {0};
    struct um_gradient g;
    struct um_error err;
    draw(dy, ROWS * TOKENS, &random);
    draw(x, COLS * TOKENS, &random);
    for (int64_t i = 0; i < MANY; i++) {
        int one_of = share[i / COLS / 100];
        if (one_of > 0 && um_random_below(&random, (uint64_t)one_of) == 0)
            index[entry.n++] = i;
    }
    for (int64_t k = 0; k < entry.n; k++)
        grad[k] = (float)(k % 7); /* the gradient is added */
    assert_ok(um_gradient_of(&g, &work, &param, &factor, &err), err);
    assert_ok(um_gradient_add(&entry, &work, &g, &err), err);
    for (int64_t k = 0; k < entry.n; k++) {
        double sum = (double)(k % 7), size = sum;
        for (int64_t t = 0; t < TOKENS; t++) {
            double product = (double)dy[index[k] / COLS * TOKENS + t] *
                             (double)x[index[k] % COLS * TOKENS + t];
            sum += product;
            size += fabs(product);
        }
        if (!(fabs((double)grad[k] - sum) <= 1e-6 * size))
            fail_msg("element %lld: %g, expected %g", (long long)index[k], (double)grad[k], sum);
    }
    um_gradient_work_free(&work);
}

static void test_stripes(void **state)
{
    (void)state;
    static const int shares[][3] = {{0, 0, 0},  {30, 30, 30}, {1, 1, 1},
                                    {30, 2, 0}, {2, 30, 2},   {0, 0, 2}};
    for (size_t i = 0; i < UM_COUNT(shares); i++)
        check(shares[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stripes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
