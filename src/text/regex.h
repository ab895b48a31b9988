/* Regular expressions of tokenizer.json (Oniguruma's dialect, Unicode-aware) by PCRE2. */
#ifndef UM_TEXT_REGEX_H
#define UM_TEXT_REGEX_H

#include "base/mem.h"

struct um_regex; /* owned by a list; free with um_regex_free_all */

/* What one match needs; kept by the caller and reused. Zero to start with. */
struct um_regex_scratch {
    void *match_data; /* owned (free with um_regex_scratch_free) */
};

/* Compiles pattern and puts it at the head of `list`. UM_E_INPUT if it is no valid pattern. */
enum um_status um_regex_compile(struct um_regex **list, const char *pattern, const char *where,
                                struct um_error *err);
void um_regex_free_all(struct um_regex *list);

/* The first match at or behind `from` in the valid UTF-8 text[0..n). *found is false if there is
 * none. UM_E_INPUT if matching exceeds its limits. */
enum um_status um_regex_find(bool *found, size_t *start, size_t *end, const struct um_regex *regex,
                             struct um_regex_scratch *scratch, const char *text, size_t n,
                             size_t from, struct um_error *err);
void um_regex_scratch_free(struct um_regex_scratch *scratch);

#endif
