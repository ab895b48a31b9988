/* The engine: batches in, outputs or gradients out. */
#include "train/engine.h"

#include <math.h>
#include <string.h>

void um_batch_free(struct um_batch *batch)
{
    um_free(batch->ids);
    um_free(batch->types);
    um_free(batch->positions);
    um_free(batch->loss_columns);
    um_free(batch->loss_labels);
    um_free(batch->first);
    um_free(batch->last);
    um_free(batch->labels);
    um_free(batch->targets);
    um_free(batch->offsets);
    *batch = (struct um_batch){0};
}

enum um_status um_batch_begin(struct um_batch *b, int64_t n_rows, int64_t n_tokens,
                              struct um_error *err)
{
    size_t rows = (size_t)n_rows, tokens = (size_t)n_tokens;
    if (!um_grow(&b->ids, &b->tokens_capacity, tokens, sizeof(*b->ids)) ||
        !um_grow(&b->types, &b->types_capacity, tokens, sizeof(*b->types)) ||
        !um_grow(&b->positions, &b->positions_capacity, tokens, sizeof(*b->positions)) ||
        !um_grow(&b->loss_columns, &b->columns_capacity, tokens, sizeof(*b->loss_columns)) ||
        !um_grow(&b->loss_labels, &b->loss_labels_capacity, tokens, sizeof(*b->loss_labels)) ||
        !um_grow(&b->last, &b->last_capacity, rows, sizeof(*b->last)) ||
        !um_grow(&b->first, &b->first_capacity, rows, sizeof(*b->first)) ||
        !um_grow(&b->labels, &b->labels_capacity, rows, sizeof(*b->labels)) ||
        !um_grow(&b->targets, &b->targets_capacity, rows, sizeof(*b->targets)) ||
        !um_grow(&b->offsets, &b->offsets_capacity, rows + 1, sizeof(*b->offsets)))
        return um_fail_memory(err, "a batch", tokens * 5 * sizeof(*b->ids));
    b->n_rows = b->n_tokens = b->n_losses = b->offsets[0] = 0;
    return UM_OK;
}

void um_batch_add(struct um_batch *b, const int32_t *ids, const uint8_t *types, int64_t n,
                  int64_t label, double target)
{
    memcpy(b->ids + b->n_tokens, ids, (size_t)n * sizeof(*ids));
    for (int64_t i = 0; i < n; i++) {
        b->types[b->n_tokens + i] = types ? types[i] : 0;
        b->positions[b->n_tokens + i] = (int32_t)i;
    }
    b->first[b->n_rows] = (int32_t)b->n_tokens;
    b->labels[b->n_rows] = (int32_t)label;
    b->targets[b->n_rows] = (float)target;
    b->n_tokens += n;
    b->last[b->n_rows] = (int32_t)(b->n_tokens - 1);
    b->offsets[++b->n_rows] = b->n_tokens;
}

void um_batch_add_tokens(struct um_batch *b, const int32_t *ids, const uint8_t *learnt, int64_t n)
{
    int64_t start = b->n_tokens;
    um_batch_add(b, ids, NULL, n, 0, 0);
    for (int64_t i = 1; i < n; i++) {
        if (!learnt[i])
            continue;
        b->loss_columns[b->n_losses] = (int32_t)(start + i - 1);
        b->loss_labels[b->n_losses++] = ids[i];
    }
}

void um_batch_add_words(struct um_batch *b, const int32_t *ids, const uint8_t *types,
                        const int32_t *words, int64_t n, const int32_t *tags)
{
    int64_t start = b->n_tokens;
    um_batch_add(b, ids, types, n, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        if (words[i] < 0)
            continue;
        b->loss_columns[b->n_losses] = (int32_t)(start + i);
        b->loss_labels[b->n_losses++] = tags ? tags[words[i]] : 0;
    }
}

enum um_status um_engine_open(struct um_engine *engine, struct um_model *model,
                              size_t pool_bytes, struct um_error *err)
{
    *engine = (struct um_engine){.model = model};
    return um_pool_open(&engine->pool, pool_bytes, false, err);
}

enum um_status um_engine_open_dry(struct um_engine *engine, struct um_model *model,
                                  struct um_error *err)
{
    *engine = (struct um_engine){.model = model};
    return um_pool_open(&engine->pool, (size_t)1 << 46, true, err); /* more than any pass takes */
}

void um_engine_close(struct um_engine *engine)
{
    um_pool_close(&engine->pool);
    *engine = (struct um_engine){0};
}

/* Twice what a dry pass took: blocks in another order fit less well, and what is not touched costs
 * nothing. */
enum um_status um_engine_reserve(struct um_engine *engine, size_t bytes, struct um_error *err)
{
    if (engine->pool.size_bytes >= 2 * bytes)
        return UM_OK;
    um_pool_close(&engine->pool);
    return um_pool_open(&engine->pool, 2 * bytes + (1 << 20), false, err);
}

enum um_status um_engine_fail(const struct um_engine *engine, const char *what,
                              struct um_error *err)
{
    const struct um_model *model = engine->model;
    enum um_status kind = engine->is_trained ? UM_E_DIVERGED : UM_E_INPUT;
    bool is_found = false;
    for (int64_t p = 0; p < model->n_params && !is_found; p++) {
        const struct um_param *param = &model->params[p];
        for (int64_t i = 0; i < param->n_elements && !is_found; i++) {
            float value = um_param_stored(param, i);
            is_found = !isfinite(value);
            if (is_found)
                um_fail(err, kind, "%s: weight '%s' holds %g at position %lld", what, param->name,
                        (double)value, (long long)i);
        }
    }
    if (!is_found)
        um_fail(err, kind, "%s", what);
    if (engine->is_trained)
        um_error_hint(err, "a lower optimizer.lr or an optimizer.clip may help");
    return kind;
}

static void open_tape(struct um_tape *tape, struct um_engine *engine,
                      const struct um_batch *batch, bool is_training)
{
    um_tape_open(tape, &engine->pool,
                 (struct um_sequences){.n = batch->n_rows, .offsets = batch->offsets});
    tape->is_training = is_training;
    tape->is_without_dropout = engine->is_without_dropout;
    tape->is_rounded = is_training && engine->is_rounded;
    tape->recompute = engine->recompute;
    tape->profile = engine->profile;
    tape->seed = engine->seed;
}

/* Records the model's forward pass over a batch. Returns its hidden states. */
static struct um_value *record(struct um_tape *tape, struct um_engine *engine,
                               const struct um_input *input, const struct um_batch *batch,
                               bool is_training)
{
    open_tape(tape, engine, batch, is_training);
    return engine->model->arch->hidden(engine->model, tape, input);
}

static struct um_input input_of(const struct um_batch *batch)
{
    return (struct um_input){.n_tokens = batch->n_tokens,
                             .ids = batch->ids,
                             .types = batch->types,
                             .positions = batch->positions,
                             .first = batch->first,
                             .last = batch->last,
                             .n_sequences = batch->n_rows};
}

/* Runs the tape forward and writes y [rows, n] as [n, rows]. */
static enum um_status run_again(float *outputs, struct um_tape *tape, struct um_value *y,
                                struct um_error *err)
{
    y->is_output = true;
    UM_RETURN_IF(um_tape_forward(tape, err));
    for (int64_t i = 0; !tape->pool->is_dry && i < y->cols; i++)
        for (int64_t k = 0; k < y->rows; k++)
            outputs[i * y->rows + k] = y->data[k * y->ld + i];
    return UM_OK;
}

/* The same once: closes the tape. */
static enum um_status run_outputs(float *outputs, struct um_tape *tape, struct um_value *y,
                                  struct um_error *err)
{
    enum um_status status = run_again(outputs, tape, y, err);
    um_tape_close(tape);
    return status;
}

/* The task head's outputs over hidden states: of each row, or of each word. */
static struct um_value *record_head(struct um_tape *tape, const struct um_model *model,
                                    const struct um_batch *batch, const struct um_input *input,
                                    struct um_value *hidden)
{
    if (!model->is_tagger)
        return model->arch->head(model, tape, input, hidden);
    return model->arch->tag(model, tape,
                            um_take_columns(tape, hidden, batch->loss_columns, batch->n_losses));
}

enum um_status um_engine_predict(float *outputs, struct um_engine *engine,
                                 const struct um_batch *batch, struct um_error *err)
{
    struct um_tape tape;
    const struct um_input input = input_of(batch);
    struct um_value *y = record(&tape, engine, &input, batch, false);
    y = record_head(&tape, engine->model, batch, &input, y);
    return run_outputs(outputs, &tape, y, err);
}

/* The vocabulary head's logits [V, n] over hidden states. */
static struct um_value *record_logits(struct um_tape *tape, const struct um_model *model,
                                      struct um_value *hidden)
{
    struct um_value *y = um_linear(tape, hidden, um_model_vocabulary(model), NULL);
    return model->dims.logit_cap == 0 ? y : um_soft_cap(tape, y, (float)model->dims.logit_cap);
}

/* Places of tokens: behind what the cache holds of their texts. */
static void place_tokens(struct um_batch *batch, const struct um_cache *cache,
                         const int32_t *slots)
{
    for (int64_t b = 0; b < batch->n_rows; b++)
        for (int64_t t = batch->offsets[b]; t < batch->offsets[b + 1]; t++)
            batch->positions[t] = (int32_t)(t - batch->offsets[b] + cache->lengths[slots[b]]);
}

static void move_on(const struct um_batch *batch, struct um_cache *cache, const int32_t *slots)
{
    for (int64_t b = 0; b < batch->n_rows; b++)
        cache->lengths[slots[b]] += batch->offsets[b + 1] - batch->offsets[b];
}

/* Records going on with texts. Returns the logits [V, n_rows]. */
static struct um_value *record_going_on(struct um_tape *tape, struct um_engine *engine,
                                        const struct um_batch *batch, struct um_cache *cache,
                                        const int32_t *slots)
{
    const struct um_input input = input_of(batch);
    open_tape(tape, engine, batch, false);
    tape->cache = cache;
    tape->slots = slots;
    struct um_value *y = engine->model->arch->hidden(engine->model, tape, &input);
    return record_logits(tape, engine->model,
                         um_take_columns(tape, y, batch->last, batch->n_rows));
}

enum um_status um_engine_go_on(float *logits, struct um_engine *engine, struct um_batch *batch,
                               struct um_cache *cache, const int32_t *slots, struct um_error *err)
{
    struct um_tape tape;
    place_tokens(batch, cache, slots);
    struct um_value *y = record_going_on(&tape, engine, batch, cache, slots);
    UM_RETURN_IF(run_outputs(logits, &tape, y, err));
    if (!engine->pool.is_dry)
        move_on(batch, cache, slots);
    return UM_OK;
}

static bool is_recorded(const struct um_step *step, const struct um_batch *batch)
{
    const struct um_input *old = &step->input;
    return step->logits && old->n_sequences == batch->n_rows && old->ids == batch->ids &&
           old->positions == batch->positions && old->last == batch->last &&
           step->tape.sequences.offsets == batch->offsets;
}

enum um_status um_engine_step(float *logits, struct um_step *step, struct um_engine *engine,
                              struct um_batch *batch, struct um_cache *cache, const int32_t *slots,
                              struct um_error *err)
{
    place_tokens(batch, cache, slots);
    if (!is_recorded(step, batch)) {
        um_step_close(step);
        step->logits = record_going_on(&step->tape, engine, batch, cache, slots);
        step->input = input_of(batch);
    }
    UM_RETURN_IF(run_again(logits, &step->tape, step->logits, err));
    move_on(batch, cache, slots);
    return UM_OK;
}

void um_step_close(struct um_step *step)
{
    if (step->logits)
        um_tape_close(&step->tape);
    *step = (struct um_step){0};
}

enum um_status um_engine_logits(float *logits, struct um_engine *engine,
                                const struct um_batch *batch, const int32_t *columns, int64_t n,
                                struct um_error *err)
{
    struct um_tape tape;
    const struct um_input input = input_of(batch);
    struct um_value *y = record(&tape, engine, &input, batch, false);
    y = record_logits(&tape, engine->model, um_take_columns(&tape, y, columns, n));
    return run_outputs(logits, &tape, y, err);
}

/* The loss over the recorded hidden states. */
static struct um_value *record_loss(struct um_tape *tape, struct um_engine *engine,
                                    const struct um_batch *batch, const struct um_input *input,
                                    struct um_value *hidden, double normalizer)
{
    const struct um_model *model = engine->model;
    if (engine->objective == UM_OBJECTIVE_TOKEN) {
        hidden = um_take_columns(tape, hidden, batch->loss_columns, batch->n_losses);
        return um_head_loss(tape, hidden,
                            (struct um_head){.weight = um_model_vocabulary(model),
                                             .labels = batch->loss_labels,
                                             .normalizer = normalizer,
                                             .cap = (float)model->dims.logit_cap});
    }
    struct um_value *y = record_head(tape, model, batch, input, hidden);
    if (engine->objective == UM_OBJECTIVE_VALUE)
        return um_squared_error(tape, y, batch->targets, normalizer);
    return um_cross_entropy(
        tape, y, engine->objective == UM_OBJECTIVE_TAG ? batch->loss_labels : batch->labels,
        normalizer);
}

enum um_status um_engine_loss(double *loss, struct um_engine *engine,
                              const struct um_batch *batch, struct um_error *err)
{
    struct um_tape tape;
    const struct um_input input = input_of(batch);
    struct um_value *l = record(&tape, engine, &input, batch, false);
    l = record_loss(&tape, engine, batch, &input, l, 1);
    enum um_status status = um_tape_forward(&tape, err);
    *loss = status == UM_OK && !engine->pool.is_dry ? (double)l->data[0] : 0;
    um_tape_close(&tape);
    return status;
}

enum um_status um_engine_train(double *loss, struct um_engine *engine,
                               const struct um_batch *batch, int64_t n_total, uint64_t stream,
                               struct um_sink sink, struct um_error *err)
{
    struct um_tape tape;
    const struct um_input input = input_of(batch);
    struct um_value *l = record(&tape, engine, &input, batch, true);
    enum um_status status;
    tape.sink = sink;
    tape.stream = stream;
    l = record_loss(&tape, engine, batch, &input, l, (double)n_total);
    UM_TRY(um_tape_forward(&tape, err));
    if (!engine->pool.is_dry) {
        *loss += (double)l->data[0];
        if (!isfinite(l->data[0]))
            UM_TRY(um_engine_fail(engine, "the loss is not finite", err));
    }
    UM_TRY(um_tape_backward(&tape, err));
out:
    um_tape_close(&tape);
    return status;
}
