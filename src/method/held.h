/*
 * The vocabulary head's gradient until the end of a step. Its d_logits pass in chunks and are gone;
 * selection needs the whole gradient, and comes last, when the cut is high. So this much is held of
 * all micro-batches: the norms of the rows of d_logits, what it takes to make rows of them again
 * (x, lse, labels), and, if the head is tied to the table of words, what the look-ups add.
 */
#ifndef UM_METHOD_HELD_H
#define UM_METHOD_HELD_H

#include "method/select.h"

/* Columns laid side by side, feature-major, growing. */
struct um_columns {
    float *data; /* [rows, n], rows ld apart; owned */
    int64_t rows, n, ld;
};

struct um_held {
    struct um_param *param;       /* NULL: nothing is held */
    double *squares;              /* of the norms of the rows of d_logits, [V] */
    float *row_norms;
    struct um_columns x, lookups; /* the head's input; dy of the look-ups */
    int32_t *labels, *ids;        /* of x's columns; of the look-ups' */
    float *lse;
    double normalizer;
    float cap;
    bool is_rounded;
    size_t squares_capacity, row_norms_capacity, labels_capacity, ids_capacity, lse_capacity;
    struct um_gradient_work work;
};

void um_held_free(struct um_held *held);
/* Forgets what is held; memory stays. */
void um_held_begin(struct um_held *held);

/* Takes a factor of a head's parameter: a part of its product (adds norms), the HEAD factor or a
 * LOOKUP. UM_E_RUNTIME: out of memory. */
enum um_status um_held_add(struct um_held *held, struct um_param *param,
                           const struct um_factor *factor, struct um_error *err);

/* Offers the whole gradient to a selector: looked-up rows dense, the others by bounds.
 * UM_E_DIVERGED: it is not finite. */
enum um_status um_held_offer(struct um_held *held, struct um_selector *selector,
                             struct um_error *err);

/* Bytes that a step of so many tokens will hold of a head [V, D], in micro-batches of so many at
 * most, scratch included: for the plan. */
int64_t um_held_bytes(const struct um_param *head, bool is_tied, int64_t n_tokens, int64_t n_micro);

#endif
