/* The post-norm encoder layer of Vaswani et al. 2017, as BERT has it. */
#include "model/encoder.h"

static struct um_value *linear(struct um_tape *tape, struct um_value *x, struct um_linear_pair map)
{
    return um_linear(tape, x, map.weight, map.bias);
}

struct um_value *um_encoder_layer(struct um_tape *tape, struct um_value *x,
                                  const struct um_encoder_layer *layer, const struct um_dims *dims)
{
    const struct um_norm_options norm = {.eps = (float)dims->norm_eps};
    const float dropout = (float)dims->dropout;
    const struct um_attention_options attention = {.n_heads = dims->H,
                                                   .n_kv_heads = dims->H,
                                                   .dropout = (float)dims->attention_dropout};
    um_tape_block_begin(tape);
    struct um_value *q = linear(tape, x, layer->query);
    struct um_value *k = linear(tape, x, layer->key);
    struct um_value *v = linear(tape, x, layer->value);
    struct um_value *seen = um_attention(tape, q, k, v, attention);
    struct um_value *h = um_residual(tape, x, linear(tape, seen, layer->output), dropout);
    h = um_norm(tape, h, layer->attention_norm.weight, layer->attention_norm.bias, norm);
    struct um_value *wide = um_activate(tape, linear(tape, h, layer->up), dims->activation);
    struct um_value *y = um_residual(tape, h, linear(tape, wide, layer->down), dropout);
    y = um_norm(tape, y, layer->output_norm.weight, layer->output_norm.bias, norm);
    um_tape_block_end(tape);
    return y;
}
