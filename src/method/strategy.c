/* The table of strategies: when a method chooses, and whether it chooses again. */
#include <string.h>

#include "method/method.h"

static const struct um_strategy strategies[] = {
    {.name = "increment",
     .summary = "more at every selection, as the schedule says; what is unmasked stays so",
     .schedule = "uniform",
     .every = 1},
    {.name = "static",
     .summary = "the whole budget once, at the first step or before it",
     .schedule = "one-shot",
     .chooses_once = true},
    {.name = "repeat",
     .summary = "the whole budget anew every method.every steps",
     .schedule = "one-shot",
     .every = 50,
     .is_fresh = true},
    {.name = "whole",
     .summary = "everything in scope from the first step, whatever the budget",
     .is_whole = true},
};
const struct um_strategy *const um_strategies[] = {&strategies[0], &strategies[1], &strategies[2],
                                                   &strategies[3]};
const size_t um_n_strategies = UM_COUNT(um_strategies);

const struct um_strategy *um_strategy_find(const char *name)
{
    for (size_t i = 0; i < um_n_strategies; i++)
        if (strcmp(strategies[i].name, name) == 0)
            return &strategies[i];
    return NULL;
}
