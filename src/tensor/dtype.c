/* Element types: names, sizes, conversion. Expanding to fp32 is a kernel (kernels_expand.c). */
#include "tensor/dtype.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tensor/half_private.h"
#include "tensor/kernels.h"
#include "tensor/quant.h"

static const struct {
    const char *name;
    size_t bytes;  /* of a block */
    int64_t block; /* its elements */
} dtypes[UM_N_DTYPES] = {
    [UM_F32] = {"F32", 4, 1},
    [UM_F16] = {"F16", 2, 1},
    [UM_BF16] = {"BF16", 2, 1},
    [UM_F64] = {"F64", 8, 1},
    [UM_I64] = {"I64", 8, 1},
    [UM_I32] = {"I32", 4, 1},
    [UM_I16] = {"I16", 2, 1},
    [UM_I8] = {"I8", 1, 1},
    [UM_U8] = {"U8", 1, 1},
    [UM_BOOL] = {"BOOL", 1, 1},
    [UM_Q4_0] = {"Q4_0", sizeof(struct um_q4_0), UM_QUANT_BLOCK},
    [UM_Q4_1] = {"Q4_1", sizeof(struct um_q4_1), UM_QUANT_BLOCK},
    [UM_Q5_0] = {"Q5_0", sizeof(struct um_q5_0), UM_QUANT_BLOCK},
    [UM_Q5_1] = {"Q5_1", sizeof(struct um_q5_1), UM_QUANT_BLOCK},
    [UM_Q8_0] = {"Q8_0", sizeof(struct um_q8_0), UM_QUANT_BLOCK},
    [UM_Q2_K] = {"Q2_K", sizeof(struct um_q2_k), UM_QUANT_SUPERBLOCK},
    [UM_Q3_K] = {"Q3_K", sizeof(struct um_q3_k), UM_QUANT_SUPERBLOCK},
    [UM_Q4_K] = {"Q4_K", sizeof(struct um_q4_k), UM_QUANT_SUPERBLOCK},
    [UM_Q5_K] = {"Q5_K", sizeof(struct um_q5_k), UM_QUANT_SUPERBLOCK},
    [UM_Q6_K] = {"Q6_K", sizeof(struct um_q6_k), UM_QUANT_SUPERBLOCK},
};

const char *um_dtype_name(enum um_dtype dtype)
{
    return dtypes[dtype].name;
}

bool um_dtype_from_name(enum um_dtype *dtype, const char *name)
{
    for (size_t i = 0; i <= UM_BOOL; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = (enum um_dtype)i;
            return true;
        }
    }
    return false;
}

size_t um_dtype_bytes(enum um_dtype dtype)
{
    return dtypes[dtype].bytes;
}

int64_t um_dtype_block(enum um_dtype dtype)
{
    return dtypes[dtype].block;
}

size_t um_dtype_size(enum um_dtype dtype, int64_t n)
{
    assert(n % dtypes[dtype].block == 0);
    return (size_t)(n / dtypes[dtype].block) * dtypes[dtype].bytes;
}

bool um_dtype_is_quantised(enum um_dtype dtype)
{
    return dtypes[dtype].block > 1;
}

bool um_dtype_is_weight(enum um_dtype dtype)
{
    return dtype == UM_F32 || dtype == UM_F16 || dtype == UM_BF16 || um_dtype_is_quantised(dtype);
}

void um_to_f32(float *to, const void *from, enum um_dtype dtype, int64_t n)
{
    assert(um_dtype_is_weight(dtype) && n % dtypes[dtype].block == 0);
    um_kernels()->expand[dtype](to, from, n);
}

float um_to_f32_at(const void *from, enum um_dtype dtype, int64_t index)
{
    float values[UM_QUANT_SUPERBLOCK];
    int64_t block = dtypes[dtype].block;
    um_to_f32(values, (const unsigned char *)from + um_dtype_size(dtype, index - index % block),
              dtype, block);
    return values[index % block];
}

void um_from_f32(void *to, const float *from, enum um_dtype dtype, int64_t n)
{
    unsigned char *bytes = to;
    if (dtype == UM_F32) {
        memcpy(to, from, (size_t)n * sizeof(float));
        return;
    }
    if (dtype == UM_Q8_0) {
        um_quantise_q8_0(to, from, n);
        return;
    }
    if (dtype == UM_BF16) {
        um_kernels()->round_bf16(to, from, n);
        return;
    }
    assert(dtype == UM_F16);
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = um_f16_of_f32(from[i]);
        memcpy(bytes + 2 * i, &h, sizeof(h));
    }
}

const char *um_shape_text(char text[UM_SHAPE_TEXT], const int64_t *dims, int n_dims)
{
    int n = snprintf(text, UM_SHAPE_TEXT, "[");
    for (int d = 0; d < n_dims; d++)
        n += snprintf(text + n, UM_SHAPE_TEXT - (size_t)n, "%s%lld", d ? ", " : "",
                      (long long)dims[d]);
    (void)snprintf(text + n, UM_SHAPE_TEXT - (size_t)n, "]");
    return text;
}
