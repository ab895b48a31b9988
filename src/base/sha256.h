/* SHA-256 (FIPS 180-4). */
#ifndef UM_BASE_SHA256_H
#define UM_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { UM_SHA256_BYTES = 32, UM_SHA256_TEXT = 65 };

struct um_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    unsigned char block[64];
};

void um_sha256_begin(struct um_sha256 *h);
void um_sha256_add(struct um_sha256 *h, const void *bytes, size_t n);
void um_sha256_end(unsigned char digest[UM_SHA256_BYTES], struct um_sha256 *h);
/* 64 hexadecimal digits and a NUL. */
void um_sha256_text(char text[UM_SHA256_TEXT], const unsigned char digest[UM_SHA256_BYTES]);

#endif
