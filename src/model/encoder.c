/* The post-norm encoder of Vaswani et al. 2017, as BERT has it. */
#include "model/encoder.h"

#include "model/site.h"

struct um_value *um_encoder_linear(const struct um_model *model, struct um_tape *tape,
                                   struct um_value *x, int role, int64_t layer)
{
    return um_linear(tape, x, um_model_param(model, role, layer),
                     um_model_param(model, role + 1, layer));
}

static struct um_value *norm(const struct um_model *model, struct um_tape *tape,
                             struct um_value *x, int role, int64_t layer)
{
    return um_norm(tape, x, um_model_param(model, role, layer),
                   um_model_param(model, role + 1, layer),
                   (struct um_norm_options){.eps = (float)model->dims.norm_eps});
}

/* norm(x + drop(branch)) */
static struct um_value *join(const struct um_model *model, struct um_tape *tape,
                             struct um_value *x, struct um_value *branch, enum um_site site,
                             int role, int64_t layer)
{
    x = um_model_join(model, tape, x, branch,
                      (struct um_join){.site = site,
                                       .layer = layer,
                                       .dropout = (float)model->dims.dropout,
                                       .gamma = um_model_param(model, role, layer),
                                       .beta = um_model_param(model, role + 1, layer),
                                       .norm = {.eps = (float)model->dims.norm_eps}});
    return norm(model, tape, x, role, layer);
}

static struct um_value *encoder_layer(const struct um_model *model, struct um_tape *tape,
                                      struct um_value *x, int64_t l)
{
    const struct um_dims *dims = &model->dims;
    const struct um_attention_options attention = {.n_heads = dims->H,
                                                   .n_kv_heads = dims->H,
                                                   .dropout = (float)dims->attention_dropout};
    um_tape_block_begin(tape);
    struct um_value *q = um_encoder_linear(model, tape, x, UM_ENCODER_QUERY, l);
    struct um_value *k = um_encoder_linear(model, tape, x, UM_ENCODER_KEY, l);
    struct um_value *v = um_encoder_linear(model, tape, x, UM_ENCODER_VALUE, l);
    struct um_value *seen = um_attention(tape, q, k, v, attention);
    seen = um_encoder_linear(model, tape, seen, UM_ENCODER_OUTPUT, l);
    struct um_value *h =
        join(model, tape, x, seen, UM_SITE_ATTENTION, UM_ENCODER_ATTENTION_NORM, l);
    struct um_value *wide = um_encoder_linear(model, tape, h, UM_ENCODER_UP, l);
    wide = um_activate(tape, wide, dims->activation);
    struct um_value *y = um_encoder_linear(model, tape, wide, UM_ENCODER_DOWN, l);
    y = join(model, tape, h, y, UM_SITE_FEED_FORWARD, UM_ENCODER_OUTPUT_NORM, l);
    um_tape_block_end(tape);
    return y;
}

struct um_value *um_encoder_hidden(const struct um_model *model, struct um_tape *tape,
                                   const struct um_lookup *lookups, int n_lookups,
                                   int64_t n_tokens)
{
    struct um_value *x = um_embed(tape, lookups, n_lookups, n_tokens, 1);
    x = norm(model, tape, x, UM_ENCODER_EMBED_NORM, -1);
    x = um_dropout(tape, x, (float)model->dims.dropout);
    for (int64_t l = 0; l < model->dims.L; l++)
        x = encoder_layer(model, tape, x, l);
    return x;
}

struct um_value *um_encoder_tag(const struct um_model *model, struct um_tape *tape,
                                struct um_value *x, int role, double dropout)
{
    return um_encoder_linear(model, tape, um_dropout(tape, x, (float)dropout), role, -1);
}
