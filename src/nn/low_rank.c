/*
 * What LoRA (Hu et al. 2022) and its kin attach to a map: W' = W + scale up diag(lambda) down,
 * never formed while training. AdaLoRA's (Zhang et al. 2023) lambda is trained; DoRA (Liu et al.
 * 2024) brings row i of W' to the length m_i: y = (m / |W'|) W' x. As in the paper (section 4.3)
 * and PEFT, |W'| counts as a constant in the backward pass. Dropout is on the input of `down`
 * alone; with a magnitude, PEFT drops the input of W too.
 *
 * h = scale lambda u, u = down x: d_lambda = sum_t scale dh u; with g = scale lambda dh:
 * dx = down^T g, d_down = g x^T. The wide half, y += up h, is the linear op's (linear.c).
 * y = s z + b, s = m / |W'|: dz = s dy, dm = sum_t dy z / |W'|.
 */
#include "nn/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "tensor/gemm.h"

/* What is between row k of down and column k of up. */
static float factor_of(const struct um_low_rank *l, int64_t k)
{
    return l->lambda ? l->scale * l->lambda->values[k] : l->scale;
}

static void scale_rows(struct um_tape *tape, const struct um_low_rank *l, float *rows, int64_t ld,
                       int64_t n)
{
    for (int64_t k = 0; k < l->down->rows; k++)
        tape->kernels->scale(rows + k * ld, factor_of(l, k), n);
}

/* ---- the narrow half. Saved: u, if there is a lambda. */

static double flop(const struct um_node *node, const struct um_low_rank *l)
{
    return 2.0 * (double)l->down->n_elements * (double)node->out->cols;
}

static void down_forward(struct um_tape *tape, struct um_node *node)
{
    const struct um_low_rank *l = *(const struct um_low_rank *const *)node->options;
    const struct um_value *x = node->in[0];
    struct um_value *h = node->out;
    um_gemm(h->data, h->ld, l->down->values, l->down->cols, UM_PLAIN, x->data, x->ld, UM_PLAIN,
            h->rows, h->cols, x->rows, 0);
    um_profile_count(tape->profile, flop(node, l));
    if (l->lambda)
        memcpy(node->saved, h->data, (size_t)(h->rows * h->ld) * sizeof(float));
    scale_rows(tape, l, h->data, h->ld, h->cols);
}

static void backward_lambda(struct um_tape *tape, struct um_node *node,
                            const struct um_low_rank *l)
{
    const struct um_value *h = node->out;
    for (int64_t k = 0; k < h->rows; k++)
        node->scratch[k] = l->scale * tape->kernels->dot(h->grad + k * h->ld,
                                                         node->saved + k * h->ld, h->cols);
    const struct um_factor factor = {.kind = UM_FACTOR_VECTOR, .n_tokens = h->cols,
                                     .vector = node->scratch};
    tape->sink.accept(tape->sink.user, l->lambda, &factor);
}

static void down_backward(struct um_tape *tape, struct um_node *node)
{
    const struct um_low_rank *l = *(const struct um_low_rank *const *)node->options;
    struct um_value *x = node->in[0], *h = node->out;
    if (l->lambda && l->lambda->wants_grad)
        backward_lambda(tape, node, l);
    scale_rows(tape, l, h->grad, h->ld, h->cols);
    if (x->wants_grad) {
        um_gemm(x->grad, x->ld, l->down->values, l->down->cols, UM_TRANSPOSED, h->grad, h->ld,
                UM_PLAIN, x->rows, x->cols, h->rows, node->adds[0] ? 1 : 0);
        um_profile_count(tape->profile, flop(node, l));
    }
    enum um_part was = um_profile_enter(tape->profile, UM_PART_SELECTION);
    if (l->down->wants_grad) {
        const struct um_factor factor = {.kind = UM_FACTOR_PRODUCT, .n_tokens = h->cols,
                                         .dy = h->grad, .lddy = h->ld, .x = x->data,
                                         .ldx = x->ld};
        tape->sink.accept(tape->sink.user, l->down, &factor);
    }
    um_profile_enter(tape->profile, was);
}

static const struct um_op op_down = {.name = "low_rank",
                                     .part = UM_PART_GEMM_FORWARD,
                                     .forward = down_forward,
                                     .backward = down_backward};

struct um_value *um_low_rank_down(struct um_tape *tape, struct um_value *x,
                                  const struct um_low_rank *l)
{
    if (l->down->cols != x->rows)
        um_tape_fail(tape, "a low-rank change does not fit its input");
    x = um_dropout(tape, x, l->dropout);
    struct um_value *h = um_tape_value(tape, l->down->rows, x->cols);
    struct um_node *node = um_tape_append(tape, &op_down, h, &l, sizeof(l));
    um_tape_input(node, x);
    node->keeps_inputs = l->down->wants_grad ? 1U : 0U;
    node->wants_grad = l->down->wants_grad || (l->lambda && l->lambda->wants_grad);
    node->n_saved = l->lambda ? h->rows * h->ld : 0;
    node->n_scratch_backward = l->lambda ? h->rows : 0;
    return h;
}

/* ---- folding: row i of W' for a map stored [outputs, inputs]; row j of W'^T for a turned one */

/* Adds the change to n elements, from element `first`, of the stored row `row`. */
static void add_change(float *out, const struct um_param *weight, int64_t row, int64_t first,
                       int64_t n)
{
    const struct um_low_rank *l = weight->low_rank;
    int64_t rank = l->down->rows;
    for (int64_t k = 0; k < rank; k++) {
        float between = factor_of(l, k);
        if (!weight->is_turned) {
            um_kernels()->add_scaled(out, between * l->up->values[row * rank + k],
                                     l->down->values + k * l->down->cols + first, n);
            continue;
        }
        between *= l->down->values[k * l->down->cols + row];
        for (int64_t i = 0; i < n; i++)
            out[i] += between * l->up->values[(first + i) * rank + k];
    }
}

static void fold_row(float *out, const struct um_param *weight, int64_t row)
{
    const float *from = um_param_read(weight, row, 1, out);
    if (from != out)
        memcpy(out, from, (size_t)weight->cols * sizeof(float));
    if (weight->low_rank)
        add_change(out, weight, row, 0, weight->cols);
}

int64_t um_low_rank_scratch(const struct um_param *weight)
{
    return weight->is_turned ? um_param_scratch(weight) : um_threads() * weight->cols;
}

/* Columns of a turned weight, block by block. */
static void turned_norms(float *norms, const struct um_param *weight, float *scratch)
{
    enum { BLOCK = 64 };
    const float *all = um_param_read(weight, 0, weight->rows, scratch);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < weight->cols; first += BLOCK) {
        int64_t n = weight->cols - first < BLOCK ? weight->cols - first : BLOCK;
        double squares[BLOCK] = {0};
        for (int64_t row = 0; row < weight->rows; row++) {
            float piece[BLOCK];
            memcpy(piece, all + row * weight->cols + first, (size_t)n * sizeof(float));
            if (weight->low_rank)
                add_change(piece, weight, row, first, n);
            for (int64_t i = 0; i < n; i++)
                squares[i] += (double)piece[i] * (double)piece[i];
        }
        for (int64_t i = 0; i < n; i++)
            norms[first + i] = (float)sqrt(squares[i]);
    }
}

void um_low_rank_norms(float *norms, const struct um_param *weight, float *scratch)
{
    if (weight->is_turned) {
        turned_norms(norms, weight, scratch);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < weight->rows; row++) {
        float *folded = scratch + omp_get_thread_num() * weight->cols;
        fold_row(folded, weight, row);
        norms[row] = (float)sqrt(um_kernels()->sum_squares_f64(folded, weight->cols));
    }
}

/* What an output is multiplied with; a row of zeros stays one. */
static float stretch(const struct um_low_rank *l, int64_t output, float norm)
{
    return norm > 0 ? l->magnitude->values[output] / norm : 0;
}

void um_low_rank_fold(float *out, const struct um_param *weight, int64_t first, int64_t n_rows,
                      const float *norms)
{
    const struct um_low_rank *l = weight->low_rank;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        float *row = out + i * weight->cols;
        int64_t at = first + i;
        fold_row(row, weight, at);
        if (l->magnitude && !weight->is_turned)
            um_kernels()->scale(row, stretch(l, at, norms[at]), weight->cols);
        for (int64_t j = 0; l->magnitude && weight->is_turned && j < weight->cols; j++)
            row[j] *= stretch(l, j, norms[j]);
    }
}

/* ---- the magnitude. Saved: the norms. */

struct magnitude_options {
    const struct um_param *weight;
    struct um_param *bias;
};

static void magnitude_forward(struct um_tape *tape, struct um_node *node)
{
    const struct magnitude_options *o = node->options;
    const struct um_low_rank *l = o->weight->low_rank;
    const struct um_value *z = node->in[0];
    struct um_value *y = node->out;
    float *norms = node->saved;
    um_low_rank_norms(norms, o->weight, node->scratch);
    const float *b = o->bias ? um_param_read(o->bias, 0, o->bias->rows, node->scratch) : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++) {
        float *row = y->data + i * y->ld;
        tape->kernels->fill(row, b ? b[i] : 0, y->cols);
        tape->kernels->add_scaled(row, stretch(l, i, norms[i]), z->data + i * z->ld, y->cols);
    }
}

static void backward_vectors(struct um_tape *tape, struct um_node *node)
{
    const struct magnitude_options *o = node->options;
    struct um_param *magnitude = o->weight->low_rank->magnitude;
    const struct um_value *z = node->in[0], *y = node->out;
    struct um_factor factor = {.kind = UM_FACTOR_VECTOR, .n_tokens = y->cols,
                               .vector = node->scratch};
    if (magnitude->wants_grad) {
        for (int64_t i = 0; i < y->rows; i++) {
            float product = tape->kernels->dot(y->grad + i * y->ld, z->data + i * z->ld, y->cols);
            node->scratch[i] = node->saved[i] > 0 ? product / node->saved[i] : 0;
        }
        tape->sink.accept(tape->sink.user, magnitude, &factor);
    }
    if (o->bias && o->bias->wants_grad) {
        for (int64_t i = 0; i < y->rows; i++)
            node->scratch[i] = tape->kernels->sum(y->grad + i * y->ld, y->cols);
        tape->sink.accept(tape->sink.user, o->bias, &factor);
    }
}

static void magnitude_backward(struct um_tape *tape, struct um_node *node)
{
    const struct magnitude_options *o = node->options;
    const struct um_low_rank *l = o->weight->low_rank;
    struct um_value *z = node->in[0], *y = node->out;
    enum um_part was = um_profile_enter(tape->profile, UM_PART_SELECTION);
    backward_vectors(tape, node);
    um_profile_enter(tape->profile, was);
    if (!z->wants_grad)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++) {
        float *dy = y->grad + i * y->ld, *dz = z->grad + i * z->ld;
        float s = stretch(l, i, node->saved[i]);
        if (node->adds[0]) {
            tape->kernels->add_scaled(dz, s, dy, y->cols);
            continue;
        }
        if (dz != dy)
            memcpy(dz, dy, (size_t)y->cols * sizeof(float));
        tape->kernels->scale(dz, s, y->cols);
    }
}

static const struct um_op op_magnitude = {.name = "magnitude",
                                          .part = UM_PART_ELEMENTWISE,
                                          .passes_grad = true,
                                          .forward = magnitude_forward,
                                          .backward = magnitude_backward};

struct um_value *um_magnitude(struct um_tape *tape, struct um_value *z,
                              const struct um_param *weight, struct um_param *bias)
{
    const struct um_param *magnitude = weight->low_rank->magnitude;
    const struct magnitude_options o = {.weight = weight, .bias = bias};
    int64_t scratch = um_low_rank_scratch(weight), n = z->rows;
    if (magnitude->n_elements != n || (bias && bias->n_elements != n))
        um_tape_fail(tape, "a magnitude does not fit its map");
    struct um_value *y = um_tape_value(tape, n, z->cols);
    struct um_node *node = um_tape_append(tape, &op_magnitude, y, &o, sizeof(o));
    um_tape_input(node, z);
    node->keeps_inputs = magnitude->wants_grad ? 1U : 0U;
    node->wants_grad = magnitude->wants_grad || (bias && bias->wants_grad);
    node->n_saved = n;
    node->n_scratch_forward = scratch > n ? scratch : n;
    node->n_scratch_backward = n;
    return y;
}
