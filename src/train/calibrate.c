/*
 * What comes before the first step of a static choice: passes over training rows that gather their
 * gradients, or a trial of full fine-tuning that is undone. Rows are those of the first epoch, in
 * its order. Gathering is without dropout. Interrupted, it starts anew when the run is resumed.
 */
#include <math.h>
#include <string.h>

#include "method/calibration.h"
#include "train/run.h"

static bool is_going_on(struct um_run *run, const char *phase, int64_t done, int64_t n)
{
    const struct um_progress p = {.phase = phase, .step = done, .n_steps = n, .selection = "none"};
    return um_run_report(run, &p);
}

/* ---- gradients */

/* A pass over rows; their losses are divided by n_losses. */
static enum um_status pass(struct um_run *run, const int64_t *rows, int64_t n, int64_t n_losses,
                           struct um_sink sink, struct um_error *err)
{
    double loss = 0;
    UM_RETURN_IF(um_run_batch(run, rows, n, err));
    return um_engine_train(&loss, &run->tm.engine, &run->tm.batch, n_losses, 0, sink, err);
}

/* The losses of the first n_rows rows of the epoch. */
static int64_t count_losses(struct um_run *run, int64_t n_rows)
{
    int64_t n_losses = 0;
    for (int64_t b = 0, done = 0, n; done < n_rows; b++, done += n) {
        const int64_t *rows = um_batches_rows(&n, &run->batches, 0, b);
        for (int64_t i = 0; i < n && done + i < n_rows; i++)
            n_losses += run->train_tokens.weights[rows[i]];
    }
    return n_losses;
}

/* Passes over n_rows rows: batches, or one by one where each row's own gradient is wanted. */
static enum um_status gather(bool *goes_on, struct um_run *run, struct um_calibration *c,
                             int64_t n_rows, struct um_error *err)
{
    int64_t n_losses = c->is_squared ? 1 : count_losses(run, n_rows), n;
    if (c->is_squared) {
        const int64_t *rows = um_batches_rows(&n, &run->batches, 0, 0);
        UM_RETURN_IF(pass(run, rows, 1, 1, um_calibration_count(c), err));
        UM_RETURN_IF(um_calibration_counted(c, err));
    }
    for (int64_t b = 0, done = 0; *goes_on && done < n_rows; b++) {
        const int64_t *rows = um_batches_rows(&n, &run->batches, 0, b);
        n = n < n_rows - done ? n : n_rows - done;
        int64_t at_once = c->is_squared ? 1 : n;
        for (int64_t i = 0; i < n; i += at_once) {
            UM_RETURN_IF(pass(run, rows + i, at_once, n_losses, um_calibration_sink(c), err));
            UM_RETURN_IF(um_calibration_end(c, err));
        }
        done += n;
        *goes_on = is_going_on(run, "calibration", done, n_rows);
    }
    return UM_OK;
}

static enum um_status gather_evenly(bool *goes_on, struct um_run *run, struct um_calibration *c,
                                    struct um_error *err)
{
    int64_t n_rows = run->train_tokens.n_rows, n_samples = run->tuning.options.samples;
    run->tm.engine.is_without_dropout = true;
    enum um_status status = gather(goes_on, run, c, n_samples < n_rows ? n_samples : n_rows, err);
    run->tm.engine.is_without_dropout = false;
    return status;
}

/* ---- movement */

/* Everything in scope of the run's tuning trains whole; AdaLoRA's ranks stay, as they do in the
 * run. */
static enum um_status open_trial(struct um_tuning *trial, struct um_run *run, struct um_error *err)
{
    struct um_tuning_options options = run->tuning.options;
    options.strategy = um_strategy_find("whole");
    options.adalora.keeps_ranks = true;
    return um_tuning_open(trial, run->tm.model.params, run->tm.model.n_params, &options, err);
}

static enum um_status do_steps(bool *goes_on, struct um_run *run, struct um_tuning *trial,
                               struct um_error *err)
{
    int64_t n_steps = (int64_t)ceil(run->config->method.trial * (double)run->n_steps);
    for (int64_t step = 0; *goes_on && step < n_steps; step++) {
        const struct um_course course = {trial, step, n_steps, run->config->method.trial_lr};
        struct um_progress p = {0};
        UM_RETURN_IF(um_run_course_step(&p, run, &course, err));
        *goes_on = is_going_on(run, "trial", step + 1, n_steps);
    }
    return UM_OK;
}

/* Copies of the scope's values: of what is chosen from into the calibration, of what trains whole
 * into `whole` (per parameter, owned). */
static enum um_status copy_values(float **whole, struct um_calibration *c,
                                  const struct um_trainable *set, struct um_error *err)
{
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_param *param = set->entries[e].param;
        float *copy = c->dense[param->index];
        if (!copy)
            copy = whole[param->index] = UM_NEW(param->n_elements, float);
        if (!copy)
            return um_fail_memory(err, param->name, (size_t)param->n_elements * sizeof(float));
        memcpy(copy, param->values, (size_t)param->n_elements * sizeof(float));
    }
    return UM_OK;
}

/* Puts the values back; what was a copy becomes how far each had moved. */
static void rewind_values(float **whole, struct um_calibration *c, const struct um_trainable *set)
{
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_param *param = set->entries[e].param;
        float *copy = c->dense[param->index] ? c->dense[param->index] : whole[param->index];
        for (int64_t i = 0; copy && i < param->n_elements; i++) {
            float moved = param->values[i] - copy[i];
            param->values[i] = copy[i];
            copy[i] = moved;
        }
    }
}

/* Parameters that are not stored as fp32 go back to what is stored. */
static void let_go(const struct um_trainable *set)
{
    for (size_t e = 0; e < set->n_entries; e++)
        if (set->entries[e].param->dtype != UM_F32 && !set->entries[e].is_whole)
            set->entries[e].param->values = NULL;
}

static enum um_status try_all(bool *goes_on, struct um_run *run, struct um_calibration *c,
                              struct um_error *err)
{
    struct um_tuning trial = {0};
    float **whole = UM_NEW(run->tm.model.n_params, float *);
    enum um_status status;
    if (!whole)
        UM_TRY(um_fail_memory(err, "a trial", (size_t)run->tm.model.n_params * sizeof(float *)));
    UM_TRY(open_trial(&trial, run, err));
    status = copy_values(whole, c, &trial.set, err);
    if (status == UM_OK) {
        status = do_steps(goes_on, run, &trial, err);
        if (status == UM_E_DIVERGED)
            um_error_hint(err, "a lower method.trial_lr may help");
        rewind_values(whole, c, &trial.set);
    }
    run->tuning.n_updates += trial.n_updates;
out:
    let_go(&run->tuning.set);
    for (int64_t p = 0; whole && p < run->tm.model.n_params; p++)
        um_free(whole[p]);
    um_free(whole);
    um_tuning_close(&trial);
    return status;
}

enum um_status um_run_calibrate(bool *goes_on, struct um_run *run, struct um_error *err)
{
    struct um_calibration c;
    enum um_status status;
    *goes_on = true;
    if (run->state.step > 0 || !um_tuning_is_calibrated(&run->tuning))
        return UM_OK;
    bool is_trial = run->tuning.options.select.importance->source == UM_SOURCE_MOVEMENT;
    UM_TRY(um_calibration_open(&c, &run->tuning, err));
    UM_TRY((is_trial ? try_all : gather_evenly)(goes_on, run, &c, err));
    if (*goes_on)
        UM_TRY(um_calibration_choose(&c, run->n_steps, err));
    else
        run->tuning.n_updates = 0;
    run->state.n_updates = run->tuning.n_updates;
out:
    um_calibration_close(&c);
    return status;
}
