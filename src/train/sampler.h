/* Choosing the next token from logits, as transformers' logits processors do, in their order. */
#ifndef UM_TRAIN_SAMPLER_H
#define UM_TRAIN_SAMPLER_H

#include "base/philox.h"
#include "unmask.h"

/* A token that may come next: its share of the sum over all that may is its probability. */
struct um_likely {
    float weight; /* e^((logit - greatest logit) / temperature) */
    int32_t id;
};

struct um_sampler {
    const struct um_generate_options *options; /* borrows */
    int64_t n_vocabulary;
    struct um_likely *tokens; /* scratch: [V]; owned */
    unsigned char *is_seen;   /* scratch: [V]; owned */
    /* What um_sampler_weigh left: n_choices of `tokens`. */
    const struct um_likely *choices;
    int64_t n_choices;
};

enum um_status um_sampler_open(struct um_sampler *sampler, int64_t n_vocabulary,
                               const struct um_generate_options *options, struct um_error *err);
void um_sampler_close(struct um_sampler *sampler);

/* What may come behind seen[0..n_seen): the repetition penalty (Keskar et al. 2019), then the
 * temperature, then the top_k likeliest, then the likeliest that reach top_p of what is left
 * (Holtzman et al. 2020). At temperature 0 one token is left, the first of the likeliest. Changes
 * the logits. */
void um_sampler_weigh(struct um_sampler *sampler, float *logits, const int32_t *seen,
                      int64_t n_seen);

/* The next token: one of those, drawn by its weight. */
int32_t um_sampler_next(struct um_sampler *sampler, float *logits, const int32_t *seen,
                        int64_t n_seen, struct um_random *random);

#endif
