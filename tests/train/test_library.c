/* The public API: several runs and predictors in one process, a callback that cancels, a run that
 * goes on; none of them disturbs another. */
#include "train/runs.h"

static bool stop_at_three(const struct um_progress *progress, void *user)
{
    ++*(int *)user;
    return progress->split || progress->step < 3;
}

static void train(const struct um_recipe *recipe)
{
    struct um_run *run;
    struct um_summary summary;
    struct um_error err;
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    assert_true(summary.is_within_budget && summary.is_base_intact);
    assert_int_equal(summary.n_steps, RUNS_STEPS);
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
    struct um_recipe *alone = make_recipe("alone", ""), *beside = make_recipe("beside", ""),
                     *cut = make_recipe("cut", "");
    train(alone);
    assert_ok(um_run_open(&stopped, cut, &callbacks, &err), err);
    train(beside); /* while the other is open */
    assert_int_equal(um_run_train(&summary, stopped, &err), UM_E_INTERRUPTED);
    assert_int_equal(n_calls, 4); /* the evaluation before, and three steps */
    um_run_free(stopped);
    assert_true(is_same_in_runs("delta.safetensors", "alone", "beside"));
    assert_ok(um_run_resume(&stopped, in_folder("cut"), NULL, &err), err);
    assert_ok(um_run_train(&summary, stopped, &err), err);
    um_run_free(stopped);
    assert_true(is_same_in_runs("delta.safetensors", "alone", "cut"));
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
    assert_ok(um_predictor_open(&a, RUNS_MODEL, in_folder("alone"), &err), err);
    assert_ok(um_predictor_open(&b, RUNS_MODEL, in_folder("beside"), &err), err);
    assert_int_equal(um_predictor_outputs(a), 2);
    assert_string_equal(um_predictor_label(a, 1), "yes");
    assert_null(um_predictor_label(a, 2));
    assert_ok(um_predictor_run(x, a, 2, texts, NULL, &err), err);
    assert_ok(um_predictor_run(y, b, 2, texts, NULL, &err), err);
    assert_memory_equal(x, y, sizeof(x));
    um_predictor_free(a);
    um_predictor_free(b);
    remove_run("alone");
    remove_run("beside");
    remove_run("cut");
    assert_fails(um_predictor_open(&none, RUNS_MODEL, NULL, &err), UM_E_INPUT, "no task head", err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_side_by_side),
        cmocka_unit_test(test_predictors_side_by_side),
    };
    return cmocka_run_group_tests(tests, make_rows, remove_test_folder);
}
