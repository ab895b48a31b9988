/* Element types: names, sizes, conversion. 16-bit floats are converted by bits, so that every
 * value (denormals, infinities, NaN) survives and no instruction set is needed. */
#include "tensor/dtype.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [UM_F32] = {"F32", 4}, [UM_F16] = {"F16", 2}, [UM_BF16] = {"BF16", 2}, [UM_F64] = {"F64", 8},
    [UM_I64] = {"I64", 8}, [UM_I32] = {"I32", 4}, [UM_I16] = {"I16", 2},   [UM_I8] = {"I8", 1},
    [UM_U8] = {"U8", 1},   [UM_BOOL] = {"BOOL", 1},
};

const char *um_dtype_name(enum um_dtype dtype)
{
    return dtypes[dtype].name;
}

bool um_dtype_from_name(enum um_dtype *dtype, const char *name)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
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

bool um_dtype_is_weight(enum um_dtype dtype)
{
    return dtype == UM_F32 || dtype == UM_F16 || dtype == UM_BF16;
}

static float f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    if (exponent == 31)
        return f32_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) { /* zero or denormal: fraction * 2^-24 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static uint16_t f16_of_f32(float value)
{
    uint32_t bits = bits_of_f32(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
    if (magnitude >= 0x477ff000) /* rounds to 65536 or is larger: infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: denormal; adding 0.5 rounds at 2^-24 */
        uint32_t rounded = bits_of_f32(f32_of_bits(magnitude) + 0.5f) - bits_of_f32(0.5f);
        return (uint16_t)(sign | rounded);
    }
    uint32_t odd = (magnitude >> 13) & 1;
    return (uint16_t)(sign | ((magnitude + 0xfff + odd - (112u << 23)) >> 13));
}

static uint16_t bf16_of_f32(float value)
{
    uint32_t bits = bits_of_f32(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* stays NaN */
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void um_to_f32(float *to, const void *from, enum um_dtype dtype, int64_t n)
{
    assert(um_dtype_is_weight(dtype));
    const unsigned char *bytes = from;
    if (dtype == UM_F32) {
        memcpy(to, from, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, bytes + 2 * i, sizeof(h));
        to[i] = dtype == UM_BF16 ? f32_of_bits((uint32_t)h << 16) : f32_of_f16(h);
    }
}

void um_from_f32(void *to, const float *from, enum um_dtype dtype, int64_t n)
{
    assert(um_dtype_is_weight(dtype));
    unsigned char *bytes = to;
    if (dtype == UM_F32) {
        memcpy(to, from, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = dtype == UM_BF16 ? bf16_of_f32(from[i]) : f16_of_f32(from[i]);
        memcpy(bytes + 2 * i, &h, sizeof(h));
    }
}
