/* The tape: recording, liveness, and the two walks. */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

void um_tape_open(struct um_tape *tape, struct um_pool *pool, struct um_sequences sequences)
{
    *tape = (struct um_tape){.pool = pool, .sequences = sequences, .kernels = um_kernels()};
}

void um_tape_close(struct um_tape *tape)
{
    if (tape->pool)
        um_pool_reset(tape->pool);
    um_arena_free(&tape->arena);
    um_free(tape->nodes);
    um_free(tape->values);
    *tape = (struct um_tape){0};
}

void um_tape_fail(struct um_tape *tape, const char *why)
{
    if (!tape->is_failed)
        tape->fault = why;
    tape->is_failed = true;
}

void um_tape_block_begin(struct um_tape *tape)
{
    tape->block = ++tape->n_blocks;
}

void um_tape_block_end(struct um_tape *tape)
{
    tape->block = 0;
}

/* Rows start on cache lines, and not a page's size apart, which would put them all in one set.
 * Without training, rows of few tokens leave no gaps: they would be most of the memory gone
 * through. */
static int64_t row_stride(const struct um_tape *tape, int64_t cols)
{
    if (!tape->is_training && cols < UM_NARROW_COLUMNS)
        return cols;
    int64_t ld = (cols + 15) & ~(int64_t)15;
    return ld % 1024 == 0 ? ld + 16 : ld;
}

struct um_value *um_tape_value(struct um_tape *tape, int64_t rows, int64_t cols)
{
    struct um_value *value = UM_ARENA_NEW(&tape->arena, 1, struct um_value);
    if (!value || !um_grow(&tape->values, &tape->values_capacity, tape->n_values + 1,
                           sizeof(struct um_value *))) {
        um_tape_fail(tape, "out of memory while recording");
        value = &tape->nothing;
    } else {
        tape->values[tape->n_values++] = value;
    }
    *value = (struct um_value){.rows = rows,
                               .cols = cols,
                               .ld = row_stride(tape, cols),
                               .first_node = -1,
                               .last_node = -1};
    return value;
}

struct um_node *um_tape_append(struct um_tape *tape, const struct um_op *op, struct um_value *out,
                               const void *options, size_t options_bytes)
{
    struct um_node *node = UM_ARENA_NEW(&tape->arena, 1, struct um_node);
    void *copy = options_bytes ? um_arena_alloc(&tape->arena, options_bytes) : NULL;
    if (!node || (options_bytes && !copy) ||
        !um_grow(&tape->nodes, &tape->nodes_capacity, tape->n_nodes + 1,
                 sizeof(struct um_node *))) {
        um_tape_fail(tape, "out of memory while recording");
        tape->nowhere = (struct um_node){.op = op};
        return &tape->nowhere;
    }
    if (copy)
        memcpy(copy, options, options_bytes);
    *node = (struct um_node){.op = op,
                             .out = out,
                             .keeps_inputs = op->keeps_inputs,
                             .options = copy,
                             .block = tape->block,
                             .number = (int)tape->n_nodes};
    out->first_node = out->last_node = node->number;
    tape->nodes[tape->n_nodes++] = node;
    return node;
}

void um_tape_input(struct um_node *node, struct um_value *value)
{
    if (node->n_in == UM_NODE_INPUTS)
        return;
    node->in[node->n_in++] = value;
}

bool um_tape_drops(const struct um_tape *tape, float p)
{
    return tape->is_training && !tape->is_without_dropout && p > 0;
}

struct um_drop um_tape_drop(const struct um_tape *tape, const struct um_node *node, float p,
                            uint64_t row)
{
    struct um_drop d = {.seed = tape->seed, .scale = 1};
    if (um_tape_drops(tape, p)) {
        d.threshold = (uint32_t)lrintf(p * 65536.0F);
        d.scale = 65536.0F / (float)(65536 - d.threshold);
        /* Step and micro-batch, node and row side by side in the stream's 64 bits, well mixed. */
        d.stream = (tape->stream * 4096 + (uint64_t)node->number) * 0x9E3779B97F4A7C15U + row;
    }
    return d;
}

/* Last uses, what backward reads, and what stays inside its block. */
static void work_out_lives(struct um_tape *tape)
{
    for (size_t i = 0; i < tape->n_values; i++) {
        tape->values[i]->is_kept = false;
        tape->values[i]->is_internal = true;
    }
    for (size_t i = 0; i < tape->n_nodes; i++) {
        struct um_node *node = tape->nodes[i];
        for (int k = 0; k < node->n_in; k++)
            node->wants_grad = node->wants_grad || node->in[k]->wants_grad;
        node->out->wants_grad = node->wants_grad;
        if (node->op->keeps_output && node->wants_grad)
            node->out->is_kept = true;
        if (node->block == 0)
            node->out->is_internal = false;
        for (int k = 0; k < node->n_in; k++) {
            struct um_value *in = node->in[k];
            in->last_node = (int)i;
            if (node->wants_grad && (node->keeps_inputs >> k & 1))
                in->is_kept = true;
            if (in->first_node < 0 || tape->nodes[in->first_node]->block != node->block)
                in->is_internal = false;
        }
    }
}

/* Kept values that are made again instead: what they are made from must be there all the while.
 * Where whole blocks are computed again it would be done twice. */
static void find_remade(struct um_tape *tape)
{
    for (size_t i = 0; i < tape->n_nodes; i++) {
        const struct um_node *node = tape->nodes[i];
        bool is_remade = node->op->is_cheap && node->out->is_kept && !tape->recompute;
        for (int k = 0; k < node->n_in; k++)
            is_remade = is_remade && node->in[k]->is_kept && !node->in[k]->is_remade;
        node->out->is_remade = is_remade;
    }
}

static enum um_status take(struct um_tape *tape, float **memory, int64_t n, struct um_error *err)
{
    if (*memory || n == 0)
        return UM_OK;
    *memory = um_pool_take(tape->pool, n);
    if (!*memory)
        return um_fail(err, UM_E_RUNTIME,
                       "the memory for activations (%zu MiB) is full: %lld bytes more are needed",
                       tape->pool->size_bytes >> 20, (long long)n * (long long)sizeof(float));
    return UM_OK;
}

static void give(struct um_tape *tape, float **memory)
{
    um_pool_give(tape->pool, *memory);
    *memory = NULL;
}

/* Whether a value outlives its last use in the forward pass. */
static bool stays(const struct um_tape *tape, const struct um_value *value, bool is_again)
{
    if (value->is_output)
        return true;
    if (value->is_remade)
        return false;
    if (!tape->recompute)
        return value->is_kept;
    /* What crosses a block's border is what the block is computed from again. */
    return value->is_internal ? is_again && value->is_kept : true;
}

/* What a node's forward pass writes to. */
static enum um_status take_forward(struct um_tape *tape, struct um_node *node, struct um_error *err)
{
    UM_RETURN_IF(take(tape, &node->out->data, node->out->rows * node->out->ld, err));
    UM_RETURN_IF(take(tape, &node->saved, node->n_saved, err));
    return take(tape, &node->scratch, node->n_scratch_forward, err);
}

static enum um_status run_forward(struct um_tape *tape, struct um_node *node, struct um_error *err)
{
    UM_RETURN_IF(take_forward(tape, node, err));
    if (!tape->pool->is_dry) {
        enum um_part was = um_profile_enter(tape->profile, node->op->part);
        node->op->forward(tape, node);
        um_profile_enter(tape->profile, was);
    }
    give(tape, &node->scratch);
    return UM_OK;
}

/* Computes one node. `is_again`: in the backward pass, for the memory that backward reads. */
static enum um_status node_forward(struct um_tape *tape, struct um_node *node, bool is_again,
                                   struct um_error *err)
{
    UM_RETURN_IF(run_forward(tape, node, err));
    bool is_later = tape->recompute && node->block && !is_again;
    if (!node->wants_grad || is_later)
        give(tape, &node->saved);
    for (int k = 0; k <= node->n_in; k++) {
        struct um_value *value = k < node->n_in ? node->in[k] : node->out;
        if (value->last_node == node->number && !stays(tape, value, is_again))
            give(tape, &value->data);
    }
    return UM_OK;
}

/* Gives memory back to the pool, which may hand it to later nodes, but remembers where it was. */
static void release(struct um_tape *tape, struct um_node *node)
{
    um_pool_give(tape->pool, node->scratch);
    um_pool_give(tape->pool, node->saved);
    for (int k = 0; k <= node->n_in; k++) {
        const struct um_value *value = k < node->n_in ? node->in[k] : node->out;
        bool is_seen = false;
        for (int j = 0; j < k; j++)
            is_seen = is_seen || node->in[j] == value;
        if (value->last_node == node->number && !value->is_output && !is_seen)
            um_pool_give(tape->pool, value->data);
    }
}

/* Without training everything is used in the order of the nodes: where it lies is settled once, for
 * this run and those that follow. */
static enum um_status lay_out(struct um_tape *tape, struct um_error *err)
{
    for (size_t i = 0; i < tape->n_nodes; i++) {
        struct um_node *node = tape->nodes[i];
        UM_RETURN_IF(take_forward(tape, node, err));
        release(tape, node);
    }
    tape->is_laid_out = true;
    return UM_OK;
}

static void run_laid_out(struct um_tape *tape)
{
    for (size_t i = 0; i < tape->n_nodes; i++) {
        struct um_node *node = tape->nodes[i];
        enum um_part was = um_profile_enter(tape->profile, node->op->part);
        node->op->forward(tape, node);
        um_profile_enter(tape->profile, was);
    }
}

enum um_status um_tape_forward(struct um_tape *tape, struct um_error *err)
{
    if (tape->is_failed)
        return um_fail(err, UM_E_RUNTIME, "cannot record the forward pass: %s", tape->fault);
    if (!tape->is_laid_out)
        work_out_lives(tape);
    if (tape->is_training) {
        find_remade(tape);
        for (size_t i = 0; i < tape->n_nodes; i++)
            UM_RETURN_IF(node_forward(tape, tape->nodes[i], false, err));
        return UM_OK;
    }
    if (!tape->is_laid_out)
        UM_RETURN_IF(lay_out(tape, err));
    if (!tape->pool->is_dry)
        run_laid_out(tape);
    return UM_OK;
}

/* Computes the block that ends at node `last` again. */
static enum um_status block_again(struct um_tape *tape, int last, struct um_error *err)
{
    int block = tape->nodes[last]->block, first = last;
    while (first > 0 && tape->nodes[first - 1]->block == block)
        first--;
    for (int i = first; i <= last; i++)
        UM_RETURN_IF(node_forward(tape, tape->nodes[i], true, err));
    return UM_OK;
}

/* What a node's backward function reads of remade values is made. */
static enum um_status remake(struct um_tape *tape, struct um_node *node, struct um_error *err)
{
    for (int k = 0; k < node->n_in; k++) {
        struct um_value *in = node->in[k];
        if (in->is_remade && !in->data && (node->keeps_inputs >> k & 1))
            UM_RETURN_IF(run_forward(tape, tape->nodes[in->first_node], err));
    }
    return node->op->keeps_output && !node->out->data ? run_forward(tape, node, err) : UM_OK;
}

static enum um_status node_backward(struct um_tape *tape, struct um_node *node,
                                    struct um_error *err)
{
    struct um_value *out = node->out;
    UM_RETURN_IF(remake(tape, node, err));
    for (int k = 0; k < node->n_in; k++) {
        struct um_value *in = node->in[k];
        if (!in->wants_grad)
            continue;
        node->adds[k] = in->grad != NULL;
        /* An input that stands here twice is added to the second time. */
        bool is_twice = false;
        for (int j = 0; j < node->n_in; j++)
            is_twice = is_twice || (j != k && node->in[j] == in);
        if (k == 0 && node->op->passes_grad && !in->grad && !is_twice && in->ld == out->ld)
            in->grad = out->grad;
        UM_RETURN_IF(take(tape, &in->grad, in->rows * in->ld, err));
    }
    UM_RETURN_IF(take(tape, &node->scratch, node->n_scratch_backward, err));
    if (!tape->pool->is_dry) {
        enum um_part was = um_profile_enter(tape->profile, node->op->part);
        node->op->backward(tape, node);
        um_profile_enter(tape->profile, was);
    }
    give(tape, &node->scratch);
    return UM_OK;
}

enum um_status um_tape_backward(struct um_tape *tape, struct um_error *err)
{
    int block_done = 0;
    for (int i = (int)tape->n_nodes - 1; i >= 0; i--) {
        struct um_node *node = tape->nodes[i];
        struct um_value *out = node->out;
        if (tape->recompute && node->block && node->block != block_done && node->wants_grad) {
            UM_RETURN_IF(block_again(tape, i, err));
            block_done = node->block;
        }
        if (node->wants_grad && (out->grad || node->op->is_loss))
            UM_RETURN_IF(node_backward(tape, node, err));
        bool is_passed = node->n_in > 0 && out->grad && node->in[0]->grad == out->grad;
        if (is_passed)
            out->grad = NULL;
        give(tape, &out->grad);
        if (!out->is_output)
            give(tape, &out->data);
        give(tape, &node->saved);
    }
    return UM_OK;
}
