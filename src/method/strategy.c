/* The table of strategies: when a method chooses, and whether it chooses again. */

#include "method/method.h"

const struct um_strategy um_strategies[] = {
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
const size_t um_n_strategies = UM_COUNT(um_strategies);

const struct um_strategy *um_strategy_find(const char *name)
{
    return um_find_row(um_strategies, um_n_strategies, sizeof(*um_strategies), name);
}
