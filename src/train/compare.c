/*
 * Comparing methods: the grid of tasks, methods, budgets and seeds, each cell a run folder of its own
 * under OUT, so that a comparison that was stopped goes on where it was. Every method gets the same
 * number of trials for its learning rate, scored on a part of the training data that is held out.
 * Processes that are given the same OUT share the work: a run belongs to the one that holds its claim.
 */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "train/compare_private.h"

/* ---- one run */

/* Where a run is kept: its folder, and what in it tells how far it has come. Owned. */
struct place {
    char *out, *recipe, *summary, *diverged;
};

/* OUT/PART/TASK METHOD BUDGET lr-RATE seed-N, with what no file name should hold replaced. */
static char *folder_of(const struct um_comparison *c, const struct um_contender *cell, const char *part,
                       double rate, int64_t seed)
{
    struct um_str name = {0};
    um_str_addf(&name, "%s.%s.%s.lr-%g.seed-%lld", cell->task, cell->variant,
                *cell->budget ? cell->budget : "all", rate, (long long)seed);
    for (size_t i = 0; i < name.length; i++)
        if (strchr("/:= *", name.text[i]))
            name.text[i] = '_';
    char *parent = um_path_join(c->options->out, part);
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
    UM_TRY(um_json_get_f64(&outcome->value, json, "metric_last", path, err));
    UM_TRY(um_json_get_f64(&outcome->loss, json, "loss_last", path, err));
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

/* "NAME:key=value:key=value": a method and settings that go with it. */
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
        status = um_recipe_set(recipe, part, equals + 1, err);
    }
    um_free(copy);
    return status;
}

static enum um_status set_number(struct um_recipe *recipe, const char *key, double value,
                                 struct um_error *err)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%.17g", value);
    return um_recipe_set(recipe, key, text, err);
}

/* A trial is a run that is scored on held-out training rows, and may be shorter. */
static enum um_status make_trial(struct um_recipe *recipe, const struct um_compare_options *o,
                                 struct um_error *err)
{
    if (o->trial_epochs > 0)
        UM_RETURN_IF(set_number(recipe, "train.epochs", o->trial_epochs, err));
    return set_number(recipe, "data.holdout", o->holdout, err);
}

static enum um_status make_recipe(struct um_recipe **recipe, const struct um_comparison *c,
                                  const struct um_contender *cell, double rate, int64_t seed,
                                  bool is_trial, const char *out, struct um_error *err)
{
    UM_RETURN_IF(um_recipe_clone(recipe, c->recipe, err));
    UM_RETURN_IF(um_recipe_set(*recipe, "task", cell->task, err));
    UM_RETURN_IF(um_recipe_set(*recipe, "out", out, err));
    if (*cell->budget)
        UM_RETURN_IF(um_recipe_set(*recipe, "method.budget", cell->budget, err));
    UM_RETURN_IF(set_variant(*recipe, cell->variant, err));
    UM_RETURN_IF(set_number(*recipe, "optimizer.lr", rate, err));
    UM_RETURN_IF(set_number(*recipe, "train.seed", (double)seed, err));
    return is_trial ? make_trial(*recipe, c->options, err) : UM_OK;
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
        if (strcmp(was, is) == 0 || strcmp(option->key, "out") == 0 ||
            strcmp(option->key, "threads") == 0)
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
    um_str_addf(&line, "%s, %s, lr %g: %s", cell->task, cell->variant, rate,
                err ? err->message : "diverged");
    enum um_status status = line.failed ? um_fail_memory(err, path, line.length)
                                        : um_file_write(path, line.text, line.length, err);
    if (status == UM_OK && c->callbacks && c->callbacks->message)
        c->callbacks->message(line.text, c->callbacks->user);
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
                                ? um_run_resume(&run, place->out, c->callbacks, err)
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
    if (um_path_exists(place->summary))
        return read_summary(outcome, place->summary, err);
    const struct um_config *config = um_recipe_config(recipe);
    outcome->metric = um_metric_find(*config->eval.best ? config->eval.best
                                                        : um_task_find(config->task)->metrics[0]);
    return UM_OK;
}

/* The outcome of a run, trained if need be. None (no metric) where another process is at it. */
static enum um_status run_once(struct um_outcome *outcome, struct um_comparison *c,
                               const struct um_contender *cell, double rate, int64_t seed,
                               bool is_trial, struct um_error *err)
{
    struct um_recipe *recipe = NULL;
    struct place place;
    FILE *claim = NULL;
    enum um_status status;
    *outcome = (struct um_outcome){.value = (double)NAN};
    UM_TRY(place_open(&place, folder_of(c, cell, is_trial ? "trials" : "runs", rate, seed), err));
    UM_TRY(make_recipe(&recipe, c, cell, rate, seed, is_trial, place.out, err));
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
            status = note_divergence(c, cell, rate, place.diverged, err);
    }
    if (status == UM_OK)
        status = read_outcome(outcome, &place, recipe, err);
    if (status != UM_OK)
        um_error_prefix(err, "%s, %s", cell->task, cell->variant);
out:
    if (claim)
        (void)fclose(claim);
    um_recipe_free(recipe);
    place_close(&place);
    return status;
}

/* ---- learning rates */

/* By the metric; where two rates come to the same (one class for every row, say), by the loss. */
static bool is_better(const struct um_outcome *outcome, const struct um_outcome *than)
{
    const struct um_metric *metric = outcome->metric;
    return !than->metric || um_metric_is_better(metric, outcome->value, than->value) ||
           (!um_metric_is_better(metric, than->value, outcome->value) &&
            outcome->loss < than->loss);
}

/* The best of the rates on held-out training data, the first if all diverge; one rate alone needs no
 * trial. Stays 0 while another process is at a trial. */
static enum um_status choose_rate(struct um_comparison *c, struct um_contender *cell,
                                  struct um_error *err)
{
    const struct um_compare_options *o = c->options;
    struct um_outcome best = {0}, outcome;
    double rate = o->n_rates ? o->rates[0] : um_recipe_config(c->recipe)->optimizer.lr;
    bool is_whole = true;
    for (size_t r = 0; r < o->n_rates && o->n_rates > 1; r++) {
        UM_RETURN_IF(run_once(&outcome, c, cell, o->rates[r], 0, true, err));
        is_whole = is_whole && outcome.metric;
        if (!outcome.metric || !isfinite(outcome.value) || !is_better(&outcome, &best))
            continue;
        best = outcome;
        rate = o->rates[r];
    }
    cell->rate = is_whole ? rate : 0;
    return UM_OK;
}

/* ---- the grid */

static bool has_budget(const char *variant)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(variant, ":"), variant);
    return !um_strategy_find(um_method_find(name)->strategy)->is_whole;
}

static void add_cells(struct um_comparison *c, const char *task)
{
    static const char *const none[] = {""};
    const struct um_compare_options *o = c->options;
    const struct um_contender *first = &c->cells[c->n_cells];
    for (size_t v = 0; v < o->n_variants; v++) {
        bool is_budgeted = has_budget(o->variants[v]) && o->n_budgets;
        const char *const *budgets = is_budgeted ? o->budgets : none;
        size_t n_budgets = is_budgeted ? o->n_budgets : 1;
        for (size_t b = 0; b < n_budgets; b++) {
            const struct um_contender *reference = v == 0 ? NULL : first;
            for (size_t r = 0; v > 0 && r < o->n_budgets; r++) /* of the same budget, if any */
                if (strcmp(first[r].budget, budgets[b]) == 0 && first[r].variant == first->variant)
                    reference = &first[r];
            c->cells[c->n_cells++] = (struct um_contender){.task = task, .variant = o->variants[v],
                                                      .budget = budgets[b],
                                                      .reference = reference};
        }
    }
}

static enum um_status make_cells(struct um_comparison *c, struct um_error *err)
{
    const struct um_compare_options *o = c->options;
    const char *own = um_recipe_config(c->recipe)->task;
    size_t n_tasks = o->n_tasks ? o->n_tasks : 1, n_budgets = o->n_budgets ? o->n_budgets : 1;
    c->cells = UM_NEW(n_tasks * o->n_variants * n_budgets, struct um_contender);
    if (!c->cells)
        return um_fail_memory(err, "a comparison", n_tasks * sizeof(*c->cells));
    for (size_t t = 0; t < n_tasks; t++)
        add_cells(c, o->n_tasks ? o->tasks[t] : own);
    for (size_t i = 0; i < c->n_cells; i++) {
        c->cells[i].outcomes = UM_NEW(o->n_seeds, struct um_outcome);
        if (!c->cells[i].outcomes)
            return um_fail_memory(err, "a comparison", (size_t)o->n_seeds * 64);
    }
    return UM_OK;
}

static enum um_status check_options(const struct um_compare_options *o, struct um_error *err)
{
    if (!o->out || !*o->out)
        return um_fail(err, UM_E_USAGE, "compare: no folder for the results");
    if (o->n_variants == 0 || o->n_seeds < 1 || o->n_seeds > UM_SEEDS_MAX)
        return um_fail(err, UM_E_USAGE, "compare: one method at least, and 1 to %d seeds",
                       UM_SEEDS_MAX);
    if (o->n_rates > 1 && !(o->holdout > 0 && o->holdout < 1))
        return um_fail(err, UM_E_USAGE,
                       "compare: several learning rates need a held-out share above 0 and below 1");
    for (size_t v = 0; v < o->n_variants; v++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(o->variants[v], ":"),
                       o->variants[v]);
        if (!um_method_find(name))
            return um_fail(err, UM_E_USAGE, "compare: there is no method '%s'", name);
    }
    return UM_OK;
}

static void free_cells(struct um_comparison *c)
{
    for (size_t i = 0; i < c->n_cells; i++)
        um_free(c->cells[i].outcomes);
    um_free(c->cells);
}

/* Seed by seed over the whole grid, so that a table of all methods is there early. */
static enum um_status walk(struct um_comparison *c, struct um_error *err)
{
    for (int64_t seed = 0; seed < c->options->n_seeds; seed++) {
        for (size_t i = 0; i < c->n_cells; i++) {
            struct um_contender *cell = &c->cells[i];
            struct um_outcome *outcome = &cell->outcomes[seed];
            if (outcome->metric)
                continue;
            if (cell->rate == 0)
                UM_RETURN_IF(choose_rate(c, cell, err));
            if (cell->rate > 0)
                UM_RETURN_IF(run_once(outcome, c, cell, cell->rate, seed + 1, false, err));
            while (cell->n_done < c->options->n_seeds && cell->outcomes[cell->n_done].metric)
                cell->n_done++;
            if (outcome->metric)
                UM_RETURN_IF(um_comparison_write(c, err));
        }
    }
    return UM_OK;
}

enum um_status um_compare(const struct um_recipe *recipe, const struct um_compare_options *options,
                          const struct um_callbacks *callbacks, struct um_error *err)
{
    struct um_comparison c = {.recipe = recipe, .options = options, .callbacks = callbacks};
    enum um_status status;
    UM_RETURN_IF(check_options(options, err));
    UM_TRY(make_cells(&c, err));
    UM_TRY(um_make_folder(options->out, err));
    do {
        c.n_trained = c.n_busy = 0;
        UM_TRY(walk(&c, err));
        c.waits = c.n_trained == 0; /* nothing is left but what others have */
    } while (c.n_busy > 0);
out:
    free_cells(&c);
    return status;
}
