/* Metrics of classification and regression. */
#include "metric/entities.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static enum um_status accuracy(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    (void)err;
    int64_t right = 0;
    for (int64_t i = 0; i < r->n; i++)
        right += r->predicted[i] == r->label[i];
    *out = r->n ? (double)right / (double)r->n : (double)NAN;
    return UM_OK;
}

/* 2 tp / (2 tp + fp + fn) of one class; 0 if nothing of it was there or predicted. */
static double f1_of(const struct um_scored_rows *r, int64_t class)
{
    int64_t both = 0, either = 0;
    for (int64_t i = 0; i < r->n; i++) {
        bool is_predicted = r->predicted[i] == class, is_true = r->label[i] == class;
        both += is_predicted && is_true;
        either += is_predicted + is_true;
    }
    return either ? 2.0 * (double)both / (double)either : 0;
}

static enum um_status f1(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    (void)err;
    *out = f1_of(r, 1);
    return UM_OK;
}

/* The mean over the classes that were there or predicted, as scikit-learn's average="macro". */
static enum um_status macro_f1(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    (void)err;
    double sum = 0;
    int64_t n = 0;
    for (int64_t c = 0; c < r->n_classes; c++) {
        bool is_there = false;
        for (int64_t i = 0; i < r->n && !is_there; i++)
            is_there = r->label[i] == c || r->predicted[i] == c;
        if (is_there) {
            sum += f1_of(r, c);
            n++;
        }
    }
    *out = n ? sum / (double)n : 0;
    return UM_OK;
}

/* Matthews' correlation for any number of classes (Gorodkin 2004): the covariance of the one-hot
 * columns over the root of the variances; 0 where a variance is 0. */
static enum um_status matthews(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    size_t k = (size_t)r->n_classes;
    double *counts = um_calloc(2 * k, sizeof(*counts)), right = 0, n = (double)r->n;
    if (!counts)
        return um_fail_memory(err, "Matthews' correlation", 2 * k * sizeof(*counts));
    for (int64_t i = 0; i < r->n; i++) {
        counts[r->predicted[i]]++;
        counts[k + (size_t)r->label[i]]++;
        right += r->predicted[i] == r->label[i];
    }
    double cross = 0, predicted = 0, label = 0;
    for (size_t c = 0; c < k; c++) {
        cross += counts[c] * counts[k + c];
        predicted += counts[c] * counts[c];
        label += counts[k + c] * counts[k + c];
    }
    um_free(counts);
    double scale = (n * n - predicted) * (n * n - label);
    *out = scale > 0 ? (right * n - cross) / sqrt(scale) : 0;
    return UM_OK;
}

/* Takes the mean off; false if that leaves nothing: all values equal, or one that is no number. A
 * second pass takes off what rounding left of the mean. */
static bool centre(double *out, const double *values, int64_t n)
{
    bool is_constant = true;
    for (int64_t i = 0; i < n; i++) {
        out[i] = values[i];
        is_constant &= values[i] == values[0];
    }
    for (int pass = 0; pass < 2; pass++) {
        double mean = 0;
        for (int64_t i = 0; i < n; i++)
            mean += out[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            out[i] -= mean;
    }
    return !is_constant && isfinite(out[0]);
}

static enum um_status correlation(double *out, const double *x, const double *y, int64_t n,
                                  struct um_error *err)
{
    double *dx = UM_NEW(n, double), *dy = UM_NEW(n, double), xx = 0, yy = 0, xy = 0;
    enum um_status status = UM_OK;
    *out = (double)NAN;
    if (!dx || !dy)
        UM_TRY(um_fail_memory(err, "a correlation", (size_t)n * sizeof(*dx)));
    if (!centre(dx, x, n) || !centre(dy, y, n))
        goto out;
    for (int64_t i = 0; i < n; i++) {
        xx += dx[i] * dx[i];
        yy += dy[i] * dy[i];
        xy += dx[i] * dy[i];
    }
    *out = xy / sqrt(xx) / sqrt(yy);
    if (fabs(*out) > 1) /* by rounding */
        *out = *out > 0 ? 1 : -1;
out:
    um_free(dx);
    um_free(dy);
    return status;
}

static enum um_status pearson(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    return correlation(out, r->value, r->target, r->n, err);
}

struct ranked {
    double value;
    int64_t row;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

static bool are_numbers(const double *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (isnan(values[i]))
            return false;
    return true;
}

/* Ranks from 1; equal values share the mean of theirs. */
static enum um_status rank(double *ranks, const double *values, int64_t n, struct um_error *err)
{
    struct ranked *order = UM_NEW(n, struct ranked);
    if (!order)
        return um_fail_memory(err, "ranks", (size_t)n * sizeof(*order));
    for (int64_t i = 0; i < n; i++)
        order[i] = (struct ranked){values[i], i};
    qsort(order, (size_t)n, sizeof(*order), compare_ranked);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && order[end].value == order[i].value;)
            end++;
        for (int64_t k = i; k < end; k++)
            ranks[order[k].row] = (double)(i + end + 1) / 2;
    }
    um_free(order);
    return UM_OK;
}

static enum um_status spearman(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    double *a = UM_NEW(r->n, double), *b = UM_NEW(r->n, double);
    enum um_status status = UM_OK;
    *out = (double)NAN;
    if (!a || !b)
        UM_TRY(um_fail_memory(err, "ranks", (size_t)r->n * sizeof(*a)));
    if (!are_numbers(r->value, r->n) || !are_numbers(r->target, r->n))
        goto out;
    UM_TRY(rank(a, r->value, r->n, err));
    UM_TRY(rank(b, r->target, r->n, err));
    UM_TRY(correlation(out, a, b, r->n, err));
out:
    um_free(a);
    um_free(b);
    return status;
}

static enum um_status mse(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    (void)err;
    double sum = 0;
    for (int64_t i = 0; i < r->n; i++)
        sum += (r->value[i] - r->target[i]) * (r->value[i] - r->target[i]);
    *out = r->n ? sum / (double)r->n : (double)NAN;
    return UM_OK;
}

static enum um_status perplexity(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    (void)err;
    *out = exp(r->loss);
    return UM_OK;
}

const struct um_metric um_metrics[] = {
    {"accuracy", "share of rows that are right", false, false, accuracy},
    {"f1", "F1 of class 1", false, false, f1},
    {"macro_f1", "mean F1 of all classes", false, false, macro_f1},
    {"matthews", "Matthews' correlation", false, false, matthews},
    {"pearson", "Pearson's correlation", true, false, pearson},
    {"spearman", "Spearman's rank correlation", true, false, spearman},
    {"mse", "mean squared error", true, true, mse},
    {"entity_f1", "F1 of whole entities: their words and their kind", false, false,
     um_entity_f1},
    {"entity_precision", "share of the predicted entities that are right", false, false,
     um_entity_precision},
    {"entity_recall", "share of the true entities that are found", false, false,
     um_entity_recall},
    {"perplexity", "e to the mean loss of a token", false, true, perplexity},
};
const size_t um_n_metrics = UM_COUNT(um_metrics);

bool um_metric_is_better(const struct um_metric *metric, double value, double than)
{
    if (isnan(than) || isnan(value))
        return isnan(than);
    return metric->is_error ? value < than : value > than;
}

const struct um_metric *um_metric_find(const char *name)
{
    return um_find_row(um_metrics, um_n_metrics, sizeof(*um_metrics), name);
}
