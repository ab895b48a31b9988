/* GGUF's types: numbers of metadata and of ggml's tensor types, and how they map to this library's.
 */
#include <string.h>

#include "format/gguf_private.h"

size_t um_gguf_type_bytes(enum um_gguf_type type)
{
    static const size_t bytes[UM_GGUF_N_TYPES] = {
        [UM_GGUF_U8] = 1,  [UM_GGUF_I8] = 1,  [UM_GGUF_U16] = 2, [UM_GGUF_I16] = 2,
        [UM_GGUF_U32] = 4, [UM_GGUF_I32] = 4, [UM_GGUF_F32] = 4, [UM_GGUF_BOOL] = 1,
        [UM_GGUF_U64] = 8, [UM_GGUF_I64] = 8, [UM_GGUF_F64] = 8,
    };
    return bytes[type];
}

uint64_t um_gguf_little_endian(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;
    while (n--)
        value = value << 8 | bytes[n];
    return value;
}

static bool is_signed(enum um_gguf_type type)
{
    return type == UM_GGUF_I8 || type == UM_GGUF_I16 || type == UM_GGUF_I32 || type == UM_GGUF_I64;
}

static double real_of_bits(enum um_gguf_type type, uint64_t bits)
{
    uint32_t half = (uint32_t)bits;
    float single;
    double value;
    memcpy(&single, &half, sizeof(single));
    memcpy(&value, &bits, sizeof(value));
    return type == UM_GGUF_F32 ? (double)single : value;
}

void um_gguf_number_at(int64_t *integer, double *real, enum um_gguf_type type,
                       const unsigned char *bytes)
{
    size_t n = um_gguf_type_bytes(type);
    uint64_t bits = um_gguf_little_endian(bytes, n);
    if (type == UM_GGUF_F32 || type == UM_GGUF_F64) {
        *real = real_of_bits(type, bits);
        *integer = *real >= -0x1p63 && *real < 0x1p63 ? (int64_t)*real : 0;
    } else if (is_signed(type)) {
        uint64_t sign = (uint64_t)1 << (8 * n - 1);
        *integer = (int64_t)((bits ^ sign) - sign);
        *real = (double)*integer;
    } else {
        *integer = (int64_t)bits;
        *real = (double)bits;
    }
}

double um_gguf_real_at(const struct um_gguf_pair *array, size_t i)
{
    int64_t integer;
    double real;
    um_gguf_number_at(&integer, &real, array->element,
                      array->bytes + i * um_gguf_type_bytes(array->element));
    return real;
}

int64_t um_gguf_integer_at(const struct um_gguf_pair *array, size_t i)
{
    int64_t integer;
    double real;
    um_gguf_number_at(&integer, &real, array->element,
                      array->bytes + i * um_gguf_type_bytes(array->element));
    return integer;
}

/* enum ggml_type of ggml.h. */
static const struct {
    enum um_dtype dtype;
    uint8_t number;
} supported[] = {
    {UM_F32, 0},  {UM_F16, 1},   {UM_Q4_0, 2},  {UM_Q4_1, 3},  {UM_Q5_0, 6},  {UM_Q5_1, 7},
    {UM_Q8_0, 8}, {UM_Q2_K, 10}, {UM_Q3_K, 11}, {UM_Q4_K, 12}, {UM_Q5_K, 13}, {UM_Q6_K, 14},
    {UM_I8, 24},  {UM_I16, 25},  {UM_I32, 26},  {UM_I64, 27},  {UM_F64, 28},  {UM_BF16, 30},
};

static const struct {
    const char *name;
    uint8_t number;
} unsupported[] = {
    {"Q8_1", 9},    {"Q8_K", 15},  {"IQ2_XXS", 16}, {"IQ2_XS", 17}, {"IQ3_XXS", 18}, {"IQ1_S", 19},
    {"IQ4_NL", 20}, {"IQ3_S", 21}, {"IQ2_S", 22},   {"IQ4_XS", 23}, {"IQ1_M", 29},   {"TQ1_0", 34},
    {"TQ2_0", 35},  {"MXFP4", 39}, {"NVFP4", 40},   {"Q1_0", 41},
};

int um_gguf_number_of(enum um_dtype dtype)
{
    for (size_t i = 0; i < UM_COUNT(supported); i++)
        if (supported[i].dtype == dtype)
            return supported[i].number;
    return -1;
}

bool um_gguf_dtype_of(enum um_dtype *dtype, uint32_t number)
{
    for (size_t i = 0; i < UM_COUNT(supported); i++) {
        if (supported[i].number == number) {
            *dtype = supported[i].dtype;
            return true;
        }
    }
    return false;
}

const char *um_gguf_unsupported(uint32_t number)
{
    for (size_t i = 0; i < UM_COUNT(unsupported); i++)
        if (unsupported[i].number == number)
            return unsupported[i].name;
    return NULL;
}
