/* The selector: what its files share. */
#ifndef UM_METHOD_SELECT_PRIVATE_H
#define UM_METHOD_SELECT_PRIVATE_H

#include "method/select.h"
#include "method/top.h"

enum { UM_PANEL_MAX = 1 << 18 }; /* entries of a panel at most (or one row) */

struct um_selector {
    const struct um_trainable *set;
    struct um_select_options options;
    double column_power, row_power; /* power / exp and 1 / exp; or 1 and 1 / power without size */
    struct um_top *tops; /* one for each entry of the set; a ranking of all uses the first */
    struct um_top *top;  /* of the parameter that is being offered */
    struct um_selection selection;
    struct um_select_stats stats;
    struct um_pick *picks;
    size_t picks_capacity;
    struct um_gradient_work work;
    /* Scratch, grown to the largest panel and factor seen. */
    float *row_norms, *column_norms, *column_bounds; /* r, c, c^column_power */
    float *row_segments, *column_segments;           /* [rows, S] and [S, cols] */
    float *tile, *theta;
    int32_t *hits, *n_hits;  /* of each row of a panel: columns that may reach the cut */
    int64_t *starts;         /* of each row's hits among the pairs */
    struct um_pair *pairs;   /* hits to confirm, with their scores' upper bounds, */
    double *bounds, *scores; /* gradients and scores */
    float *dots;
    bool is_settled; /* the cut hardly rose over the last panel */
    size_t row_norms_capacity, column_norms_capacity, column_bounds_capacity;
    size_t row_segments_capacity, column_segments_capacity, tile_capacity, theta_capacity;
    size_t dots_capacity, hits_capacity, n_hits_capacity, pairs_capacity;
    size_t bounds_capacity, scores_capacity, starts_capacity;
};

/* Whether importance depends on the weight's size. */
bool um_selector_is_sized(const struct um_selector *selector);

/* Makes s->top the ranking that a parameter's entries belong to. */
void um_selector_turn_to(struct um_selector *selector, const struct um_param *param);

/* Room for a panel of n entries in n_rows rows. */
enum um_status um_selector_panel_room(struct um_selector *selector, int64_t n_rows, int64_t n,
                                      struct um_error *err);

#endif
