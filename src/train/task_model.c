/* Rows to batches, batches to outputs. */
#include "train/task_model.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"

void um_task_model_close(struct um_task_model *tm)
{
    um_engine_close(&tm->engine);
    um_batch_free(&tm->batch);
    um_chat_free(tm->chat);
    um_tokenizer_free(tm->tokenizer);
    um_model_close(&tm->model);
    *tm = (struct um_task_model){0};
}

enum um_objective um_objective_of(const struct um_task *task)
{
    return um_style_is_prose(task->style)   ? UM_OBJECTIVE_TOKEN
           : task->style == UM_STYLE_WORDS  ? UM_OBJECTIVE_TAG
           : task->is_regression            ? UM_OBJECTIVE_VALUE
                                            : UM_OBJECTIVE_CLASS;
}

enum um_heads um_heads_of(const struct um_task *task)
{
    static const enum um_heads heads[] = {[UM_OBJECTIVE_CLASS] = UM_HEADS_TASK,
                                          [UM_OBJECTIVE_VALUE] = UM_HEADS_TASK,
                                          [UM_OBJECTIVE_TAG] = UM_HEADS_TAGS,
                                          [UM_OBJECTIVE_TOKEN] = UM_HEADS_VOCABULARY};
    return heads[um_objective_of(task)];
}

const char *um_task_class_of(const struct um_task *task, const struct um_arch *arch)
{
    const char *const classes[] = {[UM_OBJECTIVE_CLASS] = arch->task_class,
                                   [UM_OBJECTIVE_VALUE] = arch->task_class,
                                   [UM_OBJECTIVE_TAG] = arch->tag_class,
                                   [UM_OBJECTIVE_TOKEN] = arch->text_class};
    return classes[um_objective_of(task)];
}

enum um_status um_task_check_arch(const struct um_task *task, const struct um_arch *arch,
                                  struct um_error *err)
{
    enum um_objective objective = um_objective_of(task);
    if (objective == UM_OBJECTIVE_TOKEN && !arch->is_decoder) {
        um_fail(err, UM_E_USAGE, "task '%s' is to go on with a text, which a %s model cannot",
                task->name, arch->name);
        um_error_hint(err, "it takes a decoder: gpt2, llama, mistral, qwen, gemma");
        return UM_E_USAGE;
    }
    if (objective == UM_OBJECTIVE_TAG && !arch->tag) {
        um_fail(err, UM_E_USAGE, "task '%s' is to tag words, which a %s model cannot here",
                task->name, arch->name);
        um_error_hint(err, "it takes an encoder: bert, distilbert");
        return UM_E_USAGE;
    }
    return UM_OK;
}

struct um_data_options um_data_options_of(const struct um_config *c, bool is_train)
{
    return (struct um_data_options){.folder = c->data.path,
                                    .file = is_train ? c->data.train : c->data.eval,
                                    .text = c->data.text,
                                    .pair = c->data.pair,
                                    .label = c->data.label,
                                    .format = c->data.format,
                                    .header = c->data.header,
                                    .n_rows = is_train ? c->train.rows : c->eval.rows,
                                    .is_train = is_train,
                                    .needs_labels = true};
}

int64_t um_max_length_of(const struct um_model *model, const struct um_config *c)
{
    return c->train.max_length < model->dims.P ? c->train.max_length : model->dims.P;
}

struct um_prose_options um_prose_options_of(const struct um_task_model *tm,
                                            const struct um_task *task, const struct um_config *c)
{
    const struct um_model *model = &tm->model;
    return (struct um_prose_options){.style = task->style,
                                     .chat = tm->chat,
                                     .learns_all = strcmp(c->data.loss, "all") == 0,
                                     .end_id = um_model_end(model)};
}

enum um_status um_task_model_encode(struct um_encoded *encoded, const struct um_task_model *tm,
                                    const struct um_dataset *data, const struct um_config *c,
                                    struct um_error *err)
{
    const struct um_encode_options options = {
        .tokenizer = tm->tokenizer,
        .max_length = um_max_length_of(&tm->model, c),
        .n_vocabulary = tm->model.dims.V,
        .n_types = tm->model.dims.Y,
        .prose = um_prose_options_of(tm, data->task, c),
        .packs = c->data.pack && um_style_is_prose(data->task->style)};
    return um_encoded_open(encoded, data, &options, err);
}

void um_say(const struct um_callbacks *callbacks, const char *fmt, ...)
{
    char line[1280];
    va_list args;
    if (!callbacks || !callbacks->message)
        return;
    va_start(args, fmt);
    (void)um_vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    callbacks->message(line, callbacks->user);
}

void um_say_cut(const struct um_encoded *encoded, const struct um_dataset *data, const char *rows,
                int64_t max_length, const struct um_callbacks *callbacks)
{
    char beyond[64], without[64];
    (void)snprintf(beyond, sizeof(beyond), "are longer than %lld tokens and were cut",
                   (long long)max_length);
    (void)snprintf(without, sizeof(without),
                   "have nothing to learn within %lld tokens and were left out",
                   (long long)max_length);
    const struct {
        int64_t n;
        const char *what;
    } cases[] = {{data->table.n_skipped, "have too few fields and were left out"},
                 {encoded->n_left_out, without},
                 {encoded->n_truncated, beyond}};
    for (size_t i = 0; i < UM_COUNT(cases); i++)
        if (cases[i].n)
            um_say(callbacks, "%lld %s %s", (long long)cases[i].n, rows, cases[i].what);
}

int64_t um_task_model_length(const struct um_task_model *tm, const struct um_encoded *encoded,
                             int64_t row)
{
    return encoded->lengths[row] < tm->max_length ? encoded->lengths[row] : tm->max_length;
}

/* The sequences of marked tokens. */
static void add_marked(struct um_batch *batch, const struct um_encoded *encoded, int64_t at,
                       int64_t end)
{
    for (int64_t next; at < end; at = next) {
        for (next = at + 1; next < end && encoded->types[next] != UM_MARK_START;)
            next++;
        um_batch_add_tokens(batch, encoded->ids + at, encoded->types + at, next - at);
    }
}

static int64_t n_sequences(const struct um_encoded *encoded, int64_t row)
{
    int64_t n = 0;
    for (int64_t i = encoded->offsets[row]; i < encoded->offsets[row + 1]; i++)
        n += encoded->types[i] == UM_MARK_START;
    return n;
}

enum um_status um_task_model_batch(struct um_task_model *tm, const struct um_encoded *encoded,
                                   const struct um_row *rows, const int64_t *which, int64_t n,
                                   struct um_error *err)
{
    int64_t n_tokens = 0, n_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        n_tokens += um_task_model_length(tm, encoded, which[i]);
        n_rows += rows || encoded->words ? 1 : n_sequences(encoded, which[i]);
    }
    UM_RETURN_IF(um_batch_begin(&tm->batch, n_rows, n_tokens, err));
    for (int64_t i = 0; i < n; i++) {
        int64_t row = which[i], at = encoded->offsets[row];
        if (encoded->words)
            um_batch_add_words(&tm->batch, encoded->ids + at, encoded->types + at,
                               encoded->words + at, um_task_model_length(tm, encoded, row),
                               rows ? rows[row].tags : NULL);
        else if (rows)
            um_batch_add(&tm->batch, encoded->ids + at,
                         tm->model.dims.Y > 1 ? encoded->types + at : NULL,
                         um_task_model_length(tm, encoded, row), rows[row].label,
                         rows[row].target);
        else
            add_marked(&tm->batch, encoded, at, at + um_task_model_length(tm, encoded, row));
    }
    return UM_OK;
}

/* A scoring of all rows under way. */
struct scoring {
    struct um_answering so_far;
    double start;
    const struct um_callbacks *callbacks; /* may be NULL */
};

static struct scoring begin_scoring(const struct um_encoded *encoded,
                                    const struct um_callbacks *callbacks)
{
    return (struct scoring){.so_far = {.n_rows = encoded->n_rows, .is_scoring = true},
                            .start = um_seconds(),
                            .callbacks = callbacks};
}

/* Tells of n more rows. */
static enum um_status tell(struct scoring *s, int64_t n, struct um_error *err)
{
    struct um_answering *a = &s->so_far;
    a->n_done += n;
    a->seconds = um_seconds() - s->start;
    a->seconds_left = a->seconds / (double)a->n_done * (double)(a->n_rows - a->n_done);
    if (!s->callbacks || !s->callbacks->answering ||
        s->callbacks->answering(a, s->callbacks->user))
        return UM_OK;
    return um_fail(err, UM_E_INTERRUPTED, "the evaluation was stopped after %lld of %lld rows",
                   (long long)a->n_done, (long long)a->n_rows);
}

enum um_status um_task_model_loss(double *loss, struct um_task_model *tm,
                                  const struct um_encoded *encoded, int64_t batch,
                                  const struct um_callbacks *callbacks, struct um_error *err)
{
    struct um_batches order;
    struct scoring scoring = begin_scoring(encoded, callbacks);
    double sum = 0;
    int64_t n_losses = 0;
    UM_RETURN_IF(um_batches_open(&order, UM_ORDER_GROUPED, encoded->n_rows, batch, 0,
                                 encoded->lengths, err));
    enum um_status status = UM_OK;
    for (int64_t b = 0; status == UM_OK && b < um_batches_per_epoch(&order); b++) {
        int64_t n;
        double some = 0;
        const int64_t *which = um_batches_rows(&n, &order, 0, b);
        UM_TRY(um_task_model_batch(tm, encoded, NULL, which, n, err));
        UM_TRY(um_engine_loss(&some, &tm->engine, &tm->batch, err));
        if (!isfinite(some))
            UM_TRY(um_engine_fail(&tm->engine, "the loss is not finite", err));
        sum += some;
        n_losses += tm->batch.n_losses;
        UM_TRY(tell(&scoring, n, err));
    }
    *loss = sum / (double)n_losses;
out:
    um_batches_close(&order);
    return status;
}

/* Outputs of the batch's rows, or words, to their places among all. */
static void keep_outputs(float *outputs, const float *some, const struct um_task_model *tm,
                         const struct um_encoded *encoded, const struct um_row *rows,
                         const int64_t *which, int64_t n)
{
    int64_t n_outputs = tm->model.dims.O;
    size_t bytes = (size_t)n_outputs * sizeof(float);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = which[i], at = encoded->offsets[row];
        if (!encoded->words) {
            memcpy(outputs + row * n_outputs, some + i * n_outputs, bytes);
            continue;
        }
        for (int64_t end = at + um_task_model_length(tm, encoded, row); at < end; at++) {
            if (encoded->words[at] < 0)
                continue;
            int64_t word = rows[row].first_word + encoded->words[at];
            memcpy(outputs + word * n_outputs, some, bytes);
            some += n_outputs;
        }
    }
}

static void forget_outputs(float *outputs, const struct um_task_model *tm,
                           const struct um_encoded *encoded, const struct um_row *rows)
{
    int64_t last = encoded->n_rows - 1;
    int64_t n = encoded->words ? rows[last].first_word + rows[last].n_words : encoded->n_rows;
    for (int64_t i = 0; i < n * tm->model.dims.O; i++)
        outputs[i] = (float)NAN;
}

enum um_status um_task_model_outputs(float *outputs, struct um_task_model *tm,
                                     const struct um_encoded *encoded, const struct um_row *rows,
                                     int64_t batch, const struct um_callbacks *callbacks,
                                     struct um_error *err)
{
    struct um_batches order;
    struct scoring scoring = begin_scoring(encoded, callbacks);
    int64_t n_outputs = tm->model.dims.O, n;
    float *some = NULL;
    size_t capacity = 0;
    enum um_status status = um_batches_open(&order, UM_ORDER_GROUPED, encoded->n_rows, batch, 0,
                                            encoded->lengths, err);
    if (outputs) /* NULL: a dry run */
        forget_outputs(outputs, tm, encoded, rows);
    for (int64_t b = 0; status == UM_OK && b < um_batches_per_epoch(&order); b++) {
        const int64_t *which = um_batches_rows(&n, &order, 0, b);
        UM_TRY(um_task_model_batch(tm, encoded, rows, which, n, err));
        if (encoded->words && tm->batch.n_losses == 0)
            continue; /* the model sees none of their words */
        int64_t n_some = (encoded->words ? tm->batch.n_losses : n) * n_outputs;
        if (!um_grow(&some, &capacity, (size_t)n_some, sizeof(*some)))
            UM_TRY(um_fail_memory(err, "outputs", (size_t)n_some * sizeof(*some)));
        UM_TRY(um_engine_predict(some, &tm->engine, &tm->batch, err));
        if (outputs && !um_kernels()->is_finite(some, n_some))
            UM_TRY(um_engine_fail(&tm->engine, "the model's outputs are not finite", err));
        if (outputs)
            keep_outputs(outputs, some, tm, encoded, rows, which, n);
        UM_TRY(tell(&scoring, n, err));
    }
out:
    um_free(some);
    um_batches_close(&order);
    return status;
}
