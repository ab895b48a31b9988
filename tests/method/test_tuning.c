/*
 * Tunings on a tiny real model: the budget is met exactly whatever the schedule, whole parameters
 * count, accumulation equals the big batch, 16-bit weights train as well, and wrong budgets and
 * patterns are named.
 */
#include <math.h>

#include "rig.h"

static struct um_tuning_options options_for(const char *budget)
{
    struct um_tuning_options o = {.method = um_method_find("id3"),
                                  .schedule = um_schedule_find("uniform"),
                                  .select = {.importance = um_importance_find("d3"), .exp = 1,
                                             .eps = 1e-8},
                                  .budget = budget, .until = 1, .every = 1, .n_micro = 1};
    return o;
}

static void open_rig(struct rig *r, const char *name, const struct um_tuning_options *o)
{
    rig_open(r, name);
    rig_tune(r, *o);
}

/* One step over rows first..last of the golden batch, in micro-batches of `rows`. */
static double step(struct rig *r, int64_t number, int64_t n_steps, int64_t rows)
{
    const struct um_batch *all = &r->g.batch;
    struct um_batch some = {0};
    struct um_error err;
    double loss = 0;
    assert_ok(um_tuning_begin(&r->tuning, number, n_steps, &err), err);
    for (int64_t first = 0, m = 0; first < all->n_rows; first += rows, m++) {
        int64_t last = first + rows < all->n_rows ? first + rows : all->n_rows;
        golden_take_rows(&some, &r->g, first, last - first);
        um_tuning_micro(&r->tuning, m, last == all->n_rows);
        assert_ok(um_engine_train(&loss, &r->engine, &some, all->n_rows, 0,
                                  um_tuning_sink(&r->tuning), &err),
                  err);
    }
    assert_ok(um_tuning_end(&r->tuning, &err), err);
    rig_update(r, 1e-3, 0, number);
    um_batch_free(&some);
    return loss;
}

static void test_budget_is_met_exactly(void **state)
{
    (void)state;
    for (size_t s = 0; s < um_n_schedules; s++) {
        struct rig r;
        struct um_tuning_options o = options_for("1003");
        o.schedule = &um_schedules[s];
        open_rig(&r, "bert_cls", &o);
        int64_t before = 0, n_updates = 0;
        for (int64_t t = 0; t < 7; t++) {
            step(&r, t, 7, 5);
            assert_true(r.tuning.set.n >= before && r.tuning.set.n <= 1003);
            assert_int_equal(r.tuning.set.n, um_schedule_total(o.schedule, 1003, t, 7, 1));
            before = r.tuning.set.n;
            n_updates += before;
        }
        assert_int_equal(r.tuning.set.n, 1003);
        assert_int_equal(r.tuning.n_updates, n_updates);
        rig_close(&r);
    }
}

static void test_selection_every_few_steps(void **state)
{
    (void)state;
    struct rig r;
    struct um_tuning_options o = options_for("1000");
    o.every = 3;
    open_rig(&r, "bert_cls", &o);
    static const int64_t expected[] = {300, 300, 300, 600, 600, 600, 900, 900, 900, 1000};
    for (int64_t t = 0; t < 10; t++) {
        step(&r, t, 10, 5);
        assert_int_equal(r.tuning.set.n, expected[t]);
    }
    rig_close(&r);
}

static void test_a_budget_of_everything(void **state)
{
    (void)state;
    struct rig r;
    struct um_tuning_options o = options_for("100%");
    open_rig(&r, "bert_cls", &o);
    for (int64_t t = 0; t < 3; t++)
        step(&r, t, 3, 5);
    assert_int_equal(r.tuning.set.n, r.tuning.n_scope);
    rig_close(&r);
}

static void test_accumulation_equals_the_big_batch(void **state)
{
    (void)state;
    struct rig big, small;
    struct um_tuning_options o = options_for("900");
    open_rig(&big, "bert_cls", &o);
    o.n_micro = 3;
    open_rig(&small, "bert_cls", &o);
    for (int64_t t = 0; t < 6; t++)
        assert_true(fabs(step(&big, t, 6, 5) - step(&small, t, 6, 2)) < 1e-5);
    for (size_t e = 0; e < big.tuning.set.n_entries; e++) {
        const struct um_entry *a = &big.tuning.set.entries[e], *b = &small.tuning.set.entries[e];
        assert_int_equal(a->n, b->n);
        if (a->n == 0)
            continue;
        assert_memory_equal(a->index, b->index, (size_t)a->n * sizeof(*a->index));
        assert_true(relative_difference(um_entry_values(a), um_entry_values(b), a->n) < 1e-4);
    }
    rig_close(&big);
    rig_close(&small);
}

/* 16-bit weights stay as they are; changed values are laid over them. */
static void test_16_bit_weights(void **state)
{
    (void)state;
    static const char *const names[] = {"bert_f16", "bert_bf16"};
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        struct um_tuning_options o = options_for("3000");
        open_rig(&r, names[i], &o);
        double first = step(&r, 0, 30, 5), last = first;
        for (int64_t t = 1; t < 30; t++)
            last = step(&r, t, 30, 5);
        assert_true(last < 0.9 * first);
        for (int64_t p = 0; p < r.model.n_params; p++)
            assert_null(r.model.params[p].values);
        rig_close(&r);
    }
}

static void test_budgets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t budget; /* 0: refused */
    } cases[] = {{"320000", 320000}, {"0.17%", 1700}, {"2MB", 100 + (2000000 - 400) / 12},
                 {"1 KiB", 100 + 52}, {"0", 0}, {"-3", 0}, {"x", 0}, {"", 0}, {"1.5", 0},
                 {"nan%", 0}, {"5 apples", 0}, {"1e99", 0}};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_error err;
        int64_t budget;
        enum um_status status = um_budget_parse(&budget, cases[i].text, 1000000, 100, &err);
        if (cases[i].budget) {
            assert_ok(status, err);
            assert_int_equal(budget, cases[i].budget);
        } else {
            assert_fails(status, UM_E_USAGE, "method.budget is", err);
        }
    }
}

/* A part of names is advised to be one that matches. */
static void test_parts_of_names(void **state)
{
    (void)state;
    static const struct {
        char *pattern;
        const char *meant;
    } cases[] = {{"bert.encoder.layer.0", "bert.encoder.layer.0.*"},
                 {"encoder.layer.0", "*.encoder.layer.0.*"},
                 {"query.weight", "*.query.weight"},
                 {"attention.self", "*.attention.self.*"},
                 {"layer.*.self", "*.layer.*.self.*"}};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct rig r;
        struct um_error err;
        char message[200], *patterns[] = {cases[i].pattern};
        struct um_tuning_options o = options_for("1000");
        o.include = (struct um_patterns){patterns, 1};
        (void)snprintf(message, sizeof(message),
                       "scope.include: pattern '%s' matches no parameter; did you mean '%s'?",
                       cases[i].pattern, cases[i].meant);
        rig_open(&r, "bert_cls");
        assert_fails(um_tuning_open(&r.tuning, r.model.params, r.model.n_params, &o, &err),
                     UM_E_USAGE, message, err);
        rig_close(&r);
    }
}

static void test_wrong_scopes_are_named(void **state)
{
    (void)state;
    char *wrong[] = {"bert.encoder.layer.0.attention.self.quary.weight"}, *all[] = {"*"};
    static const struct {
        const char *budget;
        int which; /* pattern: 1 include wrong, 2 exclude all, 3 whole all */
        const char *message;
    } cases[] = {
        {"1000", 1, "scope.include: pattern 'bert.encoder.layer.0.attention.self.quary.weight' "
                    "matches no parameter; the nearest is "
                    "'bert.encoder.layer.0.attention.self.query.weight'"},
        {"1000", 2, "nothing is left to train"},
        {"1000", 3, "train whole"},
        {"99999999", 0, "the scope has only"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct rig r;
        struct um_error err;
        struct um_tuning_options o = options_for(cases[i].budget);
        if (cases[i].which == 1)
            o.include = (struct um_patterns){wrong, 1};
        if (cases[i].which == 2)
            o.exclude = (struct um_patterns){all, 1};
        if (cases[i].which == 3)
            o.whole = (struct um_patterns){all, 1};
        rig_open(&r, "bert_cls");
        assert_fails(um_tuning_open(&r.tuning, r.model.params, r.model.n_params, &o, &err),
                     UM_E_USAGE, cases[i].message, err);
        rig_close(&r);
    }
}

/* The rate that a method begins with falls where much of the model may change. */
static void test_rates(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        double share, rate;
    } cases[] = {{"id3", 0.0017, 3e-3}, {"id3", 0.01, 3e-3},     {"id3", 0.1, 8e-4},
                 {"id3", 1, 1e-4},      {"random", 0.0017, 3e-2}, {"random", 0.01, 6e-3},
                 {"full", 1.0001, 1e-4}, {"lora", 0.003, 1e-3}};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        double rate = um_method_rate(um_method_find(cases[i].method), cases[i].share);
        if (!(fabs(rate - cases[i].rate) < 1e-9))
            fail_msg("%s of %g: %g, expected %g", cases[i].method, cases[i].share, rate,
                     cases[i].rate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_is_met_exactly),
        cmocka_unit_test(test_selection_every_few_steps),
        cmocka_unit_test(test_a_budget_of_everything),
        cmocka_unit_test(test_accumulation_equals_the_big_batch),
        cmocka_unit_test(test_16_bit_weights),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_parts_of_names),
        cmocka_unit_test(test_wrong_scopes_are_named),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
