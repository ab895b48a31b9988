/* Choosing the next token from logits, as transformers' logits processors do, in their order. */
#ifndef UM_TRAIN_SAMPLER_H
#define UM_TRAIN_SAMPLER_H

#include "base/philox.h"
#include "unmask.h"

struct um_sampler {
    const struct um_generate_options *options; /* borrows */
    int64_t n_vocabulary;
    struct um_likely *order; /* scratch: [V]; owned */
    unsigned char *is_seen;  /* scratch: [V]; owned */
};

enum um_status um_sampler_open(struct um_sampler *sampler, int64_t n_vocabulary,
                               const struct um_generate_options *options, struct um_error *err);
void um_sampler_close(struct um_sampler *sampler);

/* The next token behind seen[0..n_seen): the repetition penalty (Keskar et al. 2019), then the
 * greatest (the first of equals), or by chance: temperature, top-k, top-p (Holtzman et al. 2020).
 * Writes over the logits. `random` is moved on by one number where there is a choice. */
int32_t um_sampler_next(struct um_sampler *sampler, float *logits, const int32_t *seen,
                        int64_t n_seen, struct um_random *random);

#endif
