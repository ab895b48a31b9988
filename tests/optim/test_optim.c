/* The trainable set keeps columns and positions in step; AdamW and SGD follow their formulas; the
 * learning-rate schedules are those of transformers. */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "optim/optimizer.h"

enum { N = 40 };

static void open_set(struct um_trainable *set, struct um_param *param, float *values,
                     bool is_whole, const struct um_optimizer *optimizer,
                     const struct um_optimizer_options *options)
{
    struct um_error err;
    bool columns[UM_N_COLUMNS] = {[UM_COLUMN_VALUE] = true, [UM_COLUMN_GRAD] = true};
    struct um_param *scope[] = {param};
    *param = (struct um_param){.name = "w", .rows = N, .cols = 1, .n_elements = N, .n_dims = 1,
                               .dtype = UM_F32, .values = values};
    optimizer->columns(columns, options);
    assert_ok(um_trainable_open(set, 1, scope, &is_whole, 1, columns, &err), err);
}

static void test_insertion_keeps_columns_in_step(void **state)
{
    (void)state;
    float values[N];
    struct um_param param;
    struct um_trainable set;
    struct um_error err;
    const struct um_optimizer_options options = {.is_age_per_parameter = true};
    bool is_in[N] = {false};
    for (int i = 0; i < N; i++)
        values[i] = (float)i;
    open_set(&set, &param, values, false, um_optimizer_find("adamw"), &options);
    struct um_random random = {.seed = 2};
    for (int64_t step = 0; step < 12; step++) {
        struct um_pick picks[3];
        int64_t n = 0;
        for (int64_t i = 0; i < N && n < 3; i++)
            if (!is_in[i] && um_random_below(&random, 8) == 0)
                picks[n++] = (struct um_pick){.index = i, .grad = (float)(100 * step + i)};
        for (int64_t k = 0; k < n; k++)
            is_in[picks[k].index] = true;
        assert_ok(um_trainable_insert(&set, picks, n, step, &err), err);
        const struct um_entry *e = &set.entries[0];
        assert_int_equal(e->n, set.n);
        for (int64_t k = 0; k < e->n; k++) {
            if (k > 0)
                assert_true(e->index[k] > e->index[k - 1]);
            float born = e->column[UM_COLUMN_BORN][k];
            assert_true(e->column[UM_COLUMN_VALUE][k] == (float)e->index[k]);
            assert_true(e->column[UM_COLUMN_GRAD][k] == 100 * born + (float)e->index[k]);
        }
        for (int64_t i = 0; i < N; i++)
            assert_int_equal(um_entry_has(e, i), is_in[i]);
    }
    assert_true(set.n > 10);
    um_trainable_close(&set);
}

/* AdamW in double, as the paper has it. */
static void test_adamw_formula(void **state)
{
    (void)state;
    float values[N];
    double w[N], m[N] = {0}, v[N] = {0};
    struct um_param param;
    struct um_trainable set;
    const struct um_optimizer_options o = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6,
                                           .weight_decay = 0.1, .clip = 2};
    struct um_random random = {.seed = 4};
    for (int i = 0; i < N; i++)
        w[i] = (double)(values[i] = (float)um_random_normal(&random));
    open_set(&set, &param, values, true, um_optimizer_find("adamw"), &o);
    for (int64_t t = 0; t < 20; t++) {
        double norm = 0, lr = 0.01 / (double)(t + 1);
        float *g = set.entries[0].column[UM_COLUMN_GRAD];
        for (int i = 0; i < N; i++)
            g[i] = (float)um_random_normal(&random);
        for (int i = 0; i < N; i++)
            norm += (double)g[i] * (double)g[i];
        norm = sqrt(norm);
        assert_true(fabs(um_grad_norm(&set) - norm) < 1e-6 * norm);
        double scale = norm > 2 ? 2 / (norm + 1e-6) : 1;
        um_optimizer_step(um_optimizer_find("adamw"), &set, &o, norm, lr, t);
        for (int i = 0; i < N; i++) {
            double d = (double)g[i] * scale;
            m[i] = 0.9 * m[i] + 0.1 * d;
            v[i] = 0.99 * v[i] + 0.01 * d * d;
            double mean = m[i] / (1 - pow(0.9, (double)t + 1));
            double square = v[i] / (1 - pow(0.99, (double)t + 1));
            w[i] = w[i] * (1 - lr * 0.1) - lr * mean / (sqrt(square) + 1e-6);
            assert_true(fabs(w[i] - (double)values[i]) < 1e-5);
        }
    }
    um_trainable_close(&set);
}

/* By its own age, a late element takes the first step that an early one took. */
static void test_bias_correction_by_age(void **state)
{
    (void)state;
    float values[N] = {0};
    struct um_param param;
    struct um_trainable set;
    struct um_error err;
    const struct um_optimizer_options o = {.beta1 = 0.9, .beta2 = 0.999, .eps = 0,
                                           .is_age_per_parameter = true};
    open_set(&set, &param, values, false, um_optimizer_find("adamw"), &o);
    for (int64_t t = 0; t < 10; t++) {
        const struct um_pick pick = {.index = t, .grad = 3};
        assert_ok(um_trainable_insert(&set, &pick, 1, t, &err), err);
        um_optimizer_step(um_optimizer_find("adamw"), &set, &o, 0, 0.5, t);
        assert_true(fabs((double)values[t] + 0.5) < 1e-5); /* lr * g / |g| */
    }
    um_trainable_close(&set);
}

static void test_sgd_with_momentum(void **state)
{
    (void)state;
    float values[N] = {0};
    struct um_param param;
    struct um_trainable set;
    const struct um_optimizer_options o = {.momentum = 0.5};
    open_set(&set, &param, values, true, um_optimizer_find("sgd"), &o);
    for (int i = 0; i < N; i++)
        set.entries[0].column[UM_COLUMN_GRAD][i] = (float)i;
    um_optimizer_step(um_optimizer_find("sgd"), &set, &o, 0, 0.1, 0);
    um_optimizer_step(um_optimizer_find("sgd"), &set, &o, 0, 0.1, 1);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)values[i] + 0.1 * i + 0.1 * 1.5 * i) < 1e-5);
    um_trainable_close(&set);
}

static void test_lr_schedules(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t t;
        double factor; /* of 100 steps with 10 of warm-up */
    } cases[] = {{"linear", 0, 0},   {"linear", 5, 0.5},   {"linear", 10, 1}, {"linear", 55, 0.5},
                 {"linear", 100, 0}, {"cosine", 10, 1},    {"cosine", 55, 0.5}, {"cosine", 100, 0},
                 {"constant", 3, 0.3}, {"constant", 99, 1}};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        double factor = um_lr_schedule_find(cases[i].name)->factor(cases[i].t, 100, 10);
        assert_true(fabs(factor - cases[i].factor) < 1e-12);
    }
    assert_true(um_lr_schedule_find("linear")->factor(0, 100, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insertion_keeps_columns_in_step),
        cmocka_unit_test(test_adamw_formula),
        cmocka_unit_test(test_bias_correction_by_age),
        cmocka_unit_test(test_sgd_with_momentum),
        cmocka_unit_test(test_lr_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
