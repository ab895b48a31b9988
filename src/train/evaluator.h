/*
 * Evaluation: a data set made ready once, scored as often as wanted by the model as it is then.
 * There are three ways, by the kind of task: outputs of a head against labels; the loss of what was
 * to be learnt; generated answers against true ones.
 */
#ifndef UM_TRAIN_EVALUATOR_H
#define UM_TRAIN_EVALUATOR_H

#include "train/config.h"
#include "train/questions.h"

struct um_evaluator {
    struct um_task_model *tm;       /* borrows */
    const struct um_dataset *data;  /* borrows; NULL: not opened */
    const struct um_config *config; /* borrows: data.*, eval.*, train.max_length */
    struct um_encoded tokens;       /* no rows: of questions without completions */
    struct um_questions questions;  /* of a task with an answer rule */
    float *outputs; /* [n_rows, O], or [n_words, O], of a task with a head, by the last run; NaN
                       where it saw nothing, or was stopped before; owned */
    bool has_predictions; /* of some rows at least, by the last run, */
    bool is_complete;     /* and of all */
};

enum um_status um_evaluator_open(struct um_evaluator *evaluator, struct um_task_model *tm,
                                 const struct um_dataset *data, const struct um_config *config,
                                 struct um_error *err);
void um_evaluator_close(struct um_evaluator *evaluator);

/* Memory that outputs take, from the first run on. */
int64_t um_evaluator_output_bytes(const struct um_evaluator *evaluator);

/* Says, through the message callback, how many rows were left out or cut, and how many questions
 * have no room for an answer, if any. */
void um_evaluator_say_cut(const struct um_evaluator *evaluator,
                          const struct um_callbacks *callbacks);

/* The memory that an evaluation takes, found on a dry pool. */
enum um_status um_evaluator_plan(struct um_generate_need *need, struct um_evaluator *evaluator,
                                 struct um_error *err);

/* Loss (NaN where there is none) and metrics; none of data without labels. The engine's pool has
 * room for what was planned. `callbacks` may be NULL. UM_E_INTERRUPTED if one says so. */
enum um_status um_evaluator_run(struct um_evaluation *evaluation, struct um_evaluator *evaluator,
                                const struct um_callbacks *callbacks, struct um_error *err);

/* Writes what was predicted by the last run, for each row that it came to: TSV (row, label,
 * prediction, scores; `labels` are the classes' names; of a tagger a line for each word, which
 * stands behind the row), or JSON lines of answers (um_questions_save). */
enum um_status um_evaluator_save(const struct um_evaluator *evaluator, char *const *labels,
                                 const char *path, struct um_error *err);

#endif
