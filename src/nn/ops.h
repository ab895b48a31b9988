/*
 * The ops: each records a node on the tape and returns its output, [rows, cols] feature-major.
 * Shapes that do not fit fail the tape (um_tape_forward reports it), so that a model's forward
 * function needs no checks. Every op's forward and backward stand side by side in one file.
 */
#ifndef UM_NN_OPS_H
#define UM_NN_OPS_H

#include "nn/tape.h"

enum um_activation {
    UM_ACT_GELU,      /* x Phi(x) */
    UM_ACT_GELU_TANH, /* its tanh approximation */
    UM_ACT_SILU,
    UM_ACT_RELU,
    UM_ACT_TANH,
};

/* One table of an embedding: column t of the sum gets row ids[t]. */
struct um_lookup {
    struct um_param *table; /* [entries, D] */
    const int32_t *ids;     /* n ids, in range (borrows until the tape is closed) */
};
enum { UM_LOOKUPS_MAX = 3 };

/* [D, n]: the sum of up to UM_LOOKUPS_MAX table rows per token, times `scale`. */
struct um_value *um_embed(struct um_tape *tape, const struct um_lookup *lookups, int n_lookups,
                          int64_t n, float scale);

/* W x + b: W [out, in], x [in, T], b [out] or NULL. */
struct um_value *um_linear(struct um_tape *tape, struct um_value *x, struct um_param *weight,
                           struct um_param *bias);

/* Layer norm over features; beta may be NULL. is_rms: RMS norm (no mean, no beta). */
struct um_norm_options {
    float eps;
    bool is_rms;
};
struct um_value *um_norm(struct um_tape *tape, struct um_value *x, struct um_param *gamma,
                         struct um_param *beta, struct um_norm_options options);

struct um_value *um_activate(struct um_tape *tape, struct um_value *x, enum um_activation kind);

/* drop(x), and a + drop(x), with probability p while training. */
struct um_value *um_dropout(struct um_tape *tape, struct um_value *x, float p);
struct um_value *um_residual(struct um_tape *tape, struct um_value *a, struct um_value *x, float p);

struct um_attention_options {
    int64_t n_heads, n_kv_heads; /* query head h reads key-value head h / (n_heads / n_kv_heads) */
    float scale;                 /* of the scores; 0 = 1 / sqrt(head size) */
    float dropout;
    bool is_causal;
    int64_t window;              /* causal: tokens seen, the own one included; 0 = all before */
};
/* softmax(scale k^T q) v within each sequence; q [H E, T], k and v [K E, T]; result [H E, T]. The
 * probabilities are computed again in the backward pass, from one number per head and token. */
struct um_value *um_attention(struct um_tape *tape, struct um_value *q, struct um_value *k,
                              struct um_value *v, struct um_attention_options options);

/* [rows, n]: the given columns of x (borrows `columns` until the tape is closed). */
struct um_value *um_take_columns(struct um_tape *tape, struct um_value *x, const int32_t *columns,
                                 int64_t n);

/* sum over columns of -log softmax(logits)[label] / normalizer, as [1, 1]. Labels are in range. */
struct um_value *um_cross_entropy(struct um_tape *tape, struct um_value *logits,
                                  const int32_t *labels, double normalizer);
/* sum over columns of (output - target)^2 / normalizer, for outputs [1, n]. */
struct um_value *um_squared_error(struct um_tape *tape, struct um_value *outputs,
                                  const float *targets, double normalizer);

#endif
