/*
 * The plan: what a run will need, before its first step. Activations are not estimated: the largest
 * batch of the run is recorded and walked forward and backward on a pool without memory. And what
 * other settings would need, by making the same plan for them.
 */
#include <string.h>

#include "base/cpu.h"
#include "tensor/gemm.h"
#include "train/run.h"

/* The batches that count: the one of most tokens, and the one of the longest row beside it. */
struct extreme {
    int64_t step, micro, n_tokens;
};

static int64_t tokens_of(const struct um_run *run, const int64_t *rows, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += um_task_model_length(&run->tm, &run->train_tokens, rows[i]);
    return sum;
}

/* Walks all batches of the run (at most a few million rows); sums up and keeps the largest. */
static void survey(struct extreme *most, struct um_plan *plan, struct um_run *run)
{
    enum { ROWS_MAX = 4000000 };
    int64_t n_rows = 0, n_steps = 0, total = 0;
    *most = (struct extreme){.n_tokens = -1};
    for (int64_t step = 0; step < run->n_steps && n_rows < ROWS_MAX; step++, n_steps++) {
        int64_t n_losses, n_micro = um_run_step_shape(&n_losses, run, step), step_tokens = 0;
        for (int64_t m = 0; m < n_micro; m++) {
            int64_t n;
            const int64_t *rows = um_run_rows(&n, run, step, m);
            int64_t n_tokens = tokens_of(run, rows, n);
            step_tokens += n_tokens;
            n_rows += n;
            if (n_tokens > most->n_tokens)
                *most = (struct extreme){step, m, n_tokens};
        }
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

static bool is_rounded(const struct um_config *config)
{
    return strcmp(config->train.precision, "bfloat16") == 0;
}

static void set_up(struct um_engine *engine, const struct um_run *run)
{
    engine->objective = um_objective_of(run->task);
    engine->recompute = run->config->train.recompute;
    engine->is_rounded = is_rounded(run->config);
}

/* Peak bytes of activations, of training and of evaluation; and what evaluation holds beside. */
static enum um_status measure(struct um_generate_need *need, struct um_run *run,
                              const struct extreme *most, struct um_error *err)
{
    struct um_engine dry, real = run->tm.engine;
    const struct um_sink sink = {.accept = accept_nothing};
    double loss = 0;
    int64_t n = run->config->train.batch;
    enum um_status status;
    *need = (struct um_generate_need){0};
    UM_RETURN_IF(um_engine_open_dry(&dry, &run->tm.model, err));
    set_up(&dry, run);
    run->tm.engine = dry;
    if (run->is_plan) {
        UM_TRY(um_run_plan_batch(run, err));
    } else {
        const int64_t *rows = um_run_rows(&n, run, most->step, most->micro);
        UM_TRY(um_run_batch(run, rows, n, err));
    }
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
        if (param->is_map && !param->is_added)
            sum += (entry && entry->is_whole ? 6.0 : 4.0) * (double)param->n_elements;
    }
    return sum;
}

static int64_t method_bytes(const struct um_run *run, const struct extreme *most,
                            int64_t n_step_tokens)
{
    const struct um_model *model = &run->tm.model;
    struct um_tuning_load load = {.n_steps = run->n_steps,
                                  .n_micro = run->config->train.accumulate,
                                  .n_tokens = most->n_tokens,
                                  .n_step_tokens = n_step_tokens};
    if (um_objective_of(run->task) == UM_OBJECTIVE_TOKEN)
        load.head = um_model_vocabulary(model);
    for (int64_t p = 0; p < model->n_params && !load.words; p++)
        if (model->params[p].rows == model->dims.V && model->params[p].wants_grad)
            load.words = &model->params[p];
    return um_tuning_bytes(&run->tuning, &load);
}

/* What is held already. */
static int64_t data_bytes(const struct um_run *run)
{
    int64_t n_words = um_dataset_n_words(&run->train) + um_dataset_n_words(&run->eval);
    return um_encoded_bytes(&run->train_tokens) + um_encoded_bytes(&run->evaluator.tokens) +
           (run->train.n_rows + run->eval.n_rows) * (int64_t)sizeof(struct um_row) +
           n_words * (int64_t)sizeof(*run->train.tags);
}

/* What the process takes beside model, method and data. */
static int64_t process_bytes(const struct um_run *run)
{
    enum { TOKEN_BYTES = 300 }; /* of a tokenizer that is not there: 150 to 350 were seen */
    int64_t bytes = run->resident_before + um_gemm_bytes(is_rounded(run->config));
    return run->is_plan ? bytes + run->tm.model.dims.V * TOKEN_BYTES
                        : bytes - um_tuning_opened_bytes(&run->tuning) - data_bytes(run);
}

/* The steps of a run without data are all alike. */
static void survey_plan(struct extreme *most, struct um_plan *plan, const struct um_run *run)
{
    const struct um_config *c = run->config;
    most->n_tokens = c->train.batch * run->tm.max_length;
    plan->max_tokens_per_step = most->n_tokens * c->train.accumulate;
    plan->mean_tokens_per_step = (double)plan->max_tokens_per_step;
}

enum um_status um_run_plan(struct um_plan *plan, struct um_run *run, struct um_error *err)
{
    const struct um_tuning *t = &run->tuning;
    struct extreme most = {0};
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
        .n_truncated_rows = run->train_tokens.n_truncated + run->evaluator.tokens.n_truncated,
        .n_left_out_rows = run->train_tokens.n_left_out + run->evaluator.tokens.n_left_out,
        .batch = run->config->train.batch,
        .accumulate = run->config->train.accumulate,
        .eval_batch = run->config->eval.batch,
        .max_length = run->tm.max_length,
        .recompute = run->config->train.recompute,
        .is_without_data = run->is_plan,
        .is_without_weights = run->tm.model.is_shape};
    if (run->is_plan)
        survey_plan(&most, plan, run);
    else
        survey(&most, plan, run);
    UM_RETURN_IF(measure(&need, run, &most, err));
    plan->weights_bytes = weights_bytes(&run->tm.model);
    plan->activation_bytes = (int64_t)need.pool_bytes;
    plan->generation_bytes = (int64_t)need.held_bytes;
    plan->method_bytes = method_bytes(run, &most, plan->max_tokens_per_step);
    plan->data_bytes = data_bytes(run) + um_evaluator_output_bytes(&run->evaluator);
    plan->process_bytes = process_bytes(run);
    plan->peak_bytes = plan->weights_bytes + plan->activation_bytes + plan->generation_bytes +
                       plan->method_bytes + plan->data_bytes + plan->process_bytes;
    plan->flop_per_step = flop_per_token(run) * plan->mean_tokens_per_step;
    return UM_OK;
}

/* ---- other settings */

/* The peak if the recipe were `config`, which may differ in batches, accumulation, length and
 * recomputation. The run is as before afterwards. */
static enum um_status plan_other(int64_t *peak_bytes, struct um_run *run,
                                 const struct um_config *config, struct um_error *err)
{
    struct um_plan plan;
    const struct um_config *real = run->config;
    struct um_batches batches = run->batches, others = {0};
    int64_t max_length = run->tm.max_length;
    enum um_status status = UM_OK;
    if (!run->is_plan)
        UM_RETURN_IF(um_batches_open(&others, batches.order, batches.n_rows, config->train.batch,
                                     batches.seed, batches.lengths, err));
    run->config = run->evaluator.config = config;
    run->tm.max_length = config->train.max_length;
    if (!run->is_plan) {
        run->batches = others;
        um_run_work_out_steps(run);
    }
    UM_TRY(um_run_plan(&plan, run, err));
    *peak_bytes = plan.peak_bytes;
out:
    run->config = run->evaluator.config = real;
    run->tm.max_length = max_length;
    if (!run->is_plan) {
        um_batches_close(&run->batches);
        run->batches = batches;
        um_run_work_out_steps(run);
    }
    return status;
}

static struct um_config recomputing(struct um_config c)
{
    c.train.recompute = true;
    return c;
}

static struct um_config accumulating(struct um_config c)
{
    c.train.batch = (c.train.batch + 1) / 2;
    c.train.accumulate *= 2;
    return c;
}

static struct um_config evaluating_fewer(struct um_config c)
{
    c.eval.batch = (c.eval.batch + 1) / 2;
    return c;
}

static struct um_config shorter(struct um_config c)
{
    c.train.max_length /= 2;
    return c;
}

/* Whether every row has something to learn within so many tokens: where one has not, a batch might
 * be left with nothing to compute, and to cut rows so short is no advice. */
static bool learns_within(const struct um_encoded *encoded, int64_t length)
{
    for (int64_t row = 0; row < encoded->n_rows; row++) {
        const uint8_t *marks = encoded->types + encoded->offsets[row];
        int64_t i = 1, n = encoded->lengths[row] < length ? encoded->lengths[row] : length;
        while (i < n && !(marks[i] & UM_MARK_LEARNT))
            i++;
        if (i >= n)
            return false;
    }
    return true;
}

static bool can_be_shorter(const struct um_run *run, int64_t length)
{
    if (length < 16 || um_objective_of(run->task) != UM_OBJECTIVE_TOKEN)
        return length >= 16;
    return learns_within(&run->train_tokens, length) &&
           learns_within(&run->evaluator.tokens, length);
}

enum um_status um_run_plan_savings(struct um_saving savings[UM_SAVINGS_MAX], size_t *n_savings,
                                   const struct um_plan *plan, struct um_run *run,
                                   struct um_error *err)
{
    struct um_config now = *run->config;
    now.train.max_length = run->tm.max_length;
    const struct um_config others[] = {recomputing(now), accumulating(now), evaluating_fewer(now),
                                       shorter(now)};
    const bool is_other[] = {!now.train.recompute, now.train.batch > 1,
                             run->evaluator.data && now.eval.batch > 1,
                             can_be_shorter(run, now.train.max_length / 2)};
    *n_savings = 0;
    for (size_t i = 0; i < UM_COUNT(others); i++) {
        const struct um_config *c = &others[i];
        struct um_saving *s = &savings[*n_savings];
        if (!is_other[i])
            continue;
        *s = (struct um_saving){0};
        UM_RETURN_IF(plan_other(&s->peak_bytes, run, c, err));
        if (s->peak_bytes >= plan->peak_bytes) /* sums over micro-batches may cost more */
            continue;
        s->recompute = c->train.recompute;
        s->batch = c->train.batch;
        s->accumulate = c->train.accumulate;
        s->eval_batch = c->eval.batch;
        s->max_length = c->train.max_length;
        (*n_savings)++;
    }
    return UM_OK;
}

static void hint_savings(struct um_error *err, const struct um_plan *plan, struct um_run *run)
{
    struct um_saving savings[UM_SAVINGS_MAX];
    struct um_str text = {0};
    size_t n;
    char bytes[24];
    if (um_run_plan_savings(savings, &n, plan, run, NULL) != UM_OK)
        return;
    for (size_t i = 0; i < n; i++)
        um_str_addf(&text,
                    "%sabout %s with train.batch %lld, accumulate %lld, max_length %lld, recompute "
                    "%s, eval.batch %lld",
                    i ? "; " : "", um_format_bytes(bytes, (double)savings[i].peak_bytes),
                    (long long)savings[i].batch, (long long)savings[i].accumulate,
                    (long long)savings[i].max_length, savings[i].recompute ? "on" : "off",
                    (long long)savings[i].eval_batch);
    if (n && !text.failed)
        um_error_hint(err, "%s", text.text);
    um_str_free(&text);
}

enum um_status um_run_open_memory(struct um_run *run, struct um_error *err)
{
    struct um_plan plan;
    UM_RETURN_IF(um_run_plan(&plan, run, err));
    if (um_memory_check("this run", plan.peak_bytes, err) != UM_OK) {
        hint_savings(err, &plan, run);
        return UM_E_RUNTIME;
    }
    /* Address space for more than the peak: blocks of another order may fit less well. */
    size_t bytes = (size_t)plan.activation_bytes + (size_t)plan.activation_bytes / 2 + (64 << 20);
    UM_RETURN_IF(um_engine_open(&run->tm.engine, &run->tm.model, bytes, err));
    set_up(&run->tm.engine, run);
    if (run->tm.engine.is_rounded && !um_gemm_bf16_is_native())
        um_say(&run->callbacks,
               "this processor has no bfloat16 products of its own: float32 is faster here");
    run->tm.engine.is_trained = run->state.step > 0;
    run->tm.engine.seed = (uint64_t)run->config->train.seed;
    run->tm.engine.profile = run->profile;
    return UM_OK;
}
