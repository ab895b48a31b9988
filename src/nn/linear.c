/*
 * y = W x + b. dx = W^T dy; the weight's gradient dy x^T is never formed here: it goes to the sink
 * as its two factors; the bias's is the sum of dy along tokens.
 */
#include "nn/ops.h"

#include "tensor/gemm.h"

struct options {
    struct um_param *weight, *bias;
};

static double flop(const struct um_node *node, const struct um_param *weight)
{
    return 2.0 * (double)weight->n_elements * (double)node->out->cols;
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    const float *w = um_param_read(o->weight, 0, o->weight->rows, node->scratch);
    if (o->bias) {
        float *b_scratch = node->scratch ? node->scratch + um_param_scratch(o->weight) : NULL;
        const float *b = um_param_read(o->bias, 0, o->bias->rows, b_scratch);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < y->rows; i++)
            tape->kernels->fill(y->data + i * y->ld, b[i], y->cols);
    }
    um_gemm(y->data, y->ld, w, o->weight->cols, UM_PLAIN, x->data, x->ld, UM_PLAIN, y->rows,
            y->cols, x->rows, o->bias ? 1 : 0);
    um_profile_count(tape->profile, flop(node, o->weight));
}

static void backward_bias(struct um_tape *tape, struct um_node *node, struct um_param *bias)
{
    const struct um_value *y = node->out;
    float *sums = node->scratch;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->rows; i++)
        sums[i] = tape->kernels->sum(y->grad + i * y->ld, y->cols);
    struct um_factor factor = {.kind = UM_FACTOR_VECTOR, .n_tokens = y->cols, .vector = sums};
    tape->sink.accept(tape->sink.user, bias, &factor);
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    struct um_value *x = node->in[0], *y = node->out;
    enum um_part was = um_profile_enter(tape->profile, UM_PART_GEMM_BACKWARD);
    if (x->wants_grad) {
        const float *w = um_param_read(o->weight, 0, o->weight->rows, node->scratch);
        um_gemm(x->grad, x->ld, w, o->weight->cols, UM_TRANSPOSED, y->grad, y->ld, UM_PLAIN,
                x->rows, y->cols, y->rows, node->adds[0] ? 1 : 0);
        um_profile_count(tape->profile, flop(node, o->weight));
    }
    um_profile_enter(tape->profile, UM_PART_SELECTION);
    if (o->weight->wants_grad) {
        struct um_factor factor = {.kind = UM_FACTOR_PRODUCT, .n_tokens = y->cols, .dy = y->grad,
                                   .lddy = y->ld, .x = x->data, .ldx = x->ld};
        tape->sink.accept(tape->sink.user, o->weight, &factor);
    }
    if (o->bias && o->bias->wants_grad)
        backward_bias(tape, node, o->bias);
    um_profile_enter(tape->profile, was);
}

static const struct um_op op_linear = {
    .name = "linear", .part = UM_PART_GEMM_FORWARD, .forward = forward, .backward = backward};

struct um_value *um_linear(struct um_tape *tape, struct um_value *x, struct um_param *weight,
                           struct um_param *bias)
{
    if (weight->cols != x->rows || (bias && bias->n_elements != weight->rows))
        um_tape_fail(tape, "a linear map's weight does not fit its input");
    struct um_value *y = um_tape_value(tape, weight->rows, x->cols);
    struct options options = {.weight = weight, .bias = bias};
    struct um_node *node = um_tape_append(tape, &op_linear, y, &options, sizeof(options));
    um_tape_input(node, x);
    node->keeps_inputs = weight->wants_grad ? 1U : 0U;
    node->wants_grad = weight->wants_grad || (bias && bias->wants_grad);
    int64_t weight_scratch = um_param_scratch(weight);
    node->n_scratch_forward = weight_scratch + (bias ? um_param_scratch(bias) : 0);
    node->n_scratch_backward = bias && weight_scratch < weight->rows ? weight->rows : weight_scratch;
    return y;
}
