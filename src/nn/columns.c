/* Taking columns (the first token of each sequence, the positions that have a loss): dx gets dy in
 * those columns and zero elsewhere. */
#include "nn/ops.h"

#include <string.h>

struct options {
    const int32_t *columns;
};

static void forward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const int32_t *columns = ((const struct options *)node->options)->columns;
    const struct um_value *x = node->in[0];
    struct um_value *y = node->out;
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            y->data[i * y->ld + j] = x->data[i * x->ld + columns[j]];
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const int32_t *columns = ((const struct options *)node->options)->columns;
    struct um_value *x = node->in[0], *y = node->out;
    for (int64_t i = 0; i < x->rows; i++) {
        float *dx = x->grad + i * x->ld;
        if (!node->adds[0])
            memset(dx, 0, (size_t)x->cols * sizeof(float));
        for (int64_t j = 0; j < y->cols; j++)
            dx[columns[j]] += y->grad[i * y->ld + j];
    }
}

static const struct um_op op_columns = {
    .name = "columns", .part = UM_PART_ELEMENTWISE, .forward = forward, .backward = backward};

struct um_value *um_take_columns(struct um_tape *tape, struct um_value *x, const int32_t *columns,
                                 int64_t n)
{
    struct um_value *y = um_tape_value(tape, x->rows, n);
    struct options options = {.columns = columns};
    um_tape_input(um_tape_append(tape, &op_columns, y, &options, sizeof(options)), x);
    return y;
}
