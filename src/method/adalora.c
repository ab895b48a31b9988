/* AdaLoRA's penalty and its allotment of ranks. */
#include "method/adalora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/gemm.h"

bool um_adalora_is_there(const struct um_param *params, int64_t n_params)
{
    for (int64_t p = 0; p < n_params; p++)
        if (params[p].low_rank && params[p].low_rank->lambda)
            return true;
    return false;
}

enum um_status um_adalora_open(struct um_adalora *a, const struct um_param *params,
                               int64_t n_params, const struct um_adalora_options *options,
                               bool allots, struct um_error *err)
{
    int64_t widest = 0;
    *a = (struct um_adalora){.options = *options, .allots = allots};
    a->pairs = UM_NEW(n_params, const struct um_low_rank *);
    if (!a->pairs)
        return um_fail_memory(err, "the maps of AdaLoRA", (size_t)n_params * sizeof(*a->pairs));
    for (int64_t p = 0; p < n_params; p++) {
        const struct um_low_rank *l = params[p].low_rank;
        if (!l || !l->lambda)
            continue;
        a->pairs[a->n++] = l;
        a->n_ranks += l->down->rows;
        widest = l->down->rows > widest ? l->down->rows : widest;
        if (allots && l->down->rows < options->target_rank)
            return um_fail(err, UM_E_USAGE, "method.rank %lld is above method.init_rank %lld",
                           (long long)options->target_rank, (long long)l->down->rows);
    }
    int64_t n = widest * widest > 2 * a->n_ranks ? widest * widest : 2 * a->n_ranks;
    a->work = UM_NEW(n, float);
    return a->work ? UM_OK : um_fail_memory(err, "AdaLoRA", (size_t)n * sizeof(float));
}

enum um_status um_adalora_check(const struct um_adalora *a, const struct um_trainable *set,
                                struct um_error *err)
{
    for (size_t i = 0; a->allots && i < a->n; i++) {
        const struct um_param *const parts[] = {a->pairs[i]->down, a->pairs[i]->up,
                                                a->pairs[i]->lambda};
        for (size_t k = 0; k < UM_COUNT(parts); k++)
            if (!set->of_param[parts[k]->index])
                return um_fail(err, UM_E_USAGE, "scope: adalora allots ranks by all of its "
                               "parameters, but '%s' is left out", parts[k]->name);
    }
    return UM_OK;
}

void um_adalora_close(struct um_adalora *a)
{
    um_free(a->pairs);
    um_free(a->work);
    *a = (struct um_adalora){0};
}

/* ---- the penalty: d |C - I| = (C - I) / |C - I| * dC, with C = A A^T: 2 (C - I) A / |C - I| */

/* C - I into `square`, for rows (down) or columns (up). Returns its norm. */
static double covariance(float *square, const struct um_param *p, bool is_up)
{
    int64_t r = is_up ? p->cols : p->rows;
    um_gemm(square, r, p->values, p->cols, is_up ? UM_TRANSPOSED : UM_PLAIN, p->values, p->cols,
            is_up ? UM_PLAIN : UM_TRANSPOSED, r, r, is_up ? p->rows : p->cols, 0);
    double sum = 0;
    for (int64_t i = 0; i < r; i++)
        square[i * r + i] -= 1;
    for (int64_t i = 0; i < r * r; i++)
        sum += (double)square[i] * (double)square[i];
    return sqrt(sum);
}

/* Element (row, column) of (C - I) down, or of up (C - I). */
static float product_at(const float *square, const struct um_param *p, bool is_up, int64_t index)
{
    int64_t row = index / p->cols, column = index % p->cols, r = is_up ? p->cols : p->rows;
    float sum = 0;
    for (int64_t k = 0; k < r; k++)
        sum += is_up ? p->values[row * r + k] * square[k * r + column]
                     : square[row * r + k] * p->values[k * p->cols + column];
    return sum;
}

/* The share of one matrix, weighted. */
static double penalty_of(const struct um_adalora *a, struct um_trainable *set,
                         const struct um_param *p, bool is_up, double weight)
{
    double norm = covariance(a->work, p, is_up);
    struct um_entry *entry = set->of_param[p->index];
    for (int64_t i = 0; entry && norm > 0 && i < entry->n; i++)
        entry->column[UM_COLUMN_GRAD][i] +=
            (float)(2 * weight / norm) *
            product_at(a->work, p, is_up, entry->is_whole ? i : entry->index[i]);
    return weight * norm;
}

double um_adalora_penalty(const struct um_adalora *a, struct um_trainable *set)
{
    double sum = 0, weight = a->options.orthogonality / (2 * (double)a->n);
    for (size_t i = 0; weight > 0 && i < a->n; i++) {
        sum += penalty_of(a, set, a->pairs[i]->down, false, weight);
        sum += penalty_of(a, set, a->pairs[i]->up, true, weight);
    }
    return sum;
}

/* ---- ranks */

static struct um_entry *entry_of(const struct um_trainable *set, const struct um_param *param)
{
    return set->of_param[param->index];
}

static void smooth(const struct um_adalora *a, struct um_entry *entry, double g_scale)
{
    const float beta1 = (float)a->options.beta1, beta2 = (float)a->options.beta2;
    const float *w = um_entry_values(entry), *g = entry->column[UM_COLUMN_GRAD];
    float *sensitivity = entry->column[UM_COLUMN_SENSITIVITY];
    float *uncertainty = entry->column[UM_COLUMN_UNCERTAINTY];
    for (int64_t i = 0; i < entry->n; i++) {
        float importance = fabsf(w[i] * (g[i] * (float)g_scale));
        sensitivity[i] = beta1 * sensitivity[i] + (1 - beta1) * importance;
        uncertainty[i] = beta2 * uncertainty[i] + (1 - beta2) * fabsf(importance - sensitivity[i]);
    }
}

static double element_score(const struct um_entry *entry, int64_t i)
{
    return (double)entry->column[UM_COLUMN_SENSITIVITY][i] *
           (double)entry->column[UM_COLUMN_UNCERTAINTY][i];
}

static float rank_score(const struct um_trainable *set, const struct um_low_rank *l, int64_t k)
{
    const struct um_entry *down = entry_of(set, l->down), *up = entry_of(set, l->up);
    double sum_down = 0, sum_up = 0;
    for (int64_t j = 0; j < l->down->cols; j++)
        sum_down += element_score(down, k * l->down->cols + j);
    for (int64_t i = 0; i < l->up->rows; i++)
        sum_up += element_score(up, i * l->up->cols + k);
    return (float)(element_score(entry_of(set, l->lambda), k) +
                   sum_down / (double)l->down->cols + sum_up / (double)l->up->rows);
}

static int compare_scores(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sets lambda to zero for the ranks up to the score below which those too many are. Marks the ranks
 * that stay in lambda's sensitivity, if this is the last time. */
static void keep_best(struct um_adalora *a, struct um_trainable *set, int64_t n_kept, bool is_last)
{
    float *scores = a->work, *sorted = a->work + a->n_ranks, *score = scores;
    for (size_t i = 0; i < a->n; i++)
        for (int64_t k = 0; k < a->pairs[i]->down->rows; k++)
            *score++ = rank_score(set, a->pairs[i], k);
    memcpy(sorted, scores, (size_t)a->n_ranks * sizeof(float));
    qsort(sorted, (size_t)a->n_ranks, sizeof(float), compare_scores);
    float cut = n_kept < a->n_ranks ? sorted[a->n_ranks - n_kept - 1] : -1;
    score = scores;
    for (size_t i = 0; i < a->n; i++) {
        struct um_entry *lambda = entry_of(set, a->pairs[i]->lambda);
        for (int64_t k = 0; k < lambda->n; k++, score++) {
            bool stays = *score > cut;
            if (!stays)
                um_entry_values(lambda)[k] = 0;
            if (is_last)
                lambda->column[UM_COLUMN_SENSITIVITY][k] = stays;
        }
    }
}

static void mask(struct um_adalora *a, struct um_trainable *set)
{
    for (size_t i = 0; i < a->n; i++) {
        struct um_entry *lambda = entry_of(set, a->pairs[i]->lambda);
        for (int64_t k = 0; k < lambda->n; k++)
            if (lambda->column[UM_COLUMN_SENSITIVITY][k] == 0)
                um_entry_values(lambda)[k] = 0;
    }
}

/* Ranks that stay at a step between the first and the last of the falling part. */
static int64_t scheduled(const struct um_adalora *a, int64_t step, int64_t last)
{
    double target = (double)(a->options.target_rank * (int64_t)a->n);
    double left = 1 - (double)(step - a->options.tinit) / (double)(last - a->options.tinit);
    return (int64_t)(((double)a->n_ranks - target) * (left * left * left) + target);
}

void um_adalora_allot(struct um_adalora *a, struct um_trainable *set, int64_t step,
                      int64_t n_steps, double g_scale)
{
    int64_t last = n_steps - a->options.tfinal;
    if (!a->allots || last <= a->options.tinit)
        return;
    if (step > last) {
        mask(a, set);
        return;
    }
    for (size_t i = 0; step < last && i < a->n; i++) {
        smooth(a, entry_of(set, a->pairs[i]->down), g_scale);
        smooth(a, entry_of(set, a->pairs[i]->up), g_scale);
        smooth(a, entry_of(set, a->pairs[i]->lambda), g_scale);
    }
    bool is_due = step > a->options.tinit && step % a->options.every == 0;
    if (is_due || step == last)
        keep_best(a, set, scheduled(a, step, last), step == last);
}
