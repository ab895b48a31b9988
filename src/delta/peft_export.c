/*
 * Low-rank changes as a folder of Hugging Face PEFT: adapter_config.json says what they are,
 * adapter_model.safetensors holds the parameters (and a task head, as modules_to_save) under
 * transformers' names with "base_model.model." before them. AdaLoRA goes out at its first rank, the
 * ranks that are not in use being zero: PEFT scales by the rank it builds, so outputs stay the same.
 */
#include <stdlib.h>
#include <string.h>

#include "delta/attached.h"

struct export {
    struct um_delta *delta; /* less what is attached */
    struct um_folder base;
    struct um_model model;
};

/* The name in PEFT's file (free with um_free); NULL = no memory. */
static char *peft_name(const struct um_delta *d, const char *name)
{
    struct um_str s = {0};
    bool lacks_prefix = strncmp(name, d->prefix, strlen(d->prefix)) != 0;
    bool is_base = true;
    for (size_t e = 0; e < d->n_entries; e++)
        is_base = is_base && !(d->entries[e].is_added && strcmp(d->entries[e].name, name) == 0);
    um_str_addf(&s, UM_PEFT_PREFIX "%s%s", lacks_prefix && is_base ? d->prefix : "", name);
    if (s.failed)
        um_str_free(&s);
    return s.text;
}

/* Appends the module of a parameter, under its name in transformers' model, unless it is there. */
static bool add_module(json_t *list, const struct um_delta *d, const char *name)
{
    char *full = peft_name(d, name);
    char *dot = full ? strrchr(full, '.') : NULL;
    bool is_there = false;
    if (dot)
        *dot = '\0';
    const char *module = full ? full + strlen(UM_PEFT_PREFIX) : "";
    for (size_t i = 0; i < json_array_size(list); i++)
        is_there = is_there || strcmp(json_string_value(json_array_get(list, i)), module) == 0;
    bool is_done = full && (is_there || json_array_append_new(list, json_string(module)) == 0);
    um_free(full);
    return is_done;
}

static enum um_status check(const struct export *x, struct um_error *err)
{
    if (!um_model_attached(&x->model))
        return um_fail(err, UM_E_USAGE, "the delta adds no lora, dora or adalora, which is what "
                       "this format holds");
    for (size_t e = 0; e < x->delta->n_entries; e++)
        if (!x->delta->entries[e].is_whole)
            return um_fail(err, UM_E_USAGE, "the delta changes single weights of '%s' too, which "
                           "this format has no room for", x->delta->entries[e].name);
    return UM_OK;
}

static bool add_adalora(json_t *config, const struct um_addition_options *o)
{
    json_t *own = json_pack("{s:I, s:I, s:i, s:i, s:i, s:i, s:f, s:f, s:f}", "init_r",
                            (json_int_t)o->rank, "target_r", (json_int_t)o->rank, "tinit", 0,
                            "tfinal", 0, "deltaT", 1, "total_step", 1, "beta1", 0.85, "beta2",
                            0.85, "orth_reg_weight", 0.5);
    bool is_done = own && json_object_update(config, own) == 0;
    json_decref(own);
    return is_done;
}

static enum um_status write_config(const struct export *x, const char *out, struct um_error *err)
{
    const struct um_addition_options *o = um_model_attached(&x->model);
    const struct um_delta *d = x->delta;
    json_t *targets = json_array(), *saved = json_array();
    bool is_done = targets && saved, has_head = !x->model.arch->is_decoder, is_turned = false;
    for (int64_t p = 0; p < x->model.n_params; p++) {
        const struct um_param *param = &x->model.params[p];
        if (!param->low_rank)
            continue;
        is_done = is_done && add_module(targets, d, param->name);
        is_turned = param->is_turned;
    }
    for (size_t e = 0; e < d->n_entries; e++) {
        is_done = is_done && add_module(saved, d, d->entries[e].name);
        has_head = has_head || d->entries[e].is_added;
    }
    bool is_adalora = o->addition->has_lambda;
    json_t *config = json_pack(
        "{s:s, s:s, s:s, s:I, s:f, s:f, s:b, s:b, s:b, s:s, s:b, s:b, s:O, s:O}", "peft_type",
        is_adalora ? "ADALORA" : "LORA", "task_type", has_head ? "SEQ_CLS" : "CAUSAL_LM",
        "base_model_name_or_path", x->base.path, "r", (json_int_t)o->rank, "lora_alpha", o->alpha,
        "lora_dropout", o->dropout, "use_rslora", o->is_rank_stabilised ? 1 : 0, "use_dora",
        o->addition->has_magnitude ? 1 : 0, "fan_in_fan_out", is_turned ? 1 : 0, "bias", "none",
        "inference_mode", 1, "init_lora_weights", 1, "target_modules", targets, "modules_to_save",
        saved);
    is_done = is_done && config && (!is_adalora || add_adalora(config, o));
    char *path = um_path_join(out, "adapter_config.json");
    enum um_status status = is_done && path ? um_json_save(path, config, 2, err)
                                            : um_fail_memory(err, "adapter_config.json", 0);
    um_free(path);
    json_decref(config);
    json_decref(targets);
    json_decref(saved);
    return status;
}

/* Declares, or puts, every tensor in one order. */
static enum um_status each_tensor(struct um_safetensors_writer *w, const struct export *x,
                                  bool is_declaring, struct um_error *err)
{
    int64_t n_params = x->model.n_params;
    for (int64_t i = 0; i < n_params + (int64_t)x->delta->n_entries; i++) {
        const struct um_param *p = i < n_params ? &x->model.params[i] : NULL;
        const struct um_delta_entry *e = p ? NULL : &x->delta->entries[i - n_params];
        if (p && !p->is_attached)
            continue;
        const int64_t own_dims[2] = {p ? p->rows : 0, p ? p->cols : 0};
        if (!is_declaring) {
            UM_RETURN_IF(um_safetensors_put(w, p ? p->values : e->value,
                                            (size_t)(p ? p->n_elements : e->n) * sizeof(float),
                                            err));
            continue;
        }
        char *name = peft_name(x->delta, p ? p->name : e->name);
        if (!name)
            return um_fail_memory(err, "a name", 0);
        um_safetensors_declare(w, name, UM_F32, p ? p->n_dims : e->n_dims, p ? own_dims : e->dims);
        um_free(name);
    }
    return UM_OK;
}

static enum um_status write_tensors(const struct export *x, const char *out, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    char *path = um_path_join(out, "adapter_model.safetensors");
    enum um_status status;
    if (!path)
        UM_TRY(um_fail_memory(err, out, 0));
    UM_TRY(um_safetensors_create(&w, err));
    um_safetensors_declare_metadata(&w, "format", "pt");
    UM_TRY(each_tensor(&w, x, true, err));
    UM_TRY(um_safetensors_begin(&w, path, err));
    UM_TRY(each_tensor(&w, x, false, err));
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    um_free(path);
    return status;
}

enum um_status um_delta_export_peft(const char *model, const char *delta, const char *out,
                                    struct um_error *err)
{
    struct export x = {0};
    enum um_status status;
    UM_TRY(um_delta_open_any(&x.delta, delta, err));
    UM_TRY(um_folder_open(&x.base, model, err));
    UM_TRY(um_delta_check(x.delta, &x.base, err));
    UM_TRY(um_delta_open_folded(&x.model, x.delta, model, err));
    UM_TRY(check(&x, err));
    if (um_path_exists(out))
        UM_TRY(um_fail(err, UM_E_USAGE, "cannot write '%s': it is there already", out));
    UM_TRY(um_make_folder(out, err));
    UM_TRY(write_tensors(&x, out, err));
    UM_TRY(write_config(&x, out, err));
out:
    um_model_close(&x.model);
    um_folder_close(&x.base);
    um_delta_free(x.delta);
    return status;
}
