/*
 * The bytes of a merged tensor, some rows at a time: the base's values, the delta over them (its
 * positions are those of the base's own layout), the change of layout that the other form wants,
 * and rounding to the type. Where only single values change, all other bytes stay as they are.
 */
#include <math.h>
#include <string.h>

#include "base/sorted.h"
#include "delta/merge_private.h"

enum { PIECE_ELEMENTS = 1 << 20 };

/* A tensor as rows. Vectors are one row, but for those whose elements change places. */
struct shape {
    int64_t rows, cols;
};

static struct shape shape_of(const struct um_merge_tensor *t)
{
    bool is_column = t->n_dims < 2 && t->change == UM_GGUF_PAIRED;
    int64_t rows = t->n_dims >= 2 ? t->dims[0] : is_column ? t->n_elements : 1;
    return (struct shape){rows, rows > 0 ? t->n_elements / rows : 0};
}

/* Which row of the base becomes row r of a UM_GGUF_PAIRED map. */
static int64_t source_row(const struct um_merge_tensor *t, int64_t r)
{
    return (t->is_undone ? um_gguf_unpaired_row : um_gguf_paired_row)(r, t->head_rows);
}

/* Elements [first, first + n) of base (+ delta), in the base's layout: whole rows of a map, if a
 * low-rank change is folded into it. */
static void read_base(float *to, const struct um_merge *m, const struct um_merge_tensor *t,
                      bool with_delta, int64_t first, int64_t n)
{
    if (t->folded && with_delta) {
        int64_t cols = t->folded->cols;
        um_low_rank_fold(to, t->folded, first / cols, n / cols, m->norms);
        return;
    }
    const struct um_delta_entry *entry = with_delta || !t->base ? t->entry : NULL;
    if (entry && entry->is_whole) {
        memcpy(to, entry->value + first, (size_t)n * sizeof(float));
        return;
    }
    int64_t block = um_dtype_block(t->base->dtype);
    if (first % block == 0 && n % block == 0)
        um_to_f32(to, t->base->bytes + um_dtype_size(t->base->dtype, first), t->base->dtype, n);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = um_to_f32_at(t->base->bytes, t->base->dtype, first + i);
    for (int64_t k = entry ? um_place_from(entry->index, entry->n, first) : 0;
         entry && k < entry->n && entry->index[k] < first + n; k++)
        to[entry->index[k] - first] = entry->value[k];
}

/* Rows [first, first + n) of the merged tensor: of a map that is turned, from a column of each of
 * the base's rows. */
static void read_rows(float *to, struct um_merge *m, const struct um_merge_tensor *t,
                      bool with_delta, int64_t first, int64_t n)
{
    const struct shape shape = shape_of(t);
    if (t->change == UM_GGUF_TRANSPOSED) {
        for (int64_t c = 0; c < shape.cols; c++) {
            read_base(m->column, m, t, with_delta, c * shape.rows, shape.rows);
            for (int64_t r = 0; r < n; r++)
                to[r * shape.cols + c] = m->column[first + r];
        }
        return;
    }
    if (t->change != UM_GGUF_PAIRED)
        read_base(to, m, t, with_delta, first * shape.cols, n * shape.cols);
    for (int64_t r = 0; t->change == UM_GGUF_PAIRED && r < n; r++)
        read_base(to + r * shape.cols, m, t, with_delta,
                  source_row(t, first + r) * shape.cols, shape.cols);
    const float one = t->is_undone ? -1 : 1;
    for (int64_t i = 0; t->change == UM_GGUF_PLUS_ONE && i < n * shape.cols; i++)
        to[i] += one;
}

/* The base's bytes serve as they are, save for single values. */
static bool is_in_place(const struct um_merge_tensor *t)
{
    return t->base && t->change == UM_GGUF_SAME && t->dtype == t->base->dtype &&
           !(t->entry && t->entry->is_whole) && !t->folded;
}

/* Elements [first, first + n): the base's bytes; the blocks with changed values stored anew. */
static void patch(struct um_merge *m, const struct um_merge_tensor *t, int64_t first, int64_t n)
{
    const struct um_delta_entry *entry = t->entry;
    int64_t block = um_dtype_block(t->dtype);
    float values[256];
    memcpy(m->bytes, t->base->bytes + um_dtype_size(t->dtype, first), um_dtype_size(t->dtype, n));
    for (int64_t k = um_place_from(entry->index, entry->n, first);
         k < entry->n && entry->index[k] < first + n;) {
        int64_t start = entry->index[k] - entry->index[k] % block;
        read_base(values, m, t, true, start, block);
        um_from_f32(m->bytes + um_dtype_size(t->dtype, start - first), values, t->dtype, block);
        k = um_place_from(entry->index, entry->n, start + block);
    }
}

/* A map whose rows are stretched to lengths of their own (DoRA): of how many outputs. */
static int64_t n_lengths(const struct um_merge_tensor *t)
{
    const struct um_param *map = t->folded;
    return map && map->low_rank->magnitude ? um_map_outputs(map) : 0;
}

static enum um_status make_room(struct um_merge *m, const struct um_merge_tensor *t, size_t n,
                                struct um_error *err)
{
    bool is_turned = t->change == UM_GGUF_TRANSPOSED;
    size_t n_column = is_turned ? (size_t)shape_of(t).rows : 1;
    size_t n_norms = n_lengths(t) ? (size_t)(n_lengths(t) + um_low_rank_scratch(t->folded)) : 1;
    if (um_grow(&m->values, &m->values_capacity, n, sizeof(float)) &&
        um_grow(&m->before, &m->before_capacity, n, sizeof(float)) &&
        um_grow(&m->now, &m->now_capacity, n, sizeof(float)) &&
        um_grow(&m->column, &m->column_capacity, n_column, sizeof(float)) &&
        um_grow(&m->norms, &m->norms_capacity, n_norms, sizeof(float)) &&
        um_grow(&m->bytes, &m->bytes_capacity, n, sizeof(float)))
        return UM_OK;
    return um_fail_memory(err, t->name, n * 4 * sizeof(float));
}

/* Whether both are one value: NaNs of other bits, and zeros of other signs, are others. */
static bool is_same(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Compares what is stored with base + delta, and with what the base alone would be. */
static enum um_status count(struct um_merge *m, const struct um_merge_tensor *t,
                            const unsigned char *bytes, int64_t first, int64_t n,
                            struct um_error *err)
{
    const struct shape shape = shape_of(t);
    int64_t first_row = first / shape.cols, rows = n / shape.cols;
    read_rows(m->values, m, t, true, first_row, rows);
    um_to_f32(m->now, bytes, t->dtype, n);
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(m->values[i]) && !isfinite(m->now[i])) {
            um_fail(err, UM_E_INPUT, "cannot write '%s': %g of tensor '%s' is too large for %s",
                    m->out, (double)m->values[i], t->name, um_dtype_name(t->dtype));
            um_error_hint(err, "choose another --type: bf16 or f32");
            return UM_E_INPUT;
        }
        m->report->n_rounded += !is_same(m->now[i], m->values[i]);
    }
    m->report->n_changed += t->base ? 0 : n;
    if (!t->base || !um_merge_is_touched(t))
        return UM_OK;
    read_rows(m->before, m, t, false, first_row, rows);
    if (!is_in_place(t)) { /* as the base alone would be stored; m->values has served */
        um_from_f32(m->values, m->before, t->dtype, n);
        um_to_f32(m->before, m->values, t->dtype, n);
    }
    for (int64_t i = 0; i < n; i++)
        m->report->n_changed += !is_same(m->now[i], m->before[i]);
    return UM_OK;
}

/* The base's pages need not stay in memory. */
static void forget(const struct um_merge_tensor *t)
{
    if (t->base && !t->is_made)
        um_map_forget(t->base->bytes, t->base->n_bytes);
}

enum um_status um_merge_walk(struct um_merge *m, const struct um_merge_tensor *t, bool is_counted,
                             um_merge_visit *visit, void *user, struct um_error *err)
{
    const struct shape shape = shape_of(t);
    if (is_in_place(t) && !um_merge_is_touched(t)) {
        enum um_status status = visit(m, t, t->base->bytes, t->base->n_bytes, user, err);
        forget(t);
        return status;
    }
    int64_t step = shape.cols > 0 ? PIECE_ELEMENTS / shape.cols : 1;
    step = step < 1 ? 1 : step > shape.rows ? shape.rows : step;
    UM_RETURN_IF(make_room(m, t, (size_t)(step * shape.cols), err));
    if (n_lengths(t))
        um_low_rank_norms(m->norms, t->folded, m->norms + n_lengths(t));
    for (int64_t row = 0; row < shape.rows && shape.cols > 0; row += step) {
        int64_t rows = shape.rows - row < step ? shape.rows - row : step;
        int64_t first = row * shape.cols, n = rows * shape.cols;
        if (is_in_place(t)) {
            patch(m, t, first, n);
        } else {
            read_rows(m->values, m, t, true, row, rows);
            um_from_f32(m->bytes, m->values, t->dtype, n);
        }
        if (is_counted)
            UM_RETURN_IF(count(m, t, m->bytes, first, n, err));
        UM_RETURN_IF(visit(m, t, m->bytes, um_dtype_size(t->dtype, n), user, err));
    }
    forget(t);
    return UM_OK;
}
