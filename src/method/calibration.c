/* Calibration: gathers gradients, or their squares row by row, over passes, and chooses by them. */
#include "method/calibration.h"

#include <string.h>

#include "tensor/gemm.h"

/* A parameter whose elements are to be chosen from. */
static bool is_candidate(const struct um_tuning *tuning, const struct um_param *param)
{
    const struct um_entry *entry = tuning->set.of_param[param->index];
    return entry && !entry->is_whole;
}

static enum um_status open_dense(float **dense, const struct um_param *param, struct um_error *err)
{
    *dense = UM_NEW(param->n_elements, float);
    return *dense ? UM_OK
                  : um_fail_memory(err, "calibration", (size_t)param->n_elements * sizeof(float));
}

enum um_status um_calibration_open(struct um_calibration *c, struct um_tuning *tuning,
                                   struct um_error *err)
{
    *c = (struct um_calibration){.tuning = tuning,
                                 .is_squared = tuning->options.select.importance->power == 2,
                                 .dense = UM_NEW(tuning->n_params, float *),
                                 .sums = UM_NEW(tuning->n_params, float *),
                                 .n_factors = UM_NEW(tuning->n_params, int32_t)};
    if (!c->dense || !c->sums || !c->n_factors)
        return um_fail_memory(err, "calibration", (size_t)tuning->n_params * sizeof(float *));
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        const struct um_entry *entry = &tuning->set.entries[e];
        if (!entry->is_whole)
            UM_RETURN_IF(open_dense(&c->dense[entry->param->index], entry->param, err));
    }
    return UM_OK;
}

void um_calibration_close(struct um_calibration *c)
{
    for (int64_t p = 0; c->dense && c->sums && p < c->tuning->n_params; p++) {
        um_free(c->dense[p]);
        um_free(c->sums[p]);
    }
    um_free(c->dense);
    um_free(c->sums);
    um_free(c->n_factors);
    um_free(c->tile);
    um_gradient_work_free(&c->work);
    *c = (struct um_calibration){0};
}

static void count(void *user, struct um_param *param, const struct um_factor *factor)
{
    struct um_calibration *c = user;
    c->n_factors[param->index] += factor->kind != UM_FACTOR_HEAD;
}

struct um_sink um_calibration_count(struct um_calibration *c)
{
    return (struct um_sink){.accept = count, .user = c};
}

/* A head's product comes in as many parts as a row has tokens for. */
static bool is_summed(const struct um_calibration *c, const struct um_param *param)
{
    return is_candidate(c->tuning, param) && (c->n_factors[param->index] > 1 || param->is_head);
}

enum um_status um_calibration_counted(struct um_calibration *c, struct um_error *err)
{
    for (size_t e = 0; e < c->tuning->set.n_entries; e++) {
        const struct um_param *param = c->tuning->set.entries[e].param;
        if (is_summed(c, param))
            UM_RETURN_IF(open_dense(&c->sums[param->index], param, err));
    }
    return UM_OK;
}

static void add_squares(float *out, const float *g, int64_t n)
{
    enum { SERIAL_MAX = 1 << 14 };
#pragma omp parallel for schedule(static) if (n > SERIAL_MAX)
    for (int64_t i = 0; i < n; i++)
        out[i] += g[i] * g[i];
}

/* Adds the squares of a gradient that is complete: a product in tiles that are thrown away. */
static enum um_status add_squared(struct um_calibration *c, float *out, const struct um_gradient *g,
                                  struct um_error *err)
{
    enum { TILE = 1 << 18 };
    int64_t n_rows = TILE / g->cols < 1 ? 1 : TILE / g->cols;
    if (!g->is_product) {
        for (int64_t k = 0; k < g->n_rows; k++)
            add_squares(out + um_gradient_row(g, k) * g->cols, g->dense + k * g->cols, g->cols);
        return UM_OK;
    }
    n_rows = n_rows < g->rows ? n_rows : g->rows;
    if (!um_grow(&c->tile, &c->tile_capacity, (size_t)(n_rows * g->cols), sizeof(float)))
        return um_fail_memory(err, "calibration", (size_t)(n_rows * g->cols) * sizeof(float));
    for (int64_t first = 0; first < g->rows; first += n_rows) {
        struct um_gradient part = *g;
        part.rows = g->rows - first < n_rows ? g->rows - first : n_rows;
        part.dy = g->dy + first * g->lddy;
        um_gradient_dense(c->tile, &part, false);
        add_squares(out + first * g->cols, c->tile, part.rows * g->cols);
    }
    return UM_OK;
}

static enum um_status take(struct um_calibration *c, struct um_param *param,
                           const struct um_factor *factor, struct um_error *err)
{
    struct um_gradient gradient;
    float *sum = c->sums[param->index], *dense = c->dense[param->index];
    UM_RETURN_IF(um_gradient_of(&gradient, &c->work, param, factor, err));
    if (c->is_squared && !sum)
        return add_squared(c, dense, &gradient, err);
    um_gradient_dense(c->is_squared ? sum : dense, &gradient, true);
    return UM_OK;
}

static void accept(void *user, struct um_param *param, const struct um_factor *factor)
{
    struct um_calibration *c = user;
    if (c->status == UM_OK && is_candidate(c->tuning, param) && factor->kind != UM_FACTOR_HEAD)
        c->status = take(c, param, factor, &c->fault);
}

struct um_sink um_calibration_sink(struct um_calibration *c)
{
    return (struct um_sink){.accept = accept, .user = c};
}

enum um_status um_calibration_end(struct um_calibration *c, struct um_error *err)
{
    if (c->status != UM_OK) {
        if (err)
            *err = c->fault;
        return c->status;
    }
    for (size_t e = 0; e < c->tuning->set.n_entries; e++) {
        const struct um_param *param = c->tuning->set.entries[e].param;
        float *sum = c->sums[param->index];
        if (!sum)
            continue;
        add_squares(c->dense[param->index], sum, param->n_elements);
        memset(sum, 0, (size_t)param->n_elements * sizeof(float));
    }
    return UM_OK;
}

/* What was gathered, as one gradient of a parameter. */
static struct um_gradient gathered(const struct um_calibration *c, struct um_param *param)
{
    bool is_vector = param->cols == 1;
    return (struct um_gradient){.param = param,
                                .rows = is_vector ? 1 : param->rows,
                                .cols = is_vector ? param->n_elements : param->cols,
                                .n_rows = is_vector ? 1 : param->rows,
                                .dense = c->dense[param->index]};
}

static enum um_status offer_all(struct um_calibration *c, struct um_selector *selector,
                                struct um_error *err)
{
    const struct um_trainable *set = &c->tuning->set;
    for (size_t e = 0; e < set->n_entries; e++) {
        struct um_param *param = set->entries[e].param;
        if (!is_candidate(c->tuning, param))
            continue;
        if (!um_kernels()->is_finite(c->dense[param->index], param->n_elements))
            return um_gradient_diverged(param, err);
        const struct um_gradient gradient = gathered(c, param);
        UM_RETURN_IF(um_selector_offer(selector, &gradient, err));
    }
    return UM_OK;
}

enum um_status um_calibration_choose(struct um_calibration *c, int64_t n_steps,
                                     struct um_error *err)
{
    struct um_tuning *tuning = c->tuning;
    struct um_select_options options = tuning->options.select;
    struct um_selector *selector = NULL;
    enum um_status status;
    /* Squares are there, and movements stand for themselves. */
    if (c->is_squared || options.importance->source == UM_SOURCE_MOVEMENT)
        options.importance = um_importance_find("gradient");
    const struct um_selection selection = um_tuning_selection(tuning, 0, n_steps);
    tuning->step = 0;
    UM_TRY(um_selector_new(&selector, &tuning->set, &options, err));
    UM_TRY(um_selector_begin(selector, &selection, err));
    UM_TRY(offer_all(c, selector, err));
    UM_TRY(um_tuning_take(tuning, selector, err));
out:
    um_selector_free(selector);
    return status;
}
