/* Learning-rate schedules: linear warm-up over w steps, then the schedule's own course to step
 * n. */
#include <math.h>

#include "optim/optimizer.h"

/* Share of the way from the end of warm-up to the end, in [0, 1]. */
static double way(int64_t t, int64_t n, int64_t w)
{
    double share = (double)(t - w) / (double)(n > w ? n - w : 1);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static double warmup(int64_t t, int64_t w)
{
    return t < w ? (double)t / (double)w : 1;
}

static double linear_factor(int64_t t, int64_t n, int64_t w)
{
    return warmup(t, w) * (1 - way(t, n, w));
}

static double cosine_factor(int64_t t, int64_t n, int64_t w)
{
    return warmup(t, w) * 0.5 * (1 + cos(3.14159265358979323846 * way(t, n, w)));
}

static double constant_factor(int64_t t, int64_t n, int64_t w)
{
    (void)n;
    return warmup(t, w);
}

const struct um_lr_schedule um_lr_schedules[] = {
    {"linear", "down to zero in a straight line", linear_factor},
    {"cosine", "down to zero along half a cosine", cosine_factor},
    {"constant", "stays where warm-up led", constant_factor},
};
const size_t um_n_lr_schedules = UM_COUNT(um_lr_schedules);

const struct um_lr_schedule *um_lr_schedule_find(const char *name)
{
    return um_find_row(um_lr_schedules, um_n_lr_schedules, sizeof(*um_lr_schedules), name);
}
