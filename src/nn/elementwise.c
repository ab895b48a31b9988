/* Elementwise ops: activations, gates, dropout, and the residual sum a + drop(x). Dropout masks are
 * not stored: the same counters give them again (base/philox.h). */
#include "nn/ops.h"

#include <string.h>

/* ---- activations: dx = dy f'(x) */

typedef void forward_kernel(float *y, const float *x, int64_t n);
typedef void backward_kernel(float *dx, const float *dy, const float *x, int64_t n);

static forward_kernel *activation(const struct um_kernels *k, enum um_activation kind)
{
    forward_kernel *const table[] = {[UM_ACT_GELU] = k->gelu,
                                     [UM_ACT_GELU_TANH] = k->gelu_tanh,
                                     [UM_ACT_SILU] = k->silu,
                                     [UM_ACT_RELU] = k->relu,
                                     [UM_ACT_TANH] = k->tanh};
    return table[kind];
}

static backward_kernel *derivative(const struct um_kernels *k, enum um_activation kind)
{
    backward_kernel *const table[] = {[UM_ACT_GELU] = k->gelu_grad,
                                      [UM_ACT_GELU_TANH] = k->gelu_tanh_grad,
                                      [UM_ACT_SILU] = k->silu_grad,
                                      [UM_ACT_RELU] = k->relu_grad,
                                      [UM_ACT_TANH] = k->tanh_grad};
    return table[kind];
}

static void activate_forward(struct um_tape *tape, struct um_node *node)
{
    forward_kernel *f = activation(tape->kernels, *(const enum um_activation *)node->options);
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    struct um_extent extent = um_extent_of(y);
#pragma omp parallel for schedule(static) if (extent.rows > 1)
    for (int64_t i = 0; i < extent.rows; i++)
        f(y->data + i * y->ld, x->data + i * x->ld, extent.cols);
}

static void activate_backward(struct um_tape *tape, struct um_node *node)
{
    backward_kernel *f = derivative(tape->kernels, *(const enum um_activation *)node->options);
    struct um_value *x = node->in[0], *y = node->out;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        float *dy = y->grad + i * y->ld, *dx = x->grad + i * x->ld;
        float *to = node->adds[0] ? dy : dx; /* dy is free to be written over */
        f(to, dy, x->data + i * x->ld, x->cols);
        if (node->adds[0])
            tape->kernels->add_to(dx, to, x->cols);
    }
}

static const struct um_op op_activate = {.name = "activate",
                                         .part = UM_PART_ELEMENTWISE,
                                         .keeps_inputs = 1,
                                         .passes_grad = true,
                                         .is_cheap = true,
                                         .forward = activate_forward,
                                         .backward = activate_backward};

struct um_value *um_activate(struct um_tape *tape, struct um_value *x, enum um_activation kind)
{
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    um_tape_input(um_tape_append(tape, &op_activate, y, &kind, sizeof(kind)), x);
    return y;
}

/* ---- soft cap (Gemma 2): y = c tanh(x / c); dx = dy (1 - (y / c)^2) */

static void cap_forward(struct um_tape *tape, struct um_node *node)
{
    const float cap = *(const float *)node->options;
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    struct um_extent extent = um_extent_of(y);
#pragma omp parallel for schedule(static) if (extent.rows > 1)
    for (int64_t i = 0; i < extent.rows; i++) {
        float *row = y->data + i * y->ld;
        for (int64_t j = 0; j < extent.cols; j++)
            row[j] = x->data[i * x->ld + j] / cap;
        tape->kernels->tanh(row, row, extent.cols);
        tape->kernels->scale(row, cap, extent.cols);
    }
}

static void cap_backward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const float cap = *(const float *)node->options;
    struct um_value *x = node->in[0];
    const struct um_value *y = node->out;
    for (int64_t i = 0; i < x->rows; i++) {
        for (int64_t j = 0; j < x->cols; j++) {
            float t = y->data[i * y->ld + j] / cap, *dx = &x->grad[i * x->ld + j];
            *dx = y->grad[i * y->ld + j] * (1 - t * t) + (node->adds[0] ? *dx : 0);
        }
    }
}

static const struct um_op op_cap = {.name = "soft_cap",
                                    .part = UM_PART_ELEMENTWISE,
                                    .keeps_output = true,
                                    .passes_grad = true,
                                    .forward = cap_forward,
                                    .backward = cap_backward};

struct um_value *um_soft_cap(struct um_tape *tape, struct um_value *x, float cap)
{
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    um_tape_input(um_tape_append(tape, &op_cap, y, &cap, sizeof(cap)), x);
    return y;
}

/* ---- gate (Shazeer 2020): y = f(g) u; dg = dy u f'(g), du = dy f(g). f(g) is worked out again in
 * the backward pass rather than kept. */

static void gate_forward(struct um_tape *tape, struct um_node *node)
{
    forward_kernel *f = activation(tape->kernels, *(const enum um_activation *)node->options);
    const struct um_value *g = node->in[0], *u = node->in[1];
    struct um_value *y = node->out;
    struct um_extent extent = um_extent_of(y);
#pragma omp parallel for schedule(static) if (extent.rows > 1)
    for (int64_t i = 0; i < extent.rows; i++) {
        float *row = y->data + i * y->ld;
        f(row, g->data + i * g->ld, extent.cols);
        tape->kernels->multiply(row, row, u->data + i * u->ld, extent.cols);
    }
}

static void put(const struct um_kernels *k, float *to, const float *from, int64_t n, bool add)
{
    if (add)
        k->add_to(to, from, n);
    else
        memcpy(to, from, (size_t)n * sizeof(float));
}

/* One row, piece by piece; a gradient of g or u may stand where dy does. */
static void gate_backward_row(struct um_tape *tape, struct um_node *node, int64_t i)
{
    enum { PIECE = 512 };
    const struct um_kernels *k = tape->kernels;
    const enum um_activation kind = *(const enum um_activation *)node->options;
    struct um_value *g = node->in[0], *u = node->in[1], *y = node->out;
    float dg[PIECE], du[PIECE];
    for (int64_t t = 0; t < y->cols; t += PIECE) {
        int64_t n = y->cols - t < PIECE ? y->cols - t : PIECE;
        const float *dy = y->grad + i * y->ld + t, *x = g->data + i * g->ld + t;
        activation(k, kind)(du, x, n);
        k->multiply(du, du, dy, n);
        k->multiply(dg, dy, u->data + i * u->ld + t, n);
        derivative(k, kind)(dg, dg, x, n);
        if (g->wants_grad)
            put(k, g->grad + i * g->ld + t, dg, n, node->adds[0]);
        if (u->wants_grad)
            put(k, u->grad + i * u->ld + t, du, n, node->adds[1]);
    }
}

static void gate_backward(struct um_tape *tape, struct um_node *node)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < node->out->rows; i++)
        gate_backward_row(tape, node, i);
}

static const struct um_op op_gate = {.name = "gate",
                                     .part = UM_PART_ELEMENTWISE,
                                     .keeps_inputs = 3,
                                     .passes_grad = true,
                                     .is_cheap = true,
                                     .forward = gate_forward,
                                     .backward = gate_backward};

struct um_value *um_gate(struct um_tape *tape, struct um_value *g, struct um_value *u,
                         enum um_activation kind)
{
    if (g->rows != u->rows || g->cols != u->cols)
        um_tape_fail(tape, "a gate of another shape than what it gates");
    struct um_value *y = um_tape_value(tape, g->rows, g->cols);
    struct um_node *node = um_tape_append(tape, &op_gate, y, &kind, sizeof(kind));
    um_tape_input(node, g);
    um_tape_input(node, u);
    return y;
}

/* ---- dropout: y = drop(x); dx = drop(dy) with the same mask */

static void dropout_forward(struct um_tape *tape, struct um_node *node)
{
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    float p = *(const float *)node->options;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++)
        tape->kernels->drop(y->data + i * y->ld, x->data + i * x->ld, x->cols,
                            um_tape_drop(tape, node, p, (uint64_t)i));
}

static void dropout_backward(struct um_tape *tape, struct um_node *node)
{
    struct um_value *x = node->in[0], *y = node->out;
    float p = *(const float *)node->options;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->rows; i++) {
        struct um_drop d = um_tape_drop(tape, node, p, (uint64_t)i);
        float *dy = y->grad + i * y->ld, *dx = x->grad + i * x->ld;
        if (node->adds[0])
            tape->kernels->add_drop(dx, dx, dy, x->cols, d);
        else
            tape->kernels->drop(dx, dy, x->cols, d);
    }
}

static const struct um_op op_dropout = {.name = "dropout",
                                        .part = UM_PART_ELEMENTWISE,
                                        .passes_grad = true,
                                        .forward = dropout_forward,
                                        .backward = dropout_backward};

struct um_value *um_dropout(struct um_tape *tape, struct um_value *x, float p)
{
    if (!um_tape_drops(tape, p))
        return x;
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    um_tape_input(um_tape_append(tape, &op_dropout, y, &p, sizeof(p)), x);
    return y;
}

/* ---- residual: y = a + drop(x); da = dy (handed on in place), dx = drop(dy) */

static void residual_forward(struct um_tape *tape, struct um_node *node)
{
    const struct um_value *a = node->in[0], *x = node->in[1];
    struct um_value *y = node->out;
    float p = *(const float *)node->options;
    bool is_dropped = um_tape_drops(tape, p); /* then rows are streams of their own */
    struct um_extent extent = is_dropped ? (struct um_extent){x->rows, x->cols} : um_extent_of(y);
#pragma omp parallel for schedule(static) if (extent.rows > 1)
    for (int64_t i = 0; i < extent.rows; i++) {
        float *to = y->data + i * y->ld;
        const float *from = a->data + i * a->ld, *more = x->data + i * x->ld;
        if (is_dropped)
            tape->kernels->add_drop(to, from, more, x->cols,
                                    um_tape_drop(tape, node, p, (uint64_t)i));
        else
            tape->kernels->add(to, from, more, extent.cols);
    }
}

static void residual_backward_row(struct um_tape *tape, struct um_node *node, int64_t i, float p)
{
    struct um_value *a = node->in[0], *x = node->in[1], *y = node->out;
    const struct um_kernels *k = tape->kernels;
    struct um_drop d = um_tape_drop(tape, node, p, (uint64_t)i);
    const float *dy = y->grad + i * y->ld;
    if (x->wants_grad) {
        float *dx = x->grad + i * x->ld;
        if (node->adds[1])
            k->add_drop(dx, dx, dy, x->cols, d);
        else
            k->drop(dx, dy, x->cols, d);
    }
    if (a->wants_grad && a->grad != y->grad) {
        float *da = a->grad + i * a->ld;
        if (node->adds[0])
            k->add_to(da, dy, x->cols);
        else
            memcpy(da, dy, (size_t)x->cols * sizeof(float));
    }
}

static void residual_backward(struct um_tape *tape, struct um_node *node)
{
    float p = *(const float *)node->options;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < node->out->rows; i++)
        residual_backward_row(tape, node, i, p);
}

static const struct um_op op_residual = {.name = "residual",
                                         .part = UM_PART_ELEMENTWISE,
                                         .passes_grad = true,
                                         .forward = residual_forward,
                                         .backward = residual_backward};

struct um_value *um_residual(struct um_tape *tape, struct um_value *a, struct um_value *x, float p)
{
    if (a->rows != x->rows || a->cols != x->cols)
        um_tape_fail(tape, "a residual sum of different shapes");
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    struct um_node *node = um_tape_append(tape, &op_residual, y, &p, sizeof(p));
    um_tape_input(node, a);
    um_tape_input(node, x);
    return y;
}
