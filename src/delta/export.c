/* A delta for another program: which formats there are, and what they share. */
#include <string.h>

#include "delta/export_private.h"
#include "delta/head_config.h"

static const struct {
    const char *name;
    um_export_fn *write;
} formats[] = {
    {"peft", um_export_low_rank},
    {"supertuning", um_export_supertuning},
    {"shira", um_export_shira},
    {"gguf", um_export_gguf},
};

char *um_export_name(const struct um_delta *d, const char *name)
{
    struct um_str s = {0};
    bool lacks_prefix = strncmp(name, d->prefix, strlen(d->prefix)) != 0;
    const struct um_delta_entry *entry = um_delta_find(d, name);
    bool is_base = !entry || !entry->is_added;
    um_str_addf(&s, UM_PEFT_PREFIX "%s%s", lacks_prefix && is_base ? d->prefix : "", name);
    if (s.failed)
        um_str_free(&s);
    return s.text;
}

bool um_export_add_module(json_t *list, const struct um_delta *d, const char *name)
{
    char *full = um_export_name(d, name);
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

const char *um_export_task(const struct um_export *x)
{
    const char *class = x->delta->task_class;
    bool has_head = !x->model.arch->is_decoder || um_head_is_classifier(class);
    if (um_head_kind(class) == UM_HEADS_TAGS)
        return "TOKEN_CLS";
    for (size_t e = 0; e < x->delta->n_entries; e++)
        has_head = has_head || x->delta->entries[e].is_added;
    return has_head ? "SEQ_CLS" : "CAUSAL_LM";
}

enum um_status um_export_save_config(const struct um_export *x, const json_t *config,
                                     struct um_error *err)
{
    return um_json_save_in(x->out, "adapter_config.json", config, err);
}

enum um_status um_export_whole(struct um_safetensors_writer *w, const struct um_export *x,
                               bool is_declaring, struct um_error *err)
{
    for (size_t i = 0; i < x->delta->n_entries; i++) {
        const struct um_delta_entry *e = &x->delta->entries[i];
        if (!e->is_whole)
            continue;
        if (!is_declaring) {
            UM_RETURN_IF(um_safetensors_put(w, e->value, (size_t)e->n * sizeof(float), err));
            continue;
        }
        char *name = um_export_name(x->delta, e->name);
        if (!name)
            return um_fail_memory(err, "a name", 0);
        um_safetensors_declare(w, name, UM_F32, e->n_dims, e->dims);
        um_free(name);
    }
    return UM_OK;
}

enum um_status um_export_save_tensors(const struct um_export *x, um_export_tensors *each,
                                      const void *user, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    char *path = um_path_join(x->out, "adapter_model.safetensors");
    enum um_status status;
    if (!path)
        UM_TRY(um_fail_memory(err, x->out, 0));
    UM_TRY(um_safetensors_create(&w, err));
    um_safetensors_declare_metadata(&w, "format", "pt");
    UM_TRY(each(&w, user, true, err));
    UM_TRY(um_safetensors_begin(&w, path, err));
    UM_TRY(each(&w, user, false, err));
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    um_free(path);
    return status;
}

/* The base, with what the delta attaches to it, if anything. */
static enum um_status open_model(struct um_export *x, const char *path, struct um_error *err)
{
    const struct um_model_options options = {.heads = um_head_kind(x->delta->task_class),
                                             .dropout = -1};
    UM_RETURN_IF(um_delta_open_folded(&x->model, x->delta, path, err));
    return um_model_attached(&x->model) ? UM_OK : um_model_open(&x->model, path, &options, err);
}

static enum um_status find_format(size_t *f, const struct um_export *x, const char *format,
                                  struct um_error *err)
{
    if (!format)
        format = um_model_attached(&x->model) ? "peft" : "supertuning";
    for (*f = 0; *f < UM_COUNT(formats); ++*f)
        if (strcmp(formats[*f].name, format) == 0)
            return UM_OK;
    struct um_str names = {0};
    for (size_t i = 0; i < UM_COUNT(formats); i++)
        um_str_add_item(&names, formats[i].name);
    enum um_status status = um_fail(err, UM_E_USAGE, "format '%s' is not one of %s", format,
                                    names.failed ? "those known" : names.text);
    um_str_free(&names);
    return status;
}

enum um_status um_delta_export(const char *model, const char *delta, const char *format,
                               const char *out, struct um_error *err)
{
    struct um_export x = {.out = out};
    bool is_begun = false;
    size_t f;
    enum um_status status;
    UM_TRY(um_delta_open(&x.delta, delta, err));
    UM_TRY(um_folder_open(&x.base, model, err));
    UM_TRY(um_delta_check(x.delta, &x.base, err));
    UM_TRY(open_model(&x, model, err));
    UM_TRY(find_format(&f, &x, format, err));
    if (um_path_exists(out))
        UM_TRY(um_fail(err, UM_E_USAGE, "cannot write '%s': it is there already", out));
    is_begun = true;
    UM_TRY(formats[f].write(&x, err));
out:
    if (status != UM_OK && is_begun)
        (void)um_remove_folder(out, NULL); /* half of it; a file is there only when it is whole */
    um_model_close(&x.model);
    um_folder_close(&x.base);
    um_delta_free(x.delta);
    return status;
}
