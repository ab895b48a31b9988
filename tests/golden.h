/* The golden files of tiny models (made by oracle/make_encoder_golden.py,
 * oracle/make_decoder_golden.py) as tests read them. */
#ifndef UM_TESTS_GOLDEN_H
#define UM_TESTS_GOLDEN_H

#include "test.h"

#include <math.h>

#include "format/safetensors.h"
#include "train/engine.h"

struct golden {
    char folder[512]; /* of the model */
    struct um_safetensors file;
    bool is_decoder, is_tagger;
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

/* The tokens of a row that have a label as words, one after another. */
static inline void golden_add_words(struct um_batch *batch, const int32_t *ids,
                                    const uint8_t *types, const int64_t *labels, int64_t n)
{
    int32_t words[64], tags[64], n_words = 0;
    for (int64_t i = 0; i < n; i++) {
        words[i] = labels[i] < 0 ? -1 : n_words;
        if (labels[i] >= 0)
            tags[n_words++] = (int32_t)labels[i];
    }
    um_batch_add_words(batch, ids, types, words, n, tags);
}

/* Adds row b of the golden batch: an encoder's with types and labels, a decoder's with its loss
 * mask. */
static inline void golden_add_row(struct um_batch *batch, const struct golden *g, int64_t b)
{
    int32_t row[64];
    uint8_t marks[64];
    const int64_t *offsets = golden_ints(g, "offsets");
    const int64_t *kinds = golden_ints(g, g->is_decoder ? "loss_mask" : "token_type_ids");
    int64_t n = offsets[b + 1] - offsets[b];
    for (int64_t i = 0; i < n; i++) {
        row[i] = (int32_t)golden_ints(g, "input_ids")[offsets[b] + i];
        marks[i] = (uint8_t)kinds[offsets[b] + i];
    }
    if (g->is_decoder) {
        um_batch_add_tokens(batch, row, marks, n);
        return;
    }
    if (g->is_tagger) {
        golden_add_words(batch, row, marks, golden_ints(g, "labels") + offsets[b], n);
        return;
    }
    bool is_class = golden_tensor(g, "labels")->dtype == UM_I64;
    um_batch_add(batch, row, marks, n, is_class ? golden_ints(g, "labels")[b] : 0,
                 is_class ? 0 : (double)golden_floats(g, "labels")[b]);
}

/* Lays out n rows from `first` on, from the golden batch's end on to its beginning. Frees with
 * um_batch_free. */
static inline void golden_take_rows(struct um_batch *batch, const struct golden *g, int64_t first,
                                    int64_t n)
{
    struct um_error err;
    int64_t n_rows = golden_tensor(g, "offsets")->n_elements - 1;
    assert_ok(um_batch_begin(batch, n, golden_tensor(g, "input_ids")->n_elements, &err), err);
    for (int64_t i = 0; i < n; i++)
        golden_add_row(batch, g, (first + i) % n_rows);
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
    g->is_decoder = um_safetensors_find(&g->file, "loss_mask") != NULL;
    const struct um_tensor_view *labels = um_safetensors_find(&g->file, "labels");
    g->is_tagger = labels && labels->n_elements == golden_tensor(g, "input_ids")->n_elements;
    golden_take_rows(&g->batch, g, 0, golden_tensor(g, "offsets")->n_elements - 1);
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
