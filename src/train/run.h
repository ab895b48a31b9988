/*
 * A run: everything a recipe names, opened; its progress; and the parts of its life, one file each:
 * run.c (opening), plan.c (what it will need), forecast.c (without data), calibrate.c (what a
 * static choice takes before the first step), loop.c (steps and evaluations), checkpoint.c (save,
 * resume), digest.c (what it stands on), record.c (the run folder: log, delta, verified summary),
 * history.c (unmasked.jsonl), example.c (a training row as it is learnt), idle.c (settings without
 * effect).
 */
#ifndef UM_TRAIN_RUN_H
#define UM_TRAIN_RUN_H

#include <stdio.h>

#include "delta/delta.h"
#include "method/method.h"
#include "model/addition.h"
#include "optim/optimizer.h"
#include "train/evaluator.h"
#include "train/log.h"
#include "train/recipe.h"

/* What the weights in the delta come to, counted against the base when it was written. */
struct um_kept {
    int64_t n_changed, n_broken; /* bits differ; and were not allowed to */
    int64_t n_unmasked, n_touched;
};

/* What a checkpoint holds beside the trainable set's columns: plain numbers. */
struct um_run_state {
    int64_t step;               /* optimizer steps done */
    double seconds;             /* of training so far */
    double metric_before, metric_best, metric_last, loss_best; /* NaN: not evaluated */
    int64_t best_step, n_stale; /* evaluations since the best */
    int64_t evaluated_step;     /* of the last evaluation; -1: none yet */
    int64_t n_updates;
    bool is_stopped;            /* early */
    struct um_kept kept;
};

struct um_run {
    struct um_recipe *recipe;   /* owned copy */
    const struct um_config *config;
    struct um_callbacks callbacks;
    const struct um_task *task;
    const struct um_metric *best;   /* metric that picks the best evaluation */
    struct um_task_model tm;
    struct um_dataset train, eval;
    struct um_encoded train_tokens;
    struct um_evaluator evaluator;  /* of eval; not opened if it has no rows */
    struct um_batches batches;
    struct um_tuning tuning;
    const struct um_optimizer *optimizer;
    struct um_optimizer_options optimizer_options;
    const struct um_lr_schedule *lr_schedule;
    int64_t steps_per_epoch, n_steps;
    int64_t resident_before;        /* bytes, before anything was computed */
    struct um_run_state state;
    /* Of the training rows, of the base model; "" until they are needed. */
    char data_digest[UM_SHA256_TEXT], base_digest[UM_SHA256_TEXT];
    FILE *lock;                     /* held while this process works on the run */
    struct um_log log, history;     /* metrics.jsonl; unmasked.jsonl */
    int64_t *n_known;               /* values of each entry that the history has told of */
    double opened_at;               /* um_seconds() when training (re)started */
    struct um_profile *profile;     /* NULL = not measured (borrows) */
    bool has_other_classes;         /* by name, than the model to start from had */
    bool is_in_memory;              /* writes nothing: for bench */
    bool is_resumed;                /* of a folder that holds a run */
    bool is_loaded;                 /* from a checkpoint of it */
    bool is_plan;                   /* opened without data: a plan is all it is for */
};

/* RUN/NAME; NULL = no memory. Owned. */
char *um_run_path(const struct um_run *run, const char *name);

/* idle.c: tells which settings that `recipe` asks for have no effect on the run. */
void um_run_say_idle(const struct um_run *run, const struct um_recipe *recipe);

/* run.c: the parts of opening that a run without data shares. */
enum um_status um_run_attach(struct um_run *run, struct um_error *err); /* what the method adds */
enum um_status um_run_open_method(struct um_run *run, struct um_error *err);
void um_run_work_out_steps(struct um_run *run);

/* plan.c: makes the activations' memory, if the machine has what the run needs. */
enum um_status um_run_open_memory(struct um_run *run, struct um_error *err);
/* forecast.c: for a run without data, a batch of its greatest size. */
enum um_status um_run_plan_batch(struct um_run *run, struct um_error *err);

/* The rows of micro-batch m of a step; and its number of micro-batches, with how many losses they
 * have in all (rows, or learnt tokens). */
const int64_t *um_run_rows(int64_t *n, struct um_run *run, int64_t step, int64_t micro);
int64_t um_run_step_shape(int64_t *n_losses, struct um_run *run, int64_t step);
/* Lays rows of the training data out as the next batch. */
enum um_status um_run_batch(struct um_run *run, const int64_t *rows, int64_t n,
                            struct um_error *err);

/* Warm-up steps of a course of n_steps. */
int64_t um_run_warmup(const struct um_run *run, int64_t n_steps);

/* A course of training: the run's own, or a trial before it. */
struct um_course {
    struct um_tuning *tuning;
    int64_t step, n_steps; /* the step to do, from 0, of how many */
    double lr;             /* at its peak */
};

/* loop.c: one optimizer step of a course, and the run's next. Fills loss, norm and lr of
 * `progress`. */
enum um_status um_run_course_step(struct um_progress *progress, struct um_run *run,
                                  const struct um_course *course, struct um_error *err);
enum um_status um_run_step(struct um_progress *progress, struct um_run *run, struct um_error *err);

/* UM_E_DIVERGED if what trains is not finite: it must not take the place of what was kept
 * before. */
enum um_status um_run_check_values(const struct um_run *run, struct um_error *err);

/* Whether the run is to go on, by its callback. */
bool um_run_report(const struct um_run *run, const struct um_progress *progress);

/* calibrate.c: before the first step, chooses what is chosen by more than a step's gradient.
 * *goes_on: false if the callback stopped it; nothing is chosen then. */
enum um_status um_run_calibrate(bool *goes_on, struct um_run *run, struct um_error *err);

/* digest.c: SHA-256 of what the run trains on, and of the base that it changes, worked out once. */
const char *um_run_data_digest(struct um_run *run);
enum um_status um_run_base_digest(const char **digest, struct um_run *run, struct um_error *err);

/* run.c: goes on with the unfinished run in the recipe's `out`, by this recipe: the one that it
 * began with, but for what makes no difference (threads). */
enum um_status um_run_resume_by(struct um_run **run, const struct um_recipe *recipe,
                                const struct um_callbacks *callbacks, struct um_error *err);

/* checkpoint.c */
enum um_status um_checkpoint_save(struct um_run *run, struct um_error *err);
enum um_status um_checkpoint_load_newest(struct um_run *run, struct um_error *err);

/* record.c */
enum um_status um_record_begin(struct um_run *run, struct um_error *err);
enum um_status um_record_step(struct um_run *run, const struct um_progress *progress,
                              struct um_error *err);
enum um_status um_record_evaluation(struct um_run *run, const struct um_evaluation *evaluation,
                                    struct um_error *err);
enum um_status um_record_delta(struct um_run *run, struct um_error *err);
enum um_status um_record_summary(struct um_summary *summary, struct um_run *run,
                                 struct um_error *err);

/* history.c: unmasked.jsonl */
enum um_status um_history_open(struct um_run *run, struct um_error *err);
enum um_status um_history_put(struct um_run *run, struct um_error *err);
void um_history_close(struct um_run *run);

#endif
