/*
 * Exact selection without the dense gradient: the u masked parameters of greatest importance over
 * the whole scope (or so many of each tensor), from gradient factors or stored values alone.
 *
 * Importance of a gradient is |g|^power / (|theta| + eps)^exp. By Cauchy-Schwarz |g_ij| = |sum_t
 * dy_it x_jt| <= r_i c_j with r, c the norms of the rows of dy and x, so an entry whose bound stays
 * below the running cut (the u-th best score so far) cannot be chosen and is never computed. Three
 * bounds, each tighter and dearer, all confirmed by the same dot product, hence with the same
 * result: rank-1     r_i c_j: one comparison per entry; segments   sum_s r_is c_js over S runs of
 * tokens: a GEMM with inner size S; tiles      the gradient itself by a GEMM tile that is thrown
 * away, give or take its rounding. Ties go to the lower (parameter order, flat index); scores that
 * are not finite are never chosen; zero scores are, in order, when nothing better is left.
 */
#ifndef UM_METHOD_SELECT_H
#define UM_METHOD_SELECT_H

#include "method/gradient.h"

enum um_bound { UM_BOUND_AUTO, UM_BOUND_RANK1, UM_BOUND_SEGMENTS, UM_BOUND_TILES, UM_N_BOUNDS };
const char *um_bound_name(enum um_bound bound);

/* What an importance is made of. */
enum um_source {
    UM_SOURCE_GRADIENT, /* the gradient, and perhaps the value */
    UM_SOURCE_VALUES,   /* the value or the position alone: no gradient, known at any time */
    UM_SOURCE_MOVEMENT, /* how far a trial of full fine-tuning moved the value */
};

/* n consecutive elements of a parameter, and the random numbers that belong to them. */
struct um_stretch {
    uint64_t seed, draw;
    int param;
    int64_t first, n;
    const float *values;
};

struct um_importance {
    const char *name, *summary;
    enum um_source source;
    double power;   /* of |g| */
    bool uses_size; /* divided by (|theta| + eps)^exp */
    /* Of values: writes the stretch's n scores, none below 0. */
    void (*score)(double *scores, const struct um_stretch *stretch);
};

struct um_select_options {
    const struct um_importance *importance;
    double exp, eps;
    enum um_bound bound;
    uint64_t seed; /* of a random importance */
};

/* One selection. */
struct um_selection {
    int64_t n_wanted;
    const int64_t *quotas; /* how many of each entry of the set, n_wanted in all; NULL: the best */
    bool is_fresh;         /* members of the set compete as well: a choice of everything */
    uint64_t draw;         /* of random numbers */
};

/* What a selection came to, for the metrics log. */
struct um_select_stats {
    int64_t n_scored;                  /* entries scored exactly */
    int64_t n_entries[UM_N_BOUNDS];    /* entries of matrices by the bound that pruned them */
    enum um_bound bound;               /* the one that pruned most; UM_BOUND_AUTO: none ran */
};

struct um_selector;

/* Returns an owned selector over the set (borrowed; free with um_selector_free). */
enum um_status um_selector_new(struct um_selector **selector, const struct um_trainable *set,
                               const struct um_select_options *options, struct um_error *err);
void um_selector_free(struct um_selector *selector);

/* Starts a selection. */
enum um_status um_selector_begin(struct um_selector *selector,
                                 const struct um_selection *selection, struct um_error *err);
/* Offers the whole gradient of a parameter in scope; elements of the set are passed over, unless
 * the choice is fresh. */
enum um_status um_selector_offer(struct um_selector *selector, const struct um_gradient *gradient,
                                 struct um_error *err);
/* Offers all sparse entries of the set by an importance of values. */
enum um_status um_selector_offer_values(struct um_selector *selector, struct um_error *err);
/* Ends it: picks (borrowed until the next begin), sorted by (param, index), with gradients. */
enum um_status um_selector_finish(struct um_selector *selector, const struct um_pick **picks,
                                  int64_t *n_picks, struct um_select_stats *stats,
                                  struct um_error *err);

/* Bytes that selections of so many entries take of scratch: for plans. The head's dy, if it is in
 * the set, is made again for n_tokens tokens. */
int64_t um_selector_bytes(const struct um_trainable *set, int64_t n_wanted, int64_t n_tokens);

/* Score of one entry: the importance by which entries are ranked. */
double um_importance_score(const struct um_select_options *options, double gradient, double value);

#endif
