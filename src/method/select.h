/*
 * Exact selection without the dense gradient: the u masked parameters of greatest importance over
 * the whole scope, from gradient factors alone.
 *
 * Importance is |g|^power / (|theta| + eps)^exp. By Cauchy-Schwarz |g_ij| = |sum_t dy_it x_jt| <=
 * r_i c_j with r, c the norms of the rows of dy and x, so an entry whose bound stays below the
 * running cut (the u-th best score so far) cannot be chosen and is never computed. Three bounds,
 * each tighter and dearer, all confirmed by the same dot product, hence with the same result:
 *   rank-1     r_i c_j: one comparison per entry;
 *   segments   sum_s r_is c_js over S runs of tokens: a GEMM with inner size S;
 *   tiles      the gradient itself by a GEMM tile that is thrown away, give or take its rounding.
 * Ties go to the lower (parameter order, flat index); scores that are not finite are never chosen;
 * zero scores are, in order, when nothing better is left.
 */
#ifndef UM_METHOD_SELECT_H
#define UM_METHOD_SELECT_H

#include "method/gradient.h"

enum um_bound { UM_BOUND_AUTO, UM_BOUND_RANK1, UM_BOUND_SEGMENTS, UM_BOUND_TILES, UM_N_BOUNDS };
const char *um_bound_name(enum um_bound bound);

struct um_importance {
    const char *name, *summary;
    double power;   /* of |g| */
    bool uses_size; /* divided by (|theta| + eps)^exp */
};

struct um_select_options {
    const struct um_importance *importance;
    double exp, eps;
    enum um_bound bound;
};

/* What a selection came to, for the metrics log. */
struct um_select_stats {
    int64_t n_scored;                  /* entries scored exactly */
    int64_t n_scanned;                 /* entries compared with a bound */
    int64_t n_entries[UM_N_BOUNDS];    /* entries of matrices by the bound that pruned them */
    enum um_bound bound;               /* the one that pruned most; UM_BOUND_AUTO: none ran */
};

struct um_selector;

/* Returns an owned selector over the set (borrowed; free with um_selector_free). */
enum um_status um_selector_new(struct um_selector **selector, const struct um_trainable *set,
                               const struct um_select_options *options, struct um_error *err);
void um_selector_free(struct um_selector *selector);

/* Starts a selection of `n_wanted` entries. */
enum um_status um_selector_begin(struct um_selector *selector, int64_t n_wanted,
                                 struct um_error *err);
/* Offers the whole gradient of a parameter in scope; elements of the set are passed over. */
enum um_status um_selector_offer(struct um_selector *selector, const struct um_gradient *gradient,
                                 struct um_error *err);
/* Ends it: picks (borrowed until the next begin), sorted by (param, index), with gradients. */
enum um_status um_selector_finish(struct um_selector *selector, const struct um_pick **picks,
                                  int64_t *n_picks, struct um_select_stats *stats,
                                  struct um_error *err);

/* Bytes that selections of so many entries take of scratch: for plans. The head's dy, if it is in the
 * set, is made again for n_tokens tokens. */
int64_t um_selector_bytes(const struct um_trainable *set, int64_t n_wanted, int64_t n_tokens);

/* Score of one entry; for tests and dense references. */
double um_importance_score(const struct um_select_options *options, double gradient, double value);

#endif
