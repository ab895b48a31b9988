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

/* W x + b: W [out, in], x [in, T], b [out] or NULL; with what is attached to W. */
struct um_value *um_linear(struct um_tape *tape, struct um_value *x, struct um_param *weight,
                           struct um_param *bias);
/* W^T x + b: W [in, out] (GPT-2's "Conv1D"). */
struct um_value *um_linear_transposed(struct um_tape *tape, struct um_value *x,
                                      struct um_param *weight, struct um_param *bias);

/* The narrow half of a low-rank change: scale lambda * (down drop(x)), [r, T]. The linear op over a
 * parameter that has one attached records it, adds up times this to its output, and hands that to
 * um_magnitude if there is a magnitude. */
struct um_value *um_low_rank_down(struct um_tape *tape, struct um_value *x,
                                  const struct um_low_rank *low_rank);
/* magnitude / |row of W + scale up down| * z + b, for z = (W + scale up down) x; b may be NULL. */
struct um_value *um_magnitude(struct um_tape *tape, struct um_value *z,
                              const struct um_param *weight, struct um_param *bias);
/* The length of what each output is the product of x with: rows of W, or W + scale up down.
 * `scratch` holds um_low_rank_scratch(weight) floats. */
void um_low_rank_norms(float *norms, const struct um_param *weight, float *scratch);
int64_t um_low_rank_scratch(const struct um_param *weight);
/* Rows of a map with what is attached folded in, as fp32 [n_rows, cols], as a merge needs them;
 * `norms` are um_low_rank_norms', not read without a magnitude. */
void um_low_rank_fold(float *out, const struct um_param *weight, int64_t first, int64_t n_rows,
                      const float *norms);

/* Layer norm over features; gamma [rows, or a divisor of them: each group of so many rows is normed
 * by itself], beta may be NULL. */
struct um_norm_options {
    float eps;
    bool is_rms;   /* RMS norm: no mean, no beta */
    bool adds_one; /* the weight is gamma - 1 (Gemma) */
};
struct um_value *um_norm(struct um_tape *tape, struct um_value *x, struct um_param *gamma,
                         struct um_param *beta, struct um_norm_options options);

struct um_value *um_activate(struct um_tape *tape, struct um_value *x, enum um_activation kind);

/* f(g) u, elementwise: the gated half of a feed-forward layer. */
struct um_value *um_gate(struct um_tape *tape, struct um_value *g, struct um_value *u,
                         enum um_activation kind);

/* Rotary positions: theta, and how they are stretched for long contexts (see rope.c). */
enum um_rope_scaling { UM_ROPE_PLAIN, UM_ROPE_LINEAR, UM_ROPE_LLAMA3, UM_ROPE_YARN };
struct um_rope_options {
    double theta;
    enum um_rope_scaling scaling;
    double factor, original;        /* stretched by; positions of the original context */
    double low_factor, high_factor; /* llama3 */
    double beta_fast, beta_slow;    /* yarn */
    double attention_factor;        /* of sines and cosines; 0 = 1 */
    const float *factors; /* E/2 numbers that frequencies are divided by, or NULL (borrows) */
};
/* Cosines and sines [E, n] of tokens at `positions` (borrows until the tape is closed). */
struct um_value *um_rope_angles(struct um_tape *tape, const int32_t *positions, int64_t n,
                                int64_t head_size, struct um_rope_options options);
/* x [H E, T] turned by the angles [E, T], head by head. Pairs are (i, i + E/2), or interleaved
 * (2i, 2i + 1). */
struct um_value *um_rope(struct um_tape *tape, struct um_value *x, struct um_value *angles,
                         bool is_interleaved);

/* drop(x), and a + drop(x), with probability p while training. */
struct um_value *um_dropout(struct um_tape *tape, struct um_value *x, float p);
struct um_value *um_residual(struct um_tape *tape, struct um_value *a, struct um_value *x, float p);

struct um_attention_options {
    int64_t n_heads, n_kv_heads; /* query head h reads key-value head h / (n_heads / n_kv_heads) */
    float scale;                 /* of the scores; 0 = 1 / sqrt(head size) */
    float dropout;
    bool is_causal;
    int64_t window;              /* causal: tokens seen, the own one included; 0 = all before */
    float cap;                   /* scores become cap tanh(score / cap); 0 = as they are */
};
/* softmax(scale k^T q) v within each sequence; q [H E, T], k and v [K E, T]; result [H E, T]. The
 * probabilities are computed again in the backward pass, from one number per head and token. */
struct um_value *um_attention(struct um_tape *tape, struct um_value *q, struct um_value *k,
                              struct um_value *v, struct um_attention_options options);
/* The same with q, k and v as rows of one value [(H + 2 K) E, T] (GPT-2). */
struct um_value *um_attention_packed(struct um_tape *tape, struct um_value *qkv,
                                     struct um_attention_options options);

/* [rows, n]: the given columns of x (borrows `columns` until the tape is closed). */
struct um_value *um_take_columns(struct um_tape *tape, struct um_value *x, const int32_t *columns,
                                 int64_t n);

/* sum over columns of -log softmax(logits)[label] / normalizer, as [1, 1]. Labels are in range. */
struct um_value *um_cross_entropy(struct um_tape *tape, struct um_value *logits,
                                  const int32_t *labels, double normalizer);
/* The same for a vocabulary head over x [D, n], n > 0, logits worked out in chunks (head.c). */
struct um_value *um_head_loss(struct um_tape *tape, struct um_value *x, struct um_head head);
/* Rows rows[0..n_rows) of d_logits again, [n_rows, n] rows ld apart, from a HEAD factor's x and
 * head. `scratch` holds um_head_rows_scratch floats. */
int64_t um_head_rows_scratch(const struct um_param *weight, int64_t n_rows, int64_t n);
void um_head_rows(float *d_logits, int64_t ld, const struct um_head *head, const float *x,
                  int64_t ldx, int64_t n, const int32_t *rows, int64_t n_rows, float *scratch);
/* cap tanh(x / cap). */
struct um_value *um_soft_cap(struct um_tape *tape, struct um_value *x, float cap);

/* sum over columns of (output - target)^2 / normalizer, for outputs [1, n]. */
struct um_value *um_squared_error(struct um_tape *tape, struct um_value *outputs,
                                  const float *targets, double normalizer);

#endif
