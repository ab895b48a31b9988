/* Writing safetensors: the header is known before the first byte, so files are streamed. */
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"

enum { LENGTH_BYTES = 8, DATA_ALIGN = 64 };

enum um_status um_safetensors_create(struct um_safetensors_writer *w, struct um_error *err)
{
    *w = (struct um_safetensors_writer){.header = json_object()};
    if (!w->header ||
        json_object_set_new(w->header, "__metadata__", json_object()) != 0) {
        um_safetensors_abandon(w);
        return um_fail_memory(err, "a safetensors header", 0);
    }
    return UM_OK;
}

/* Out of memory, or a name that is not UTF-8; begin reports it. */
static void fail_declaration(struct um_safetensors_writer *w, const char *name)
{
    if (w->status == UM_OK)
        w->status = um_fail(&w->error, UM_E_RUNTIME,
                            "no memory to declare '%s', or the name is not UTF-8", name);
}

void um_safetensors_declare_metadata(struct um_safetensors_writer *w, const char *key,
                                     const char *value)
{
    json_t *metadata = json_object_get(w->header, "__metadata__");
    if (json_object_set_new(metadata, key, json_string(value)) != 0)
        fail_declaration(w, key);
}

void um_safetensors_declare(struct um_safetensors_writer *w, const char *name,
                            enum um_dtype dtype, int n_dims, const int64_t *dims)
{
    int64_t n_bytes = (int64_t)um_dtype_bytes(dtype);
    if (json_object_get(w->header, name)) {
        if (w->status == UM_OK)
            w->status = um_fail(&w->error, UM_E_INPUT, "two tensors are named '%s'", name);
        return;
    }
    json_t *shape = json_array();
    for (int d = 0; d < n_dims; d++) {
        n_bytes *= dims[d];
        if (json_array_append_new(shape, json_integer(dims[d])) != 0)
            fail_declaration(w, name);
    }
    json_t *entry =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", um_dtype_name(dtype), "shape", shape,
                  "data_offsets", (json_int_t)w->declared_bytes,
                  (json_int_t)(w->declared_bytes + n_bytes));
    if (!entry || json_object_set_new(w->header, name, entry) != 0)
        fail_declaration(w, name);
    w->declared_bytes += n_bytes;
}

enum um_status um_safetensors_begin(struct um_safetensors_writer *w, const char *path,
                                    struct um_error *err)
{
    if (w->status != UM_OK)
        return um_fail(err, w->status, "cannot write '%s': %s", path, w->error.message);
    char *text = json_dumps(w->header, JSON_COMPACT);
    if (!text)
        return um_fail_memory(err, path, 0);
    size_t n = strlen(text), padded = (n + LENGTH_BYTES + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
    padded -= LENGTH_BYTES;
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    static const char spaces[DATA_ALIGN + 1] =
        "                                                                ";
    enum um_status status;
    UM_TRY(um_writer_open(&w->file, path, err));
    UM_TRY(um_writer_put(&w->file, length, sizeof(length), err));
    UM_TRY(um_writer_put(&w->file, text, n, err));
    UM_TRY(um_writer_put(&w->file, spaces, padded - n, err));
    w->declared_bytes += (int64_t)(LENGTH_BYTES + padded); /* the file's size to be */
out:
    free(text);
    return status;
}

enum um_status um_safetensors_put(struct um_safetensors_writer *w, const void *bytes, size_t n,
                                  struct um_error *err)
{
    return um_writer_put(&w->file, bytes, n, err);
}

enum um_status um_safetensors_commit(struct um_safetensors_writer *w, struct um_error *err)
{
    if (w->file.n_bytes != w->declared_bytes)
        return um_fail(err, UM_E_RUNTIME, "cannot write '%s': %lld bytes put, %lld declared",
                       w->file.path, (long long)w->file.n_bytes, (long long)w->declared_bytes);
    enum um_status status = um_writer_commit(&w->file, err);
    um_safetensors_abandon(w);
    return status;
}

void um_safetensors_abandon(struct um_safetensors_writer *w)
{
    um_writer_abandon(&w->file);
    json_decref(w->header);
    *w = (struct um_safetensors_writer){0};
}
