/* Parameters: reading rows in place, or expanded from 16 bits with the changed values over them. */
#include "nn/param.h"

int64_t um_param_scratch(const struct um_param *param)
{
    return param->values ? 0 : param->n_elements;
}

/* The first overlay entry at or behind `position`. */
static int64_t overlay_from(const struct um_param *param, int64_t position)
{
    int64_t low = 0, high = param->n_overlay;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (param->overlay_index[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const float *um_param_read(const struct um_param *param, int64_t first, int64_t n_rows,
                           float *scratch)
{
    int64_t start = first * param->cols, end = start + n_rows * param->cols;
    if (param->values)
        return param->values + start;
    um_to_f32(scratch, param->stored + (size_t)start * um_dtype_bytes(param->dtype), param->dtype,
              end - start);
    for (int64_t k = overlay_from(param, start);
         k < param->n_overlay && param->overlay_index[k] < end; k++)
        scratch[param->overlay_index[k] - start] = param->overlay_value[k];
    return scratch;
}

float um_param_stored(const struct um_param *param, int64_t index)
{
    float value;
    if (param->values)
        return param->values[index];
    um_to_f32(&value, param->stored + (size_t)index * um_dtype_bytes(param->dtype), param->dtype,
              1);
    return value;
}
