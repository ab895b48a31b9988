/* Holding a vocabulary head's factors over a step, and offering them as one gradient. */
#include "method/held.h"

#include <math.h>
#include <string.h>

void um_held_free(struct um_held *held)
{
    um_free(held->squares);
    um_free(held->row_norms);
    um_free(held->x.data);
    um_free(held->lookups.data);
    um_free(held->labels);
    um_free(held->ids);
    um_free(held->lse);
    um_gradient_work_free(&held->work);
    *held = (struct um_held){0};
}

void um_held_begin(struct um_held *held)
{
    held->param = NULL;
    held->x.n = held->lookups.n = 0;
}

/* Appends n columns. Growing lays the rows out anew. */
static bool columns_add(struct um_columns *c, const float *from, int64_t ld, int64_t rows,
                        int64_t n)
{
    if (c->rows != rows || c->n + n > c->ld) {
        int64_t need = c->n + n + c->n / 2, wider = (need + 15) / 16 * 16;
        float *data = um_alloc((size_t)(rows * wider) * sizeof(float));
        if (!data)
            return false;
        for (int64_t i = 0; i < rows && c->n; i++)
            memcpy(data + i * wider, c->data + i * c->ld, (size_t)c->n * sizeof(float));
        um_free(c->data);
        *c = (struct um_columns){.data = data, .rows = rows, .n = c->n, .ld = wider};
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(c->data + i * c->ld + c->n, from + i * ld, (size_t)n * sizeof(float));
    c->n += n;
    return true;
}

static enum um_status begin_squares(struct um_held *held, struct um_param *param,
                                    struct um_error *err)
{
    size_t rows = (size_t)param->rows;
    if (held->param)
        return UM_OK;
    if (!um_grow(&held->squares, &held->squares_capacity, rows, sizeof(double)) ||
        !um_grow(&held->row_norms, &held->row_norms_capacity, rows, sizeof(float)))
        return um_fail_memory(err, param->name, rows * sizeof(double));
    memset(held->squares, 0, rows * sizeof(double));
    held->param = param;
    return UM_OK;
}

static void add_norms(struct um_held *held, const struct um_factor *part)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < held->param->rows; i++) {
        double norm = um_gradient_norm(part->dy + i * part->lddy, part->n_tokens);
        held->squares[i] += norm * norm;
    }
}

static bool add_head(struct um_held *held, const struct um_factor *f)
{
    size_t before = (size_t)held->x.n, n = (size_t)f->n_tokens;
    if (!columns_add(&held->x, f->x, f->ldx, held->param->cols, f->n_tokens) ||
        !um_grow(&held->labels, &held->labels_capacity, before + n, sizeof(*held->labels)) ||
        !um_grow(&held->lse, &held->lse_capacity, before + n, sizeof(*held->lse)))
        return false;
    memcpy(held->labels + before, f->head->labels, n * sizeof(*held->labels));
    memcpy(held->lse + before, f->head->lse, n * sizeof(*held->lse));
    held->normalizer = f->head->normalizer;
    held->cap = f->head->cap;
    held->is_rounded = f->head->is_rounded;
    return true;
}

static bool add_lookups(struct um_held *held, const struct um_factor *f)
{
    size_t before = (size_t)held->lookups.n, n = (size_t)f->n_tokens;
    if (!columns_add(&held->lookups, f->dy, f->lddy, held->param->cols, f->n_tokens) ||
        !um_grow(&held->ids, &held->ids_capacity, before + n, sizeof(*held->ids)))
        return false;
    memcpy(held->ids + before, f->ids, n * sizeof(*held->ids));
    return true;
}

enum um_status um_held_add(struct um_held *held, struct um_param *param,
                           const struct um_factor *factor, struct um_error *err)
{
    UM_RETURN_IF(begin_squares(held, param, err));
    bool has_room = true;
    if (factor->kind == UM_FACTOR_HEAD)
        has_room = add_head(held, factor);
    else if (factor->kind == UM_FACTOR_LOOKUP)
        has_room = add_lookups(held, factor);
    else
        add_norms(held, factor);
    return has_room ? UM_OK
                    : um_fail_memory(err, param->name, (size_t)factor->n_tokens *
                                                           (size_t)param->cols * sizeof(float));
}

/* A row made again may differ from the one whose norm was kept by what fp32 logits of some tens
 * differ: 1e-5 of them, hence as much of a probability. */
#define NORM_SLACK (1 + 1e-3)

static enum um_status work_out_norms(struct um_held *held, struct um_error *err)
{
    for (int64_t i = 0; i < held->param->rows; i++) {
        held->row_norms[i] = (float)(sqrt(held->squares[i]) * NORM_SLACK);
        if (!isfinite(held->row_norms[i]))
            return um_gradient_diverged(held->param, err);
    }
    return UM_OK;
}

/* The rows that were looked up get the sum of both uses, and leave the bounds to the others. */
static enum um_status offer_looked_up(struct um_held *held, const struct um_gradient *product,
                                      struct um_selector *selector, struct um_error *err)
{
    const struct um_factor lookups = {.kind = UM_FACTOR_LOOKUP, .n_tokens = held->lookups.n,
                                      .dy = held->lookups.data, .lddy = held->lookups.ld,
                                      .ids = held->ids};
    struct um_gradient rows;
    UM_RETURN_IF(um_gradient_of(&rows, &held->work, held->param, &lookups, err));
    if (held->x.n)
        UM_RETURN_IF(um_gradient_add_rows(held->work.rows, &held->work, product, rows.row,
                                          rows.n_rows, err));
    for (int64_t k = 0; k < rows.n_rows; k++)
        held->row_norms[rows.row[k]] = 0;
    return um_selector_offer(selector, &rows, err);
}

enum um_status um_held_offer(struct um_held *held, struct um_selector *selector,
                             struct um_error *err)
{
    const struct um_head head = {.weight = held->param, .labels = held->labels,
                                 .normalizer = held->normalizer, .cap = held->cap,
                                 .lse = held->lse, .is_rounded = held->is_rounded};
    if (!held->param)
        return UM_OK;
    const struct um_gradient product = {.param = held->param, .rows = held->param->rows,
                                        .cols = held->param->cols, .is_product = true,
                                        .x = held->x.data, .ldx = held->x.ld,
                                        .n_tokens = held->x.n, .row_norms = held->row_norms,
                                        .head = &head};
    UM_RETURN_IF(work_out_norms(held, err));
    if (held->lookups.n)
        UM_RETURN_IF(offer_looked_up(held, &product, selector, err));
    return held->x.n ? um_selector_offer(selector, &product, err) : UM_OK;
}

int64_t um_held_bytes(const struct um_param *head, bool is_tied, int64_t n_tokens, int64_t n_micro)
{
    /* Columns grow by half where there are several micro-batches: the old ones beside the new. */
    int64_t columns = head->cols * (n_micro > 1 ? 2 * n_tokens : n_tokens) * (int64_t)sizeof(float);
    int64_t bytes = columns + head->rows * (int64_t)(sizeof(double) + sizeof(float));
    if (!is_tied)
        return bytes;
    /* dy of the look-ups, and these by id. */
    bytes += columns + um_gradient_lookup_bytes(head, n_tokens);
    return bytes + um_gradient_made_bytes(head, n_tokens);
}
