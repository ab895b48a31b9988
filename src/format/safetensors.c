/* Reading safetensors: every byte of the header is untrusted. */
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, HEADER_MAX = 100 << 20 };

static uint64_t little_endian(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static enum um_status read_shape(struct um_tensor_view *t, const json_t *shape, const char *path,
                                 struct um_error *err)
{
    if (!json_is_array(shape) || json_array_size(shape) > UM_DIMS_MAX)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' has no shape of at most %d dimensions", path,
                       t->name, UM_DIMS_MAX);
    t->n_dims = (int)json_array_size(shape);
    t->n_elements = 1;
    for (int d = 0; d < t->n_dims; d++) {
        const json_t *dim = json_array_get(shape, (size_t)d);
        int64_t n = json_is_integer(dim) ? json_integer_value(dim) : -1;
        if (n < 0 || (n > 0 && t->n_elements > INT64_MAX / 8 / n))
            return um_fail(err, UM_E_INPUT,
                           "cannot load '%s': tensor '%s' has an absurd shape (dimension %d)",
                           path, t->name, d);
        t->dims[d] = n;
        t->n_elements *= n;
    }
    t->n_bytes = (size_t)t->n_elements * um_dtype_bytes(t->dtype);
    return UM_OK;
}

static enum um_status read_tensor(struct um_tensor_view *t, const json_t *entry,
                                  unsigned char *data, size_t n_data, const char *path,
                                  struct um_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || !um_dtype_from_name(&t->dtype, dtype))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': tensor '%s' has unknown dtype '%s'",
                       path, t->name, dtype ? dtype : "(none)");
    UM_RETURN_IF(read_shape(t, json_object_get(entry, "shape"), path, err));
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': tensor '%s' has no data_offsets", path,
                       t->name);
    int64_t start = json_integer_value(from), end = json_integer_value(to);
    if (start < 0 || end < start || (uint64_t)end > n_data)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' is at bytes %lld to %lld, the file has %zu "
                       "bytes of tensors (truncated?)",
                       path, t->name, (long long)start, (long long)end, n_data);
    if ((size_t)(end - start) != t->n_bytes) {
        char shape[UM_SHAPE_TEXT];
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' %s %s needs %zu bytes, header gives %lld",
                       path, t->name, um_shape_text(shape, t->dims, t->n_dims),
                       um_dtype_name(t->dtype), t->n_bytes, (long long)(end - start));
    }
    t->bytes = data + start;
    return UM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct um_tensor_view *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* Tensors must fill the data part, one behind the other. */
static enum um_status check_places(const struct um_safetensors *st, const unsigned char *data,
                                   size_t n_data, const char *path, struct um_error *err)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < st->n_tensors; i++) {
        if (st->tensors[i].bytes != at)
            return um_fail(err, UM_E_INPUT, "cannot load '%s': tensor '%s' %s", path,
                           st->tensors[i].name,
                           st->tensors[i].bytes < at ? "overlaps the one before"
                                                     : "leaves a hole before it");
        at += st->tensors[i].n_bytes;
    }
    if (at != data + n_data)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': %zu bytes behind the last tensor", path,
                       (size_t)(data + n_data - at));
    return UM_OK;
}

static enum um_status check_metadata(const json_t *metadata, const char *path,
                                     struct um_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': __metadata__ is not an object", path);
    json_object_foreach ((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return um_fail(err, UM_E_INPUT, "cannot load '%s': metadata '%s' is not a text", path,
                           key);
    }
    return UM_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct um_tensor_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void sort_names(struct um_safetensors *st)
{
    for (size_t i = 0; i < st->n_tensors; i++)
        st->by_name[i] = &st->tensors[i];
    qsort(st->by_name, st->n_tensors, sizeof(*st->by_name), compare_names);
}

static enum um_status read_header(struct um_safetensors *st, size_t header_bytes,
                                  const char *path, struct um_error *err)
{
    unsigned char *data = st->map.bytes + LENGTH_BYTES + header_bytes;
    size_t n_data = st->map.n_bytes - LENGTH_BYTES - header_bytes;
    UM_RETURN_IF(um_json_parse(&st->header, (const char *)st->map.bytes + LENGTH_BYTES,
                               header_bytes, path, err));
    if (!json_is_object(st->header))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': the header is not an object", path);
    st->tensors = UM_NEW(json_object_size(st->header), struct um_tensor_view);
    st->by_name = UM_NEW(json_object_size(st->header), const struct um_tensor_view *);
    if (!st->tensors || !st->by_name)
        return um_fail_memory(err, path, json_object_size(st->header) * sizeof(*st->tensors));
    const char *name;
    json_t *entry;
    json_object_foreach (st->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            UM_RETURN_IF(check_metadata(entry, path, err));
            continue;
        }
        struct um_tensor_view *t = &st->tensors[st->n_tensors];
        t->name = name;
        UM_RETURN_IF(read_tensor(t, entry, data, n_data, path, err));
        st->n_tensors++;
    }
    qsort(st->tensors, st->n_tensors, sizeof(*st->tensors), compare_places);
    sort_names(st);
    return check_places(st, data, n_data, path, err);
}

enum um_status um_safetensors_open(struct um_safetensors *st, const char *path,
                                   struct um_error *err)
{
    *st = (struct um_safetensors){0};
    UM_RETURN_IF(um_map_open(&st->map, path, err));
    uint64_t header_bytes = 0;
    enum um_status status = UM_OK;
    if (st->map.n_bytes >= LENGTH_BYTES)
        header_bytes = little_endian(st->map.bytes);
    if (st->map.n_bytes < LENGTH_BYTES)
        status = um_fail(err, UM_E_INPUT,
                         "cannot load '%s': %zu bytes are too few for a safetensors file", path,
                         st->map.n_bytes);
    else if (header_bytes > HEADER_MAX || header_bytes > st->map.n_bytes - LENGTH_BYTES)
        status = um_fail(err, UM_E_INPUT,
                         "cannot load '%s': header of %llu bytes in a file of %zu (truncated, or "
                         "not safetensors)",
                         path, (unsigned long long)header_bytes, st->map.n_bytes);
    else
        status = read_header(st, (size_t)header_bytes, path, err);
    if (status != UM_OK)
        um_safetensors_close(st);
    return status;
}

void um_safetensors_close(struct um_safetensors *st)
{
    um_map_close(&st->map);
    json_decref(st->header);
    um_free(st->tensors);
    um_free(st->by_name);
    *st = (struct um_safetensors){0};
}

const struct um_tensor_view *um_safetensors_find(const struct um_safetensors *st,
                                                 const char *name)
{
    const struct um_tensor_view key = {.name = name}, *wanted = &key;
    if (st->n_tensors == 0)
        return NULL;
    const struct um_tensor_view *const *found =
        bsearch(&wanted, st->by_name, st->n_tensors, sizeof(*st->by_name), compare_names);
    return found ? *found : NULL;
}

const char *um_safetensors_metadata(const struct um_safetensors *st, const char *key)
{
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}
