/*
 * Properties of every method that the families make: importance x strategy x schedule x ranking x
 * region, on a tiny model. At every step the set is what a dense ranking of all entries chooses,
 * its size what the schedule says; masked parameters keep their bits, dropped ones go back or keep
 * their values; updates and touched parameters are counted right; `increment` at one shot is
 * `static`.
 */
#include "rig.h"

#include "base/philox.h"
#include "method/quota.h"
#include "model/addition.h"

enum { N_STEPS = 5, N_ROWS = 2, EVERY = 2, SEED = 11, MANY = 1 << 15 };

static struct rig r;
static struct um_gradient_work work;

/* By element of all parameters, laid end to end. */
static struct {
    struct um_pair pairs[MANY];
    float base[MANY], gradient[MANY];
    bool is_in[MANY], was_in[MANY], is_scope[MANY];
    int64_t starts[64], n, n_updates;
} all;

static void attach(const char *addition)
{
    struct um_error err;
    const struct um_addition_options o = {.addition = um_addition_find(addition),
                                          .rank = 3,
                                          .alpha = 6,
                                          .bottleneck = 4,
                                          .seed = SEED};
    assert_ok(um_model_attach(&r.model, &o, &err), err);
}

static void open_rig(const char *name, const char *addition,
                     const struct um_tuning_options *options)
{
    rig_open(&r, name);
    attach(addition);
    rig_tune(&r, *options);
    all.n = all.n_updates = 0;
    assert_true(r.model.n_params <= (int64_t)UM_COUNT(all.starts));
    for (int64_t p = 0; p < r.model.n_params; p++) {
        struct um_param *param = &r.model.params[p];
        float *base = all.base + all.n;
        all.starts[p] = all.n;
        all.n += param->n_elements;
        assert_true(all.n <= MANY);
        memcpy(base, um_param_read(param, 0, param->rows, base),
               (size_t)param->n_elements * sizeof(float));
        struct um_entry *entry = r.tuning.set.of_param[p];
        for (int64_t i = all.starts[p]; i < all.n; i++) {
            all.is_scope[i] = entry && !entry->is_whole;
            all.is_in[i] = all.was_in[i] = false;
        }
    }
}

static void close_rig(void)
{
    um_gradient_work_free(&work);
    rig_close(&r);
}

/* The dense gradient, entry by entry with the very dot products of selection; then the tuning. */
static void accept_both(void *user, struct um_param *param, const struct um_factor *factor)
{
    struct um_gradient g;
    struct um_error err;
    float *out = all.gradient + all.starts[param->index];
    const struct um_sink *sink = user;
    assert_ok(um_gradient_of(&g, &work, param, factor, &err), err);
    for (int64_t i = 0; g.is_product && i < param->n_elements; i++)
        all.pairs[i] =
            (struct um_pair){.row = (int32_t)(i / g.cols), .column = (int32_t)(i % g.cols)};
    if (g.is_product)
        assert_ok(um_gradient_dots(out, &work, &g, all.pairs, param->n_elements, &err), err);
    else
        um_gradient_dense(out, &g, true);
    sink->accept(sink->user, param, factor);
}

static void run_step(int64_t step, int64_t n_steps)
{
    struct um_error err;
    struct um_batch some = {0};
    double loss = 0;
    golden_take_rows(&some, &r.g, step % r.g.batch.n_rows, N_ROWS);
    memset(all.gradient, 0, sizeof(all.gradient));
    assert_ok(um_tuning_begin(&r.tuning, step, n_steps, &err), err);
    um_tuning_micro(&r.tuning, 0, true);
    struct um_sink sink = um_tuning_sink(&r.tuning);
    assert_ok(um_engine_train(&loss, &r.engine, &some, N_ROWS, 0,
                              (struct um_sink){.accept = accept_both, .user = &sink}, &err),
              err);
    assert_ok(um_tuning_end(&r.tuning, &err), err);
    um_batch_free(&some);
}

/* ---- the dense reference */

static double chance(uint64_t draw, int param, int64_t index)
{
    uint32_t w[4];
    um_philox(w, SEED, draw << 32 | (uint64_t)param, (uint64_t)index / 2, 10);
    uint64_t bits = index % 2 ? (uint64_t)w[3] << 32 | w[2] : (uint64_t)w[1] << 32 | w[0];
    return (double)(bits >> 11);
}

static double reference_score(const struct um_tuning_options *o, double g, double value,
                              uint64_t draw, int param, int64_t index)
{
    const char *name = o->select.importance->name;
    if (strcmp(name, "d3") == 0)
        return fabs(g) / (fabs(value) + o->select.eps);
    if (strcmp(name, "gradient") == 0)
        return fabs(g);
    if (strcmp(name, "fisher") == 0)
        return pow(fabs(g), 2);
    if (strcmp(name, "magnitude-smallest") == 0)
        return -fabs(value);
    return strcmp(name, "magnitude-largest") == 0 ? fabs(value) : chance(draw, param, index);
}

struct ranked {
    double score;
    int64_t at; /* element of all: parameter order, then position */
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Puts the u best of parameters first..last-1 into `is_in`. */
static void choose(const float *values, uint64_t draw, int64_t first, int64_t last, int64_t u)
{
    static struct ranked ranked[MANY];
    int64_t n = 0;
    for (int64_t p = first; p < last; p++)
        for (int64_t i = 0; i < r.model.params[p].n_elements; i++) {
            int64_t at = all.starts[p] + i;
            if (!all.is_scope[at] || all.is_in[at])
                continue;
            ranked[n++] =
                (struct ranked){reference_score(&r.tuning.options, (double)all.gradient[at],
                                                (double)values[at], draw, (int)p, i),
                                at};
        }
    qsort(ranked, (size_t)n, sizeof(*ranked), compare_ranked);
    assert_true(u <= n);
    for (int64_t k = 0; k < u; k++)
        all.is_in[ranked[k].at] = true;
}

static int64_t count(const bool *is, int64_t first, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = first; i < first + n; i++)
        sum += is[i];
    return sum;
}

/* What the set must be after this step's selection, from the set before it (values of which were
 * `values`). */
static void choose_reference(const float *values, int64_t step, int64_t n_steps)
{
    const struct um_tuning_options *o = &r.tuning.options;
    bool is_fresh = o->strategy->is_fresh;
    int64_t budget = r.tuning.budget - r.tuning.set.n_whole, quotas[64];
    if (o->strategy->chooses_once ? step > 0 : step % o->every != 0)
        return;
    if (is_fresh && step > 0 && (double)step / (double)n_steps >= o->until)
        return; /* what is chosen by then stays */
    int64_t last = step + o->every < n_steps ? step + o->every : n_steps;
    double x = (double)last / (double)n_steps / o->until;
    int64_t total = o->strategy->chooses_once
                        ? budget
                        : llround((double)budget * o->schedule->share(x < 1 ? x : 1));
    /* Quotas are read back by what each tensor came to: they are tested on their own. */
    for (size_t e = 0; e < r.tuning.set.n_entries; e++) {
        const struct um_entry *entry = &r.tuning.set.entries[e];
        int p = entry->param->index;
        int64_t had = is_fresh ? 0 : count(all.is_in, all.starts[p], entry->param->n_elements);
        quotas[p] = entry->is_whole ? 0 : entry->n - had;
    }
    if (is_fresh)
        memset(all.is_in, 0, sizeof(all.is_in));
    int64_t n_held = count(all.is_in, 0, all.n);
    if (!o->is_per_matrix)
        choose(values, is_fresh ? (uint64_t)step : 0, 0, r.model.n_params, total - n_held);
    for (int64_t p = 0; o->is_per_matrix && p < r.model.n_params; p++)
        if (r.tuning.set.of_param[p])
            choose(values, is_fresh ? (uint64_t)step : 0, p, p + 1, quotas[p]);
    assert_int_equal(count(all.is_in, 0, all.n), total);
}

static float value_now(int64_t p, int64_t i)
{
    return um_param_value(&r.model.params[p], i);
}

/* The set is the reference's, and nothing else has changed. */
static void check_set(void)
{
    const struct um_trainable *set = &r.tuning.set;
    for (int64_t p = 0; p < r.model.n_params; p++) {
        const struct um_entry *entry = set->of_param[p];
        for (int64_t i = 0; i < r.model.params[p].n_elements; i++) {
            int64_t at = all.starts[p] + i;
            bool is_in = entry && um_entry_has(entry, i), is_whole = entry && entry->is_whole;
            if (is_in != (all.is_in[at] || is_whole))
                fail_msg("'%s'[%lld] is %s the set", r.model.params[p].name, (long long)i,
                         is_in ? "in" : "not in");
            bool may_differ = is_in || (all.was_in[at] && set->dropped == UM_DROPPED_KEPT);
            float now = value_now(p, i);
            if (!may_differ && memcmp(&now, &all.base[at], sizeof(now)) != 0)
                fail_msg("'%s'[%lld] is masked and has changed", r.model.params[p].name,
                         (long long)i);
        }
    }
    assert_true(set->n <= r.tuning.budget);
    assert_int_equal(set->n, count(all.is_in, 0, all.n) + set->n_whole);
    assert_int_equal(um_trainable_touched(set), count(all.was_in, 0, all.n) + set->n_whole);
    assert_int_equal(r.tuning.n_updates, all.n_updates);
}

static void check_run(const char *model, const char *addition,
                      const struct um_tuning_options *options)
{
    static float values[MANY];
    open_rig(model, addition, options);
    for (int64_t t = 0; t < N_STEPS; t++) {
        for (int64_t p = 0; p < r.model.n_params; p++)
            for (int64_t i = 0; i < r.model.params[p].n_elements; i++)
                values[all.starts[p] + i] = value_now(p, i);
        run_step(t, N_STEPS);
        choose_reference(values, t, N_STEPS);
        for (int64_t i = 0; i < all.n; i++)
            all.was_in[i] = all.was_in[i] || all.is_in[i];
        all.n_updates += r.tuning.set.n;
        rig_update(&r, 1e-2, 0.01, t);
        check_set();
    }
    assert_int_equal(r.tuning.set.n, r.tuning.budget); /* spent to the last */
    close_rig();
}

static char whole_pattern[] = "classifier.*";
static char *const whole[] = {whole_pattern};

static struct um_tuning_options options_for(const char *strategy, const char *importance)
{
    struct um_tuning_options o = {.method = um_method_find("id3"),
                                  .strategy = um_strategy_find(strategy),
                                  .select = {.importance = um_importance_find(importance),
                                             .exp = 1,
                                             .eps = 1e-8,
                                             .seed = SEED},
                                  .budget = "1003",
                                  .until = 1,
                                  .every = EVERY,
                                  .n_micro = 1,
                                  .whole = {whole, 1}};
    return o;
}

static void test_the_whole_product(void **state)
{
    (void)state;
    static const char *const regions[] = {"all", "matrices", "vectors"};
    for (size_t m = 0; m < um_n_importances; m++)
        for (size_t s = 0; s < um_n_strategies; s++)
            for (size_t f = 0; f < um_n_schedules; f++)
                for (int k = 0; k < 2; k++) {
                    size_t region = (m + f) % UM_COUNT(regions);
                    struct um_tuning_options o =
                        options_for(um_strategies[s].name, um_importances[m].name);
                    bool is_once = o.strategy->chooses_once;
                    if (o.strategy->is_whole || o.select.importance->source == UM_SOURCE_MOVEMENT ||
                        (is_once && f > 0))
                        continue;
                    o.schedule = &um_schedules[f];
                    o.is_per_matrix = k;
                    o.region = um_region_find(regions[region]);
                    o.budget = region == 2 ? "403" : "1003";
                    o.until = f % 2 ? 1 : 0.6;
                    check_run("bert_cls", "base", &o);
                }
}

static const char *const additions[] = {"lora", "dora", "adalora", "houlsby", "pfeiffer"};
enum { N_ADDITIONS = UM_COUNT(additions) };

/* The same on what is added to a model: all additions over the schedules of each strategy. */
static void test_the_product_on_additions(void **state)
{
    (void)state;
    for (size_t m = 0; m < um_n_importances; m++)
        for (size_t s = 0; s < um_n_strategies; s++)
            for (size_t f = 0; f < um_n_schedules; f++) {
                struct um_tuning_options o =
                    options_for(um_strategies[s].name, um_importances[m].name);
                if (o.strategy->is_whole || o.select.importance->source == UM_SOURCE_MOVEMENT)
                    continue;
                o.schedule = &um_schedules[f];
                o.is_per_matrix = (m + s + f) % 2;
                o.keeps_dropped = m % 2;
                o.region = um_region_find(f % 2 ? "all" : "matrices");
                o.budget = "301";
                check_run("bert_cls", additions[(m + f) % N_ADDITIONS], &o);
            }
}

/* Vectors are there to train in some additions only; what leaves an addition out is refused. */
static void test_regions_of_additions(void **state)
{
    (void)state;
    static const struct {
        const char *region;
        int64_t n[N_ADDITIONS]; /* in scope, the whole classifier aside; 0: refused */
    } cases[] = {
        {"all", {4 * 192, 4 * 224, 4 * 195, 4 * 292, 2 * 292}},
        {"matrices", {4 * 192, 4 * 192, 4 * 195, 4 * 256, 2 * 256}},
        {"vectors", {0, 4 * 32, 0, 4 * 36, 2 * 36}},
        {"biases", {0, 0, 0, 4 * 36, 2 * 36}},
        {"top-layers", {2 * 192, 2 * 224, 2 * 195, 2 * 292, 292}},
        {"head", {0, 0, 0, 0, 0}},
    };
    for (size_t c = 0; c < UM_COUNT(cases); c++)
        for (size_t a = 0; a < N_ADDITIONS; a++) {
            struct um_error err;
            struct um_tuning_options o = options_for("increment", "d3");
            o.region = um_region_find(cases[c].region);
            o.budget = "100";
            rig_open(&r, "bert_cls");
            attach(additions[a]);
            enum um_status status =
                um_tuning_open(&r.tuning, r.model.params, r.model.n_params, &o, &err);
            if (cases[c].n[a] == 0) {
                assert_fails(status, UM_E_USAGE, "leave nothing to train of what is added", err);
            } else {
                assert_ok(status, err);
                assert_int_equal(r.tuning.n_scope - r.tuning.set.n_whole, cases[c].n[a]);
            }
            rig_close(&r);
        }
}

/* Dropped elements of 16-bit weights, whose changed values lie over what is stored. */
static void test_fresh_choices(void **state)
{
    (void)state;
    static const char *const models[] = {"bert_cls", "bert_bf16"};
    for (int k = 0; k < 16; k++) {
        struct um_tuning_options o = options_for("repeat", k & 1 ? "random" : "d3");
        o.keeps_dropped = k & 2;
        o.every = k & 4 ? 1 : 3;
        if (k & 8)
            o.whole.n = 0;
        check_run(models[k & 8 ? 1 : 0], "base", &o);
    }
}

static void check_one_shot(const char *addition, const char *importance, bool is_per_matrix)
{
    static float values[2][MANY];
    for (int is_static = 0; is_static < 2; is_static++) {
        struct um_tuning_options o = options_for(is_static ? "static" : "increment", importance);
        o.schedule = um_schedule_find("one-shot");
        o.is_per_matrix = is_per_matrix;
        o.budget = "301";
        open_rig("bert_cls", addition, &o);
        for (int64_t t = 0; t < N_STEPS; t++) {
            run_step(t, N_STEPS);
            rig_update(&r, 1e-2, 0.01, t);
        }
        for (int64_t p = 0; p < r.model.n_params; p++)
            for (int64_t i = 0; i < r.model.params[p].n_elements; i++)
                values[is_static][all.starts[p] + i] = value_now(p, i);
        close_rig();
    }
    assert_memory_equal(values[0], values[1], sizeof(values[0]));
}

static void test_one_shot_is_static(void **state)
{
    (void)state;
    for (size_t m = 0; m < um_n_importances; m++)
        for (size_t a = 0; a < N_ADDITIONS && um_importances[m].source != UM_SOURCE_MOVEMENT;
             a++) {
            if (a < 2)
                check_one_shot("base", um_importances[m].name, a);
            check_one_shot(additions[a], um_importances[m].name, (m + a) % 2);
        }
}

/* Exact sums, never beyond a tensor, near the shares, and never less than a tensor has. */
static void test_quotas(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 5, 50, 64, 100, 2400, 7, 1};
    enum { N = UM_COUNT(sizes) };
    struct um_param params[N];
    struct um_entry entries[N];
    int64_t n_all = 0, quotas[N];
    for (size_t i = 0; i < N; i++) {
        params[i] = (struct um_param){.n_elements = sizes[i]};
        entries[i] = (struct um_entry){.param = &params[i], .is_whole = i == 5};
        n_all += i == 5 ? 0 : sizes[i];
    }
    struct um_trainable set = {.entries = entries, .n_entries = N, .n_whole = sizes[5]};
    entries[5].n = sizes[5];
    struct um_random random = {.seed = 3};
    for (int trial = 0; trial < 300; trial++) {
        set.n = set.n_whole;
        for (size_t i = 0; i < N; i++)
            entries[i].n = i == 5 ? sizes[5] : 0;
        for (int64_t total = 0; total < n_all;) {
            int64_t most = trial % 3 ? 1 + n_all / 20 : 3;
            total += 1 + (int64_t)um_random_below(&random, (uint64_t)most);
            total = total < n_all ? total : n_all;
            um_quotas(quotas, &set, total, false);
            for (size_t i = 0; i < N; i++) {
                assert_true(quotas[i] >= 0);
                entries[i].n += i == 5 ? 0 : quotas[i];
                set.n += quotas[i];
                assert_true(entries[i].n <= sizes[i]);
                double share = (double)total * (double)sizes[i] / (double)n_all;
                assert_true(i == 5 || fabs((double)entries[i].n - share) < 2);
            }
            assert_int_equal(quotas[5], 0);
            assert_int_equal(set.n - set.n_whole, total);
        }
    }
}

static void test_wrong_families_are_named(void **state)
{
    (void)state;
    struct um_error err;
    struct um_tuning_options o = options_for("repeat", "movement");
    assert_fails(um_tuning_options_resolve(&o, &err), UM_E_USAGE,
                 "goes with method.strategy 'static', not 'repeat'", err);
}

/* Every named method names members of the families. */
static void test_methods(void **state)
{
    (void)state;
    for (size_t i = 0; i < um_n_methods; i++) {
        const struct um_method *m = &um_methods[i];
        assert_ptr_equal(um_method_find(m->name), m);
        assert_non_null(um_strategy_find(m->strategy));
        assert_true(!m->importance || um_importance_find(m->importance));
        assert_true(!m->region || um_region_find(m->region));
        struct um_tuning_options o = {.method = m, .every = -1, .samples = -1};
        struct um_error err;
        assert_ok(um_tuning_options_resolve(&o, &err), err);
        assert_true(o.strategy->is_whole ? !o.select.importance
                                         : o.select.importance && o.schedule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_product),
        cmocka_unit_test(test_the_product_on_additions),
        cmocka_unit_test(test_regions_of_additions),
        cmocka_unit_test(test_fresh_choices),
        cmocka_unit_test(test_one_shot_is_static),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_wrong_families_are_named),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
