/* Unmasking schedules: F, the share of the budget that is unmasked when a share x of the steps is
 * done; F(0) = 0, F(1) = 1, never falling (DESIGN, section 1; the paper uses `uniform`). */
#include <math.h>

#include "method/method.h"

static double uniform(double x)
{
    return x;
}

static double decreasing(double x)
{
    return 2 * x - x * x;
}

static double increasing(double x)
{
    return x * x;
}

static double cosine(double x)
{
    return (1 - cos(3.14159265358979323846 * x)) / 2;
}

static double exponential(double x)
{
    return (1 - exp(-5 * x)) / (1 - exp(-5));
}

static double one_shot(double x)
{
    return x > 0 ? 1 : 0;
}

const struct um_schedule um_schedules[] = {
    {"uniform", "as many at every step", uniform},
    {"decreasing", "many at first, fewer and fewer", decreasing},
    {"increasing", "few at first, more and more", increasing},
    {"cosine", "few at both ends, many in the middle", cosine},
    {"exponential", "nearly all in the first half", exponential},
    {"one-shot", "all at the first step", one_shot},
};
const size_t um_n_schedules = UM_COUNT(um_schedules);

const struct um_schedule *um_schedule_find(const char *name)
{
    return um_find_row(um_schedules, um_n_schedules, sizeof(*um_schedules), name);
}

int64_t um_schedule_total(const struct um_schedule *schedule, int64_t budget, int64_t step,
                          int64_t n_steps, double until)
{
    double x = (double)(step + 1) / ((double)n_steps * until);
    return llround((double)budget * schedule->share(x < 1 ? x : 1));
}
