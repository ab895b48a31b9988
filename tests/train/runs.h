/* Runs on a tiny model and made-up rows, in a folder of the test's own. */
#ifndef UM_TESTS_RUNS_H
#define UM_TESTS_RUNS_H

#include "folder.h"

#include "unmask.h"

#define RUNS_MODEL GOLDEN_DIR "/models/bert_base/model"
enum { RUNS_STEPS = 12, RUNS_BUDGET = 700, RUNS_HEAD = 66 /* elements of the fresh head */ };

/* Group set-up: the folder with 60 rows of two classes. (Tear-down: remove_test_folder.) */
static int make_rows(void **state)
{
    struct um_str rows = {0};
    if (make_test_folder(state) != 0)
        return -1;
    um_str_add(&rows, "text\tlabel\n");
    for (int i = 0; i < 60; i++)
        um_str_addf(&rows, "%s lo mu %s\t%s\n", i % 3 ? "baba" : "deba kiba", i % 2 ? "za" : "wu",
                    i % 2 ? "yes" : "no");
    (void)put_file("train.tsv", rows.text, rows.length);
    um_str_free(&rows);
    return 0;
}

/* A recipe for a run into folder `out`; settings over the common ones are "key=value", with spaces
 * between. Free with um_recipe_free. */
static inline struct um_recipe *make_recipe(const char *out, const char *settings)
{
    struct um_recipe *recipe;
    struct um_error err;
    char all[1024], *rest = all;
    (void)snprintf(
        all, sizeof(all),
        "task=classification method.budget=%d train.batch=8 train.max_steps=%d threads=2 "
        "%s",
        RUNS_BUDGET, RUNS_STEPS, settings);
    assert_ok(um_recipe_new(&recipe, &err), err);
    assert_ok(um_recipe_set(recipe, "model", RUNS_MODEL, &err), err);
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

static inline void remove_run(const char *out)
{
    struct um_error err;
    assert_ok(um_remove_folder(in_folder(out), &err), err);
}

/* A file of a run: "RUN/NAME". */
static inline const char *in_run(const char *run, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", run, name);
    return in_folder(path);
}

/* Whether file NAME is the same in two runs. */
static inline bool is_same_in_runs(const char *name, const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    struct um_error err;
    assert_ok(um_file_read(&x, &n, in_run(a, name), &err), err);
    assert_ok(um_file_read(&y, &m, in_run(b, name), &err), err);
    bool is_same = n == m && memcmp(x, y, n) == 0;
    um_free(x);
    um_free(y);
    return is_same;
}

#endif
