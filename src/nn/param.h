/*
 * A parameter: a named matrix of the model, where its values stand, and whether its gradient is
 * wanted. Values stored as fp32 are used (and updated) in place, in the privately mapped file;
 * 16-bit and quantised values are expanded when they are used, with the sparse values that training
 * has changed laid over them. A vector is a matrix with one column. The rows of a quantised matrix
 * are whole blocks.
 */
#ifndef UM_NN_PARAM_H
#define UM_NN_PARAM_H

#include "base/str.h"
#include "tensor/dtype.h"

struct um_param;

/*
 * A low-rank change attached to a matrix that maps x to y, made of parameters of the model (LoRA
 * and its kin, nn/low_rank.c): y += scale up (lambda * (down drop(x))), and with a magnitude every
 * output is brought to that length of its row of weights.
 */
struct um_low_rank {
    struct um_param *down;      /* [r, inputs]: PEFT's lora_A */
    struct um_param *up;        /* [outputs, r]: lora_B */
    struct um_param *lambda;    /* [r], NULL = all one: AdaLoRA's lora_E */
    struct um_param *magnitude; /* [outputs], NULL = none: DoRA */
    float scale, dropout;
};

struct um_param {
    const char *name;     /* as in the base's file; transformers' own for an added one (borrows) */
    int index;            /* place in the model's table: the parameter order of ties */
    int64_t rows, cols, n_elements;
    int n_dims;           /* 1 or 2, as stored */
    enum um_dtype dtype;  /* as stored */
    const unsigned char *stored; /* in the mapped file; NULL for an added parameter */
    float *values;        /* fp32, writable; NULL while they are stored otherwise */
    bool is_planned_f32;  /* for plans: there are no values, but they would be fp32 */
    bool is_added;        /* freshly initialised, not in the base */
    bool is_head;         /* the vocabulary head: its gradient comes in parts (um_head_loss) */
    bool is_task_head;    /* of the task's head, fresh or the checkpoint's own */
    int layer;            /* the layer it is of, -1 = of none */
    bool wants_grad;      /* someone consumes its gradient */
    bool is_map;          /* a linear map's matrix: a low-rank change can be attached */
    bool is_turned;       /* a map stored [inputs, outputs] */
    bool is_attached;     /* added, as part of a low-rank change or an adapter */
    const struct um_low_rank *low_rank; /* attached to this map; NULL = nothing (borrows) */

    /* Changed values over a base that is not fp32: ascending flat positions (borrows). */
    const int64_t *overlay_index;
    const float *overlay_value;
    int64_t n_overlay;
};

/* Outputs of a map, however it is stored. */
static inline int64_t um_map_outputs(const struct um_param *map)
{
    return map->is_turned ? map->cols : map->rows;
}

/* Floats of scratch that um_param_read needs for all rows: 0 if the values are fp32. */
int64_t um_param_scratch(const struct um_param *param);

/* Rows first..first+n_rows-1 as fp32, with the overlay: in place, or expanded into `scratch`
 * (n_rows * cols floats; not touched if the values are fp32). */
const float *um_param_read(const struct um_param *param, int64_t first, int64_t n_rows,
                           float *scratch);

/* One element by its flat position, as fp32 (a quantised one costs its block); the overlay is not
 * looked at (masked elements have none). */
float um_param_stored(const struct um_param *param, int64_t index);
/* The same with the overlay. */
float um_param_value(const struct um_param *param, int64_t index);

/* Where the overlay's *n entries of rows first..first+n_rows-1 start. */
int64_t um_param_overlay(int64_t *n, const struct um_param *param, int64_t first, int64_t n_rows);

/* What the gradient of a parameter is made of, as the backward pass hands it over. */
enum um_factor_kind {
    UM_FACTOR_PRODUCT, /* dW[i][j] = sum_t dy[i][t] x[j][t] */
    UM_FACTOR_LOOKUP,  /* dW[ids[t]][j] += dy[j][t]: an embedding */
    UM_FACTOR_VECTOR,  /* dW[i] = vector[i]: biases, norm weights */
    UM_FACTOR_HEAD,    /* the sum of the parts that went before, rows of dy to be made on demand */
};

/*
 * A vocabulary head at work: what um_head_loss needs, and afterwards what it takes to work out rows
 * of d_logits again. Pointers are borrowed.
 */
struct um_head {
    struct um_param *weight; /* [V, D] */
    const int32_t *labels;   /* n, in range */
    double normalizer;       /* the loss is divided by */
    float cap;               /* soft cap of the logits, 0 = none */
    const float *lse;        /* n: log of the sum of exponentials; known after the forward pass */
    bool is_rounded;         /* logits are products of bfloat16 numbers; known then too */
};

/* Pointers are borrowed until the sink returns. dy and x are feature-major. */
struct um_factor {
    enum um_factor_kind kind;
    int64_t n_tokens;
    const float *dy, *x, *vector;
    int64_t lddy, ldx;
    const int32_t *ids;
    bool is_part;               /* of a head's product: the HEAD factor follows the last one */
    const struct um_head *head; /* of a HEAD factor; dy is NULL, x [D, n_tokens] is all of it */
};

/* Who consumes gradients: called once for every use of a parameter that wants one, in backward
 * order; the gradient is the sum over the uses. */
struct um_sink {
    void (*accept)(void *user, struct um_param *param, const struct um_factor *factor);
    void *user;
};

#endif
