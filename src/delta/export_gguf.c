/*
 * Low-rank changes of a decoder as a GGUF adapter, as llama.cpp's src/llama-adapter.cpp reads it:
 * general.type "adapter", adapter.type "lora", and for each map NAME.lora_a [rank, inputs] and
 * NAME.lora_b [outputs, rank], which it scales by adapter.lora.alpha / rank. AdaLoRA's lambda goes
 * into lora_a.
 */
#include <stdio.h>
#include <string.h>

#include "delta/export_private.h"

struct adapter {
    const struct um_export *x;
    const struct um_gguf_family *family;
};

static enum um_status check(struct adapter *a, struct um_error *err)
{
    const struct um_export *x = a->x;
    const struct um_addition_options *o = um_model_attached(&x->model);
    if (!o)
        return um_fail(err, UM_E_USAGE,
                       "the delta adds no lora or adalora, which is what a GGUF "
                       "adapter holds; merge writes any delta as a whole model");
    a->family = x->base.gguf ? x->base.family : um_gguf_family_of(x->model.arch->model_types[0]);
    if (!a->family)
        return um_fail(err, UM_E_USAGE, "a %s model has no GGUF form", x->model.arch->name);
    if (o->addition->has_magnitude)
        return um_fail(err, UM_E_USAGE,
                       "a GGUF adapter has no place for dora's magnitudes; merge "
                       "writes them into a whole model");
    if (x->delta->n_entries)
        return um_fail(err, UM_E_USAGE,
                       "the delta changes '%s' too, which a GGUF adapter has no "
                       "place for; merge writes it into a whole model",
                       x->delta->entries[0].name);
    if (o->alpha == 0)
        return um_fail(err, UM_E_USAGE,
                       "the delta's alpha is 0, which llama.cpp takes for a scale of 1");
    return UM_OK;
}

static enum um_status declare(struct um_gguf_writer *w, const struct adapter *a,
                              struct um_error *err)
{
    const char *architecture = um_gguf_family_name(a->family);
    const struct um_low_rank *l = NULL;
    um_gguf_declare_text(w, "general.type", "adapter", 7);
    um_gguf_declare_text(w, "general.architecture", architecture, strlen(architecture));
    um_gguf_declare_text(w, "adapter.type", "lora", 4);
    for (int64_t i = 0; i < a->x->model.n_params && !l; i++)
        l = a->x->model.params[i].low_rank;
    um_gguf_declare_f32(w, "adapter.lora.alpha", l->scale * (float)l->down->rows);
    for (int64_t i = 0; i < a->x->model.n_params; i++) {
        const struct um_param *p = &a->x->model.params[i];
        enum um_gguf_change change;
        char name[UM_GGUF_NAME_BYTES], full[UM_GGUF_NAME_BYTES + 8];
        if (!p->low_rank)
            continue;
        if (!um_gguf_name_from_folder(name, &change, a->family, p->name))
            return um_fail(err, UM_E_USAGE, "a GGUF file has no place for tensor '%s'", p->name);
        const struct um_param *down = p->low_rank->down, *up = p->low_rank->up;
        (void)snprintf(full, sizeof(full), "%s.lora_a", name);
        um_gguf_declare(w, full, UM_F32, 2, (const int64_t[]){down->rows, down->cols});
        (void)snprintf(full, sizeof(full), "%s.lora_b", name);
        um_gguf_declare(w, full, UM_F32, 2, (const int64_t[]){up->rows, up->cols});
    }
    return UM_OK;
}

static enum um_status put_down(struct um_gguf_writer *w, const struct um_low_rank *l,
                               struct um_error *err)
{
    const struct um_param *down = l->down;
    float *row = UM_NEW(down->cols, float);
    enum um_status status = row ? UM_OK : um_fail_memory(err, down->name, 0);
    for (int64_t k = 0; k < down->rows && status == UM_OK; k++) {
        memcpy(row, down->values + k * down->cols, (size_t)down->cols * sizeof(*row));
        if (l->lambda)
            um_kernels()->scale(row, l->lambda->values[k], down->cols);
        status = um_gguf_put(w, row, (size_t)down->cols * sizeof(*row), err);
    }
    um_free(row);
    return status;
}

/* Rows in the order of the map's own in a GGUF file. */
static enum um_status put_up(struct um_gguf_writer *w, const struct adapter *a,
                             const struct um_param *p, struct um_error *err)
{
    const struct um_param *up = p->low_rank->up;
    bool is_paired =
        !a->x->base.gguf && um_delta_gguf_change(&a->x->model, up) == UM_GGUF_PAIRED;
    for (int64_t r = 0; r < up->rows; r++) {
        int64_t from = is_paired ? um_gguf_paired_row(r, a->x->model.dims.E) : r;
        UM_RETURN_IF(
            um_gguf_put(w, up->values + from * up->cols, (size_t)up->cols * sizeof(float), err));
    }
    return UM_OK;
}

enum um_status um_export_gguf(const struct um_export *x, struct um_error *err)
{
    struct um_gguf_writer w = {0};
    struct adapter a = {.x = x};
    enum um_status status;
    UM_RETURN_IF(check(&a, err));
    UM_TRY(um_gguf_create(&w, err));
    UM_TRY(declare(&w, &a, err));
    UM_TRY(um_gguf_begin(&w, x->out, err));
    for (int64_t i = 0; i < x->model.n_params; i++) {
        const struct um_param *p = &x->model.params[i];
        if (!p->low_rank)
            continue;
        UM_TRY(put_down(&w, p->low_rank, err));
        UM_TRY(put_up(&w, &a, p, err));
    }
    UM_TRY(um_gguf_commit(&w, err));
out:
    um_gguf_abandon(&w);
    return status;
}
