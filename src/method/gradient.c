/* Gradients from factors: what a method asks for, and no more. */
#include "method/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/ops.h"
#include "tensor/gemm.h"

/* Rows of a product that are made at a time where many of their elements are wanted: more than one
 * of so many. A GEMM makes an element that much faster than a dot product does, or nearly. */
enum { STRIPE_ROWS = 128, STRIPE_SHARE = 16 };

/* Norms below this are taken as this: products of norms then do not drown in denormals. */
#define NORM_FLOOR 0x1p-60

void um_gradient_work_free(struct um_gradient_work *work)
{
    um_free(work->rows);
    um_free(work->row);
    um_free(work->slot);
    um_free(work->pairs);
    um_free(work->dots);
    um_free(work->made);
    um_free(work->weights);
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

enum um_status um_gradient_diverged(const struct um_param *param, struct um_error *err)
{
    return um_fail(err, UM_E_DIVERGED, "the gradient of '%s' is not finite", param->name);
}

enum um_status um_gradient_of(struct um_gradient *gradient, struct um_gradient_work *work,
                              struct um_param *param, const struct um_factor *factor,
                              struct um_error *err)
{
    *gradient = (struct um_gradient){.param = param, .rows = param->rows, .cols = param->cols};
    switch (factor->kind) {
    case UM_FACTOR_HEAD: /* its parts came before */
        break;
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
        return um_gradient_diverged(param, err);
    return UM_OK;
}

double um_gradient_norm(const float *row, int64_t n)
{
    double sum = (double)um_kernels()->sum_squares(row, n);
    if (!(sum > 1e-25 && sum < 1e30)) /* too close to the ends of fp32 */
        sum = um_kernels()->sum_squares_f64(row, n);
    if (!isfinite(sum)) /* sums of squares of finite fp32 numbers are finite in double */
        return (double)NAN;
    return sum == 0 ? 0 : fmax(sqrt(sum), NORM_FLOOR);
}

static void dots(float *out, const struct um_gradient *g, const float *dy, int64_t lddy,
                 const struct um_pair *pairs, int64_t n_pairs)
{
    enum { CHUNK = 256 };
    const struct um_kernels *k = um_kernels();
#pragma omp parallel for schedule(dynamic) if (n_pairs > CHUNK)
    for (int64_t i = 0; i < n_pairs; i += CHUNK)
        k->dots(out + i, pairs + i, n_pairs - i < CHUNK ? n_pairs - i : CHUNK, dy, lddy, g->x,
                g->ldx, g->n_tokens);
}

/* Rows of dy to make at a time: a few million numbers. */
static int64_t rows_at_once(const struct um_gradient *g)
{
    enum { NUMBERS = 1 << 21 };
    int64_t widest = g->n_tokens > g->cols ? g->n_tokens : g->cols;
    return NUMBERS / widest < 16 ? 16 : NUMBERS / widest;
}

static int64_t made_stride(const struct um_gradient *g)
{
    return (g->n_tokens + 15) / 16 * 16;
}

int64_t um_gradient_lookup_bytes(const struct um_param *table, int64_t n_tokens)
{
    return n_tokens * (table->cols * (int64_t)sizeof(float) + (int64_t)sizeof(int32_t)) +
           table->rows * (int64_t)sizeof(int32_t);
}

int64_t um_gradient_made_bytes(const struct um_param *head, int64_t n_tokens)
{
    const struct um_gradient g = {.cols = head->cols, .n_tokens = n_tokens};
    int64_t n = rows_at_once(&g);
    return (n * made_stride(&g) + um_head_rows_scratch(head, n, n_tokens)) * (int64_t)sizeof(float);
}

int64_t um_gradient_pairs_bytes(int64_t n)
{
    return n * (int64_t)(sizeof(struct um_pair) + sizeof(float));
}

int64_t um_gradient_stripe_bytes(int64_t cols)
{
    return STRIPE_ROWS * cols * (int64_t)sizeof(float);
}

static enum um_status make_rows(struct um_gradient_work *work, const struct um_gradient *g,
                                const int32_t *rows, int64_t n_rows, struct um_error *err)
{
    int64_t ld = made_stride(g), n = rows_at_once(g);
    int64_t n_weights = um_head_rows_scratch(g->head->weight, n, g->n_tokens);
    if (!um_grow(&work->made, &work->made_capacity, (size_t)(n * ld), sizeof(float)) ||
        !um_grow(&work->weights, &work->weights_capacity, (size_t)n_weights, sizeof(float)))
        return um_fail_memory(err, g->param->name, (size_t)(n * ld) * sizeof(float));
    um_head_rows(work->made, ld, g->head, g->x, g->ldx, g->n_tokens, rows, n_rows, work->weights);
    return UM_OK;
}

enum um_status um_gradient_add_rows(float *out, struct um_gradient_work *work,
                                    const struct um_gradient *g, const int32_t *rows,
                                    int64_t n_rows, struct um_error *err)
{
    int64_t most = rows_at_once(g);
    for (int64_t i = 0; i < n_rows; i += most) {
        int64_t n = n_rows - i < most ? n_rows - i : most;
        UM_RETURN_IF(make_rows(work, g, rows + i, n, err));
        um_gemm(out + i * g->cols, g->cols, work->made, made_stride(g), UM_PLAIN, g->x, g->ldx,
                UM_TRANSPOSED, n, g->cols, g->n_tokens, 1);
    }
    return UM_OK;
}

/* The same pairs with the place of their row among the distinct ones, until `most` of those. */
static int64_t take_pairs(struct um_gradient_work *work, int64_t *n_rows,
                          const struct um_pair *pairs, int64_t n_pairs, int64_t most)
{
    int64_t n = 0;
    *n_rows = 0;
    for (; n < n_pairs; n++) {
        if (n == 0 || pairs[n].row != pairs[n - 1].row) {
            if (*n_rows == most)
                break;
            work->row[(*n_rows)++] = pairs[n].row;
        }
        work->pairs[n] = (struct um_pair){.row = (int32_t)*n_rows - 1, .column = pairs[n].column};
    }
    return n;
}

enum um_status um_gradient_dots(float *out, struct um_gradient_work *work,
                                const struct um_gradient *g, const struct um_pair *pairs,
                                int64_t n_pairs, struct um_error *err)
{
    if (g->dy) {
        dots(out, g, g->dy, g->lddy, pairs, n_pairs);
        return UM_OK;
    }
    size_t need = (size_t)n_pairs;
    int64_t most = rows_at_once(g);
    if (!um_grow(&work->pairs, &work->pairs_capacity, need, sizeof(*work->pairs)) ||
        !um_grow(&work->row, &work->row_capacity, (size_t)most, sizeof(*work->row)))
        return um_fail_memory(err, g->param->name, need * sizeof(*work->pairs));
    for (int64_t i = 0, n, n_rows; i < n_pairs; i += n) {
        n = take_pairs(work, &n_rows, pairs + i, n_pairs - i, most);
        UM_RETURN_IF(make_rows(work, g, work->row, n_rows, err));
        dots(out + i, g, work->made, made_stride(g), work->pairs, n);
    }
    return UM_OK;
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
        um_kernels()->add_to(out + um_gradient_row(g, k) * g->cols, g->dense + k * g->cols,
                             g->cols);
}

/* Rows of the dense form and the entry's positions both ascend; rows that are not there are
 * zero. */
static void add_dense(struct um_entry *entry, const struct um_gradient *g)
{
    float *out = entry->column[UM_COLUMN_GRAD];
    for (int64_t k = 0, at = 0; k < entry->n; k++) {
        int64_t row = entry->index[k] / g->cols;
        while (at < g->n_rows && um_gradient_row(g, at) < row)
            at++;
        if (at < g->n_rows && um_gradient_row(g, at) == row)
            out[k] += g->dense[at * g->cols + entry->index[k] % g->cols];
    }
}

/* A run of the entry's elements, by a dot product each. */
static void add_dots(float *out, struct um_gradient_work *work, const struct um_gradient *g,
                     int64_t first, int64_t end)
{
    if (first == end)
        return;
    dots(work->dots + first, g, g->dy, g->lddy, work->pairs + first, end - first);
    um_kernels()->add_to(out + first, work->dots + first, end - first);
}

/* The same of elements that all lie in rows [row, row + n_rows), which are made whole. */
static void add_stripe(float *out, struct um_gradient_work *work, const struct um_gradient *g,
                       int64_t row, int64_t n_rows, int64_t first, int64_t end)
{
    um_gemm(work->rows, g->cols, g->dy + row * g->lddy, g->lddy, UM_PLAIN, g->x, g->ldx,
            UM_TRANSPOSED, n_rows, g->cols, g->n_tokens, 0);
    for (int64_t k = first; k < end; k++)
        out[k] += work->rows[(work->pairs[k].row - row) * g->cols + work->pairs[k].column];
}

/* Stripes by what is cheaper; what lies between two made whole goes by dots at once. */
static enum um_status add_product(struct um_entry *entry, struct um_gradient_work *work,
                                  const struct um_gradient *g, struct um_error *err)
{
    float *out = entry->column[UM_COLUMN_GRAD];
    size_t n = (size_t)entry->n, n_stripe = (size_t)(STRIPE_ROWS * g->cols);
    if (!um_grow(&work->pairs, &work->pairs_capacity, n, sizeof(*work->pairs)) ||
        !um_grow(&work->dots, &work->dots_capacity, n, sizeof(*work->dots)) ||
        !um_grow(&work->rows, &work->rows_capacity, n_stripe, sizeof(*work->rows)))
        return um_fail_memory(err, g->param->name, n * sizeof(*work->pairs));
    for (int64_t k = 0; k < entry->n; k++)
        work->pairs[k] = (struct um_pair){.row = (int32_t)(entry->index[k] / g->cols),
                                          .column = (int32_t)(entry->index[k] % g->cols)};
    int64_t added = 0;
    for (int64_t row = 0, first = 0, end = 0; row < g->rows; row += STRIPE_ROWS, first = end) {
        int64_t n_rows = g->rows - row < STRIPE_ROWS ? g->rows - row : STRIPE_ROWS;
        while (end < entry->n && work->pairs[end].row < row + n_rows)
            end++;
        if ((end - first) * STRIPE_SHARE <= n_rows * g->cols)
            continue;
        add_dots(out, work, g, added, first);
        add_stripe(out, work, g, row, n_rows, first, end);
        added = end;
    }
    add_dots(out, work, g, added, entry->n);
    return UM_OK;
}

enum um_status um_gradient_add(struct um_entry *entry, struct um_gradient_work *work,
                               const struct um_gradient *g, struct um_error *err)
{
    float *out = entry->column[UM_COLUMN_GRAD];
    if (entry->is_whole) {
        um_gradient_dense(out, g, true);
        return UM_OK;
    }
    if (!g->is_product) {
        add_dense(entry, g);
        return UM_OK;
    }
    return add_product(entry, work, g, err);
}
