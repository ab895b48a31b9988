/*
 * safetensors: 8 bytes little-endian header length, a JSON header {name: {dtype, shape,
 * data_offsets}, "__metadata__": {text: text}}, then the tensors' bytes without holes
 * (github.com/huggingface/safetensors, README "Format").
 */
#ifndef UM_FORMAT_SAFETENSORS_H
#define UM_FORMAT_SAFETENSORS_H

#include "base/file.h"
#include "base/json.h"
#include "tensor/dtype.h"

struct um_safetensors {
    struct um_map map;
    json_t *header;                 /* owned; names and metadata borrow from it */
    struct um_tensor_view *tensors; /* owned; in the order of their bytes */
    const struct um_tensor_view **by_name; /* owned; the same, sorted for look-up */
    size_t n_tensors;
};

/* Maps and checks a file: every offset, shape and type before anything is used. UM_E_INPUT says
 * which tensor is wrong and how. Close with um_safetensors_close, also after a failure. */
enum um_status um_safetensors_open(struct um_safetensors *st, const char *path,
                                   struct um_error *err);
void um_safetensors_close(struct um_safetensors *st);
/* NULL if there is none of that name. Borrows. */
const struct um_tensor_view *um_safetensors_find(const struct um_safetensors *st,
                                                 const char *name);
/* A metadata text, or NULL. Borrows. */
const char *um_safetensors_metadata(const struct um_safetensors *st, const char *key);

/* Writing: declare metadata and tensors, begin, put the bytes of each tensor in the same order,
 * commit. What stood at the path is intact until commit. */
struct um_safetensors_writer {
    struct um_writer file;
    json_t *header;
    int64_t declared_bytes;
    enum um_status status;        /* of the declarations */
    struct um_error error;        /* and the first that failed */
};

enum um_status um_safetensors_create(struct um_safetensors_writer *w, struct um_error *err);
void um_safetensors_declare_metadata(struct um_safetensors_writer *w, const char *key,
                                     const char *value);
void um_safetensors_declare(struct um_safetensors_writer *w, const char *name,
                            enum um_dtype dtype, int n_dims, const int64_t *dims);
enum um_status um_safetensors_begin(struct um_safetensors_writer *w, const char *path,
                                    struct um_error *err);
enum um_status um_safetensors_put(struct um_safetensors_writer *w, const void *bytes, size_t n,
                                  struct um_error *err);
enum um_status um_safetensors_commit(struct um_safetensors_writer *w, struct um_error *err);
void um_safetensors_abandon(struct um_safetensors_writer *w); /* legal after commit */

#endif
