/* A predictor's scores on a data set. */
#include "base/cpu.h"
#include "train/predictor.h"

/* Whether the model can do the task: it has as many outputs, or it is a decoder. */
static enum um_status check_task(const struct um_predictor *p, const struct um_task *task,
                                 struct um_error *err)
{
    const struct um_model *model = &p->tm.model;
    if (um_objective_of(task) == UM_OBJECTIVE_TOKEN) {
        UM_RETURN_IF(um_task_check_arch(task, model->arch, err));
        return um_predictor_check_words(p, err);
    }
    if (model->dims.O == 0)
        return um_fail(err, UM_E_USAGE, "task '%s' does not fit: the model has no task head",
                       task->name);
    if (model->is_tagger != (task->style == UM_STYLE_WORDS))
        return um_fail(err, UM_E_USAGE, "task '%s' does not fit: the model tells something of %s",
                       task->name,
                       model->is_tagger ? "words, not of texts" : "texts, not of words");
    if (task->is_regression != (model->dims.O == 1))
        return um_fail(err, UM_E_USAGE, "task '%s' does not fit: the model has %lld outputs",
                       task->name, (long long)model->dims.O);
    return UM_OK;
}

/* The evaluation file's rows; without one those that a run held out of `source`, its training
 * data. */
static enum um_status open_rows(struct um_dataset *data, struct um_dataset *source,
                                const struct um_task *task, const struct um_data_options *options,
                                const struct um_config *c, struct um_error *err)
{
    struct um_data_options of_source = *options;
    if (c->data.holdout <= 0 || *options->file)
        return um_dataset_open(data, task, options, err);
    of_source.file = c->data.train;
    of_source.is_train = true;
    of_source.n_rows = c->train.rows;
    UM_RETURN_IF(um_dataset_open(source, task, &of_source, err));
    return um_dataset_hold_out(data, source, c->data.holdout, c->eval.rows, err);
}

/* Whether rows must say what is right: for a score or a loss; predictions do without. */
enum labels { LABELS_NEEDED, LABELS_WELCOME, LABELS_IDLE /* not looked for even where named */ };

static enum um_status open_data(struct um_dataset *data, struct um_dataset *source,
                                const struct um_predictor *p, const struct um_config *c,
                                enum labels labels, struct um_error *err)
{
    const char *name = *c->task ? c->task : p->delta ? p->delta->task : "";
    const struct um_task *task = um_task_find(name);
    if (!task)
        return um_fail(err, UM_E_USAGE, "task: not given; name one with --task");
    UM_RETURN_IF(check_task(p, task, err));
    bool is_prose = um_style_is_prose(task->style);
    struct um_data_options options = um_data_options_of(c, false);
    options.needs_labels = labels == LABELS_NEEDED || is_prose; /* a loss is all there is then */
    options.may_lack_labels = labels == LABELS_IDLE;
    options.labels = !is_prose && p->delta && p->names.are_told ? p->names.items : NULL;
    options.n_labels = p->names.n;
    options.names = p->names.items;
    options.n_names = p->names.are_told ? p->names.n : 0;
    options.n_classes = p->names.n;
    UM_RETURN_IF(open_rows(data, source, task, &options, c, err));
    if (um_task_has_classes(task) && data->n_labels && data->n_labels != p->tm.model.dims.O)
        return um_fail(err, UM_E_INPUT, "'%s' has %lld labels, the model %lld outputs",
                       data->table.path, (long long)data->n_labels, (long long)p->tm.model.dims.O);
    return UM_OK;
}

/* The template named; else the one that the delta's training named, if the task can have one. */
static const char *template_of(const struct um_predictor *p, const struct um_task *task,
                               const struct um_config *c)
{
    bool has_own =
        p->delta && um_style_is_prose(task->style) && task->style != UM_STYLE_PLAIN;
    return *c->data.template || !has_own ? c->data.template : p->delta->template;
}

/* Room for the evaluation; what generation holds beside must fit the machine. */
static enum um_status open_memory(struct um_predictor *p, struct um_evaluator *evaluator,
                                  struct um_error *err)
{
    struct um_generate_need need;
    UM_RETURN_IF(um_evaluator_plan(&need, evaluator, err));
    int64_t bytes = (int64_t)(need.pool_bytes + need.held_bytes);
    if (um_memory_check("this evaluation", bytes, err) != UM_OK) {
        um_error_hint(err, "a smaller eval.batch or eval.max_new_tokens needs less");
        return UM_E_RUNTIME;
    }
    UM_RETURN_IF(um_engine_reserve(&p->tm.engine, need.pool_bytes, err));
    p->tm.engine.objective = um_objective_of(evaluator->data->task);
    return UM_OK;
}

/* An evaluation made ready. */
struct session {
    struct um_dataset data, source;
    struct um_evaluator evaluator;
};

static void close_session(struct session *s)
{
    um_evaluator_close(&s->evaluator);
    um_dataset_close(&s->data);
    um_dataset_close(&s->source);
}

static enum um_status check_predictions(const struct um_task *task, struct um_error *err)
{
    if (um_objective_of(task) != UM_OBJECTIVE_TOKEN || task->answer != UM_ANSWER_NONE)
        return UM_OK;
    return um_fail(err, UM_E_USAGE,
                   "task '%s' has no predictions to write: it is scored by its loss", task->name);
}

/* Close it also after a failure. */
static enum um_status open_session(struct session *s, struct um_predictor *p,
                                   const struct um_recipe *recipe, const char *predictions,
                                   enum labels labels, struct um_error *err)
{
    const struct um_config *c = um_recipe_config(recipe);
    *s = (struct session){0};
    um_set_threads((int)c->threads);
    UM_RETURN_IF(open_data(&s->data, &s->source, p, c, labels, err));
    if (predictions)
        UM_RETURN_IF(check_predictions(s->data.task, err));
    UM_RETURN_IF(um_task_model_open_chat(&p->tm, s->data.task, template_of(p, s->data.task, c),
                                         err));
    UM_RETURN_IF(um_evaluator_open(&s->evaluator, &p->tm, &s->data, c, err));
    return open_memory(p, &s->evaluator, err);
}

/* What was predicted before an evaluation was stopped is kept, too. */
static enum um_status score(struct um_evaluation *evaluation, struct session *s,
                            const struct um_predictor *p, const char *predictions,
                            const struct um_callbacks *callbacks, struct um_error *err)
{
    enum um_status status = um_evaluator_run(evaluation, &s->evaluator, callbacks, err);
    bool is_kept = status == UM_OK ||
                   (status == UM_E_INTERRUPTED && s->evaluator.has_predictions);
    if (!predictions || !is_kept)
        return status;
    UM_RETURN_IF(um_evaluator_save(&s->evaluator, p->names.items, predictions, err));
    if (status == UM_E_INTERRUPTED)
        um_error_hint(err, "'%s' holds what was predicted until then", predictions);
    return status;
}

static enum um_status evaluate(struct um_evaluation *evaluation, struct um_predictor *p,
                               const struct um_recipe *recipe, const char *predictions,
                               enum labels labels, const struct um_callbacks *callbacks,
                               struct um_error *err)
{
    struct session session;
    enum um_status status;
    UM_TRY(open_session(&session, p, recipe, predictions, labels, err));
    um_evaluator_say_cut(&session.evaluator, callbacks);
    UM_TRY(score(evaluation, &session, p, predictions, callbacks, err));
out:
    close_session(&session);
    return status;
}

static enum labels labels_for(const char *predictions)
{
    return predictions ? LABELS_WELCOME : LABELS_NEEDED;
}

enum um_status um_predictor_evaluate(struct um_evaluation *evaluation, struct um_predictor *p,
                                     const struct um_recipe *recipe, const char *predictions,
                                     const struct um_callbacks *callbacks, struct um_error *err)
{
    return evaluate(evaluation, p, recipe, predictions, labels_for(predictions), callbacks, err);
}

enum um_status um_predictor_check(struct um_predictor *p, const struct um_recipe *recipe,
                                  const char *predictions, struct um_error *err)
{
    struct session session;
    enum um_status status =
        open_session(&session, p, recipe, predictions, labels_for(predictions), err);
    close_session(&session);
    return status;
}

enum um_status um_predictor_predict_file(struct um_predictor *p, const struct um_recipe *recipe,
                                         const char *out, const struct um_callbacks *callbacks,
                                         struct um_error *err)
{
    struct um_evaluation evaluation;
    return evaluate(&evaluation, p, recipe, out, LABELS_IDLE, callbacks, err);
}
