/* Any bytes as a model's config.json: a model is planned from it; if it is a small one, weights of
 * the shapes it wants are written, it is opened with them, and a batch goes through it and back. */
#define _DEFAULT_SOURCE /* mkdtemp */
#include <stdio.h>
#include <stdlib.h>

#include "format/safetensors.h"
#include "train/engine.h"

enum { ELEMENTS_MAX = 1 << 14, LENGTH_MAX = 6, ROWS = 2 };

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

static char folder[64], config_path[96], weights_path[96];

static void remove_folder(void)
{
    (void)um_remove_folder(folder, NULL);
}

/* Once per process; in memory, if there is such a place, since every file is synced to disk. */
static void make_folder(void)
{
    if (*config_path)
        return;
    (void)snprintf(folder, sizeof(folder), "/dev/shm/unmask fuzz XXXXXX");
    if (!mkdtemp(folder)) {
        (void)snprintf(folder, sizeof(folder), "/tmp/unmask fuzz XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    if (atexit(remove_folder) != 0)
        abort();
    (void)snprintf(config_path, sizeof(config_path), "%s/config.json", folder);
    (void)snprintf(weights_path, sizeof(weights_path), "%s/model.safetensors", folder);
}

static enum um_status write_weights(const struct um_model *plan, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    float values[ELEMENTS_MAX];
    enum um_status status;
    for (int64_t i = 0; i < ELEMENTS_MAX; i++)
        values[i] = 0.1F * (float)(i * 5 % 11 - 5);
    UM_TRY(um_safetensors_create(&w, err));
    for (int64_t p = 0; p < plan->n_params; p++) {
        const struct um_param *param = &plan->params[p];
        const int64_t dims[] = {param->rows, param->cols};
        um_safetensors_declare(&w, param->name, UM_F32, param->n_dims, dims);
    }
    UM_TRY(um_safetensors_begin(&w, weights_path, err));
    for (int64_t p = 0; p < plan->n_params; p++)
        UM_TRY(um_safetensors_put(&w, values, (size_t)plan->params[p].n_elements * sizeof(float),
                                  err));
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    return status;
}

static void take_gradient(void *user, struct um_param *param, const struct um_factor *factor)
{
    (void)user;
    (void)param;
    (void)factor;
}

static enum um_status make_batch(struct um_batch *batch, const struct um_model *model,
                                 struct um_error *err)
{
    int32_t ids[LENGTH_MAX];
    uint8_t learnt[LENGTH_MAX];
    int64_t length = model->dims.P < LENGTH_MAX ? model->dims.P : LENGTH_MAX;
    for (int64_t i = 0; i < length; i++) {
        ids[i] = (int32_t)(i * 3 % model->dims.V);
        learnt[i] = 1;
    }
    UM_RETURN_IF(um_batch_begin(batch, ROWS, ROWS * length, err));
    for (int64_t row = 0; row < ROWS; row++) {
        if (model->arch->is_decoder)
            um_batch_add_tokens(batch, ids, learnt, length - row % length);
        else
            um_batch_add(batch, ids, NULL, length - row % length, row % 2, 1);
    }
    return UM_OK;
}

/* Forward and backward; the model's own dropout is on. */
static enum um_status run(struct um_model *model, struct um_error *err)
{
    struct um_engine engine = {0};
    struct um_batch batch = {0};
    double loss = 0;
    enum um_status status;
    UM_TRY(make_batch(&batch, model, err));
    UM_TRY(um_engine_open(&engine, model, 64 << 20, err));
    engine.objective = model->arch->is_decoder ? UM_OBJECTIVE_TOKEN : UM_OBJECTIVE_CLASS;
    UM_TRY(um_engine_train(&loss, &engine, &batch, ROWS, 0,
                           (struct um_sink){.accept = take_gradient}, err));
out:
    um_engine_close(&engine);
    um_batch_free(&batch);
    return status;
}

static bool is_small(const struct um_model *model)
{
    for (int64_t p = 0; p < model->n_params; p++)
        if (model->params[p].n_elements > ELEMENTS_MAX)
            return false;
    return um_model_n_elements(model, true) <= 8 * ELEMENTS_MAX;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    struct um_model_options options = {.dropout = -1, .is_plan = true, .dtype = "F32"};
    struct um_model plan = {0}, model = {0};
    struct um_error err;
    enum um_status status;
    make_folder();
    (void)remove(weights_path);
    UM_TRY(um_file_write(config_path, bytes, n, &err));
    UM_TRY(um_model_open(&plan, folder, &options, &err));
    if (!is_small(&plan))
        goto out;
    UM_TRY(write_weights(&plan, &err));
    options = (struct um_model_options){.dropout = -1, .n_outputs = plan.arch->is_decoder ? 0 : 2};
    UM_TRY(um_model_open(&model, folder, &options, &err));
    UM_TRY(run(&model, &err));
out:
    um_model_close(&model);
    um_model_close(&plan);
    return 0;
}
