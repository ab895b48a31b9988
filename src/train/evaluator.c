/* The three ways of evaluation. */
#include "train/evaluator.h"

#include <math.h>

#include "data/words.h"

static bool has_questions(const struct um_evaluator *e)
{
    return e->data->task->answer != UM_ANSWER_NONE;
}

/* Whether the rows have what a loss can be of, beside their answers. */
static bool has_completions(const struct um_dataset *data)
{
    for (int64_t i = 0; i < data->n_rows; i++)
        if (data->rows[i].n_completion == 0)
            return false;
    return true;
}

enum um_status um_evaluator_open(struct um_evaluator *e, struct um_task_model *tm,
                                 const struct um_dataset *data, const struct um_config *config,
                                 struct um_error *err)
{
    enum um_status status = UM_OK;
    *e = (struct um_evaluator){.tm = tm, .data = data, .config = config};
    if (has_questions(e)) {
        const struct um_prose_options prose = um_prose_options_of(tm, data->task, config);
        UM_TRY(um_questions_open(&e->questions, tm, data, &prose, err));
    }
    if (!has_questions(e) || has_completions(data))
        UM_TRY(um_task_model_encode(&e->tokens, tm, data, config, err));
out:
    if (status != UM_OK)
        um_evaluator_close(e);
    return status;
}

void um_evaluator_close(struct um_evaluator *e)
{
    um_questions_close(&e->questions);
    um_encoded_close(&e->tokens);
    um_free(e->outputs);
    *e = (struct um_evaluator){0};
}

static struct um_ask_options ask_options(const struct um_evaluator *e,
                                         const struct um_callbacks *callbacks)
{
    return (struct um_ask_options){.batch = e->config->eval.batch,
                                   .max_new_tokens = e->config->eval.max_new_tokens,
                                   .answering = callbacks ? callbacks->answering : NULL,
                                   .user = callbacks ? callbacks->user : NULL};
}

/* The forward passes over all rows: of a loss, or of outputs. */
static enum um_status forward(double *loss, float *outputs, struct um_evaluator *e,
                              const struct um_callbacks *callbacks, struct um_error *err)
{
    if (um_objective_of(e->data->task) == UM_OBJECTIVE_TOKEN)
        return um_task_model_loss(loss, e->tm, &e->tokens, e->config->eval.batch, callbacks, err);
    return um_task_model_outputs(outputs, e->tm, &e->tokens, e->data->rows, e->config->eval.batch,
                                 callbacks, err);
}

void um_evaluator_say_cut(const struct um_evaluator *e, const struct um_callbacks *callbacks)
{
    if (!e->data) /* not opened: there is nothing to evaluate on */
        return;
    um_say_cut(&e->tokens, e->data, "rows to evaluate on",
               um_max_length_of(&e->tm->model, e->config), callbacks);
    if (e->questions.n_too_long)
        um_say(callbacks,
               "%lld questions fill the model's context of %lld tokens and count as wrong",
               (long long)e->questions.n_too_long, (long long)e->tm->model.dims.P);
}

enum um_status um_evaluator_plan(struct um_generate_need *need, struct um_evaluator *e,
                                 struct um_error *err)
{
    struct um_engine *engine = &e->tm->engine, dry, real = *engine;
    const struct um_ask_options ask = ask_options(e, NULL);
    double loss;
    enum um_status status = UM_OK;
    *need = (struct um_generate_need){0};
    UM_RETURN_IF(um_engine_open_dry(&dry, &e->tm->model, err));
    dry.objective = um_objective_of(e->data->task);
    dry.recompute = real.recompute;
    *engine = dry;
    if (has_questions(e))
        UM_TRY(um_questions_plan(need, &e->questions, &ask, err));
    if (e->tokens.n_rows)
        UM_TRY(forward(&loss, NULL, e, NULL, err));
    if (engine->pool.peak_bytes > need->pool_bytes)
        need->pool_bytes = engine->pool.peak_bytes;
out:
    um_engine_close(engine);
    *engine = real;
    return status;
}

/* Numbers in all rows', or words', outputs. */
static int64_t n_in_outputs(const struct um_evaluator *e)
{
    return e->tm->model.dims.O * (e->tokens.words ? um_dataset_n_words(e->data) : e->data->n_rows);
}

int64_t um_evaluator_output_bytes(const struct um_evaluator *e)
{
    bool has_outputs = e->data && um_objective_of(e->data->task) != UM_OBJECTIVE_TOKEN;
    return has_outputs ? n_in_outputs(e) * (int64_t)sizeof(*e->outputs) : 0;
}

static enum um_status run_outputs(struct um_evaluation *evaluation, struct um_evaluator *e,
                                  const struct um_callbacks *callbacks, struct um_error *err)
{
    int64_t n_outputs = e->tm->model.dims.O, n = n_in_outputs(e);
    if (!e->outputs)
        e->outputs = UM_NEW(n, float);
    if (!e->outputs)
        return um_fail_memory(err, "outputs", (size_t)n * sizeof(float));
    e->has_predictions = true;
    UM_RETURN_IF(forward(NULL, e->outputs, e, callbacks, err));
    e->is_complete = true;
    return um_task_score(evaluation, e->data, e->outputs, n_outputs, err);
}

/* Right and wrong answers as classes 1 and 0, where all should be 1. */
static enum um_status score_answers(struct um_evaluation *evaluation, const struct um_evaluator *e,
                                    double loss, struct um_error *err)
{
    int64_t n = e->data->n_rows;
    int64_t *classes = UM_NEW(2 * n, int64_t);
    if (!classes)
        return um_fail_memory(err, "scores", (size_t)(2 * n) * sizeof(*classes));
    for (int64_t row = 0; row < n; row++) {
        classes[row] = e->questions.replies[row].is_right;
        classes[n + row] = 1;
    }
    const struct um_scored_rows rows = {
        .n = n, .n_classes = 2, .predicted = classes, .label = classes + n, .loss = loss};
    enum um_status status = um_task_score_rows(evaluation, e->data->task, &rows, err);
    um_free(classes);
    return status;
}

enum um_status um_evaluator_run(struct um_evaluation *evaluation, struct um_evaluator *e,
                                const struct um_callbacks *callbacks, struct um_error *err)
{
    const struct um_task *task = e->data->task;
    const struct um_ask_options ask = ask_options(e, callbacks);
    double loss = (double)NAN;
    e->has_predictions = e->is_complete = false;
    if (um_objective_of(task) != UM_OBJECTIVE_TOKEN)
        return run_outputs(evaluation, e, callbacks, err);
    if (e->tokens.n_rows)
        UM_RETURN_IF(forward(&loss, NULL, e, callbacks, err));
    if (has_questions(e)) {
        e->has_predictions = true;
        UM_RETURN_IF(um_questions_ask(&e->questions, &ask, err));
        return score_answers(evaluation, e, loss, err);
    }
    const struct um_scored_rows rows = {.n = e->data->n_rows, .loss = loss};
    return um_task_score_rows(evaluation, task, &rows, err);
}

/* label, prediction, scores of a row or a word, whose outputs are n: tab-separated. */
static void add_prediction(struct um_str *text, const float *outputs, int64_t n,
                           const char *label, char *const *labels)
{
    int64_t class = n > 1 ? um_tag(outputs, n, labels) : -1;
    um_str_addf(text, "%s\t", label);
    if (n == 1)
        um_str_addf(text, "%.9g\t", (double)outputs[0]);
    else
        um_str_addf(text, "%s\t", class < 0 ? "" : labels[class]);
    for (int64_t k = 0; k < n && um_is_seen(outputs); k++)
        um_str_addf(text, "%s%.9g", k ? " " : "", (double)outputs[k]);
    um_str_add(text, "\n");
}

static void add_rows(struct um_str *text, const struct um_evaluator *e, char *const *labels)
{
    const struct um_dataset *data = e->data;
    int64_t n = e->tm->model.dims.O;
    um_str_add(text, "row\tlabel\tprediction\tscores\n");
    for (int64_t i = 0; i < data->n_rows; i++) {
        const struct um_row *row = &data->rows[i];
        char target[32] = "";
        if (!um_is_seen(e->outputs + i * n))
            continue; /* stopped before */
        if (data->is_labelled && n == 1)
            (void)um_snprintf(target, sizeof(target), "%.9g", row->target);
        const char *label = data->is_labelled && n > 1 ? labels[row->label] : target;
        um_str_addf(text, "%lld\t", (long long)i + 1);
        add_prediction(text, e->outputs + i * n, n, label, labels);
    }
}

static bool is_any_seen(const struct um_evaluator *e, const struct um_row *row)
{
    bool is = false;
    for (int64_t k = 0; k < row->n_words && !is; k++)
        is = um_is_seen(e->outputs + (row->first_word + k) * e->tm->model.dims.O);
    return is;
}

/* The same of words, with an empty line behind each text. */
static void add_words(struct um_str *text, const struct um_evaluator *e, char *const *labels)
{
    const struct um_dataset *data = e->data;
    int64_t n = e->tm->model.dims.O;
    um_str_add(text, "row\tword\tlabel\tprediction\tscores\n");
    for (int64_t i = 0; i < data->n_rows; i++) {
        const struct um_row *row = &data->rows[i];
        struct um_words words = um_words(row->text, row->n_text, row->is_list);
        const char *word;
        size_t n_word;
        if (!e->is_complete && !is_any_seen(e, row))
            continue; /* stopped before */
        for (int64_t k = 0; um_words_next(&word, &n_word, &words); k++) {
            const char *label = row->tags ? labels[row->tags[k]] : "";
            um_str_addf(text, "%lld\t", (long long)i + 1);
            um_str_add_flat(text, word, n_word);
            um_str_add(text, "\t");
            add_prediction(text, e->outputs + (row->first_word + k) * n, n, label, labels);
        }
        um_str_add(text, "\n");
    }
}

static enum um_status save_outputs(const struct um_evaluator *e, char *const *labels,
                                   const char *path, struct um_error *err)
{
    struct um_str text = {0};
    (e->tokens.words ? add_words : add_rows)(&text, e, labels);
    enum um_status status = um_file_write_str(path, &text, err);
    um_str_free(&text);
    return status;
}

enum um_status um_evaluator_save(const struct um_evaluator *e, char *const *labels,
                                 const char *path, struct um_error *err)
{
    return has_questions(e) ? um_questions_save(&e->questions, path, err)
                            : save_outputs(e, labels, path, err);
}
