/* Code points, by utf8proc's tables. */
#include "text/unicode.h"

#include <string.h>

#include <utf8proc.h>

uint32_t um_utf8_decode(size_t *length, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    *length = um_utf8_length(text[0]);
    switch (*length) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU);
    case 3:
        return (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
    default:
        return (p[0] & 0x07U) << 18 | (p[1] & 0x3fU) << 12 | (p[2] & 0x3fU) << 6 | (p[3] & 0x3fU);
    }
}

size_t um_utf8_encode(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t um_utf8_count(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += !is_continuation(text[i]);
    return count;
}

size_t um_utf8_before(const char *text, size_t end)
{
    do
        end--;
    while (end > 0 && is_continuation(text[end]));
    return end;
}

static bool is_in_categories(uint32_t c, uint32_t mask)
{
    return mask >> (unsigned)utf8proc_category((utf8proc_int32_t)c) & 1;
}

#define CATEGORY(name) (1U << UTF8PROC_CATEGORY_##name)

bool um_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || is_in_categories(c, CATEGORY(ZS) | CATEGORY(ZL) | CATEGORY(ZP));
}

bool um_is_numeric(uint32_t c)
{
    return is_in_categories(c, CATEGORY(ND) | CATEGORY(NL) | CATEGORY(NO));
}

bool um_is_mark(uint32_t c)
{
    return is_in_categories(c, CATEGORY(MN) | CATEGORY(MC) | CATEGORY(ME));
}

bool um_is_word(uint32_t c)
{
    /* Alphabetic also holds the circled letters and the roman numerals; so does this. */
    bool is_join_control = c == 0x200c || c == 0x200d;
    bool is_circled_letter = (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
                             (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    return is_join_control || is_circled_letter ||
           is_in_categories(c, CATEGORY(LU) | CATEGORY(LL) | CATEGORY(LT) | CATEGORY(LM) |
                                   CATEGORY(LO) | CATEGORY(MN) | CATEGORY(MC) | CATEGORY(ME) |
                                   CATEGORY(ND) | CATEGORY(NL) | CATEGORY(PC));
}

bool um_is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

bool um_text_room(struct um_str *s, size_t n)
{
    if (!s->failed && s->length + n + 1 > s->capacity)
        s->failed = !um_grow(&s->text, &s->capacity, s->length + n + 1, 1);
    return !s->failed;
}

void um_text_put(struct um_str *s, uint32_t c)
{
    if (!um_text_room(s, 4))
        return;
    s->length += um_utf8_encode(s->text + s->length, c);
    s->text[s->length] = '\0';
}

void um_text_put_lower(struct um_str *s, uint32_t c)
{
    if (c == 0x130) { /* the only one whose full lower case is two code points */
        um_text_put(s, 'i');
        um_text_put(s, 0x307);
    } else {
        um_text_put(s, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
}

/* Bytes of the invalid sequence at the start: a lead byte and the continuations that could still
 * have become a valid character, at least one byte. */
static size_t invalid_length(const char *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (n < 2 || b[0] < 0xc2 || b[0] > 0xf4)
        return 1;
    unsigned char low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    size_t length = 1, expected = um_utf8_length(bytes[0]);
    if (b[1] < low || b[1] > high)
        return 1;
    while (length < expected && length < n && is_continuation(bytes[length]))
        length++;
    return length;
}

void um_text_put_lossy(struct um_str *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t n_valid = um_utf8_valid(bytes + i, n - i);
        um_str_add_n(s, bytes + i, n_valid);
        i += n_valid;
        if (i < n) {
            um_text_put(s, 0xfffd);
            i += invalid_length(bytes + i, n - i);
        }
    }
}

static bool is_all_ascii(const char *text, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= (unsigned char)text[i];
    return any < 0x80;
}

/* Decomposes into `buffer`; false when out of memory. */
static bool decompose(struct um_code_points *buffer, const char *text, size_t n,
                      utf8proc_option_t options)
{
    for (;;) {
        utf8proc_ssize_t need =
            utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, buffer->items,
                               (utf8proc_ssize_t)buffer->capacity, options);
        if (need < 0)
            return false;
        buffer->n = (size_t)need;
        if (buffer->n <= buffer->capacity)
            return true;
        if (!um_grow(&buffer->items, &buffer->capacity, buffer->n, sizeof(*buffer->items)))
            return false;
    }
}

void um_text_put_normal(struct um_str *s, struct um_code_points *buffer, const char *text, size_t n,
                        enum um_normal_form form)
{
    static const utf8proc_option_t options[] = {
        [UM_NFC] = UTF8PROC_COMPOSE,
        [UM_NFD] = UTF8PROC_DECOMPOSE,
        [UM_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [UM_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (is_all_ascii(text, n)) {
        um_str_add_n(s, text, n);
        return;
    }
    utf8proc_option_t option = options[form] | UTF8PROC_STABLE;
    if (!decompose(buffer, text, n, option)) {
        s->failed = true;
        return;
    }
    utf8proc_ssize_t count =
        utf8proc_normalize_utf32(buffer->items, (utf8proc_ssize_t)buffer->n, option);
    for (utf8proc_ssize_t i = 0; i < count; i++)
        um_text_put(s, (uint32_t)buffer->items[i]);
}
