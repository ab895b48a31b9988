/* A method at work: takes gradient factors, fills the set's gradients, selects, unmasks. */
#include "method/method.h"

#include <string.h>

#include "method/scope.h"

enum um_status um_tuning_open(struct um_tuning *tuning, struct um_param *params, int64_t n_params,
                              const struct um_tuning_options *options, struct um_error *err)
{
    struct um_scope scope;
    enum um_status status;
    bool has_column[UM_N_COLUMNS], is_adalora = um_adalora_is_there(params, n_params);
    bool allots = is_adalora && options->method->strategy == UM_STRATEGY_ALL;
    *tuning = (struct um_tuning){.method = options->method, .options = *options};
    UM_TRY(um_scope_work_out(&scope, params, n_params, options, err));
    UM_TRY(um_budget_check(&tuning->budget, &scope, options, err));
    for (int c = 0; c < UM_N_COLUMNS; c++)
        has_column[c] = options->has_column[c] || c == UM_COLUMN_VALUE || c == UM_COLUMN_GRAD ||
                        (allots && (c == UM_COLUMN_SENSITIVITY || c == UM_COLUMN_UNCERTAINTY));
    if (is_adalora)
        UM_TRY(um_adalora_open(&tuning->adalora, params, n_params, &options->adalora, allots, err));
    tuning->n_scope = scope.n_elements;
    tuning->n_base = scope.n_base;
    if (options->is_plan) {
        UM_TRY(um_trainable_open_plan(&tuning->set, n_params, scope.params, scope.is_whole, scope.n,
                                      err));
        memcpy(tuning->set.has_column, has_column, sizeof(has_column));
    } else {
        UM_TRY(um_trainable_open(&tuning->set, n_params, scope.params, scope.is_whole, scope.n,
                                 has_column, err));
        UM_TRY(um_adalora_check(&tuning->adalora, &tuning->set, err));
    }
    if (options->method->strategy == UM_STRATEGY_INCREMENT)
        UM_TRY(um_selector_new(&tuning->selector, &tuning->set, &options->select, err));
    if (tuning->selector && options->n_micro > 1) {
        tuning->accumulated = UM_NEW(n_params, float *);
        if (!tuning->accumulated)
            UM_TRY(um_fail_memory(err, "gradients over micro-batches", 0));
    }
out:
    um_scope_free(&scope);
    if (status != UM_OK)
        um_tuning_close(tuning);
    return status;
}

void um_tuning_close(struct um_tuning *tuning)
{
    um_selector_free(tuning->selector);
    um_gradient_work_free(&tuning->work);
    um_held_free(&tuning->held);
    um_adalora_close(&tuning->adalora);
    um_free(tuning->accumulated);
    um_arena_free(&tuning->sums);
    um_trainable_close(&tuning->set);
    *tuning = (struct um_tuning){0};
}

/* Elements unmasked in all once the selection of step `step` is done. */
static int64_t total_after(const struct um_tuning *tuning, int64_t step, int64_t n_steps)
{
    int64_t every = tuning->options.every > 1 ? tuning->options.every : 1;
    int64_t last = step + every < n_steps ? step + every - 1 : n_steps - 1;
    return um_schedule_total(tuning->options.schedule, tuning->budget - tuning->set.n_whole, last,
                             n_steps, tuning->options.until);
}

int64_t um_tuning_most_wanted(const struct um_tuning *tuning, int64_t n_steps)
{
    int64_t every = tuning->options.every > 1 ? tuning->options.every : 1, most = 0, before = 0;
    for (int64_t step = 0; tuning->selector && step < n_steps; step += every) {
        int64_t after = total_after(tuning, step, n_steps);
        most = after - before > most ? after - before : most;
        before = after;
    }
    return most;
}

enum um_status um_tuning_begin(struct um_tuning *tuning, int64_t step, int64_t n_steps,
                               struct um_error *err)
{
    int64_t every = tuning->options.every > 1 ? tuning->options.every : 1, n_wanted = 0;
    tuning->step = step;
    tuning->n_steps = n_steps;
    tuning->status = UM_OK;
    tuning->stats = (struct um_select_stats){0};
    um_held_begin(&tuning->held);
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        struct um_entry *entry = &tuning->set.entries[e];
        if (entry->n)
            memset(entry->column[UM_COLUMN_GRAD], 0, (size_t)entry->n * sizeof(float));
    }
    if (!tuning->selector)
        return UM_OK;
    if (step % every == 0) {
        int64_t total = total_after(tuning, step, n_steps);
        n_wanted = total - (tuning->set.n - tuning->set.n_whole);
    }
    tuning->is_selecting = n_wanted > 0;
    return um_selector_begin(tuning->selector, n_wanted > 0 ? n_wanted : 0, err);
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
        *sums = UM_ARENA_NEW(&tuning->sums, param->n_elements, float);
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

static enum um_status take(struct um_tuning *tuning, struct um_entry *entry,
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
        tuning->status = take(tuning, entry, factor, &tuning->fault);
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
        const struct um_pick *picks;
        int64_t n_picks;
        UM_RETURN_IF(um_held_offer(&tuning->held, tuning->selector, err));
        UM_RETURN_IF(um_selector_finish(tuning->selector, &picks, &n_picks, &tuning->stats, err));
        UM_RETURN_IF(um_trainable_insert(&tuning->set, picks, n_picks, tuning->step, err));
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
