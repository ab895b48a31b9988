/*
 * Every method through the public API: its run keeps its promises; cut short at any point and taken
 * up again, be it before the first step, it ends with the same bits; and LT-SFT chooses what a run
 * of full fine-tuning has moved most.
 */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "delta/delta.h"
#include "format/folder.h"
#include "unmask.h"

#define MODEL GOLDEN_DIR "/models/bert_base/model"
enum { N_STEPS = 12, BUDGET = 700, N_HEAD = 66 };

static char folder[] = "/tmp/unmask calibrate XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

/* Settings of a case: "key=value" with spaces between. */
static struct um_recipe *make_recipe(const char *out, const char *settings)
{
    struct um_recipe *recipe;
    struct um_error err;
    char all[1024], *rest = all;
    (void)snprintf(
        all, sizeof(all),
        "task=classification method.budget=%d train.batch=8 train.max_steps=%d threads=2 "
        "optimizer.lr=2e-3 checkpoint.every=5 checkpoint.keep=9 %s",
        BUDGET, N_STEPS, settings);
    assert_ok(um_recipe_new(&recipe, &err), err);
    assert_ok(um_recipe_set(recipe, "model", MODEL, &err), err);
    assert_ok(um_recipe_set(recipe, "data.train", in_folder("train.tsv"), &err), err);
    assert_ok(um_recipe_set(recipe, "data.eval", in_folder("train.tsv"), &err), err);
    assert_ok(um_recipe_set(recipe, "out", in_folder(out), &err), err);
    for (char *word; (word = strtok_r(rest, " ", &rest));) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value = '\0';
        assert_ok(um_recipe_set(recipe, word, value + 1, &err), err);
    }
    return recipe;
}

static void remove_run(const char *out)
{
    struct um_error err;
    assert_ok(um_remove_folder(in_folder(out), &err), err);
}

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
    struct um_recipe *recipe = make_recipe(out, settings);
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

static bool is_same_delta(const char *a, const char *b)
{
    char *x, *y, name[64];
    size_t n, m;
    struct um_error err;
    (void)snprintf(name, sizeof(name), "%s/delta.safetensors", a);
    assert_ok(um_file_read(&x, &n, in_folder(name), &err), err);
    (void)snprintf(name, sizeof(name), "%s/delta.safetensors", b);
    assert_ok(um_file_read(&y, &m, in_folder(name), &err), err);
    bool is_same = n == m && memcmp(x, y, n) == 0;
    um_free(x);
    um_free(y);
    return is_same;
}

static const char *const cases[] = {
    "method.name=id3",
    "method.name=id3 method.importance=random method.ranking=matrix",
    "method.name=d3 train.accumulate=2",
    "method.name=repeat method.every=3",
    "method.name=repeat method.every=3 method.dropped=keep method.importance=random",
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
        assert_true(strstr(cases[c], "keep") ? s.n_changed > s.budget : s.n_changed <= s.budget);
        for (int at = 1; at < whole.n; at += 4) {
            struct stopper cut = {.at = at};
            struct um_summary again = train("cut", cases[c], &cut);
            was_ever_before |= cut.was_before;
            if (!is_same_delta("whole", "cut") || again.n_updates != s.n_updates ||
                again.n_touched != s.n_touched)
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
    assert_int_equal(train("whole", "method.name=pafi", &none).n_updates, BUDGET * N_STEPS);
    remove_run("whole");
    int64_t expected = N_HEAD * N_STEPS;
    for (int t = 1; t <= N_STEPS; t++)
        expected += llround((double)(BUDGET - N_HEAD) * t / N_STEPS);
    assert_int_equal(train("whole", "method.name=id3", &none).n_updates, expected);
    remove_run("whole");
    struct um_summary full = train("whole", "method.name=full", &none);
    remove_run("whole");
    struct um_summary s = train("whole", "method.name=lt-sft method.trial=0.5", &none);
    assert_int_equal(s.n_updates, BUDGET * N_STEPS + full.budget * N_STEPS / 2);
    remove_run("whole");
}

static struct um_delta *open_delta(const char *run)
{
    char name[64];
    struct um_delta *delta;
    struct um_error err;
    (void)snprintf(name, sizeof(name), "%s/delta.safetensors", run);
    assert_ok(um_delta_open(&delta, in_folder(name), &err), err);
    return delta;
}

static const struct um_delta_entry *entry_of(const struct um_delta *delta, const char *name)
{
    for (size_t e = 0; e < delta->n_entries; e++)
        if (strcmp(delta->entries[e].name, name) == 0)
            return &delta->entries[e];
    return NULL;
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
    train("chosen", "method.name=lt-sft", &none);
    struct um_delta *full = open_delta("full"), *chosen = open_delta("chosen");
    assert_ok(um_folder_open(&base, MODEL, &err), err);
    for (size_t e = 0; e < full->n_entries; e++) {
        const struct um_delta_entry *entry = &full->entries[e];
        const struct um_tensor_view *stored = um_folder_find(&base, entry->name);
        for (int64_t i = 0; stored && i < entry->n; i++) {
            float before = um_to_f32_at(stored->bytes, stored->dtype, i);
            double moved = fabs((double)(entry->value[i] - before));
            if (has_position(entry_of(chosen, entry->name), i)) {
                least = fmin(least, moved);
                n_chosen++;
            } else {
                most = fmax(most, moved);
            }
        }
    }
    assert_int_equal(n_chosen, BUDGET - N_HEAD);
    assert_true(least >= most && least > 0);
    um_folder_close(&base);
    um_delta_free(full);
    um_delta_free(chosen);
    remove_run("full");
    remove_run("chosen");
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
    struct um_error err;
    return um_remove_folder(folder, &err) == UM_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_and_resuming),
        cmocka_unit_test(test_updates_are_counted),
        cmocka_unit_test(test_movement_is_that_of_full_fine_tuning),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
