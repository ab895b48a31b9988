/* The public API: several runs and predictors in one process, a callback that cancels, a run that
 * goes on; none of them disturbs another. */
#include "test.h"

#include "base/file.h"
#include "unmask.h"

#define MODEL GOLDEN_DIR "/models/bert_base/model"

static char folder[] = "/tmp/unmask library XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static struct um_recipe *make_recipe(const char *out)
{
    struct um_recipe *recipe;
    struct um_error err;
    const struct {
        const char *key, *value;
    } settings[] = {{"model", MODEL}, {"task", "classification"},
                    {"data.train", in_folder("train.tsv")}, {"data.eval", in_folder("train.tsv")},
                    {"out", in_folder(out)}, {"method.budget", "700"}, {"train.batch", "8"},
                    {"train.max_steps", "12"}, {"threads", "2"}};
    assert_ok(um_recipe_new(&recipe, &err), err);
    for (size_t i = 0; i < UM_COUNT(settings); i++)
        assert_ok(um_recipe_set(recipe, settings[i].key, settings[i].value, &err), err);
    return recipe;
}

static bool stop_at_three(const struct um_progress *progress, void *user)
{
    ++*(int *)user;
    return progress->split || progress->step < 3;
}

static void assert_same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    struct um_error err;
    assert_ok(um_file_read(&x, &n, a, &err), err);
    assert_ok(um_file_read(&y, &m, b, &err), err);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    um_free(x);
    um_free(y);
}

static void train(const struct um_recipe *recipe)
{
    struct um_run *run;
    struct um_summary summary;
    struct um_error err;
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    assert_true(summary.is_within_budget && summary.is_base_intact);
    assert_int_equal(summary.n_steps, 12);
    um_run_free(run);
}

static void test_runs_side_by_side(void **state)
{
    (void)state;
    struct um_error err;
    struct um_summary summary;
    struct um_run *stopped;
    int n_calls = 0;
    const struct um_callbacks callbacks = {.progress = stop_at_three, .user = &n_calls};
    struct um_recipe *alone = make_recipe("alone"), *beside = make_recipe("beside"),
                     *cut = make_recipe("cut");
    train(alone);
    assert_ok(um_run_open(&stopped, cut, &callbacks, &err), err);
    train(beside); /* while the other is open */
    assert_int_equal(um_run_train(&summary, stopped, &err), UM_E_INTERRUPTED);
    assert_int_equal(n_calls, 4); /* the evaluation before, and three steps */
    um_run_free(stopped);
    assert_same_file(in_folder("alone/delta.safetensors"), in_folder("beside/delta.safetensors"));
    assert_ok(um_run_resume(&stopped, in_folder("cut"), NULL, &err), err);
    assert_ok(um_run_train(&summary, stopped, &err), err);
    um_run_free(stopped);
    assert_same_file(in_folder("alone/delta.safetensors"), in_folder("cut/delta.safetensors"));
    um_recipe_free(alone);
    um_recipe_free(beside);
    um_recipe_free(cut);
}

static void test_predictors_side_by_side(void **state)
{
    (void)state;
    struct um_error err;
    struct um_predictor *a, *b, *none;
    const char *const texts[] = {"baba deba", "kiba lo mu"};
    float x[4], y[4];
    assert_ok(um_predictor_open(&a, MODEL, in_folder("alone"), &err), err);
    assert_ok(um_predictor_open(&b, MODEL, in_folder("beside"), &err), err);
    assert_int_equal(um_predictor_outputs(a), 2);
    assert_string_equal(um_predictor_label(a, 1), "yes");
    assert_null(um_predictor_label(a, 2));
    assert_ok(um_predictor_run(x, a, 2, texts, NULL, &err), err);
    assert_ok(um_predictor_run(y, b, 2, texts, NULL, &err), err);
    assert_memory_equal(x, y, sizeof(x));
    um_predictor_free(a);
    um_predictor_free(b);
    assert_fails(um_predictor_open(&none, MODEL, NULL, &err), UM_E_INPUT, "no task head", err);
}

static int make_folder(void **state)
{
    (void)state;
    struct um_str rows = {0};
    struct um_error err;
    um_str_add(&rows, "text\tlabel\n");
    for (int i = 0; i < 60; i++)
        um_str_addf(&rows, "%s lo mu %s\t%s\n", i % 3 ? "baba" : "deba kiba", i % 2 ? "za" : "wu",
                    i % 2 ? "yes" : "no");
    if (!mkdtemp(folder) ||
        um_file_write(in_folder("train.tsv"), rows.text, rows.length, &err) != UM_OK)
        return -1;
    um_str_free(&rows);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const runs[] = {"alone", "beside", "cut"};
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(runs); i++)
        if (um_remove_folder(in_folder(runs[i]), &err) != UM_OK)
            return -1;
    return um_remove_folder(folder, &err) == UM_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_side_by_side),
        cmocka_unit_test(test_predictors_side_by_side),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
