/*
 * Methods: which parameters train. A named method is a row of one table that composes an
 * importance, a strategy and (for incremental strategies) a schedule; the scope is the run's.
 *
 * A tuning is a method at work on a model's parameters. Per optimizer step: begin, a backward pass
 * for each micro-batch with the tuning's sink, end (which leaves the gradients of the trainable set
 * in its gradient column, newly unmasked elements included), then the optimizer's step.
 */
#ifndef UM_METHOD_METHOD_H
#define UM_METHOD_METHOD_H

#include "method/adalora.h"
#include "method/held.h"

struct um_schedule {
    const char *name, *summary;
    double (*share)(double x);
};
extern const struct um_schedule *const um_schedules[];
extern const size_t um_n_schedules;
const struct um_schedule *um_schedule_find(const char *name);
/* U_t = round(budget * F((t + 1) / (n_steps * until))): unmasked in all after step t. */
int64_t um_schedule_total(const struct um_schedule *schedule, int64_t budget, int64_t step,
                          int64_t n_steps, double until);

extern const struct um_importance *const um_importances[];
extern const size_t um_n_importances;
const struct um_importance *um_importance_find(const char *name);

enum um_strategy {
    UM_STRATEGY_ALL,       /* everything in scope is whole: full fine-tuning */
    UM_STRATEGY_INCREMENT, /* more at every step, chosen by that step's gradient: ID3 */
};

struct um_method {
    const char *name, *summary;
    enum um_strategy strategy;
    const char *importance; /* its default; NULL if the strategy uses none */
    const char *addition;   /* what it puts beside the model (model/addition.h); NULL = as asked */
};
extern const struct um_method *const um_methods[];
extern const size_t um_n_methods;
const struct um_method *um_method_find(const char *name);

struct um_patterns {
    char *const *items;
    size_t n;
};

struct um_tuning_options {
    const struct um_method *method;
    const struct um_schedule *schedule;
    struct um_select_options select;
    const char *budget;       /* as a recipe says it */
    double until;
    int64_t every;            /* steps from one selection to the next */
    int64_t n_micro;          /* micro-batches per step at most */
    struct um_patterns include, exclude, whole;
    struct um_adalora_options adalora;
    bool has_column[UM_N_COLUMNS]; /* the optimizer's state */
    bool is_plan;             /* scope and budget only, no state: um_tuning_bytes is all it is for */
};

struct um_tuning {
    const struct um_method *method;
    struct um_tuning_options options;
    struct um_trainable set;
    struct um_selector *selector;   /* NULL if the strategy selects nothing */
    struct um_gradient_work work;
    struct um_held held;            /* of the vocabulary head, in this step */
    int64_t budget;                 /* all, whole ones included */
    int64_t n_scope, n_base;        /* parameters in scope; of the base model */
    struct um_adalora adalora;      /* no pairs: the model is not in its form */
    double penalty;                 /* of this step, to be added to its loss */
    int64_t n_steps;
    float **accumulated;            /* per parameter: gradient over micro-batches, if n_micro > 1 */
    struct um_arena sums;           /* of those */
    int64_t step, micro;            /* being worked on */
    bool is_last_micro;
    bool is_selecting;              /* in this step */
    struct um_select_stats stats;   /* of this step */
    int64_t n_updates;              /* parameter updates so far */
    enum um_status status;          /* of what the sink did; reported by end */
    struct um_error fault;
};

/* A budget as a number of parameters: "320000", "0.17%" (of n_base), "2MB" (bytes of delta: 12 for
 * a sparse value, 4 for a whole one). UM_E_USAGE if it is none of these, or zero. */
enum um_status um_budget_parse(int64_t *budget, const char *text, int64_t n_base, int64_t n_whole,
                               struct um_error *err);

/* Opens a tuning over all params[0..n) of a model: works out the scope (marks wants_grad), what is
 * whole and the budget. UM_E_USAGE: patterns that match nothing (names the nearest), a budget over
 * the scope or under the whole parameters. Close with um_tuning_close. */
enum um_status um_tuning_open(struct um_tuning *tuning, struct um_param *params, int64_t n_params,
                              const struct um_tuning_options *options, struct um_error *err);
void um_tuning_close(struct um_tuning *tuning);

/* Elements that the next selection of a schedule adds at most. */
int64_t um_tuning_most_wanted(const struct um_tuning *tuning, int64_t n_steps);

/* What bytes depend on beside the tuning itself. */
struct um_tuning_load {
    int64_t n_steps, n_micro;
    int64_t n_tokens;      /* of a micro-batch at most */
    int64_t n_step_tokens; /* of a step at most */
    const struct um_param *words, *head; /* a decoder's table of words in scope, and its vocabulary
                                            head, which may be the same; NULL: none */
};
/* need.c: bytes of state (the budget used up), sums over micro-batches and scratch, at the most that
 * a run will have of them at a time. Nothing of it needs to be there yet. */
int64_t um_tuning_bytes(const struct um_tuning *tuning, const struct um_tuning_load *load);
/* Of those, what is there since the tuning was opened. */
int64_t um_tuning_opened_bytes(const struct um_tuning *tuning);

enum um_status um_tuning_begin(struct um_tuning *tuning, int64_t step, int64_t n_steps,
                               struct um_error *err);
/* Before each backward pass: which micro-batch of the step, and whether it is the last. */
void um_tuning_micro(struct um_tuning *tuning, int64_t micro, bool is_last);
struct um_sink um_tuning_sink(struct um_tuning *tuning);
enum um_status um_tuning_end(struct um_tuning *tuning, struct um_error *err);
/* After the optimizer's step, which multiplied gradients by g_scale. */
void um_tuning_updated(struct um_tuning *tuning, double g_scale);

#endif
