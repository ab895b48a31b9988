/* A comparison: the grid of cells, what each came to, and how it is written down. */
#ifndef UM_TRAIN_COMPARE_PRIVATE_H
#define UM_TRAIN_COMPARE_PRIVATE_H

#include "metric/metric.h"
#include "train/run.h"

enum { UM_SEEDS_MAX = 1000 };

/* What a finished run came to, from its summary.json. */
struct um_outcome {
    const struct um_metric *metric; /* NULL: not finished */
    bool has_diverged;              /* then nothing else is there */
    double value, loss;             /* of the weights that were kept, on the evaluation data */
    double updates, seconds, peak_mib;
    int64_t n_changed, delta_bytes;
};

/* A method with settings of its own. */
struct um_variant {
    const char *text;         /* "NAME:key=value:..." */
    struct um_recipe *recipe; /* owned: the comparison's with those settings */
};

/* A method with its settings, on a task, with a budget: one row of the table. */
struct um_contender {
    const char *task, *budget;           /* budget "": the method has none, or the recipe's */
    const char *told_budget;             /* the recipe's, too; "": the method has none */
    const struct um_variant *variant;
    const struct um_contender *reference;     /* what it is compared with; NULL: itself */
    double own_rate;                     /* learning rate that its run begins with by itself */
    double rate;                         /* the one it gets; 0: not chosen yet */
    struct um_outcome *outcomes;         /* by seed */
    int64_t n_done;                      /* seeds that are finished, from the first on */
};

/* One training of it. */
struct um_attempt {
    double rate;
    int64_t seed;
    bool is_trial;
};

struct um_comparison {
    const struct um_recipe *recipe;
    const struct um_compare_options *options;
    const struct um_callbacks *callbacks;
    struct um_variant *variants; /* as many as the options'; owned */
    struct um_contender *cells;
    size_t n_cells;
    int64_t n_trained,
        n_busy; /* runs of this walk over the grid: by this process, left to others */
    bool waits;                /* for the next run that another process has */
};

/* compare_run.c. Makes a variant's recipe. UM_E_USAGE: unknown methods, keys, values, and keys that
 * are the comparison's to set. */
enum um_status um_comparison_resolve(struct um_variant *variant, const struct um_recipe *recipe,
                                     struct um_error *err);
/* Works out its own_rate. */
enum um_status um_comparison_settle(struct um_contender *cell,
                                    const struct um_comparison *comparison, struct um_error *err);
/* Whether the variant itself sets `key`. */
bool um_comparison_sets(const struct um_variant *variant, const char *key);
/* Opens what has not begun yet, and does no more: fails as its training would. */
enum um_status um_comparison_check(struct um_comparison *comparison,
                                   const struct um_contender *cell,
                                   const struct um_attempt *attempt, struct um_error *err);
/* What an attempt came to, trained if need be. No metric: another process is at it. */
enum um_status um_comparison_run(struct um_outcome *outcome, struct um_comparison *comparison,
                                 const struct um_contender *cell, const struct um_attempt *attempt,
                                 struct um_error *err);

/* compare_table.c: writes OUT/table.md, table.csv and table.json of what is done so far. */
enum um_status um_comparison_write(const struct um_comparison *comparison, struct um_error *err);

#endif
