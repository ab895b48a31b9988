/* Normalizers: the plain ones. Each reads scratch->text and writes its new form. */
#include <string.h>

#include "text/normalizer_private.h"

static enum um_status run_form(struct um_scratch *s, enum um_normal_form form, struct um_error *err)
{
    um_text_put_normal(&s->spare, &s->code_points, s->text.text, s->text.length, form);
    return um_scratch_rewritten(s, err);
}

#define NORMAL_FORM(name, about)                                                                   \
    static enum um_status run_##name(struct um_scratch *s, const void *options,                    \
                                     struct um_error *err)                                         \
    {                                                                                              \
        (void)options;                                                                             \
        return run_form(s, UM_##name, err);                                                        \
    }                                                                                              \
    static const struct um_kind kind_##name = {                                                    \
        .type = #name, .summary = "Unicode normal form " about, .run = run_##name}

NORMAL_FORM(NFC, "C");
NORMAL_FORM(NFD, "D");
NORMAL_FORM(NFKC, "KC");
NORMAL_FORM(NFKD, "KD");

static enum um_status run_lowercase(struct um_scratch *s, const void *options, struct um_error *err)
{
    (void)options;
    for (size_t i = 0, length; i < s->text.length; i += length)
        um_text_put_lower(&s->spare, um_utf8_decode(&length, s->text.text + i));
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_lowercase = {
    .type = "Lowercase", .summary = "lower case", .run = run_lowercase};

static enum um_status run_strip_accents(struct um_scratch *s, const void *options,
                                        struct um_error *err)
{
    (void)options;
    for (size_t i = 0, length; i < s->text.length; i += length) {
        uint32_t c = um_utf8_decode(&length, s->text.text + i);
        if (!um_is_mark(c))
            um_text_put(&s->spare, c);
    }
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_strip_accents = {
    .type = "StripAccents", .summary = "removes combining marks", .run = run_strip_accents};

struct strip {
    bool left, right;
};

static enum um_status parse_strip(const void **options, struct um_loader *loader,
                                  const json_t *json, struct um_error *err)
{
    struct strip *strip = um_options_new(options, loader, sizeof(*strip), err);
    if (!strip)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_json_get_bool(&strip->left, json, "strip_left", loader->where, err));
    return um_json_get_bool(&strip->right, json, "strip_right", loader->where, err);
}

static enum um_status run_strip(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct strip *strip = options;
    const char *text = s->text.text;
    size_t start = 0, end = s->text.length, length;
    while (strip->left && start < end && um_is_space(um_utf8_decode(&length, text + start)))
        start += length;
    while (strip->right && start < end) {
        size_t before = um_utf8_before(text, end);
        if (!um_is_space(um_utf8_decode(&length, text + before)))
            break;
        end = before;
    }
    um_str_add_n(&s->spare, text + start, end - start);
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_strip = {.type = "Strip",
                                          .summary = "removes white space at the ends",
                                          .parse = parse_strip,
                                          .run = run_strip};

static enum um_status parse_prepend(const void **options, struct um_loader *loader,
                                    const json_t *json, struct um_error *err)
{
    struct um_text_option *prepend = um_options_new(options, loader, sizeof(*prepend), err);
    if (!prepend)
        return UM_E_RUNTIME;
    return um_text_option_parse(prepend, loader, json, "prepend", err);
}

static enum um_status run_prepend(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct um_text_option *prepend = options;
    if (s->text.length)
        um_str_add_n(&s->spare, prepend->text, prepend->n);
    um_str_add_n(&s->spare, s->text.text, s->text.length);
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_prepend = {.type = "Prepend",
                                            .summary = "puts a text in front",
                                            .parse = parse_prepend,
                                            .run = run_prepend};

static enum um_status run_replace(struct um_scratch *s, const void *options, struct um_error *err)
{
    UM_RETURN_IF(um_replace_put(s, options, 0, s->text.length, err));
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_replace = {.type = "Replace",
                                            .summary = "replaces what a pattern matches",
                                            .parse = um_replace_parse,
                                            .run = run_replace};

static enum um_status parse_sequence(const void **options, struct um_loader *loader,
                                     const json_t *json, struct um_error *err)
{
    return um_sequence_parse(options, &um_normalizers, "normalizers", loader, json, err);
}

static const struct um_kind kind_sequence = {.type = "Sequence",
                                             .summary = "several, one after another",
                                             .parse = parse_sequence,
                                             .run = um_sequence_run};

static const struct um_kind *const kinds[] = {&um_normalizer_bert, &um_normalizer_precompiled,
                                              &kind_lowercase,     &kind_NFC,
                                              &kind_NFD,           &kind_NFKC,
                                              &kind_NFKD,          &kind_strip_accents,
                                              &kind_strip,         &kind_prepend,
                                              &kind_replace,       &kind_sequence};

const struct um_family um_normalizers = {
    .name = "normalizer", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
