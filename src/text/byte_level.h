/*
 * The byte alphabet of GPT-2: every byte stands for one printable code point (itself where it is
 * printable in Latin-1, else one of U+0100 to U+0143), so that a vocabulary of texts can hold any
 * bytes.
 */
#ifndef UM_TEXT_BYTE_LEVEL_H
#define UM_TEXT_BYTE_LEVEL_H

#include "text/unicode.h"

/* Appends the code point that stands for a byte. */
void um_byte_level_put(struct um_str *out, unsigned char byte);
/* The byte that a code point stands for, -1 if for none. */
int um_byte_level_byte(uint32_t c);

#endif
