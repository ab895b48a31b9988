/* A comparison: the grid of cells, what each came to, and how it is written down. */
#ifndef UM_TRAIN_COMPARE_PRIVATE_H
#define UM_TRAIN_COMPARE_PRIVATE_H

#include "metric/metric.h"
#include "train/run.h"

enum { UM_SEEDS_MAX = 1000 };

/* What a finished run came to, from its summary.json. */
struct um_outcome {
    const struct um_metric *metric; /* NULL: not finished */
    double value, loss;             /* on the evaluation data; NaN: it diverged */
    double updates, seconds, peak_mib;
    int64_t n_changed, delta_bytes;
};

/* A method with its settings, on a task, with a budget: one row of the table. */
struct um_contender {
    const char *task, *variant, *budget; /* budget "": the method has none */
    const struct um_contender *reference;     /* what it is compared with; NULL: itself */
    double rate;                         /* learning rate; 0: not chosen yet */
    struct um_outcome *outcomes;         /* by seed */
    int64_t n_done;                      /* seeds that are finished, from the first on */
};

struct um_comparison {
    const struct um_recipe *recipe;
    const struct um_compare_options *options;
    const struct um_callbacks *callbacks;
    struct um_contender *cells;
    size_t n_cells;
    int64_t n_trained, n_busy; /* runs of this walk over the grid: by this process, left to others */
    bool waits;                /* for the next run that another process has */
};

/* compare_table.c: writes OUT/table.md, table.csv and table.json of what is done so far. */
enum um_status um_comparison_write(const struct um_comparison *comparison, struct um_error *err);

#endif
