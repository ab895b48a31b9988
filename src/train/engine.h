/*
 * The engine: a model, its memory and a batch, run forward and backward. Training, evaluation,
 * prediction and planning are different ways to drive it.
 */
#ifndef UM_TRAIN_ENGINE_H
#define UM_TRAIN_ENGINE_H

#include "model/model.h"
#include "nn/cache.h"
#include "tensor/pool.h"

/* What the loss is of. */
enum um_objective {
    UM_OBJECTIVE_CLASS, /* a row's class */
    UM_OBJECTIVE_VALUE, /* a row's value: regression */
    UM_OBJECTIVE_TAG,   /* the class of each word, at its first token */
    UM_OBJECTIVE_TOKEN, /* each learnt token, from those before it */
};

/* A ragged batch of encoded rows, laid end to end. All arrays are owned and reused. */
struct um_batch {
    int32_t *ids, *types, *positions;        /* n_tokens */
    int32_t *loss_columns, *loss_labels;     /* n_losses: a token's column, and the one behind it;
                                                or a word's first token's, and its class */
    int32_t *first, *last, *labels;          /* n_rows: first and last token's column; class */
    float *targets;                          /* n_rows: regression */
    int64_t *offsets;                        /* n_rows + 1 */
    int64_t n_rows, n_tokens, n_losses;
    size_t tokens_capacity, types_capacity, positions_capacity, columns_capacity;
    size_t loss_labels_capacity, first_capacity, last_capacity, labels_capacity;
    size_t targets_capacity, offsets_capacity;
};

void um_batch_free(struct um_batch *batch);
/* Empties it, with room for n_rows rows of n_tokens tokens in all. */
enum um_status um_batch_begin(struct um_batch *batch, int64_t n_rows, int64_t n_tokens,
                              struct um_error *err);
/* Appends a row: n ids, types (NULL = all 0), a class and a target. Room was made before. */
void um_batch_add(struct um_batch *batch, const int32_t *ids, const uint8_t *types, int64_t n,
                  int64_t label, double target);

/* Appends a sequence of which the tokens with learnt[i] = 1 are to be predicted (the first
 * cannot). */
void um_batch_add_tokens(struct um_batch *batch, const int32_t *ids, const uint8_t *learnt,
                         int64_t n);

/* Appends a row whose token i begins word words[i] (-1: none), of class tags[words[i]] (tags NULL:
 * not known). */
void um_batch_add_words(struct um_batch *batch, const int32_t *ids, const uint8_t *types,
                        const int32_t *words, int64_t n, const int32_t *tags);

struct um_engine {
    struct um_model *model;       /* borrows */
    struct um_pool pool;
    struct um_profile *profile;   /* borrows; NULL = not measured */
    enum um_objective objective;
    bool is_rounded;              /* training passes multiply bfloat16 numbers */
    bool recompute;
    bool is_without_dropout;      /* training passes are without dropout: for calibration */
    uint64_t seed;
    bool is_trained;              /* weights are no longer those of the file */
};

/* Reserves address space for activations. */
enum um_status um_engine_open(struct um_engine *engine, struct um_model *model,
                              size_t pool_bytes, struct um_error *err);
/* An engine that computes nothing: its pool's peak_bytes tell what a pass would take. */
enum um_status um_engine_open_dry(struct um_engine *engine, struct um_model *model,
                                  struct um_error *err);
void um_engine_close(struct um_engine *engine);
/* Makes room for passes of which a dry one took so many bytes, where there is less; the engine's
 * settings stay. */
enum um_status um_engine_reserve(struct um_engine *engine, size_t bytes, struct um_error *err);

/* Fails because `what` ("the loss is not finite"), and names the weight that is to blame, if one
 * is: UM_E_DIVERGED, or UM_E_INPUT while weights are those of the file, which then is bad. */
enum um_status um_engine_fail(const struct um_engine *engine, const char *what,
                              struct um_error *err);

/* Outputs [n_rows, O] row-major, without dropout; of a tagger [n_losses, O], for each word. */
enum um_status um_engine_predict(float *outputs, struct um_engine *engine,
                                 const struct um_batch *batch, struct um_error *err);

/* Logits [n, V] row-major of what follows the tokens at `columns`, of a decoder. */
enum um_status um_engine_logits(float *logits, struct um_engine *engine,
                                const struct um_batch *batch, const int32_t *columns, int64_t n,
                                struct um_error *err);

/* Goes on with texts: sequence b of the batch comes behind what slot slots[b] of the cache holds,
 * and is added to it. Logits [n_rows, V] row-major of what follows each sequence. */
enum um_status um_engine_go_on(float *logits, struct um_engine *engine, struct um_batch *batch,
                               struct um_cache *cache, const int32_t *slots, struct um_error *err);

/* A recorded pass that goes on by one token a sequence, to be run again and again: nothing is
 * recorded or allocated then. All zeros: not recorded yet. */
struct um_step {
    struct um_tape tape;
    struct um_input input; /* what it was recorded with */
    struct um_value *logits;
};

/* As um_engine_go_on, for a batch of one token a sequence. From call to call engine, cache, slots
 * and the engine's pool must be the same ones; another number of sequences, or arrays of the batch
 * that have moved, are recorded anew. */
enum um_status um_engine_step(float *logits, struct um_step *step, struct um_engine *engine,
                              struct um_batch *batch, struct um_cache *cache, const int32_t *slots,
                              struct um_error *err);
void um_step_close(struct um_step *step);

/* The loss of the batch's learnt tokens, summed, without dropout. */
enum um_status um_engine_loss(double *loss, struct um_engine *engine,
                              const struct um_batch *batch, struct um_error *err);

/* One forward and backward pass: adds this batch's share of the loss (normalised over `n_total`
 * rows, or learnt tokens) to *loss and hands gradients to the sink. `stream` names the dropout
 * masks. */
enum um_status um_engine_train(double *loss, struct um_engine *engine,
                               const struct um_batch *batch, int64_t n_total, uint64_t stream,
                               struct um_sink sink, struct um_error *err);

#endif
