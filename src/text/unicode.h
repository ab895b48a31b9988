/*
 * Code points: UTF-8 in and out, and the classes of characters that tokenizers distinguish.
 * Text given to these functions is valid UTF-8 (checked once, where it enters the library).
 */
#ifndef UM_TEXT_UNICODE_H
#define UM_TEXT_UNICODE_H

#include "base/str.h"

/* Bytes of the sequence that starts with `lead`. */
static inline size_t um_utf8_length(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static inline bool um_is_ascii(char c)
{
    return (unsigned char)c < 0x80;
}

/* The code point at text[0]; *length becomes its bytes. */
uint32_t um_utf8_decode(size_t *length, const char *text);
/* Writes 1 to 4 bytes, returns how many. */
size_t um_utf8_encode(char *out, uint32_t c);
size_t um_utf8_count(const char *text, size_t n); /* code points */
/* Where the code point that ends before text[end] starts; end > 0. */
size_t um_utf8_before(const char *text, size_t end);

bool um_is_space(uint32_t c);   /* property White_Space */
bool um_is_numeric(uint32_t c); /* N* */
bool um_is_mark(uint32_t c);    /* M* */
bool um_is_word(uint32_t c);    /* what \w means: letters, marks, decimals, connectors */
bool um_is_chinese(uint32_t c); /* the CJK blocks that BERT sets apart */
/* As of Unicode 7, which BERT's tokenizers keep to. */
bool um_is_punctuation(uint32_t c);     /* ASCII that is neither letter, digit nor space; or P* */
bool um_is_other(uint32_t c);           /* Cc, Cf, Co */
bool um_is_mark_nonspacing(uint32_t c); /* Mn */

/* Makes room for n more bytes (and the NUL); false, and s->failed, when out of memory. */
bool um_text_room(struct um_str *s, size_t n);
void um_text_put(struct um_str *s, uint32_t c);
/* Appends the lower case of c (one code point may become two). */
void um_text_put_lower(struct um_str *s, uint32_t c);

/* Appends bytes as text; each invalid sequence becomes U+FFFD (as the WHATWG decoder has it). */
void um_text_put_lossy(struct um_str *s, const char *bytes, size_t n);

enum um_normal_form { UM_NFC, UM_NFD, UM_NFKC, UM_NFKD };
/* Appends text[0..n) in a normal form; `buffer` is working memory that the caller keeps. */
struct um_code_points {
    int32_t *items; /* owned (free with um_free) */
    size_t n, capacity;
};
void um_text_put_normal(struct um_str *s, struct um_code_points *buffer, const char *text, size_t n,
                        enum um_normal_form form);

#endif
