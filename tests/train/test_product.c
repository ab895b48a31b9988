/*
 * Whole runs over the product of the method families, on the model itself and on every addition to
 * it: importance x strategy x schedule, with regions, rankings and the rest in turn, and each
 * selective method by name on each addition. At every step as many parameters train as the schedule
 * says; updates are counted right; at the end everything else has the bits that it came with; and
 * killed and resumed from an older checkpoint, a run ends with the same bits. What is not
 * meaningful is refused. (That the right parameters are chosen: tests/method/test_families.c.)
 */
#include "train/runs.h"

#include <math.h>

#include "train/run.h"

enum { N_STEPS = 6, FILE_STEP = 4 /* of the only checkpoint */ };

static const char *const additions[] = {"base", "lora", "dora", "adalora", "houlsby", "pfeiffer"};
enum { N_ADDITIONS = UM_COUNT(additions) };

#define COMMON                                                                                     \
    "threads=1 optimizer.lr=1e-2 train.batch=4 train.max_steps=6 train.dropout=0.1 data.eval= "    \
    "method.budget=400 method.rank=3 method.init_rank=4 method.bottleneck=6 method.dropout=0.1 "

/* ---- what must hold at every step */

struct watch {
    const struct um_run *run;
    int64_t step, n_updates;
};

/* Elements that are to train in step t, by the definition of budget and schedule. */
static int64_t expected_in(const struct um_run *run, int64_t t)
{
    const struct um_tuning_options *o = &run->tuning.options;
    int64_t n_whole = run->tuning.set.n_whole, every = o->every;
    if (o->strategy->is_whole)
        return n_whole;
    if (o->strategy->chooses_once)
        return run->tuning.budget;
    int64_t next = (t / every + 1) * every; /* step of the next selection */
    double x = fmin(1, (double)(next < N_STEPS ? next : N_STEPS) / N_STEPS / o->until);
    return n_whole + llround((double)(run->tuning.budget - n_whole) * o->schedule->share(x));
}

static bool watch_step(const struct um_progress *p, void *user)
{
    struct watch *w = user;
    if (p->phase)
        return true;
    int64_t n = expected_in(w->run, p->step - 1);
    w->step++;
    w->n_updates += n;
    assert_int_equal(p->step, w->step);
    assert_int_equal(p->n_unmasked, n);
    assert_true(p->n_unmasked <= w->run->tuning.budget);
    assert_true(p->n_touched >= p->n_unmasked);
    return true;
}

/* ---- what must hold at the end: the bits of all that is not in the set are the first ones */

/* The first values of a parameter: the base's, or those that an addition starts with. */
static const float *first_values(float *to, const struct um_run *run, const struct um_folder *base,
                                 const struct um_param *param)
{
    const struct um_tensor_view *view = um_folder_find(base, param->name);
    if (param->is_attached) {
        um_model_first_values(to, &run->tm.model, param);
        return to;
    }
    if (view)
        um_to_f32(to, view->bytes, view->dtype, view->n_elements);
    return view ? to : NULL; /* the fresh head trains whole */
}

/* Counts the elements that differ. */
static int64_t check_masked(const struct um_run *run)
{
    static float first[1 << 15];
    struct um_folder base;
    struct um_error err;
    int64_t n_changed = 0;
    assert_ok(um_folder_open(&base, RUNS_MODEL, &err), err);
    for (int64_t p = 0; p < run->tm.model.n_params; p++) {
        const struct um_param *param = &run->tm.model.params[p];
        const struct um_entry *entry = run->tuning.set.of_param[p];
        assert_true(param->n_elements <= (int64_t)UM_COUNT(first));
        const float *was = first_values(first, run, &base, param);
        for (int64_t i = 0; was && i < param->n_elements; i++) {
            bool is_in = entry && um_entry_has(entry, i);
            bool is_changed = memcmp(&was[i], &param->values[i], sizeof(float)) != 0;
            bool may_change = is_in || run->tuning.set.dropped == UM_DROPPED_KEPT;
            if (is_changed && !may_change)
                fail_msg("'%s'[%lld] is masked and has changed", param->name, (long long)i);
            n_changed += is_changed;
        }
        n_changed += was ? 0 : param->n_elements;
    }
    um_folder_close(&base);
    return n_changed;
}

/* Updates of a trial of full fine-tuning before the first step. */
static int64_t trial_updates(const struct um_run *run)
{
    const struct um_importance *importance = run->tuning.options.select.importance;
    bool has_trial = importance && importance->source == UM_SOURCE_MOVEMENT;
    return has_trial ? run->tuning.n_scope * llround(ceil(run->config->method.trial * N_STEPS)) : 0;
}

/* Into folder `whole`, or without writing anything. */
static struct um_summary run_whole(const char *settings, bool is_in_memory)
{
    struct um_run *run;
    struct um_summary s;
    struct um_error err;
    struct watch watch = {0};
    const struct um_callbacks callbacks = {.progress = watch_step, .user = &watch};
    struct um_recipe *recipe = make_recipe("whole", settings);
    assert_ok(um_run_open(&run, recipe, &callbacks, &err), err);
    watch.run = run;
    run->is_in_memory = is_in_memory;
    assert_ok(um_run_train(&s, run, &err), err);
    assert_int_equal(watch.step, N_STEPS);
    assert_int_equal(s.n_updates, watch.n_updates + trial_updates(run));
    assert_int_equal(s.n_changed, check_masked(run));
    assert_true(s.is_base_intact && s.is_within_budget);
    if (run->tuning.set.dropped != UM_DROPPED_KEPT)
        assert_true(s.n_changed <= s.budget);
    um_run_free(run);
    um_recipe_free(recipe);
    return s;
}

/* ---- killed and resumed */

/* Run `whole`, killed behind its only checkpoint, goes on: it must end as it did. */
static void check_resumed(const struct um_summary *before)
{
    static const char *const files[] = {"delta.safetensors", "unmasked.jsonl"};
    struct um_run *run;
    struct um_summary s;
    struct um_error err;
    assert_ok(um_make_folder(in_folder("ended"), &err), err);
    for (size_t i = 0; i < UM_COUNT(files); i++)
        assert_int_equal(rename(in_run("whole", files[i]), in_run("ended", files[i])), 0);
    assert_ok(um_file_copy(in_run("whole", files[1]), in_run("ended", files[1]), &err), err);
    assert_int_equal(remove(in_run("whole", "summary.json")), 0);
    assert_ok(um_run_resume(&run, in_folder("whole"), NULL, &err), err);
    assert_int_equal(run->state.step, FILE_STEP);
    assert_ok(um_run_train(&s, run, &err), err);
    um_run_free(run);
    for (size_t i = 0; i < UM_COUNT(files); i++)
        if (!is_same_in_runs(files[i], "whole", "ended"))
            fail_msg("the resumed run's '%s' differs", files[i]);
    assert_int_equal(s.n_updates, before->n_updates);
    assert_int_equal(s.n_touched, before->n_touched);
    assert_int_equal(s.n_changed, before->n_changed);
    remove_run("whole");
    remove_run("ended");
}

static void check_run(const char *settings, bool is_resumed)
{
    char all[768];
    (void)snprintf(all, sizeof(all), COMMON "checkpoint.every=%d %s", is_resumed ? FILE_STEP : 0,
                   settings);
    print_message("             %s\n", settings); /* what a failure was about */
    const struct um_summary s = run_whole(all, !is_resumed);
    if (is_resumed)
        check_resumed(&s);
}

/* ---- the product */

static void test_the_product(void **state)
{
    (void)state;
    static const char *const more[] = {
        "",
        "method.ranking=matrix",
        "train.accumulate=2",
        "scope.region=matrices",
        "optimizer.bias_correction=per-parameter",
        "optimizer.name=sgd optimizer.momentum=0.9",
        "method.ranking=matrix train.accumulate=2",
    };
    size_t n = 0;
    for (size_t m = 0; m < um_n_importances; m++)
        for (size_t s = 0; s < um_n_strategies; s++)
            for (size_t f = 0; f < um_n_schedules; f++) {
                const struct um_strategy *strategy = &um_strategies[s];
                bool is_movement = um_importances[m].source == UM_SOURCE_MOVEMENT;
                char settings[512];
                if (strategy->is_whole || (strategy->chooses_once && f > 0) ||
                    (is_movement && !strategy->chooses_once))
                    continue;
                (void)snprintf(settings, sizeof(settings),
                               "method.on=%s method.name=id3 method.importance=%s "
                               "method.strategy=%s method.schedule=%s method.every=%d "
                               "method.until=%g method.dropped=%s %s",
                               additions[(m + s + f) % N_ADDITIONS], um_importances[m].name,
                               strategy->name, um_schedules[f].name, n % 3 ? 1 : 2,
                               n % 4 ? 1 : 0.6, n % 2 ? "keep" : "restore",
                               more[n % UM_COUNT(more)]);
                check_run(settings, f % 3 == m % 3);
                n++;
            }
}

static void test_methods_on_additions(void **state)
{
    (void)state;
    for (size_t m = 0; m < um_n_methods; m++)
        for (size_t a = 1; a < N_ADDITIONS; a++) {
            char settings[128];
            if (strcmp(um_methods[m].strategy, "whole") == 0)
                continue;
            (void)snprintf(settings, sizeof(settings),
                           "method.name=%s method.every=2 method.samples=8 method.on=%s",
                           um_methods[m].name, additions[a]);
            check_run(settings, (m + a) % 3 == 0);
        }
}

/* What methods of parts of a model mean for an addition; and AdaLoRA's settings, which are of no
 * account where its ranks stay as they are. */
static void test_what_is_meaningful(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *refused; /* NULL: it is not */
    } cases[] = {
        {"method.name=full method.on=lora", NULL},
        {"method.name=full method.on=pfeiffer", NULL},
        {"method.name=full method.on=adalora", NULL},
        {"method.name=bitfit method.on=houlsby", NULL},
        {"method.name=bitfit-norms method.on=dora", NULL},
        {"method.name=top-layers method.on=lora", NULL},
        {"method.name=top-layers method.on=pfeiffer", NULL},
        {"method.name=id3 method.on=adalora method.tinit=6", NULL},
        {"method.name=id3 method.on=adalora method.rank=9", NULL},
        {"method.name=lt-sft method.on=adalora method.rank=9 scope.exclude=*.lora_E", NULL},
        {"method.name=adalora method.tinit=6", "leave none of 6 steps"},
        {"method.name=adalora method.rank=9", "is above method.init_rank"},
        {"method.name=bitfit method.on=lora", "leave nothing to train of what is added"},
        {"method.name=bitfit method.on=dora", "leave nothing to train of what is added"},
        {"method.name=bitfit-norms method.on=lora", "leave nothing to train of what is added"},
        {"method.name=bitfit-norms method.on=adalora", "leave nothing to train of what is added"},
        {"method.name=head method.on=houlsby", "leave nothing to train of what is added"},
        {"method.name=id3 method.on=lora scope.include=classifier*",
         "leave nothing to train of what is added"},
        {"method.name=top-layers method.on=adalora", "is left out"},
        {"method.name=lora method.on=houlsby", "cannot go on"},
        {"method.name=lt-sft method.strategy=increment method.on=lora", "is known once"},
        {"method.name=id3 method.on=lora method.budget=100000", "the scope has only"},
        {"method.name=id3 method.on=lora method.budget=60", "train whole"},
    };
    for (size_t c = 0; c < UM_COUNT(cases); c++) {
        char all[768];
        struct um_run *run;
        struct um_error err;
        if (!cases[c].refused) {
            check_run(cases[c].settings, false);
            continue;
        }
        (void)snprintf(all, sizeof(all), COMMON "%s", cases[c].settings);
        struct um_recipe *recipe = make_recipe("none", all);
        assert_fails(um_run_open(&run, recipe, NULL, &err), UM_E_USAGE, cases[c].refused, err);
        um_recipe_free(recipe);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_product),
        cmocka_unit_test(test_methods_on_additions),
        cmocka_unit_test(test_what_is_meaningful),
    };
    return cmocka_run_group_tests(tests, make_rows, remove_test_folder);
}
