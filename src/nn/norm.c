/*
 * Layer norm over features (Ba et al. 2016) and RMS norm: xhat = (x - mean) rstd, y = xhat gamma +
 * beta; over all rows, or over each of several groups of rows (heads) with the same gamma. With
 * c = dy gamma: dx = rstd (c - mean_d(c) - xhat mean_d(c xhat)); d_gamma = sum_t dy xhat, d_beta =
 * sum_t dy. Mean and rstd are saved per token; xhat is worked out again from x.
 */
#include "nn/ops.h"

struct options {
    struct um_param *gamma, *beta;
    struct um_norm_options norm;
};

/* gamma and beta as fp32; what is not ready for use goes into the scratch, gamma first. */
static const float *read_gamma(const struct um_node *node, const float **beta)
{
    const struct options *o = node->options;
    int64_t rows = o->gamma->rows;
    *beta = o->beta ? um_param_read(o->beta, 0, rows, node->scratch + rows) : NULL;
    const float *gamma = um_param_read(o->gamma, 0, rows, node->scratch);
    if (!o->norm.adds_one)
        return gamma;
    for (int64_t i = 0; i < rows; i++)
        node->scratch[i] = gamma[i] + 1;
    return node->scratch;
}

/* Means per token of a group, its reciprocal deviations behind them. */
static float *mean_of(const struct um_node *node, int64_t group)
{
    return node->saved + group * 2 * node->in[0]->cols;
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    const float *beta, *gamma = read_gamma(node, &beta);
    int64_t rows = o->gamma->rows, n_groups = x->rows / rows;
    int64_t n_blocks = (x->cols + UM_COLUMN_BLOCK - 1) / UM_COLUMN_BLOCK;
#pragma omp parallel for schedule(static) if (n_blocks > 1)
    for (int64_t task = 0; task < n_groups * n_blocks; task++) {
        int64_t row = task / n_blocks * rows, t = task % n_blocks * UM_COLUMN_BLOCK;
        int64_t n = x->cols - t < UM_COLUMN_BLOCK ? x->cols - t : UM_COLUMN_BLOCK;
        float *mean = mean_of(node, task / n_blocks);
        tape->kernels->norm(y->data + row * y->ld + t, y->ld, x->data + row * x->ld + t, x->ld,
                            rows, n, gamma, beta, o->norm.eps, o->norm.is_rms, mean + t,
                            mean + x->cols + t);
    }
}

static void backward_params(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0], *y = node->out;
    int64_t rows = o->gamma->rows, n_groups = x->rows / rows;
    float *d_gamma = node->scratch + 2 * rows, *d_beta = d_gamma + rows;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        d_gamma[i] = d_beta[i] = 0;
        for (int64_t g = 0; g < n_groups; g++) {
            float gamma, beta, *mean = mean_of(node, g);
            int64_t row = g * rows + i;
            tape->kernels->norm_grad_row(&gamma, &beta, y->grad + row * y->ld,
                                         x->data + row * x->ld, mean, mean + x->cols, x->cols);
            d_gamma[i] += gamma;
            d_beta[i] += beta;
        }
    }
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
    int64_t rows = o->gamma->rows, n_groups = x->rows / rows;
    int64_t n_blocks = (x->cols + UM_COLUMN_BLOCK - 1) / UM_COLUMN_BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t task = 0; task < n_groups * n_blocks; task++) {
        int64_t row = task / n_blocks * rows, t = task % n_blocks * UM_COLUMN_BLOCK;
        int64_t n = x->cols - t < UM_COLUMN_BLOCK ? x->cols - t : UM_COLUMN_BLOCK;
        const float *mean = mean_of(node, task / n_blocks);
        tape->kernels->norm_grad(x->grad + row * x->ld + t, x->ld, y->grad + row * y->ld + t,
                                 y->ld, x->data + row * x->ld + t, x->ld, rows, n, gamma,
                                 o->norm.is_rms, mean + t, mean + x->cols + t, node->adds[0]);
    }
}

static const struct um_op op_norm = {.name = "norm",
                                     .part = UM_PART_NORM,
                                     .keeps_inputs = 1,
                                     .passes_grad = true,
                                     .is_cheap = true,
                                     .forward = forward,
                                     .backward = backward};

struct um_value *um_norm(struct um_tape *tape, struct um_value *x, struct um_param *gamma,
                         struct um_param *beta, struct um_norm_options options)
{
    if (x->rows % gamma->rows || (beta && beta->rows != gamma->rows))
        um_tape_fail(tape, "a norm's weight does not fit its input");
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    struct options o = {.gamma = gamma, .beta = beta, .norm = options};
    struct um_node *node = um_tape_append(tape, &op_norm, y, &o, sizeof(o));
    um_tape_input(node, x);
    node->wants_grad = gamma->wants_grad || (beta && beta->wants_grad);
    node->n_saved = 2 * x->cols * (x->rows / gamma->rows);
    node->n_scratch_forward = 2 * gamma->rows;
    node->n_scratch_backward = 4 * gamma->rows;
    return y;
}
