/*
 * Text: a growing string, glob patterns, numbers, UTF-8. (um_nearest, um_format_bytes: unmask.h)
 *
 * A program may have set a locale in which a number has a comma. What is written and read here has
 * a point, always: numbers with decimals are formatted and parsed by these functions only.
 */
#ifndef UM_BASE_STR_H
#define UM_BASE_STR_H

#include <stdarg.h>

#include "base/mem.h"

/* A growing, always NUL-terminated string. Once out of memory it stays `failed`; check at the
 * end. */
struct um_str {
    char *text; /* owned (free with um_str_free); NULL while nothing was added */
    size_t length, capacity;
    bool failed;
};

void um_str_add(struct um_str *s, const char *text);
void um_str_add_n(struct um_str *s, const char *text, size_t n);
/* With spaces where the text holds a tab or a line end, which part columns and lines. */
void um_str_add_flat(struct um_str *s, const char *text, size_t n);
void um_str_addf(struct um_str *s, const char *fmt, ...) UM_PRINTF(2, 3);
void um_str_add_item(struct um_str *s, const char *text); /* with ", " before it, but the first */
void um_str_clear(struct um_str *s); /* keeps the memory */
/* Writes over what is there. Returns the text, "" once it has failed. */
const char *um_str_setf(struct um_str *s, const char *fmt, ...) UM_PRINTF(2, 3);
void um_str_free(struct um_str *s);

/* Shell-like pattern: `*` any run of characters, `?` one; the whole of `text` must match. */
bool um_glob(const char *pattern, const char *text);

/* Length of the text in front of its ending; 0 if it has not that ending, or is nothing else. */
size_t um_length_before(const char *text, const char *ending);

/* The row of that name in a table whose rows begin with their name; NULL if there is none. */
const void *um_find_row(const void *rows, size_t n_rows, size_t row_bytes, const char *name);

/* As snprintf and vsnprintf, but in the C locale. */
int um_snprintf(char *out, size_t n_out, const char *fmt, ...) UM_PRINTF(3, 4);
int um_vsnprintf(char *out, size_t n_out, const char *fmt, va_list args) UM_PRINTF(3, 0);
/* As strtod, but in the C locale. */
double um_strtod(const char *text, char **end);

/* Whole-string numbers; false if `text` is not exactly one (or is out of range). */
bool um_parse_i64(int64_t *out, const char *text);
bool um_parse_f64(double *out, const char *text);

/* Length in bytes of the valid UTF-8 at the start of text[0..n): n if all of it is valid. */
size_t um_utf8_valid(const char *text, size_t n);

#endif
