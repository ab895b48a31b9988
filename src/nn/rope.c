/*
 * Rotary positions (Su et al. 2021): within each head the features (i, i + E/2) - or (2i, 2i + 1) -
 * are a pair that is turned by position * frequency_i. y1 = x1 c - x2 s, y2 = x2 c + x1 s; the
 * backward pass turns back: dx1 = dy1 c + dy2 s, dx2 = dy2 c - dy1 s.
 *
 * The angles of a batch are a value of their own, worked out once for all layers: E/2 rows of
 * cosines, then E/2 rows of sines. Frequencies are theta^(-2i/E), changed for long contexts as
 * transformers' modeling_rope_utils does (linear; llama3; yarn: Peng et al. 2023).
 */
#include "nn/ops.h"

#include <math.h>

/* ---- angles */

struct angles {
    const int32_t *positions;
    struct um_rope_options rope;
};

static double clamp01(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* The dimension whose wave turns `rotations` times within the original context. */
static double yarn_dimension(const struct um_rope_options *r, double rotations, double n_features)
{
    const double two_pi = 6.283185307179586;
    return n_features * log(r->original / (rotations * two_pi)) / (2 * log(r->theta));
}

static double yarn_frequency(const struct um_rope_options *r, double frequency, int64_t i,
                             int64_t half)
{
    double n_features = (double)(2 * half);
    double low = floor(yarn_dimension(r, r->beta_fast, n_features));
    double high = ceil(yarn_dimension(r, r->beta_slow, n_features));
    low = low < 0 ? 0 : low;
    high = high > n_features - 1 ? n_features - 1 : high;
    double interpolated = clamp01(((double)i - low) / (high > low ? high - low : 0.001));
    return frequency * (1 - interpolated) + frequency / r->factor * interpolated;
}

static double llama3_frequency(const struct um_rope_options *r, double frequency)
{
    double wave = 6.283185307179586 / frequency;
    if (wave < r->original / r->high_factor)
        return frequency;
    if (wave > r->original / r->low_factor)
        return frequency / r->factor;
    double smooth = (r->original / wave - r->low_factor) / (r->high_factor - r->low_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

static double frequency_of(const struct um_rope_options *r, int64_t i, int64_t half)
{
    double frequency = pow(r->theta, -(double)i / (double)half);
    if (r->factors)
        frequency /= (double)r->factors[i];
    switch (r->scaling) {
    case UM_ROPE_LINEAR:
        return frequency / r->factor;
    case UM_ROPE_LLAMA3:
        return llama3_frequency(r, frequency);
    case UM_ROPE_YARN:
        return yarn_frequency(r, frequency, i, half);
    case UM_ROPE_PLAIN:
        break;
    }
    return frequency;
}

static void angles_forward(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct angles *o = node->options;
    struct um_value *y = node->out;
    int64_t half = y->rows / 2;
    bool is_narrow = y->cols < UM_NARROW_COLUMNS;
    double size = o->rope.attention_factor;
    /* transformers multiplies position and frequency in fp32. */
#pragma omp parallel for schedule(static) if (!is_narrow)
    for (int64_t i = 0; i < half; i++) {
        float frequency = (float)frequency_of(&o->rope, i, half);
        for (int64_t t = 0; t < y->cols; t++) {
            double angle = (double)((float)o->positions[t] * frequency);
            y->data[i * y->ld + t] = (float)(cos(angle) * size);
            y->data[(half + i) * y->ld + t] = (float)(sin(angle) * size);
        }
    }
}

static const struct um_op op_angles = {
    .name = "rope_angles", .part = UM_PART_ELEMENTWISE, .forward = angles_forward};

struct um_value *um_rope_angles(struct um_tape *tape, const int32_t *positions, int64_t n,
                                int64_t head_size, struct um_rope_options options)
{
    if (head_size < 2 || head_size % 2)
        um_tape_fail(tape, "rotary positions need heads of even size");
    if (options.attention_factor == 0)
        options.attention_factor = 1;
    struct um_value *y = um_tape_value(tape, head_size / 2 * 2, n);
    struct angles o = {.positions = positions, .rope = options};
    um_tape_append(tape, &op_angles, y, &o, sizeof(o));
    return y;
}

/* ---- rotation */

struct options {
    int64_t head_size;
    bool is_interleaved;
};

/* Turns every pair by `sign` times its angle; `add`: to what is there. */
static void turn(struct um_tape *tape, const struct um_node *node, float *to, int64_t ldto,
                 const float *from, int64_t ldfrom, float sign, bool add)
{
    const struct options *o = node->options;
    const struct um_value *angles = node->in[1];
    int64_t half = o->head_size / 2, n_pairs = node->out->rows / 2;
    bool is_narrow = node->out->cols < UM_NARROW_COLUMNS;
#pragma omp parallel for schedule(static) if (!is_narrow)
    for (int64_t p = 0; p < n_pairs; p++) {
        int64_t head = p / half, i = p % half, row = head * o->head_size;
        int64_t first = row + (o->is_interleaved ? 2 * i : i);
        int64_t second = row + (o->is_interleaved ? 2 * i + 1 : i + half);
        tape->kernels->rotate(to + first * ldto, to + second * ldto, from + first * ldfrom,
                              from + second * ldfrom, angles->data + i * angles->ld,
                              angles->data + (half + i) * angles->ld, sign, add,
                              node->out->cols);
    }
}

static void forward(struct um_tape *tape, struct um_node *node)
{
    const struct um_value *x = node->in[0], *y = node->out;
    turn(tape, node, y->data, y->ld, x->data, x->ld, 1, false);
}

static void backward(struct um_tape *tape, struct um_node *node)
{
    const struct um_value *x = node->in[0], *y = node->out;
    if (x->wants_grad)
        turn(tape, node, x->grad, x->ld, y->grad, y->ld, -1, node->adds[0]);
}

static const struct um_op op_rope = {.name = "rope",
                                     .part = UM_PART_ELEMENTWISE,
                                     .keeps_inputs = 2,
                                     .passes_grad = true,
                                     .forward = forward,
                                     .backward = backward};

struct um_value *um_rope(struct um_tape *tape, struct um_value *x, struct um_value *angles,
                         bool is_interleaved)
{
    if (x->rows % angles->rows || x->cols != angles->cols)
        um_tape_fail(tape, "rotary angles do not fit the heads");
    struct um_value *y = um_tape_value(tape, x->rows, x->cols);
    struct options o = {.head_size = angles->rows, .is_interleaved = is_interleaved};
    struct um_node *node = um_tape_append(tape, &op_rope, y, &o, sizeof(o));
    um_tape_input(node, x);
    um_tape_input(node, angles);
    return y;
}
