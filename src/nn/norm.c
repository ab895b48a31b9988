/*
 * Layer norm over features (Ba et al. 2016) and RMS norm: xhat = (x - mean) rstd, y = xhat gamma +
 * beta. With c = dy gamma: dx = rstd (c - mean_d(c) - xhat mean_d(c xhat)); d_gamma = sum_t dy xhat,
 * d_beta = sum_t dy. Mean and rstd are saved per token; xhat is worked out again from x.
 */
#include "nn/ops.h"

struct options {
    struct um_param *gamma, *beta;
    struct um_norm_options norm;
};

/* gamma and beta as fp32; 16-bit ones are expanded into the scratch, gamma first. */
static const float *read_gamma(const struct um_node *node, const float **beta)
{
    const struct options *o = node->options;
    *beta = o->beta ? um_param_read(o->beta, 0, o->beta->rows, node->scratch + o->gamma->rows)
                    : NULL;
    return um_param_read(o->gamma, 0, o->gamma->rows, node->scratch);
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    const float *beta, *gamma = read_gamma(node, &beta);
    float *mean = node->saved, *rstd = node->saved + x->cols;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->cols; t += UM_COLUMN_BLOCK) {
        int64_t n = x->cols - t < UM_COLUMN_BLOCK ? x->cols - t : UM_COLUMN_BLOCK;
        tape->kernels->norm(y->data + t, y->ld, x->data + t, x->ld, x->rows, n, gamma, beta,
                            o->norm.eps, o->norm.is_rms, mean + t, rstd + t);
    }
}

static void backward_params(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0], *y = node->out;
    float *d_gamma = node->scratch + 2 * x->rows, *d_beta = d_gamma + x->rows;
    const float *mean = node->saved, *rstd = node->saved + x->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++)
        tape->kernels->norm_grad_row(d_gamma + i, d_beta + i, y->grad + i * y->ld,
                                     x->data + i * x->ld, mean, rstd, x->cols);
    enum um_part was = um_profile_enter(tape->profile, UM_PART_SELECTION);
    struct um_factor factor = {.kind = UM_FACTOR_VECTOR, .n_tokens = x->cols, .vector = d_gamma};
    if (o->gamma->wants_grad)
        tape->sink.accept(tape->sink.user, o->gamma, &factor);
    factor.vector = d_beta;
    if (o->beta && o->beta->wants_grad)
        tape->sink.accept(tape->sink.user, o->beta, &factor);
    um_profile_enter(tape->profile, was);
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    struct um_value *x = node->in[0], *y = node->out;
    if (o->gamma->wants_grad || (o->beta && o->beta->wants_grad))
        backward_params(tape, node);
    if (!x->wants_grad)
        return;
    const float *beta, *gamma = read_gamma(node, &beta);
    const float *mean = node->saved, *rstd = node->saved + x->cols;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < x->cols; t += UM_COLUMN_BLOCK) {
        int64_t n = x->cols - t < UM_COLUMN_BLOCK ? x->cols - t : UM_COLUMN_BLOCK;
        tape->kernels->norm_grad(x->grad + t, x->ld, y->grad + t, y->ld, x->data + t, x->ld,
                                 x->rows, n, gamma, o->norm.is_rms, mean + t, rstd + t,
                                 node->adds[0]);
    }
}

static const struct um_op op_norm = {.name = "norm",
                                     .part = UM_PART_NORM,
                                     .keeps_inputs = 1,
                                     .passes_grad = true,
                                     .forward = forward,
                                     .backward = backward};

struct um_value *um_norm(struct um_tape *tape, struct um_value *x, struct um_param *gamma,
                         struct um_param *beta, struct um_norm_options options)
{
    if (gamma->n_elements != x->rows || (beta && beta->n_elements != x->rows))
        um_tape_fail(tape, "a norm's weight does not fit its input");
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    struct options o = {.gamma = gamma, .beta = beta, .norm = options};
    struct um_node *node = um_tape_append(tape, &op_norm, y, &o, sizeof(o));
    um_tape_input(node, x);
    node->wants_grad = gamma->wants_grad || (beta && beta->wants_grad);
    node->n_saved = 2 * x->cols;
    node->n_scratch_forward = 2 * x->rows;
    node->n_scratch_backward = 4 * x->rows;
    return y;
}
