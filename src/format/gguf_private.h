/* What the GGUF reader and writer share: the numbers of the file format. */
#ifndef UM_FORMAT_GGUF_PRIVATE_H
#define UM_FORMAT_GGUF_PRIVATE_H

#include "format/gguf.h"

enum {
    UM_GGUF_VERSION = 3, /* what is written; 2 is the same */
    UM_GGUF_HEADER_BYTES = 24,
    UM_GGUF_DIMS_MAX = 4,
    UM_GGUF_NAME_MAX = 65535, /* bytes of a key or a tensor's name */
    UM_GGUF_ALIGNMENT = 32,   /* where general.alignment does not say */
};

#define UM_GGUF_MAGIC         "GGUF"
#define UM_GGUF_ALIGNMENT_KEY "general.alignment"

/* Bytes of a value of a fixed size; 0 for texts and arrays. */
size_t um_gguf_type_bytes(enum um_gguf_type type);

uint64_t um_gguf_little_endian(const unsigned char *bytes, size_t n);

/* The number or bool of this type that starts at `bytes`, both ways. */
void um_gguf_number_at(int64_t *integer, double *real, enum um_gguf_type type,
                       const unsigned char *bytes);

/* ggml's number of a tensor type, -1 if it has none; and back, false if the type is not supported.
 */
int um_gguf_number_of(enum um_dtype dtype);
bool um_gguf_dtype_of(enum um_dtype *dtype, uint32_t number);
/* The name of a number that is not supported; NULL if ggml does not have it either. */
const char *um_gguf_unsupported(uint32_t number);

/* Not zero and a power of two. */
static inline bool um_gguf_is_alignment(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Bytes up to the next multiple of `alignment`. */
static inline size_t um_gguf_padding(uint64_t n, size_t alignment)
{
    return (size_t)(-n & (alignment - 1));
}

#endif
