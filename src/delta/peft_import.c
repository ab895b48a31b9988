/*
 * A PEFT folder (LoRA, rsLoRA, DoRA, AdaLoRA) as a delta. Which maps are changed is read from the
 * names of the tensors; target patterns of the config are not needed. What other settings would
 * change the outputs is refused by name. Modules saved along become whole parameters. Of an AdaLoRA
 * whose ranks were lowered, PEFT's file holds those in use: they go to their places, the others are
 * zero.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delta/attached.h"
#include "delta/head_config.h"

struct import {
    const char *folder;
    json_t *config;
    struct um_safetensors file;
    struct um_model model;
    struct um_addition_options options;
    int64_t n_outputs;     /* of a task head that was saved along; 0: none */
    enum um_heads heads;   /* that the adapter's task needs */
    struct um_delta delta; /* result; entries and values in its arena */
};

/* Settings that must be absent, null, or empty; the first may stand in an AdaLoRA's. */
static const char *const refused[] = {"rank_pattern", "alpha_pattern", "layer_replication",
                                      "trainable_token_indices", "target_parameters",
                                      "lora_bias", "use_qalora", "arrow_config",
                                      "alora_invocation_tokens", "kasa_config", "use_bdlora",
                                      "monteclora_config"};

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* Some ways to initialise (PiSSA, OLoRA, CorDA, LoftQ) change the base, too, when PEFT loads the
 * folder. */
static enum um_status check_init(const struct import *x, struct um_error *err)
{
    static const char *const harmless[] = {"gaussian", "orthogonal", "eva"};
    const json_t *init = json_object_get(x->config, "init_lora_weights");
    const char *name = json_string_value(init);
    for (size_t i = 0; name && i < UM_COUNT(harmless); i++)
        if (strcmp(name, harmless[i]) == 0)
            return UM_OK;
    if (is_empty(init) || json_is_true(init))
        return UM_OK;
    (void)um_fail(err, UM_E_INPUT,
                  "cannot import '%s': its init_lora_weights '%s' changes the base", x->folder,
                  name ? name : "(not a text)");
    um_error_hint(err,
                  "save it by PEFT with path_initial_model_for_weight_conversion, as LoRA over "
                  "the base as it was");
    return UM_E_INPUT;
}

static enum um_status read_config(struct import *x, struct um_error *err)
{
    const char *type = "", *bias = "none", *task = "", *where = x->folder;
    bool is_dora = false, is_adalora;
    struct um_addition_options *o = &x->options;
    o->rank = 8;
    o->alpha = 8;
    UM_RETURN_IF(um_json_get_str(&type, x->config, "peft_type", where, err));
    UM_RETURN_IF(um_json_get_str(&bias, x->config, "bias", where, err));
    UM_RETURN_IF(um_json_get_str(&task, x->config, "task_type", where, err));
    UM_RETURN_IF(um_json_get_bool(&is_dora, x->config, "use_dora", where, err));
    UM_RETURN_IF(um_json_get_bool(&o->is_rank_stabilised, x->config, "use_rslora", where, err));
    UM_RETURN_IF(um_json_get_f64(&o->dropout, x->config, "lora_dropout", where, err));
    UM_RETURN_IF(um_json_get_f64(&o->alpha, x->config, "lora_alpha", where, err));
    is_adalora = strcmp(type, "ADALORA") == 0;
    UM_RETURN_IF(um_json_get_i64(&o->rank, x->config, is_adalora ? "init_r" : "r", where, err));
    if (!is_adalora && strcmp(type, "LORA") != 0)
        return um_fail(err, UM_E_INPUT, "cannot import '%s': peft_type is '%s', expected LORA or "
                       "ADALORA", where, type);
    x->heads = strcmp(task, "TOKEN_CLS") == 0 ? UM_HEADS_TAGS
               : strcmp(task, "SEQ_CLS") == 0 ? UM_HEADS_TASK
                                              : UM_HEADS_STORED;
    if (*task && x->heads == UM_HEADS_STORED && strcmp(task, "CAUSAL_LM") != 0 &&
        strcmp(task, "FEATURE_EXTRACTION") != 0)
        return um_fail(err, UM_E_INPUT, "cannot import '%s': task_type is '%s', expected SEQ_CLS, "
                       "TOKEN_CLS, CAUSAL_LM or FEATURE_EXTRACTION", where, task);
    if (strcmp(bias, "none") != 0)
        return um_fail(err, UM_E_INPUT, "cannot import '%s': biases train along (bias '%s')",
                       where, bias);
    for (size_t i = is_adalora; i < UM_COUNT(refused); i++)
        if (!is_empty(json_object_get(x->config, refused[i])))
            return um_fail(err, UM_E_INPUT, "cannot import '%s': its '%s' is not supported", where,
                           refused[i]);
    UM_RETURN_IF(check_init(x, err));
    o->addition = um_addition_find(is_adalora ? "adalora" : is_dora ? "dora" : "lora");
    return UM_OK;
}

/* The name in transformers' model. */
static const char *inner_name(const char *name)
{
    size_t n = strlen(UM_PEFT_PREFIX);
    return strncmp(name, UM_PEFT_PREFIX, n) == 0 ? name + n : name;
}

/* The same as the base's file has it: its names may lack the architecture's prefix. */
static const char *base_name(const struct import *x, const char *name)
{
    size_t n = strlen(x->model.arch->prefix);
    name = inner_name(name);
    return !x->model.has_prefix && strncmp(name, x->model.arch->prefix, n) == 0 ? name + n : name;
}

/* Rows of the last layer of a task head that was saved along; 0: none. */
static int64_t head_outputs(const struct import *x)
{
    for (size_t t = 0; t < x->file.n_tensors; t++) {
        const struct um_tensor_view *view = &x->file.tensors[t];
        if (view->n_elements && um_head_is_last(inner_name(view->name), view->n_dims))
            return view->dims[0];
    }
    return 0;
}

/* Attaches to every map that has a lora_A. */
static enum um_status attach(struct import *x, struct um_error *err)
{
    struct um_arena *arena = &x->delta.arena;
    char **targets = UM_ARENA_NEW(arena, x->file.n_tensors + 1, char *);
    if (!targets)
        return um_fail_memory(err, x->folder, 0);
    x->options.targets = targets;
    for (size_t t = 0; t < x->file.n_tensors; t++) {
        const char *name = base_name(x, x->file.tensors[t].name), *end = strstr(name, ".lora_A");
        if (!end)
            continue;
        char *target = um_arena_strndup(arena, name, (size_t)(end - name));
        if (!target)
            return um_fail_memory(err, x->folder, 0);
        targets[x->options.n_targets++] = target;
    }
    if (x->options.n_targets == 0)
        return um_fail(err, UM_E_INPUT, "cannot import '%s': it has no lora_A", x->folder);
    enum um_status status = um_model_attach(&x->model, &x->options, err);
    if (status != UM_E_USAGE)
        return status;
    um_error_prefix(err, "cannot import '%s'", x->folder);
    um_error_hint(err, "ranks and targets are those of its adapter_config.json and tensors");
    return UM_E_INPUT;
}

static const struct um_param *find(const struct import *x, const char *name)
{
    const struct um_param *param = um_model_find_param(&x->model, base_name(x, name));
    return param ? param : um_model_find_param(&x->model, inner_name(name));
}

/* Older files name DoRA's vector with ".weight" behind. */
static const struct um_param *find_param(const struct import *x, const char *name)
{
    char text[320];
    size_t n = um_length_before(name, ".weight");
    const struct um_param *param = find(x, name);
    if (param || !um_length_before(name, ".lora_magnitude_vector.weight") || n >= sizeof(text))
        return param;
    (void)snprintf(text, sizeof(text), "%.*s", (int)n, name);
    return find(x, text);
}

/* The values as the base has them: in a GGUF file, rows of some maps stand in another order. */
static enum um_status read_values(float *values, const struct import *x,
                                  const struct um_param *p, const struct um_tensor_view *view,
                                  struct um_error *err)
{
    enum um_gguf_change change =
        x->model.folder.gguf ? um_delta_gguf_change(&x->model, p) : UM_GGUF_SAME;
    if (change != UM_GGUF_SAME && !p->is_attached)
        return um_fail(err, UM_E_INPUT,
                       "cannot import '%s': it holds the whole of '%s', which '%s' "
                       "stores in another form",
                       x->folder, view->name, x->model.folder.path);
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t from = change == UM_GGUF_PAIRED ? um_gguf_paired_row(r, x->model.dims.E) : r;
        um_to_f32(values + r * p->cols,
                  view->bytes + um_dtype_size(view->dtype, from * p->cols), view->dtype, p->cols);
    }
    return UM_OK;
}

/* ---- AdaLoRA's ranks in use */

/* Which ranks PEFT has kept of a change that the tensor is a part of: a list of true and false by
 * the name of the change's lambda; NULL: all. */
static const json_t *find_kept(const struct import *x, const char *name)
{
    const json_t *patterns = json_object_get(x->config, "rank_pattern"), *kept;
    const char *bare = inner_name(name), *end = strstr(bare, ".lora_"), *key;
    size_t n = end ? (size_t)(end - bare) : 0;
    if (!json_is_object(patterns) || n == 0)
        return NULL;
    json_object_foreach ((json_t *)(uintptr_t)patterns, key, kept) {
        const char *of = inner_name(key);
        if (strncmp(of, bare, n) == 0 && strcmp(of + n, ".lora_E") == 0)
            return kept;
    }
    return NULL;
}

/* The ranks kept; -1: it is no list of `rank` times true or false. */
static int64_t count_kept(const json_t *kept, int64_t rank)
{
    int64_t n = 0;
    size_t i;
    json_t *is_kept;
    if (!json_is_array(kept) || json_array_size(kept) != (size_t)rank)
        return -1;
    json_array_foreach ((json_t *)(uintptr_t)kept, i, is_kept) {
        if (!json_is_boolean(is_kept))
            return -1;
        n += json_is_true(is_kept);
    }
    return n;
}

/* *full: the tensor, or one of all ranks (made in the arena) with those of the file at their
 * places. */
static enum um_status untrim(struct um_tensor_view *full, struct import *x,
                             const struct um_param *p, const struct um_tensor_view *view,
                             struct um_error *err)
{
    const json_t *kept = find_kept(x, view->name);
    int up = strstr(view->name, ".lora_B") != NULL; /* its columns are the ranks */
    *full = *view;
    if (!p || !kept)
        return UM_OK;
    int64_t rank = up ? p->cols : p->rows, others = up ? p->rows : p->cols;
    int64_t n_kept = count_kept(kept, rank), from = 0;
    if (n_kept < 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot import '%s': the rank_pattern of '%s' is no list of "
                       "%lld times true or false",
                       x->folder, view->name, (long long)rank);
    if (view->n_dims != 2 || view->dims[up] != n_kept || view->dims[!up] != others ||
        !um_dtype_is_weight(view->dtype) || um_dtype_is_quantised(view->dtype))
        return um_fail(err, UM_E_INPUT, "cannot import '%s': '%s' does not fit its rank_pattern, "
                       "which keeps %lld", x->folder, view->name, (long long)n_kept);
    float *values = UM_ARENA_NEW(&x->delta.arena, p->n_elements, float); /* zeros */
    if (!values)
        return um_fail_memory(err, view->name, (size_t)p->n_elements * sizeof(float));
    for (int64_t r = 0; r < rank; r++) {
        if (!json_is_true(json_array_get(kept, (size_t)r)))
            continue;
        for (int64_t k = 0; k < others; k++)
            values[up ? k * rank + r : r * others + k] = um_to_f32_at(
                view->bytes, view->dtype, up ? k * n_kept + from : from * others + k);
        from++;
    }
    full->dtype = UM_F32;
    full->dims[up] = rank;
    full->n_elements = p->n_elements;
    full->bytes = (unsigned char *)values;
    full->n_bytes = (size_t)p->n_elements * sizeof(float);
    return UM_OK;
}

static enum um_status add_entry(struct import *x, const struct um_tensor_view *stored,
                                struct um_error *err)
{
    const struct um_param *p = find_param(x, stored->name);
    struct um_tensor_view full, *view = &full;
    UM_RETURN_IF(untrim(&full, x, p, stored, err));
    if (!p || view->n_elements != p->n_elements || view->dims[0] != p->rows ||
        !um_dtype_is_weight(view->dtype) || um_dtype_is_quantised(view->dtype))
        return um_fail(err, UM_E_INPUT, "cannot import '%s': '%s' does not fit a parameter of '%s'",
                       x->folder, view->name, x->model.folder.path);
    for (size_t e = 0; e < x->delta.n_entries; e++)
        if (strcmp(x->delta.entries[e].name, p->name) == 0)
            return um_fail(err, UM_E_INPUT, "cannot import '%s': '%s' is there twice", x->folder,
                           p->name);
    float *values = UM_ARENA_NEW(&x->delta.arena, view->n_elements, float);
    if (!values)
        return um_fail_memory(err, view->name, (size_t)view->n_elements * sizeof(float));
    UM_RETURN_IF(read_values(values, x, p, view, err));
    x->delta.entries[x->delta.n_entries++] = (struct um_delta_entry){
        .name = p->name, .n_dims = p->n_dims, .dims = {p->rows, p->cols}, .is_whole = true,
        .is_added = p->is_added, .n = p->n_elements, .value = values};
    x->delta.budget += p->n_elements;
    return UM_OK;
}

static enum um_status add_entries(struct import *x, struct um_error *err)
{
    x->delta.entries = UM_ARENA_NEW(&x->delta.arena, x->file.n_tensors + 1, struct um_delta_entry);
    if (!x->delta.entries)
        return um_fail_memory(err, x->folder, 0);
    for (size_t t = 0; t < x->file.n_tensors; t++)
        UM_RETURN_IF(add_entry(x, &x->file.tensors[t], err));
    um_delta_sort(&x->delta);
    return UM_OK;
}

/* Classes have no names in a PEFT folder: LABEL_0 and so on, as transformers has it. */
static enum um_status name_labels(struct import *x, int64_t n, struct um_error *err)
{
    if (n < 2)
        return UM_OK;
    x->delta.labels = UM_ARENA_NEW(&x->delta.arena, n, const char *);
    for (int64_t k = 0; x->delta.labels && k < n; k++) {
        char label[32];
        (void)snprintf(label, sizeof(label), "LABEL_%lld", (long long)k);
        x->delta.labels[k] = um_arena_strdup(&x->delta.arena, label);
        if (!x->delta.labels[k])
            return um_fail_memory(err, "labels", 0);
    }
    x->delta.n_labels = (size_t)n;
    return x->delta.labels ? UM_OK : um_fail_memory(err, "labels", 0);
}

static enum um_status save(struct import *x, const char *model, const char *out,
                           struct um_error *err)
{
    char *attached = um_model_attached_text(&x->model);
    struct um_delta *d = &x->delta;
    struct um_folder base = {0};
    enum um_status status;
    if (!attached)
        UM_TRY(um_fail_memory(err, "a delta's metadata", 0));
    d->method = x->options.addition->name;
    d->task = x->n_outputs ? "" : x->model.arch->is_decoder ? "text" : "";
    d->architecture = json_string_value(json_object_get(x->model.folder.config, "model_type"));
    d->prefix = x->model.has_prefix ? "" : x->model.arch->prefix;
    d->task_class = x->n_outputs == 0         ? ""
                    : x->model.is_tagger ? x->model.arch->tag_class
                                         : x->model.arch->task_class;
    d->attached = attached;
    UM_TRY(um_folder_open(&base, model, err));
    UM_TRY(um_delta_check_attached(d, &x->model, x->folder, err));
    UM_TRY(um_delta_write(d, &base, out, err));
out:
    um_folder_close(&base);
    free(attached);
    return status;
}

enum um_status um_delta_import_peft(struct um_delta_info *info, const char *folder,
                                    const char *model, const char *out, struct um_error *err)
{
    struct import x = {.folder = folder};
    char *config = um_path_join(folder, "adapter_config.json");
    char *tensors = um_path_join(folder, "adapter_model.safetensors");
    enum um_status status;
    if (!config || !tensors)
        UM_TRY(um_fail_memory(err, folder, 0));
    UM_TRY(um_json_load(&x.config, config, err));
    UM_TRY(read_config(&x, err));
    UM_TRY(um_safetensors_open(&x.file, tensors, err));
    x.n_outputs = head_outputs(&x);
    const struct um_model_options options = {
        .heads = x.heads,
        .n_outputs = x.n_outputs,
        .dropout = -1};
    UM_TRY(um_model_open(&x.model, model, &options, err));
    UM_TRY(attach(&x, err));
    UM_TRY(add_entries(&x, err));
    UM_TRY(name_labels(&x, x.n_outputs, err));
    UM_TRY(save(&x, model, out, err));
    UM_TRY(um_delta_read_info(info, out, err));
out:
    um_free(config);
    um_free(tensors);
    um_model_close(&x.model);
    um_safetensors_close(&x.file);
    um_arena_free(&x.delta.arena);
    json_decref(x.config);
    return status;
}
