/* Embeddings: y[:, t] = scale * sum over tables of row ids[t]. The gradient of a table goes to the
 * sink as (ids, dy): only rows that were looked up have any. */
#include "nn/ops.h"

struct options {
    struct um_lookup lookups[UM_LOOKUPS_MAX];
    int n_lookups;
    float scale;
};

/* Columns in blocks, so that each thread writes whole cache lines of its own. */
enum { BLOCK = 64 };

static void add_lookup(struct um_value *y, const struct um_lookup *lookup, int64_t first,
                       int64_t last, float scale, bool is_first, float *scratch)
{
    for (int64_t t = first; t < last; t++) {
        const float *row = um_param_read(lookup->table, lookup->ids[t], 1, scratch);
        float *column = y->data + t;
        for (int64_t d = 0; d < y->rows; d++)
            column[d * y->ld] = scale * row[d] + (is_first ? 0 : column[d * y->ld]);
    }
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct options *o = node->options;
    struct um_value *y = node->out;
    int64_t n_blocks = (y->cols + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (n_blocks > 1)
    for (int64_t b = 0; b < n_blocks; b++) {
        int64_t last = (b + 1) * BLOCK < y->cols ? (b + 1) * BLOCK : y->cols;
        for (int k = 0; k < o->n_lookups; k++)
            add_lookup(y, &o->lookups[k], b * BLOCK, last, o->scale, k == 0,
                       node->scratch + b * y->rows);
    }
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct options *o = node->options;
    struct um_value *y = node->out;
    if (o->scale != 1.0F)
        for (int64_t i = 0; i < y->rows; i++)
            tape->kernels->scale(y->grad + i * y->ld, o->scale, y->cols);
    enum um_part was = um_profile_enter(tape->profile, UM_PART_SELECTION);
    for (int k = 0; k < o->n_lookups; k++) {
        struct um_factor factor = {.kind = UM_FACTOR_LOOKUP, .n_tokens = y->cols,
                                   .dy = y->grad, .lddy = y->ld, .ids = o->lookups[k].ids};
        if (o->lookups[k].table->wants_grad)
            tape->sink.accept(tape->sink.user, o->lookups[k].table, &factor);
    }
    um_profile_enter(tape->profile, was);
}

static const struct um_op op_embed = {
    .name = "embed", .part = UM_PART_EMBEDDING, .forward = forward, .backward = backward};

struct um_value *um_embed(struct um_tape *tape, const struct um_lookup *lookups, int n_lookups,
                          int64_t n, float scale)
{
    struct options options = {.n_lookups = n_lookups, .scale = scale};
    bool wants_grad = false;
    for (int k = 0; k < n_lookups; k++) {
        options.lookups[k] = lookups[k];
        wants_grad = wants_grad || lookups[k].table->wants_grad;
        if (lookups[k].table->cols != lookups[0].table->cols)
            um_tape_fail(tape, "embedding tables of different widths");
    }
    struct um_value *y = um_tape_value(tape, lookups[0].table->cols, n);
    struct um_node *node = um_tape_append(tape, &op_embed, y, &options, sizeof(options));
    node->wants_grad = wants_grad;
    node->n_scratch_forward = (n + BLOCK - 1) / BLOCK * y->rows; /* a row to expand, per block */
    return y;
}
