/*
 * Where a step's time goes: seconds and counted FLOP by part. Time is always in one part; entering
 * another charges what has passed to the one that is left. A NULL profile measures nothing.
 */
#ifndef UM_NN_PROFILE_H
#define UM_NN_PROFILE_H

#include <stddef.h>

#include "base/cpu.h"

enum um_part {
    UM_PART_OTHER, /* between ops: bookkeeping */
    UM_PART_GEMM_FORWARD,
    UM_PART_GEMM_BACKWARD,
    UM_PART_ATTENTION,
    UM_PART_NORM,
    UM_PART_ELEMENTWISE,
    UM_PART_EMBEDDING,
    UM_PART_LOSS,
    UM_PART_SELECTION, /* gradient entries, bounds, candidates; dense gradients for `full` */
    UM_PART_UPDATE,
    UM_PART_DATA,
    UM_N_PARTS
};

struct um_profile {
    double seconds[UM_N_PARTS], flop[UM_N_PARTS];
    double since;     /* when the current part was entered; 0 = never */
    enum um_part now;
};

/* Enters a part and returns the one that was left, to be entered again. */
static inline enum um_part um_profile_enter(struct um_profile *profile, enum um_part part)
{
    if (!profile)
        return part;
    double now = um_seconds();
    enum um_part was = profile->now;
    if (profile->since > 0)
        profile->seconds[was] += now - profile->since;
    profile->since = now;
    profile->now = part;
    return was;
}

static inline void um_profile_count(struct um_profile *profile, double flop)
{
    if (profile)
        profile->flop[profile->now] += flop;
}

#endif
