/*
 * Merging: base + delta as a model folder of its own, tensor by tensor, in the base's types and
 * shards; whole parameters that the base does not have go into the last shard. Written beside the
 * target as OUT.partial, read back and compared bit for bit, then renamed. A 16-bit base takes the
 * delta's values rounded to nearest even. Low-rank changes are folded into the maps they are attached to.
 */
#include "delta/attached.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct merge {
    struct um_delta *delta;
    struct um_folder base;
    struct um_model attached;  /* what low-rank changes are folded from; nothing if there are none */
    char *partial;             /* OUT.partial */
    struct um_merge_report *report;
    unsigned char *bytes;      /* one merged tensor, as stored */
    size_t bytes_capacity;
};

static const struct um_delta_entry *find_entry(const struct um_delta *d, const char *name)
{
    for (size_t e = 0; e < d->n_entries; e++)
        if (strcmp(d->entries[e].name, name) == 0)
            return &d->entries[e];
    return NULL;
}

/* A base tensor that an added parameter of the same name replaces (another task's head). */
static bool is_replaced(const struct um_delta *d, const char *name)
{
    const struct um_delta_entry *entry = find_entry(d, name);
    return entry && entry->is_added;
}

/* The merged name: with the delta's prefix, unless it is there. */
static char *merged_name(const struct um_delta *d, const char *name)
{
    struct um_str s = {0};
    if (strncmp(name, d->prefix, strlen(d->prefix)) != 0)
        um_str_add(&s, d->prefix);
    um_str_add(&s, name);
    if (s.failed)
        um_str_free(&s);
    return s.text;
}

/* A map with its low-rank change folded in, into m->bytes; *is_done false if it has none. */
static enum um_status folded_bytes(bool *is_done, struct merge *m,
                                   const struct um_tensor_view *view, struct um_error *err)
{
    float *values;
    UM_RETURN_IF(um_delta_fold(&values, &m->attached, view->name, err));
    *is_done = values != NULL;
    bool has_room = !values || um_grow(&m->bytes, &m->bytes_capacity, view->n_bytes, 1);
    if (values && has_room)
        um_from_f32(m->bytes, values, view->dtype, view->n_elements);
    um_free(values);
    return has_room ? UM_OK : um_fail_memory(err, view->name, view->n_bytes);
}

/* The merged bytes of a base tensor: in the file's own map if nothing changes. */
static enum um_status merged_bytes(const unsigned char **bytes, struct merge *m,
                                   const struct um_tensor_view *view, struct um_error *err)
{
    const struct um_delta_entry *entry = find_entry(m->delta, view->name);
    bool is_done;
    *bytes = view->bytes;
    UM_RETURN_IF(folded_bytes(&is_done, m, view, err));
    if (is_done)
        *bytes = m->bytes;
    if (is_done || !entry)
        return UM_OK;
    if (!um_grow(&m->bytes, &m->bytes_capacity, view->n_bytes, 1))
        return um_fail_memory(err, view->name, view->n_bytes);
    size_t size = um_dtype_bytes(view->dtype);
    if (entry->is_whole)
        um_from_f32(m->bytes, entry->value, view->dtype, entry->n);
    else
        memcpy(m->bytes, view->bytes, view->n_bytes);
    for (int64_t i = 0; !entry->is_whole && i < entry->n; i++)
        um_from_f32(m->bytes + (size_t)entry->index[i] * size, &entry->value[i], view->dtype, 1);
    *bytes = m->bytes;
    return UM_OK;
}

static int64_t count_changed(const struct um_tensor_view *view, const unsigned char *bytes)
{
    size_t size = um_dtype_bytes(view->dtype);
    int64_t n = 0;
    for (int64_t i = 0; bytes != view->bytes && i < view->n_elements; i++)
        n += memcmp(view->bytes + (size_t)i * size, bytes + (size_t)i * size, size) != 0;
    return n;
}

static enum um_status declare_shard(struct um_safetensors_writer *w, const struct merge *m,
                                    const struct um_safetensors *shard, bool is_last,
                                    struct um_error *err)
{
    for (size_t t = 0; t < shard->n_tensors; t++) {
        const struct um_tensor_view *view = &shard->tensors[t];
        if (is_replaced(m->delta, view->name))
            continue;
        char *name = merged_name(m->delta, view->name);
        if (!name)
            return um_fail_memory(err, view->name, 0);
        um_safetensors_declare(w, name, view->dtype, view->n_dims, view->dims);
        um_free(name);
    }
    for (size_t e = 0; is_last && e < m->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &m->delta->entries[e];
        if (entry->is_added)
            um_safetensors_declare(w, entry->name, UM_F32, entry->n_dims, entry->dims);
    }
    return UM_OK;
}

static enum um_status write_shard(struct merge *m, size_t s, struct um_error *err)
{
    const struct um_safetensors *shard = &m->base.shards[s];
    bool is_last = s + 1 == m->base.n_shards;
    struct um_safetensors_writer w = {0};
    char *path = um_path_join(m->partial, m->base.shard_names[s]);
    enum um_status status;
    if (!path)
        UM_TRY(um_fail_memory(err, m->partial, 0));
    UM_TRY(um_safetensors_create(&w, err));
    um_safetensors_declare_metadata(&w, "format", "pt"); /* what transformers asks for */
    UM_TRY(declare_shard(&w, m, shard, is_last, err));
    UM_TRY(um_safetensors_begin(&w, path, err));
    for (size_t t = 0; t < shard->n_tensors; t++) {
        const unsigned char *bytes;
        if (is_replaced(m->delta, shard->tensors[t].name))
            continue;
        UM_TRY(merged_bytes(&bytes, m, &shard->tensors[t], err));
        m->report->n_changed += count_changed(&shard->tensors[t], bytes);
        m->report->n_written += shard->tensors[t].n_elements;
        m->report->n_tensors++;
        UM_TRY(um_safetensors_put(&w, bytes, shard->tensors[t].n_bytes, err));
    }
    for (size_t e = 0; is_last && e < m->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &m->delta->entries[e];
        if (!entry->is_added)
            continue;
        m->report->n_changed += entry->n;
        m->report->n_written += entry->n;
        m->report->n_tensors++;
        UM_TRY(um_safetensors_put(&w, entry->value, (size_t)entry->n * sizeof(float), err));
    }
    m->report->bytes += w.declared_bytes;
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    um_free(path);
    return status;
}

/* config.json with the task's class and labels; the keys that stay keep their order. */
static enum um_status write_config(const struct merge *m, struct um_error *err)
{
    const struct um_delta *d = m->delta;
    char *path = um_path_join(m->partial, "config.json");
    json_t *config = json_deep_copy(m->base.config), *names = json_object(), *ids = json_object();
    bool is_done = path && config && names && ids;
    bool has_classes = strstr(d->task_class, "ForSequenceClassification") != NULL;
    if (is_done && *d->task_class)
        is_done = json_object_set_new(config, "architectures",
                                      json_pack("[s]", d->task_class)) == 0;
    for (size_t k = 0; is_done && k < d->n_labels; k++) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%zu", k);
        is_done = json_object_set_new(names, number, json_string(d->labels[k])) == 0 &&
                  json_object_set_new(ids, d->labels[k], json_integer((json_int_t)k)) == 0;
    }
    if (is_done && d->n_labels == 0) /* one output: a regression */
        is_done = json_object_set_new(names, "0", json_string("LABEL_0")) == 0 &&
                  json_object_set_new(ids, "LABEL_0", json_integer(0)) == 0;
    if (is_done && has_classes)
        is_done = json_object_set(config, "id2label", names) == 0 &&
                  json_object_set(config, "label2id", ids) == 0 &&
                  json_object_set_new(config, "problem_type",
                                      json_string(d->n_labels ? "single_label_classification"
                                                              : "regression")) == 0;
    enum um_status status = is_done ? um_json_save(path, config, 2, err)
                                    : um_fail_memory(err, "config.json", 0);
    um_free(path);
    json_decref(config);
    json_decref(names);
    json_decref(ids);
    return status;
}

/* The index of a sharded model, with merged names. */
static enum um_status write_index(const struct merge *m, struct um_error *err)
{
    if (m->base.n_shards == 1 && strcmp(m->base.shard_names[0], "model.safetensors") == 0)
        return UM_OK;
    json_t *map = json_object();
    bool is_done = map != NULL;
    int64_t bytes = 0;
    for (size_t s = 0; s < m->base.n_shards; s++) {
        for (size_t t = 0; t < m->base.shards[s].n_tensors; t++) {
            const struct um_tensor_view *view = &m->base.shards[s].tensors[t];
            if (is_replaced(m->delta, view->name))
                continue;
            char *name = merged_name(m->delta, view->name);
            is_done = is_done && name &&
                      json_object_set_new(map, name, json_string(m->base.shard_names[s])) == 0;
            bytes += (int64_t)view->n_bytes;
            um_free(name);
        }
    }
    const char *last = m->base.shard_names[m->base.n_shards - 1];
    for (size_t e = 0; e < m->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &m->delta->entries[e];
        if (!entry->is_added)
            continue;
        is_done = is_done && json_object_set_new(map, entry->name, json_string(last)) == 0;
        bytes += entry->n * 4;
    }
    char *path = um_path_join(m->partial, "model.safetensors.index.json");
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)bytes,
                              "weight_map", map);
    enum um_status status = is_done && path && index ? um_json_save(path, index, 2, err)
                                                     : um_fail_memory(err, "the index", 0);
    um_free(path);
    json_decref(index);
    json_decref(map);
    return status;
}

static bool is_weight_file(const char *name)
{
    size_t n = strlen(name);
    return strcmp(name, "config.json") == 0 ||
           (n > 12 && strcmp(name + n - 12, ".safetensors") == 0) ||
           strcmp(name, "model.safetensors.index.json") == 0 ||
           strncmp(name, "pytorch_model", 13) == 0;
}

/* Tokenizer and other side files, as they are. */
static enum um_status copy_side_files(const struct merge *m, struct um_error *err)
{
    DIR *dir = opendir(m->base.path);
    enum um_status status = UM_OK;
    if (!dir)
        return um_fail(err, UM_E_INPUT, "cannot list '%s': %s", m->base.path, strerror(errno));
    for (struct dirent *entry; status == UM_OK && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || is_weight_file(entry->d_name))
            continue;
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

static enum um_status check_disk(const struct merge *m, const char *out, struct um_error *err)
{
    char need[24], have[24];
    int64_t bytes = um_folder_bytes(&m->base) + m->delta->file_bytes + (16 << 20);
    int64_t there = um_disk_free(out);
    if (there >= bytes)
        return UM_OK;
    return um_fail(err, UM_E_RUNTIME, "cannot write '%s': %s are needed, the disk has %s free", out,
                   um_format_bytes(need, (double)bytes), um_format_bytes(have, (double)there));
}

/* Reads the merged folder back and compares every byte with base + delta. */
static enum um_status verify(struct merge *m, struct um_error *err)
{
    struct um_folder merged;
    UM_RETURN_IF(um_folder_open(&merged, m->partial, err));
    enum um_status status = UM_OK;
    bool is_same = true;
    for (size_t s = 0; s < m->base.n_shards && status == UM_OK; s++) {
        for (size_t t = 0; t < m->base.shards[s].n_tensors && status == UM_OK; t++) {
            const struct um_tensor_view *view = &m->base.shards[s].tensors[t];
            const unsigned char *bytes;
            if (is_replaced(m->delta, view->name))
                continue;
            char *name = merged_name(m->delta, view->name);
            const struct um_tensor_view *there = name ? um_folder_find(&merged, name) : NULL;
            status = merged_bytes(&bytes, m, view, err);
            is_same = is_same && status == UM_OK && there && there->n_bytes == view->n_bytes &&
                      memcmp(there->bytes, bytes, view->n_bytes) == 0;
            um_free(name);
        }
    }
    for (size_t e = 0; e < m->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &m->delta->entries[e];
        const struct um_tensor_view *there =
            entry->is_added ? um_folder_find(&merged, entry->name) : NULL;
        if (entry->is_added)
            is_same = is_same && there && there->n_bytes == (size_t)entry->n * 4 &&
                      memcmp(there->bytes, entry->value, there->n_bytes) == 0;
    }
    um_folder_close(&merged);
    m->report->is_verified = status == UM_OK && is_same;
    if (status == UM_OK && !is_same)
        status = um_fail(err, UM_E_RUNTIME, "'%s' is not base + delta when it is read back; is "
                         "the disk sound?", m->partial);
    return status;
}

static enum um_status write_all(struct merge *m, struct um_error *err)
{
    UM_RETURN_IF(um_remove_folder(m->partial, err));
    UM_RETURN_IF(um_make_folder(m->partial, err));
    for (size_t s = 0; s < m->base.n_shards; s++)
        UM_RETURN_IF(write_shard(m, s, err));
    UM_RETURN_IF(write_index(m, err));
    UM_RETURN_IF(write_config(m, err));
    UM_RETURN_IF(copy_side_files(m, err));
    return verify(m, err);
}

/* An empty folder may stand where the merged one is to go (rename replaces it), nothing else. */
static enum um_status check_target(const char *out, struct um_error *err)
{
    if (!um_path_exists(out))
        return UM_OK;
    DIR *dir = opendir(out);
    int n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        (void)closedir(dir);
    if (dir && n <= 2) /* . and .. */
        return UM_OK;
    return um_fail(err, UM_E_USAGE, "cannot merge into '%s': it is there already and not an empty "
                   "folder; name another", out);
}

enum um_status um_delta_merge(struct um_merge_report *report, const char *model,
                              const char *delta, const char *out, struct um_error *err)
{
    struct merge m = {.report = report};
    struct um_str partial = {0};
    size_t n = strlen(out);
    enum um_status status;
    *report = (struct um_merge_report){0};
    while (n > 1 && out[n - 1] == '/')
        n--;
    um_str_addf(&partial, "%.*s.partial", (int)n, out);
    m.partial = partial.text;
    if (partial.failed)
        UM_TRY(um_fail_memory(err, out, n));
    UM_TRY(check_target(out, err));
    UM_TRY(um_delta_open_any(&m.delta, delta, err));
    UM_TRY(um_folder_open(&m.base, model, err));
    UM_TRY(um_delta_check(m.delta, &m.base, err));
    UM_TRY(um_delta_open_folded(&m.attached, m.delta, model, err));
    UM_TRY(check_disk(&m, out, err));
    status = write_all(&m, err);
    if (status == UM_OK && rename(m.partial, out) != 0)
        status = um_fail(err, UM_E_RUNTIME, "cannot rename '%s' to '%s': %s", m.partial, out,
                         strerror(errno));
    if (status != UM_OK) {
        (void)um_remove_folder(m.partial, NULL);
        goto out;
    }
    UM_TRY(um_sync_parent(out, err));
out:
    um_model_close(&m.attached);
    um_folder_close(&m.base);
    um_delta_free(m.delta);
    um_free(m.bytes);
    um_str_free(&partial);
    return status;
}
