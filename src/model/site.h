/*
 * Sites: the places where a branch of a layer (attention, feed-forward) joins the stream, y =
 * stream
 * + drop(branch). A forward function declares each by one call; a bottleneck adapter may stand
 * there.
 */
#ifndef UM_MODEL_SITE_H
#define UM_MODEL_SITE_H

#include "model/model.h"

enum um_site { UM_SITE_ATTENTION, UM_SITE_FEED_FORWARD, UM_N_SITES };
const char *um_site_name(enum um_site site);

/* branch + up f(down x + b) + c; x is the branch, or what the model would go on with without the
 * adapter. */
struct um_adapter {
    struct um_param *down, *down_bias, *up, *up_bias;
    enum um_activation activation;
    bool sees_joined; /* x = norm(stream + branch) */
    float dropout;    /* of what is added */
};

struct um_join {
    enum um_site site;
    int64_t layer;
    float dropout;
    struct um_param *gamma, *beta; /* of the norm that follows; NULL = none */
    struct um_norm_options norm;
};

/* The stream with the branch joined to it; the norm that follows is the caller's to record. */
struct um_value *um_model_join(const struct um_model *model, struct um_tape *tape,
                               struct um_value *stream, struct um_value *branch,
                               struct um_join join);

#endif
