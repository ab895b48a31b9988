/*
 * The gradient of one parameter, as far as a method needs it: either a product of two factors that
 * is never formed, or the few dense rows that are not zero (embeddings, biases, norm weights,
 * gradients accumulated over micro-batches).
 */
#ifndef UM_METHOD_GRADIENT_H
#define UM_METHOD_GRADIENT_H

#include "optim/trainable.h"
#include "tensor/kernels.h"

struct um_gradient {
    struct um_param *param;
    int64_t rows, cols;       /* the parameter's; a vector is one row */
    bool is_product;
    /* Product: dW[i][j] = sum_t dy[i][t] x[j][t]. */
    const float *dy, *x;
    int64_t lddy, ldx, n_tokens;
    /* A vocabulary head's dy is gone (dy is NULL): bounds of the norms of its rows were kept as it
     * passed; rows that matter are made again. */
    const float *row_norms;
    const struct um_head *head;
    /* Else: n_rows rows [n_rows, cols], number k being row `row[k]` (ascending), or k if NULL. */
    const float *dense;
    const int32_t *row;
    int64_t n_rows;
};

/* Which row of the parameter is number k of the dense ones. */
static inline int64_t um_gradient_row(const struct um_gradient *g, int64_t k)
{
    return g->row ? g->row[k] : k;
}

/* Scratch to bring factors into that form; grows to the largest seen, then allocates nothing. */
struct um_gradient_work {
    float *rows;
    int32_t *row, *slot;      /* distinct ids; slot of an id, -1 while unused */
    size_t rows_capacity, row_capacity, slot_capacity, n_slots;
    struct um_pair *pairs;
    float *dots;
    float *made, *weights;    /* rows of dy made again; the head's rows for them */
    size_t pairs_capacity, dots_capacity, made_capacity, weights_capacity;
};
void um_gradient_work_free(struct um_gradient_work *work);
/* For plans: bytes of scratch of n_tokens look-ups; to make rows of a head's dy again; and to add
 * the gradient at n sparse elements of a matrix, and of many in one of `cols` columns. */
int64_t um_gradient_lookup_bytes(const struct um_param *table, int64_t n_tokens);
int64_t um_gradient_made_bytes(const struct um_param *head, int64_t n_tokens);
int64_t um_gradient_pairs_bytes(int64_t n);
int64_t um_gradient_stripe_bytes(int64_t cols);

/* Fails with UM_E_DIVERGED: the gradient of `param` is not finite. */
enum um_status um_gradient_diverged(const struct um_param *param, struct um_error *err);

/* The gradient that one factor makes (borrows from factor and work). UM_E_DIVERGED, naming
 * the parameter, if it is dense and not finite (of products, norms and entries tell later). */
enum um_status um_gradient_of(struct um_gradient *gradient, struct um_gradient_work *work,
                              struct um_param *param, const struct um_factor *factor,
                              struct um_error *err);

/* Adds the gradient at the entry's elements to its gradient column: dot products for sparse
 * entries, a GEMM for whole ones. */
enum um_status um_gradient_add(struct um_entry *entry, struct um_gradient_work *work,
                               const struct um_gradient *gradient, struct um_error *err);

/* out[k] = the gradient at pairs (row, column) of a product, sorted by row where dy is gone; in
 * parallel. */
enum um_status um_gradient_dots(float *out, struct um_gradient_work *work,
                                const struct um_gradient *gradient, const struct um_pair *pairs,
                                int64_t n_pairs, struct um_error *err);

/* The norm of a row of n numbers: 0 only if all are, never so small that products of norms vanish;
 * NaN if one is not finite. */
double um_gradient_norm(const float *row, int64_t n);

/* For a product without dy: adds the product's rows `rows` to out [n_rows, cols]. */
enum um_status um_gradient_add_rows(float *out, struct um_gradient_work *work,
                                    const struct um_gradient *gradient, const int32_t *rows,
                                    int64_t n_rows, struct um_error *err);

/* Writes, or adds, the whole gradient to g [rows, cols]. */
void um_gradient_dense(float *g, const struct um_gradient *gradient, bool adds);

#endif
