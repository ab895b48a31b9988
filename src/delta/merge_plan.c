/*
 * Which tensors the merged model has, by which names, in which types and shapes, and what becomes
 * of each on the way: from folder or GGUF file to either. A head that is tied to the table of words
 * is not written.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "delta/head_config.h"
#include "delta/merge_private.h"

/* Shards that a folder made of a GGUF file is cut into. */
static const int64_t shard_bytes = 5000000000;

/* The parameter with a low-rank change that is folded into the tensor of that name. */
static const struct um_param *find_folded(const struct um_merge *m, const char *name)
{
    const struct um_param *param = um_model_find_param(&m->attached, name);
    return param && param->low_rank ? param : NULL;
}

static enum um_status add_tensor(struct um_merge *m, struct um_merge_tensor t, const int64_t *dims,
                                 struct um_error *err)
{
    if (!t.name || !um_grow(&m->tensors, &m->tensors_capacity, m->n_tensors + 1, sizeof(t)))
        return um_fail_memory(err, "a list of tensors", (m->n_tensors + 1) * sizeof(t));
    t.n_elements = 1;
    for (int d = 0; d < t.n_dims; d++) {
        t.dims[d] = dims[t.change == UM_GGUF_TRANSPOSED ? t.n_dims - 1 - d : d];
        t.n_elements *= t.dims[d];
    }
    t.n_bytes = um_dtype_size(t.dtype, t.n_elements);
    m->tensors[m->n_tensors++] = t;
    return UM_OK;
}

/* A base tensor, as it is, and what the delta does to it. */
static struct um_merge_tensor base_tensor(const struct um_merge *m,
                                          const struct um_tensor_view *view)
{
    return (struct um_merge_tensor){.base = view,
                                    .dtype = view->dtype,
                                    .n_dims = view->n_dims,
                                    .entry = um_delta_find(m->delta, view->name),
                                    .folded = find_folded(m, view->name)};
}

/* One under the name that it has in the merged model. */
static enum um_status add_base(struct um_merge *m, struct um_merge_tensor t, const char *name,
                               struct um_error *err)
{
    t.name = um_arena_strdup(&m->arena, name);
    return add_tensor(m, t, t.base->dims, err);
}

/* What the delta adds goes into the last shard. */
static enum um_status add_added(struct um_merge *m, struct um_error *err)
{
    for (size_t e = 0; e < m->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &m->delta->entries[e];
        const struct um_merge_tensor t = {.name = entry->name,
                                          .dtype = UM_F32,
                                          .n_dims = entry->n_dims,
                                          .shard = m->n_shards - 1,
                                          .entry = entry};
        if (entry->is_added)
            UM_RETURN_IF(add_tensor(m, t, entry->dims, err));
    }
    return UM_OK;
}

/* ---- folder to folder */

/* The merged name: with the delta's prefix, unless it is there. */
static const char *merged_name(struct um_merge *m, const char *name)
{
    const char *prefix = m->delta->prefix;
    struct um_str s = {0};
    if (strncmp(name, prefix, strlen(prefix)) != 0)
        um_str_add(&s, prefix);
    um_str_add(&s, name);
    const char *copy = s.failed ? NULL : um_arena_strdup(&m->arena, s.text);
    um_str_free(&s);
    return copy;
}

static enum um_status plan_folder(struct um_merge *m, struct um_error *err)
{
    m->n_shards = m->base.n_shards;
    m->shard_names = m->base.shard_names;
    for (size_t s = 0; s < m->base.n_shards; s++) {
        for (size_t i = 0; i < m->base.shards[s].n_tensors; i++) {
            const struct um_tensor_view *view = &m->base.shards[s].tensors[i];
            struct um_merge_tensor t = base_tensor(m, view);
            t.shard = s;
            if ((t.entry && t.entry->is_added) || um_head_is_tied_copy(&m->base, view->name))
                continue; /* another task's head, which the delta's replaces */
            if (m->has_type && um_dtype_is_weight(view->dtype))
                t.dtype = m->type;
            const char *name = merged_name(m, view->name);
            if (!name)
                return um_fail_memory(err, view->name, 0);
            UM_RETURN_IF(add_base(m, t, name, err));
        }
    }
    return add_added(m, err);
}

/* ---- GGUF to folder */

static enum um_status name_shards(struct um_merge *m, struct um_error *err)
{
    char name[64];
    m->shard_names = UM_ARENA_NEW(&m->arena, m->n_shards, char *);
    for (size_t s = 0; m->shard_names && s < m->n_shards; s++) {
        (void)snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", s + 1, m->n_shards);
        m->shard_names[s] =
            um_arena_strdup(&m->arena, m->n_shards == 1 ? "model.safetensors" : name);
        if (!m->shard_names[s])
            return um_fail_memory(err, name, sizeof(name));
    }
    return m->shard_names ? UM_OK : um_fail_memory(err, "names of shards", m->n_shards);
}

static enum um_status plan_gguf_to_folder(struct um_merge *m, struct um_error *err)
{
    char there[UM_GGUF_NAME_BYTES];
    int64_t bytes = 0;
    m->n_shards = 1;
    for (size_t i = 0; i < m->base.gguf->n_tensors; i++) {
        const struct um_tensor_view *view = &m->base.tensors[i];
        struct um_merge_tensor t = base_tensor(m, view);
        t.is_undone = true;
        t.head_rows = m->model.dims.E;
        t.dtype = m->has_type ? m->type : UM_F32;
        if (strcmp(view->name, "rope_freqs.weight") == 0)
            continue; /* config.json says it */
        if (!um_dtype_is_weight(view->dtype) ||
            !um_gguf_name_from_folder(there, &t.change, m->base.family, view->name))
            return um_fail(err, UM_E_USAGE,
                           "cannot write '%s': tensor '%s' of '%s' has no place in a Hugging Face "
                           "folder",
                           m->out, view->name, m->base.path);
        bytes += (int64_t)um_dtype_size(t.dtype, view->n_elements);
        if (bytes > shard_bytes && i > 0) {
            bytes = 0;
            m->n_shards++;
        }
        t.shard = m->n_shards - 1;
        UM_RETURN_IF(add_base(m, t, view->name, err));
    }
    UM_RETURN_IF(name_shards(m, err));
    return add_added(m, err);
}

/* ---- folder to GGUF */

/* llama.cpp wants vectors, norms and learnt positions in F32; rows (of the file to be) that are no
 * whole number of Q8_0's blocks stay F16. */
static enum um_dtype gguf_type(enum um_dtype type, const struct um_tensor_view *view,
                               enum um_gguf_change change, const char *name)
{
    if (view->n_dims < 2 || um_length_before(name, "_norm.weight") ||
        strcmp(name, "position_embd.weight") == 0)
        return UM_F32;
    int64_t row = view->dims[change == UM_GGUF_TRANSPOSED ? 0 : view->n_dims - 1];
    return row % um_dtype_block(type) == 0 ? type : UM_F16;
}

/* LLaMA 3.1's stretched frequencies: what each is divided by, as llama.cpp's converter has it. */
static enum um_status add_factors(struct um_merge *m, struct um_error *err)
{
    const struct um_rope_options *rope = &m->model.dims.rope;
    int64_t half = m->model.dims.E / 2;
    struct um_tensor_view *view = UM_ARENA_NEW(&m->arena, 1, struct um_tensor_view);
    float *factors = UM_ARENA_NEW(&m->arena, half, float);
    if (rope->scaling != UM_ROPE_LLAMA3)
        return UM_OK;
    if (!view || !factors)
        return um_fail_memory(err, "rotary factors", (size_t)half * sizeof(float));
    for (int64_t i = 0; i < half; i++) {
        double frequency = pow(rope->theta, -(double)i / (double)half);
        double turns = rope->original * frequency / 6.283185307179586; /* in the original context */
        double smooth = (turns - rope->low_factor) / (rope->high_factor - rope->low_factor);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        factors[i] = (float)(1 / ((1 - smooth) / rope->factor + smooth));
    }
    *view = (struct um_tensor_view){.dtype = UM_F32,
                                    .n_dims = 1,
                                    .dims = {half},
                                    .n_elements = half,
                                    .bytes = (unsigned char *)factors,
                                    .n_bytes = (size_t)half * sizeof(float)};
    struct um_merge_tensor t = {.base = view, .dtype = UM_F32, .n_dims = 1, .is_made = true};
    return add_base(m, t, "rope_freqs.weight", err);
}

static enum um_status plan_folder_to_gguf(struct um_merge *m, struct um_error *err)
{
    char name[UM_GGUF_NAME_BYTES];
    const struct um_gguf_family *family = um_gguf_family_of(m->model.arch->model_types[0]);
    int64_t n_odd = 0;
    for (int64_t p = 0; p < m->model.n_params; p++) {
        const struct um_tensor_view *view = um_folder_find(&m->base, m->model.params[p].name);
        enum um_gguf_change change;
        if (!view || !um_gguf_name_from_folder(name, &change, family, view->name))
            return um_fail(err, UM_E_USAGE,
                           "cannot write '%s': a GGUF file has no place for tensor '%s'", m->out,
                           m->model.params[p].name);
        struct um_merge_tensor t = base_tensor(m, view);
        t.head_rows = m->model.dims.E;
        t.change = change;
        t.dtype = gguf_type(m->has_type ? m->type : view->dtype, view, change, name);
        n_odd += m->has_type && m->type == UM_Q8_0 && t.dtype == UM_F16;
        UM_RETURN_IF(add_base(m, t, name, err));
    }
    if (n_odd)
        um_merge_note(m, "%lld tensors are F16: their rows are no multiple of 32 values",
                      (long long)n_odd);
    return add_factors(m, err);
}

/* ---- GGUF to GGUF */

static enum um_status plan_gguf(struct um_merge *m, struct um_error *err)
{
    int64_t n_expanded = 0;
    enum um_dtype type = m->has_type ? m->type : UM_F16;
    for (size_t i = 0; i < m->base.gguf->n_tensors; i++) {
        const struct um_tensor_view *view = &m->base.tensors[i];
        struct um_merge_tensor t = base_tensor(m, view);
        bool is_touched = um_merge_is_touched(&t);
        bool is_expanded = is_touched && um_dtype_is_quantised(view->dtype) && view->dtype != type;
        const char *name = m->base.gguf->tensors[i].name;
        if (is_touched && (m->has_type || is_expanded))
            t.dtype = gguf_type(type, view, UM_GGUF_SAME, name);
        n_expanded += is_expanded;
        UM_RETURN_IF(add_base(m, t, name, err));
    }
    if (n_expanded)
        um_merge_note(m, "%lld quantised tensors that the delta touches are %s now",
                      (long long)n_expanded, um_dtype_name(type));
    return UM_OK;
}

/* ---- all */

/* No change of the delta may be lost. */
static enum um_status check_all_there(const struct um_merge *m, struct um_error *err)
{
    for (size_t e = 0; e < m->delta->n_entries; e++) {
        size_t i = 0;
        while (i < m->n_tensors && m->tensors[i].entry != &m->delta->entries[e])
            i++;
        if (i == m->n_tensors)
            return um_fail(err, UM_E_USAGE,
                           "cannot write '%s': it has no place for tensor '%s', which the delta "
                           "%s",
                           m->out, m->delta->entries[e].name,
                           m->delta->entries[e].is_added ? "adds" : "changes");
    }
    return UM_OK;
}

enum um_status um_merge_plan(struct um_merge *m, struct um_error *err)
{
    bool from_gguf = m->base.gguf != NULL;
    UM_RETURN_IF((m->is_gguf ? (from_gguf ? plan_gguf : plan_folder_to_gguf)
                             : (from_gguf ? plan_gguf_to_folder : plan_folder))(m, err));
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct um_merge_tensor *t = &m->tensors[i];
        m->report->n_written += t->n_elements;
        m->report->n_untouched += t->base && !um_merge_is_touched(t) && t->change == UM_GGUF_SAME &&
                                  t->dtype == t->base->dtype;
    }
    m->report->n_tensors = (int64_t)m->n_tensors;
    return check_all_there(m, err);
}

int64_t um_merge_plan_bytes(const struct um_merge *m)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < m->n_tensors; i++)
        bytes += (int64_t)m->tensors[i].n_bytes;
    return bytes;
}
