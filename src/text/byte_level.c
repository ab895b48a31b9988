/* The byte alphabet: bytes that are not printable are numbered in order from U+0100. */
#include "text/byte_level.h"

static bool is_printable(uint32_t c)
{
    return (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The unprintable ones are 0-32, 127-160 and 173: 33 + 34 + 1 of them. */
static uint32_t code_of(unsigned char byte)
{
    if (is_printable(byte))
        return byte;
    return byte <= 32 ? 0x100U + byte : byte <= 160 ? 0x100U + 33 + (byte - 127U) : 0x100U + 67;
}

void um_byte_level_put(struct um_str *out, unsigned char byte)
{
    um_text_put(out, code_of(byte));
}

int um_byte_level_byte(uint32_t c)
{
    if (c < 0x100)
        return is_printable(c) ? (int)c : -1;
    c -= 0x100;
    return c <= 32 ? (int)c : c < 67 ? (int)(c - 33 + 127) : c == 67 ? 173 : -1;
}
