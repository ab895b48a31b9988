/* Statistics against scipy 1.x (stats.ttest_rel) and numpy. */
#include "test.h"

#include <math.h>

#include "metric/stats.h"

static void test_paired_p(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        double a[5], b[5], p;
    } cases[] = {
        {3, {.81, .79, .84}, {.78, .77, .80}, 0.03509871864598436},
        {5, {1, 2, 3, 4, 5}, {1.1, 1.9, 3.3, 3.8, 5.4}, 0.4299733794885496},
        {3, {10, 10, 11}, {1, 2, 3}, 0.0015961702114103333},
        {2, {.5, .6}, {.7, .3}, 0.8743340836219975},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        double p = um_paired_p(cases[i].a, cases[i].b, cases[i].n);
        if (!(fabs(p - cases[i].p) < 1e-10))
            fail_msg("case %zu: p is %.15g, expected %.15g", i, p, cases[i].p);
        assert_true(um_paired_p(cases[i].b, cases[i].a, cases[i].n) == p);
    }
}

/* Forty pairs: the other side of the continued fraction. */
static void test_paired_p_of_many(void **state)
{
    (void)state;
    enum { N = 40 };
    double a[N], b[N];
    for (int i = 0; i < N; i++) {
        a[i] = i / (double)(N - 1);
        b[i] = a[i] * a[i] + 0.01;
    }
    assert_true(fabs(um_paired_p(a, b, N) / 7.692846471898228e-15 - 1) < 1e-9);
}

static void test_ends(void **state)
{
    (void)state;
    const double a[] = {1, 2, 4}, b[] = {2, 3, 5};
    assert_true(um_paired_p(a, a, 3) == 1);
    assert_true(um_paired_p(a, b, 3) == 0);
    assert_true(isnan(um_paired_p(a, b, 1)));
    assert_true(isnan(um_mean(a, 0)) && isnan(um_deviation(a, 1)));
    assert_true(um_mean(b, 2) == 2.5);
    assert_true(fabs(um_deviation(a, 3) - 1.5275252316519468) < 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paired_p),
        cmocka_unit_test(test_paired_p_of_many),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
