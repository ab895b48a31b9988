/*
 * Low-rank changes as a folder of Hugging Face PEFT: adapter_config.json says what they are,
 * adapter_model.safetensors holds the parameters (and a task head, as modules_to_save) under
 * transformers' names with "base_model.model." before them. AdaLoRA goes out at its first rank, the
 * ranks that are not in use being zero: PEFT scales by the rank it builds, so outputs stay the
 * same.
 */
#include "delta/export_private.h"

static enum um_status check(const struct um_export *x, struct um_error *err)
{
    if (!um_model_attached(&x->model))
        return um_fail(err, UM_E_USAGE,
                       "the delta adds no lora, dora or adalora, which is what "
                       "this format holds");
    for (size_t e = 0; e < x->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &x->delta->entries[e];
        const struct um_param *p = um_model_find_param(&x->model, entry->name);
        if (!entry->is_whole)
            return um_fail(err, UM_E_USAGE,
                           "the delta changes single weights of '%s' too, which "
                           "this format has no room for",
                           entry->name);
        if (x->base.gguf && p && um_delta_gguf_change(&x->model, p) != UM_GGUF_SAME)
            return um_fail(err, UM_E_USAGE,
                           "the delta holds the whole of '%s', which '%s' stores in another form "
                           "than PEFT's base",
                           entry->name, x->base.path);
    }
    return UM_OK;
}

static bool add_adalora(json_t *config, const struct um_addition_options *o)
{
    json_t *own =
        json_pack("{s:I, s:I, s:i, s:i, s:i, s:i, s:f, s:f, s:f}", "init_r", (json_int_t)o->rank,
                  "target_r", (json_int_t)o->rank, "tinit", 0, "tfinal", 0, "deltaT", 1,
                  "total_step", 1, "beta1", 0.85, "beta2", 0.85, "orth_reg_weight", 0.5);
    bool is_done = own && json_object_update(config, own) == 0;
    json_decref(own);
    return is_done;
}

static enum um_status write_config(const struct um_export *x, struct um_error *err)
{
    const struct um_addition_options *o = um_model_attached(&x->model);
    const struct um_delta *d = x->delta;
    json_t *targets = json_array(), *saved = json_array();
    bool is_done = targets && saved, is_turned = false;
    for (int64_t p = 0; p < x->model.n_params; p++) {
        const struct um_param *param = &x->model.params[p];
        if (!param->low_rank)
            continue;
        is_done = is_done && um_export_add_module(targets, d, param->name);
        is_turned = param->is_turned;
    }
    for (size_t e = 0; e < d->n_entries; e++)
        is_done = is_done && um_export_add_module(saved, d, d->entries[e].name);
    bool is_adalora = o->addition->has_lambda;
    json_t *config = json_pack(
        "{s:s, s:s, s:s, s:I, s:f, s:f, s:b, s:b, s:b, s:s, s:b, s:b, s:O, s:O}", "peft_type",
        is_adalora ? "ADALORA" : "LORA", "task_type", um_export_task(x), "base_model_name_or_path",
        x->base.path, "r", (json_int_t)o->rank, "lora_alpha", o->alpha, "lora_dropout", o->dropout,
        "use_rslora", o->is_rank_stabilised ? 1 : 0, "use_dora", o->addition->has_magnitude ? 1 : 0,
        "fan_in_fan_out", is_turned ? 1 : 0, "bias", "none", "inference_mode", 1,
        "init_lora_weights", 1, "target_modules", targets, "modules_to_save", saved);
    is_done = is_done && config && (!is_adalora || add_adalora(config, o));
    enum um_status status = um_export_save_config(x, is_done ? config : NULL, err);
    json_decref(config);
    json_decref(targets);
    json_decref(saved);
    return status;
}

/* The rows in the order of a folder's map: a GGUF base has some in another. */
static enum um_status put_rows(struct um_safetensors_writer *w, const struct um_export *x,
                               const struct um_param *p, struct um_error *err)
{
    bool is_paired = x->base.gguf && um_delta_gguf_change(&x->model, p) == UM_GGUF_PAIRED;
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t from = is_paired ? um_gguf_unpaired_row(r, x->model.dims.E) : r;
        UM_RETURN_IF(um_safetensors_put(w, p->values + from * p->cols,
                                        (size_t)p->cols * sizeof(float), err));
    }
    return UM_OK;
}

static enum um_status each_tensor(struct um_safetensors_writer *w, const void *user,
                                  bool is_declaring, struct um_error *err)
{
    const struct um_export *x = user;
    for (int64_t i = 0; i < x->model.n_params; i++) {
        const struct um_param *p = &x->model.params[i];
        const int64_t dims[2] = {p->rows, p->cols};
        if (!p->is_attached)
            continue;
        if (!is_declaring) {
            UM_RETURN_IF(put_rows(w, x, p, err));
            continue;
        }
        char *name = um_export_name(x->delta, p->name);
        if (!name)
            return um_fail_memory(err, "a name", 0);
        um_safetensors_declare(w, name, UM_F32, p->n_dims, dims);
        um_free(name);
    }
    return um_export_whole(w, x, is_declaring, err);
}

enum um_status um_export_low_rank(const struct um_export *x, struct um_error *err)
{
    UM_RETURN_IF(check(x, err));
    UM_RETURN_IF(um_make_folder(x->out, err));
    UM_RETURN_IF(um_export_save_tensors(x, each_tensor, x, err));
    return write_config(x, err);
}
