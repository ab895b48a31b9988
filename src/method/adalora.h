/*
 * AdaLoRA (Zhang et al. 2023) beyond its form: a penalty that keeps `down` and `up` orthogonal, and
 * the allotment of ranks. After every step each element's importance |w g| is smoothed to a
 * sensitivity, and its distance from that to an uncertainty; a rank's score is sensitivity times
 * uncertainty of its lambda plus the means over its row of `down` and column of `up`. The ranks of
 * lowest score, over all maps, have their lambda set to zero, so that as many are left as the
 * schedule says: all up to step tinit, then falling along a cube, to target_rank a map on average
 * at step n - tfinal, and fixed from there on. As in PEFT, a rank that was set to zero comes back
 * until then if its score does.
 */
#ifndef UM_METHOD_ADALORA_H
#define UM_METHOD_ADALORA_H

#include "optim/trainable.h"

struct um_adalora_options {
    int64_t target_rank, tinit, tfinal, every; /* steps; between two allotments */
    double beta1, beta2;                       /* smoothing of sensitivity and of uncertainty */
    double orthogonality;                      /* weight of the penalty */
    bool keeps_ranks;                          /* none is allotted, though all may train */
};

struct um_adalora {
    struct um_adalora_options options;
    const struct um_low_rank **pairs; /* those with a lambda; owned */
    size_t n;
    int64_t n_ranks;                  /* in all */
    bool allots;                      /* whole entries: ranks are allotted */
    float *work;                      /* a rank's square matrix, or all scores twice; owned */
};

/* Whether a model's parameters are in AdaLoRA's form. */
bool um_adalora_is_there(const struct um_param *params, int64_t n_params);
/* Ranks are allotted if `allots`; else they stay as they are, as when few of their elements train.
 * UM_E_USAGE: the target is above the first rank. */
enum um_status um_adalora_open(struct um_adalora *adalora, const struct um_param *params,
                               int64_t n_params, const struct um_adalora_options *options,
                               bool allots, struct um_error *err);
/* Allotting ranks takes the gradients of all elements: UM_E_USAGE if the set leaves some out. */
enum um_status um_adalora_check(const struct um_adalora *adalora, const struct um_trainable *set,
                                struct um_error *err);
void um_adalora_close(struct um_adalora *adalora);

/* Adds the penalty's gradient at the set's elements, and returns the penalty: orthogonality times
 * the mean of |down down^T - I| and |up^T up - I| (Frobenius) over all maps. */
double um_adalora_penalty(const struct um_adalora *adalora, struct um_trainable *set);

/* After the optimizer's step number `step` of n_steps, with gradients that it multiplied by
 * g_scale: importances, and which ranks stay. */
void um_adalora_allot(struct um_adalora *adalora, struct um_trainable *set, int64_t step,
                      int64_t n_steps, double g_scale);

#endif
