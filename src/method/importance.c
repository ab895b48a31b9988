/*
 * The table of importances. Those of a gradient say how the score is made of it and bounds find the
 * best; those of values are computed as they stand.
 */
#include <math.h>

#include "base/philox.h"
#include "method/method.h"

/* 1 / |value|: monotone, and finite at 0. The addend vanishes beside any other fp32 number, whose
 * reciprocals differ in double where they do. */
static void smallest(double *scores, const struct um_stretch *s)
{
    for (int64_t i = 0; i < s->n; i++)
        scores[i] = 1 / (fabs((double)s->values[i]) + 0x1p-200);
}

static void largest(double *scores, const struct um_stretch *s)
{
    for (int64_t i = 0; i < s->n; i++)
        scores[i] = fabs((double)s->values[i]);
}

/* Uniform in (0, 1), of 64 bits of a block that two neighbours share: a function of seed, draw and
 * position alone, so that neither order nor threads matter. */
static void by_chance(double *scores, const struct um_stretch *s)
{
    uint32_t w[4] = {0};
    for (int64_t i = 0; i < s->n; i++) {
        uint64_t position = (uint64_t)(s->first + i);
        int half = (int)(position & 1) * 2;
        if (i == 0 || half == 0)
            um_philox(w, s->seed, s->draw << 32 | (uint64_t)(uint32_t)s->param, position >> 1, 10);
        uint64_t bits = (uint64_t)w[half + 1] << 32 | w[half];
        scores[i] = isfinite(s->values[i]) ? ((double)(bits >> 11) + 0.5) * 0x1p-53 : (double)NAN;
    }
}

const struct um_importance um_importances[] = {
    {.name = "d3",
     .summary = "|gradient| / (|weight| + eps)^exp: ID3's D3",
     .power = 1,
     .uses_size = true},
    {.name = "gradient", .summary = "|gradient|", .power = 1},
    {.name = "fisher",
     .summary = "gradient squared; over method.samples, the mean of each row's own",
     .power = 2},
    {.name = "magnitude-smallest",
     .summary = "the smallest |weight| first",
     .source = UM_SOURCE_VALUES,
     .score = smallest},
    {.name = "magnitude-largest",
     .summary = "the largest |weight| first",
     .source = UM_SOURCE_VALUES,
     .score = largest},
    {.name = "random",
     .summary = "by chance, from train.seed and the position",
     .source = UM_SOURCE_VALUES,
     .score = by_chance},
    {.name = "movement",
     .summary = "how far a trial of full fine-tuning moves the weight",
     .source = UM_SOURCE_MOVEMENT,
     .power = 1},
};
const size_t um_n_importances = UM_COUNT(um_importances);

const struct um_importance *um_importance_find(const char *name)
{
    return um_find_row(um_importances, um_n_importances, sizeof(*um_importances), name);
}
