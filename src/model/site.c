/*
 * Bottleneck adapters at their sites, as the library `adapters` has them: Houlsby et al. 2019 at
 * both sites, x = branch; Pfeiffer et al. 2021 behind the feed-forward layer, x = norm(stream +
 * branch), the residual around the adapter starting before that norm.
 */
#include "model/site.h"

const char *um_site_name(enum um_site site)
{
    static const char *const names[UM_N_SITES] = {[UM_SITE_ATTENTION] = "attention",
                                                  [UM_SITE_FEED_FORWARD] = "feed_forward"};
    return names[site];
}

static struct um_value *adapt(struct um_tape *tape, const struct um_adapter *a,
                              struct um_value *stream, struct um_value *branch,
                              const struct um_join *join)
{
    struct um_value *x = branch;
    if (a->sees_joined) {
        x = um_residual(tape, stream, branch, 0);
        if (join->gamma)
            x = um_norm(tape, x, join->gamma, join->beta, join->norm);
    }
    x = um_activate(tape, um_linear(tape, x, a->down, a->down_bias), a->activation);
    return um_residual(tape, branch, um_linear(tape, x, a->up, a->up_bias), a->dropout);
}

struct um_value *um_model_join(const struct um_model *model, struct um_tape *tape,
                               struct um_value *stream, struct um_value *branch,
                               struct um_join join)
{
    const struct um_adapter *adapter =
        model->adapters ? model->adapters[join.layer * UM_N_SITES + join.site] : NULL;
    if (!adapter)
        return um_residual(tape, stream, branch, join.dropout);
    branch = adapt(tape, adapter, stream, um_dropout(tape, branch, join.dropout), &join);
    return um_residual(tape, stream, branch, 0);
}
