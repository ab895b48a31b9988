/*
 * The vocabulary head and its loss in one op, so that logits are never held for more than a chunk
 * of positions: l = W x (or c tanh(W x / c)), loss = sum_t (lse_t - l[label_t]) / normalizer.
 *
 * When training, a chunk's gradients are worked out while its logits are there: d_logits = (softmax
 * - onehot) / normalizer (times 1 - (l / c)^2), dx = W^T d_logits. The weight's gradient, d_logits
 * x^T summed over chunks, goes to the sink as one PRODUCT factor per chunk, marked as a part; then,
 * in the backward pass, a HEAD factor tells how to work out rows of d_logits again (um_head_rows).
 */
#include "nn/ops.h"

#include <math.h>
#include <string.h>

#include "tensor/gemm.h"

/* Logits of a chunk: at most this many, in whole column blocks where that is possible. */
enum { CHUNK_LOGITS = 1 << 23 };

static int64_t chunk_columns(const struct um_head *head, int64_t n)
{
    int64_t columns = CHUNK_LOGITS / head->weight->rows / 16 * 16;
    columns = columns < 16 ? 16 : columns > UM_COLUMN_BLOCK ? UM_COLUMN_BLOCK : columns;
    return n < columns ? n : columns;
}

/* What one chunk works with; rows are ld floats apart. */
struct chunk {
    int64_t first, n, ld;
    const float *w, *x; /* all of the weight; the chunk's columns of x */
    int64_t ldx;
    float *logits, *capped; /* capped: NULL without a soft cap */
    float *lse;             /* [n] */
    /* In a rounded pass: the same weight, room for a product, and for the right operand of one. */
    struct um_bf16 rounded_w;
    float *product, *right;
};

/* logits = W x, capped if the head is; kept in `capped` too, as the softmax overwrites them. */
static void chunk_logits(const struct um_kernels *k, const struct um_head *head,
                         const struct chunk *c)
{
    const struct um_param *w = head->weight;
    if (c->product)
        um_gemm_bf16(c->logits, c->ld, c->rounded_w, UM_PLAIN,
                     um_round_bf16(c->right, c->x, c->ldx, w->cols, c->n), NULL, false,
                     c->product);
    else
        um_gemm(c->logits, c->ld, c->w, w->cols, UM_PLAIN, c->x, c->ldx, UM_PLAIN, w->rows, c->n,
                w->cols, 0);
    if (head->cap == 0)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < w->rows; i++) {
        float *row = c->logits + i * c->ld;
        k->scale(row, 1 / head->cap, c->n);
        k->tanh(row, row, c->n);
        k->scale(row, head->cap, c->n);
        memcpy(c->capped + i * c->ld, row, (size_t)c->n * sizeof(float));
    }
}

/* Softmax down the columns, in place. Returns the chunk's share of the loss. */
static double chunk_softmax(const struct um_kernels *k, const struct um_head *head,
                            const struct chunk *c)
{
    enum { STRIPE = 16 };
    float chosen[UM_COLUMN_BLOCK];
    double loss = 0;
    const int32_t *labels = head->labels + c->first;
    for (int64_t j = 0; j < c->n; j++)
        chosen[j] = c->logits[labels[j] * c->ld + j];
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < c->n; j += STRIPE)
        k->softmax(c->logits + j, c->ld, head->weight->rows,
                   c->n - j < STRIPE ? c->n - j : STRIPE, 1, NULL, NULL, c->lse + j);
    for (int64_t j = 0; j < c->n; j++)
        loss += (double)c->lse[j] - (double)chosen[j];
    return loss / head->normalizer;
}

/* d *= (1 - (l / cap)^2) */
static void uncap_row(float *d, const float *l, float cap, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        d[j] *= 1 - (l[j] / cap) * (l[j] / cap);
}

/* d_logits over the probabilities. */
static void chunk_gradient(const struct um_kernels *k, const struct um_head *head,
                           const struct chunk *c)
{
    const int32_t *labels = head->labels + c->first;
    for (int64_t j = 0; j < c->n; j++)
        c->logits[labels[j] * c->ld + j] -= 1;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < head->weight->rows; i++) {
        float *row = c->logits + i * c->ld;
        k->scale(row, (float)(1 / head->normalizer), c->n);
        if (head->cap != 0)
            uncap_row(row, c->capped + i * c->ld, head->cap, c->n);
    }
}

/* dx = W^T d_logits */
static void chunk_input_gradient(float *dx, const struct um_head *head, const struct chunk *c)
{
    const struct um_param *w = head->weight;
    if (c->product)
        um_gemm_bf16(dx, c->ldx, c->rounded_w, UM_TRANSPOSED,
                     um_round_bf16(c->right, c->logits, c->ld, w->rows, c->n), NULL, false,
                     c->product);
    else
        um_gemm(dx, c->ldx, c->w, w->cols, UM_TRANSPOSED, c->logits, c->ld, UM_PLAIN, w->cols,
                c->n, w->rows, 0);
}

/* dx of the chunk into saved memory, and the weight's part to the sink. */
static void chunk_backward(struct um_tape *tape, const struct um_head *head, const struct chunk *c,
                           float *dx)
{
    struct um_param *w = head->weight;
    chunk_gradient(tape->kernels, head, c);
    enum um_part was = um_profile_enter(tape->profile, UM_PART_GEMM_BACKWARD);
    if (dx) {
        chunk_input_gradient(dx, head, c);
        um_profile_count(tape->profile, 2.0 * (double)w->n_elements * (double)c->n);
    }
    um_profile_enter(tape->profile, UM_PART_SELECTION);
    if (w->wants_grad) {
        struct um_factor part = {.kind = UM_FACTOR_PRODUCT, .is_part = true, .n_tokens = c->n,
                                 .dy = c->logits, .lddy = c->ld, .x = c->x, .ldx = c->ldx};
        tape->sink.accept(tape->sink.user, w, &part);
    }
    um_profile_enter(tape->profile, was);
}

/* Rounds the weight, for all chunks. */
static void round_weight(struct chunk *c, const struct um_param *w, float *scratch)
{
    c->rounded_w = um_round_bf16(scratch, c->w, w->cols, w->rows, w->cols);
    c->product = scratch + um_bf16_floats(w->rows, w->cols);
    c->right = c->product + um_gemm_bf16_floats();
}

/* Saved: lse [n], then dx laid out as x. */
static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct um_head *head = node->options;
    const struct um_value *x = node->in[0];
    int64_t V = head->weight->rows, step = chunk_columns(head, x->cols), ld = (step + 15) / 16 * 16;
    bool goes_back = tape->is_training && node->wants_grad;
    float *scratch = node->scratch;
    struct chunk c = {.ld = ld, .ldx = x->ld, .logits = scratch};
    scratch += V * ld;
    if (head->cap != 0) {
        c.capped = scratch;
        scratch += V * ld;
    }
    c.w = um_param_read(head->weight, 0, V, scratch);
    if (tape->is_rounded)
        round_weight(&c, head->weight, scratch + um_param_scratch(head->weight));
    double loss = 0;
    for (; c.first < x->cols; c.first += step) {
        c.n = x->cols - c.first < step ? x->cols - c.first : step;
        c.x = x->data + c.first;
        c.lse = node->saved + c.first;
        enum um_part was = um_profile_enter(tape->profile, UM_PART_GEMM_FORWARD);
        chunk_logits(tape->kernels, head, &c);
        um_profile_count(tape->profile, 2.0 * (double)head->weight->n_elements * (double)c.n);
        um_profile_enter(tape->profile, was);
        loss += chunk_softmax(tape->kernels, head, &c);
        if (goes_back)
            chunk_backward(tape, head, &c,
                           x->wants_grad ? node->saved + x->cols + c.first : NULL);
    }
    node->out->data[0] = (float)loss;
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    struct um_head head = *(const struct um_head *)node->options;
    struct um_value *x = node->in[0];
    const float *dx = node->saved + x->cols;
    for (int64_t i = 0; x->wants_grad && i < x->rows; i++) {
        float *to = x->grad + i * x->ld;
        if (node->adds[0])
            tape->kernels->add_to(to, dx + i * x->ld, x->cols);
        else
            memcpy(to, dx + i * x->ld, (size_t)x->cols * sizeof(float));
    }
    if (!head.weight->wants_grad)
        return;
    head.lse = node->saved;
    head.is_rounded = tape->is_rounded;
    struct um_factor factor = {.kind = UM_FACTOR_HEAD, .n_tokens = x->cols, .x = x->data,
                               .ldx = x->ld, .head = &head};
    tape->sink.accept(tape->sink.user, head.weight, &factor);
}

static const struct um_op op_head = {.name = "head",
                                     .part = UM_PART_LOSS,
                                     .keeps_inputs = 1,
                                     .is_loss = true,
                                     .forward = forward,
                                     .backward = backward};

struct um_value *um_head_loss(struct um_tape *tape, struct um_value *x, struct um_head head)
{
    const struct um_param *w = head.weight;
    if (w->cols != x->rows || x->cols < 1)
        um_tape_fail(tape, "the vocabulary head does not fit its input");
    struct um_value *loss = um_tape_value(tape, 1, 1);
    struct um_node *node = um_tape_append(tape, &op_head, loss, &head, sizeof(head));
    um_tape_input(node, x);
    node->wants_grad = w->wants_grad;
    int64_t step = chunk_columns(&head, x->cols), ld = (step + 15) / 16 * 16;
    node->n_saved = x->cols + x->rows * x->ld;
    node->n_scratch_forward = w->rows * ld * (head.cap != 0 ? 2 : 1) + um_param_scratch(w);
    if (tape->is_rounded)
        node->n_scratch_forward += um_bf16_floats(w->rows, w->cols) + um_gemm_bf16_floats() +
                                   um_bf16_floats(w->rows > w->cols ? w->rows : w->cols, step);
    loss->is_output = true;
    return loss;
}

int64_t um_head_rows_scratch(const struct um_param *weight, int64_t n_rows, int64_t n)
{
    return n_rows * weight->cols + um_gemm_rounded_floats(n_rows, n, weight->cols);
}

void um_head_rows(float *d_logits, int64_t ld, const struct um_head *head, const float *x,
                  int64_t ldx, int64_t n, const int32_t *rows, int64_t n_rows, float *scratch)
{
    const struct um_kernels *k = um_kernels();
    const struct um_param *w = head->weight;
#pragma omp parallel for schedule(static) if (n_rows > 16)
    for (int64_t i = 0; i < n_rows; i++) {
        float *to = scratch + i * w->cols;
        const float *from = um_param_read(w, rows[i], 1, to);
        if (from != to)
            memcpy(to, from, (size_t)w->cols * sizeof(float));
    }
    if (head->is_rounded) /* as they were made first */
        um_gemm_rounded(d_logits, ld, scratch, w->cols, UM_PLAIN, x, ldx, n_rows, n, w->cols, NULL,
                        false, scratch + n_rows * w->cols);
    else
        um_gemm(d_logits, ld, scratch, w->cols, UM_PLAIN, x, ldx, UM_PLAIN, n_rows, n, w->cols, 0);
#pragma omp parallel for schedule(static) if (n_rows > 1)
    for (int64_t i = 0; i < n_rows; i++) {
        float capped[UM_COLUMN_BLOCK];
        for (int64_t t = 0; t < n; t += UM_COLUMN_BLOCK) {
            int64_t m = n - t < UM_COLUMN_BLOCK ? n - t : UM_COLUMN_BLOCK;
            float *row = d_logits + i * ld + t;
            if (head->cap != 0) {
                k->scale(row, 1 / head->cap, m);
                k->tanh(row, row, m);
                k->scale(row, head->cap, m);
                memcpy(capped, row, (size_t)m * sizeof(float));
            }
            k->softmax_again(row, ld, 1, m, 1, NULL, NULL, head->lse + t);
            for (int64_t j = 0; j < m; j++)
                row[j] -= (float)(head->labels[t + j] == rows[i]);
            k->scale(row, (float)(1 / head->normalizer), m);
            if (head->cap != 0)
                uncap_row(row, capped, head->cap, m);
        }
    }
}
