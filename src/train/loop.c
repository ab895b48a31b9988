/* The loop: steps, evaluations, progress, and when to save. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "train/run.h"

static enum um_status forward_backward(double *loss, int64_t *n_tokens, struct um_run *run,
                                       const struct um_course *course, struct um_error *err)
{
    int64_t n_losses, step = course->step, n_micro = um_run_step_shape(&n_losses, run, step);
    for (int64_t m = 0; m < n_micro; m++) {
        int64_t n;
        um_profile_enter(run->profile, UM_PART_DATA);
        const int64_t *rows = um_run_rows(&n, run, step, m);
        UM_RETURN_IF(um_run_batch(run, rows, n, err));
        um_profile_enter(run->profile, UM_PART_OTHER);
        um_tuning_micro(course->tuning, m, m + 1 == n_micro);
        UM_RETURN_IF(um_engine_train(loss, &run->tm.engine, &run->tm.batch, n_losses,
                                     (uint64_t)step << 16 | (uint64_t)m,
                                     um_tuning_sink(course->tuning), err));
        *n_tokens += run->tm.batch.n_tokens;
    }
    return UM_OK;
}

/* The tensor whose gradient is not finite, for the message. */
static enum um_status fail_norm(const struct um_trainable *set, struct um_error *err)
{
    for (size_t e = 0; e < set->n_entries; e++)
        if (!um_kernels()->is_finite(set->entries[e].column[UM_COLUMN_GRAD], set->entries[e].n))
            return um_gradient_diverged(set->entries[e].param, err);
    return um_fail(err, UM_E_DIVERGED, "the gradient's norm is not finite");
}

enum um_status um_run_course_step(struct um_progress *p, struct um_run *run,
                                  const struct um_course *course, struct um_error *err)
{
    struct um_tuning *t = course->tuning;
    int64_t step = course->step;
    double start = um_seconds(), loss = 0;
    p->n_tokens = 0;
    p->lr = course->lr * run->lr_schedule->factor(step, course->n_steps,
                                                  um_run_warmup(run, course->n_steps));
    UM_RETURN_IF(um_tuning_begin(t, step, course->n_steps, err));
    UM_RETURN_IF(forward_backward(&loss, &p->n_tokens, run, course, err));
    um_profile_enter(run->profile, UM_PART_SELECTION);
    UM_RETURN_IF(um_tuning_end(t, err));
    um_profile_enter(run->profile, UM_PART_UPDATE);
    p->grad_norm = um_grad_norm(&t->set);
    if (!isfinite(p->grad_norm))
        return fail_norm(&t->set, err);
    um_optimizer_step(run->optimizer, &t->set, &run->optimizer_options, p->grad_norm, p->lr, step);
    um_tuning_updated(t, um_clip_scale(&run->optimizer_options, p->grad_norm));
    run->tm.engine.is_trained = true;
    um_profile_enter(run->profile, UM_PART_OTHER);
    p->step = step + 1;
    p->n_steps = course->n_steps;
    p->epoch = (double)(step + 1) / (double)run->steps_per_epoch;
    p->loss = loss + t->penalty;
    p->n_unmasked = t->set.n;
    p->n_touched = um_trainable_touched(&t->set);
    p->n_updates = t->n_updates;
    p->n_scored = t->stats.n_scored;
    p->selection = um_bound_name(t->stats.bound);
    p->seconds = um_seconds() - start;
    p->tokens_per_second = (double)p->n_tokens / p->seconds;
    p->rss_bytes = um_memory_rss();
    return UM_OK;
}

enum um_status um_run_check_values(const struct um_run *run, struct um_error *err)
{
    const struct um_trainable *set = &run->tuning.set;
    for (size_t e = 0; e < set->n_entries; e++)
        if (!um_kernels()->is_finite(um_entry_values(&set->entries[e]), set->entries[e].n))
            return um_engine_fail(&run->tm.engine, "weights are not finite any more", err);
    return UM_OK;
}

enum um_status um_run_step(struct um_progress *p, struct um_run *run, struct um_error *err)
{
    const struct um_course course = {&run->tuning, run->state.step, run->n_steps,
                                     run->optimizer_options.lr};
    UM_RETURN_IF(um_run_course_step(p, run, &course, err));
    run->state.step++;
    run->state.n_updates = run->tuning.n_updates;
    return UM_OK;
}

static double metric_value(const struct um_evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->n_metrics; i++)
        if (strcmp(e->metrics[i].name, name) == 0)
            return e->metrics[i].value;
    return (double)NAN;
}

bool um_run_report(const struct um_run *run, const struct um_progress *progress)
{
    return !run->callbacks.progress || run->callbacks.progress(progress, run->callbacks.user);
}

static bool is_due(int64_t every, int64_t step)
{
    return every > 0 && step % every == 0;
}

/* Whether the weights as they are now are to be evaluated, and have not been. */
static bool is_evaluation_due(const struct um_run *run)
{
    int64_t step = run->state.step;
    if (!run->eval.n_rows || run->state.evaluated_step == step)
        return false;
    if (step == 0)
        return run->config->eval.before;
    return is_due(run->config->eval.every, step) || step == run->n_steps;
}

/* Evaluates, logs, keeps the best. *goes_on: false if a callback stopped the run; the evaluation is
 * then still due if it was not finished. */
static enum um_status evaluate(bool *goes_on, struct um_run *run, struct um_error *err)
{
    struct um_evaluation e;
    struct um_run_state *s = &run->state;
    double start = um_seconds();
    enum um_status status = um_evaluator_run(&e, &run->evaluator, &run->callbacks, err);
    if (status == UM_E_INTERRUPTED)
        *goes_on = false;
    if (status != UM_OK)
        return *goes_on ? status : UM_OK;
    double value = metric_value(&e, run->best->name);
    struct um_progress p = {.step = s->step, .n_steps = run->n_steps, .loss = e.loss,
                            .split = "dev", .metric = run->best->name, .metric_value = value,
                            .epoch = (double)s->step / (double)run->steps_per_epoch,
                            .seconds = um_seconds() - start, .selection = "none"};
    UM_RETURN_IF(um_record_evaluation(run, &e, err));
    s->evaluated_step = s->step;
    if (s->step == 0) {
        s->metric_before = value;
    } else {
        s->metric_last = value;
        p.is_best = um_metric_is_better(run->best, value, s->metric_best);
        s->n_stale = p.is_best ? 0 : s->n_stale + 1;
        if (p.is_best) {
            s->metric_best = value;
            s->loss_best = e.loss;
            s->best_step = s->step;
            UM_RETURN_IF(um_record_delta(run, err));
        }
        int64_t patience = run->config->eval.patience;
        s->is_stopped = patience > 0 && s->n_stale >= patience;
    }
    *goes_on = um_run_report(run, &p);
    return UM_OK;
}

/* Whether steps or the last evaluation are still to come. */
static bool is_unfinished(const struct um_run *run)
{
    return run->state.step < run->n_steps || is_evaluation_due(run);
}

/* Seconds left, from the mean rate since this process began. */
static double seconds_left(const struct um_run *run, int64_t first)
{
    int64_t done = run->state.step - first;
    double each = (um_seconds() - run->opened_at) / (double)(done ? done : 1);
    return each * (double)(run->n_steps - run->state.step);
}

static enum um_status log_step(struct um_run *run, const struct um_progress *p,
                               struct um_error *err)
{
    UM_RETURN_IF(um_record_step(run, p, err));
    return um_history_put(run, err);
}

/* One turn: step, log, evaluation, checkpoint. The step that ends the run is logged in any case. */
static enum um_status turn(bool *goes_on, struct um_run *run, int64_t first, struct um_error *err)
{
    const struct um_config *c = run->config;
    struct um_progress p = {0};
    double start = um_seconds();
    UM_RETURN_IF(um_run_step(&p, run, err));
    int64_t step = run->state.step;
    bool is_last = step == run->n_steps;
    p.seconds_left = seconds_left(run, first);
    bool is_logged = is_due(c->train.log_every, step) || is_last;
    if (is_logged)
        UM_RETURN_IF(log_step(run, &p, err));
    *goes_on = um_run_report(run, &p);
    if (*goes_on && is_evaluation_due(run))
        UM_RETURN_IF(evaluate(goes_on, run, err));
    if (run->state.is_stopped && !is_last)
        UM_RETURN_IF(is_logged ? um_history_put(run, err) : log_step(run, &p, err));
    run->state.seconds += um_seconds() - start;
    if (is_due(c->checkpoint.every, step) || (!*goes_on && is_unfinished(run)) ||
        run->state.is_stopped)
        UM_RETURN_IF(um_checkpoint_save(run, err));
    return UM_OK;
}

/* The head that a model comes with goes on, if it has as many outputs as the data has classes. */
static void say_whose_head(struct um_run *run)
{
    const struct um_model *model = &run->tm.model;
    bool is_stored = false;
    for (int64_t p = 0; p < model->n_params; p++)
        is_stored |= model->params[p].is_task_head && !model->params[p].is_head &&
                     !model->params[p].is_added;
    if (is_stored && run->has_other_classes)
        um_say(&run->callbacks,
               "the model's own task head goes on, though it was of other classes");
}

static void say_what_trains(struct um_run *run)
{
    const struct um_tuning *t = &run->tuning;
    char whole[64] = "";
    if (t->set.n_whole && !t->options.strategy->is_whole)
        (void)snprintf(whole, sizeof(whole), ", %lld of them whole", (long long)t->set.n_whole);
    um_say(&run->callbacks, "%s: %lld of %lld parameters may change (%.4g %%%s), scope %lld",
           t->options.method->name,
           (long long)t->budget, (long long)um_model_n_elements(&run->tm.model, true),
           100.0 * (double)t->budget / (double)t->n_base, whole, (long long)t->n_scope);
    say_whose_head(run);
    um_say(&run->callbacks, "%lld steps of %lld rows; %d threads, %s", (long long)run->n_steps,
           (long long)(run->config->train.batch * run->config->train.accumulate), um_threads(),
           um_cpu_level_name(um_kernels()->level));
    um_say_cut(&run->train_tokens, &run->train, "rows", run->tm.max_length, &run->callbacks);
    um_evaluator_say_cut(&run->evaluator, &run->callbacks);
}

enum um_status um_run_train(struct um_summary *summary, struct um_run *run, struct um_error *err)
{
    bool goes_on = true;
    int64_t first = run->state.step;
    if (run->is_plan)
        return um_fail(err, UM_E_USAGE, "a run that was opened to be planned cannot train");
    UM_RETURN_IF(um_run_open_memory(run, err)); /* before there is a run folder */
    UM_RETURN_IF(um_record_begin(run, err));
    say_what_trains(run);
    double start = um_seconds();
    UM_RETURN_IF(um_run_calibrate(&goes_on, run, err));
    run->state.seconds += um_seconds() - start;
    if (goes_on && is_evaluation_due(run)) /* before the first step, or one that was interrupted */
        UM_RETURN_IF(evaluate(&goes_on, run, err));
    if (run->state.is_stopped) /* by the evaluation that had been interrupted */
        UM_RETURN_IF(um_history_put(run, err));
    if (!goes_on || run->state.is_stopped)
        UM_RETURN_IF(um_checkpoint_save(run, err));
    run->opened_at = um_seconds();
    while (goes_on && run->state.step < run->n_steps && !run->state.is_stopped)
        UM_RETURN_IF(turn(&goes_on, run, first, err));
    if (!goes_on && is_unfinished(run))
        return um_fail(err, UM_E_INTERRUPTED, "stopped at step %lld of %lld",
                       (long long)run->state.step, (long long)run->n_steps);
    if (isnan(run->state.metric_best)) /* no evaluation has kept a best one */
        UM_RETURN_IF(um_record_delta(run, err));
    return um_record_summary(summary, run, err);
}
