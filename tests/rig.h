/* A golden model at work: with an engine, and a tuning that trains it on its golden batch. */
#ifndef UM_TESTS_RIG_H
#define UM_TESTS_RIG_H

#include "golden.h"

#include "method/method.h"
#include "optim/optimizer.h"

struct rig {
    struct golden g;
    struct um_model model;
    struct um_engine engine;
    struct um_tuning tuning;
};

/* Opens GOLDEN_DIR/models/NAME without dropout. Something may be attached to it before it is
 * tuned. */
static inline void rig_open(struct rig *r, const char *name)
{
    struct um_error err;
    const struct um_model_options options = {.dropout = 0};
    memset(r, 0, sizeof(*r));
    golden_open(&r->g, name);
    assert_ok(um_model_open(&r->model, r->g.folder, &options, &err), err);
    assert_ok(um_engine_open(&r->engine, &r->model, 64 << 20, &err), err);
    r->engine.objective = r->g.is_decoder        ? UM_OBJECTIVE_TOKEN
                          : r->g.is_tagger       ? UM_OBJECTIVE_TAG
                          : r->model.dims.O == 1 ? UM_OBJECTIVE_VALUE
                                                 : UM_OBJECTIVE_CLASS;
}

/* Opens its tuning, for an optimizer with two moments. */
static inline void rig_tune(struct rig *r, struct um_tuning_options options)
{
    struct um_error err;
    options.has_column[UM_COLUMN_FIRST] = options.has_column[UM_COLUMN_SECOND] = true;
    assert_ok(um_tuning_open(&r->tuning, r->model.params, r->model.n_params, &options, &err), err);
}

static inline void rig_close(struct rig *r)
{
    um_tuning_close(&r->tuning);
    um_engine_close(&r->engine);
    um_model_close(&r->model);
    golden_close(&r->g);
}

/* The loss (with AdaLoRA's penalty) and gradients of the golden batch, as step `number` of
 * n_steps. */
static inline double rig_step(struct rig *r, int64_t number, int64_t n_steps)
{
    struct um_error err;
    double loss = 0;
    assert_ok(um_tuning_begin(&r->tuning, number, n_steps, &err), err);
    um_tuning_micro(&r->tuning, 0, true);
    bool is_of_tokens = r->g.is_decoder || r->g.is_tagger;
    int64_t n = is_of_tokens ? r->g.batch.n_losses : r->g.batch.n_rows;
    assert_ok(
        um_engine_train(&loss, &r->engine, &r->g.batch, n, 0, um_tuning_sink(&r->tuning), &err),
        err);
    assert_ok(um_tuning_end(&r->tuning, &err), err);
    return loss + r->tuning.penalty;
}

/* An update by AdamW after a step. */
static inline void rig_update(struct rig *r, double lr, double weight_decay, int64_t number)
{
    const struct um_optimizer_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = weight_decay};
    um_optimizer_step(um_optimizer_find("adamw"), &r->tuning.set, &options, 0, lr, number);
    um_tuning_updated(&r->tuning, 1);
}

/* Rows' or words' outputs, or a decoder's logits at the golden positions. Returns how many
 * numbers. */
static inline int64_t rig_predict(float *outputs, struct rig *r)
{
    struct um_error err;
    if (!r->g.is_decoder) {
        assert_ok(um_engine_predict(outputs, &r->engine, &r->g.batch, &err), err);
        return (r->g.is_tagger ? r->g.batch.n_losses : r->g.batch.n_rows) * r->model.dims.O;
    }
    int32_t columns[16];
    int64_t n = golden_tensor(&r->g, "logit_positions")->n_elements;
    for (int64_t i = 0; i < n; i++)
        columns[i] = (int32_t)golden_ints(&r->g, "logit_positions")[i];
    assert_ok(um_engine_logits(outputs, &r->engine, &r->g.batch, columns, n, &err), err);
    return n * r->model.dims.V;
}

#endif
