/*
 * The tape: what a forward pass computes, written down op by op, then run forward and backward.
 *
 * A model's forward function calls ops (ops.h); each checks its shapes and appends a node. Nothing
 * is computed yet. Running the tape computes the nodes in order, with memory known in advance:
 * a value's memory is given back after its last use, unless the backward pass needs it (and it is
 * not cheap to make again: norms, activations, attention); backward walks the nodes in reverse,
 * allocates gradients when they are first written and gives back what each node held. On a dry pool
 * the same walk touches nothing and yields the peak.
 *
 * Values are feature-major: [rows = features, cols = tokens], rows `ld` floats apart. Gradients of
 * parameters are not values: an op hands their factors to the tape's sink.
 */
#ifndef UM_NN_TAPE_H
#define UM_NN_TAPE_H

#include "nn/param.h"
#include "nn/profile.h"
#include "tensor/kernels.h"
#include "tensor/pool.h"

/* A ragged batch: sequences laid end to end, no padding. */
struct um_sequences {
    int64_t n;              /* sequences */
    const int64_t *offsets; /* n + 1: sequence b is tokens offsets[b]..offsets[b+1]-1 */
};

struct um_cache;

struct um_value {
    int64_t rows, cols, ld;
    float *data, *grad; /* NULL while not held */
    bool wants_grad;    /* a parameter below it wants its gradient */
    bool is_output;     /* stays until the tape is reset */
    /* Worked out before a run. */
    int first_node, last_node; /* node that makes it, last node that reads it */
    bool is_kept;              /* a backward function reads it */
    bool is_internal;          /* made and read within one block */
    bool is_remade;            /* kept, but cheap: made again when a backward function reads it */
};

/* Values of fewer columns than this have no gaps between rows, unless there is training: ld =
 * cols. */
enum { UM_NARROW_COLUMNS = 16 };

/* How loops over elements go through a value: row by row, or as one row if there are no gaps. */
struct um_extent {
    int64_t rows, cols;
};

static inline struct um_extent um_extent_of(const struct um_value *value)
{
    bool is_one = value->cols < UM_NARROW_COLUMNS && value->ld == value->cols;
    return is_one ? (struct um_extent){1, value->rows * value->cols}
                  : (struct um_extent){value->rows, value->cols};
}

enum { UM_NODE_INPUTS = 4 };

struct um_tape;
struct um_node;

struct um_op {
    const char *name;
    enum um_part part;
    unsigned keeps_inputs; /* bit i: backward reads input i */
    bool keeps_output;     /* backward reads the output */
    bool passes_grad;      /* input 0's gradient may take over the output's memory in place */
    bool is_loss;          /* backward starts here: the output has no gradient */
    bool is_cheap;         /* beside products forward costs nothing: it is run again rather than its
                              output kept, if its inputs are kept anyway */
    void (*forward)(struct um_tape *tape, struct um_node *node);
    /* Adds to (node->adds[i]) or writes in[i]->grad for the inputs that want it, and hands factors
     * of the node's parameters to the sink. */
    void (*backward)(struct um_tape *tape, struct um_node *node);
};

struct um_node {
    const struct um_op *op;
    struct um_value *in[UM_NODE_INPUTS], *out;
    int n_in;
    unsigned keeps_inputs; /* the op's, unless its recording function knows better */
    const void *options;  /* the op's own, in the tape's arena */
    float *saved;         /* from forward to backward: n_saved floats */
    float *scratch;       /* during a call only */
    int64_t n_saved, n_scratch_forward, n_scratch_backward;
    bool adds[UM_NODE_INPUTS]; /* in backward: input i's gradient is there, add to it */
    bool wants_grad;      /* of a parameter, or of an input */
    int block;            /* recomputation block, 0 = none */
    int number;           /* place on the tape: part of a dropout stream's name */
};

struct um_tape {
    struct um_pool *pool;       /* borrows */
    struct um_arena arena;      /* nodes, values, options of this tape */
    const struct um_kernels *kernels;
    struct um_sequences sequences;
    /* Going on with texts (no training): attention reads and extends the cache (borrows), sequence
     * b that of slot slots[b]. */
    struct um_cache *cache;
    const int32_t *slots;
    int n_attentions;           /* recorded so far: which layer's cache is whose */
    struct um_sink sink;
    struct um_profile *profile; /* NULL = not measured (borrows) */
    uint64_t seed, stream;      /* of dropout: stream = step and micro-batch */
    bool is_training;           /* dropout is on, a backward pass will follow */
    bool is_without_dropout;    /* though it trains */
    bool is_rounded;            /* maps and the vocabulary head multiply bfloat16 numbers */
    bool recompute;             /* blocks are computed again in the backward pass */
    bool is_failed;             /* recording: out of memory or shapes that do not fit */
    const char *fault;          /* why */
    bool is_laid_out;           /* nodes and values know their memory: it was run before */

    struct um_node **nodes;
    size_t n_nodes, nodes_capacity;
    struct um_value **values;
    size_t n_values, values_capacity;
    int block, n_blocks;
    /* What failed recordings return, so that callers need no checks. */
    struct um_value nothing;
    struct um_node nowhere;
};

/* An empty tape over a pool. `sequences` (may be {0}) is borrowed. */
void um_tape_open(struct um_tape *tape, struct um_pool *pool, struct um_sequences sequences);
/* Forgets nodes and values and takes all pool memory back. */
void um_tape_close(struct um_tape *tape);

/* Runs all nodes. UM_E_RUNTIME: recording had failed, or the pool is full. Without training it may
 * be called again: the nodes run where they ran before, and nothing is allocated. Other tapes may
 * have used the pool in between. */
enum um_status um_tape_forward(struct um_tape *tape, struct um_error *err);
enum um_status um_tape_backward(struct um_tape *tape, struct um_error *err);

/* Between these two calls, nodes belong to one block of recomputation (a layer). */
void um_tape_block_begin(struct um_tape *tape);
void um_tape_block_end(struct um_tape *tape);

/* For ops: a new value; a node whose output it is; a copy of options. Never NULL. */
struct um_value *um_tape_value(struct um_tape *tape, int64_t rows, int64_t cols);
struct um_node *um_tape_append(struct um_tape *tape, const struct um_op *op, struct um_value *out,
                               const void *options, size_t options_bytes);
void um_tape_input(struct um_node *node, struct um_value *value);
void um_tape_fail(struct um_tape *tape, const char *why);

/* Whether dropout with probability p does anything. */
bool um_tape_drops(const struct um_tape *tape, float p);
/* The random stream of a row of a node's dropout mask. */
struct um_drop um_tape_drop(const struct um_tape *tape, const struct um_node *node, float p,
                            uint64_t row);

#endif
