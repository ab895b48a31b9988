/*
 * The promise of selection: by bounds = dense, for every bound, importance and shape of data,
 * random and adversarial (equal scores, zeros, denormals, huge ranges, one hot token, u = 0, u over
 * what is left). The dense reference scores every entry and sorts.
 */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "method/method.h"

enum { N_PARAMS = 4, MAX_T = 200 };

struct matrix {
    struct um_param param;
    struct um_factor factor;
    float *dy, *x;
    int32_t ids[MAX_T];
};

struct world {
    struct matrix m[N_PARAMS];
    struct um_random random;
    struct um_trainable set;
    struct um_gradient_work work;
    int64_t n_tokens;
};

/* How numbers are drawn. */
enum flavour { PLAIN, TIES, SPARSE, DENORMAL, HUGE_RANGE, ONE_TOKEN, ALL_ZERO, N_FLAVOURS };

static float draw(struct world *w, enum flavour f, int64_t t)
{
    double normal = um_random_normal(&w->random);
    switch (f) {
    case TIES:
        return (float)((int)(um_random_below(&w->random, 3)) - 1);
    case SPARSE:
        return um_random_below(&w->random, 4) ? 0 : (float)normal;
    case DENORMAL:
        return (float)(normal * 1e-23); /* products are denormal or vanish */
    case HUGE_RANGE:
        return (float)(normal * pow(10, (double)um_random_below(&w->random, 30) - 18));
    case ONE_TOKEN:
        return t == 5 ? (float)normal : 0;
    case ALL_ZERO:
        return 0;
    case PLAIN:
    case N_FLAVOURS:
        break;
    }
    return (float)normal;
}

static float draw_weight(struct world *w, enum flavour f)
{
    double normal = um_random_normal(&w->random);
    if (f == TIES)
        return um_random_below(&w->random, 2) ? 0.5F : -0.5F;
    if (f == DENORMAL)
        return (float)(normal * 1e-40);
    if (um_random_below(&w->random, 20) == 0)
        return 0;
    return (float)(normal * (f == HUGE_RANGE ? pow(10, (double)um_random_below(&w->random, 20) - 15)
                                             : 0.05));
}

static float *draw_rows(struct world *w, int64_t rows, enum flavour f)
{
    float *values = UM_NEW(rows * w->n_tokens, float);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t t = 0; t < w->n_tokens; t++)
            values[i * w->n_tokens + t] = draw(w, f, t);
    return values;
}

static void open_world(struct world *w, uint64_t seed, enum flavour f)
{
    static const struct {
        enum um_factor_kind kind;
        int64_t rows, cols;
    } shapes[N_PARAMS] = {{UM_FACTOR_LOOKUP, 30, 12},
                          {UM_FACTOR_PRODUCT, 37, 65},
                          {UM_FACTOR_VECTOR, 50, 1},
                          {UM_FACTOR_PRODUCT, 90, 33}};
    *w = (struct world){.random = {.seed = seed}};
    w->n_tokens = 1 + (int64_t)um_random_below(&w->random, MAX_T);
    for (int p = 0; p < N_PARAMS; p++) {
        struct matrix *m = &w->m[p];
        m->param = (struct um_param){.name = "m", .index = p, .rows = shapes[p].rows,
                                     .cols = shapes[p].cols, .dtype = UM_F32};
        m->param.n_elements = shapes[p].rows * shapes[p].cols;
        m->param.values = UM_NEW(m->param.n_elements, float);
        for (int64_t i = 0; i < m->param.n_elements; i++)
            m->param.values[i] = draw_weight(w, f);
        bool is_lookup = shapes[p].kind == UM_FACTOR_LOOKUP;
        m->dy = draw_rows(w, is_lookup ? m->param.cols : m->param.rows, f);
        m->x = draw_rows(w, m->param.cols, f);
        for (int64_t t = 0; t < w->n_tokens; t++)
            m->ids[t] = (int32_t)um_random_below(&w->random, 30);
        m->factor = (struct um_factor){.kind = shapes[p].kind, .n_tokens = w->n_tokens,
                                       .dy = m->dy, .x = m->x, .vector = m->dy,
                                       .lddy = w->n_tokens, .ldx = w->n_tokens, .ids = m->ids};
    }
    struct um_param *scope[N_PARAMS];
    static const bool is_whole[N_PARAMS];
    static const bool columns[UM_N_COLUMNS] = {[UM_COLUMN_VALUE] = true, [UM_COLUMN_GRAD] = true};
    for (int p = 0; p < N_PARAMS; p++)
        scope[p] = &w->m[p].param;
    struct um_error err;
    assert_ok(um_trainable_open(&w->set, N_PARAMS, scope, is_whole, N_PARAMS, columns, &err), err);
}

static void close_world(struct world *w)
{
    um_trainable_close(&w->set);
    um_gradient_work_free(&w->work);
    for (int p = 0; p < N_PARAMS; p++) {
        um_free(w->m[p].param.values);
        um_free(w->m[p].dy);
        um_free(w->m[p].x);
    }
}

struct scored {
    double score;
    int32_t param;
    int64_t index;
};

static int better_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->param != y->param)
        return x->param - y->param;
    return (x->index > y->index) - (x->index < y->index);
}

/* Scores of all masked entries with a finite score, best first. */
static int64_t dense_ranking(struct scored *out, struct world *w,
                             const struct um_select_options *options)
{
    int64_t n = 0;
    struct um_error err;
    for (int p = 0; p < N_PARAMS; p++) {
        struct um_param *param = &w->m[p].param;
        struct um_gradient g;
        assert_ok(um_gradient_of(&g, &w->work, param, &w->m[p].factor, &err), err);
        float *dense = UM_NEW(param->n_elements, float);
        if (g.is_product) {
            for (int32_t i = 0; i < g.rows; i++) {
                for (int32_t j = 0; j < g.cols; j++) {
                    struct um_pair pair = {i, j};
                    assert_ok(um_gradient_dots(&dense[i * g.cols + j], &w->work, &g, &pair, 1,
                                               &err),
                              err);
                }
            }
        } else {
            um_gradient_dense(dense, &g, false);
        }
        for (int64_t i = 0; i < param->n_elements; i++) {
            double score = um_importance_score(options, (double)dense[i], (double)param->values[i]);
            if (isfinite(score) && !um_entry_has(w->set.of_param[p], i))
                out[n++] = (struct scored){score, p, i};
        }
        um_free(dense);
    }
    qsort(out, (size_t)n, sizeof(*out), better_first);
    return n;
}

static int by_place(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->param != y->param)
        return x->param - y->param;
    return (x->index > y->index) - (x->index < y->index);
}

/* One selection of u entries, compared with the dense ranking, then inserted. Returns how many. */
static int64_t select_and_compare(struct world *w, const struct um_select_options *options,
                                  int64_t u, struct um_select_stats *stats)
{
    struct um_selector *selector;
    struct um_error err;
    const struct um_pick *picks;
    int64_t n_picks, n_all = 0;
    for (int p = 0; p < N_PARAMS; p++)
        n_all += w->m[p].param.n_elements;
    struct scored *dense = UM_NEW(n_all, struct scored);
    int64_t n_dense = dense_ranking(dense, w, options);
    int64_t expected = u < n_dense ? u : n_dense;
    assert_ok(um_selector_new(&selector, &w->set, options, &err), err);
    assert_ok(um_selector_begin(selector, &(struct um_selection){.n_wanted = u}, &err), err);
    for (int p = N_PARAMS - 1; p >= 0; p--) { /* in backward order */
        struct um_gradient g;
        assert_ok(um_gradient_of(&g, &w->work, &w->m[p].param, &w->m[p].factor, &err), err);
        assert_ok(um_selector_offer(selector, &g, &err), err);
    }
    assert_ok(um_selector_finish(selector, &picks, &n_picks, stats, &err), err);
    assert_int_equal(n_picks, expected);
    qsort(dense, (size_t)expected, sizeof(*dense), by_place);
    for (int64_t i = 0; i < expected; i++) {
        assert_int_equal(picks[i].param, dense[i].param);
        assert_int_equal(picks[i].index, dense[i].index);
    }
    assert_ok(um_trainable_insert(&w->set, picks, n_picks, 0, &err), err);
    um_selector_free(selector);
    um_free(dense);
    return expected;
}

static void test_bounds_equal_dense(void **state)
{
    (void)state;
    static const struct {
        const char *importance;
        double exp, eps;
    } cases[] = {{"d3", 1, 1e-8}, {"d3", 1, 0},   {"d3", 0.5, 1e-3}, {"d3", 2, 1e-8},
                 {"d3", 0, 1e-8}, {"gradient", 1, 0}, {"fisher", 1, 0}, {"d3", 0.1, 1e-3}};
    static const int64_t counts[] = {0, 1, 7, 100, 3000, 100000};
    uint64_t seed = 1;
    for (size_t c = 0; c < UM_COUNT(cases); c++) {
        for (int f = 0; f < N_FLAVOURS; f++) {
            for (int b = UM_BOUND_AUTO; b < UM_N_BOUNDS; b++) {
                struct world w;
                struct um_select_stats stats;
                struct um_select_options options = {
                    .importance = um_importance_find(cases[c].importance),
                    .exp = cases[c].exp, .eps = cases[c].eps, .bound = (enum um_bound)b};
                open_world(&w, seed++, (enum flavour)f);
                /* Several in a row, so that some entries are in the set already. */
                for (size_t k = 0; k < UM_COUNT(counts); k++)
                    select_and_compare(&w, &options, counts[k], &stats);
                close_world(&w);
            }
        }
    }
}

static void test_few_entries_are_scored(void **state)
{
    (void)state;
    struct world w;
    struct um_select_stats stats;
    struct um_select_options options = {.importance = um_importance_find("d3"), .exp = 1,
                                        .eps = 1e-8};
    open_world(&w, 99, PLAIN);
    select_and_compare(&w, &options, 1, &stats);
    assert_true(stats.n_scored < 1000); /* of 5785 */
    assert_true(stats.bound == UM_BOUND_RANK1);
    close_world(&w);
}

static void test_gradient_that_is_not_finite_is_named(void **state)
{
    (void)state;
    struct world w;
    struct um_selector *selector;
    struct um_error err;
    struct um_gradient g;
    struct um_select_options options = {.importance = um_importance_find("d3"), .exp = 1};
    open_world(&w, 5, PLAIN);
    for (int p = 0; p < N_PARAMS; p++)
        w.m[p].dy[0] = NAN;
    w.m[0].param.name = "words.weight";
    w.m[1].param.name = "layer.weight";
    w.m[2].param.name = "layer.bias";
    assert_fails(um_gradient_of(&g, &w.work, &w.m[0].param, &w.m[0].factor, &err), UM_E_DIVERGED,
                 "words.weight", err);
    assert_fails(um_gradient_of(&g, &w.work, &w.m[2].param, &w.m[2].factor, &err), UM_E_DIVERGED,
                 "layer.bias", err);
    assert_ok(um_selector_new(&selector, &w.set, &options, &err), err);
    assert_ok(um_selector_begin(selector, &(struct um_selection){.n_wanted = 3}, &err), err);
    assert_ok(um_gradient_of(&g, &w.work, &w.m[1].param, &w.m[1].factor, &err), err);
    assert_fails(um_selector_offer(selector, &g, &err), UM_E_DIVERGED, "layer.weight", err);
    um_selector_free(selector);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_equal_dense),
        cmocka_unit_test(test_few_entries_are_scored),
        cmocka_unit_test(test_gradient_that_is_not_finite_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
