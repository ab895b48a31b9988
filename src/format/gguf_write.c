/* Writing GGUF: all infos are known before the first tensor's bytes, so files are streamed. What
 * the reader would refuse is refused when it is declared. */
#include <string.h>

#include "format/gguf_private.h"

enum um_status um_gguf_create(struct um_gguf_writer *w, struct um_error *err)
{
    *w = (struct um_gguf_writer){.alignment = UM_GGUF_ALIGNMENT};
    (void)err; /* nothing is allocated yet */
    return UM_OK;
}

static void add_number(struct um_str *to, uint64_t value, size_t n_bytes)
{
    unsigned char bytes[sizeof(value)];
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    um_str_add_n(to, (const char *)bytes, n_bytes);
}

static void add_u32(struct um_str *to, uint32_t value)
{
    add_number(to, value, sizeof(value));
}

static void add_u64(struct um_str *to, uint64_t value)
{
    add_number(to, value, sizeof(value));
}

static void add_text(struct um_str *to, const char *text, size_t n)
{
    add_u64(to, n);
    um_str_add_n(to, text, n);
}

/* Keeps the first failure. */
static void fail_declaration(struct um_gguf_writer *w, const char *name, const char *why)
{
    if (w->status == UM_OK)
        w->status = um_fail(&w->error, UM_E_INPUT, "'%s' %s", name, why);
}

/* Adds a name to the list of those declared, unless it may not be there. */
static bool add_name(struct um_gguf_writer *w, struct um_str *list, const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > UM_GGUF_NAME_MAX || um_utf8_valid(name, n) != n) {
        fail_declaration(w, name, "is not a name: it is empty, too long or not UTF-8");
        return false;
    }
    for (size_t at = 0; at < list->length; at += strlen(list->text + at) + 1) {
        if (strcmp(list->text + at, name) == 0) {
            fail_declaration(w, name, "is declared twice");
            return false;
        }
    }
    um_str_add_n(list, name, n + 1);
    return true;
}

/* Starts a pair; its value must follow. False if it is refused. */
static bool add_key(struct um_gguf_writer *w, const char *key, enum um_gguf_type type)
{
    if (type != UM_GGUF_U32 && strcmp(key, UM_GGUF_ALIGNMENT_KEY) == 0) {
        fail_declaration(w, key, "is not a 32-bit number");
        return false;
    }
    if (!add_name(w, &w->keys, key))
        return false;
    add_text(&w->pairs, key, strlen(key));
    add_u32(&w->pairs, type);
    w->n_pairs++;
    return true;
}

static void note_alignment(struct um_gguf_writer *w, const char *key, uint32_t value)
{
    if (strcmp(key, UM_GGUF_ALIGNMENT_KEY) != 0)
        return;
    if (w->n_tensors || !um_gguf_is_alignment(value))
        fail_declaration(w, key, "is no power of two, or declared after a tensor");
    else
        w->alignment = value;
}

void um_gguf_declare_text(struct um_gguf_writer *w, const char *key, const char *text, size_t n)
{
    if (add_key(w, key, UM_GGUF_STRING))
        add_text(&w->pairs, text, n);
}

void um_gguf_declare_u32(struct um_gguf_writer *w, const char *key, uint32_t value)
{
    note_alignment(w, key, value);
    if (add_key(w, key, UM_GGUF_U32))
        add_u32(&w->pairs, value);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void um_gguf_declare_f32(struct um_gguf_writer *w, const char *key, float value)
{
    if (add_key(w, key, UM_GGUF_F32))
        add_u32(&w->pairs, bits_of(value));
}

void um_gguf_declare_bool(struct um_gguf_writer *w, const char *key, bool value)
{
    if (add_key(w, key, UM_GGUF_BOOL))
        add_number(&w->pairs, value, 1);
}

/* Starts an array; its n elements must follow. */
static bool add_array(struct um_gguf_writer *w, const char *key, enum um_gguf_type element,
                      size_t n)
{
    if (!add_key(w, key, UM_GGUF_ARRAY))
        return false;
    add_u32(&w->pairs, element);
    add_u64(&w->pairs, n);
    return true;
}

void um_gguf_declare_texts(struct um_gguf_writer *w, const char *key, const char *const *texts,
                           const size_t *lengths, size_t n)
{
    bool is_added = add_array(w, key, UM_GGUF_STRING, n);
    for (size_t i = 0; is_added && i < n; i++)
        add_text(&w->pairs, texts[i], lengths[i]);
}

void um_gguf_declare_i32s(struct um_gguf_writer *w, const char *key, const int32_t *values,
                          size_t n)
{
    bool is_added = add_array(w, key, UM_GGUF_I32, n);
    for (size_t i = 0; is_added && i < n; i++)
        add_u32(&w->pairs, (uint32_t)values[i]);
}

void um_gguf_declare_f32s(struct um_gguf_writer *w, const char *key, const float *values, size_t n)
{
    bool is_added = add_array(w, key, UM_GGUF_F32, n);
    for (size_t i = 0; is_added && i < n; i++)
        add_u32(&w->pairs, bits_of(values[i]));
}

void um_gguf_declare_pair(struct um_gguf_writer *w, const struct um_gguf_pair *pair)
{
    const char *bytes = (const char *)pair->bytes;
    if (pair->type == UM_GGUF_STRING)
        um_gguf_declare_text(w, pair->key, pair->text, pair->n);
    else if (pair->type == UM_GGUF_U32)
        um_gguf_declare_u32(w, pair->key, (uint32_t)pair->integer);
    else if (pair->type == UM_GGUF_ARRAY && pair->element == UM_GGUF_STRING)
        um_gguf_declare_texts(w, pair->key, pair->strings, pair->lengths, pair->n);
    else if (pair->type == UM_GGUF_ARRAY && add_array(w, pair->key, pair->element, pair->n))
        um_str_add_n(&w->pairs, bytes, pair->n * um_gguf_type_bytes(pair->element));
    else if (pair->type != UM_GGUF_ARRAY && add_key(w, pair->key, pair->type))
        um_str_add_n(&w->pairs, bytes, um_gguf_type_bytes(pair->type));
}

/* Elements of a tensor that a reader would take, 0 of another. */
static int64_t count_elements(enum um_dtype dtype, int n_dims, const int64_t *dims)
{
    int64_t n = 1;
    if (um_gguf_number_of(dtype) < 0 || n_dims < 1 || n_dims > UM_GGUF_DIMS_MAX)
        return 0;
    for (int d = 0; d < n_dims; d++) {
        if (dims[d] <= 0 || dims[d] > INT64_MAX / 8 / n)
            return 0;
        n *= dims[d];
    }
    return dims[n_dims - 1] % um_dtype_block(dtype) == 0 ? n : 0;
}

void um_gguf_declare(struct um_gguf_writer *w, const char *name, enum um_dtype dtype, int n_dims,
                     const int64_t *dims)
{
    int64_t n = count_elements(dtype, n_dims, dims);
    if (n == 0) {
        fail_declaration(w, name, "has a shape or a type that GGUF cannot hold");
        return;
    }
    size_t bytes = um_dtype_size(dtype, n), padded = bytes + um_gguf_padding(bytes, w->alignment);
    if (padded > (size_t)(INT64_MAX - w->tensor_bytes)) {
        fail_declaration(w, name, "makes the file too large");
        return;
    }
    if (!add_name(w, &w->names, name))
        return;
    if (!um_grow(&w->sizes, &w->sizes_capacity, (size_t)w->n_tensors + 1, sizeof(*w->sizes))) {
        w->names.failed = true;
        return;
    }
    add_text(&w->infos, name, strlen(name));
    add_u32(&w->infos, (uint32_t)n_dims);
    for (int d = n_dims - 1; d >= 0; d--)
        add_u64(&w->infos, (uint64_t)dims[d]);
    add_u32(&w->infos, (uint32_t)um_gguf_number_of(dtype));
    add_u64(&w->infos, (uint64_t)w->tensor_bytes);
    w->sizes[w->n_tensors++] = bytes;
    w->tensor_bytes += (int64_t)padded;
}

static enum um_status put_padding(struct um_gguf_writer *w, struct um_error *err)
{
    static const unsigned char zeros[4096];
    size_t n = um_gguf_padding((uint64_t)w->file.n_bytes, w->alignment);
    while (n) {
        size_t part = n < sizeof(zeros) ? n : sizeof(zeros);
        UM_RETURN_IF(um_writer_put(&w->file, zeros, part, err));
        n -= part;
    }
    return UM_OK;
}

enum um_status um_gguf_begin(struct um_gguf_writer *w, const char *path, struct um_error *err)
{
    struct um_str header = {0};
    enum um_status status = UM_OK;
    if (w->status != UM_OK)
        return um_fail(err, w->status, "cannot write '%s': %s", path, w->error.message);
    um_str_add(&header, UM_GGUF_MAGIC);
    add_u32(&header, UM_GGUF_VERSION);
    add_u64(&header, (uint64_t)w->n_tensors);
    add_u64(&header, (uint64_t)w->n_pairs);
    if (header.failed || w->pairs.failed || w->infos.failed || w->keys.failed || w->names.failed)
        UM_TRY(um_fail_memory(err, path, w->pairs.length + w->infos.length));
    UM_TRY(um_writer_open(&w->file, path, err));
    UM_TRY(um_writer_put(&w->file, header.text, header.length, err));
    UM_TRY(um_writer_put(&w->file, w->pairs.text, w->pairs.length, err));
    UM_TRY(um_writer_put(&w->file, w->infos.text, w->infos.length, err));
    UM_TRY(put_padding(w, err));
out:
    um_str_free(&header);
    return status;
}

enum um_status um_gguf_put(struct um_gguf_writer *w, const void *bytes, size_t n,
                           struct um_error *err)
{
    if (n == 0)
        return UM_OK;
    if (w->left == 0 && w->n_put < w->n_tensors)
        w->left = w->sizes[w->n_put++];
    if (n > w->left)
        return um_fail(err, UM_E_RUNTIME,
                       "cannot write '%s': %zu bytes put where tensor number %lld of %lld has room "
                       "for %zu",
                       w->file.path, n, (long long)w->n_put, (long long)w->n_tensors, w->left);
    UM_RETURN_IF(um_writer_put(&w->file, bytes, n, err));
    w->left -= n;
    return w->left == 0 ? put_padding(w, err) : UM_OK;
}

enum um_status um_gguf_commit(struct um_gguf_writer *w, struct um_error *err)
{
    if (w->n_put != w->n_tensors || w->left)
        return um_fail(err, UM_E_RUNTIME,
                       "cannot write '%s': the bytes of %lld tensors were put, %lld are declared",
                       w->file.path, (long long)(w->left ? w->n_put - 1 : w->n_put),
                       (long long)w->n_tensors);
    enum um_status status = um_writer_commit(&w->file, err);
    um_gguf_abandon(w);
    return status;
}

void um_gguf_abandon(struct um_gguf_writer *w)
{
    um_writer_abandon(&w->file);
    um_str_free(&w->pairs);
    um_str_free(&w->infos);
    um_str_free(&w->keys);
    um_str_free(&w->names);
    um_free(w->sizes);
    *w = (struct um_gguf_writer){0};
}
