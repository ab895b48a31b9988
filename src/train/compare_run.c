/* One run of a comparison: its recipe, its folder, and what it came to. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "train/compare_private.h"

/* ---- the recipe */

/* "NAME:key=value:key=value": a method and settings that go with it; ';' between the items of a
 * list. */
static enum um_status set_variant(struct um_recipe *recipe, const char *variant,
                                  struct um_error *err)
{
    char *copy = um_strdup(variant);
    enum um_status status = copy ? UM_OK : um_fail_memory(err, variant, strlen(variant));
    char *next = copy ? strchr(copy, ':') : NULL;
    if (next)
        *next++ = '\0';
    if (status == UM_OK)
        status = um_recipe_set(recipe, "method.name", copy, err);
    for (char *part = next; part && status == UM_OK; part = next) {
        next = strchr(part, ':');
        if (next)
            *next++ = '\0';
        char *equals = strchr(part, '=');
        if (!equals) {
            status = um_fail(err, UM_E_USAGE, "method '%s': '%s' is not key=value", variant, part);
            break;
        }
        *equals = '\0';
        for (char *c = equals + 1; (c = strchr(c, ';'));)
            *c = ',';
        status = um_recipe_set(recipe, part, equals + 1, err);
    }
    um_free(copy);
    return status;
}

bool um_comparison_sets(const struct um_variant *variant, const char *key)
{
    size_t n = strlen(key);
    for (const char *part = strchr(variant->text, ':'); part; part = strchr(part + 1, ':'))
        if (strncmp(part + 1, key, n) == 0 && part[1 + n] == '=')
            return true;
    return false;
}

enum um_status um_comparison_resolve(struct um_variant *variant, const struct um_recipe *recipe,
                                     struct um_error *err)
{
    static const char *const reserved[] = {"task", "out", "train.seed", "data.holdout"};
    UM_RETURN_IF(um_recipe_clone(&variant->recipe, recipe, err));
    UM_RETURN_IF(set_variant(variant->recipe, variant->text, err));
    UM_RETURN_IF(um_recipe_root_paths(variant->recipe, err));
    for (size_t i = 0; i < UM_COUNT(reserved); i++)
        if (um_comparison_sets(variant, reserved[i]))
            return um_fail(err, UM_E_USAGE, "method '%s': '%s' is the comparison's to set",
                           variant->text, reserved[i]);
    return UM_OK;
}

static enum um_status set_number(struct um_recipe *recipe, const char *key, double value,
                                 struct um_error *err)
{
    char text[32];
    (void)um_snprintf(text, sizeof(text), "%.9g", value); /* 3 x 1e-4 is 3e-4 */
    return um_recipe_set(recipe, key, text, err);
}

/* A trial is a run that is scored on held-out training rows alone, and may be shorter. */
static enum um_status make_trial(struct um_recipe *recipe, const struct um_compare_options *o,
                                 struct um_error *err)
{
    if (o->trial_epochs > 0) {
        UM_RETURN_IF(set_number(recipe, "train.epochs", o->trial_epochs, err));
        UM_RETURN_IF(um_recipe_set(recipe, "train.max_steps", "0", err));
    }
    UM_RETURN_IF(um_recipe_set(recipe, "data.eval", "", err));
    return set_number(recipe, "data.holdout", o->holdout, err);
}

static enum um_status make_recipe(struct um_recipe **recipe, const struct um_comparison *c,
                                  const struct um_contender *cell, const struct um_attempt *a,
                                  const char *out, struct um_error *err)
{
    UM_RETURN_IF(um_recipe_clone(recipe, cell->variant->recipe, err));
    UM_RETURN_IF(um_recipe_set(*recipe, "task", cell->task, err));
    UM_RETURN_IF(um_recipe_set(*recipe, "out", out, err));
    if (*cell->budget)
        UM_RETURN_IF(um_recipe_set(*recipe, "method.budget", cell->budget, err));
    if (a->rate > 0)
        UM_RETURN_IF(set_number(*recipe, "optimizer.lr", a->rate, err));
    UM_RETURN_IF(set_number(*recipe, "train.seed", (double)a->seed, err));
    return a->is_trial ? make_trial(*recipe, c->options, err) : UM_OK;
}

enum um_status um_comparison_settle(struct um_contender *cell, const struct um_comparison *c,
                                    struct um_error *err)
{
    const struct um_attempt as_it_is = {.seed = 1};
    struct um_recipe *recipe = NULL;
    struct um_run *run = NULL;
    enum um_status status;
    cell->own_rate = um_recipe_config(cell->variant->recipe)->optimizer.lr;
    if (cell->own_rate > 0) /* not left to the method */
        return UM_OK;
    UM_TRY(make_recipe(&recipe, c, cell, &as_it_is, "", err));
    UM_TRY(um_run_open_plan(&run, recipe, NULL, err));
    cell->own_rate = run->config->optimizer.lr;
out:
    if (status != UM_OK)
        um_error_prefix(err, "%s, %s", cell->task, cell->variant->text);
    um_run_free(run);
    um_recipe_free(recipe);
    return status;
}

/* ---- the folder */

/* Where a run is kept: its folder, and what in it tells how far it has come. Owned. */
struct place {
    char *out, *recipe, *summary, *diverged;
};

/* OUT/PART/TASK METHOD BUDGET lr-RATE seed-N, with what no file name should hold replaced. */
static char *folder_of(const struct um_comparison *c, const struct um_contender *cell,
                       const struct um_attempt *a)
{
    struct um_str name = {0};
    um_str_addf(&name, "%s.%s.%s.lr-%g.seed-%lld", cell->task, cell->variant->text,
                *cell->budget ? cell->budget : "all", a->rate, (long long)a->seed);
    for (size_t i = 0; i < name.length; i++)
        if (strchr("/:= *", name.text[i]))
            name.text[i] = '_';
    char *parent = um_path_join(c->options->out, a->is_trial ? "trials" : "runs");
    char *path = parent && !name.failed ? um_path_join(parent, name.text) : NULL;
    um_free(parent);
    um_str_free(&name);
    return path;
}

static void place_close(struct place *place)
{
    um_free(place->out);
    um_free(place->recipe);
    um_free(place->summary);
    um_free(place->diverged);
}

/* `out` becomes the place's. */
static enum um_status place_open(struct place *place, char *out, struct um_error *err)
{
    *place = (struct place){.out = out};
    if (!out)
        return um_fail_memory(err, "a run's folder", 0);
    place->recipe = um_path_join(out, "recipe.yaml");
    place->summary = um_path_join(out, "summary.json");
    place->diverged = um_path_join(out, "diverged");
    return place->recipe && place->summary && place->diverged ? UM_OK
                                                              : um_fail_memory(err, out, 0);
}

static bool is_over(const struct place *place)
{
    return um_path_exists(place->summary) || um_path_exists(place->diverged);
}

static enum um_status read_summary(struct um_outcome *outcome, const char *path,
                                   struct um_error *err)
{
    json_t *json;
    const char *metric = "";
    int64_t n_updates = 0;
    enum um_status status;
    UM_RETURN_IF(um_json_load(&json, path, err));
    UM_TRY(um_json_get_str(&metric, json, "metric", path, err));
    UM_TRY(um_json_get_f64(&outcome->value, json, "metric_best", path, err));
    UM_TRY(um_json_get_f64(&outcome->loss, json, "loss_best", path, err));
    UM_TRY(um_json_get_i64(&n_updates, json, "updates", path, err));
    UM_TRY(um_json_get_f64(&outcome->seconds, json, "seconds", path, err));
    UM_TRY(um_json_get_f64(&outcome->peak_mib, json, "peak_rss_mib", path, err));
    UM_TRY(um_json_get_i64(&outcome->n_changed, json, "changed", path, err));
    UM_TRY(um_json_get_i64(&outcome->delta_bytes, json, "delta_bytes", path, err));
    outcome->updates = (double)n_updates;
    outcome->metric = um_metric_find(metric);
    if (!outcome->metric)
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot read '%s': metric '%s' is not known", path,
                       metric));
out:
    json_decref(json);
    return status;
}

/* Whether a setting has no part in what a run comes to. */
static bool is_idle(const char *key)
{
    return strcmp(key, "out") == 0 || strcmp(key, "threads") == 0;
}

/* Refuses a run that other settings made: its result would be taken for that of this recipe. */
static enum um_status check_same(const struct um_recipe *recipe, const struct place *place,
                                 struct um_error *err)
{
    const struct um_option_info *option;
    struct um_recipe *old = NULL;
    enum um_status status;
    UM_RETURN_IF(um_recipe_new(&old, err));
    UM_TRY(um_recipe_load(old, place->recipe, err));
    for (size_t i = 0; (option = um_recipe_option(i)); i++) {
        const char *was = um_recipe_get(old, option->key), *is = um_recipe_get(recipe, option->key);
        if (strcmp(was, is) == 0 || is_idle(option->key))
            continue;
        status = um_fail(err, UM_E_USAGE, "'%s' was trained with %s '%s', not '%s'",
                         place->out, option->key, was, is);
        um_error_hint(err, "take another --out, or remove that folder to train it anew");
        goto out;
    }
out:
    um_recipe_free(old);
    return status;
}

/* That a run diverged is its outcome: noted, so that it is not tried again. */
static enum um_status note_divergence(const struct um_comparison *c,
                                      const struct um_contender *cell, double rate,
                                      const char *path, struct um_error *err)
{
    struct um_str line = {0};
    um_str_addf(&line, "%s, %s, lr %g: %s", cell->task, cell->variant->text, rate,
                err ? err->message : "diverged");
    enum um_status status = um_file_write_str(path, &line, err);
    if (status == UM_OK)
        um_say(c->callbacks, "%s", line.text);
    um_str_free(&line);
    return status;
}

/* Trains to the end: anew, or on from where an earlier call was stopped. */
static enum um_status train(const struct um_comparison *c, const struct um_recipe *recipe,
                            const struct place *place, struct um_error *err)
{
    struct um_run *run = NULL;
    struct um_summary summary;
    um_memory_reset_peak();
    enum um_status status = um_path_exists(place->recipe)
                                ? um_run_resume_by(&run, recipe, c->callbacks, err)
                                : um_run_open(&run, recipe, c->callbacks, err);
    if (status == UM_OK)
        status = um_run_train(&summary, run, err);
    um_run_free(run);
    return status;
}

/* Holds the run's folder for this process; *claim is NULL where another has it. */
static enum um_status take_claim(FILE **claim, struct um_comparison *c, const struct place *place,
                                 struct um_error *err)
{
    char *path = um_path_join(place->out, "claim");
    enum um_status status;
    if (!path)
        UM_TRY(um_fail_memory(err, place->out, 0));
    UM_TRY(um_make_folder(place->out, err));
    UM_TRY(um_lock_take(claim, path, c->waits, err));
    c->waits = false;
    c->n_busy += !*claim;
out:
    um_free(path);
    return status;
}

/* What a run that is over came to; `recipe` is its own. */
static enum um_status read_outcome(struct um_outcome *outcome, const struct place *place,
                                   const struct um_recipe *recipe, struct um_error *err)
{
    const struct um_config *config = um_recipe_config(recipe);
    if (um_path_exists(place->summary))
        return read_summary(outcome, place->summary, err);
    outcome->has_diverged = true;
    outcome->metric = um_metric_find(*config->eval.best ? config->eval.best
                                                        : um_task_find(config->task)->metrics[0]);
    return UM_OK;
}

enum um_status um_comparison_check(struct um_comparison *c, const struct um_contender *cell,
                                   const struct um_attempt *attempt, struct um_error *err)
{
    struct um_recipe *recipe = NULL;
    struct um_run *run = NULL;
    struct place place;
    enum um_status status;
    UM_TRY(place_open(&place, folder_of(c, cell, attempt), err));
    if (um_path_exists(place.recipe)) /* begun, so it was fine */
        goto out;
    UM_TRY(make_recipe(&recipe, c, cell, attempt, place.out, err));
    UM_TRY(um_run_open(&run, recipe, NULL, err));
    if (run->eval.n_rows == 0)
        UM_TRY(um_fail(err, UM_E_USAGE, "there is nothing to evaluate on, so nothing to compare"));
out:
    if (status != UM_OK)
        um_error_prefix(err, "%s, %s%s", cell->task, cell->variant->text,
                        attempt->is_trial ? ", trial" : "");
    um_run_free(run);
    um_recipe_free(recipe);
    place_close(&place);
    return status;
}

enum um_status um_comparison_run(struct um_outcome *outcome, struct um_comparison *c,
                                 const struct um_contender *cell, const struct um_attempt *attempt,
                                 struct um_error *err)
{
    struct um_recipe *recipe = NULL;
    struct place place;
    FILE *claim = NULL;
    enum um_status status;
    *outcome = (struct um_outcome){.value = (double)NAN, .loss = (double)NAN};
    UM_TRY(place_open(&place, folder_of(c, cell, attempt), err));
    UM_TRY(make_recipe(&recipe, c, cell, attempt, place.out, err));
    if (!is_over(&place)) {
        UM_TRY(take_claim(&claim, c, &place, err));
        if (!claim)
            goto out;
    }
    if (um_path_exists(place.recipe))
        UM_TRY(check_same(recipe, &place, err));
    if (!is_over(&place)) {
        c->n_trained++;
        status = train(c, recipe, &place, err);
        if (status == UM_E_DIVERGED)
            status = note_divergence(c, cell, attempt->rate, place.diverged, err);
    }
    if (status == UM_OK)
        status = read_outcome(outcome, &place, recipe, err);
out:
    if (status != UM_OK)
        um_error_prefix(err, "%s, %s", cell->task, cell->variant->text);
    if (claim)
        (void)fclose(claim);
    um_recipe_free(recipe);
    place_close(&place);
    return status;
}
