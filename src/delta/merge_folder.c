/*
 * What belongs beside the weights of a merged folder: config.json with the task's class and labels,
 * the index of shards, tokenizer and other side files (copied, or made of a GGUF file's metadata).
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "delta/head_config.h"
#include "delta/merge_private.h"
#include "text/gguf_vocabulary.h"

/* ---- config.json */

/* The type of the weights, under the name that is there already (older versions: torch_dtype). */
static bool set_type(json_t *config, enum um_dtype type)
{
    const char *key = json_object_get(config, "torch_dtype") ? "torch_dtype" : "dtype";
    const char *name = type == UM_F32 ? "float32" : type == UM_F16 ? "float16" : "bfloat16";
    return json_object_set_new(config, key, json_string(name)) == 0;
}

/* The keys that stay keep their order. */
static enum um_status write_config(const struct um_merge *m, struct um_error *err)
{
    const struct um_delta *d = m->delta;
    const char *class = d->task_class;
    json_t *config = NULL;
    enum um_status status = UM_OK;
    if (m->base.gguf)
        UM_TRY(um_gguf_folder_config(&config, m->base.config, m->base.gguf, m->base.path, err));
    else
        config = json_deep_copy(m->base.config);
    if (!*class && m->model.arch)
        class = m->model.arch->text_class;
    bool is_done = config != NULL;
    if (is_done && class && *class)
        is_done = json_object_set_new(config, "architectures", json_pack("[s]", class)) == 0;
    is_done = is_done && um_head_write_labels(config, d);
    if (is_done && (m->has_type || m->base.gguf))
        is_done = set_type(config, m->has_type ? m->type : UM_F32);
    UM_TRY(um_json_save_in(m->partial, "config.json", is_done ? config : NULL, err));
out:
    json_decref(config);
    return status;
}

/* ---- the index of a sharded model */

static enum um_status write_index(const struct um_merge *m, struct um_error *err)
{
    if (m->n_shards == 1 && strcmp(m->shard_names[0], "model.safetensors") == 0)
        return UM_OK;
    json_t *map = json_object();
    bool is_done = map != NULL;
    for (size_t i = 0; is_done && i < m->n_tensors; i++)
        is_done = json_object_set_new(map, m->tensors[i].name,
                                      json_string(m->shard_names[m->tensors[i].shard])) == 0;
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                              (json_int_t)um_merge_plan_bytes(m), "weight_map", map);
    enum um_status status =
        um_json_save_in(m->partial, "model.safetensors.index.json", is_done ? index : NULL, err);
    json_decref(index);
    json_decref(map);
    return status;
}

/* ---- side files */

/* What the merge writes itself. */
static bool is_written(const char *name)
{
    return strcmp(name, "config.json") == 0 || um_length_before(name, ".safetensors") ||
           strcmp(name, "model.safetensors.index.json") == 0;
}

/* The base's weights once more, for other frameworks: after a merge they would be another
 * model's. */
static bool is_of_others(const char *name)
{
    static const char *const endings[] = {".h5",   ".msgpack", ".onnx", ".ot",    ".gguf",
                                          ".ckpt", ".pt",      ".pth",  ".tflite"};
    for (size_t i = 0; i < UM_COUNT(endings); i++)
        if (um_length_before(name, endings[i]))
            return true;
    return strncmp(name, "pytorch_model", strlen("pytorch_model")) == 0;
}

/* Tokenizer and other side files, as they are. */
static enum um_status copy_side_files(struct um_merge *m, struct um_error *err)
{
    DIR *dir = opendir(m->base.path);
    enum um_status status = UM_OK;
    if (!dir)
        return um_fail(err, UM_E_INPUT, "cannot list '%s': %s", m->base.path, strerror(errno));
    for (struct dirent *entry; status == UM_OK && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || is_written(entry->d_name))
            continue;
        if (is_of_others(entry->d_name)) {
            um_merge_note(m, "'%s' is not copied: it holds the weights as they were",
                          entry->d_name);
            continue;
        }
        char *from = um_path_join(m->base.path, entry->d_name);
        char *to = um_path_join(m->partial, entry->d_name);
        if (!from || !to)
            status = um_fail_memory(err, entry->d_name, 0);
        else if (!um_path_is_folder(from))
            status = um_file_copy(to, from, err);
        um_free(from);
        um_free(to);
    }
    (void)closedir(dir);
    return status;
}

/* tokenizer.json and what goes with it, of a GGUF file's vocabulary. */
static enum um_status make_side_files(struct um_merge *m, struct um_error *err)
{
    json_t *tokenizer = NULL, *config = NULL;
    const char *reason;
    enum um_status status;
    UM_TRY(um_vocabulary_from_gguf(&tokenizer, &config, &reason, m->base.gguf, m->base.path, err));
    if (reason) {
        um_merge_note(m, "no tokenizer.json is written (%s): put the original model's there",
                      reason);
        return UM_OK;
    }
    UM_TRY(um_json_save_in(m->partial, "tokenizer.json", tokenizer, err));
    UM_TRY(um_json_save_in(m->partial, "tokenizer_config.json", config, err));
out:
    json_decref(tokenizer);
    json_decref(config);
    return status;
}

enum um_status um_merge_write_folder(struct um_merge *m, struct um_error *err)
{
    UM_RETURN_IF(um_remove_folder(m->partial, err));
    UM_RETURN_IF(um_make_folder(m->partial, err));
    UM_RETURN_IF(um_merge_write_shards(m, err));
    UM_RETURN_IF(write_index(m, err));
    UM_RETURN_IF(write_config(m, err));
    return m->base.gguf ? make_side_files(m, err) : copy_side_files(m, err);
}
