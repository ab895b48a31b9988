/*
 * Optimizers over the trainable set (a family of const descriptors), gradient clipping, and
 * learning-rate schedules. Only trainable elements have state, are decayed, or count in the norm.
 *
 * adamw (Loshchilov and Hutter 2019), in PyTorch's order of operations:
 *   w *= 1 - lr wd;  m += (g - m)(1 - b1);  v = v b2 + g^2 (1 - b2);
 *   w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 * with t the global step (bias_correction: reference) or each element's own age (per-parameter).
 * sgd: m = momentum m + g (g alone without momentum); w -= lr m, decayed as above.
 */
#ifndef UM_OPTIM_OPTIMIZER_H
#define UM_OPTIM_OPTIMIZER_H

#include "optim/trainable.h"

struct um_optimizer_options {
    double lr, beta1, beta2, eps, momentum, weight_decay;
    double clip;              /* largest global norm, 0 = no clipping */
    bool is_age_per_parameter;
};

struct um_optimizer {
    const char *name, *summary;
    bool has_momentum; /* takes notice of options->momentum, */
    bool has_moments;  /* and of beta1, beta2, eps and ages */
    void (*columns)(bool has_column[UM_N_COLUMNS], const struct um_optimizer_options *options);
    /* One step (number `step` from 0) of one entry; gradients are multiplied by g_scale first. */
    void (*update)(struct um_entry *entry, const struct um_optimizer_options *options, double lr,
                   double g_scale, int64_t step);
};

extern const struct um_optimizer um_optimizers[];
extern const size_t um_n_optimizers;
const struct um_optimizer *um_optimizer_find(const char *name); /* NULL if unknown */

/* Global norm of the trainable gradients (summed in double, in order). */
double um_grad_norm(const struct um_trainable *set);

/* What gradients of this norm are multiplied by. */
double um_clip_scale(const struct um_optimizer_options *options, double norm);

/* Clips to options->clip by the given norm, updates and publishes every entry. */
void um_optimizer_step(const struct um_optimizer *optimizer, struct um_trainable *set,
                       const struct um_optimizer_options *options, double norm, double lr,
                       int64_t step);

/* Learning-rate schedules: the factor at step t of n with w warm-up steps, as in transformers. */
struct um_lr_schedule {
    const char *name, *summary;
    double (*factor)(int64_t t, int64_t n, int64_t w);
};
extern const struct um_lr_schedule um_lr_schedules[];
extern const size_t um_n_lr_schedules;
const struct um_lr_schedule *um_lr_schedule_find(const char *name);

#endif
