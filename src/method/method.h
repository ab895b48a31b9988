/*
 * Methods: which parameters train. Selective tuning is importance x strategy x schedule x region of
 * the model, four small families; a named method is a row of one table that names one of each.
 *
 * A tuning is a method at work on a model's parameters. Before the first step a static choice may
 * be calibrated (method/calibration.h). Per optimizer step: begin, a backward pass for each
 * micro-batch with the tuning's sink, end (which leaves the gradients of the trainable set in its
 * gradient column, newly unmasked elements included), then the optimizer's step.
 *
 * What the budget B bounds: the elements that train at any one time, whole ones included; and for
 * every strategy but `repeat` with kept values also those that ever changed.
 */
#ifndef UM_METHOD_METHOD_H
#define UM_METHOD_METHOD_H

#include "method/adalora.h"
#include "method/held.h"

struct um_schedule {
    const char *name, *summary;
    double (*share)(double x);
};
extern const struct um_schedule um_schedules[];
extern const size_t um_n_schedules;
const struct um_schedule *um_schedule_find(const char *name);
/* U_t = round(budget * F((t + 1) / (n_steps * until))): unmasked in all after step t. */
int64_t um_schedule_total(const struct um_schedule *schedule, int64_t budget, int64_t step,
                          int64_t n_steps, double until);

extern const struct um_importance um_importances[];
extern const size_t um_n_importances;
const struct um_importance *um_importance_find(const char *name);

/* When a method chooses. */
struct um_strategy {
    const char *name, *summary;
    const char *schedule; /* its default; NULL if it knows none */
    int64_t every;        /* steps from one choice to the next, by default; 0: it knows none */
    bool is_whole;        /* all in scope trains from the first step, nothing is chosen */
    bool is_fresh;        /* each choice is of everything: members that lose leave the set */
    bool chooses_once;    /* before or at the first step */
};
extern const struct um_strategy um_strategies[];
extern const size_t um_n_strategies;
const struct um_strategy *um_strategy_find(const char *name);

/* What of the model a method is about; scope.include and scope.exclude narrow it further. */
struct um_region_context {
    int n_layers, n_top; /* the model's layers; how many of the top ones */
    bool has_task_head;
};
struct um_region {
    const char *name, *summary;
    bool (*has)(const struct um_param *param, const struct um_region_context *context);
    bool counts_layers; /* takes notice of the context's n_top */
};
extern const struct um_region um_regions[];
extern const size_t um_n_regions;
const struct um_region *um_region_find(const char *name);

/* A named method: one of each family, by name, and what else it sets. */
struct um_method {
    const char *name, *summary;
    double rate;            /* peak learning rate of a small share of the model (um_method_rate) */
    const char *strategy;
    const char *importance; /* NULL if the strategy chooses nothing */
    const char *region;     /* NULL: all */
    int64_t samples;        /* rows that a static choice is calibrated on; 0: the first step's */
    const char *addition;   /* what it puts beside the model (model/addition.h); NULL = as asked */
};
extern const struct um_method um_methods[];
extern const size_t um_n_methods;
const struct um_method *um_method_find(const char *name);
/* The peak learning rate to begin with where none is given and `share` of the model may change. */
double um_method_rate(const struct um_method *method, double share);

struct um_patterns {
    char *const *items;
    size_t n;
};

struct um_tuning_options {
    const struct um_method *method;
    const struct um_strategy *strategy; /* NULL here and below: the method's own */
    const struct um_schedule *schedule;
    const struct um_region *region;
    struct um_select_options select; /* importance NULL: the method's own */
    const char *budget;              /* as a recipe says it */
    double until;
    int64_t every;      /* steps from one selection to the next; below 1: the method's own */
    int64_t samples;    /* rows of calibration; negative: the method's own */
    int64_t n_top;      /* layers of region `top-layers`; 0: 1 */
    bool is_per_matrix; /* rankings of each tensor, its size its share of the budget */
    bool keeps_dropped; /* elements that leave the set keep their values */
    int64_t n_micro;    /* micro-batches per step at most */
    struct um_patterns include, exclude, whole;
    struct um_adalora_options adalora;
    bool has_column[UM_N_COLUMNS]; /* the optimizer's state */
    bool is_plan; /* scope and budget only, no state: um_tuning_bytes is all it is for */
};

/* Puts the method's own in place of what is left open. UM_E_USAGE: families that do not go
 * together. */
enum um_status um_tuning_options_resolve(struct um_tuning_options *options, struct um_error *err);

struct um_tuning {
    struct um_tuning_options options; /* resolved */
    struct um_trainable set;
    struct um_selector *selector; /* NULL if the strategy selects nothing (any more) */
    struct um_gradient_work work;
    struct um_held held;     /* of the vocabulary head, in this step */
    int64_t budget;          /* all, whole ones included */
    int64_t n_scope, n_base; /* parameters in scope; of the base model */
    int64_t *quotas;         /* per entry, of this selection; NULL: one ranking of all */
    float **accumulated;     /* per parameter: gradient over micro-batches, while selecting */
    int64_t n_params;
    struct um_adalora adalora; /* no pairs: the model is not in its form */
    double penalty;            /* of this step, to be added to its loss */
    int64_t n_steps;
    int64_t step, micro; /* being worked on */
    bool is_last_micro;
    bool is_selecting;            /* by the gradients of this step */
    struct um_select_stats stats; /* of this step */
    int64_t n_updates;            /* parameter updates so far */
    enum um_status status;        /* of what the sink did; reported by end */
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
/* need.c: bytes of state (the budget used up), sums over micro-batches and scratch, at the most
 * that a run will have of them at a time. Nothing of it needs to be there yet. */
int64_t um_tuning_bytes(const struct um_tuning *tuning, const struct um_tuning_load *load);
/* Of those, what is there since the tuning was opened. */
int64_t um_tuning_opened_bytes(const struct um_tuning *tuning);

/* Whether there is something to do before the first step: method/calibration.h. */
bool um_tuning_is_calibrated(const struct um_tuning *tuning);
/* Whether steps select by their gradients, now or later. */
bool um_tuning_selects_by_steps(const struct um_tuning *tuning);

enum um_status um_tuning_begin(struct um_tuning *tuning, int64_t step, int64_t n_steps,
                               struct um_error *err);
/* Before each backward pass: which micro-batch of the step, and whether it is the last. */
void um_tuning_micro(struct um_tuning *tuning, int64_t micro, bool is_last);
struct um_sink um_tuning_sink(struct um_tuning *tuning);
enum um_status um_tuning_end(struct um_tuning *tuning, struct um_error *err);
/* After the optimizer's step, which multiplied gradients by g_scale. */
void um_tuning_updated(struct um_tuning *tuning, double g_scale);

/* The selection that is due at a step: how many, by which quotas (in tuning->quotas). */
struct um_selection um_tuning_selection(struct um_tuning *tuning, int64_t step, int64_t n_steps);
/* Ends a selection, of a selector over the tuning's set, and brings its picks into the set. */
enum um_status um_tuning_take(struct um_tuning *tuning, struct um_selector *selector,
                              struct um_error *err);

#endif
