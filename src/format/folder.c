/* Models on disk: which files hold the weights, and nothing taken on trust. */
#include "format/folder.h"

#include <string.h>

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"

/* The shard of that file name, or NULL. */
static struct um_safetensors *find_shard(const struct um_folder *folder, const char *name)
{
    for (size_t i = 0; i < folder->n_shards; i++)
        if (strcmp(folder->shard_names[i], name) == 0)
            return &folder->shards[i];
    return NULL;
}

static enum um_status add_shard(struct um_folder *folder, const char *name, struct um_error *err)
{
    if (find_shard(folder, name))
        return UM_OK;
    char *path = um_path_join(folder->path, name);
    char *copy = um_strdup(name);
    enum um_status status = UM_OK;
    if (!path || !copy)
        status = um_fail_memory(err, name, strlen(name));
    else
        status = um_safetensors_open(&folder->shards[folder->n_shards], path, err);
    if (status == UM_OK)
        folder->shard_names[folder->n_shards++] = copy;
    else
        um_free(copy);
    um_free(path);
    return status;
}

static bool room_for_shards(struct um_folder *folder, size_t n)
{
    folder->shards = UM_NEW(n, struct um_safetensors);
    folder->shard_names = UM_NEW(n, char *);
    return folder->shards && folder->shard_names;
}

/* A tensor must not stand in another shard than the index says. */
static enum um_status check_unique(const struct um_folder *folder, const json_t *map,
                                   const char *path, struct um_error *err)
{
    for (size_t s = 0; s < folder->n_shards; s++) {
        for (size_t t = 0; t < folder->shards[s].n_tensors; t++) {
            const char *name = folder->shards[s].tensors[t].name;
            const char *file = json_string_value(json_object_get(map, name));
            if (file && strcmp(file, folder->shard_names[s]) != 0)
                return um_fail(err, UM_E_INPUT,
                               "cannot load '%s': tensor '%s' stands in '%s', but also in '%s'",
                               path, name, file, folder->shard_names[s]);
        }
    }
    return UM_OK;
}

/* The index maps tensors to files. A file name must not leave the folder. */
static enum um_status open_indexed(struct um_folder *folder, const json_t *index,
                                   const char *path, struct um_error *err)
{
    const json_t *map = json_object_get(index, "weight_map");
    const char *tensor;
    json_t *value;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': no 'weight_map'", path);
    if (!room_for_shards(folder, json_object_size(map)))
        return um_fail_memory(err, path, json_object_size(map) * sizeof(struct um_safetensors));
    json_object_foreach ((json_t *)map, tensor, value) {
        const char *file = json_string_value(value);
        if (!file || !*file || strchr(file, '/') || strcmp(file, "..") == 0)
            return um_fail(err, UM_E_INPUT,
                           "cannot read '%s': tensor '%s' is in '%s', expected a file name in "
                           "this folder",
                           path, tensor, file ? file : "(not a text)");
        enum um_status status = add_shard(folder, file, err);
        if (status != UM_OK) {
            um_error_prefix(err, "shard of '%s'", path);
            return status;
        }
        if (!um_safetensors_find(find_shard(folder, file), tensor))
            return um_fail(err, UM_E_INPUT,
                           "cannot load '%s/%s': tensor '%s' should be there by the index, but "
                           "is not",
                           folder->path, file, tensor);
    }
    return check_unique(folder, map, path, err);
}

static enum um_status fail_no_weights(const struct um_folder *folder, struct um_error *err)
{
    um_fail(err, UM_E_INPUT, "cannot open '%s': neither " SINGLE " nor " INDEX " is there",
            folder->path);
    um_error_hint(err,
                  "by its config.json alone it can be planned for: inspect --plan, without data");
    char *old = um_path_join(folder->path, "pytorch_model.bin");
    if (old && um_path_exists(old))
        um_error_hint(err, "pytorch_model.bin holds pickled code, which is not read; save the "
                           "model again with save_pretrained(..., safe_serialization=True)");
    um_free(old);
    return UM_E_INPUT;
}

static enum um_status open_weights(struct um_folder *folder, struct um_error *err)
{
    enum um_status status = UM_OK;
    char *single = um_path_join(folder->path, SINGLE), *index = um_path_join(folder->path, INDEX);
    json_t *json = NULL;
    if (!single || !index)
        UM_TRY(um_fail_memory(err, folder->path, 0));
    if (um_path_exists(single)) {
        if (!room_for_shards(folder, 1))
            UM_TRY(um_fail_memory(err, single, sizeof(struct um_safetensors)));
        UM_TRY(add_shard(folder, SINGLE, err));
    } else if (um_path_exists(index)) {
        UM_TRY(um_json_load(&json, index, err));
        UM_TRY(open_indexed(folder, json, index, err));
    } else {
        UM_TRY(fail_no_weights(folder, err));
    }
out:
    json_decref(json);
    um_free(single);
    um_free(index);
    return status;
}

/* The tensors of a GGUF file under the names a folder would have; unknown ones keep theirs. */
static enum um_status rename_tensors(struct um_folder *folder, struct um_error *err)
{
    char name[UM_GGUF_NAME_BYTES];
    folder->tensors =
        UM_ARENA_NEW(&folder->arena, folder->gguf->n_tensors, struct um_tensor_view);
    if (!folder->tensors)
        return um_fail_memory(err, folder->path, folder->gguf->n_tensors);
    for (size_t i = 0; i < folder->gguf->n_tensors; i++) {
        struct um_tensor_view *view = &folder->tensors[i];
        *view = folder->gguf->tensors[i];
        if (!um_gguf_name_to_folder(name, folder->family, view->name))
            continue;
        view->name = um_arena_strdup(&folder->arena, name);
        if (!view->name)
            return um_fail_memory(err, folder->path, strlen(name));
    }
    return UM_OK;
}

static enum um_status open_gguf(struct um_folder *folder, const char *path, struct um_error *err)
{
    enum um_status status;
    *folder = (struct um_folder){.path = um_strdup(path), .config_path = um_strdup(path),
                                 .gguf = UM_NEW(1, struct um_gguf)};
    if (!folder->path || !folder->config_path || !folder->gguf)
        UM_TRY(um_fail_memory(err, path, strlen(path)));
    UM_TRY(um_gguf_open(folder->gguf, path, err));
    UM_TRY(um_gguf_config(&folder->config, &folder->family, folder->gguf, path, err));
    UM_TRY(rename_tensors(folder, err));
out:
    if (status != UM_OK)
        um_folder_close(folder);
    return status;
}

static enum um_status load_config(struct um_folder *folder, struct um_error *err)
{
    UM_RETURN_IF(um_json_load(&folder->config, folder->config_path, err));
    if (!json_is_object(folder->config))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': not an object", folder->config_path);
    return UM_OK;
}

static bool has_weights(const struct um_folder *folder)
{
    char *single = um_path_join(folder->path, SINGLE), *index = um_path_join(folder->path, INDEX);
    bool is_there = !single || !index || um_path_exists(single) || um_path_exists(index);
    um_free(single);
    um_free(index);
    return is_there;
}

static enum um_status open_folder(struct um_folder *folder, const char *path, bool needs_weights,
                                  struct um_error *err)
{
    *folder = (struct um_folder){.path = um_strdup(path),
                                 .config_path = um_path_join(path, "config.json")};
    char *generation = um_path_join(path, "generation_config.json");
    enum um_status status = UM_OK;
    if (!folder->path || !folder->config_path || !generation)
        UM_TRY(um_fail_memory(err, path, strlen(path)));
    if (!um_path_is_folder(path))
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot open model '%s': no such folder or file", path));
    UM_TRY(load_config(folder, err));
    if (um_path_exists(generation))
        UM_TRY(um_json_load(&folder->generation, generation, err));
    if (needs_weights || has_weights(folder))
        UM_TRY(open_weights(folder, err));
out:
    um_free(generation);
    if (status != UM_OK)
        um_folder_close(folder);
    return status;
}

static bool is_file(const char *path)
{
    return um_path_exists(path) && !um_path_is_folder(path);
}

enum um_status um_folder_open(struct um_folder *folder, const char *path, struct um_error *err)
{
    return is_file(path) ? open_gguf(folder, path, err) : open_folder(folder, path, true, err);
}

static enum um_status open_config(struct um_folder *folder, const char *path, struct um_error *err)
{
    enum um_status status;
    *folder = (struct um_folder){.path = um_strdup(path), .config_path = um_strdup(path)};
    if (!folder->path || !folder->config_path)
        UM_TRY(um_fail_memory(err, path, strlen(path)));
    UM_TRY(load_config(folder, err));
out:
    if (status != UM_OK)
        um_folder_close(folder);
    return status;
}

enum um_status um_folder_open_config(struct um_folder *folder, const char *path,
                                     struct um_error *err)
{
    if (!is_file(path))
        return open_folder(folder, path, false, err);
    return um_length_before(path, ".json") ? open_config(folder, path, err)
                                           : open_gguf(folder, path, err);
}

void um_folder_close(struct um_folder *folder)
{
    for (size_t i = 0; i < folder->n_shards; i++) {
        um_safetensors_close(&folder->shards[i]);
        um_free(folder->shard_names[i]);
    }
    if (folder->gguf)
        um_gguf_close(folder->gguf);
    um_free(folder->gguf);
    um_arena_free(&folder->arena);
    um_free(folder->shards);
    um_free(folder->shard_names);
    um_free(folder->path);
    um_free(folder->config_path);
    json_decref(folder->config);
    json_decref(folder->generation);
    *folder = (struct um_folder){0};
}

const struct um_tensor_view *um_folder_tensor(const struct um_folder *folder, size_t index)
{
    if (folder->gguf)
        return index < folder->gguf->n_tensors ? &folder->tensors[index] : NULL;
    for (size_t i = 0; i < folder->n_shards; i++) {
        if (index < folder->shards[i].n_tensors)
            return &folder->shards[i].tensors[index];
        index -= folder->shards[i].n_tensors;
    }
    return NULL;
}

const struct um_tensor_view *um_folder_find(const struct um_folder *folder, const char *name)
{
    for (size_t i = 0; folder->gguf && i < folder->gguf->n_tensors; i++)
        if (strcmp(folder->tensors[i].name, name) == 0)
            return &folder->tensors[i];
    for (size_t i = 0; i < folder->n_shards; i++) {
        const struct um_tensor_view *tensor = um_safetensors_find(&folder->shards[i], name);
        if (tensor)
            return tensor;
    }
    return NULL;
}

int64_t um_folder_bytes(const struct um_folder *folder)
{
    int64_t bytes = folder->gguf ? (int64_t)folder->gguf->map.n_bytes : 0;
    for (size_t i = 0; i < folder->n_shards; i++)
        bytes += (int64_t)folder->shards[i].map.n_bytes;
    return bytes;
}
