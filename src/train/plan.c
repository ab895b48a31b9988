/*
 * The plan: what a run will need, before its first step. Activations are not estimated: the largest
 * batches of the run are recorded and walked forward and backward on a pool without memory.
 */
#include <math.h>

#include "base/cpu.h"
#include "train/run.h"

/* The batches that count: the one of most tokens, and the one of the longest row beside it. */
struct extreme {
    int64_t step, micro, n_tokens;
};

static int64_t tokens_of(const struct um_run *run, const int64_t *rows, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += run->train_tokens.lengths[rows[i]];
    return sum;
}

/* Walks all batches of the run (at most a few million rows); sums up and keeps the largest. */
static void survey(struct extreme *most, struct um_plan *plan, struct um_run *run)
{
    enum { ROWS_MAX = 4000000 };
    int64_t n_rows = 0, n_steps = 0, total = 0;
    *most = (struct extreme){.n_tokens = -1};
    for (int64_t step = 0; step < run->n_steps && n_rows < ROWS_MAX; step++, n_steps++) {
        int64_t step_rows, n_micro = um_run_step_shape(&step_rows, run, step), step_tokens = 0;
        for (int64_t m = 0; m < n_micro; m++) {
            int64_t n;
            const int64_t *rows = um_run_rows(&n, run, step, m);
            int64_t n_tokens = tokens_of(run, rows, n);
            step_tokens += n_tokens;
            if (n_tokens > most->n_tokens)
                *most = (struct extreme){step, m, n_tokens};
        }
        n_rows += step_rows;
        total += step_tokens;
        if (step_tokens > plan->max_tokens_per_step)
            plan->max_tokens_per_step = step_tokens;
    }
    plan->mean_tokens_per_step = n_steps ? (double)total / (double)n_steps : 0;
}

static void accept_nothing(void *user, struct um_param *param, const struct um_factor *factor)
{
    (void)user;
    (void)param;
    (void)factor;
}

/* Peak bytes of activations, of training and of evaluation; and what evaluation holds beside. */
static enum um_status measure(struct um_generate_need *need, struct um_run *run,
                              const struct extreme *most, struct um_error *err)
{
    struct um_engine dry, real = run->tm.engine;
    const struct um_sink sink = {.accept = accept_nothing};
    double loss = 0;
    int64_t n;
    enum um_status status;
    const int64_t *rows = um_run_rows(&n, run, most->step, most->micro);
    *need = (struct um_generate_need){0};
    UM_RETURN_IF(um_engine_open(&dry, &run->tm.model, (size_t)1 << 46, true, err));
    dry.objective = um_objective_of(run->task);
    dry.recompute = run->config->train.recompute;
    run->tm.engine = dry;
    UM_TRY(um_task_model_batch(&run->tm, &run->train_tokens, um_run_row_truth(run, &run->train),
                               rows, n, err));
    UM_TRY(um_engine_train(&loss, &run->tm.engine, &run->tm.batch, n, 0, sink, err));
    if (run->evaluator.data)
        UM_TRY(um_evaluator_plan(need, &run->evaluator, err));
    if (run->tm.engine.pool.peak_bytes > need->pool_bytes)
        need->pool_bytes = run->tm.engine.pool.peak_bytes;
out:
    um_engine_close(&run->tm.engine);
    run->tm.engine = real;
    return status;
}

static int64_t weights_bytes(const struct um_model *model)
{
    int64_t bytes = 0;
    for (int64_t p = 0; p < model->n_params; p++)
        bytes += (int64_t)um_dtype_size(model->params[p].dtype, model->params[p].n_elements);
    return bytes;
}

/* FLOP of matrix products per token and step: forward and input gradients, and for whole matrices
 * the weights' gradients too. Tables that are only looked up cost none. */
static double flop_per_token(const struct um_run *run)
{
    double sum = 0;
    for (int64_t p = 0; p < run->tm.model.n_params; p++) {
        const struct um_param *param = &run->tm.model.params[p];
        const struct um_entry *entry = run->tuning.set.of_param[p];
        if (param->is_head) { /* not tied: only at tokens that are predicted, about all of them */
            sum += 4.0 * (double)param->n_elements;
            continue;
        }
        bool is_table = param->rows == run->tm.model.dims.V || param->rows == run->tm.model.dims.P ||
                        param->rows == run->tm.model.dims.Y;
        if (param->n_dims == 2 && !is_table && !param->is_added)
            sum += (entry && entry->is_whole ? 6.0 : 4.0) * (double)param->n_elements;
    }
    return sum;
}

/* What selection holds of a vocabulary head over a step. */
static int64_t held_bytes(const struct um_run *run, int64_t n_tokens)
{
    const struct um_param *head = um_model_vocabulary(&run->tm.model);
    bool is_held = head && run->tuning.selector && run->tuning.set.of_param[head->index];
    return is_held ? um_held_bytes(head, n_tokens) : 0;
}

enum um_status um_run_plan(struct um_plan *plan, struct um_run *run, struct um_error *err)
{
    /* Seen with oneDNN: operands are packed into buffers, per thread; kernels are compiled. */
    enum { GEMM_THREAD_BYTES = 12 << 20, GEMM_BYTES = 16 << 20 };
    const struct um_tuning *t = &run->tuning;
    struct extreme most;
    struct um_generate_need need;
    *plan = (struct um_plan){
        .n_parameters = um_model_n_elements(&run->tm.model, true),
        .n_base_parameters = um_model_n_elements(&run->tm.model, false),
        .n_scope = t->n_scope,
        .n_whole = t->set.n_whole,
        .budget = t->budget,
        .n_steps = run->n_steps,
        .n_train_rows = run->train_tokens.n_rows,
        .n_eval_rows = run->eval.n_rows,
        .n_truncated_rows = run->train_tokens.n_truncated + run->evaluator.tokens.n_truncated};
    survey(&most, plan, run);
    UM_RETURN_IF(measure(&need, run, &most, err));
    /* Already resident: allocated when the run was opened. */
    int64_t opened_bytes = (int64_t)t->set.arena.used_bytes;
    for (size_t e = 0; e < t->set.n_entries; e++)
        for (int c = 0; t->set.entries[e].is_whole && c < UM_N_COLUMNS; c++)
            opened_bytes += t->set.entries[e].column[c] ? 4 * t->set.entries[e].n : 0;
    plan->weights_bytes = weights_bytes(&run->tm.model);
    plan->activation_bytes = (int64_t)need.pool_bytes;
    plan->generation_bytes = (int64_t)need.held_bytes;
    plan->method_bytes = um_tuning_bytes(t) + held_bytes(run, plan->max_tokens_per_step);
    plan->process_bytes =
        run->resident_before - opened_bytes + um_threads() * GEMM_THREAD_BYTES + GEMM_BYTES;
    plan->peak_bytes = plan->weights_bytes + plan->activation_bytes + plan->generation_bytes +
                       plan->method_bytes + plan->process_bytes;
    plan->flop_per_step = flop_per_token(run) * plan->mean_tokens_per_step;
    return UM_OK;
}

enum um_status um_run_open_memory(struct um_run *run, struct um_error *err)
{
    struct um_plan plan;
    char need[24], have[24];
    UM_RETURN_IF(um_run_plan(&plan, run, err));
    int64_t total = um_memory_total();
    if (plan.peak_bytes > total) {
        um_fail(err, UM_E_RUNTIME, "this run needs about %s of memory, the machine has %s",
                um_format_bytes(need, (double)plan.peak_bytes),
                um_format_bytes(have, (double)total));
        um_error_hint(err, "lower it with train.recompute on, a smaller train.batch with "
                           "train.accumulate, a smaller train.max_length%s",
                      plan.generation_bytes ? ", or a smaller eval.batch" : "");
        return UM_E_RUNTIME;
    }
    /* Address space for more than the peak: blocks of another order may fit less well. */
    size_t bytes = (size_t)plan.activation_bytes + (size_t)plan.activation_bytes / 2 + (64 << 20);
    UM_RETURN_IF(um_engine_open(&run->tm.engine, &run->tm.model, bytes, false, err));
    run->tm.engine.objective = um_objective_of(run->task);
    run->tm.engine.recompute = run->config->train.recompute;
    run->tm.engine.seed = (uint64_t)run->config->train.seed;
    run->tm.engine.profile = run->profile;
    return UM_OK;
}
