/* The public API: several runs and predictors in one process, callbacks that cancel, a run that
 * goes on; none of them disturbs another. */
#include "edited_model.h"
#include "train/runs.h"

#include <pthread.h>

#include "base/cpu.h"

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

/* A classifier whose pooler nobody trained, as models for the classes of tokens have none. */
static void test_untrained_parts_do_not_predict(void **state)
{
    (void)state;
    struct um_predictor *p;
    struct um_error err;
    put_edited_model(in_folder("headed"), GOLDEN_DIR "/models/bert_cls/model", "pooler", NULL);
    assert_fails(um_predictor_open(&p, in_folder("headed"), NULL, &err), UM_E_INPUT,
                 "nobody trained its 'bert.pooler.dense.weight'", err);
    assert_int_equal(um_predictor_open(&p, in_folder("headed"), NULL, NULL), UM_E_INPUT);
}

/* Stops at the n-th batch that is scored; 0: never. */
struct stop {
    int at, n_batches, n_evaluations;
};

static bool count_evaluation(const struct um_progress *progress, void *user)
{
    struct stop *stop = user;
    stop->n_evaluations += progress->split != NULL;
    return true;
}

static bool stop_at_batch(const struct um_answering *scored, void *user)
{
    struct stop *stop = user;
    assert_true(scored->is_scoring && scored->n_right == 0);
    assert_true(scored->n_done >= 1 && scored->n_done <= scored->n_rows && scored->n_rows == 60);
    return ++stop->n_batches != stop->at;
}

/* An evaluation of a head's outputs is stopped between batches; a run's is made anew. */
static void test_evaluations_stop(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct um_summary summary;
    struct um_evaluation e;
    struct um_predictor *p;
    struct stop whole = {0}, cut = {.at = 6}, rest = {0}, once = {.at = 3}; /* 4 batches in each */
    struct um_callbacks callbacks = {
        .progress = count_evaluation, .answering = stop_at_batch, .user = &whole};
    static const char settings[] = "eval.every=6 eval.batch=16";
    struct um_recipe *one = make_recipe("whole", settings), *other = make_recipe("cut", settings);
    assert_ok(um_run_open(&run, one, &callbacks, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    um_run_free(run);
    assert_int_equal(whole.n_batches, 4 * 3);
    callbacks.user = &cut;
    assert_ok(um_run_open(&run, other, &callbacks, &err), err);
    assert_fails(um_run_train(&summary, run, &err), UM_E_INTERRUPTED, "stopped at step 6 of 12",
                 err);
    um_run_free(run);
    callbacks.user = &rest;
    assert_ok(um_run_resume(&run, in_folder("cut"), &callbacks, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    um_run_free(run);
    assert_int_equal(cut.n_evaluations + rest.n_evaluations, 3);
    assert_true(is_same_in_runs("delta.safetensors", "whole", "cut"));
    callbacks.user = &once;
    assert_ok(um_predictor_open(&p, RUNS_MODEL, in_folder("whole"), &err), err);
    assert_fails(um_predictor_evaluate(&e, p, one, NULL, &callbacks, &err), UM_E_INTERRUPTED,
                 "the evaluation was stopped after 48 of 60 rows", err);
    um_predictor_free(p);
    um_recipe_free(one);
    um_recipe_free(other);
    remove_run("whole");
    remove_run("cut");
}

static void *own_threads(void *user)
{
    (void)user;
    int n = um_threads();
    um_set_threads(n + 1);
    assert_int_equal(um_threads(), n + 1);
    um_set_threads(0);
    assert_int_equal(um_threads(), n);
    return NULL;
}

/* The number of threads is the calling thread's: opening a run sets it to the recipe's, there
 * alone. */
static void test_threads_of_a_thread(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    pthread_t other;
    struct um_recipe *recipe = make_recipe("single", "threads=3");
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_int_equal(um_threads(), 3);
    assert_int_equal(pthread_create(&other, NULL, own_threads, NULL), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(um_threads(), 3);
    um_run_free(run);
    um_recipe_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_side_by_side),
        cmocka_unit_test(test_predictors_side_by_side),
        cmocka_unit_test(test_untrained_parts_do_not_predict),
        cmocka_unit_test(test_evaluations_stop),
        cmocka_unit_test(test_threads_of_a_thread),
    };
    return cmocka_run_group_tests(tests, make_rows, remove_test_folder);
}
