/*
 * Patterns are written for Oniguruma. Where PCRE2 (with UCP) differs for what tokenizers use, the
 * pattern is rewritten: \s, \w, \h mean Unicode properties there that are spelled out here. The
 * rewriting is by character, inside and outside of classes.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>
#include <string.h>

#include "base/str.h"

enum { MATCH_LIMIT = 10000000, DEPTH_LIMIT = 100000 };

struct um_regex {
    pcre2_code *code;
    struct um_regex *next;
};

/* What stands for an escape outside and inside of a class; NULL: as it is. */
static const struct {
    char escape;
    const char *outside, *inside;
} rewrites[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"},
    {'W', "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", NULL},
    {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
    {'H', "[^0-9A-Fa-f]", NULL},
};

static void add_escape(struct um_str *out, char escape, bool in_class)
{
    for (size_t i = 0; i < UM_COUNT(rewrites); i++) {
        const char *text = in_class ? rewrites[i].inside : rewrites[i].outside;
        if (rewrites[i].escape == escape && text) {
            um_str_add(out, text);
            return;
        }
    }
    char as_it_is[2] = {'\\', escape};
    um_str_add_n(out, as_it_is, 2);
}

static void rewrite(struct um_str *out, const char *pattern)
{
    bool in_class = false;
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\' && p[1]) {
            add_escape(out, *++p, in_class);
            continue;
        }
        if (*p == '[')
            in_class = true;
        else if (*p == ']')
            in_class = false;
        um_str_add_n(out, p, 1);
    }
}

static void *allocate(size_t bytes, void *user)
{
    (void)user;
    return um_alloc(bytes);
}

static void release(void *pointer, void *user)
{
    (void)user;
    um_free(pointer);
}

static enum um_status compile(struct um_regex *regex, const struct um_str *text,
                              const char *pattern, const char *where, struct um_error *err)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    if (context)
        regex->code = pcre2_compile((PCRE2_SPTR)text->text, text->length, PCRE2_UTF | PCRE2_UCP,
                                    &code, &offset, context);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (regex->code) {
        (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* else it is interpreted */
        return UM_OK;
    }
    if (!code || code == PCRE2_ERROR_NOMEMORY || code == 121 /* heap failed in compile */)
        return um_fail_memory(err, pattern, text->length);
    PCRE2_UCHAR reason[128];
    (void)pcre2_get_error_message(code, reason, sizeof(reason));
    return um_fail(err, UM_E_INPUT, "cannot read '%s': regular expression '%.200s': %s", where,
                   pattern, (const char *)reason);
}

enum um_status um_regex_compile(struct um_regex **list, const char *pattern, const char *where,
                                struct um_error *err)
{
    struct um_str text = {0};
    um_str_add(&text, "");
    rewrite(&text, pattern);
    struct um_regex *regex = text.failed ? NULL : UM_NEW(1, struct um_regex);
    enum um_status status = regex ? compile(regex, &text, pattern, where, err)
                                  : um_fail_memory(err, pattern, text.length);
    um_str_free(&text);
    if (status != UM_OK) {
        um_free(regex);
        return status;
    }
    regex->next = *list;
    *list = regex;
    return UM_OK;
}

void um_regex_free_all(struct um_regex *list)
{
    while (list) {
        struct um_regex *next = list->next;
        pcre2_code_free(list->code);
        um_free(list);
        list = next;
    }
}

/* Match data that can hold one pair of offsets: all that is asked for. */
struct match_data {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static struct match_data *match_data_new(void)
{
    struct match_data *match = UM_NEW(1, struct match_data);
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    if (match && general) {
        match->data = pcre2_match_data_create(1, general);
        match->context = pcre2_match_context_create(general);
    }
    pcre2_general_context_free(general);
    if (match && match->data && match->context) {
        (void)pcre2_set_match_limit(match->context, MATCH_LIMIT);
        (void)pcre2_set_depth_limit(match->context, DEPTH_LIMIT);
        return match;
    }
    if (match) {
        pcre2_match_data_free(match->data);
        pcre2_match_context_free(match->context);
    }
    um_free(match);
    return NULL;
}

enum um_status um_regex_find(bool *found, size_t *start, size_t *end, const struct um_regex *regex,
                             struct um_regex_scratch *scratch, const char *text, size_t n,
                             size_t from, struct um_error *err)
{
    if (!scratch->match_data)
        scratch->match_data = match_data_new();
    struct match_data *match = scratch->match_data;
    if (!match)
        return um_fail_memory(err, "matching a regular expression", sizeof(*match));
    int rc = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, match->data,
                         match->context);
    *found = rc >= 0;
    if (rc >= 0) {
        const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(match->data);
        *start = offsets[0];
        *end = offsets[1] > offsets[0] ? offsets[1] : offsets[0]; /* \K can put it before */
        return UM_OK;
    }
    if (rc == PCRE2_ERROR_NOMATCH)
        return UM_OK;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return um_fail_memory(err, "matching a regular expression", n);
    PCRE2_UCHAR reason[128];
    (void)pcre2_get_error_message(rc, reason, sizeof(reason));
    return um_fail(err, UM_E_INPUT,
                   "cannot tokenize: the tokenizer's regular expression gave up on a text of %zu "
                   "bytes: %s",
                   n, (const char *)reason);
}

void um_regex_scratch_free(struct um_regex_scratch *scratch)
{
    struct match_data *match = scratch->match_data;
    if (match) {
        pcre2_match_data_free(match->data);
        pcre2_match_context_free(match->context);
        um_free(match);
    }
    scratch->match_data = NULL;
}
