/* The golden files of tiny models (made by oracle/make_encoder_golden.py) as tests read them. */
#ifndef UM_TESTS_GOLDEN_H
#define UM_TESTS_GOLDEN_H

#include "test.h"

#include <math.h>

#include "format/safetensors.h"
#include "train/engine.h"

struct golden {
    char folder[512]; /* of the model */
    struct um_safetensors file;
    struct um_batch batch;
};

static inline const struct um_tensor_view *golden_tensor(const struct golden *g, const char *name)
{
    const struct um_tensor_view *t = um_safetensors_find(&g->file, name);
    if (!t)
        fail_msg("the golden file has no '%s'", name);
    return t;
}

static inline const float *golden_floats(const struct golden *g, const char *name)
{
    return (const float *)(const void *)golden_tensor(g, name)->bytes;
}

static inline const int64_t *golden_ints(const struct golden *g, const char *name)
{
    return (const int64_t *)(const void *)golden_tensor(g, name)->bytes;
}

/* Opens GOLDEN_DIR/models/NAME and lays out its batch. */
static inline void golden_open(struct golden *g, const char *name)
{
    char path[512];
    struct um_error err;
    memset(g, 0, sizeof(*g));
    (void)snprintf(g->folder, sizeof(g->folder), GOLDEN_DIR "/models/%s/model", name);
    (void)snprintf(path, sizeof(path), GOLDEN_DIR "/models/%s/golden.safetensors", name);
    assert_ok(um_safetensors_open(&g->file, path, &err), err);
    const int64_t *ids = golden_ints(g, "input_ids"), *types = golden_ints(g, "token_type_ids");
    const int64_t *offsets = golden_ints(g, "offsets");
    const struct um_tensor_view *labels = golden_tensor(g, "labels");
    assert_ok(um_batch_begin(&g->batch, labels->n_elements,
                             golden_tensor(g, "input_ids")->n_elements, &err),
              err);
    for (int64_t b = 0; b < labels->n_elements; b++) {
        int32_t row[64];
        uint8_t row_types[64];
        int64_t n = offsets[b + 1] - offsets[b];
        for (int64_t i = 0; i < n; i++) {
            row[i] = (int32_t)ids[offsets[b] + i];
            row_types[i] = (uint8_t)types[offsets[b] + i];
        }
        bool is_class = labels->dtype == UM_I64;
        um_batch_add(&g->batch, row, row_types, n, is_class ? golden_ints(g, "labels")[b] : 0,
                     is_class ? 0 : (double)golden_floats(g, "labels")[b]);
    }
}

static inline void golden_close(struct golden *g)
{
    um_batch_free(&g->batch);
    um_safetensors_close(&g->file);
}

/* Largest |a - b| over the largest |b|. */
static inline double relative_difference(const float *a, const float *b, int64_t n)
{
    double most = 0, scale = 1e-12;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return most / scale;
}

#endif
