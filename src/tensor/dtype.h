/* Element types of stored tensors, and conversion to and from fp32. */
#ifndef UM_TENSOR_DTYPE_H
#define UM_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Up to UM_BOOL the types of safetensors, then ggml's quantised ones (tensor/quant.h). */
enum um_dtype {
    UM_F32, UM_F16, UM_BF16, UM_F64, UM_I64, UM_I32, UM_I16, UM_I8, UM_U8, UM_BOOL,
    UM_Q4_0, UM_Q4_1, UM_Q5_0, UM_Q5_1, UM_Q8_0, UM_Q2_K, UM_Q3_K, UM_Q4_K, UM_Q5_K, UM_Q6_K,
    UM_N_DTYPES
};

enum { UM_DIMS_MAX = 8, UM_SHAPE_TEXT = UM_DIMS_MAX * 22 + 3 };

const char *um_dtype_name(enum um_dtype dtype); /* "F32", "BF16", "Q4_K" */
/* Of the types that safetensors has. */
bool um_dtype_from_name(enum um_dtype *dtype, const char *name);
size_t um_dtype_bytes(enum um_dtype dtype);  /* of one element; of a quantised type, of a block */
int64_t
um_dtype_block(enum um_dtype dtype); /* elements of a block: 32 or 256; 1 if not quantised */
/* Bytes of n elements; n is a multiple of the block. */
size_t um_dtype_size(enum um_dtype dtype, int64_t n);
bool um_dtype_is_quantised(enum um_dtype dtype);
/* F32, F16, BF16 or quantised: what a parameter may be. */
bool um_dtype_is_weight(enum um_dtype dtype);

/* n elements of a weight type at `from` (any alignment) to fp32, exactly. Of a quantised type,
 * `from` is the start of a block and n a multiple of its elements. */
void um_to_f32(float *to, const void *from, enum um_dtype dtype, int64_t n);
/* Element `index` of the tensor of a weight type that starts at `from`; expands its block. */
float um_to_f32_at(const void *from, enum um_dtype dtype, int64_t index);
/* n fp32 numbers to F32, F16 or BF16, rounded to nearest even, or to Q8_0 (n a multiple of 32). */
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

/* "[11008, 4096]"; returns `text`. */
const char *um_shape_text(char text[UM_SHAPE_TEXT], const int64_t *dims, int n_dims);

#endif
