/* Gradients from factors: what a method asks for, and no more. */
#include "method/gradient.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/gemm.h"

void um_gradient_work_free(struct um_gradient_work *work)
{
    um_free(work->rows);
    um_free(work->row);
    um_free(work->slot);
    um_free(work->pairs);
    um_free(work->dots);
    *work = (struct um_gradient_work){0};
}

static int compare_ids(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Distinct ids ascending in work->row, their places in work->slot. Returns how many. */
static int64_t distinct_ids(struct um_gradient_work *work, const int32_t *ids, int64_t n)
{
    int64_t n_rows = 0;
    for (int64_t t = 0; t < n; t++) {
        if (work->slot[ids[t]] < 0) {
            work->slot[ids[t]] = 0;
            work->row[n_rows++] = ids[t];
        }
    }
    qsort(work->row, (size_t)n_rows, sizeof(*work->row), compare_ids);
    for (int64_t k = 0; k < n_rows; k++)
        work->slot[work->row[k]] = (int32_t)k;
    return n_rows;
}

/* Sums the columns of dy by id: rows[slot[ids[t]]][d] += dy[d][t]. */
static void sum_by_id(struct um_gradient_work *work, const struct um_factor *f, int64_t n_rows,
                      int64_t cols)
{
    enum { BLOCK = 16 }; /* features of a cache line: threads never share one */
    memset(work->rows, 0, (size_t)(n_rows * cols) * sizeof(float));
#pragma omp parallel for schedule(static) if (f->n_tokens > BLOCK * BLOCK)
    for (int64_t d0 = 0; d0 < cols; d0 += BLOCK) {
        int64_t d1 = d0 + BLOCK < cols ? d0 + BLOCK : cols;
        for (int64_t t = 0; t < f->n_tokens; t++) {
            float *row = work->rows + work->slot[f->ids[t]] * cols;
            for (int64_t d = d0; d < d1; d++)
                row[d] += f->dy[d * f->lddy + t];
        }
    }
}

static enum um_status of_lookup(struct um_gradient *g, struct um_gradient_work *work,
                                const struct um_factor *f, struct um_error *err)
{
    size_t n_tokens = (size_t)f->n_tokens, n_slots = (size_t)g->rows;
    size_t n_floats = n_tokens * (size_t)g->cols;
    if (!um_grow(&work->row, &work->row_capacity, n_tokens, sizeof(*work->row)) ||
        !um_grow(&work->rows, &work->rows_capacity, n_floats, sizeof(*work->rows)) ||
        !um_grow(&work->slot, &work->slot_capacity, n_slots, sizeof(*work->slot)))
        return um_fail_memory(err, g->param->name, n_floats * sizeof(float));
    for (; work->n_slots < n_slots; work->n_slots++)
        work->slot[work->n_slots] = -1;
    g->n_rows = distinct_ids(work, f->ids, f->n_tokens);
    sum_by_id(work, f, g->n_rows, g->cols);
    for (int64_t k = 0; k < g->n_rows; k++)
        work->slot[work->row[k]] = -1;
    g->dense = work->rows;
    g->row = work->row;
    return UM_OK;
}

enum um_status um_gradient_of(struct um_gradient *gradient, struct um_gradient_work *work,
                              struct um_param *param, const struct um_factor *factor,
                              struct um_error *err)
{
    *gradient = (struct um_gradient){.param = param, .rows = param->rows, .cols = param->cols};
    switch (factor->kind) {
    case UM_FACTOR_PRODUCT:
        gradient->is_product = true;
        gradient->dy = factor->dy;
        gradient->x = factor->x;
        gradient->lddy = factor->lddy;
        gradient->ldx = factor->ldx;
        gradient->n_tokens = factor->n_tokens;
        break;
    case UM_FACTOR_LOOKUP:
        UM_RETURN_IF(of_lookup(gradient, work, factor, err));
        break;
    case UM_FACTOR_VECTOR:
        gradient->cols = param->n_elements;
        gradient->rows = gradient->n_rows = 1;
        gradient->dense = factor->vector;
        break;
    }
    if (!gradient->is_product &&
        !um_kernels()->is_finite(gradient->dense, gradient->n_rows * gradient->cols))
        return um_fail(err, UM_E_RUNTIME, "the gradient of '%s' is not finite", param->name);
    return UM_OK;
}

void um_gradient_dots(float *out, const struct um_gradient *g, const struct um_pair *pairs,
                      int64_t n_pairs)
{
    enum { CHUNK = 256 };
    const struct um_kernels *k = um_kernels();
#pragma omp parallel for schedule(dynamic) if (n_pairs > CHUNK)
    for (int64_t i = 0; i < n_pairs; i += CHUNK)
        k->dots(out + i, pairs + i, n_pairs - i < CHUNK ? n_pairs - i : CHUNK, g->dy, g->lddy,
                g->x, g->ldx, g->n_tokens);
}

void um_gradient_dense(float *out, const struct um_gradient *g, bool adds)
{
    if (g->is_product) {
        um_gemm(out, g->cols, g->dy, g->lddy, UM_PLAIN, g->x, g->ldx, UM_TRANSPOSED, g->rows,
                g->cols, g->n_tokens, adds ? 1 : 0);
        return;
    }
    if (!adds)
        memset(out, 0, (size_t)(g->rows * g->cols) * sizeof(float));
    for (int64_t k = 0; k < g->n_rows; k++)
        um_kernels()->add_to(out + (g->row ? g->row[k] : k) * g->cols, g->dense + k * g->cols,
                             g->cols);
}

/* The row of the dense form that holds row `row`, or NULL: it is zero. */
static const float *find_row(const struct um_gradient *g, int64_t row)
{
    if (!g->row)
        return row < g->n_rows ? g->dense + row * g->cols : NULL;
    int64_t low = 0, high = g->n_rows;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (g->row[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low < g->n_rows && g->row[low] == row ? g->dense + low * g->cols : NULL;
}

static void take_dense(struct um_entry *entry, const struct um_gradient *g, bool adds)
{
    float *out = entry->column[UM_COLUMN_GRAD];
    int64_t row = -1;
    const float *values = NULL;
    for (int64_t k = 0; k < entry->n; k++) {
        if (entry->index[k] / g->cols != row) {
            row = entry->index[k] / g->cols;
            values = find_row(g, row);
        }
        out[k] = (adds ? out[k] : 0) + (values ? values[entry->index[k] - row * g->cols] : 0);
    }
}

enum um_status um_gradient_take(struct um_entry *entry, struct um_gradient_work *work,
                                const struct um_gradient *g, bool adds, struct um_error *err)
{
    float *out = entry->column[UM_COLUMN_GRAD];
    if (entry->is_whole) {
        um_gradient_dense(out, g, adds);
        return UM_OK;
    }
    if (!g->is_product) {
        take_dense(entry, g, adds);
        return UM_OK;
    }
    size_t n = (size_t)entry->n;
    if (!um_grow(&work->pairs, &work->pairs_capacity, n, sizeof(*work->pairs)) ||
        !um_grow(&work->dots, &work->dots_capacity, n, sizeof(*work->dots)))
        return um_fail_memory(err, g->param->name, n * sizeof(*work->pairs));
    for (int64_t k = 0; k < entry->n; k++)
        work->pairs[k] = (struct um_pair){.row = (int32_t)(entry->index[k] / g->cols),
                                          .column = (int32_t)(entry->index[k] % g->cols)};
    um_gradient_dots(adds ? work->dots : out, g, work->pairs, entry->n);
    if (adds)
        um_kernels()->add_to(out, work->dots, entry->n);
    return UM_OK;
}
