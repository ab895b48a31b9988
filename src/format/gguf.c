/* Reading GGUF: every byte of the file is untrusted. */
#include "format/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/sorted.h"
#include "format/gguf_private.h"

enum {
    LENGTH_BYTES = 8,
    PAIR_BYTES_MIN = 14, /* length and one byte of a key, type, one byte */
    INFO_BYTES_MIN =
        33, /* length and one byte of a name, number of dimensions, one, type, offset */
};

/* The file as it is read from front to back. */
struct reader {
    struct um_gguf *gguf;
    const char *path;
    size_t at, n;      /* bytes read, and in all */
    uint64_t *offsets; /* of the tensors in the data, as the infos say; owned */
    struct um_error *err;
};

/* ---- numbers and texts */

static enum um_status take(const unsigned char **bytes, struct reader *r, size_t n)
{
    if (n > r->n - r->at)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': the file ends at byte %zu, in the middle of its header "
                       "(truncated?)",
                       r->path, r->n);
    *bytes = r->gguf->map.bytes + r->at;
    r->at += n;
    return UM_OK;
}

static enum um_status take_u32(uint32_t *value, struct reader *r)
{
    const unsigned char *bytes = NULL;
    UM_RETURN_IF(take(&bytes, r, sizeof(*value)));
    *value = (uint32_t)um_gguf_little_endian(bytes, sizeof(*value));
    return UM_OK;
}

static enum um_status take_u64(uint64_t *value, struct reader *r)
{
    const unsigned char *bytes = NULL;
    UM_RETURN_IF(take(&bytes, r, sizeof(*value)));
    *value = um_gguf_little_endian(bytes, sizeof(*value));
    return UM_OK;
}

static enum um_status take_text(const char **text, size_t *n, struct reader *r)
{
    uint64_t length = 0;
    UM_RETURN_IF(take_u64(&length, r));
    if (length > r->n - r->at)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': a text of %llu bytes at byte %zu of a file of %zu "
                       "(truncated?)",
                       r->path, (unsigned long long)length, r->at, r->n);
    *text = (const char *)r->gguf->map.bytes + r->at;
    *n = (size_t)length;
    r->at += *n;
    return UM_OK;
}

/* A key or a tensor's name, copied. `what` is which of the two, for the message. */
static enum um_status take_name(const char **name, struct reader *r, const char *what, size_t index)
{
    const char *text = NULL;
    size_t n = 0;
    UM_RETURN_IF(take_text(&text, &n, r));
    if (n == 0 || n > UM_GGUF_NAME_MAX || memchr(text, '\0', n) || um_utf8_valid(text, n) != n)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': the %s number %zu (%zu bytes) is not 1 to %d bytes of "
                       "UTF-8 text",
                       r->path, what, index, n, UM_GGUF_NAME_MAX);
    *name = um_arena_strndup(&r->gguf->arena, text, n);
    return *name ? UM_OK : um_fail_memory(r->err, r->path, n);
}

/* No two of these names are equal. Sorts them. */
static enum um_status check_unique(const char **names, size_t n, const struct reader *r,
                                   const char *what)
{
    qsort(names, n, sizeof(*names), um_compare_texts);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return um_fail(r->err, UM_E_INPUT, "cannot load '%s': two %ss are '%s'", r->path, what,
                           names[i]);
    return UM_OK;
}

/* ---- metadata */

static enum um_status check_bools(const struct reader *r, const struct um_gguf_pair *pair, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (pair->bytes[i] > 1)
            return um_fail(r->err, UM_E_INPUT,
                           "cannot load '%s': metadata '%s' has a bool that is %d (expected 0 or "
                           "1)",
                           r->path, pair->key, pair->bytes[i]);
    return UM_OK;
}

static enum um_status take_type(enum um_gguf_type *type, struct reader *r, const char *key)
{
    uint32_t number = 0;
    UM_RETURN_IF(take_u32(&number, r));
    if (number >= UM_GGUF_N_TYPES)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': metadata '%s' has type %u, known are 0 to %d", r->path,
                       key, number, UM_GGUF_N_TYPES - 1);
    *type = (enum um_gguf_type)number;
    return UM_OK;
}

static enum um_status read_texts(struct um_gguf_pair *pair, struct reader *r)
{
    pair->strings = UM_ARENA_NEW(&r->gguf->arena, pair->n, const char *);
    pair->lengths = UM_ARENA_NEW(&r->gguf->arena, pair->n, size_t);
    if (!pair->strings || !pair->lengths)
        return um_fail_memory(r->err, pair->key, pair->n * sizeof(*pair->strings));
    for (size_t i = 0; i < pair->n; i++)
        UM_RETURN_IF(take_text(&pair->strings[i], &pair->lengths[i], r));
    return UM_OK;
}

static enum um_status read_array(struct um_gguf_pair *pair, struct reader *r)
{
    uint64_t n = 0;
    UM_RETURN_IF(take_type(&pair->element, r, pair->key));
    if (pair->element == UM_GGUF_ARRAY)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': metadata '%s' is an array of arrays, which is not "
                       "supported",
                       r->path, pair->key);
    UM_RETURN_IF(take_u64(&n, r));
    bool is_text = pair->element == UM_GGUF_STRING;
    size_t bytes = is_text ? LENGTH_BYTES : um_gguf_type_bytes(pair->element);
    if (n > (r->n - r->at) / bytes)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': metadata '%s' is an array of %llu elements at byte %zu "
                       "of a file of %zu (truncated?)",
                       r->path, pair->key, (unsigned long long)n, r->at, r->n);
    pair->n = (size_t)n;
    if (is_text) {
        pair->bytes = r->gguf->map.bytes + r->at;
        return read_texts(pair, r);
    }
    UM_RETURN_IF(take(&pair->bytes, r, pair->n * bytes));
    return pair->element == UM_GGUF_BOOL ? check_bools(r, pair, pair->n) : UM_OK;
}

static enum um_status read_pair(struct um_gguf_pair *pair, struct reader *r, size_t index)
{
    UM_RETURN_IF(take_name(&pair->key, r, "metadata key", index));
    UM_RETURN_IF(take_type(&pair->type, r, pair->key));
    if (pair->type == UM_GGUF_ARRAY)
        return read_array(pair, r);
    if (pair->type == UM_GGUF_STRING) {
        pair->bytes = r->gguf->map.bytes + r->at;
        return take_text(&pair->text, &pair->n, r);
    }
    UM_RETURN_IF(take(&pair->bytes, r, um_gguf_type_bytes(pair->type)));
    um_gguf_number_at(&pair->integer, &pair->real, pair->type, pair->bytes);
    return pair->type == UM_GGUF_BOOL ? check_bools(r, pair, 1) : UM_OK;
}

static enum um_status read_alignment(struct reader *r)
{
    const struct um_gguf_pair *pair = um_gguf_pair(r->gguf, UM_GGUF_ALIGNMENT_KEY);
    r->gguf->alignment = UM_GGUF_ALIGNMENT;
    if (!pair)
        return UM_OK;
    if (pair->type != UM_GGUF_U32 || !um_gguf_is_alignment((uint64_t)pair->integer))
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': metadata '%s' is %lld (type %d), expected a power of two "
                       "(type %d)",
                       r->path, pair->key, (long long)pair->integer, (int)pair->type, UM_GGUF_U32);
    r->gguf->alignment = (size_t)pair->integer;
    return UM_OK;
}

static enum um_status read_pairs(struct reader *r, size_t n)
{
    struct um_gguf *gguf = r->gguf;
    enum um_status status = UM_OK;
    const char **keys = UM_NEW(n, const char *);
    gguf->pairs = UM_NEW(n, struct um_gguf_pair);
    if (!keys || !gguf->pairs)
        UM_TRY(um_fail_memory(r->err, r->path, n * sizeof(*gguf->pairs)));
    for (; gguf->n_pairs < n; gguf->n_pairs++) {
        UM_TRY(read_pair(&gguf->pairs[gguf->n_pairs], r, gguf->n_pairs));
        keys[gguf->n_pairs] = gguf->pairs[gguf->n_pairs].key;
    }
    UM_TRY(check_unique(keys, n, r, "metadata key"));
    UM_TRY(read_alignment(r));
out:
    um_free(keys);
    return status;
}

/* ---- tensors */

static enum um_status fail_type(const struct reader *r, const char *name, uint32_t number)
{
    struct um_str known = {0};
    for (int t = 0; t < UM_N_DTYPES; t++)
        if (um_gguf_number_of((enum um_dtype)t) >= 0)
            um_str_add_item(&known, um_dtype_name((enum um_dtype)t));
    const char *unsupported = um_gguf_unsupported(number);
    (void)um_fail(r->err, UM_E_INPUT,
                  "cannot load '%s': tensor '%s' has ggml type %u (%s), which is not supported; "
                  "supported are %s",
                  r->path, name, number, unsupported ? unsupported : "unknown",
                  known.failed ? "others" : known.text);
    um_error_hint(r->err, "take the model in another quantisation, such as Q4_K or Q8_0");
    um_str_free(&known);
    return UM_E_INPUT;
}

/* Dimensions stand innermost first in the file; those of the view are outermost first. */
static enum um_status read_shape(struct um_tensor_view *t, struct reader *r)
{
    uint32_t n_dims = 0;
    UM_RETURN_IF(take_u32(&n_dims, r));
    if (n_dims < 1 || n_dims > UM_GGUF_DIMS_MAX)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' has %u dimensions, expected 1 to %d", r->path,
                       t->name, n_dims, UM_GGUF_DIMS_MAX);
    t->n_dims = (int)n_dims;
    t->n_elements = 1;
    for (int d = t->n_dims - 1; d >= 0; d--) {
        uint64_t n = 0;
        UM_RETURN_IF(take_u64(&n, r));
        if (n == 0 || n > (uint64_t)(INT64_MAX / 8 / t->n_elements))
            return um_fail(r->err, UM_E_INPUT,
                           "cannot load '%s': tensor '%s' has an absurd shape (dimension %d is "
                           "%llu)",
                           r->path, t->name, d, (unsigned long long)n);
        t->dims[d] = (int64_t)n;
        t->n_elements *= t->dims[d];
    }
    return UM_OK;
}

static enum um_status read_info(struct um_tensor_view *t, uint64_t *offset, struct reader *r,
                                size_t index)
{
    uint32_t number = 0;
    UM_RETURN_IF(take_name(&t->name, r, "tensor name", index));
    UM_RETURN_IF(read_shape(t, r));
    UM_RETURN_IF(take_u32(&number, r));
    UM_RETURN_IF(take_u64(offset, r));
    if (!um_gguf_dtype_of(&t->dtype, number))
        return fail_type(r, t->name, number);
    int64_t row = t->dims[t->n_dims - 1], block = um_dtype_block(t->dtype);
    if (row % block != 0)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' is %s with rows of %lld elements, expected a "
                       "multiple of %lld",
                       r->path, t->name, um_dtype_name(t->dtype), (long long)row, (long long)block);
    t->n_bytes = um_dtype_size(t->dtype, t->n_elements);
    return UM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct um_tensor_view *const *x = a, *const *y = b;
    if ((*x)->bytes != (*y)->bytes)
        return (*x)->bytes < (*y)->bytes ? -1 : 1;
    return 0;
}

/* No byte belongs to two tensors. (Holes are allowed.) */
static enum um_status check_overlaps(const struct reader *r)
{
    const struct um_gguf *gguf = r->gguf;
    enum um_status status = UM_OK;
    const struct um_tensor_view **sorted = UM_NEW(gguf->n_tensors, const struct um_tensor_view *);
    if (!sorted)
        return um_fail_memory(r->err, r->path, gguf->n_tensors * sizeof(*sorted));
    for (size_t i = 0; i < gguf->n_tensors; i++)
        sorted[i] = &gguf->tensors[i];
    qsort(sorted, gguf->n_tensors, sizeof(*sorted), compare_places);
    for (size_t i = 1; i < gguf->n_tensors && status == UM_OK; i++)
        if (sorted[i]->bytes < sorted[i - 1]->bytes + sorted[i - 1]->n_bytes)
            status = um_fail(r->err, UM_E_INPUT, "cannot load '%s': tensors '%s' and '%s' overlap",
                             r->path, sorted[i - 1]->name, sorted[i]->name);
    um_free(sorted);
    return status;
}

/* Infos to views: the data starts at the next multiple of the alignment. */
static enum um_status place_tensors(const struct reader *r)
{
    const struct um_gguf *gguf = r->gguf;
    size_t padding = um_gguf_padding(r->at, gguf->alignment), left = r->n - r->at;
    size_t n_data = left > padding ? left - padding : 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct um_tensor_view *t = &gguf->tensors[i];
        uint64_t offset = r->offsets[i];
        if (offset % gguf->alignment != 0)
            return um_fail(r->err, UM_E_INPUT,
                           "cannot load '%s': tensor '%s' is at byte %llu, which is no multiple of "
                           "the alignment %zu",
                           r->path, t->name, (unsigned long long)offset, gguf->alignment);
        if (offset > n_data || t->n_bytes > n_data - offset)
            return um_fail(r->err, UM_E_INPUT,
                           "cannot load '%s': tensor '%s' has %zu bytes from byte %llu on, the "
                           "file has %zu bytes of tensors (truncated?)",
                           r->path, t->name, t->n_bytes, (unsigned long long)offset, n_data);
        t->bytes = gguf->map.bytes + r->at + padding + offset;
    }
    return check_overlaps(r);
}

static enum um_status read_tensors(struct reader *r, size_t n)
{
    struct um_gguf *gguf = r->gguf;
    enum um_status status = UM_OK;
    const char **names = UM_NEW(n, const char *);
    gguf->tensors = UM_NEW(n, struct um_tensor_view);
    r->offsets = UM_NEW(n, uint64_t);
    if (!names || !gguf->tensors || !r->offsets)
        UM_TRY(um_fail_memory(r->err, r->path, n * sizeof(*gguf->tensors)));
    for (; gguf->n_tensors < n; gguf->n_tensors++) {
        size_t i = gguf->n_tensors;
        UM_TRY(read_info(&gguf->tensors[i], &r->offsets[i], r, i));
        names[i] = gguf->tensors[i].name;
    }
    UM_TRY(check_unique(names, n, r, "tensor name"));
    UM_TRY(place_tensors(r));
out:
    um_free(names);
    um_free(r->offsets);
    return status;
}

/* ---- the file */

static enum um_status check_version(const struct reader *r)
{
    uint32_t version = r->gguf->version;
    if (version == 2 || version == UM_GGUF_VERSION)
        return UM_OK;
    bool is_big_endian = version != 0 && (version & 0xffff) == 0;
    if (is_big_endian)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': a big-endian GGUF file, expected a little-endian one",
                       r->path);
    return um_fail(r->err, UM_E_INPUT, "cannot load '%s': GGUF version %u, expected 2 or %d",
                   r->path, version, UM_GGUF_VERSION);
}

/* One part of several holds some of the tensors only. */
static enum um_status check_whole(const struct reader *r)
{
    const struct um_gguf_pair *count = um_gguf_pair(r->gguf, "split.count");
    const struct um_gguf_pair *part = um_gguf_pair(r->gguf, "split.no");
    if (!count || count->integer <= 1)
        return UM_OK;
    um_fail(r->err, UM_E_INPUT,
            "cannot load '%s': it is part %lld of a GGUF file that is split into "
            "%lld",
            r->path, part ? (long long)part->integer + 1 : 1LL, (long long)count->integer);
    um_error_hint(r->err, "llama.cpp's `llama-gguf-split --merge` joins the parts");
    return UM_E_INPUT;
}

static enum um_status read_file(struct reader *r)
{
    uint64_t n_tensors = 0, n_pairs = 0;
    const unsigned char *magic = NULL;
    if (r->n < UM_GGUF_HEADER_BYTES)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': %zu bytes are too few for a GGUF file", r->path, r->n);
    UM_RETURN_IF(take(&magic, r, strlen(UM_GGUF_MAGIC)));
    if (memcmp(magic, UM_GGUF_MAGIC, strlen(UM_GGUF_MAGIC)) != 0)
        return um_fail(r->err, UM_E_INPUT, "cannot load '%s': not a GGUF file", r->path);
    UM_RETURN_IF(take_u32(&r->gguf->version, r));
    UM_RETURN_IF(check_version(r));
    UM_RETURN_IF(take_u64(&n_tensors, r));
    UM_RETURN_IF(take_u64(&n_pairs, r));
    size_t left = r->n - r->at;
    if (n_pairs > left / PAIR_BYTES_MIN || n_tensors > left / INFO_BYTES_MIN)
        return um_fail(r->err, UM_E_INPUT,
                       "cannot load '%s': %llu metadata pairs and %llu tensors in a file of %zu "
                       "bytes (truncated?)",
                       r->path, (unsigned long long)n_pairs, (unsigned long long)n_tensors, r->n);
    UM_RETURN_IF(read_pairs(r, (size_t)n_pairs));
    UM_RETURN_IF(check_whole(r));
    return read_tensors(r, (size_t)n_tensors);
}

enum um_status um_gguf_open(struct um_gguf *gguf, const char *path, struct um_error *err)
{
    *gguf = (struct um_gguf){0};
    UM_RETURN_IF(um_map_open(&gguf->map, path, err));
    struct reader r = {.gguf = gguf, .path = path, .n = gguf->map.n_bytes, .err = err};
    enum um_status status = read_file(&r);
    if (status != UM_OK)
        um_gguf_close(gguf);
    return status;
}

void um_gguf_close(struct um_gguf *gguf)
{
    um_map_close(&gguf->map);
    um_free(gguf->pairs);
    um_free(gguf->tensors);
    um_arena_free(&gguf->arena);
    *gguf = (struct um_gguf){0};
}

const struct um_tensor_view *um_gguf_find(const struct um_gguf *gguf, const char *name)
{
    for (size_t i = 0; i < gguf->n_tensors; i++)
        if (strcmp(gguf->tensors[i].name, name) == 0)
            return &gguf->tensors[i];
    return NULL;
}

const struct um_gguf_pair *um_gguf_pair(const struct um_gguf *gguf, const char *key)
{
    for (size_t i = 0; i < gguf->n_pairs; i++)
        if (strcmp(gguf->pairs[i].key, key) == 0)
            return &gguf->pairs[i];
    return NULL;
}
