/* Code points and their classes, by utf8proc. */
#include <utf8proc.h>

#include "text/tokenizer.h"

uint32_t um_codepoint(const char *text, size_t n, size_t *length)
{
    utf8proc_int32_t code;
    if ((unsigned char)*text < 0x80) {
        *length = 1;
        return (unsigned char)*text;
    }
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)(n < 4 ? n : 4), &code);
    *length = used > 0 ? (size_t)used : 1;
    return used > 0 ? (uint32_t)code : 0xFFFD;
}

void um_add_codepoint(struct um_str *out, uint32_t code)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)code, bytes);
    um_str_add_n(out, (const char *)bytes, (size_t)n);
}

bool um_is_space(uint32_t code)
{
    return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool um_is_punctuation(uint32_t code)
{
    if (code < 0x80)
        return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) ||
               (code >= 91 && code <= 96) || (code >= 123 && code <= 126);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}
