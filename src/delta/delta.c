/* Saving, loading and checking deltas. */
#include "delta/delta.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT  "unmask.delta"
#define VERSION "1"

/* ---- saving */

static char *json_names(const char *const *names, size_t n)
{
    json_t *array = json_array();
    bool is_done = array != NULL;
    for (size_t i = 0; i < n; i++)
        is_done = is_done && json_array_append_new(array, json_string(names[i])) == 0;
    char *text = is_done ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

static enum um_status declare_metadata(struct um_safetensors_writer *w,
                                       const struct um_delta *d, struct um_error *err)
{
    const char **added = UM_NEW(d->n_entries, const char *);
    size_t n_added = 0;
    for (size_t i = 0; added && i < d->n_entries; i++)
        if (d->entries[i].is_added)
            added[n_added++] = d->entries[i].name;
    char *labels = json_names(d->labels, d->n_labels);
    char *added_text = added ? json_names(added, n_added) : NULL;
    char budget[32];
    (void)snprintf(budget, sizeof(budget), "%lld", (long long)d->budget);
    const struct {
        const char *key, *value;
    } items[] = {{"format", FORMAT},          {"version", VERSION},
                 {"method", d->method},       {"budget", budget},
                 {"task", d->task},           {"template", d->template},
                 {"labels", labels},
                 {"added", added_text},       {"base_architecture", d->architecture},
                 {"base_sha256", d->base_sha256}, {"prefix", d->prefix},
                 {"task_class", d->task_class}, {"attached", d->attached},
                 {"problem_type", d->problem_type}};
    for (size_t i = 0; labels && added_text && i < UM_COUNT(items); i++)
        um_safetensors_declare_metadata(w, items[i].key, items[i].value ? items[i].value : "");
    bool is_done = labels && added_text;
    free(labels);
    free(added_text);
    um_free(added);
    return is_done ? UM_OK : um_fail_memory(err, "a delta's metadata", 0);
}

/* Positions first, so that they stand at multiples of eight; then values. */
static enum um_status declare_tensors(struct um_safetensors_writer *w, const struct um_delta *d,
                                      struct um_error *err)
{
    struct um_str name = {0};
    for (size_t i = 0; i < d->n_entries; i++)
        if (!d->entries[i].is_whole)
            um_safetensors_declare(w, um_str_setf(&name, "%s.index", d->entries[i].name), UM_I64, 1,
                                   &d->entries[i].n);
    for (size_t i = 0; i < d->n_entries; i++) {
        const struct um_delta_entry *e = &d->entries[i];
        if (e->is_whole)
            um_safetensors_declare(w, e->name, UM_F32, e->n_dims, e->dims);
        else
            um_safetensors_declare(w, um_str_setf(&name, "%s.value", e->name), UM_F32, 1, &e->n);
    }
    bool is_failed = name.failed;
    um_str_free(&name);
    return is_failed ? um_fail_memory(err, "a delta's names", 0) : UM_OK;
}

enum um_status um_delta_save(const struct um_delta *d, const char *path, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    enum um_status status;
    UM_TRY(um_safetensors_create(&w, err));
    UM_TRY(declare_metadata(&w, d, err));
    UM_TRY(declare_tensors(&w, d, err));
    UM_TRY(um_safetensors_begin(&w, path, err));
    for (size_t i = 0; i < d->n_entries; i++)
        if (!d->entries[i].is_whole)
            UM_TRY(um_safetensors_put(&w, d->entries[i].index, (size_t)d->entries[i].n * 8, err));
    for (size_t i = 0; i < d->n_entries; i++)
        UM_TRY(um_safetensors_put(&w, d->entries[i].value, (size_t)d->entries[i].n * 4, err));
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    return status;
}

/* ---- loading */

static const char *metadata(const struct um_delta *d, const char *key)
{
    const char *value = um_safetensors_metadata(&d->file, key);
    return value ? value : "";
}

static enum um_status read_labels(struct um_delta *d, const char *path, struct um_error *err)
{
    const char *text = metadata(d, "labels");
    json_t *labels;
    if (!*text)
        return UM_OK;
    UM_RETURN_IF(um_json_parse(&labels, text, strlen(text), path, err));
    size_t n = json_array_size(labels);
    enum um_status status =
        json_is_array(labels)
            ? UM_OK
            : um_fail(err, UM_E_INPUT, "cannot load '%s': 'labels' is not a list", path);
    d->labels = UM_ARENA_NEW(&d->arena, n + 1, const char *);
    for (size_t i = 0; d->labels && i < n && status == UM_OK; i++) {
        const char *label = json_string_value(json_array_get(labels, i));
        d->labels[i] = label ? um_arena_strdup(&d->arena, label) : NULL;
        d->n_labels = i + 1;
        if (!label)
            status = um_fail(err, UM_E_INPUT, "cannot load '%s': 'labels' is not a list of texts",
                             path);
        else if (!d->labels[i])
            status = um_fail_memory(err, path, strlen(label));
    }
    json_decref(labels);
    return d->labels ? status : um_fail_memory(err, path, n * sizeof(char *));
}

/* A view's numbers where they stand, or a copy if they are not aligned. */
static const void *aligned(struct um_delta *d, const struct um_tensor_view *view)
{
    size_t size = um_dtype_bytes(view->dtype);
    if ((uintptr_t)view->bytes % size == 0)
        return view->bytes;
    void *copy = um_arena_alloc(&d->arena, view->n_bytes);
    if (copy)
        memcpy(copy, view->bytes, view->n_bytes);
    return copy;
}

static enum um_status check_index(const struct um_delta_entry *e, const char *path,
                                  struct um_error *err)
{
    for (int64_t i = 0; i < e->n; i++)
        if (e->index[i] < 0 || (i > 0 && e->index[i] <= e->index[i - 1]))
            return um_fail(err, UM_E_INPUT,
                           "cannot load '%s': positions of '%s' do not ascend (number %lld)", path,
                           e->name, (long long)i);
    return UM_OK;
}

/* One tensor of the file: an index (whose values must be there), values (skipped), or whole. */
static enum um_status read_entry(struct um_delta *d, const struct um_tensor_view *view,
                                 struct um_str *name, const char *path, struct um_error *err)
{
    struct um_delta_entry *e = &d->entries[d->n_entries];
    size_t n = um_length_before(view->name, ".value");
    bool has_index =
        n && um_safetensors_find(&d->file, um_str_setf(name, "%.*s.index", (int)n, view->name));
    if (name->failed)
        return um_fail_memory(err, path, n);
    if (has_index)
        return UM_OK;
    *e = (struct um_delta_entry){.name = view->name, .n_dims = view->n_dims,
                                 .is_whole = true, .n = view->n_elements};
    memcpy(e->dims, view->dims, sizeof(e->dims));
    n = view->dtype == UM_I64 ? um_length_before(view->name, ".index") : 0;
    if (n) {
        const struct um_tensor_view *values =
            um_safetensors_find(&d->file, um_str_setf(name, "%.*s.value", (int)n, view->name));
        if (name->failed)
            return um_fail_memory(err, path, n);
        if (!values || values->n_elements != view->n_elements)
            return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' has %lld positions, but %lld "
                           "values", path, view->name, (long long)view->n_elements,
                           values ? (long long)values->n_elements : 0LL);
        e->is_whole = false;
        e->name = um_arena_strndup(&d->arena, view->name, n);
        e->index = aligned(d, view);
        if (!e->name || !e->index)
            return um_fail_memory(err, path, view->n_bytes);
        UM_RETURN_IF(check_index(e, path, err));
        view = values;
    }
    if (view->dtype != UM_F32)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' is %s, expected F32", path,
                       view->name, um_dtype_name(view->dtype));
    e->value = aligned(d, view);
    if (!e->value)
        return um_fail_memory(err, path, view->n_bytes);
    d->n_entries++;
    return UM_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct um_delta_entry *)a)->name,
                  ((const struct um_delta_entry *)b)->name);
}

void um_delta_sort(struct um_delta *d)
{
    if (d->n_entries)
        qsort(d->entries, d->n_entries, sizeof(*d->entries), compare_entries);
}

struct um_delta_entry *um_delta_find(const struct um_delta *d, const char *name)
{
    const struct um_delta_entry wanted = {.name = name};
    return d->n_entries
               ? bsearch(&wanted, d->entries, d->n_entries, sizeof(wanted), compare_entries)
               : NULL;
}

enum um_status um_delta_add(struct um_delta *d, size_t *capacity, struct um_delta_entry entry,
                            struct um_error *err)
{
    if (!um_grow(&d->entries, capacity, d->n_entries + 1, sizeof(entry)))
        return um_fail_memory(err, entry.name, sizeof(entry));
    d->entries[d->n_entries++] = entry;
    return UM_OK;
}

/* Sorts entries by name; a tensor must not stand there both sparse and whole. */
static enum um_status sort_entries(struct um_delta *d, const char *path, struct um_error *err)
{
    um_delta_sort(d);
    for (size_t e = 1; e < d->n_entries; e++)
        if (strcmp(d->entries[e - 1].name, d->entries[e].name) == 0)
            return um_fail(err, UM_E_INPUT,
                           "cannot load '%s': '%s' stands there sparse and whole", path,
                           d->entries[e].name);
    return UM_OK;
}

static enum um_status mark_added(struct um_delta *d, const char *path, struct um_error *err)
{
    const char *text = metadata(d, "added");
    json_t *added, *name;
    size_t i;
    if (!*text)
        return UM_OK;
    UM_RETURN_IF(um_json_parse(&added, text, strlen(text), path, err));
    enum um_status status =
        json_is_array(added)
            ? UM_OK
            : um_fail(err, UM_E_INPUT, "cannot load '%s': 'added' is not a list", path);
    json_array_foreach (added, i, name) {
        const char *tensor = json_string_value(name);
        struct um_delta_entry *entry = tensor ? um_delta_find(d, tensor) : NULL;
        if (entry && entry->is_whole)
            entry->is_added = true;
        else
            status = um_fail(err, UM_E_INPUT, "cannot load '%s': added parameter '%s' is not there",
                             path, tensor ? tensor : "(not a text)");
    }
    json_decref(added);
    return status;
}

static enum um_status read_delta(struct um_delta *d, const char *path, struct um_error *err)
{
    struct um_str name = {0};
    enum um_status status = UM_OK;
    if (strcmp(metadata(d, "format"), FORMAT) != 0)
        return um_fail(err, UM_E_INPUT, "'%s' is not a delta: its metadata has no format '%s'",
                       path, FORMAT);
    if (strcmp(metadata(d, "version"), VERSION) != 0)
        return um_fail(err, UM_E_INPUT, "'%s' is a delta of version '%s'; this program knows %s",
                       path, metadata(d, "version"), VERSION);
    d->method = metadata(d, "method");
    d->task = metadata(d, "task");
    d->template = metadata(d, "template");
    d->architecture = metadata(d, "base_architecture");
    d->base_sha256 = metadata(d, "base_sha256");
    d->prefix = metadata(d, "prefix");
    d->task_class = metadata(d, "task_class");
    d->attached = metadata(d, "attached");
    d->problem_type = metadata(d, "problem_type");
    if (!um_parse_i64(&d->budget, metadata(d, "budget")))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': its budget is not a number", path);
    d->entries = UM_ARENA_NEW(&d->arena, d->file.n_tensors + 1, struct um_delta_entry);
    if (!d->entries)
        return um_fail_memory(err, path, d->file.n_tensors * sizeof(*d->entries));
    UM_TRY(read_labels(d, path, err));
    for (size_t i = 0; i < d->file.n_tensors; i++)
        UM_TRY(read_entry(d, &d->file.tensors[i], &name, path, err));
    UM_TRY(sort_entries(d, path, err));
    UM_TRY(mark_added(d, path, err));
out:
    um_str_free(&name);
    return status;
}

static enum um_status open_file(struct um_delta **delta, const char *path, struct um_error *err)
{
    enum um_status status;
    *delta = UM_NEW(1, struct um_delta);
    if (!*delta)
        return um_fail_memory(err, path, sizeof(**delta));
    UM_TRY(um_safetensors_open(&(*delta)->file, path, err));
    (*delta)->file_bytes = (int64_t)(*delta)->file.map.n_bytes;
    UM_TRY(read_delta(*delta, path, err));
out:
    if (status != UM_OK) {
        um_delta_free(*delta);
        *delta = NULL;
    }
    return status;
}

enum um_status um_delta_open(struct um_delta **delta, const char *path, struct um_error *err)
{
    if (!um_path_is_folder(path))
        return open_file(delta, path, err);
    *delta = NULL;
    char *inner = um_path_join(path, "delta.safetensors");
    char *recipe = um_path_join(path, "recipe.yaml");
    enum um_status status;
    if (!inner || !recipe)
        UM_TRY(um_fail_memory(err, path, strlen(path)));
    if (!um_path_exists(inner) && um_path_exists(recipe)) {
        um_fail(err, UM_E_INPUT, "the run '%s' has no delta yet: it is not finished", path);
        um_error_hint(err, "unmask train --resume '%s' continues it", path);
        status = UM_E_INPUT;
        goto out;
    }
    status = open_file(delta, inner, err);
out:
    um_free(recipe);
    um_free(inner);
    return status;
}

void um_delta_free(struct um_delta *delta)
{
    if (!delta)
        return;
    um_safetensors_close(&delta->file);
    um_arena_free(&delta->arena);
    um_free(delta);
}

static void copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

void um_delta_get_info(struct um_delta_info *info, const struct um_delta *d)
{
    *info = (struct um_delta_info){.budget = d->budget, .n_tensors = (int64_t)d->n_entries,
                                   .file_bytes = d->file_bytes};
    copy_text(info->method, sizeof(info->method), d->method);
    copy_text(info->architecture, sizeof(info->architecture), d->architecture);
    copy_text(info->task, sizeof(info->task), d->task);
    copy_text(info->base_sha256, sizeof(info->base_sha256), d->base_sha256);
    for (size_t i = 0; i < d->n_entries; i++)
        *(d->entries[i].is_whole ? &info->n_whole : &info->n_sparse) += d->entries[i].n;
}

enum um_status um_delta_read_info(struct um_delta_info *info, const char *path,
                                  struct um_error *err)
{
    struct um_delta *delta;
    UM_RETURN_IF(um_delta_open(&delta, path, err));
    um_delta_get_info(info, delta);
    um_delta_free(delta);
    return UM_OK;
}

bool um_delta_get_tensor(struct um_delta_tensor *tensor, const struct um_delta *d, int64_t index)
{
    if (index < 0 || (size_t)index >= d->n_entries)
        return false;
    const struct um_delta_entry *e = &d->entries[index];
    *tensor = (struct um_delta_tensor){.name = e->name, .is_whole = e->is_whole, .n_values = e->n};
    return true;
}

/* ---- against a base */

static enum um_status find_base(const struct um_tensor_view **tensor,
                                const struct um_delta_entry *e, const struct um_folder *base,
                                struct um_error *err)
{
    *tensor = um_folder_find(base, e->name);
    if (!*tensor)
        return um_fail(err, UM_E_INPUT, "the delta does not fit '%s': it has no tensor '%s'",
                       base->path, e->name);
    bool fits = um_dtype_is_weight((*tensor)->dtype);
    if (e->is_whole)
        fits = fits && e->n_dims == (*tensor)->n_dims &&
               memcmp(e->dims, (*tensor)->dims, (size_t)e->n_dims * sizeof(*e->dims)) == 0;
    else
        fits = fits && (e->n == 0 || e->index[e->n - 1] < (*tensor)->n_elements);
    if (!fits)
        return um_fail(err, UM_E_INPUT,
                       "the delta does not fit '%s': tensor '%s' has another shape or type",
                       base->path, e->name);
    return UM_OK;
}

/* The tensors that a delta stands on: those it touches, or all weights if it only adds to them.
 * NULL in their places for what is added. */
static enum um_status find_ground(const struct um_tensor_view ***tensors, size_t *n,
                                  const struct um_delta *d, const struct um_folder *base,
                                  struct um_error *err)
{
    const struct um_tensor_view *view;
    size_t n_touched = 0, n_base = 0;
    for (size_t i = 0; i < d->n_entries; i++)
        n_touched += !d->entries[i].is_added;
    while (um_folder_tensor(base, n_base))
        n_base++;
    *n = n_touched ? d->n_entries : n_base;
    *tensors = UM_NEW(*n, const struct um_tensor_view *);
    if (!*tensors)
        return um_fail_memory(err, "hashing", *n * sizeof(**tensors));
    for (size_t i = 0; n_touched && i < d->n_entries; i++)
        if (!d->entries[i].is_added)
            UM_RETURN_IF(find_base(&(*tensors)[i], &d->entries[i], base, err));
    for (size_t i = 0; !n_touched && (view = um_folder_tensor(base, i)); i++)
        (*tensors)[i] = um_dtype_is_weight(view->dtype) ? view : NULL;
    return UM_OK;
}

enum um_status um_delta_hash(char text[UM_SHA256_TEXT], const struct um_delta *d,
                             const struct um_folder *base, struct um_error *err)
{
    enum { CHUNK = 4 << 20 };
    struct um_sha256 all;
    unsigned char digest[UM_SHA256_BYTES], *digests = NULL;
    const struct um_tensor_view **tensors = NULL;
    size_t n_tensors;
    enum um_status status;
    UM_TRY(find_ground(&tensors, &n_tensors, d, base, err));
    digests = um_alloc(n_tensors * UM_SHA256_BYTES);
    if (!digests)
        UM_TRY(um_fail_memory(err, "hashing", n_tensors * UM_SHA256_BYTES));
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < n_tensors; i++) {
        struct um_sha256 h;
        if (!tensors[i])
            continue;
        um_sha256_begin(&h);
        for (size_t at = 0; at < tensors[i]->n_bytes; at += CHUNK) {
            size_t left = tensors[i]->n_bytes - at, n = left < CHUNK ? left : CHUNK;
            um_sha256_add(&h, tensors[i]->bytes + at, n);
            um_map_forget(tensors[i]->bytes + at, n); /* a large model need not stay in memory */
        }
        um_sha256_end(digests + i * UM_SHA256_BYTES, &h);
    }
    um_sha256_begin(&all);
    for (size_t i = 0; i < n_tensors; i++) {
        if (!tensors[i])
            continue;
        const char *dtype = um_dtype_name(tensors[i]->dtype);
        um_sha256_add(&all, tensors[i]->name, strlen(tensors[i]->name) + 1);
        um_sha256_add(&all, dtype, strlen(dtype) + 1);
        um_sha256_add(&all, digests + i * UM_SHA256_BYTES, UM_SHA256_BYTES);
    }
    um_sha256_end(digest, &all);
    um_sha256_text(text, digest);
out:
    um_free(tensors);
    um_free(digests);
    return status;
}

enum um_status um_delta_write(struct um_delta *d, const struct um_folder *base, const char *path,
                              struct um_error *err)
{
    char hash[UM_SHA256_TEXT];
    UM_RETURN_IF(um_delta_hash(hash, d, base, err));
    d->base_sha256 = hash;
    enum um_status status = um_delta_save(d, path, err);
    d->base_sha256 = "";
    return status;
}

enum um_status um_delta_check(const struct um_delta *d, const struct um_folder *base,
                              struct um_error *err)
{
    char hash[UM_SHA256_TEXT];
    const char *type = json_string_value(json_object_get(base->config, "model_type"));
    if (strcmp(type ? type : "", d->architecture) != 0)
        return um_fail(err, UM_E_INPUT, "the delta does not fit '%s': it is for a '%s', this is "
                       "a '%s'", base->path, d->architecture, type ? type : "(no model_type)");
    UM_RETURN_IF(um_delta_hash(hash, d, base, err));
    if (strcmp(hash, d->base_sha256) != 0) {
        um_fail(err, UM_E_INPUT, "the delta does not fit '%s': it was made from other weights "
                "(SHA-256 of the tensors it touches is %.12s..., expected %.12s...)", base->path,
                hash, d->base_sha256);
        um_error_hint(err, "name the very model that the run was started from");
        return UM_E_INPUT;
    }
    return UM_OK;
}

enum um_status um_delta_verify(const char *model, const char *delta, struct um_error *err)
{
    struct um_folder base = {0};
    struct um_delta *d = NULL;
    enum um_status status;
    UM_TRY(um_delta_open(&d, delta, err));
    UM_TRY(um_folder_open(&base, model, err));
    UM_TRY(um_delta_check(d, &base, err));
out:
    um_folder_close(&base);
    um_delta_free(d);
    return status;
}

void um_delta_apply(float *values, const struct um_delta_entry *e)
{
    if (e->is_whole)
        memcpy(values, e->value, (size_t)e->n * sizeof(float));
    for (int64_t i = 0; !e->is_whole && i < e->n; i++)
        values[e->index[i]] = e->value[i];
}
