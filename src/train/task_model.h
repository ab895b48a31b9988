/*
 * A model made ready for a task: the model with its head, the tokenizer, and how rows become
 * batches and batches become scores. What training, evaluation and prediction share.
 */
#ifndef UM_TRAIN_TASK_MODEL_H
#define UM_TRAIN_TASK_MODEL_H

#include <math.h>

#include "data/batches.h"
#include "data/encoded.h"
#include "metric/metric.h"
#include "train/config.h"
#include "train/engine.h"

struct um_task_model {
    struct um_model model;
    struct um_tokenizer *tokenizer;
    struct um_chat *chat; /* how rows are written as conversations; NULL: they are not */
    const char *end_text; /* ends answers where no token does, the chat's; NULL: none */
    struct um_engine engine;
    struct um_batch batch;
    int64_t max_length;   /* of rows in tokens: the recipe's, not over the model's */
};

/* What a task's loss is of. */
enum um_objective um_objective_of(const struct um_task *task);

/* Which of a model's heads it needs, and transformers' class of models with them. */
enum um_heads um_heads_of(const struct um_task *task);
const char *um_task_class_of(const struct um_task *task, const struct um_arch *arch);

/* UM_E_USAGE: the task is to go on with texts, and the model is no decoder; or to tag words, and it
 * is no encoder. */
enum um_status um_task_check_arch(const struct um_task *task, const struct um_arch *arch,
                                  struct um_error *err);
/* Where a recipe has a task's rows, to train on or to evaluate on. */
struct um_data_options um_data_options_of(const struct um_config *config, bool is_train);

void um_task_model_close(struct um_task_model *tm);
/* Opens the chat template that a task's rows are written by, if they are: `name` is the recipe's
 * data.template. UM_E_USAGE: the task takes none, or the model has none and none is named. */
enum um_status um_task_model_open_chat(struct um_task_model *tm, const struct um_task *task,
                                       const char *name, struct um_error *err);
/* A template by name ("model": the model's own, NULL if it has none); owned (um_chat_free). */
enum um_status um_task_model_find_chat(struct um_chat **chat, const struct um_task_model *tm,
                                       const char *name, struct um_error *err);
/* The end of the template's answers ends texts, also where the model's config does not say so.
 * Where the tokenizer has no such token, returns its text (the chat's), which must end them as a
 * stop; else NULL. */
const char *um_task_model_add_end(struct um_task_model *tm, const struct um_chat *chat);

/* How a recipe has a task's rows put together for a model. Borrows its chat template. */
struct um_prose_options um_prose_options_of(const struct um_task_model *tm,
                                            const struct um_task *task,
                                            const struct um_config *config);
/* Tokens that a row may have: the recipe's limit, not over the model's. */
int64_t um_max_length_of(const struct um_model *model, const struct um_config *config);
/* A data set in tokens, as a recipe has it. */
enum um_status um_task_model_encode(struct um_encoded *encoded, const struct um_task_model *tm,
                                    const struct um_dataset *data, const struct um_config *config,
                                    struct um_error *err);
/* A line through the message callback, if there is one. */
void um_say(const struct um_callbacks *callbacks, const char *fmt, ...) UM_PRINTF(2, 3);
/* Says how many of the `rows` ("rows", "rows to evaluate on") were left out or cut. */
void um_say_cut(const struct um_encoded *encoded, const struct um_dataset *data, const char *rows,
                int64_t max_length, const struct um_callbacks *callbacks);
/* Tokens that a row counts for: plans may be made for a shorter limit than rows were cut to. */
int64_t um_task_model_length(const struct um_task_model *tm, const struct um_encoded *encoded,
                             int64_t row);
/* Lays rows of an encoded data set out as a batch; `rows` NULL: rows of marked tokens. */
enum um_status um_task_model_batch(struct um_task_model *tm, const struct um_encoded *encoded,
                                   const struct um_row *rows, const int64_t *which, int64_t n,
                                   struct um_error *err);

/* Both ways of scoring tell the callbacks (NULL: none) of each batch, and are UM_E_INTERRUPTED
 * where those say so. */

/* Outputs [n_rows, O] of all rows, in order of rows (batched by like length), or [n_words, O] of
 * all words of a tagger; NaN where the model sees nothing of a word, or was stopped before. NULL on
 * a dry pool. Fails as um_engine_fail does if any is not finite. */
enum um_status um_task_model_outputs(float *outputs, struct um_task_model *tm,
                                     const struct um_encoded *encoded, const struct um_row *rows,
                                     int64_t batch, const struct um_callbacks *callbacks,
                                     struct um_error *err);

/* Mean loss of all learnt tokens, for the token objective; on a dry pool only the walk is done.
 * Fails likewise. */
enum um_status um_task_model_loss(double *loss, struct um_task_model *tm,
                                  const struct um_encoded *encoded, int64_t batch,
                                  const struct um_callbacks *callbacks, struct um_error *err);

/* The task's metrics of rows that were scored. */
enum um_status um_task_score_rows(struct um_evaluation *evaluation, const struct um_task *task,
                                  const struct um_scored_rows *rows, struct um_error *err);

/* Loss and the task's metrics from outputs. A word that was not seen counts as one outside of all
 * entities, and not in the loss. */
enum um_status um_task_score(struct um_evaluation *evaluation, const struct um_dataset *data,
                             const float *outputs, int64_t n_outputs, struct um_error *err);

/* The class of greatest output (the first of equals). */
int64_t um_greatest(const float *outputs, int64_t n);
/* Whether outputs are there at all (um_task_model_outputs). */
static inline bool um_is_seen(const float *outputs)
{
    return !isnan(outputs[0]);
}
/* A word's class; if it was not seen that outside of all entities, or -1 if none is. */
int64_t um_tag(const float *outputs, int64_t n, char *const *names);

#endif
