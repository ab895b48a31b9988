/*
 * The u best of all entries offered: a heap whose root is the worst of them. A total order makes
 * the result independent of the order of offers: higher score, then lower parameter, then lower
 * index.
 */
#ifndef UM_METHOD_TOP_H
#define UM_METHOD_TOP_H

#include "optim/trainable.h"

struct um_scored {
    double score;
    struct um_pick pick;
};

struct um_top {
    struct um_scored *items; /* the heap */
    size_t capacity;
    int64_t n, n_wanted;
};

void um_top_free(struct um_top *top);
enum um_status um_top_begin(struct um_top *top, int64_t n_wanted, struct um_error *err);
/* Scores that are not finite, or not above zero, are passed over. */
void um_top_offer(struct um_top *top, double score, struct um_pick pick);
/* What a score must reach to be of use: 0 until there are n_wanted, then the worst of them. */
double um_top_cut(const struct um_top *top);

#endif
