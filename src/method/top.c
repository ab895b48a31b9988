/* A binary heap with the worst of the best at its root. */
#include "method/top.h"

#include <math.h>

void um_top_free(struct um_top *top)
{
    um_free(top->items);
    *top = (struct um_top){0};
}

enum um_status um_top_begin(struct um_top *top, int64_t n_wanted, struct um_error *err)
{
    if (!um_grow(&top->items, &top->capacity, (size_t)n_wanted, sizeof(*top->items)))
        return um_fail_memory(err, "the selection", (size_t)n_wanted * sizeof(*top->items));
    top->n = 0;
    top->n_wanted = n_wanted;
    return UM_OK;
}

static bool is_worse(const struct um_scored *a, const struct um_scored *b)
{
    if (a->score != b->score)
        return a->score < b->score;
    if (a->pick.param != b->pick.param)
        return a->pick.param > b->pick.param;
    return a->pick.index > b->pick.index;
}

static void sift_up(struct um_top *top, int64_t at)
{
    struct um_scored item = top->items[at];
    while (at > 0 && is_worse(&item, &top->items[(at - 1) / 2])) {
        top->items[at] = top->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    top->items[at] = item;
}

static void sift_down(struct um_top *top, int64_t at)
{
    struct um_scored item = top->items[at];
    for (int64_t child; (child = 2 * at + 1) < top->n; at = child) {
        if (child + 1 < top->n && is_worse(&top->items[child + 1], &top->items[child]))
            child++;
        if (!is_worse(&top->items[child], &item))
            break;
        top->items[at] = top->items[child];
    }
    top->items[at] = item;
}

void um_top_offer(struct um_top *top, double score, struct um_pick pick)
{
    struct um_scored item = {.score = score, .pick = pick};
    if (!isfinite(score) || score <= 0 || top->n_wanted == 0)
        return;
    if (top->n < top->n_wanted) {
        top->items[top->n++] = item;
        sift_up(top, top->n - 1);
    } else if (is_worse(&top->items[0], &item)) {
        top->items[0] = item;
        sift_down(top, 0);
    }
}

double um_top_cut(const struct um_top *top)
{
    if (top->n < top->n_wanted)
        return 0;
    return top->n_wanted ? top->items[0].score : INFINITY;
}
