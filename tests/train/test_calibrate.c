/*
 * Every method through the public API: its run keeps its promises; cut short at any point and taken
 * up again, be it before the first step, it ends with the same bits; and LT-SFT chooses what a run
 * of full fine-tuning has moved most.
 */
#include "train/runs.h"

#include <math.h>

#include "delta/delta.h"

/* Counts its calls, and stops the run at one of them. */
struct stopper {
    int n, at;
    bool was_before; /* the first step */
};

static bool count_and_stop(const struct um_progress *progress, void *user)
{
    struct stopper *s = user;
    if (++s->n != s->at)
        return true;
    s->was_before = progress->phase != NULL;
    return false;
}

static struct um_summary train(const char *out, const char *settings, struct stopper *stopper)
{
    struct um_run *run;
    struct um_summary summary;
    struct um_error err;
    const struct um_callbacks callbacks = {.progress = count_and_stop, .user = stopper};
    char all[512];
    (void)snprintf(all, sizeof(all), "optimizer.lr=2e-3 checkpoint.every=5 checkpoint.keep=9 %s",
                   settings);
    struct um_recipe *recipe = make_recipe(out, all);
    assert_ok(um_run_open(&run, recipe, &callbacks, &err), err);
    enum um_status status = um_run_train(&summary, run, &err);
    um_run_free(run);
    um_recipe_free(recipe);
    if (stopper->at == 0) {
        assert_ok(status, err);
        return summary;
    }
    assert_int_equal(status, UM_E_INTERRUPTED);
    assert_ok(um_run_resume(&run, in_folder(out), NULL, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    um_run_free(run);
    return summary;
}

static const char *const cases[] = {
    "method.name=id3",
    "method.name=id3 method.importance=random method.ranking=matrix",
    "method.name=d3 train.accumulate=2",
    "method.name=repeat method.every=3",
    "method.name=repeat method.every=3 method.until=0.5 method.importance=random",
    "method.name=repeat method.every=3 method.dropped=restore",
    "method.name=pafi",
    "method.name=fish method.samples=20",
    "method.name=sam train.dropout=0.1",
    "method.name=gradient",
    "method.name=lt-sft method.trial=0.5",
    "method.name=bitfit",
    "method.name=bitfit-norms",
    "method.name=top-layers",
    "method.name=head",
    "method.name=full",
};

static void test_promises_and_resuming(void **state)
{
    (void)state;
    bool was_ever_before = false;
    for (size_t c = 0; c < UM_COUNT(cases); c++) {
        struct stopper whole = {0};
        struct um_summary s = train("whole", cases[c], &whole);
        assert_true(s.is_within_budget && s.is_base_intact);
        assert_true(s.n_unmasked <= s.budget && s.n_changed <= s.n_touched);
        bool is_repeat = strstr(cases[c], "repeat") != NULL;
        assert_true(is_repeat ? s.n_touched > s.n_unmasked : s.n_touched == s.n_unmasked);
        bool are_kept = is_repeat && !strstr(cases[c], "restore");
        assert_true(are_kept ? s.n_changed > s.budget : s.n_changed <= s.budget);
        for (int at = 1; at < whole.n; at += 4) {
            struct stopper cut = {.at = at};
            struct um_summary again = train("cut", cases[c], &cut);
            was_ever_before |= cut.was_before;
            if (!is_same_in_runs("delta.safetensors", "whole", "cut") ||
                again.n_updates != s.n_updates || again.n_touched != s.n_touched)
                fail_msg("'%s' stopped at call %d: the resumed run differs", cases[c], at);
            remove_run("cut");
        }
        remove_run("whole");
    }
    assert_true(was_ever_before);
}

static void test_updates_are_counted(void **state)
{
    (void)state;
    struct stopper none = {0};
    assert_int_equal(train("whole", "method.name=pafi", &none).n_updates, RUNS_BUDGET * RUNS_STEPS);
    remove_run("whole");
    int64_t expected = RUNS_HEAD * RUNS_STEPS;
    for (int t = 1; t <= RUNS_STEPS; t++)
        expected += llround((double)(RUNS_BUDGET - RUNS_HEAD) * t / RUNS_STEPS);
    assert_int_equal(train("whole", "method.name=id3", &none).n_updates, expected);
    remove_run("whole");
    struct um_summary full = train("whole", "method.name=full", &none);
    remove_run("whole");
    struct um_summary s = train("whole", "method.name=lt-sft method.trial=0.5", &none);
    assert_int_equal(s.n_updates, RUNS_BUDGET * RUNS_STEPS + full.budget * RUNS_STEPS / 2);
    remove_run("whole");
}

static struct um_delta *open_delta(const char *run)
{
    struct um_delta *delta;
    struct um_error err;
    assert_ok(um_delta_open(&delta, in_folder(run), &err), err);
    return delta;
}

static bool has_position(const struct um_delta_entry *entry, int64_t index)
{
    for (int64_t k = 0; entry && k < entry->n; k++)
        if (entry->index[k] == index)
            return true;
    return false;
}

/* The least movement of what lt-sft chose is not below the greatest of what it left. */
static void test_movement_is_that_of_full_fine_tuning(void **state)
{
    (void)state;
    struct stopper none = {0};
    struct um_folder base;
    struct um_error err;
    double least = INFINITY, most = 0;
    int64_t n_chosen = 0;
    train("full", "method.name=full eval.before=off", &none);
    train("chosen", "method.name=lt-sft method.trial_lr=2e-3 optimizer.lr=1e-2", &none);
    struct um_delta *full = open_delta("full"), *chosen = open_delta("chosen");
    assert_ok(um_folder_open(&base, RUNS_MODEL, &err), err);
    for (size_t e = 0; e < full->n_entries; e++) {
        const struct um_delta_entry *entry = &full->entries[e];
        const struct um_tensor_view *stored = um_folder_find(&base, entry->name);
        for (int64_t i = 0; stored && i < entry->n; i++) {
            float before = um_to_f32_at(stored->bytes, stored->dtype, i);
            double moved = fabs((double)(entry->value[i] - before));
            if (has_position(um_delta_find(chosen, entry->name), i)) {
                least = fmin(least, moved);
                n_chosen++;
            } else {
                most = fmax(most, moved);
            }
        }
    }
    assert_int_equal(n_chosen, RUNS_BUDGET - RUNS_HEAD);
    assert_true(least >= most && least > 0);
    um_folder_close(&base);
    um_delta_free(full);
    um_delta_free(chosen);
    remove_run("full");
    remove_run("chosen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_and_resuming),
        cmocka_unit_test(test_updates_are_counted),
        cmocka_unit_test(test_movement_is_that_of_full_fine_tuning),
    };
    return cmocka_run_group_tests(tests, make_rows, remove_test_folder);
}
