/*
 * y = W x + b, or W^T x + b. dx = W^T dy; the weight's gradient dy x^T is never formed here: it
 * goes to the sink as its two factors; the bias's is the sum of dy along tokens. A low-rank change
 * that is attached to the weight adds up h, h being the second input (low_rank.c): dh = up^T dy,
 * and up's gradient has the factors dy and h.
 */
#include "nn/ops.h"

#include "nn/narrow_private.h"
#include "tensor/gemm.h"

struct options {
    struct um_param *weight, *bias;
    bool is_transposed; /* the weight is stored [in, out] */
};

struct matrix {
    float *values;
    int64_t rows, ld;
};

static double flop(const struct um_node *node, const struct um_param *weight)
{
    return 2.0 * (double)weight->n_elements * (double)node->out->cols;
}

/* How y = op(W) x and dx = op(W) dy take the weight. */
static enum um_trans forward_trans(const struct options *o)
{
    return o->is_transposed ? UM_TRANSPOSED : UM_PLAIN;
}

static enum um_trans backward_trans(const struct options *o)
{
    return o->is_transposed ? UM_PLAIN : UM_TRANSPOSED;
}

/* Without training, few columns or stored weights have a way of their own. */
static bool is_narrow(const struct um_tape *tape, const struct options *o, int64_t n)
{
    return !tape->is_training && !o->is_transposed && um_narrow_takes(o->weight, n);
}

/* What multiply() takes: the weight as fp32 if it is not stored so, and operands as bfloat16. */
static int64_t multiply_scratch(const struct um_tape *tape, const struct um_param *weight,
                                enum um_trans trans, int64_t n_tokens)
{
    int64_t n_to = trans == UM_PLAIN ? weight->rows : weight->cols;
    int64_t n_from = trans == UM_PLAIN ? weight->cols : weight->rows;
    return um_param_scratch(weight) +
           (tape->is_rounded ? um_gemm_rounded_floats(n_to, n_tokens, n_from) : 0);
}

/* to = op(W) from + bias, or (without bias) added to it; `from` has the tokens of `node`'s
 * output. */
static void multiply(struct um_tape *tape, const struct um_node *node, struct matrix to,
                     enum um_trans trans, struct matrix from, const float *bias, bool adds,
                     float *scratch)
{
    const struct um_param *weight = ((const struct options *)node->options)->weight;
    const float *w = um_param_read(weight, 0, weight->rows, scratch);
    int64_t n = node->out->cols;
    if (tape->is_rounded) {
        um_gemm_rounded(to.values, to.ld, w, weight->cols, trans, from.values, from.ld, to.rows, n,
                        from.rows, bias, adds, scratch + um_param_scratch(weight));
        return;
    }
    if (bias) {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < to.rows; i++)
            tape->kernels->fill(to.values + i * to.ld, bias[i], n);
    }
    um_gemm(to.values, to.ld, w, weight->cols, trans, from.values, from.ld, UM_PLAIN, to.rows, n,
            from.rows, bias || adds);
}

static int64_t bias_scratch(const struct options *o)
{
    return o->bias ? um_param_scratch(o->bias) : 0;
}

static void all_columns(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    const struct um_value *x = node->in[0], *y = node->out;
    const float *bias = o->bias ? um_param_read(o->bias, 0, o->bias->rows, node->scratch) : NULL;
    multiply(tape, node, (struct matrix){y->data, y->rows, y->ld}, forward_trans(o),
             (struct matrix){x->data, x->rows, x->ld}, bias, false,
             node->scratch + bias_scratch(o));
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    struct um_value *y = node->out;
    um_profile_count(tape->profile, flop(node, o->weight));
    if (is_narrow(tape, o, y->cols))
        um_narrow_product(y, o->weight, o->bias, node->in[0], node->scratch);
    else
        all_columns(tape, node);
    if (node->n_in < 2)
        return;
    const struct um_value *h = node->in[1];
    const struct um_param *up = o->weight->low_rank->up;
    um_gemm(y->data, y->ld, up->values, up->cols, UM_PLAIN, h->data, h->ld, UM_PLAIN, y->rows,
            y->cols, h->rows, 1);
    um_profile_count(tape->profile, flop(node, up));
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

/* dh, and the factors of `up`. */
static void backward_low_rank(struct um_tape *tape, struct um_node *node, struct um_param *up)
{
    struct um_value *h = node->in[1], *y = node->out;
    enum um_part was = um_profile_enter(tape->profile, UM_PART_GEMM_BACKWARD);
    if (h->wants_grad) {
        um_gemm(h->grad, h->ld, up->values, up->cols, UM_TRANSPOSED, y->grad, y->ld, UM_PLAIN,
                h->rows, y->cols, y->rows, node->adds[1] ? 1 : 0);
        um_profile_count(tape->profile, flop(node, up));
    }
    um_profile_enter(tape->profile, UM_PART_SELECTION);
    if (up->wants_grad) {
        const struct um_factor factor = {.kind = UM_FACTOR_PRODUCT, .n_tokens = y->cols,
                                         .dy = y->grad, .lddy = y->ld, .x = h->data,
                                         .ldx = h->ld};
        tape->sink.accept(tape->sink.user, up, &factor);
    }
    um_profile_enter(tape->profile, was);
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    struct um_value *x = node->in[0], *y = node->out;
    enum um_part was = um_profile_enter(tape->profile, UM_PART_GEMM_BACKWARD);
    if (x->wants_grad) {
        multiply(tape, node, (struct matrix){x->grad, x->rows, x->ld}, backward_trans(o),
                 (struct matrix){y->grad, y->rows, y->ld}, NULL, node->adds[0], node->scratch);
        um_profile_count(tape->profile, flop(node, o->weight));
    }
    um_profile_enter(tape->profile, UM_PART_SELECTION);
    if (o->weight->wants_grad) {
        /* d(W^T)= dy x^T, so for a transposed weight the two change places. */
        struct um_factor factor = {.kind = UM_FACTOR_PRODUCT, .n_tokens = y->cols, .dy = y->grad,
                                   .lddy = y->ld, .x = x->data, .ldx = x->ld};
        if (o->is_transposed) {
            factor.dy = x->data;
            factor.lddy = x->ld;
            factor.x = y->grad;
            factor.ldx = y->ld;
        }
        tape->sink.accept(tape->sink.user, o->weight, &factor);
    }
    if (o->bias && o->bias->wants_grad)
        backward_bias(tape, node, o->bias);
    um_profile_enter(tape->profile, was);
    if (node->n_in == 2)
        backward_low_rank(tape, node, o->weight->low_rank->up);
}

static const struct um_op op_linear = {
    .name = "linear", .part = UM_PART_GEMM_FORWARD, .forward = forward, .backward = backward};

/* The narrow half of what is attached to the weight; NULL if nothing is. */
static struct um_value *record_low_rank(struct um_tape *tape, struct um_value *x,
                                        const struct options *o, int64_t n_out)
{
    const struct um_low_rank *l = o->weight->low_rank;
    if (!l)
        return NULL;
    if (l->up->rows != n_out || l->up->cols != l->down->rows)
        um_tape_fail(tape, "a low-rank change does not fit its map");
    return um_low_rank_down(tape, x, l);
}

static struct um_value *record_map(struct um_tape *tape, struct um_value *x, struct options o)
{
    int64_t n_in = o.is_transposed ? o.weight->rows : o.weight->cols;
    int64_t n_out = o.is_transposed ? o.weight->cols : o.weight->rows;
    if (n_in != x->rows || (o.bias && o.bias->n_elements != n_out))
        um_tape_fail(tape, "a linear map's weight does not fit its input");
    struct um_value *h = record_low_rank(tape, x, &o, n_out);
    struct um_value *y = um_tape_value(tape, n_out, x->cols);
    struct um_node *node = um_tape_append(tape, &op_linear, y, &o, sizeof(o));
    um_tape_input(node, x);
    node->keeps_inputs = o.weight->wants_grad ? 1U : 0U;
    node->wants_grad = o.weight->wants_grad || (o.bias && o.bias->wants_grad);
    if (h) {
        bool wants_grad = o.weight->low_rank->up->wants_grad;
        um_tape_input(node, h);
        node->keeps_inputs |= wants_grad ? 2U : 0U;
        node->wants_grad = node->wants_grad || wants_grad;
    }
    int64_t n_forward =
        bias_scratch(&o) + multiply_scratch(tape, o.weight, forward_trans(&o), x->cols);
    int64_t n_backward = multiply_scratch(tape, o.weight, backward_trans(&o), x->cols);
    node->n_scratch_forward = is_narrow(tape, &o, x->cols)
                                  ? um_narrow_scratch(o.weight, o.bias, x->cols)
                                  : n_forward;
    node->n_scratch_backward = o.bias && n_backward < n_out ? n_out : n_backward;
    return y;
}

static struct um_value *record(struct um_tape *tape, struct um_value *x, struct options o)
{
    struct um_param *bias = o.bias;
    if (!o.weight->low_rank || !o.weight->low_rank->magnitude)
        return record_map(tape, x, o);
    o.bias = NULL;
    return um_magnitude(tape, record_map(tape, x, o), o.weight, bias);
}

struct um_value *um_linear(struct um_tape *tape, struct um_value *x, struct um_param *weight,
                           struct um_param *bias)
{
    return record(tape, x, (struct options){.weight = weight, .bias = bias});
}

struct um_value *um_linear_transposed(struct um_tape *tape, struct um_value *x,
                                      struct um_param *weight, struct um_param *bias)
{
    return record(tape, x,
                  (struct options){.weight = weight, .bias = bias, .is_transposed = true});
}
