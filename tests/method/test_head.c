/*
 * ID3 on decoders: what is chosen over the whole model, the vocabulary head (tied to the table of
 * words or not) included, against a ranking of dense gradients, step after step, with one and with
 * two micro-batches, and of passes that multiply bfloat16 numbers. Entries whose scores lie at the
 * cut within rounding may change places.
 */
#include "rig.h"

enum { N_STEPS = 5 };

struct rigs {
    struct rig id3, twin; /* the twin's gradients are dense */
    struct um_select_options select;
};

static void open_rigs(struct rigs *r, const char *name, double exp, const char *include,
                      int64_t n_micro)
{
    char pattern[64];
    char *const patterns[] = {pattern};
    (void)snprintf(pattern, sizeof(pattern), "%s", include);
    rig_open(&r->id3, name);
    rig_open(&r->twin, name);
    r->select =
        (struct um_select_options){.importance = um_importance_find("d3"), .exp = exp, .eps = 1e-4};
    rig_tune(&r->id3, (struct um_tuning_options){.method = um_method_find("id3"),
                                                 .schedule = um_schedule_find("uniform"),
                                                 .select = r->select,
                                                 .budget = "200",
                                                 .until = 1,
                                                 .every = 1,
                                                 .n_micro = n_micro,
                                                 .include = {patterns, 1}});
    rig_tune(&r->twin, (struct um_tuning_options){.method = um_method_find("full"), .n_micro = 1});
}

struct scored {
    double score;
    int32_t param;
    int64_t index;
};

static int better_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

/* Dense gradients of the twin, at the same weights. */
static void twin_gradients(struct rigs *r, int64_t step)
{
    for (int64_t p = 0; p < r->id3.model.n_params; p++)
        memcpy(r->twin.model.params[p].values, r->id3.model.params[p].values,
               (size_t)r->id3.model.params[p].n_elements * sizeof(float));
    (void)rig_step(&r->twin, step, N_STEPS);
}

/* The golden batch in n_micro parts of whole rows. */
static void id3_gradients(struct rig *r, int64_t step, int64_t n_micro)
{
    struct um_error err;
    struct um_batch part = {0};
    const struct um_batch *all = &r->g.batch;
    double loss = 0;
    assert_ok(um_tuning_begin(&r->tuning, step, N_STEPS, &err), err);
    for (int64_t m = 0; m < n_micro; m++) {
        int64_t first = all->n_rows * m / n_micro, end = all->n_rows * (m + 1) / n_micro;
        golden_take_rows(&part, &r->g, first, end - first);
        um_tuning_micro(&r->tuning, m, m + 1 == n_micro);
        assert_ok(um_engine_train(&loss, &r->engine, &part, all->n_losses, 0,
                                  um_tuning_sink(&r->tuning), &err),
                  err);
    }
    assert_ok(um_tuning_end(&r->tuning, &err), err);
    um_batch_free(&part);
}

/* Scores of the masked entries in scope, best first. */
static struct scored *rank(int64_t *n, const struct rigs *r)
{
    struct scored *all = UM_NEW(um_model_n_elements(&r->id3.model, true), struct scored);
    *n = 0;
    for (int64_t p = 0; p < r->id3.model.n_params; p++) {
        const struct um_entry *entry = r->id3.tuning.set.of_param[p];
        const float *g = r->twin.tuning.set.of_param[p]->column[UM_COLUMN_GRAD];
        for (int64_t i = 0; entry && i < entry->param->n_elements; i++)
            if (!um_entry_has(entry, i))
                all[(*n)++] = (struct scored){
                    um_importance_score(&r->select, (double)g[i], (double)entry->param->values[i]),
                    (int32_t)p, i};
    }
    qsort(all, (size_t)*n, sizeof(*all), better_first);
    return all;
}

static void check_gradients(const struct rigs *r)
{
    double most = 0;
    for (size_t e = 0; e < r->id3.tuning.set.n_entries; e++) {
        const struct um_entry *entry = &r->id3.tuning.set.entries[e];
        const struct um_entry *twin = r->twin.tuning.set.of_param[entry->param->index];
        for (int64_t k = 0; k < twin->n; k++)
            most = fmax(most, fabs((double)twin->column[UM_COLUMN_GRAD][k]));
        for (int64_t k = 0; k < entry->n; k++) {
            double g = (double)entry->column[UM_COLUMN_GRAD][k];
            double expected = (double)twin->column[UM_COLUMN_GRAD][entry->index[k]];
            if (!(fabs(g - expected) < 1e-5 * fabs(expected) + 1e-6 * most))
                fail_msg("%s[%lld]: gradient %g, dense %g", entry->param->name,
                         (long long)entry->index[k], g, expected);
        }
    }
}

static void check(const char *name, double exp, const char *include, int64_t n_micro,
                  bool is_rounded)
{
    struct rigs r;
    open_rigs(&r, name, exp, include, n_micro);
    r.id3.engine.is_rounded = r.twin.engine.is_rounded = is_rounded;
    for (int64_t t = 0; t < N_STEPS; t++) {
        int64_t n, before = r.id3.tuning.set.n;
        twin_gradients(&r, t);
        struct scored *dense = rank(&n, &r);
        id3_gradients(&r.id3, t, n_micro);
        int64_t u = r.id3.tuning.set.n - before;
        assert_int_equal(u, 40);
        double cut = dense[u - 1].score;
        for (int64_t k = 0; k < n && dense[k].score > cut * (1 - 1e-4); k++) {
            bool is_in = um_entry_has(r.id3.tuning.set.of_param[dense[k].param], dense[k].index);
            if (is_in != (k < u) && fabs(dense[k].score - cut) > 1e-4 * cut)
                fail_msg("%s, exp %g, %s, step %lld: entry %lld of %s has rank %lld of %lld", name,
                         exp, include, (long long)t, (long long)dense[k].index,
                         r.id3.model.params[dense[k].param].name, (long long)k, (long long)u);
        }
        check_gradients(&r);
        rig_update(&r.id3, 1e-2, 0, t);
        um_free(dense);
    }
    rig_close(&r.id3);
    rig_close(&r.twin);
}

static void test_heads_equal_dense(void **state)
{
    (void)state;
    static const char *const names[] = {"llama_tied", "llama_untied", "gemma2", "gpt2"};
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        for (int64_t n_micro = 1; n_micro <= 2; n_micro++) {
            check(names[i], 1, "*", n_micro, false);
            check(names[i], 0, "*", n_micro, false);
            check(names[i], 1,
                  i == 1   ? "lm_head.weight"
                  : i == 3 ? "*wte*"
                           : "*embed_tokens*",
                  n_micro, false);
        }
        check(names[i], 1, "*", 1, true);
        check(names[i], 0, "*", 1, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads_equal_dense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
