/* Outputs to scores. */
#include <math.h>
#include <string.h>

#include "metric/entities.h"
#include "train/task_model.h"

int64_t um_greatest(const float *outputs, int64_t n)
{
    int64_t best = 0;
    for (int64_t k = 1; k < n; k++)
        if (outputs[k] > outputs[best])
            best = k;
    return best;
}

int64_t um_tag(const float *outputs, int64_t n, char *const *names)
{
    return um_is_seen(outputs) ? um_greatest(outputs, n) : um_class_outside(names, n);
}

/* -log softmax(outputs)[label]. */
static double cross_entropy(const float *outputs, int64_t n, int64_t label)
{
    double most = (double)outputs[um_greatest(outputs, n)], sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += exp((double)outputs[k] - most);
    return most + log(sum) - (double)outputs[label];
}

static enum um_status compute_metrics(struct um_evaluation *e, const struct um_task *task,
                                      const struct um_scored_rows *rows, struct um_error *err)
{
    for (int i = 0; i < UM_TASK_METRICS && task->metrics[i]; i++) {
        const struct um_metric *metric = um_metric_find(task->metrics[i]);
        e->metrics[i].name = metric->name;
        UM_RETURN_IF(metric->compute(&e->metrics[i].value, rows, err));
        e->n_metrics++;
    }
    return UM_OK;
}

enum um_status um_task_score_rows(struct um_evaluation *e, const struct um_task *task,
                                  const struct um_scored_rows *rows, struct um_error *err)
{
    *e = (struct um_evaluation){.n_rows = rows->n, .loss = rows->loss};
    return compute_metrics(e, task, rows, err);
}

/* What is predicted and true of n rows, or words, in one block. */
struct truth {
    int64_t *classes, *labels; /* n each; `labels` behind `classes`, which is owned */
    double *values, *targets;  /* likewise */
    int64_t *starts;           /* of tagged texts: n_rows + 1; owned */
};

static enum um_status open_truth(struct truth *t, int64_t n, int64_t n_texts, struct um_error *err)
{
    *t = (struct truth){.classes = UM_NEW(2 * n, int64_t),
                        .values = UM_NEW(2 * n, double),
                        .starts = UM_NEW(n_texts + 1, int64_t)};
    if (!t->classes || !t->values || !t->starts)
        return um_fail_memory(err, "scores", (size_t)n * 32);
    t->labels = t->classes + n;
    t->targets = t->values + n;
    return UM_OK;
}

static void close_truth(struct truth *t)
{
    um_free(t->classes);
    um_free(t->values);
    um_free(t->starts);
}

/* Mean loss of rows with a class or a value. */
static double score_rows(struct truth *t, const struct um_dataset *data, const float *outputs,
                         int64_t n_outputs)
{
    double loss = 0;
    for (int64_t i = 0; i < data->n_rows; i++) {
        const float *row = outputs + i * n_outputs;
        t->values[i] = (double)row[0];
        t->targets[i] = data->rows[i].target;
        t->classes[i] = um_greatest(row, n_outputs);
        t->labels[i] = data->rows[i].label;
        double difference = t->values[i] - t->targets[i];
        loss += data->task->is_regression ? difference * difference
                                          : cross_entropy(row, n_outputs, t->labels[i]);
    }
    return loss / (double)data->n_rows;
}

/* Mean loss of the words that the model saw. */
static double score_words(struct truth *t, const struct um_dataset *data, const float *outputs,
                          int64_t n_outputs)
{
    double loss = 0;
    int64_t n_seen = 0;
    for (int64_t i = 0; i < data->n_rows; i++) {
        const struct um_row *row = &data->rows[i];
        for (int64_t k = 0; k < row->n_words; k++) {
            int64_t word = row->first_word + k;
            const float *of_word = outputs + word * n_outputs;
            t->classes[word] = um_tag(of_word, n_outputs, data->labels);
            t->labels[word] = row->tags[k];
            if (!um_is_seen(of_word))
                continue;
            loss += cross_entropy(of_word, n_outputs, row->tags[k]);
            n_seen++;
        }
        t->starts[i + 1] = row->first_word + row->n_words;
    }
    return n_seen ? loss / (double)n_seen : (double)NAN;
}

enum um_status um_task_score(struct um_evaluation *e, const struct um_dataset *data,
                             const float *outputs, int64_t n_outputs, struct um_error *err)
{
    bool has_words = data->task->style == UM_STYLE_WORDS;
    int64_t n = has_words ? um_dataset_n_words(data) : data->n_rows;
    struct um_scored_rows rows = {.n = n, .n_classes = n_outputs};
    struct truth truth;
    enum um_status status = UM_OK;
    *e = (struct um_evaluation){.n_rows = data->n_rows, .loss = (double)NAN};
    if (!data->is_labelled)
        return UM_OK;
    UM_TRY(open_truth(&truth, n, data->n_rows, err));
    e->loss = (has_words ? score_words : score_rows)(&truth, data, outputs, n_outputs);
    if (data->task->is_regression) {
        rows.value = truth.values;
        rows.target = truth.targets;
    } else {
        rows.predicted = truth.classes;
        rows.label = truth.labels;
    }
    if (has_words) {
        rows.starts = truth.starts;
        rows.n_texts = data->n_rows;
        rows.names = data->labels;
    }
    UM_TRY(compute_metrics(e, data->task, &rows, err));
out:
    close_truth(&truth);
    return status;
}
