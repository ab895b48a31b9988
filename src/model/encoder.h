/* What post-norm encoders (BERT, DistilBERT) share: one layer over parameters named by pointer. */
#ifndef UM_MODEL_ENCODER_H
#define UM_MODEL_ENCODER_H

#include "model/model.h"

struct um_linear_pair {
    struct um_param *weight, *bias;
};

struct um_encoder_layer {
    struct um_linear_pair query, key, value, output, up, down;
    struct um_linear_pair attention_norm, output_norm; /* gamma and beta */
};

/* h = norm(x + drop(attention(x))); y = norm(h + drop(down(act(up(h))))), as one block. */
struct um_value *um_encoder_layer(struct um_tape *tape, struct um_value *x,
                                  const struct um_encoder_layer *layer,
                                  const struct um_dims *dims);

#endif
