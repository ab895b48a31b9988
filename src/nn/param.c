/* Parameters: reading rows in place, or expanded from what is stored (16-bit floats, quantised
 * blocks) with the changed values over them. */
#include "nn/param.h"

#include <omp.h>

#include "base/sorted.h"

/* Elements that are expanded by one thread, and that one piece of work has at least. */
enum { SERIAL_MAX = 1 << 16, PIECE_MIN = 1 << 13 };

int64_t um_param_scratch(const struct um_param *param)
{
    return param->values || param->is_planned_f32 ? 0 : param->n_elements;
}

/* The first overlay entry at or behind `position`. */
static int64_t overlay_from(const struct um_param *param, int64_t position)
{
    return um_place_from(param->overlay_index, param->n_overlay, position);
}

int64_t um_param_overlay(int64_t *n, const struct um_param *param, int64_t first, int64_t n_rows)
{
    int64_t at = overlay_from(param, first * param->cols);
    *n = overlay_from(param, (first + n_rows) * param->cols) - at;
    return at;
}

/* Rows are whole blocks, so any row is a place to start. */
static void expand_rows(float *to, const struct um_param *param, int64_t first, int64_t n_rows)
{
    int64_t cols = param->cols, piece = (PIECE_MIN + cols - 1) / cols;
#pragma omp parallel for schedule(static) if (n_rows * cols > SERIAL_MAX && !omp_in_parallel())
    for (int64_t row = 0; row < n_rows; row += piece) {
        int64_t rows = n_rows - row < piece ? n_rows - row : piece;
        um_to_f32(to + row * cols,
                  param->stored + um_dtype_size(param->dtype, (first + row) * cols), param->dtype,
                  rows * cols);
    }
}

const float *um_param_read(const struct um_param *param, int64_t first, int64_t n_rows,
                           float *scratch)
{
    int64_t start = first * param->cols, end = start + n_rows * param->cols;
    if (param->values)
        return param->values + start;
    expand_rows(scratch, param, first, n_rows);
    for (int64_t k = overlay_from(param, start);
         k < param->n_overlay && param->overlay_index[k] < end; k++)
        scratch[param->overlay_index[k] - start] = param->overlay_value[k];
    return scratch;
}

float um_param_stored(const struct um_param *param, int64_t index)
{
    return param->values ? param->values[index] : um_to_f32_at(param->stored, param->dtype, index);
}

float um_param_value(const struct um_param *param, int64_t index)
{
    int64_t k = param->n_overlay ? overlay_from(param, index) : 0;
    bool is_laid_over = k < param->n_overlay && param->overlay_index[k] == index;
    return is_laid_over ? param->overlay_value[k] : um_param_stored(param, index);
}
