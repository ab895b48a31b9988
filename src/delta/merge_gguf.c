/*
 * A merged GGUF file's metadata: the base's own, or what llama.cpp's converter writes for a folder:
 * the architecture's settings, rotary scaling, vocabulary and chat template.
 */
#include <stdio.h>
#include <string.h>

#include "delta/merge_private.h"
#include "text/gguf_vocabulary.h"

/* general.file_type: ggml's number of "mostly of this type". */
static uint32_t file_type(const struct um_merge *m)
{
    static const uint32_t numbers[] = {[UM_F32] = 0, [UM_F16] = 1, [UM_BF16] = 32, [UM_Q8_0] = 7};
    enum um_dtype widest = UM_F32;
    int64_t n = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        if (m->tensors[i].n_elements < n)
            continue;
        n = m->tensors[i].n_elements;
        widest = m->tensors[i].dtype;
    }
    return widest < UM_COUNT(numbers) ? numbers[widest] : 0;
}

static const char *key_of(char key[128], const char *family, const char *rest)
{
    (void)snprintf(key, 128, "%s.%s", family, rest);
    return key;
}

/* What config.json's settings do not say by themselves. */
static void declare_more(struct um_gguf_writer *w, const struct um_merge *m, const char *family)
{
    const struct um_dims *dims = &m->model.dims;
    const struct um_rope_options *rope = &dims->rope;
    char key[128];
    bool is_yarn = rope->scaling == UM_ROPE_YARN;
    um_gguf_declare_u32(w, key_of(key, family, "vocab_size"), (uint32_t)dims->V);
    if (rope->theta == 0)
        return; /* learnt positions */
    if (!json_is_integer(json_object_get(m->base.config, "head_dim")))
        um_gguf_declare_u32(w, key_of(key, family, "attention.key_length"), (uint32_t)dims->E);
    um_gguf_declare_u32(w, key_of(key, family, "attention.value_length"), (uint32_t)dims->E);
    um_gguf_declare_u32(w, key_of(key, family, "rope.dimension_count"), (uint32_t)dims->E);
    if (rope->scaling != UM_ROPE_LINEAR && !is_yarn)
        return;
    const char *type = is_yarn ? "yarn" : "linear";
    um_gguf_declare_text(w, key_of(key, family, "rope.scaling.type"), type, strlen(type));
    um_gguf_declare_f32(w, key_of(key, family, "rope.scaling.factor"), (float)rope->factor);
    if (is_yarn)
        um_gguf_declare_u32(w, key_of(key, family, "rope.scaling.original_context_length"),
                            (uint32_t)rope->original);
}

static enum um_status declare_folder(struct um_gguf_writer *w, struct um_merge *m,
                                     struct um_error *err)
{
    const char *type = json_string_value(json_object_get(m->base.config, "model_type"));
    const struct um_gguf_family *family = um_gguf_family_of(type);
    const char *slash = strrchr(m->out, '/'), *name = slash ? slash + 1 : m->out;
    bool has_vocabulary = false;
    UM_RETURN_IF(um_gguf_declare_config(w, family, m->base.config, m->out, err));
    um_gguf_declare_text(w, "general.type", "model", 5);
    um_gguf_declare_text(w, "general.name", name, strcspn(name, "."));
    um_gguf_declare_u32(w, "general.file_type", file_type(m));
    um_gguf_declare_u32(w, "general.quantization_version", 2);
    declare_more(w, m, um_gguf_family_name(family));
    UM_RETURN_IF(um_vocabulary_declare(w, &has_vocabulary, m->base.path, m->base.config,
                                       m->model.dims.V, err));
    if (!has_vocabulary)
        um_merge_note(m, "no vocabulary: the folder has no tokenizer.json");
    return UM_OK;
}

enum um_status um_merge_write_gguf(struct um_merge *m, struct um_error *err)
{
    struct um_gguf_writer w = {0};
    enum um_status status;
    UM_TRY(um_gguf_create(&w, err));
    if (m->base.gguf) {
        for (size_t i = 0; i < m->base.gguf->n_pairs; i++)
            um_gguf_declare_pair(&w, &m->base.gguf->pairs[i]);
    } else {
        UM_TRY(declare_folder(&w, m, err));
    }
    UM_TRY(um_merge_write_tensors(m, &w, err));
out:
    um_gguf_abandon(&w);
    return status;
}
