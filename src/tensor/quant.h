/*
 * ggml's quantised types: how their blocks lie in memory (ggml's ggml-common.h; the values are those
 * of the `gguf` package, gguf/quants.py). A row is a whole number of blocks.
 *
 * A block of 32 has a scale d and perhaps a minimum m, as fp16:
 *     Q4_0, Q5_0: d (q - 8), d (q - 16)     Q4_1, Q5_1: d q + m     Q8_0: d q, q signed
 * A superblock of 256 has sub-blocks of 16 (Q2_K, Q3_K, Q6_K) or 32 elements, whose scale s and
 * minimum t are small integers:
 *     Q2_K: d s q - m t, 4-bit s and t      Q3_K: d (s - 32) (q - 4), 6-bit s
 *     Q4_K, Q5_K: d s q - m t, 6-bit        Q6_K: d s (q - 32), signed 8-bit s
 * Every product here fits fp32's 24 bits (11 of d, at most 7 of s, 5 of q), so only the last
 * subtraction rounds, and a fused multiply-add gives the same bits.
 *
 * Not supported: ggml's IQ, TQ, MXFP4, NVFP4, Q1_0 types, and Q8_1 and Q8_K, which are of
 * intermediate results only.
 */
#ifndef UM_TENSOR_QUANT_H
#define UM_TENSOR_QUANT_H

#include <stdint.h>

enum { UM_QUANT_BLOCK = 32, UM_QUANT_SUPERBLOCK = 256 };

/* All members are bytes: no padding, any alignment. d and m are little-endian fp16. */

struct um_q4_0 {
    unsigned char d[2], q[16]; /* element i: low half of q[i]; i + 16: its high half */
};

struct um_q4_1 {
    unsigned char d[2], m[2], q[16];
};

struct um_q5_0 {
    unsigned char d[2], high[4], q[16]; /* bit i of the 32 of `high` is element i's fifth */
};

struct um_q5_1 {
    unsigned char d[2], m[2], high[4], q[16];
};

struct um_q8_0 {
    unsigned char d[2], q[32];
};

struct um_q2_k {
    unsigned char scales[16]; /* of sub-block g: s in the low half, t in the high */
    unsigned char q[64];      /* 128 elements in each 32 bytes: byte i has i, i + 32, i + 64, ... */
    unsigned char d[2], m[2];
};

struct um_q3_k {
    unsigned char high[32]; /* bit j of byte i is the third bit of element i + 32 j */
    unsigned char q[64];    /* as Q2_K's */
    unsigned char scales[12]; /* 16 of 6 bits: 4 low bits in halves of the first 8, then pairs */
    unsigned char d[2];
};

struct um_q4_k {
    unsigned char d[2], m[2];
    unsigned char scales[12]; /* 8 s and 8 t of 6 bits */
    unsigned char q[128];     /* 64 elements in each 32 bytes: byte i has i and i + 32 */
};

struct um_q5_k {
    unsigned char d[2], m[2];
    unsigned char scales[12]; /* as Q4_K's */
    unsigned char high[32];   /* bit j of byte i is the fifth bit of element i + 32 j */
    unsigned char q[128];     /* as Q4_K's */
};

struct um_q6_k {
    unsigned char q[128];    /* 128 elements in each 64 bytes: byte i has i and i + 64 */
    unsigned char high[64];  /* their two upper bits: 32 bytes, byte i has i, i + 32, i + 64, ... */
    unsigned char scales[16];
    unsigned char d[2];
};

/* n fp32 numbers (a multiple of 32) to blocks of Q8_0: d is the largest magnitude / 127, rounded to
 * fp16 only when it is stored; q is x / d rounded, halves away from zero. A block with a NaN or an
 * infinity reads back as not finite. */
void um_quantise_q8_0(struct um_q8_0 *to, const float *from, int64_t n);

#endif
