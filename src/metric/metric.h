/*
 * What tasks are scored by: a family of const descriptors. Equal to scikit-learn, scipy and seqeval
 * to 1e-9 (tests/metric).
 */
#ifndef UM_METRIC_METRIC_H
#define UM_METRIC_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Predictions and truth for n rows: classes for classification, values for regression. */
struct um_scored_rows {
    int64_t n, n_classes;
    const int64_t *predicted, *label;  /* NULL for regression */
    const double *value, *target;      /* NULL for classification */
    double loss;                       /* mean over what is predicted */
    /* Where rows are the words of texts: text t has rows starts[t] .. starts[t + 1] - 1. */
    const int64_t *starts;
    int64_t n_texts;
    char *const *names; /* of the classes, such as B-PER */
};

struct um_metric {
    const char *name, *summary;
    bool is_for_regression;
    bool is_error;             /* less is better */
    /* NaN where the metric is not defined (a constant column has no correlation). */
    enum um_status (*compute)(double *out, const struct um_scored_rows *rows,
                              struct um_error *err);
};

extern const struct um_metric um_metrics[];
extern const size_t um_n_metrics;
const struct um_metric *um_metric_find(const char *name);
/* Whether one value is better than another; any is better than NaN, NaN included. */
bool um_metric_is_better(const struct um_metric *metric, double value, double than);

#endif
