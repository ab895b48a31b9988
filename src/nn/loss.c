/*
 * Losses, summed over columns and divided by a normalizer that the caller gives (the rows of the
 * whole optimizer step, so that accumulation equals the big batch).
 * Cross entropy: d_logits = (softmax - onehot) / normalizer. Squared error: 2 (y - target) / n.
 */
#include "nn/ops.h"

#include <math.h>

struct options {
    const int32_t *labels;
    const float *targets;
    double normalizer;
};

static double log_sum_exp(const struct um_value *x, int64_t column)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < x->rows; i++)
        most = fmax(most, (double)x->data[i * x->ld + column]);
    for (int64_t i = 0; i < x->rows; i++)
        sum += exp((double)x->data[i * x->ld + column] - most);
    return most + log(sum);
}

static void cross_entropy_forward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct options *o = node->options;
    const struct um_value *x = node->in[0];
    double loss = 0;
    for (int64_t j = 0; j < x->cols; j++)
        loss += log_sum_exp(x, j) - (double)x->data[o->labels[j] * x->ld + j];
    node->out->data[0] = (float)(loss / o->normalizer);
}

static void cross_entropy_backward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct options *o = node->options;
    struct um_value *x = node->in[0];
    for (int64_t j = 0; j < x->cols; j++) {
        double lse = log_sum_exp(x, j);
        for (int64_t i = 0; i < x->rows; i++) {
            double p = exp((double)x->data[i * x->ld + j] - lse) - (i == o->labels[j]);
            float *dx = &x->grad[i * x->ld + j];
            *dx = (float)(p / o->normalizer) + (node->adds[0] ? *dx : 0);
        }
    }
}

static const struct um_op op_cross_entropy = {.name = "cross_entropy",
                                              .part = UM_PART_LOSS,
                                              .keeps_inputs = 1,
                                              .is_loss = true,
                                              .forward = cross_entropy_forward,
                                              .backward = cross_entropy_backward};

struct um_value *um_cross_entropy(struct um_tape *tape, struct um_value *logits,
                                  const int32_t *labels, double normalizer)
{
    struct um_value *loss = um_tape_value(tape, 1, 1);
    struct options options = {.labels = labels, .normalizer = normalizer};
    um_tape_input(um_tape_append(tape, &op_cross_entropy, loss, &options, sizeof(options)),
                  logits);
    loss->is_output = true;
    return loss;
}

static void squared_error_forward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct options *o = node->options;
    const struct um_value *x = node->in[0];
    double loss = 0;
    for (int64_t j = 0; j < x->cols; j++) {
        double difference = (double)x->data[j] - (double)o->targets[j];
        loss += difference * difference;
    }
    node->out->data[0] = (float)(loss / o->normalizer);
}

static void squared_error_backward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct options *o = node->options;
    struct um_value *x = node->in[0];
    for (int64_t j = 0; j < x->cols; j++) {
        double d = 2 * ((double)x->data[j] - (double)o->targets[j]) / o->normalizer;
        x->grad[j] = (float)d + (node->adds[0] ? x->grad[j] : 0);
    }
}

static const struct um_op op_squared_error = {.name = "squared_error",
                                              .part = UM_PART_LOSS,
                                              .keeps_inputs = 1,
                                              .is_loss = true,
                                              .forward = squared_error_forward,
                                              .backward = squared_error_backward};

struct um_value *um_squared_error(struct um_tape *tape, struct um_value *outputs,
                                  const float *targets, double normalizer)
{
    if (outputs->rows != 1)
        um_tape_fail(tape, "a regression with more than one output");
    struct um_value *loss = um_tape_value(tape, 1, 1);
    struct options options = {.targets = targets, .normalizer = normalizer};
    um_tape_input(um_tape_append(tape, &op_squared_error, loss, &options, sizeof(options)),
                  outputs);
    loss->is_output = true;
    return loss;
}
