/*
 * What post-norm encoders (BERT, DistilBERT) share: the roles of their weights, which an
 * architecture's own enum continues, and the embedding's norm and layers over them.
 */
#ifndef UM_MODEL_ENCODER_H
#define UM_MODEL_ENCODER_H

#include "model/model.h"

/* Each weight (or gamma) is followed by its bias (or beta). All but the first two are a layer's. */
enum um_encoder_role {
    UM_ENCODER_EMBED_NORM,
    UM_ENCODER_QUERY = UM_ENCODER_EMBED_NORM + 2,
    UM_ENCODER_KEY = UM_ENCODER_QUERY + 2,
    UM_ENCODER_VALUE = UM_ENCODER_KEY + 2,
    UM_ENCODER_OUTPUT = UM_ENCODER_VALUE + 2,
    UM_ENCODER_ATTENTION_NORM = UM_ENCODER_OUTPUT + 2,
    UM_ENCODER_UP = UM_ENCODER_ATTENTION_NORM + 2,
    UM_ENCODER_DOWN = UM_ENCODER_UP + 2,
    UM_ENCODER_OUTPUT_NORM = UM_ENCODER_DOWN + 2,
    UM_ENCODER_ROLES = UM_ENCODER_OUTPUT_NORM + 2,
};

/* drop(norm(sum of the look-ups)), then all layers, each one block:
 * h = norm(x + drop(attention(x))); y = norm(h + drop(down(act(up(h))))). */
struct um_value *um_encoder_hidden(const struct um_model *model, struct um_tape *tape,
                                   const struct um_lookup *lookups, int n_lookups,
                                   int64_t n_tokens);

/* The head that tags tokens: the map `role` over x, which is dropped out first. */
struct um_value *um_encoder_tag(const struct um_model *model, struct um_tape *tape,
                                struct um_value *x, int role, double dropout);

/* A linear map over x by the role of its weight; layer -1: of none. */
struct um_value *um_encoder_linear(const struct um_model *model, struct um_tape *tape,
                                   struct um_value *x, int role, int64_t layer);

#endif
