/* Runs that meet trouble or end early: weights that overflow, a base that has changed, no memory, a
 * stop off the grid of logged steps, settings that do nothing; and what is left in the folder
 * then. */
#include "train/runs.h"

#include <math.h>

#include "base/mem.h"
#include "train/predictor.h"
#include "train/recipe.h"

/* ---- helpers */

/* What happens to a run: at a step's report a weight overflows, or the caller stops. */
struct plot {
    struct um_run *run;
    int64_t spoilt_step, stop_step;
    struct um_str said; /* messages, a line each */
};

static void spoil(struct um_run *run)
{
    struct um_entry *entry = &run->tuning.set.entries[run->tuning.set.n_entries - 1];
    assert_true(entry->n > 0);
    um_entry_values(entry)[0] = INFINITY;
    um_entry_publish(entry);
}

static bool on_progress(const struct um_progress *p, void *user)
{
    struct plot *plot = user;
    if (!p->split && !p->phase && p->step == plot->spoilt_step)
        spoil(plot->run);
    return p->split || p->step != plot->stop_step;
}

static void on_message(const char *line, void *user)
{
    struct plot *plot = user;
    um_str_addf(&plot->said, "%s\n", line);
}

static enum um_status train(struct um_run *run, struct um_summary *s, struct um_error *err)
{
    enum um_status status = um_run_train(s, run, err);
    um_run_free(run);
    return status;
}

/* Opens and trains a run into `out`. */
static enum um_status train_new(const char *out, const char *settings, struct plot *plot,
                                struct um_error *err)
{
    struct um_summary s;
    const struct um_callbacks callbacks = {
        .progress = on_progress, .message = on_message, .user = plot};
    struct um_recipe *recipe = make_recipe(out, settings);
    assert_ok(um_run_open(&plot->run, recipe, &callbacks, err), *err);
    um_recipe_free(recipe);
    return train(plot->run, &s, err);
}

/* How often a text stands in a file of the run. */
static int count_in(const char *out, const char *name, const char *text)
{
    struct um_error err;
    char *whole;
    size_t n_bytes;
    int n = 0;
    assert_ok(um_file_read(&whole, &n_bytes, in_run(out, name), &err), err);
    for (const char *at = whole; (at = strstr(at, text)); at++)
        n++;
    um_free(whole);
    return n;
}

/* ---- weights that are no numbers */

static void test_the_last_update_overflows(void **state)
{
    (void)state;
    struct um_error err;
    struct plot plot = {.spoilt_step = RUNS_STEPS};
    assert_int_equal(train_new("a", "", &plot, &err), UM_E_DIVERGED);
    assert_non_null(strstr(err.message, "outputs are not finite: weight 'classifier."));
    assert_false(um_path_exists(in_run("a", "delta.safetensors")));
    assert_false(um_path_exists(in_run("a", "summary.json")));
    /* Where nothing is evaluated, too. */
    assert_int_equal(train_new("b", "data.eval= checkpoint.every=6", &plot, &err), UM_E_DIVERGED);
    assert_non_null(strstr(err.message, "not finite any more: weight 'classifier."));
    assert_false(um_path_exists(in_run("b", "delta.safetensors")));
    assert_true(um_path_exists(in_run("b", "checkpoints/step-00000006.safetensors")));
    assert_false(um_path_exists(in_run("b", "checkpoints/step-00000012.safetensors")));
    remove_run("a");
    remove_run("b");
    um_str_free(&plot.said);
}

/* A resumed run's weights are not those of the file: what is not finite has diverged. */
static void test_divergence_after_a_resume(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct um_summary s;
    struct plot plot = {.stop_step = 6};
    assert_int_equal(train_new("a", "", &plot, &err), UM_E_INTERRUPTED);
    assert_ok(um_run_resume(&run, in_folder("a"), NULL, &err), err);
    spoil(run);
    assert_fails(train(run, &s, &err), UM_E_DIVERGED, "the loss is not finite: weight", err);
    remove_run("a");
    um_str_free(&plot.said);
}

/* ---- the base */

static void copy_base(const char *name)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    struct um_error err;
    assert_ok(um_make_folder(in_folder(name), &err), err);
    for (size_t i = 0; i < UM_COUNT(files); i++) {
        char from[512];
        (void)snprintf(from, sizeof(from), "%s/%s", RUNS_MODEL, files[i]);
        assert_ok(um_file_copy(in_run(name, files[i]), from, &err), err);
    }
}

/* Adds to every weight. */
static void shift_weights(const char *path, float by)
{
    struct um_error err;
    char *bytes;
    size_t n, at = 8;
    assert_ok(um_file_read(&bytes, &n, path, &err), err);
    for (size_t i = 0; i < 8; i++) /* behind the header */
        at += (size_t)(unsigned char)bytes[i] << (8 * i);
    for (; at + 4 <= n; at += 4) {
        float weight;
        memcpy(&weight, bytes + at, 4);
        weight += by;
        memcpy(bytes + at, &weight, 4);
    }
    assert_ok(um_file_write(path, bytes, n, &err), err);
    um_free(bytes);
}

/* Replaces a text by one of the same length. */
static void replace_in(const char *path, const char *old, const char *new)
{
    struct um_error err;
    char *bytes;
    size_t n, length = strlen(old), at = 0;
    assert_ok(um_file_read(&bytes, &n, path, &err), err);
    while (at + length < n && memcmp(bytes + at, old, length) != 0)
        at++;
    assert_true(at + length < n);
    memcpy(bytes + at, new, length);
    assert_ok(um_file_write(path, bytes, n, &err), err);
    um_free(bytes);
}

static void test_another_base(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct plot plot = {.stop_step = 6};
    copy_base("base");
    const char *weights = in_run("base", "model.safetensors");
    struct um_recipe *recipe = make_recipe("a", "");
    assert_ok(um_recipe_set(recipe, "model", in_folder("base"), &err), err);
    const struct um_callbacks callbacks = {.progress = on_progress, .user = &plot};
    struct um_summary s;
    assert_ok(um_run_open(&plot.run, recipe, &callbacks, &err), err);
    um_recipe_free(recipe);
    assert_int_equal(train(plot.run, &s, &err), UM_E_INTERRUPTED);
    assert_ok(um_run_resume(&run, in_folder("a"), NULL, &err), err);
    um_run_free(run);
    shift_weights(weights, 0.01F);
    assert_fails(um_run_resume(&run, in_folder("a"), NULL, &err), UM_E_INPUT,
                 "base' is not what the run began with", err);
    assert_null(run);
    /* A checkpoint of old, which does not tell its base, still loads. */
    replace_in(in_run("a", "checkpoints/step-00000006.safetensors"), "\\\"base\\\":",
               "\\\"none\\\":");
    assert_ok(um_run_resume(&run, in_folder("a"), NULL, &err), err);
    um_run_free(run);
    remove_run("a");
    remove_run("base");
}

/* ---- ends off the grid */

static void test_early_stop_is_logged(void **state)
{
    (void)state;
    /* With a rate that changes no class the second evaluation is no better than the first. What is
     * chosen at once leaves nothing to tell of the second step but that it was the last. */
    static const char *const settings[] = {
        "optimizer.lr=1e-12 eval.every=1 eval.patience=1 train.log_every=100",
        "optimizer.lr=1e-12 eval.every=1 eval.patience=1 method.strategy=static"};
    for (size_t i = 0; i < UM_COUNT(settings); i++) {
        struct um_error err;
        struct plot plot = {0};
        assert_ok(train_new("a", settings[i], &plot, &err), err);
        assert_int_equal(count_in("a", "metrics.jsonl", "\"grad_norm\""), i == 0 ? 1 : 2);
        assert_int_equal(count_in("a", "metrics.jsonl", "{\"step\": 2, \"epoch\""), 1);
        assert_int_equal(count_in("a", "unmasked.jsonl", "{\"step\": 2, "), 1);
        assert_int_equal(count_in("a", "summary.json", "\"steps\": 2"), 1);
        remove_run("a");
        um_str_free(&plot.said);
    }
}

/* Killed before its first checkpoint, a run begins anew, its log too. */
static void test_killed_before_a_checkpoint(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct um_summary s;
    struct plot plot = {0};
    assert_ok(train_new("a", "", &plot, &err), err);
    assert_int_equal(remove(in_run("a", "summary.json")), 0);
    assert_ok(um_run_resume(&run, in_folder("a"), NULL, &err), err);
    assert_ok(train(run, &s, &err), err);
    assert_int_equal(count_in("a", "metrics.jsonl", "{\"step\": 0, \"split\""), 1);
    assert_int_equal(count_in("a", "metrics.jsonl", "{\"step\": 1, \"epoch\""), 1);
    remove_run("a");
    um_str_free(&plot.said);
}

/* ---- settings that do nothing */

/* Opens a run of the recipe, no more; what it says is in plot->said. */
static void open_only(const struct um_recipe *recipe, struct plot *plot)
{
    struct um_error err;
    const struct um_callbacks callbacks = {.message = on_message, .user = plot};
    um_str_clear(&plot->said);
    um_str_add(&plot->said, "");
    assert_ok(um_run_open(&plot->run, recipe, &callbacks, &err), err);
    um_run_free(plot->run);
}

static void test_idle_settings_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *idle; /* the one key that is told; NULL: none */
    } cases[] = {
        {"eval.patience=2", "eval.patience"},
        {"eval.patience=2 eval.every=6", NULL},
        {"data.eval= eval.every=6", "eval.every"},
        {"optimizer.momentum=0.9", "optimizer.momentum"},
        {"optimizer.momentum=0.9 optimizer.name=sgd", NULL},
        {"optimizer.beta1=0.8 optimizer.name=sgd", "optimizer.beta1"},
        {"method.name=full", "method.budget"},
        {"method.name=lora", "method.budget"},
        {"method.name=bitfit", "method.budget"},
        {"method.rank=4", "method.rank"},
        {"method.alpha=16", "method.alpha"},
        {"method.rank=4 method.on=lora", NULL},
        {"method.bottleneck=4 method.on=lora", "method.bottleneck"},
        {"method.samples=10", "method.samples"},
        {"method.samples=10 method.name=pafi", "method.samples"},
        {"method.samples=10 method.name=fish", NULL},
        {"method.until=0.5", NULL},
        {"method.until=0.5 method.name=d3", "method.until"},
        {"method.exp=2", NULL},
        {"method.exp=2 method.name=fish", "method.exp"},
        {"method.trial=2", "method.trial"},
        {"method.dropped=keep", "method.dropped"},
        {"scope.layers=2", "scope.layers"},
        {"data.pack=on", "data.pack"},
        {"eval.max_new_tokens=5", "eval.max_new_tokens"},
        {"train.epochs=2", "train.epochs"},
        {"train.epochs=2 train.max_steps=0", NULL},
    };
    struct plot plot = {0};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        char line[64];
        struct um_recipe *recipe = make_recipe("a", cases[i].settings);
        open_only(recipe, &plot);
        const char *told = strstr(plot.said.text, "has no effect: it is for ");
        assert_true(!told == !cases[i].idle);
        assert_null(told ? strstr(told + 1, "has no effect") : NULL);
        (void)snprintf(line, sizeof(line), "%s has no effect", cases[i].idle);
        if (told)
            assert_non_null(strstr(plot.said.text, line));
        um_recipe_free(recipe);
    }
    um_str_free(&plot.said);
}

/* A file may hold settings for several methods, and a copy of a recipe asks for nothing. */
static void test_idle_settings_of_files(void **state)
{
    (void)state;
    static const char text[] = "method: {until: 0.5, rank: 4, budget: 900}\n"
                               "optimizer: {momentum: 0.9}\ndata: {pack: on}\n";
    struct um_error err;
    struct plot plot = {0};
    struct um_recipe *copy, *recipe = make_recipe("a", "method.name=full method.rank=2");
    assert_ok(um_recipe_load(recipe, put_file("r.yaml", text, strlen(text)), &err), err);
    open_only(recipe, &plot);
    assert_null(strstr(plot.said.text, "has no effect"));
    assert_ok(um_recipe_set(recipe, "method.rank", "2", &err), err);
    assert_ok(um_recipe_clone(&copy, recipe, &err), err);
    open_only(recipe, &plot);
    assert_string_equal(plot.said.text, "method.rank has no effect: it is for low-rank changes "
                                        "(lora, dora, adalora)\n");
    open_only(copy, &plot);
    assert_string_equal(plot.said.text, "");
    um_recipe_free(copy);
    um_recipe_free(recipe);
    um_str_free(&plot.said);
}

/* Whatever the method, every key may be set on its own. */
static void test_idle_settings_of_all_methods(void **state)
{
    (void)state;
    struct um_error err;
    struct um_method_info method;
    const struct um_option_info *option;
    struct plot plot = {0};
    for (size_t m = 0; um_method_get_info(&method, m); m++) {
        struct um_recipe *recipe = make_recipe("a", "");
        assert_ok(um_recipe_set(recipe, "method.name", method.name, &err), err);
        for (size_t i = 0; (option = um_recipe_option(i)); i++)
            assert_ok(um_recipe_set(recipe, option->key, um_recipe_get(recipe, option->key), &err),
                      err);
        open_only(recipe, &plot);
        assert_non_null(strstr(plot.said.text, "data.pack has no effect"));
        um_recipe_free(recipe);
    }
    um_str_free(&plot.said);
}

/* ---- courses */

/* The rate of a single step is the peak, not where a warm-up begins. */
static void test_single_step(void **state)
{
    (void)state;
    struct um_error err;
    struct um_summary s;
    static const char *const settings[] = {
        "train.max_steps=1", "train.max_steps=1 lr_schedule.warmup=3",
        "train.max_steps=1 lr_schedule.name=cosine", "train.epochs=0.01 train.max_steps=0"};
    for (size_t i = 0; i < UM_COUNT(settings); i++) {
        struct um_run *run;
        struct um_recipe *recipe = make_recipe("a", settings[i]);
        assert_ok(um_run_open(&run, recipe, NULL, &err), err);
        assert_ok(train(run, &s, &err), err);
        assert_int_equal(s.n_steps, 1);
        assert_int_equal(s.n_changed, RUNS_BUDGET);
        assert_int_equal(count_in("a", "metrics.jsonl", "\"lr\": 0,"), 0);
        um_recipe_free(recipe);
        remove_run("a");
    }
}

/* Trained on rows that say the opposite of those it is scored on, the model gets worse. */
static void test_worse_than_before(void **state)
{
    (void)state;
    struct um_error err;
    struct um_summary s;
    struct um_run *run;
    struct um_str rows = {0};
    um_str_add(&rows, "text\tlabel\n");
    for (int i = 0; i < 60; i++)
        um_str_addf(&rows, "baba lo mu %s\t%s\n", i % 2 ? "za" : "wu", i % 2 ? "no" : "yes");
    const char *opposite = put_file("opposite.tsv", rows.text, rows.length);
    for (int is_worse = 0; is_worse < 2; is_worse++) {
        struct um_recipe *recipe =
            make_recipe("a", "method.name=full optimizer.lr=1e-2 train.max_steps=60");
        assert_ok(um_recipe_set(recipe, "data.train", opposite, &err), err);
        if (!is_worse)
            assert_ok(um_recipe_set(recipe, "data.eval", opposite, &err), err);
        assert_ok(um_run_open(&run, recipe, NULL, &err), err);
        assert_ok(train(run, &s, &err), err);
        assert_true(is_worse ? s.metric_best < s.metric_before : s.metric_best > s.metric_before);
        assert_int_equal(s.is_worse_than_before, is_worse);
        um_recipe_free(recipe);
        remove_run("a");
    }
    um_str_free(&rows);
}

/* ---- no memory */

/* A failed plan of other settings leaves the run as it was. */
static void test_no_memory_for_plans(void **state)
{
    (void)state;
    enum {
        STRIDE = 3
    }; /* coprime to what repeats, so that each kind of allocation fails at some time */
    struct um_error err;
    struct um_run *run;
    struct um_plan plan, again;
    struct um_saving savings[UM_SAVINGS_MAX];
    size_t n_savings, before = um_mem_used();
    struct um_recipe *recipe = make_recipe("none", "train.max_steps=2");
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_ok(um_run_plan(&plan, run, &err), err);
    int64_t n_batches = um_batches_per_epoch(&run->batches);
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n += STRIDE) {
        um_mem_fail_after(n);
        status = um_run_plan_savings(savings, &n_savings, &plan, run, &err);
        um_mem_fail_after(0);
        assert_int_equal(um_batches_per_epoch(&run->batches), n_batches);
        assert_null(run->tm.engine.pool.blocks);
    }
    assert_ok(um_run_plan(&again, run, &err), err);
    assert_int_equal(again.activation_bytes, plan.activation_bytes);
    um_run_free(run);
    um_recipe_free(recipe);
    assert_int_equal(um_mem_used(), before);
}

static void test_no_memory_for_predictions(void **state)
{
    (void)state;
    const char *const text = "baba lo mu";
    float logits[8];
    struct um_error err;
    struct um_predictor *p;
    size_t before = um_mem_used();
    assert_ok(um_predictor_open(&p, GOLDEN_DIR "/models/bert_cls/model", NULL, &err), err);
    assert_in_range(um_predictor_outputs(p), 1, UM_COUNT(logits));
    assert_ok(um_predictor_run(logits, p, 1, &text, NULL, &err), err);
    const char *base = p->tm.engine.pool.base;
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_predictor_run(logits, p, 1, &text, NULL, &err);
        um_mem_fail_after(0);
        assert_ptr_equal(p->tm.engine.pool.base, base);
    }
    um_predictor_free(p);
    assert_int_equal(um_mem_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_update_overflows),
        cmocka_unit_test(test_divergence_after_a_resume),
        cmocka_unit_test(test_another_base),
        cmocka_unit_test(test_early_stop_is_logged),
        cmocka_unit_test(test_killed_before_a_checkpoint),
        cmocka_unit_test(test_idle_settings_are_told),
        cmocka_unit_test(test_idle_settings_of_files),
        cmocka_unit_test(test_idle_settings_of_all_methods),
        cmocka_unit_test(test_single_step),
        cmocka_unit_test(test_worse_than_before),
        cmocka_unit_test(test_no_memory_for_plans),
        cmocka_unit_test(test_no_memory_for_predictions),
    };
    return cmocka_run_group_tests(tests, make_rows, remove_test_folder);
}
