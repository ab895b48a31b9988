/* A method at work: takes gradient factors, fills the set's gradients, selects, unmasks. */
#include "method/method.h"

#include <string.h>

#include "method/quota.h"
#include "method/scope.h"

static enum um_dropped dropped(const struct um_tuning_options *o)
{
    if (!o->strategy->is_fresh)
        return UM_DROPPED_NONE;
    return o->keeps_dropped ? UM_DROPPED_KEPT : UM_DROPPED_RESTORED;
}

/* Of the set's columns, those that the optimizer and the strategy need. */
static void choose_columns(bool has_column[UM_N_COLUMNS], const struct um_tuning_options *o,
                           bool allots)
{
    for (int c = 0; c < UM_N_COLUMNS; c++)
        has_column[c] = o->has_column[c] || c == UM_COLUMN_VALUE || c == UM_COLUMN_GRAD ||
                        (allots && (c == UM_COLUMN_SENSITIVITY || c == UM_COLUMN_UNCERTAINTY));
    has_column[UM_COLUMN_START] = dropped(o) == UM_DROPPED_RESTORED;
}

enum um_status um_tuning_open(struct um_tuning *tuning, struct um_param *params, int64_t n_params,
                              const struct um_tuning_options *options, struct um_error *err)
{
    struct um_scope scope = {0};
    enum um_status status;
    bool has_column[UM_N_COLUMNS], is_adalora = um_adalora_is_there(params, n_params);
    *tuning = (struct um_tuning){.options = *options};
    struct um_tuning_options *o = &tuning->options;
    UM_TRY(um_tuning_options_resolve(o, err));
    bool allots = is_adalora && o->strategy->is_whole && !o->adalora.keeps_ranks;
    UM_TRY(um_scope_work_out(&scope, params, n_params, o, err));
    UM_TRY(um_budget_work_out(&tuning->budget, &scope, o, err));
    choose_columns(has_column, o, allots);
    if (is_adalora)
        UM_TRY(um_adalora_open(&tuning->adalora, params, n_params, &o->adalora, allots, err));
    tuning->n_scope = scope.n_elements;
    tuning->n_base = scope.n_base;
    tuning->n_params = n_params;
    if (o->is_plan) {
        UM_TRY(um_trainable_open_plan(&tuning->set, n_params, scope.params, scope.is_whole, scope.n,
                                      err));
        memcpy(tuning->set.has_column, has_column, sizeof(has_column));
    } else {
        UM_TRY(um_trainable_open(&tuning->set, n_params, scope.params, scope.is_whole, scope.n,
                                 has_column, err));
    }
    UM_TRY(um_adalora_check(&tuning->adalora, &tuning->set, err));
    tuning->set.dropped = dropped(o);
    if (o->strategy->is_whole)
        goto out;
    UM_TRY(um_selector_new(&tuning->selector, &tuning->set, &o->select, err));
    tuning->quotas = o->is_per_matrix ? UM_NEW(scope.n, int64_t) : NULL;
    tuning->accumulated = UM_NEW(n_params, float *);
    if ((o->is_per_matrix && !tuning->quotas) || !tuning->accumulated)
        UM_TRY(um_fail_memory(err, "a selection", (size_t)n_params * sizeof(float *)));
out:
    um_scope_free(&scope);
    if (status != UM_OK)
        um_tuning_close(tuning);
    return status;
}

static void free_accumulated(struct um_tuning *tuning)
{
    for (int64_t p = 0; tuning->accumulated && p < tuning->n_params; p++) {
        um_free(tuning->accumulated[p]);
        tuning->accumulated[p] = NULL;
    }
}

void um_tuning_close(struct um_tuning *tuning)
{
    um_selector_free(tuning->selector);
    um_gradient_work_free(&tuning->work);
    um_held_free(&tuning->held);
    um_free(tuning->quotas);
    free_accumulated(tuning);
    um_adalora_close(&tuning->adalora);
    um_free(tuning->accumulated);
    um_trainable_close(&tuning->set);
    *tuning = (struct um_tuning){0};
}

bool um_tuning_is_calibrated(const struct um_tuning *tuning)
{
    const struct um_tuning_options *o = &tuning->options;
    return tuning->selector && tuning->set.n == tuning->set.n_whole &&
           tuning->budget > tuning->set.n_whole &&
           (o->samples > 0 || o->select.importance->source == UM_SOURCE_MOVEMENT);
}

bool um_tuning_selects_by_steps(const struct um_tuning *tuning)
{
    const struct um_tuning_options *o = &tuning->options;
    return tuning->selector && o->samples == 0 &&
           o->select.importance->source == UM_SOURCE_GRADIENT;
}

/* Elements that are to be in the set, whole ones aside, once the selection of step `step` is
 * done. */
static int64_t total_after(const struct um_tuning *tuning, int64_t step, int64_t n_steps)
{
    const struct um_tuning_options *o = &tuning->options;
    int64_t last = step + o->every < n_steps ? step + o->every - 1 : n_steps - 1;
    return um_schedule_total(o->schedule, tuning->budget - tuning->set.n_whole, last, n_steps,
                             o->until);
}

int64_t um_tuning_most_wanted(const struct um_tuning *tuning, int64_t n_steps)
{
    const struct um_strategy *strategy = tuning->options.strategy;
    int64_t most = 0, before = 0;
    if (strategy->is_whole || strategy->chooses_once || strategy->is_fresh)
        return strategy->is_whole ? 0 : tuning->budget - tuning->set.n_whole;
    for (int64_t step = 0; step < n_steps; step += tuning->options.every) {
        int64_t after = total_after(tuning, step, n_steps);
        most = after - before > most ? after - before : most;
        before = after;
    }
    return most;
}

struct um_selection um_tuning_selection(struct um_tuning *tuning, int64_t step, int64_t n_steps)
{
    const struct um_tuning_options *o = &tuning->options;
    bool is_fresh = o->strategy->is_fresh;
    int64_t n_held = tuning->set.n - tuning->set.n_whole;
    struct um_selection selection = {.is_fresh = is_fresh, .draw = is_fresh ? (uint64_t)step : 0};
    if (!tuning->selector || (o->strategy->chooses_once ? step > 0 : step % o->every != 0))
        return selection;
    if (is_fresh && step > 0 && (double)step >= o->until * (double)n_steps)
        return selection;
    int64_t total = total_after(tuning, step, n_steps);
    selection.n_wanted = is_fresh ? total : total - n_held;
    if (selection.n_wanted <= 0)
        selection.n_wanted = 0;
    else if (tuning->quotas)
        um_quotas(tuning->quotas, &tuning->set, total, is_fresh);
    selection.quotas = tuning->quotas;
    return selection;
}

enum um_status um_tuning_take(struct um_tuning *tuning, struct um_selector *selector,
                              struct um_error *err)
{
    const struct um_pick *picks;
    int64_t n_picks;
    bool is_fresh = tuning->options.strategy->is_fresh;
    UM_RETURN_IF(um_selector_finish(selector, &picks, &n_picks, &tuning->stats, err));
    UM_RETURN_IF((is_fresh ? um_trainable_replace
                           : um_trainable_insert)(&tuning->set, picks, n_picks, tuning->step, err));
    if (tuning->options.strategy->chooses_once) { /* its memory is of no more use */
        um_selector_free(tuning->selector);
        tuning->selector = NULL;
    }
    return UM_OK;
}

/* Begins the selection that is due at this step; one by values is done at once. */
static enum um_status select(struct um_tuning *tuning, int64_t n_steps, struct um_error *err)
{
    const struct um_selection selection = um_tuning_selection(tuning, tuning->step, n_steps);
    tuning->is_selecting = false;
    if (selection.n_wanted == 0)
        return UM_OK;
    const struct um_importance *importance = tuning->options.select.importance;
    if (importance->source == UM_SOURCE_MOVEMENT)
        return um_fail(err, UM_E_RUNTIME, "importance '%s' was not calibrated", importance->name);
    UM_RETURN_IF(um_selector_begin(tuning->selector, &selection, err));
    if (importance->source == UM_SOURCE_VALUES) {
        UM_RETURN_IF(um_selector_offer_values(tuning->selector, err));
        return um_tuning_take(tuning, tuning->selector, err);
    }
    tuning->is_selecting = true;
    return UM_OK;
}

enum um_status um_tuning_begin(struct um_tuning *tuning, int64_t step, int64_t n_steps,
                               struct um_error *err)
{
    tuning->step = step;
    tuning->n_steps = n_steps;
    tuning->status = UM_OK;
    tuning->stats = (struct um_select_stats){0};
    um_held_begin(&tuning->held);
    UM_RETURN_IF(select(tuning, n_steps, err));
    if (!tuning->is_selecting)
        free_accumulated(tuning);
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        struct um_entry *entry = &tuning->set.entries[e];
        if (entry->n)
            memset(entry->column[UM_COLUMN_GRAD], 0, (size_t)entry->n * sizeof(float));
    }
    return UM_OK;
}

void um_tuning_micro(struct um_tuning *tuning, int64_t micro, bool is_last)
{
    tuning->micro = micro;
    tuning->is_last_micro = is_last;
}

/* Made when they are first used: a run that turns out too large should not have allocated them. */
static float *sums_of(struct um_tuning *tuning, const struct um_param *param)
{
    float **sums = &tuning->accumulated[param->index];
    if (!*sums)
        *sums = UM_NEW(param->n_elements, float);
    return *sums;
}

/* Over several micro-batches the gradient is summed up dense, and offered with the last one. */
static enum um_status offer(struct um_tuning *tuning, struct um_gradient *g, struct um_error *err)
{
    if (tuning->options.n_micro > 1) {
        float *dense = sums_of(tuning, g->param);
        if (!dense)
            return um_fail_memory(err, "gradients over micro-batches",
                                  (size_t)g->param->n_elements * sizeof(float));
        um_gradient_dense(dense, g, tuning->micro > 0);
        if (!tuning->is_last_micro)
            return UM_OK;
        g->is_product = false;
        g->dense = dense;
        g->row = NULL;
        g->n_rows = g->rows;
    }
    return um_selector_offer(tuning->selector, g, err);
}

static enum um_status take_factor(struct um_tuning *tuning, struct um_entry *entry,
                                  const struct um_factor *factor, struct um_error *err)
{
    struct um_param *param = entry->param;
    bool is_selecting = tuning->is_selecting && !entry->is_whole;
    if (factor->kind != UM_FACTOR_HEAD && (entry->n > 0 || (is_selecting && !param->is_head))) {
        struct um_gradient gradient;
        UM_RETURN_IF(um_gradient_of(&gradient, &tuning->work, param, factor, err));
        if (entry->n > 0)
            UM_RETURN_IF(um_gradient_add(entry, &tuning->work, &gradient, err));
        if (is_selecting && !param->is_head)
            return offer(tuning, &gradient, err);
    }
    return is_selecting && param->is_head ? um_held_add(&tuning->held, param, factor, err) : UM_OK;
}

static void accept(void *user, struct um_param *param, const struct um_factor *factor)
{
    struct um_tuning *tuning = user;
    struct um_entry *entry = tuning->set.of_param[param->index];
    if (tuning->status == UM_OK && entry)
        tuning->status = take_factor(tuning, entry, factor, &tuning->fault);
}

struct um_sink um_tuning_sink(struct um_tuning *tuning)
{
    return (struct um_sink){.accept = accept, .user = tuning};
}

enum um_status um_tuning_end(struct um_tuning *tuning, struct um_error *err)
{
    if (tuning->status != UM_OK) {
        if (err)
            *err = tuning->fault;
        return tuning->status;
    }
    if (tuning->is_selecting) {
        UM_RETURN_IF(um_held_offer(&tuning->held, tuning->selector, err));
        UM_RETURN_IF(um_tuning_take(tuning, tuning->selector, err));
    }
    tuning->penalty = tuning->adalora.n ? um_adalora_penalty(&tuning->adalora, &tuning->set) : 0;
    tuning->n_updates += tuning->set.n;
    return UM_OK;
}

void um_tuning_updated(struct um_tuning *tuning, double g_scale)
{
    if (tuning->adalora.n)
        um_adalora_allot(&tuning->adalora, &tuning->set, tuning->step, tuning->n_steps, g_scale);
}
