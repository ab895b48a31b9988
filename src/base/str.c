/* Text: a growing string, nearest names, sizes, glob patterns, numbers, UTF-8 validity. */
#define _GNU_SOURCE /* newlocale, uselocale under -std=c17 */
#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void um_str_add_n(struct um_str *s, const char *text, size_t n)
{
    if (s->failed || !um_grow(&s->text, &s->capacity, s->length + n + 1, 1)) {
        s->failed = true;
        return;
    }
    if (n) /* an empty text may be NULL */
        memcpy(s->text + s->length, text, n);
    s->length += n;
    s->text[s->length] = '\0';
}

void um_str_add(struct um_str *s, const char *text)
{
    um_str_add_n(s, text, strlen(text));
}

static void add_formatted(struct um_str *s, const char *fmt, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int n = um_vsnprintf(small, sizeof(small), fmt, args);
    if (n >= 0 && (size_t)n < sizeof(small)) {
        um_str_add_n(s, small, (size_t)n);
    } else if (n >= 0 && um_grow(&s->text, &s->capacity, s->length + (size_t)n + 1, 1)) {
        (void)um_vsnprintf(s->text + s->length, (size_t)n + 1, fmt, again);
        s->length += (size_t)n;
    } else {
        s->failed = true;
    }
    va_end(again);
}

void um_str_add_flat(struct um_str *s, const char *text, size_t n)
{
    size_t start = s->length;
    um_str_add_n(s, text, n);
    for (size_t i = start; i < s->length; i++)
        if (strchr("\t\n\r", s->text[i]))
            s->text[i] = ' ';
}

void um_str_addf(struct um_str *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_formatted(s, fmt, args);
    va_end(args);
}

const char *um_str_setf(struct um_str *s, const char *fmt, ...)
{
    va_list args;
    um_str_clear(s);
    va_start(args, fmt);
    add_formatted(s, fmt, args);
    va_end(args);
    return s->failed ? "" : s->text;
}

void um_str_add_item(struct um_str *s, const char *text)
{
    if (s->length)
        um_str_add(s, ", ");
    um_str_add(s, text);
}

void um_str_clear(struct um_str *s)
{
    s->length = 0;
    if (s->text)
        s->text[0] = '\0';
}

void um_str_free(struct um_str *s)
{
    um_free(s->text);
    *s = (struct um_str){0};
}

size_t um_length_before(const char *text, const char *ending)
{
    size_t n = strlen(text), n_ending = strlen(ending);
    return n > n_ending && strcmp(text + n - n_ending, ending) == 0 ? n - n_ending : 0;
}

const void *um_find_row(const void *rows, size_t n_rows, size_t row_bytes, const char *name)
{
    const char *row = rows;
    for (size_t i = 0; i < n_rows; i++, row += row_bytes)
        if (strcmp(*(const char *const *)(const void *)row, name) == 0)
            return row;
    return NULL;
}

/* Levenshtein distance by one row; names longer than the row are simply far away. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { ROW = 128 };
    size_t row[ROW + 1], n_a = strlen(a), n_b = strlen(b);
    if (n_b > ROW)
        return SIZE_MAX;
    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n_b];
}

const char *um_nearest(const char *name, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t best_distance = (strlen(name) + 2) / 3 + 1;
    for (size_t i = 0; i < n_names; i++) {
        size_t distance = edit_distance(name, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

char *um_format_bytes(char *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < UM_COUNT(units)) {
        bytes /= 1024;
        unit++;
    }
    (void)um_snprintf(out, 24, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

bool um_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* Puts this thread into the C locale. Returns the one it was in, for leave_c_locale. To the C
 * library the C locale is a constant: making it costs nothing and does not fail. */
static locale_t enter_c_locale(locale_t *c)
{
    *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return uselocale(*c);
}

static void leave_c_locale(locale_t c, locale_t before)
{
    (void)uselocale(before);
    if (c)
        freelocale(c);
}

int um_vsnprintf(char *out, size_t n_out, const char *fmt, va_list args)
{
    locale_t c, before = enter_c_locale(&c);
    int n = vsnprintf(out, n_out, fmt, args);
    leave_c_locale(c, before);
    return n;
}

int um_snprintf(char *out, size_t n_out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = um_vsnprintf(out, n_out, fmt, args);
    va_end(args);
    return n;
}

double um_strtod(const char *text, char **end)
{
    locale_t c, before = enter_c_locale(&c);
    double number = strtod(text, end);
    leave_c_locale(c, before);
    return number;
}

bool um_parse_i64(int64_t *out, const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return false;
    *out = value;
    return true;
}

bool um_parse_f64(double *out, const char *text)
{
    char *end;
    double value = um_strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return false;
    *out = value;
    return true;
}

size_t um_utf8_valid(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < n) {
        unsigned char c = s[i];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : 3;
        if (c >= 0x80 && (c < 0xc2 || c > 0xf4))
            return i;
        if (n - i <= more)
            return i;
        for (size_t k = 1; k <= more; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return i;
        /* Overlong forms, surrogates, and what is beyond U+10FFFF. */
        if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f) ||
            (c == 0xf0 && s[i + 1] < 0x90) || (c == 0xf4 && s[i + 1] > 0x8f))
            return i;
        i += more + 1;
    }
    return n;
}
