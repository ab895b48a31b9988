/*
 * GGUF, versions 2 and 3 (ggml's docs/gguf.md): "GGUF", version, number of tensors, number of
 * metadata pairs; the pairs (key, type, value); the tensors' infos (name, dimensions innermost
 * first, type, offset); padding to general.alignment (32 if not said); the tensors' bytes, each
 * aligned. All little-endian.
 */
#ifndef UM_FORMAT_GGUF_H
#define UM_FORMAT_GGUF_H

#include "base/file.h"
#include "tensor/dtype.h"

/* Types of metadata values, numbered as in the file. */
enum um_gguf_type {
    UM_GGUF_U8, UM_GGUF_I8, UM_GGUF_U16, UM_GGUF_I16, UM_GGUF_U32, UM_GGUF_I32, UM_GGUF_F32,
    UM_GGUF_BOOL, UM_GGUF_STRING, UM_GGUF_ARRAY, UM_GGUF_U64, UM_GGUF_I64, UM_GGUF_F64,
    UM_GGUF_N_TYPES
};

/* One metadata pair. Numbers are converted; strings and arrays borrow from the file. */
struct um_gguf_pair {
    const char *key;           /* NUL-terminated, owned by the um_gguf */
    enum um_gguf_type type;    /* an array's is UM_GGUF_ARRAY */
    int64_t integer;           /* of integer and bool types (a U64 from 2^63 on is negative) */
    double real;               /* of every number type */
    const char *text; /* of a string: n bytes, NOT terminated; valid UTF-8 was not checked */
    enum um_gguf_type element; /* of an array: its elements' type (no arrays of arrays) */
    size_t n;                  /* bytes of a string, elements of an array */
    const unsigned char *bytes; /* where the value stands; of an array: its first element */
    const char **strings;      /* of an array of strings: where each starts, and */
    size_t *lengths;           /* its length in bytes (both owned by the um_gguf) */
};

struct um_gguf {
    struct um_map map;
    uint32_t version;
    struct um_gguf_pair *pairs;      /* owned; in the order of the file */
    size_t n_pairs;
    struct um_tensor_view *tensors;  /* owned; in the order of the file, dims outermost first */
    size_t n_tensors;
    size_t alignment;
    struct um_arena arena;           /* keys, names, string tables */
};

/* Maps and checks a file: magic, version, counts against what the file can hold, every length,
 * duplicate keys and names, types, alignment, overlaps, bounds. UM_E_INPUT says what is wrong and
 * where. Close with um_gguf_close, also after a failure. */
enum um_status um_gguf_open(struct um_gguf *gguf, const char *path, struct um_error *err);
void um_gguf_close(struct um_gguf *gguf);

/* NULL if there is none of that name. Borrows. */
const struct um_tensor_view *um_gguf_find(const struct um_gguf *gguf, const char *name);
const struct um_gguf_pair *um_gguf_pair(const struct um_gguf *gguf, const char *key);

/* Element i (below n) of an array of numbers or bools, as a double or an integer (of a fraction,
 * its whole part; 0 if that is none). */
double um_gguf_real_at(const struct um_gguf_pair *array, size_t i);
int64_t um_gguf_integer_at(const struct um_gguf_pair *array, size_t i);

/* Writing (version 3): declare pairs and tensors, begin, put the bytes of each tensor in the same
 * order (padding is added), commit. What stood at the path is intact until commit. Declarations
 * remember the first failure, which begin reports: no memory, or what a reader would refuse. */
struct um_gguf_writer {
    struct um_writer file;
    struct um_str pairs, infos; /* serialized */
    struct um_str keys, names;  /* declared so far, each with a NUL behind it */
    size_t alignment;           /* a pair general.alignment, before any tensor, changes it */
    int64_t n_pairs, n_tensors;
    int64_t tensor_bytes;       /* declared so far, with padding */
    size_t *sizes;              /* owned: bytes of each tensor without padding */
    size_t sizes_capacity;
    int64_t n_put;              /* tensors begun */
    size_t left;                /* bytes of the current tensor still to be put */
    enum um_status status;
    struct um_error error;
};

enum um_status um_gguf_create(struct um_gguf_writer *w, struct um_error *err);
void um_gguf_declare_text(struct um_gguf_writer *w, const char *key, const char *text, size_t n);
void um_gguf_declare_u32(struct um_gguf_writer *w, const char *key, uint32_t value);
void um_gguf_declare_f32(struct um_gguf_writer *w, const char *key, float value);
void um_gguf_declare_bool(struct um_gguf_writer *w, const char *key, bool value);
void um_gguf_declare_texts(struct um_gguf_writer *w, const char *key, const char *const *texts,
                           const size_t *lengths, size_t n);
void um_gguf_declare_i32s(struct um_gguf_writer *w, const char *key, const int32_t *values,
                          size_t n);
void um_gguf_declare_f32s(struct um_gguf_writer *w, const char *key, const float *values, size_t n);
/* A pair of another file as it is. */
void um_gguf_declare_pair(struct um_gguf_writer *w, const struct um_gguf_pair *pair);
/* dims outermost first, as in a um_tensor_view. */
void um_gguf_declare(struct um_gguf_writer *w, const char *name, enum um_dtype dtype, int n_dims,
                     const int64_t *dims);
enum um_status um_gguf_begin(struct um_gguf_writer *w, const char *path, struct um_error *err);
enum um_status um_gguf_put(struct um_gguf_writer *w, const void *bytes, size_t n,
                           struct um_error *err);
enum um_status um_gguf_commit(struct um_gguf_writer *w, struct um_error *err);
void um_gguf_abandon(struct um_gguf_writer *w); /* legal after commit */

#endif
