/* Deltas over models in memory. */
#include "delta/attached.h"

#include <string.h>

#include "delta/head_config.h"

enum um_gguf_change um_delta_gguf_change(const struct um_model *model,
                                         const struct um_param *param)
{
    const struct um_gguf_family *family = um_gguf_family_of(model->arch->model_types[0]);
    const struct um_param *map = param->is_attached ? NULL : param;
    enum um_gguf_change change = UM_GGUF_SAME;
    char name[UM_GGUF_NAME_BYTES];
    for (int64_t i = 0; i < model->n_params && param->is_attached; i++) {
        const struct um_low_rank *l = model->params[i].low_rank;
        if (l && (l->up == param || l->magnitude == param))
            map = &model->params[i];
    }
    if (!map || !family || !um_gguf_name_from_folder(name, &change, family, map->name))
        return UM_GGUF_SAME;
    return param->is_attached && change != UM_GGUF_PAIRED ? UM_GGUF_SAME : change;
}

/* Lays an entry over its parameter. A 16-bit parameter gets fp32 (whole) or an overlay (sparse). */
static enum um_status lay_over(struct um_model *model, const struct um_delta_entry *entry,
                               struct um_error *err)
{
    struct um_param *param = um_model_find_param(model, entry->name);
    if (!param || (entry->is_whole && entry->n != param->n_elements) ||
        (!entry->is_whole && entry->n && entry->index[entry->n - 1] >= param->n_elements))
        return um_fail(err, UM_E_INPUT, "the delta does not fit '%s': '%s' is not a parameter of "
                       "that size", model->folder.path, entry->name);
    if (!param->values && !entry->is_whole) {
        param->overlay_index = entry->index;
        param->overlay_value = entry->value;
        param->n_overlay = entry->n;
        return UM_OK;
    }
    if (!param->values)
        param->values = UM_ARENA_NEW(&model->arena, param->n_elements, float);
    if (!param->values)
        return um_fail_memory(err, entry->name, (size_t)param->n_elements * sizeof(float));
    um_delta_apply(param->values, entry);
    return UM_OK;
}

enum um_status um_delta_check_attached(const struct um_delta *delta, const struct um_model *model,
                                       const char *where, struct um_error *err)
{
    for (int64_t i = 0; i < model->n_params; i++)
        if (model->params[i].is_attached && !um_delta_find(delta, model->params[i].name))
            return um_fail(err, UM_E_INPUT, "cannot load '%s': it has no '%s'", where,
                           model->params[i].name);
    return UM_OK;
}

enum um_status um_delta_lay_over(struct um_model *model, const struct um_delta *delta,
                                 const char *where, struct um_error *err)
{
    UM_RETURN_IF(um_model_attach_text(model, delta->attached, where, err));
    for (size_t e = 0; e < delta->n_entries; e++)
        UM_RETURN_IF(lay_over(model, &delta->entries[e], err));
    return *delta->attached ? um_delta_check_attached(delta, model, where, err) : UM_OK;
}

/* Takes the entries of attached parameters out of the list. */
static void drop_attached(struct um_delta *delta, const struct um_model *model)
{
    size_t n = 0;
    for (size_t e = 0; e < delta->n_entries; e++) {
        const struct um_param *param = um_model_find_param(model, delta->entries[e].name);
        if (!param || !param->is_attached)
            delta->entries[n++] = delta->entries[e];
    }
    delta->n_entries = n;
}

/* As um_delta_lay_over, less a task head, which folding has no use for. */
static enum um_status lay_over_folded(struct um_model *model, const struct um_delta *delta,
                                      struct um_error *err)
{
    UM_RETURN_IF(um_model_attach_text(model, delta->attached, "the delta", err));
    for (size_t e = 0; e < delta->n_entries; e++) {
        const struct um_delta_entry *entry = &delta->entries[e];
        const struct um_param *param = um_model_find_param(model, entry->name);
        bool is_head = entry->is_added && (!param || !param->is_attached);
        UM_RETURN_IF(is_head ? UM_OK : lay_over(model, entry, err));
    }
    return um_delta_check_attached(delta, model, "the delta", err);
}

enum um_status um_delta_open_folded(struct um_model *model, struct um_delta *delta,
                                    const char *path, struct um_error *err)
{
    const struct um_model_options options = {.heads = um_head_kind(delta->task_class),
                                             .dropout = -1};
    *model = (struct um_model){0};
    if (!*delta->attached)
        return UM_OK;
    UM_RETURN_IF(um_model_open(model, path, &options, err));
    enum um_status status = lay_over_folded(model, delta, err);
    if (status == UM_OK && model->adapters) {
        status = um_fail(err, UM_E_USAGE, "the delta's adapters are layers of their own, which "
                         "cannot be folded into the weights of '%s'", path);
        um_error_hint(err, "evaluate, predict and generate take base and delta as they are");
    }
    if (status != UM_OK) {
        um_model_close(model);
        return status;
    }
    drop_attached(delta, model);
    return UM_OK;
}
