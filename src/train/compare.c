/*
 * Comparing methods: the grid of tasks, methods, budgets and seeds, each cell a run folder of its
 * own under OUT, so that a comparison that was stopped goes on where it was. Every method gets the
 * same number of trials for its learning rate, scored on a part of the training data that is held
 * out. Processes that are given the same OUT share the work: a run belongs to the one that holds
 * its claim.
 */
#include <math.h>
#include <string.h>

#include "train/compare_private.h"

/* ---- learning rates */

/* A variant with a learning rate of its own, or a single one, needs no trial. */
static bool has_trials(const struct um_comparison *c, const struct um_contender *cell)
{
    return c->options->n_rates > 1 && !um_comparison_sets(cell->variant, "optimizer.lr");
}

static double rate_of(const struct um_comparison *c, const struct um_contender *cell, size_t r)
{
    const struct um_compare_options *o = c->options;
    if (o->n_rates == 0 || um_comparison_sets(cell->variant, "optimizer.lr"))
        return cell->own_rate;
    return o->are_factors ? o->rates[r] * cell->own_rate : o->rates[r];
}

/* By the metric; where two rates come to the same (one class for every row, say), by the loss. */
static bool is_better(const struct um_outcome *outcome, const struct um_outcome *than)
{
    const struct um_metric *metric = outcome->metric;
    return !than->metric || um_metric_is_better(metric, outcome->value, than->value) ||
           (!um_metric_is_better(metric, than->value, outcome->value) &&
            outcome->loss < than->loss);
}

/* The best of the rates on held-out training data, the first if all diverge. Stays 0 while another
 * process is at a trial. */
static enum um_status choose_rate(struct um_comparison *c, struct um_contender *cell,
                                  struct um_error *err)
{
    const struct um_compare_options *o = c->options;
    struct um_outcome best = {0}, outcome;
    double rate = rate_of(c, cell, 0);
    bool is_whole = true;
    for (size_t r = 0; has_trials(c, cell) && r < o->n_rates; r++) {
        const struct um_attempt trial = {.rate = rate_of(c, cell, r), .is_trial = true};
        UM_RETURN_IF(um_comparison_run(&outcome, c, cell, &trial, err));
        is_whole = is_whole && outcome.metric;
        if (!outcome.metric || !isfinite(outcome.value) || !is_better(&outcome, &best))
            continue;
        best = outcome;
        rate = trial.rate;
    }
    cell->rate = is_whole ? rate : 0;
    return UM_OK;
}

/* ---- the grid */

static bool has_budget(const struct um_variant *variant)
{
    const struct um_config *config = um_recipe_config(variant->recipe);
    const struct um_strategy *own = um_strategy_find(config->method.strategy);
    return !(own ? own : um_strategy_find(um_method_find(config->method.name)->strategy))->is_whole;
}

/* A variant with a budget of its own is compared by that one. */
static void add_cells(struct um_comparison *c, const char *task)
{
    const struct um_compare_options *o = c->options;
    const struct um_contender *first = &c->cells[c->n_cells];
    for (size_t v = 0; v < o->n_variants; v++) {
        const struct um_variant *variant = &c->variants[v];
        bool has_own = um_comparison_sets(variant, "method.budget"), has_any = has_budget(variant);
        const char *of_recipe = um_recipe_config(variant->recipe)->method.budget;
        const char *own = has_own ? of_recipe : "";
        bool is_listed = has_any && o->n_budgets && !has_own;
        for (size_t b = 0; b < (is_listed ? o->n_budgets : 1); b++) {
            const char *budget = is_listed ? o->budgets[b] : own;
            const struct um_contender *reference = v == 0 ? NULL : first;
            for (size_t r = 0; v > 0 && r < o->n_budgets; r++) /* of the same budget, if any */
                if (first[r].variant == first->variant && strcmp(first[r].budget, budget) == 0)
                    reference = &first[r];
            c->cells[c->n_cells++] = (struct um_contender){
                .task = task,
                .variant = variant,
                .budget = budget,
                .told_budget = !has_any ? "" : *budget ? budget : of_recipe,
                .reference = reference};
        }
    }
}

static enum um_status make_variants(struct um_comparison *c, struct um_error *err)
{
    c->variants = UM_NEW(c->options->n_variants, struct um_variant);
    if (!c->variants)
        return um_fail_memory(err, "a comparison", c->options->n_variants * sizeof(*c->variants));
    for (size_t v = 0; v < c->options->n_variants; v++) {
        c->variants[v].text = c->options->variants[v];
        UM_RETURN_IF(um_comparison_resolve(&c->variants[v], c->recipe, err));
    }
    return UM_OK;
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
        UM_RETURN_IF(um_comparison_settle(&c->cells[i], c, err));
        c->cells[i].outcomes = UM_NEW(o->n_seeds, struct um_outcome);
        if (!c->cells[i].outcomes)
            return um_fail_memory(err, "a comparison", (size_t)o->n_seeds * 64);
    }
    return UM_OK;
}

/* What is listed twice would be trained once and stand in two rows. */
static enum um_status check_distinct(const char *const *items, size_t n, const char *what,
                                     struct um_error *err)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(items[i], items[k]) == 0)
                return um_fail(err, UM_E_USAGE, "compare: %s '%s' is listed twice", what,
                               items[i]);
    return UM_OK;
}

static enum um_status check_options(const struct um_comparison *c, struct um_error *err)
{
    const struct um_compare_options *o = c->options;
    double holdout = um_recipe_config(c->recipe)->data.holdout;
    if (!o->out || !*o->out)
        return um_fail(err, UM_E_USAGE, "compare: no folder for the results");
    if (o->n_variants == 0 || o->n_seeds < 1 || o->n_seeds > UM_SEEDS_MAX)
        return um_fail(err, UM_E_USAGE, "compare: one method at least, and 1 to %d seeds",
                       UM_SEEDS_MAX);
    UM_RETURN_IF(check_distinct(o->variants, o->n_variants, "method", err));
    UM_RETURN_IF(check_distinct(o->budgets, o->n_budgets, "budget", err));
    UM_RETURN_IF(check_distinct(o->tasks, o->n_tasks, "task", err));
    if (o->n_rates > 1 && !(o->holdout > 0 && o->holdout < 1))
        return um_fail(err, UM_E_USAGE,
                       "compare: several learning rates need a held-out share above 0 and below 1");
    if (o->n_rates > 1 && holdout > 0) {
        um_fail(err, UM_E_USAGE,
                "compare: the recipe holds rows out to evaluate on (data.holdout %g), and "
                "several learning rates would be tried on the same ones",
                holdout);
        um_error_hint(err, "name a file to evaluate on (data.eval) instead, or a single rate");
        return UM_E_USAGE;
    }
    return UM_OK;
}

/* Opens each run and each trial that has not begun: what is wrong shows before hours of the
 * others. */
static enum um_status check_cells(struct um_comparison *c, struct um_error *err)
{
    for (size_t i = 0; i < c->n_cells; i++) {
        const struct um_contender *cell = &c->cells[i];
        const struct um_attempt run = {.rate = rate_of(c, cell, 0), .seed = 1};
        const struct um_attempt trial = {.rate = run.rate, .is_trial = true};
        UM_RETURN_IF(um_comparison_check(c, cell, &run, err));
        if (has_trials(c, cell))
            UM_RETURN_IF(um_comparison_check(c, cell, &trial, err));
    }
    return UM_OK;
}

static void free_cells(struct um_comparison *c)
{
    for (size_t i = 0; i < c->n_cells; i++)
        um_free(c->cells[i].outcomes);
    for (size_t v = 0; c->variants && v < c->options->n_variants; v++)
        um_recipe_free(c->variants[v].recipe);
    um_free(c->variants);
    um_free(c->cells);
}

/* Seed by seed over the whole grid, so that a table of all methods is there early. Comes back after
 * the first training, since what others were at before may be done by then. */
static enum um_status walk(struct um_comparison *c, struct um_error *err)
{
    for (int64_t seed = 0; seed < c->options->n_seeds; seed++) {
        for (size_t i = 0; i < c->n_cells && c->n_trained == 0; i++) {
            struct um_contender *cell = &c->cells[i];
            struct um_outcome *outcome = &cell->outcomes[seed];
            if (outcome->metric)
                continue;
            if (cell->rate == 0)
                UM_RETURN_IF(choose_rate(c, cell, err));
            const struct um_attempt run = {.rate = cell->rate, .seed = seed + 1};
            if (cell->rate > 0)
                UM_RETURN_IF(um_comparison_run(outcome, c, cell, &run, err));
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
    UM_RETURN_IF(check_options(&c, err));
    UM_TRY(make_variants(&c, err));
    UM_TRY(make_cells(&c, err));
    UM_TRY(check_cells(&c, err));
    UM_TRY(um_make_folder(options->out, err));
    do {
        c.n_trained = c.n_busy = 0;
        UM_TRY(walk(&c, err));
        c.waits = c.n_trained == 0; /* nothing is left but what others have */
    } while (c.n_trained + c.n_busy > 0);
out:
    free_cells(&c);
    return status;
}
