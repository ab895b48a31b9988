/*
 * Attention within each sequence of a ragged batch, for blocks of at most UM_COLUMN_BLOCK queries:
 * S = k^T q [keys, queries], P = softmax down each column of scale * S, o = v P~ with P~ = drop(P).
 *
 * Only lse (the log of each column's sum of exponentials) is saved; the backward pass computes
 * P = exp(scale S - lse) again, then
 *   dv += do P~^T,  dP~ = v^T do,  dS = scale P (drop(dP~) - delta),  delta_q = do_q . o_q,
 *   dq = k dS,      dk += q dS^T
 * (as in FlashAttention, Dao et al. 2022). One task is one key-value head of one sequence, so that
 * no two tasks add to the same gradient.
 */
#include "nn/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "tensor/gemm.h"

struct options {
    struct um_attention_options a;
    int64_t head_size, n_groups; /* query heads per key-value head */
    int64_t max_length;
};

/* What one block of queries works with; scratch is one thread's own. */
struct block {
    int64_t head, kv_head;  /* query head, key-value head */
    int64_t start, length;  /* the sequence's tokens */
    int64_t query, n;       /* first query within the sequence, number of queries */
    int64_t n_keys;         /* keys that any of them may see */
    const int32_t *first, *last; /* keys each query sees, NULL = all */
    float *p, *dp;          /* [n_keys, n], rows UM_COLUMN_BLOCK apart */
};

enum { LD = UM_COLUMN_BLOCK };

static int64_t thread_scratch(const struct options *o, int n_matrices)
{
    return n_matrices * o->max_length * LD;
}

static float *head_rows(float *data, const struct um_value *value, int64_t head,
                        const struct options *o, int64_t token)
{
    return data + head * o->head_size * value->ld + token;
}

/* Fills the ranges of keys for a causal block; returns the number of keys it needs. */
static int64_t key_ranges(int32_t *first, int32_t *last, const struct options *o, int64_t query,
                          int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        int64_t end = query + j + 1;
        first[j] = (int32_t)(o->a.window > 0 && end > o->a.window ? end - o->a.window : 0);
        last[j] = (int32_t)end;
    }
    return query + n;
}

static void scores(const struct um_node *node, const struct options *o, const struct block *b)
{
    const struct um_value *q = node->in[0], *k = node->in[1];
    um_gemm(b->p, LD, head_rows(k->data, k, b->kv_head, o, b->start), k->ld, UM_TRANSPOSED,
            head_rows(q->data, q, b->head, o, b->start + b->query), q->ld, UM_PLAIN, b->n_keys,
            b->n, o->head_size, 0);
}

/* The mask's stream: one per head and block of queries. */
static struct um_drop drop_of(const struct um_tape *tape, const struct um_node *node,
                              const struct options *o, const struct block *b)
{
    uint64_t n_tokens = (uint64_t)node->in[0]->cols;
    return um_tape_drop(tape, node, o->a.dropout,
                        (uint64_t)b->head * n_tokens + (uint64_t)(b->start + b->query));
}

static void block_forward(struct um_tape *tape, struct um_node *node, const struct options *o,
                          const struct block *b)
{
    const struct um_value *v = node->in[2];
    struct um_value *y = node->out;
    float *lse = node->saved + b->head * y->cols + b->start + b->query;
    scores(node, o, b);
    tape->kernels->softmax(b->p, LD, b->n_keys, b->n, o->a.scale, b->first, b->last, lse);
    tape->kernels->drop_block(b->p, LD, b->n_keys, b->n, drop_of(tape, node, o, b));
    um_gemm(head_rows(y->data, y, b->head, o, b->start + b->query), y->ld,
            head_rows(v->data, v, b->kv_head, o, b->start), v->ld, UM_PLAIN, b->p, LD, UM_PLAIN,
            o->head_size, b->n, b->n_keys, 0);
}

/* `adds`: to dk and dv (and, by node->adds, dq) something has been written before. */
static void block_backward(struct um_tape *tape, struct um_node *node, const struct options *o,
                           const struct block *b, const bool adds[3])
{
    struct um_value *q = node->in[0], *k = node->in[1], *v = node->in[2], *y = node->out;
    const struct um_kernels *kernels = tape->kernels;
    int64_t at = b->start + b->query, E = o->head_size;
    const float *dy = head_rows(y->grad, y, b->head, o, at);
    const float *lse = node->saved + b->head * y->cols + at;
    float delta[LD];
    scores(node, o, b);
    kernels->softmax_again(b->p, LD, b->n_keys, b->n, o->a.scale, b->first, b->last, lse);
    kernels->column_dots(delta, dy, y->ld, head_rows(y->data, y, b->head, o, at), y->ld, E, b->n);
    um_gemm(b->dp, LD, head_rows(v->data, v, b->kv_head, o, b->start), v->ld, UM_TRANSPOSED, dy,
            y->ld, UM_PLAIN, b->n_keys, b->n, E, 0);
    kernels->softmax_grad(b->dp, b->p, LD, b->n_keys, b->n, delta, o->a.scale,
                          drop_of(tape, node, o, b));
    if (v->wants_grad)
        um_gemm(head_rows(v->grad, v, b->kv_head, o, b->start), v->ld, dy, y->ld, UM_PLAIN, b->p,
                LD, UM_TRANSPOSED, E, b->n_keys, b->n, adds[2] ? 1 : 0);
    if (q->wants_grad)
        um_gemm(head_rows(q->grad, q, b->head, o, at), q->ld,
                head_rows(k->data, k, b->kv_head, o, b->start), k->ld, UM_PLAIN, b->dp, LD,
                UM_PLAIN, E, b->n, b->n_keys, adds[0] ? 1 : 0);
    if (k->wants_grad)
        um_gemm(head_rows(k->grad, k, b->kv_head, o, b->start), k->ld,
                head_rows(q->data, q, b->head, o, at), q->ld, UM_PLAIN, b->dp, LD, UM_TRANSPOSED,
                E, b->n_keys, b->n, adds[1] ? 1 : 0);
}

/* All blocks of queries of one key-value head of one sequence. */
static void run_task(struct um_tape *tape, struct um_node *node, int64_t task, bool is_backward)
{
    const struct options *o = node->options;
    int64_t sequence = task / o->a.n_kv_heads;
    int64_t start = tape->sequences.offsets[sequence];
    int32_t first[LD], last[LD];
    float *scratch = node->scratch + omp_get_thread_num() * thread_scratch(o, is_backward ? 2 : 1);
    struct block b = {.kv_head = task % o->a.n_kv_heads,
                      .start = start,
                      .length = tape->sequences.offsets[sequence + 1] - start,
                      .first = o->a.is_causal ? first : NULL,
                      .last = o->a.is_causal ? last : NULL,
                      .p = scratch,
                      .dp = scratch + o->max_length * LD};
    /* The first product written to dk, dv must cover all keys: causal blocks from the last on. */
    int64_t n_blocks = (b.length + LD - 1) / LD;
    for (int64_t g = 0; g < o->n_groups; g++) {
        for (int64_t i = n_blocks - 1; i >= 0; i--) {
            bool is_first = g == 0 && i == n_blocks - 1;
            bool adds[3] = {node->adds[0], !is_first || node->adds[1], !is_first || node->adds[2]};
            b.head = b.kv_head * o->n_groups + g;
            b.query = i * LD;
            b.n = b.length - b.query < LD ? b.length - b.query : LD;
            b.n_keys = o->a.is_causal ? key_ranges(first, last, o, b.query, b.n) : b.length;
            if (is_backward)
                block_backward(tape, node, o, &b, adds);
            else
                block_forward(tape, node, o, &b);
        }
    }
}

static double flop(const struct um_tape *tape, const struct options *o)
{
    double sum = 0;
    for (int64_t s = 0; s < tape->sequences.n; s++) {
        double n = (double)(tape->sequences.offsets[s + 1] - tape->sequences.offsets[s]);
        sum += n * n;
    }
    return 4.0 * sum * (double)(o->head_size * o->a.n_heads);
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    int64_t n_tasks = tape->sequences.n * o->a.n_kv_heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < n_tasks; task++)
        run_task(tape, node, task, false);
    um_profile_count(tape->profile, flop(tape, o));
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    int64_t n_tasks = tape->sequences.n * o->a.n_kv_heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < n_tasks; task++)
        run_task(tape, node, task, true);
    um_profile_count(tape->profile, 2.5 * flop(tape, o));
}

static const struct um_op op_attention = {.name = "attention",
                                          .part = UM_PART_ATTENTION,
                                          .keeps_inputs = 7,
                                          .keeps_output = true,
                                          .forward = forward,
                                          .backward = backward};

static int64_t longest(const struct um_sequences *sequences)
{
    int64_t max = 0;
    for (int64_t s = 0; s < sequences->n; s++) {
        int64_t n = sequences->offsets[s + 1] - sequences->offsets[s];
        max = n > max ? n : max;
    }
    return max;
}

struct um_value *um_attention(struct um_tape *tape, struct um_value *q, struct um_value *k,
                              struct um_value *v, struct um_attention_options options)
{
    struct um_value *y = um_tape_value(tape, q->rows, q->cols);
    if (options.n_kv_heads < 1 || options.n_heads % options.n_kv_heads ||
        q->rows % options.n_heads || k->rows != v->rows ||
        k->rows * options.n_heads != q->rows * options.n_kv_heads) {
        um_tape_fail(tape, "attention heads do not fit their inputs");
        return y;
    }
    struct options o = {.a = options,
                        .head_size = q->rows / options.n_heads,
                        .n_groups = options.n_heads / options.n_kv_heads,
                        .max_length = longest(&tape->sequences)};
    if (o.a.scale == 0)
        o.a.scale = 1.0F / sqrtf((float)o.head_size);
    struct um_node *node = um_tape_append(tape, &op_attention, y, &o, sizeof(o));
    um_tape_input(node, q);
    um_tape_input(node, k);
    um_tape_input(node, v);
    node->n_saved = options.n_heads * q->cols;
    node->n_scratch_forward = um_threads() * thread_scratch(&o, 1);
    node->n_scratch_backward = um_threads() * thread_scratch(&o, 2);
    return y;
}
