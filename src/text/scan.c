/* The JSON cursor. */
#include "text/scan.h"

#include <math.h>
#include <string.h>

#include "text/unicode.h"

char um_scan_peek(struct um_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
    return scan->at < scan->end ? *scan->at : '\0';
}

bool um_scan_take(struct um_scan *scan, char c)
{
    if (um_scan_peek(scan) != c || scan->at == scan->end)
        return false;
    scan->at++;
    return true;
}

/* Four hexadecimal digits behind "\u". */
static bool take_hex(uint32_t *value, struct um_scan *scan)
{
    if (scan->end - scan->at < 4)
        return false;
    *value = 0;
    for (int i = 0; i < 4; i++) {
        char c = *scan->at++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit > 15)
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* "\uXXXX", with its second half if it is a surrogate. At least as long as its UTF-8. */
static bool take_unicode_escape(char *out, size_t *n, struct um_scan *scan)
{
    uint32_t code, low;
    if (!take_hex(&code, scan))
        return false;
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u')
            return false;
        scan->at += 2;
        if (!take_hex(&low, scan) || low < 0xdc00 || low > 0xdfff)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *n += um_utf8_encode(out + *n, code);
    return true;
}

static bool take_escape(char *out, size_t *n, struct um_scan *scan)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = *scan->at++;
    if (c == 'u')
        return take_unicode_escape(out, n, scan);
    const char *name = c ? strchr(names, c) : NULL;
    if (!name)
        return false;
    out[(*n)++] = values[name - names];
    return true;
}

bool um_scan_string(char *out, size_t *n, struct um_scan *scan)
{
    *n = 0;
    if (!um_scan_take(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        char c = *scan->at++;
        if (c == '"') {
            out[*n] = '\0';
            return true;
        }
        if ((unsigned char)c < 0x20)
            return false;
        if (c != '\\')
            out[(*n)++] = c;
        else if (scan->at == scan->end || !take_escape(out, n, scan))
            return false;
    }
    return false;
}

/* The characters of a number, NUL-terminated. */
static bool take_number(char *out, size_t capacity, struct um_scan *scan)
{
    size_t n = 0;
    (void)um_scan_peek(scan);
    while (scan->at < scan->end && n + 1 < capacity && *scan->at &&
           strchr("+-.eE0123456789", *scan->at))
        out[n++] = *scan->at++;
    out[n] = '\0';
    return n > 0;
}

bool um_scan_i64(int64_t *value, struct um_scan *scan)
{
    char text[32];
    return take_number(text, sizeof(text), scan) && um_parse_i64(value, text);
}

/* A decimal number: digits * 10^exponent. */
struct decimal {
    uint64_t digits;
    int64_t exponent;
    bool is_full; /* a digit did not fit: those behind it do not count either */
};

static bool take_digits(struct decimal *decimal, const char **text, int behind_point)
{
    const char *start = *text;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        uint64_t digit = (uint64_t)(**text - '0');
        decimal->is_full = decimal->is_full || decimal->digits > (UINT64_MAX - digit) / 10;
        if (!decimal->is_full)
            decimal->digits = decimal->digits * 10 + digit;
        decimal->exponent += decimal->is_full - behind_point;
    }
    return *text > start;
}

/* Not correctly rounded (strtod would be) but by one division, as the reference's JSON reader does
 * it: scores that are sums of such numbers must tie where they tie there. */
bool um_scan_f64(double *value, struct um_scan *scan)
{
    char buffer[64];
    const char *text = buffer;
    struct decimal decimal = {0};
    int64_t power = 0;
    if (!take_number(buffer, sizeof(buffer), scan))
        return false;
    bool is_negative = *text == '-';
    text += is_negative;
    if (!take_digits(&decimal, &text, 0))
        return false;
    if (*text == '.' && (text++, !take_digits(&decimal, &text, 1)))
        return false;
    bool has_power = *text == 'e' || *text == 'E';
    if (has_power && !um_parse_i64(&power, text + 1 + (text[1] == '+')))
        return false;
    if ((!has_power && *text) || power > 1000 || power < -1000)
        return false;
    double digits = (double)decimal.digits, exponent = (double)(decimal.exponent + power);
    *value = exponent < 0 ? digits / pow(10, -exponent) : digits * pow(10, exponent);
    if (is_negative)
        *value = -*value;
    return true;
}

/* From behind the opening quote to behind the closing one. */
static bool skip_string(struct um_scan *scan)
{
    while (scan->at < scan->end) {
        char c = *scan->at++;
        if (c == '"')
            return true;
        if (c == '\\' && scan->at < scan->end)
            scan->at++;
    }
    return false;
}

bool um_scan_skip(struct um_scan *scan)
{
    size_t depth = 0;
    (void)um_scan_peek(scan);
    while (scan->at < scan->end) {
        char c = *scan->at;
        if (depth == 0 && (c == ',' || c == ']' || c == '}'))
            return true; /* behind a number or a word */
        scan->at++;
        if (c == '"' && !skip_string(scan))
            return false;
        if (c == '[' || c == '{')
            depth++;
        if (c == ']' || c == '}')
            depth--;
        if (depth == 0 && (c == '"' || c == ']' || c == '}'))
            return true;
    }
    return false;
}

enum um_status um_scan_fail(const struct um_scan *scan, const char *expected, struct um_error *err)
{
    size_t line = 1;
    for (const char *p = scan->text; p < scan->at; p++)
        line += *p == '\n';
    return um_fail(err, UM_E_INPUT, "cannot read '%s': line %zu, byte %zu: expected %s",
                   scan->where, line, (size_t)(scan->at - scan->text), expected);
}

/* Moves to the value of the member `name` of the object that comes next. */
static bool enter_member(struct um_scan *scan, const char *name)
{
    size_t n = strlen(name);
    if (!um_scan_take(scan, '{'))
        return false;
    do {
        if (um_scan_peek(scan) != '"')
            return false;
        const char *key = scan->at + 1;
        if (!um_scan_skip(scan))
            return false;
        bool is_it = (size_t)(scan->at - key) == n + 1 && !memcmp(key, name, n);
        if (!um_scan_take(scan, ':'))
            return false;
        if (is_it)
            return true;
        if (!um_scan_skip(scan))
            return false;
    } while (um_scan_take(scan, ','));
    return false;
}

static struct um_stretch find_stretch(struct um_scan model, const char *name)
{
    struct um_stretch stretch = {0};
    if (!enter_member(&model, name))
        return stretch;
    char c = um_scan_peek(&model);
    stretch.start = model.at;
    if ((c != '{' && c != '[') || !um_scan_skip(&model))
        return (struct um_stretch){0};
    stretch.end = model.at;
    return stretch;
}

/* Appends text up to the stretch, then null and the stretch's line breaks. Returns what follows. */
static const char *add_without(struct um_str *rest, const char *from, struct um_stretch stretch)
{
    um_str_add_n(rest, from, (size_t)(stretch.start - from));
    um_str_add(rest, "null");
    for (const char *p = stretch.start; p < stretch.end; p++) {
        if (*p == '\n')
            um_str_add_n(rest, "\n", 1);
    }
    return stretch.end;
}

void um_scan_cut(struct um_stretch *vocab, struct um_stretch *merges, struct um_str *rest,
                 const char *text, size_t n)
{
    struct um_scan scan = {.text = text, .at = text, .end = text + n};
    *vocab = *merges = (struct um_stretch){0};
    if (enter_member(&scan, "model")) {
        *vocab = find_stretch(scan, "vocab");
        *merges = find_stretch(scan, "merges");
    }
    struct um_stretch first = *vocab, second = *merges;
    if (first.start > second.start) {
        first = *merges;
        second = *vocab;
    }
    if (first.start)
        text = add_without(rest, text, first);
    if (second.start)
        text = add_without(rest, text, second);
    um_str_add_n(rest, text, (size_t)(scan.end - text));
}
