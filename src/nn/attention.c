/*
 * Attention within each sequence of a ragged batch, for blocks of at most UM_COLUMN_BLOCK queries:
 * S = k^T q [keys, queries], P = softmax down each column of scale * S, o = v P~ with P~ = drop(P).
 *
 * Only lse (the log of each column's sum of exponentials) is saved; the backward pass computes
 * P = exp(scale S - lse) again, then
 *   dv += do P~^T,  dP~ = v^T do,  dS = scale P (drop(dP~) - delta),  delta_q = do_q . o_q,
 *   dq = k dS,      dk += q dS^T
 * (as in FlashAttention, Dao et al. 2022). With a soft cap c the scores are c tanh(scale S / c),
 * whose derivative by S is scale (1 - (score / c)^2). One task is one key-value head of one
 * sequence, so that no two tasks add to the same gradient.
 */
#include "nn/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn/cache.h"
#include "tensor/gemm.h"

struct options {
    struct um_attention_options a;
    int64_t head_size, n_groups; /* query heads per key-value head */
    int64_t max_length;
    bool is_packed;              /* q, k and v are rows of one value */
    int64_t row[3];              /* where the heads of q, k and v start in their values */
    int64_t layer;               /* of the cache */
};

/* What one block of queries works with; scratch is one thread's own. */
struct block {
    int64_t head, kv_head;  /* query head, key-value head */
    int64_t start, length;  /* the sequence's tokens */
    int64_t past;           /* keys of earlier tokens, before those of the sequence */
    const float *keys, *values;  /* the head's, [head_size, past + length], rows ld apart */
    int64_t keys_ld, values_ld;
    int64_t query, n;       /* first query within the sequence, number of queries */
    int64_t n_keys;         /* keys that any of them may see */
    const int32_t *first, *last; /* keys each query sees, NULL = all */
    float *p, *dp;          /* [n_keys, n], rows UM_COLUMN_BLOCK apart */
    float *capped;          /* the same, with a soft cap: scores */
};

enum { LD = UM_COLUMN_BLOCK };

static int64_t thread_scratch(const struct options *o, int n_matrices)
{
    return n_matrices * o->max_length * LD;
}

/* With a cache a block's queries may see all that it has room for; a single token's need one
 * row. */
static int64_t cached_scratch(const struct um_tape *tape, const struct options *o)
{
    return tape->cache->capacity * (o->max_length > 1 ? LD : 1);
}

/* Where a head's rows of input i (q, k, v) start, in its data or its gradient; and of the
 * output. */
static float *input_rows(const struct um_node *node, int i, bool is_grad, int64_t head,
                         int64_t token)
{
    const struct options *o = node->options;
    const struct um_value *value = node->in[i];
    return (is_grad ? value->grad : value->data) +
           (o->row[i] + head * o->head_size) * value->ld + token;
}

static float *output_rows(const struct um_node *node, bool is_grad, int64_t head, int64_t token)
{
    const struct um_value *y = node->out;
    return (is_grad ? y->grad : y->data) +
           head * ((const struct options *)node->options)->head_size * y->ld + token;
}

/* Matrices of scores that the backward pass works with. */
static int backward_matrices(const struct options *o)
{
    return o->a.cap == 0 ? 2 : 3;
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

/* p = the scores to be scaled: k^T q, or capped. Returns the scale that is left for the softmax. */
static float scores(const struct um_tape *tape, const struct um_node *node,
                    const struct options *o, const struct block *b)
{
    const struct um_kernels *kernels = tape->kernels;
    um_gemm(b->p, LD, b->keys, b->keys_ld, UM_TRANSPOSED,
            input_rows(node, 0, false, b->head, b->start + b->query), node->in[0]->ld, UM_PLAIN,
            b->n_keys, b->n, o->head_size, 0);
    if (o->a.cap == 0)
        return o->a.scale;
    for (int64_t i = 0; i < b->n_keys; i++) {
        float *row = b->p + i * LD;
        kernels->scale(row, o->a.scale / o->a.cap, b->n);
        kernels->tanh(row, row, b->n);
        kernels->scale(row, o->a.cap, b->n);
    }
    return 1;
}

/* ds *= scale (1 - (score / cap)^2), where the softmax saw capped scores. */
static void uncap(const struct options *o, const struct block *b)
{
    for (int64_t i = 0; i < b->n_keys; i++) {
        float *ds = b->dp + i * LD;
        const float *score = b->capped + i * LD;
        for (int64_t j = 0; j < b->n; j++) {
            float t = score[j] / o->a.cap;
            ds[j] *= o->a.scale * (1 - t * t);
        }
    }
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
    int64_t at = b->start + b->query;
    float *lse = node->saved + b->head * node->out->cols + at;
    float scale = scores(tape, node, o, b);
    tape->kernels->softmax(b->p, LD, b->n_keys, b->n, scale, b->first, b->last, lse);
    tape->kernels->drop_block(b->p, LD, b->n_keys, b->n, drop_of(tape, node, o, b));
    um_gemm(output_rows(node, false, b->head, at), node->out->ld, b->values, b->values_ld,
            UM_PLAIN, b->p, LD, UM_PLAIN, o->head_size, b->n, b->n_keys, 0);
}

/* From scores to their gradients in b->dp; b->p holds the (dropped) probabilities then. */
static void score_gradients(struct um_tape *tape, struct um_node *node, const struct options *o,
                            const struct block *b)
{
    const struct um_kernels *kernels = tape->kernels;
    const struct um_value *y = node->out;
    int64_t at = b->start + b->query, E = o->head_size;
    const float *dy = output_rows(node, true, b->head, at);
    const float *lse = node->saved + b->head * y->cols + at;
    float delta[LD], scale = scores(tape, node, o, b);
    if (o->a.cap != 0)
        memcpy(b->capped, b->p, (size_t)(b->n_keys * LD) * sizeof(float));
    kernels->softmax_again(b->p, LD, b->n_keys, b->n, scale, b->first, b->last, lse);
    kernels->column_dots(delta, dy, y->ld, output_rows(node, false, b->head, at), y->ld, E, b->n);
    um_gemm(b->dp, LD, b->values, b->values_ld, UM_TRANSPOSED, dy, y->ld, UM_PLAIN, b->n_keys,
            b->n, E, 0);
    kernels->softmax_grad(b->dp, b->p, LD, b->n_keys, b->n, delta, scale,
                          drop_of(tape, node, o, b));
    if (o->a.cap != 0)
        uncap(o, b);
}

/* `adds`: to dk and dv (and, by node->adds, dq) something has been written before. */
static void block_backward(struct um_tape *tape, struct um_node *node, const struct options *o,
                           const struct block *b, const bool adds[3])
{
    struct um_value *q = node->in[0], *k = node->in[1], *v = node->in[2], *y = node->out;
    int64_t at = b->start + b->query, E = o->head_size;
    score_gradients(tape, node, o, b);
    if (v->wants_grad)
        um_gemm(input_rows(node, 2, true, b->kv_head, b->start), v->ld,
                output_rows(node, true, b->head, at), y->ld, UM_PLAIN, b->p, LD, UM_TRANSPOSED, E,
                b->n_keys, b->n, adds[2] ? 1 : 0);
    if (q->wants_grad)
        um_gemm(input_rows(node, 0, true, b->head, at), q->ld,
                b->keys, b->keys_ld, UM_PLAIN, b->dp, LD, UM_PLAIN, E, b->n, b->n_keys,
                adds[0] ? 1 : 0);
    if (k->wants_grad)
        um_gemm(input_rows(node, 1, true, b->kv_head, b->start), k->ld,
                input_rows(node, 0, false, b->head, at), q->ld, UM_PLAIN, b->dp, LD,
                UM_TRANSPOSED, E, b->n_keys, b->n, adds[1] ? 1 : 0);
}

/* The sequence and key-value head that a task is of. */
static struct block block_of(const struct um_tape *tape, const struct options *o, int64_t task)
{
    int64_t sequence = task / o->a.n_kv_heads;
    int64_t start = tape->sequences.offsets[sequence];
    return (struct block){.kv_head = task % o->a.n_kv_heads,
                          .start = start,
                          .length = tape->sequences.offsets[sequence + 1] - start};
}

/* All blocks of queries of the task that `b` is of. */
static void run_blocks(struct um_tape *tape, struct um_node *node, struct block b, bool is_backward)
{
    const struct options *o = node->options;
    int32_t first[LD], last[LD];
    b.first = o->a.is_causal ? first : NULL;
    b.last = o->a.is_causal ? last : NULL;
    /* The first product written to dk, dv must cover all keys: causal blocks from the last on. */
    int64_t n_blocks = (b.length + LD - 1) / LD;
    for (int64_t g = 0; g < o->n_groups; g++) {
        for (int64_t i = n_blocks - 1; i >= 0; i--) {
            bool is_first = g == 0 && i == n_blocks - 1;
            /* Of packed heads only the first input's flag tells what was there before. */
            const bool *old = node->adds;
            bool adds[3] = {old[0], !is_first || old[o->is_packed ? 0 : 1],
                            !is_first || old[o->is_packed ? 0 : 2]};
            b.head = b.kv_head * o->n_groups + g;
            b.query = i * LD;
            b.n = b.length - b.query < LD ? b.length - b.query : LD;
            b.n_keys = o->a.is_causal ? key_ranges(first, last, o, b.past + b.query, b.n)
                                      : b.past + b.length;
            if (is_backward)
                block_backward(tape, node, o, &b, adds);
            else
                block_forward(tape, node, o, &b);
        }
    }
}

/* All of one key-value head of one sequence. */
static void run_task(struct um_tape *tape, struct um_node *node, int64_t task, bool is_backward)
{
    const struct options *o = node->options;
    int n_matrices = is_backward ? backward_matrices(o) : 1;
    struct block b = block_of(tape, o, task);
    b.keys = input_rows(node, 1, false, b.kv_head, b.start);
    b.values = input_rows(node, 2, false, b.kv_head, b.start);
    b.keys_ld = node->in[1]->ld;
    b.values_ld = node->in[2]->ld;
    b.p = node->scratch + omp_get_thread_num() * thread_scratch(o, n_matrices);
    b.dp = b.p + o->max_length * LD;
    b.capped = b.dp + o->max_length * LD;
    run_blocks(tape, node, b, is_backward);
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
                                          .is_cheap = true,
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

/* ---- going on with texts: keys and values of earlier tokens come from a cache */

/* One query head of a block's one token: the sums run along tokens, which lie side by side. */
static void attend(const struct um_tape *tape, const struct um_node *node, int64_t head,
                   const struct block *b)
{
    const struct options *o = node->options;
    const struct um_kernels *k = tape->kernels;
    int64_t end = b->past + 1, E = o->head_size;
    int64_t first = o->a.window > 0 && end > o->a.window ? end - o->a.window : 0;
    int64_t n = end - first;
    const float *q = input_rows(node, 0, false, head, b->start);
    float *y = output_rows(node, false, head, b->start), *p = b->p;
    k->fill(p, 0, n);
    for (int64_t e = 0; e < E; e++)
        k->add_scaled(p, q[e * node->in[0]->ld] * o->a.scale, b->keys + e * b->keys_ld + first, n);
    if (o->a.cap != 0) {
        k->scale(p, 1 / o->a.cap, n);
        k->tanh(p, p, n);
        k->scale(p, o->a.cap, n);
    }
    float sum = k->exp_row(p, n);
    for (int64_t e = 0; e < E; e++)
        y[e * node->out->ld] = k->dot(p, b->values + e * b->values_ld + first, n) / sum;
}

/* Puts a sequence's new keys (input 1) or values (2) behind those that are there; returns them
 * all. */
static const float *extend(const struct um_tape *tape, const struct um_node *node, int input,
                           const struct block *b, int64_t slot)
{
    const struct options *o = node->options;
    const struct um_cache *cache = tape->cache;
    float *part = um_cache_part(cache, o->layer, input - 1, slot) +
                  b->kv_head * o->head_size * cache->capacity;
    const float *from = input_rows(node, input, false, b->kv_head, b->start);
    for (int64_t e = 0; e < o->head_size; e++)
        memcpy(part + e * cache->capacity + b->past, from + e * node->in[input]->ld,
               (size_t)b->length * sizeof(float));
    return part;
}

/* Several new tokens in blocks; of one alone the sums along tokens are faster. */
static void cached_task(struct um_tape *tape, struct um_node *node, int64_t task)
{
    const struct options *o = node->options;
    const struct um_cache *cache = tape->cache;
    int64_t slot = tape->slots[task / o->a.n_kv_heads];
    struct block b = block_of(tape, o, task);
    b.past = cache->lengths[slot];
    b.keys = extend(tape, node, 1, &b, slot);
    b.values = extend(tape, node, 2, &b, slot);
    b.keys_ld = b.values_ld = cache->capacity;
    b.p = node->scratch + omp_get_thread_num() * cached_scratch(tape, o);
    if (b.length > 1) {
        run_blocks(tape, node, b, false);
        return;
    }
    for (int64_t g = 0; g < o->n_groups; g++)
        attend(tape, node, b.kv_head * o->n_groups + g, &b);
}

static void cached_forward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    int64_t n_tasks = tape->sequences.n * o->a.n_kv_heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < n_tasks; task++)
        cached_task(tape, node, task);
}

static const struct um_op op_cached = {
    .name = "cached_attention", .part = UM_PART_ATTENTION, .forward = cached_forward};

/* ---- recording */

static struct um_value *record(struct um_tape *tape, struct um_value *const in[3],
                               struct options o)
{
    struct um_value *y = um_tape_value(tape, o.a.n_heads * o.head_size, in[0]->cols);
    o.n_groups = o.a.n_heads / o.a.n_kv_heads;
    o.max_length = longest(&tape->sequences);
    if (o.a.scale == 0)
        o.a.scale = 1.0F / sqrtf((float)o.head_size);
    o.layer = tape->n_attentions++;
    struct um_node *node = um_tape_append(tape, tape->cache ? &op_cached : &op_attention, y, &o,
                                          sizeof(o));
    for (int i = 0; i < 3; i++)
        um_tape_input(node, in[i]);
    node->n_saved = o.a.n_heads * y->cols;
    node->n_scratch_forward = um_threads() * (tape->cache ? cached_scratch(tape, &o)
                                                          : thread_scratch(&o, 1));
    node->n_scratch_backward = um_threads() * thread_scratch(&o, backward_matrices(&o));
    return y;
}

struct um_value *um_attention(struct um_tape *tape, struct um_value *q, struct um_value *k,
                              struct um_value *v, struct um_attention_options options)
{
    if (options.n_kv_heads < 1 || options.n_heads % options.n_kv_heads ||
        q->rows % options.n_heads || k->rows != v->rows ||
        k->rows * options.n_heads != q->rows * options.n_kv_heads) {
        um_tape_fail(tape, "attention heads do not fit their inputs");
        return um_tape_value(tape, q->rows, q->cols);
    }
    return record(tape, (struct um_value *const[3]){q, k, v},
                  (struct options){.a = options, .head_size = q->rows / options.n_heads});
}

struct um_value *um_attention_packed(struct um_tape *tape, struct um_value *qkv,
                                     struct um_attention_options options)
{
    int64_t n_heads = options.n_heads, n_all = n_heads + 2 * options.n_kv_heads;
    if (options.n_kv_heads < 1 || n_heads % options.n_kv_heads || qkv->rows % n_all) {
        um_tape_fail(tape, "packed attention heads do not fit their input");
        return um_tape_value(tape, qkv->rows, qkv->cols);
    }
    int64_t E = qkv->rows / n_all;
    return record(tape, (struct um_value *const[3]){qkv, qkv, qkv},
                  (struct options){.a = options,
                                   .head_size = E,
                                   .is_packed = true,
                                   .row = {0, n_heads * E, (n_heads + options.n_kv_heads) * E}});
}
