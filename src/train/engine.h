/*
 * The engine: a model, its memory and a batch, run forward and backward. Training, evaluation,
 * prediction and planning are different ways to drive it.
 */
#ifndef UM_TRAIN_ENGINE_H
#define UM_TRAIN_ENGINE_H

#include "model/model.h"
#include "tensor/pool.h"

/* A ragged batch of encoded rows, laid end to end. All arrays are owned and reused. */
struct um_batch {
    int32_t *ids, *types, *positions; /* n_tokens */
    int32_t *first, *labels;          /* n_rows: first token's column; class */
    float *targets;                   /* n_rows: regression */
    int64_t *offsets;                 /* n_rows + 1 */
    int64_t n_rows, n_tokens;
    size_t tokens_capacity, types_capacity, positions_capacity;
    size_t first_capacity, labels_capacity, targets_capacity, offsets_capacity;
};

void um_batch_free(struct um_batch *batch);
/* Empties it, with room for n_rows rows of n_tokens tokens in all. */
enum um_status um_batch_begin(struct um_batch *batch, int64_t n_rows, int64_t n_tokens,
                              struct um_error *err);
/* Appends a row: n ids, types (NULL = all 0), a class and a target. Room was made before. */
void um_batch_add(struct um_batch *batch, const int32_t *ids, const uint8_t *types, int64_t n,
                  int64_t label, double target);

struct um_engine {
    struct um_model *model;       /* borrows */
    struct um_pool pool;
    struct um_profile *profile;   /* borrows; NULL = not measured */
    bool is_regression, recompute;
    uint64_t seed;
    int64_t n_passes;             /* backward passes so far */
};

/* Reserves address space for activations. */
enum um_status um_engine_open(struct um_engine *engine, struct um_model *model,
                              size_t pool_bytes, bool is_dry, struct um_error *err);
void um_engine_close(struct um_engine *engine);

/* Outputs [n_rows, O] row-major, without dropout. */
enum um_status um_engine_predict(float *outputs, struct um_engine *engine,
                                 const struct um_batch *batch, struct um_error *err);

/* One forward and backward pass: adds this batch's share of the loss (normalised over `n_total`
 * rows) to *loss and hands gradients to the sink. `stream` names the dropout masks. */
enum um_status um_engine_train(double *loss, struct um_engine *engine,
                               const struct um_batch *batch, int64_t n_total, uint64_t stream,
                               struct um_sink sink, struct um_error *err);

#endif
