/* Element types of stored tensors, and conversion to and from fp32. */
#ifndef UM_TENSOR_DTYPE_H
#define UM_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum um_dtype { UM_F32, UM_F16, UM_BF16, UM_F64, UM_I64, UM_I32, UM_I16, UM_I8, UM_U8, UM_BOOL };

enum { UM_DIMS_MAX = 8 };

const char *um_dtype_name(enum um_dtype dtype); /* as safetensors spells it: "F32", "BF16" */
bool um_dtype_from_name(enum um_dtype *dtype, const char *name);
size_t um_dtype_bytes(enum um_dtype dtype); /* of one element */
bool um_dtype_is_weight(enum um_dtype dtype); /* F32, F16 or BF16: what a parameter may be */

/* n elements of a weight type at `from` (any alignment) to fp32, exactly. */
void um_to_f32(float *to, const void *from, enum um_dtype dtype, int64_t n);
/* n fp32 numbers to a weight type, rounded to nearest even. */
void um_from_f32(void *to, const float *from, enum um_dtype dtype, int64_t n);

/* A named tensor in a mapped file: a view, nothing owned. */
struct um_tensor_view {
    const char *name;
    enum um_dtype dtype;
    int n_dims;
    int64_t dims[UM_DIMS_MAX]; /* row-major, outermost first */
    int64_t n_elements;
    unsigned char *bytes;      /* may be unaligned */
    size_t n_bytes;
};

#endif
