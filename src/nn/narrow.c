/*
 * Maps of few columns: up to DOTS_MAX by dot products of stored rows, the columns laid out one
 * after another first; more by products of pieces of the weight that are expanded into the second
 * cache.
 */
#include "nn/narrow_private.h"

#include <omp.h>

#include "tensor/gemm.h"
#include "tensor/quant.h"

enum { DOTS_MAX = 4, ROWS_MAX = 64, PIECE_NUMBERS = 1 << 16 };

/* Rows of a piece of work: several pieces for each thread, so that none waits long for another. */
static int64_t piece_rows(const struct um_param *w, int64_t n_columns)
{
    int64_t rows = w->rows / (4 * um_threads()), most = ROWS_MAX;
    if (n_columns > DOTS_MAX) {
        most = PIECE_NUMBERS / w->cols / 16 * 16;
        most = most < 16 ? 16 : most;
    }
    rows = (rows + 15) / 16 * 16;
    return rows < 16 ? 16 : rows > most ? most : rows;
}

bool um_narrow_takes(const struct um_param *weight, int64_t n_columns)
{
    return n_columns <= DOTS_MAX || !weight->values;
}

/* Of a thread: expanded rows. */
static int64_t expanded_numbers(const struct um_param *w, int64_t n_columns)
{
    if (w->values)
        return 0;
    return n_columns > DOTS_MAX ? piece_rows(w, n_columns) * w->cols : w->cols;
}

static int64_t n_sums(const struct um_param *w)
{
    return (w->cols + UM_QUANT_BLOCK - 1) / UM_QUANT_BLOCK;
}

int64_t um_narrow_scratch(const struct um_param *weight, const struct um_param *bias,
                          int64_t n_columns)
{
    int64_t columns = n_columns <= DOTS_MAX ? n_columns * (weight->cols + n_sums(weight)) : 0;
    return columns + (bias ? bias->rows : 0) + um_threads() * expanded_numbers(weight, n_columns);
}

/* ---- dot products */

struct dots {
    const struct um_kernels *kernels;
    const struct um_param *weight;
    const struct um_value *y;
    const float *bias;
    const float *columns, *sums; /* x, column by column, and the sums of its blocks */
    float *expanded;
};

static void lay_out(float *columns, float *sums, const struct um_kernels *k,
                    const struct um_value *x)
{
    int64_t n = x->rows;
    for (int64_t t = 0; t < x->cols; t++, columns += n) {
        for (int64_t j = 0; j < n; j++)
            columns[j] = x->data[j * x->ld + t];
        for (int64_t j = 0; j < n; j += UM_QUANT_BLOCK)
            *sums++ = k->sum(columns + j, n - j < UM_QUANT_BLOCK ? n - j : UM_QUANT_BLOCK);
    }
}

/* The changed values that lie over the stored ones: each adds what it differs by. */
static void add_overlay(float *out, const struct um_param *w, int64_t first, int64_t n_rows,
                        const float *x)
{
    int64_t n, at = um_param_overlay(&n, w, first, n_rows);
    for (int64_t k = at; k < at + n; k++) {
        int64_t place = w->overlay_index[k], row = place / w->cols;
        out[row - first] +=
            (w->overlay_value[k] - um_param_stored(w, place)) * x[place - row * w->cols];
    }
}

static void dot_piece(const struct dots *d, int64_t first, int64_t n_rows)
{
    const struct um_param *w = d->weight;
    const struct um_kernels *k = d->kernels;
    float out[ROWS_MAX];
    float *expanded = d->expanded + omp_get_thread_num() * w->cols;
    for (int64_t t = 0; t < d->y->cols; t++) {
        const float *x = d->columns + t * w->cols;
        if (!w->values && k->dot_rows[w->dtype]) {
            k->dot_rows[w->dtype](out, w->stored + um_dtype_size(w->dtype, first * w->cols), n_rows,
                                  x, d->sums + t * n_sums(w), w->cols);
            add_overlay(out, w, first, n_rows, x);
        } else {
            for (int64_t i = 0; i < n_rows; i++)
                out[i] = k->dot(um_param_read(w, first + i, 1, expanded), x, w->cols);
        }
        for (int64_t i = 0; i < n_rows; i++)
            d->y->data[(first + i) * d->y->ld + t] = out[i] + (d->bias ? d->bias[first + i] : 0);
    }
}

static void dot_product(const struct um_value *y, const struct um_param *w, const float *bias,
                        const struct um_value *x, float *scratch)
{
    float *sums = scratch + x->cols * w->cols;
    const struct dots d = {.kernels = um_kernels(),
                           .weight = w,
                           .y = y,
                           .bias = bias,
                           .columns = scratch,
                           .sums = sums,
                           .expanded = sums + x->cols * n_sums(w)};
    int64_t rows = piece_rows(w, x->cols);
    lay_out(scratch, sums, d.kernels, x);
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < w->rows; first += rows)
        dot_piece(&d, first, w->rows - first < rows ? w->rows - first : rows);
}

/* ---- pieces of the weight */

static void piecewise_product(const struct um_value *y, const struct um_param *w, const float *bias,
                              const struct um_value *x, float *scratch)
{
    const struct um_kernels *k = um_kernels();
    int64_t rows = piece_rows(w, x->cols);
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < w->rows; first += rows) {
        int64_t n = w->rows - first < rows ? w->rows - first : rows;
        const float *piece =
            um_param_read(w, first, n, scratch + omp_get_thread_num() * rows * w->cols);
        float *to = y->data + first * y->ld;
        for (int64_t i = 0; bias && i < n; i++)
            k->fill(to + i * y->ld, bias[first + i], y->cols);
        um_gemm(to, y->ld, piece, w->cols, UM_PLAIN, x->data, x->ld, UM_PLAIN, n, y->cols, w->cols,
                bias ? 1 : 0);
    }
}

void um_narrow_product(const struct um_value *y, const struct um_param *weight,
                       const struct um_param *bias, const struct um_value *x, float *scratch)
{
    const float *b = bias ? um_param_read(bias, 0, bias->rows, scratch) : NULL;
    scratch += bias ? bias->rows : 0;
    (x->cols <= DOTS_MAX ? dot_product : piecewise_product)(y, weight, b, x, scratch);
}
