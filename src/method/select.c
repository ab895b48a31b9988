/*
 * Exact selection by bounds: panels of rows are scanned with the running cut, what may reach it is
 * confirmed by dot products, best bounds first, so that the cut rises early.
 *
 * A bound G >= |g| lets an entry reach the cut only if |theta| + eps <= (G^power / cut)^(1/exp).
 * The right side is split into a factor of the column and one of the row, so that rank-1 scanning
 * is one multiplication and one comparison per entry. Slack: a dot product of T terms in fp32
 * differs from the exact one by at most T 2^-23 r c (twice what is needed); a GEMM may differ from
 * the dot product by twice that.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "method/select_private.h"
#include "tensor/gemm.h"

enum {
    CHUNK = 1024,        /* of the most promising candidates, to raise the cut */
    SEGMENTS = 16,
    SERIAL_MAX = 1 << 14 /* numbers that one thread goes through faster than two can start */
};

/* x^power as a float that errs upwards: never too small, never zero. */
static float upper(double x, double power)
{
    double y = power == 1 ? x : pow(x, power);
    y *= 1 + 0x1p-20;
    return y < FLT_MIN ? FLT_MIN : y > FLT_MAX ? INFINITY : (float)y;
}

static double slack(int64_t n_tokens)
{
    return 1 + (double)n_tokens * 0x1p-23 + 0x1p-20;
}

/* Norms of the rows of dy and x; the columns' ready for scanning. */
static enum um_status work_out_norms(struct um_selector *s, const struct um_gradient *g,
                                     struct um_error *err)
{
    size_t rows = (size_t)g->rows, cols = (size_t)g->cols;
    if (!um_grow(&s->row_norms, &s->row_norms_capacity, rows, sizeof(float)) ||
        !um_grow(&s->column_norms, &s->column_norms_capacity, cols, sizeof(float)) ||
        !um_grow(&s->column_bounds, &s->column_bounds_capacity, cols, sizeof(float)))
        return um_fail_memory(err, "norms", (rows + 2 * cols) * sizeof(float));
    if (g->row_norms)
        memcpy(s->row_norms, g->row_norms, rows * sizeof(float));
#pragma omp parallel for schedule(static) if (g->rows * g->n_tokens > SERIAL_MAX)
    for (int64_t i = 0; i < (g->row_norms ? 0 : g->rows); i++)
        s->row_norms[i] = (float)um_gradient_norm(g->dy + i * g->lddy, g->n_tokens);
#pragma omp parallel for schedule(static) if (g->cols * g->n_tokens > SERIAL_MAX)
    for (int64_t j = 0; j < g->cols; j++) {
        double norm = um_gradient_norm(g->x + j * g->ldx, g->n_tokens);
        s->column_norms[j] = (float)norm;
        s->column_bounds[j] = upper(norm, s->column_power);
    }
    for (int64_t i = 0; i < g->rows + g->cols; i++)
        if (isnan(i < g->rows ? s->row_norms[i] : s->column_norms[i - g->rows]))
            return um_gradient_diverged(g->param, err);
    return UM_OK;
}

/* What a bound is multiplied with before it is compared with |theta| + eps (or with 1). */
static float scan_scale(const struct um_selector *s, double row_norm, int64_t n_tokens)
{
    double cut = um_top_cut(s->top);
    if (cut == 0)
        return INFINITY;
    double bound = row_norm * slack(n_tokens);
    return um_selector_is_sized(s)
               ? upper(pow(bound, s->options.importance->power) / cut, s->row_power)
               : upper(bound / pow(cut, s->row_power), 1);
}

enum um_status um_selector_panel_room(struct um_selector *s, int64_t n_rows, int64_t n,
                                      struct um_error *err)
{
    size_t need = (size_t)n;
    if (!um_grow(&s->hits, &s->hits_capacity, need, sizeof(*s->hits)) ||
        !um_grow(&s->n_hits, &s->n_hits_capacity, (size_t)n_rows, sizeof(*s->n_hits)) ||
        !um_grow(&s->theta, &s->theta_capacity, need, sizeof(*s->theta)))
        return um_fail_memory(err, "a panel of entries", need * sizeof(float));
    return UM_OK;
}

/*
 * Compares rows first..first+n_rows-1 with the cut: `bounds` is one row of bounds for all (ld 0) or
 * one per row; row i is scaled by the norm of its row of dy if there is one. Hits of row i stand at
 * hits + i * cols. Returns their number.
 */
static int64_t scan_panel(struct um_selector *s, const struct um_gradient *g, int64_t first,
                          int64_t n_rows, const float *bounds, int64_t ld, const float *row_norms)
{
    const float *theta = NULL;
    int64_t total = 0;
    if (um_selector_is_sized(s)) {
        /* A vector is one row here, but n rows of one to the parameter. */
        int64_t per_row = g->param->rows / g->rows;
        theta = um_param_read(g->param, first * per_row, n_rows * per_row, s->theta);
    }
#pragma omp parallel for schedule(static) reduction(+ : total) if (n_rows * g->cols > SERIAL_MAX)
    for (int64_t i = 0; i < n_rows; i++) {
        double norm = row_norms ? (double)row_norms[first + i] : 1;
        s->n_hits[i] = 0;
        if (norm > 0)
            s->n_hits[i] = (int32_t)um_kernels()->scan(
                s->hits + i * g->cols, theta ? theta + i * g->cols : NULL, bounds + i * ld,
                scan_scale(s, norm, g->n_tokens), (float)s->options.eps, g->cols);
        total += s->n_hits[i];
    }
    return total;
}

/* Norms of S runs of tokens of each row of dy and x, for the tighter bound. */
static enum um_status work_out_segments(struct um_selector *s, const struct um_gradient *g,
                                        struct um_error *err)
{
    size_t rows = (size_t)g->rows * SEGMENTS, cols = (size_t)g->cols * SEGMENTS;
    if (!um_grow(&s->row_segments, &s->row_segments_capacity, rows, sizeof(float)) ||
        !um_grow(&s->column_segments, &s->column_segments_capacity, cols, sizeof(float)))
        return um_fail_memory(err, "segment norms", (rows + cols) * sizeof(float));
#pragma omp parallel for schedule(static) if (g->rows * g->n_tokens > SERIAL_MAX)
    for (int64_t i = 0; i < g->rows + g->cols; i++) {
        bool is_row = i < g->rows;
        int64_t j = i - g->rows;
        const float *values = is_row ? g->dy + i * g->lddy : g->x + j * g->ldx;
        for (int64_t k = 0; k < SEGMENTS; k++) {
            int64_t t0 = g->n_tokens * k / SEGMENTS, t1 = g->n_tokens * (k + 1) / SEGMENTS;
            float norm = (float)um_gradient_norm(values + t0, t1 - t0);
            if (is_row)
                s->row_segments[i * SEGMENTS + k] = norm;
            else
                s->column_segments[k * g->cols + j] = norm;
        }
    }
    return UM_OK;
}

/* tile = the tighter bounds of a panel, raised to column_power. */
static enum um_status bound_tile(struct um_selector *s, const struct um_gradient *g,
                                 int64_t first, int64_t n_rows, enum um_bound bound,
                                 struct um_error *err)
{
    size_t need = (size_t)(n_rows * g->cols);
    if (!um_grow(&s->tile, &s->tile_capacity, need, sizeof(float)))
        return um_fail_memory(err, "a tile of bounds", need * sizeof(float));
    if (bound == UM_BOUND_SEGMENTS)
        um_gemm(s->tile, g->cols, s->row_segments + first * SEGMENTS, SEGMENTS, UM_PLAIN,
                s->column_segments, g->cols, UM_PLAIN, n_rows, g->cols, SEGMENTS, 0);
    else
        um_gemm(s->tile, g->cols, g->dy + first * g->lddy, g->lddy, UM_PLAIN, g->x, g->ldx,
                UM_TRANSPOSED, n_rows, g->cols, g->n_tokens, 0);
    double rounding = bound == UM_BOUND_TILES ? 2 * (slack(g->n_tokens) - 1) : 0x1p-20;
#pragma omp parallel for schedule(static) if (n_rows * g->cols > SERIAL_MAX)
    for (int64_t i = 0; i < n_rows; i++) {
        float *row = s->tile + i * g->cols;
        float error = (float)(rounding * (double)s->row_norms[first + i]);
        for (int64_t j = 0; j < g->cols; j++)
            row[j] = fabsf(row[j]) + error * s->column_norms[j] + FLT_MIN;
        if (s->column_power != 1)
            for (int64_t j = 0; j < g->cols; j++)
                row[j] = upper((double)row[j], s->column_power);
    }
    return UM_OK;
}

/* Whether a tighter bound pays: dot products run at about a third of a GEMM's rate. */
static bool pays(enum um_bound bound, int64_t n_hits, int64_t n, int64_t n_tokens)
{
    double confirm = 3.0 * (double)n_hits * (double)n_tokens;
    double tighten = (double)n * (bound == UM_BOUND_SEGMENTS ? 4.0 * SEGMENTS : (double)n_tokens);
    return n_hits > CHUNK && confirm > 2 * tighten;
}

/* Scans a panel with as tight a bound as pays (or as was asked for). Returns the hits. */
static enum um_status find_hits(int64_t *n_hits, struct um_selector *s,
                                const struct um_gradient *g, int64_t first, int64_t n_rows,
                                bool *has_segments, struct um_error *err)
{
    int64_t n = n_rows * g->cols;
    enum um_bound used = UM_BOUND_RANK1, asked = s->options.bound;
    *n_hits = scan_panel(s, g, first, n_rows, s->column_bounds, 0, s->row_norms);
    bool can_tighten = g->dy && um_top_cut(s->top) > 0;
    for (enum um_bound b = UM_BOUND_SEGMENTS; can_tighten && b <= UM_BOUND_TILES; b++) {
        if (asked == UM_BOUND_AUTO ? !pays(b, *n_hits, n, g->n_tokens) : b != asked)
            continue;
        if (b == UM_BOUND_SEGMENTS && !*has_segments) {
            UM_RETURN_IF(work_out_segments(s, g, err));
            *has_segments = true;
        }
        UM_RETURN_IF(bound_tile(s, g, first, n_rows, b, err));
        *n_hits = scan_panel(s, g, first, n_rows, s->tile, g->cols, NULL);
        used = b;
    }
    s->stats.n_entries[used] += n;
    return UM_OK;
}

/* Takes hits of one row that are in the set already off the list; returns how many are left. */
static int32_t drop_members(int32_t *hits, int32_t n, const struct um_entry *entry, int64_t start)
{
    int64_t at = um_entry_from(entry, start);
    int32_t kept = 0;
    for (int32_t h = 0; h < n; h++) {
        while (at < entry->n && entry->index[at] < start + hits[h])
            at++;
        if (at == entry->n || entry->index[at] != start + hits[h])
            hits[kept++] = hits[h];
    }
    return kept;
}

static double value_at(const struct um_gradient *g, struct um_pair pair)
{
    return (double)um_param_value(g->param, pair.row * g->cols + pair.column);
}

/* The hits of a panel as pairs in order, with the rank-1 bounds of their scores. */
static void collect(struct um_selector *s, const struct um_gradient *g, int64_t first,
                    int64_t n_rows, int64_t *n)
{
    const struct um_entry *entry = s->set->of_param[g->param->index];
    bool is_serial = *n <= SERIAL_MAX / 4;
#pragma omp parallel for schedule(static) if (!is_serial)
    for (int64_t i = 0; i < (s->selection.is_fresh ? 0 : n_rows); i++)
        s->n_hits[i] = drop_members(s->hits + i * g->cols, s->n_hits[i], entry,
                                    (first + i) * g->cols);
    *n = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        s->starts[i] = *n;
        *n += s->n_hits[i];
    }
#pragma omp parallel for schedule(static) if (!is_serial)
    for (int64_t i = 0; i < n_rows; i++) {
        for (int32_t h = 0; h < s->n_hits[i]; h++) {
            int64_t k = s->starts[i] + h;
            struct um_pair pair = {.row = (int32_t)(first + i),
                                   .column = s->hits[i * g->cols + h]};
            double bound = (double)s->row_norms[pair.row] * (double)s->column_norms[pair.column];
            s->pairs[k] = pair;
            s->bounds[k] = um_importance_score(&s->options, bound, value_at(g, pair));
        }
    }
}

/* The k-th greatest of n values, which are moved about (quickselect). */
static double kth_greatest(double *values, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] > pivot)
                i++;
            while (values[j] < pivot)
                j--;
            if (i <= j) {
                double swap = values[i];
                values[i++] = values[j];
                values[j--] = swap;
            }
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
    return values[k - 1];
}

/* Computes the pairs first..first+n-1 exactly, all threads at once, and offers what reaches the
 * cut. */
static enum um_status confirm(struct um_selector *s, const struct um_gradient *g, int64_t first,
                              int64_t n, struct um_error *err)
{
    const struct um_pair *pairs = s->pairs + first;
    UM_RETURN_IF(um_gradient_dots(s->dots, &s->work, g, pairs, n, err));
#pragma omp parallel for schedule(static) if (n > SERIAL_MAX / 4)
    for (int64_t k = 0; k < n; k++)
        s->scores[k] = um_importance_score(&s->options, (double)s->dots[k], value_at(g, pairs[k]));
    double cut = um_top_cut(s->top);
    for (int64_t k = 0; k < n; k++) {
        if (s->scores[k] < cut)
            continue;
        um_top_offer(s->top, s->scores[k],
                     (struct um_pick){.param = g->param->index,
                                      .index = pairs[k].row * g->cols + pairs[k].column,
                                      .grad = s->dots[k]});
        cut = um_top_cut(s->top);
    }
    s->stats.n_scored += n;
    return UM_OK;
}

/* Moves the pairs whose bounds are at least `least` to the front, both parts in order; returns
 * their number. (`dots`, `scores` and the second half of `pairs` are free to be written over.) */
static int64_t split(struct um_selector *s, int64_t n, double least)
{
    struct um_pair *rest = s->pairs + n;
    int64_t n_front = 0, n_rest = 0;
    for (int64_t k = 0; k < n; k++) {
        bool is_front = !(s->bounds[k] < least);
        if (!is_front) {
            s->scores[n_rest] = s->bounds[k];
            rest[n_rest++] = s->pairs[k];
        } else {
            s->bounds[n_front] = s->bounds[k];
            s->pairs[n_front++] = s->pairs[k];
        }
    }
    memcpy(s->pairs + n_front, rest, (size_t)n_rest * sizeof(*rest));
    memcpy(s->bounds + n_front, s->scores, (size_t)n_rest * sizeof(*s->scores));
    return n_front;
}

/* Drops pairs first..n-1 that the risen cut rules out; returns the end of what is left. */
static int64_t keep_possible(struct um_selector *s, int64_t first, int64_t n, int64_t n_tokens)
{
    /* The slack covers the rounding of bound and score. */
    double loosen = pow(slack(n_tokens), s->options.importance->power);
    double least = um_top_cut(s->top) * (1 - 1e-4);
    int64_t kept = first;
    for (int64_t k = first; k < n; k++)
        if (!(s->bounds[k] * loosen < least))
            s->pairs[kept++] = s->pairs[k];
    return kept;
}

static enum um_status candidate_room(struct um_selector *s, int64_t n_rows, int64_t n,
                                     struct um_error *err)
{
    size_t need = (size_t)n;
    if (!um_grow(&s->pairs, &s->pairs_capacity, 2 * need, sizeof(*s->pairs)) ||
        !um_grow(&s->bounds, &s->bounds_capacity, need, sizeof(*s->bounds)) ||
        !um_grow(&s->scores, &s->scores_capacity, need, sizeof(*s->scores)) ||
        !um_grow(&s->starts, &s->starts_capacity, (size_t)n_rows, sizeof(*s->starts)) ||
        !um_grow(&s->dots, &s->dots_capacity, need, sizeof(*s->dots)))
        return um_fail_memory(err, "candidates", need * sizeof(*s->bounds));
    return UM_OK;
}

/*
 * Confirms the hits of a panel. While the cut is still rising fast, the most promising come first,
 * and what the risen cut rules out is dropped; once it has settled that is not worth the sorting.
 */
static enum um_status confirm_hits(struct um_selector *s, const struct um_gradient *g,
                                   int64_t first, int64_t n_rows, int64_t n, struct um_error *err)
{
    UM_RETURN_IF(candidate_room(s, n_rows, n, err));
    double cut = um_top_cut(s->top);
    int64_t chunk = s->top->n_wanted > CHUNK ? s->top->n_wanted : CHUNK, done = 0;
    collect(s, g, first, n_rows, &n);
    if (!s->is_settled && n > 2 * chunk) {
        memcpy(s->scores, s->bounds, (size_t)n * sizeof(*s->scores));
        done = split(s, n, kth_greatest(s->scores, n, chunk));
        UM_RETURN_IF(confirm(s, g, 0, done, err));
        n = keep_possible(s, done, n, g->n_tokens);
    }
    UM_RETURN_IF(confirm(s, g, done, n - done, err));
    s->is_settled = cut > 0 && um_top_cut(s->top) < 1.1 * cut;
    return UM_OK;
}

static enum um_status offer_product(struct um_selector *s, const struct um_gradient *g,
                                    struct um_error *err)
{
    bool has_segments = false;
    UM_RETURN_IF(work_out_norms(s, g, err));
    /* Small panels first: they raise the cut for the large ones. */
    int64_t entries = 4 * s->top->n_wanted;
    for (int64_t first = 0, n_rows; first < g->rows; first += n_rows) {
        int64_t left = g->rows - first, n_hits;
        n_rows = (entries < UM_PANEL_MAX ? entries : UM_PANEL_MAX) / g->cols;
        n_rows = n_rows < 1 ? 1 : n_rows > left ? left : n_rows;
        entries = 2 * n_rows * g->cols;
        UM_RETURN_IF(um_selector_panel_room(s, n_rows, n_rows * g->cols, err));
        UM_RETURN_IF(find_hits(&n_hits, s, g, first, n_rows, &has_segments, err));
        UM_RETURN_IF(confirm_hits(s, g, first, n_rows, n_hits, err));
    }
    return UM_OK;
}

/* Dense rows are known exactly: one scan, and the hits are offered as they are. */
static enum um_status offer_dense(struct um_selector *s, const struct um_gradient *g,
                                  struct um_error *err)
{
    const struct um_entry *entry = s->set->of_param[g->param->index];
    for (int64_t k = 0; k < g->n_rows; k++) {
        int64_t row = um_gradient_row(g, k);
        UM_RETURN_IF(um_selector_panel_room(s, 1, g->cols, err));
        if (!um_grow(&s->tile, &s->tile_capacity, (size_t)g->cols, sizeof(float)))
            return um_fail_memory(err, "bounds", (size_t)g->cols * sizeof(float));
        const float *values = g->dense + k * g->cols;
        if (!um_kernels()->is_finite(values, g->cols))
            return um_gradient_diverged(g->param, err);
        for (int64_t j = 0; j < g->cols; j++)
            s->tile[j] = s->column_power == 1 ? fabsf(values[j])
                                              : upper(fabs((double)values[j]), s->column_power);
        int64_t n = scan_panel(s, g, row, 1, s->tile, 0, NULL);
        for (int64_t h = 0; h < n; h++) {
            int64_t index = row * g->cols + s->hits[h];
            float grad = values[s->hits[h]];
            if (grad == 0 || (!s->selection.is_fresh && um_entry_has(entry, index)))
                continue;
            double value = (double)um_param_value(g->param, index);
            um_top_offer(s->top, um_importance_score(&s->options, (double)grad, value),
                         (struct um_pick){.param = g->param->index, .index = index, .grad = grad});
            s->stats.n_scored++;
        }
    }
    return UM_OK;
}

enum um_status um_selector_offer(struct um_selector *s, const struct um_gradient *g,
                                 struct um_error *err)
{
    um_selector_turn_to(s, g->param);
    if (s->top->n_wanted == 0)
        return UM_OK;
    return g->is_product ? offer_product(s, g, err) : offer_dense(s, g, err);
}
