/* Pre-tokenizers that only cut: by classes of characters, by patterns. */
#include <string.h>

#include "text/pre_tokenizer_private.h"

static enum um_status run_whitespace_split(struct um_scratch *s, const void *options,
                                           struct um_error *err)
{
    (void)options;
    return um_split_by_char(s, um_is_space, UM_SPLIT_REMOVED, err);
}

static const struct um_kind kind_whitespace_split = {
    .type = "WhitespaceSplit", .summary = "words between white space", .run = run_whitespace_split};

/* Runs of word characters and runs of what is neither word nor white space. */
static enum um_status run_whitespace(struct um_scratch *s, const void *options,
                                     struct um_error *err)
{
    enum class { WORD, SPACE, OTHER, NONE };
    (void)options;
    for (size_t k = 0; k < s->pieces.n; k++) {
        struct um_piece piece = s->pieces.items[k];
        enum class class = NONE, now;
        for (size_t i = piece.start, start = i, length = 0; i <= piece.end; i += length) {
            uint32_t c = i < piece.end ? um_utf8_decode(&length, s->text.text + i) : 0;
            now = i == piece.end ? NONE : um_is_word(c) ? WORD : um_is_space(c) ? SPACE : OTHER;
            if (now == class && now != NONE)
                continue;
            if (class == WORD || class == OTHER)
                UM_RETURN_IF(um_pieces_add(&s->spare_pieces, start, i,
                                           piece.is_first && start == piece.start, err));
            if (i == piece.end)
                break;
            start = i;
            class = now;
        }
    }
    um_scratch_swap_pieces(s);
    return UM_OK;
}

static const struct um_kind kind_whitespace = {
    .type = "Whitespace", .summary = "words, and runs of other signs", .run = run_whitespace};

static enum um_status parse_punctuation(const void **options, struct um_loader *loader,
                                        const json_t *json, struct um_error *err)
{
    enum um_split_behavior *behavior = um_options_new(options, loader, sizeof(*behavior), err);
    if (!behavior)
        return UM_E_RUNTIME;
    *behavior = UM_SPLIT_ISOLATED;
    return um_split_behavior_parse(behavior, loader, json, err);
}

static enum um_status run_punctuation(struct um_scratch *s, const void *options,
                                      struct um_error *err)
{
    const enum um_split_behavior *behavior = options;
    return um_split_by_char(s, um_is_punctuation, *behavior, err);
}

static const struct um_kind kind_punctuation = {.type = "Punctuation",
                                                .summary = "cuts at punctuation",
                                                .parse = parse_punctuation,
                                                .run = run_punctuation};

static enum um_status parse_digits(const void **options, struct um_loader *loader,
                                   const json_t *json, struct um_error *err)
{
    bool *is_individual = um_options_new(options, loader, sizeof(*is_individual), err);
    if (!is_individual)
        return UM_E_RUNTIME;
    return um_json_get_bool(is_individual, json, "individual_digits", loader->where, err);
}

static enum um_status run_digits(struct um_scratch *s, const void *options, struct um_error *err)
{
    const bool *is_individual = options;
    return um_split_by_char(s, um_is_numeric,
                            *is_individual ? UM_SPLIT_ISOLATED : UM_SPLIT_CONTIGUOUS, err);
}

static const struct um_kind kind_digits = {.type = "Digits",
                                           .summary = "sets numbers or single digits apart",
                                           .parse = parse_digits,
                                           .run = run_digits};

struct split {
    struct um_pattern pattern;
    enum um_split_behavior behavior;
    bool is_inverted;
};

static enum um_status parse_split(const void **options, struct um_loader *loader,
                                  const json_t *json, struct um_error *err)
{
    struct split *split = um_options_new(options, loader, sizeof(*split), err);
    if (!split)
        return UM_E_RUNTIME;
    split->behavior = UM_SPLIT_ISOLATED;
    UM_RETURN_IF(um_pattern_parse(&split->pattern, loader, json, err));
    UM_RETURN_IF(um_split_behavior_parse(&split->behavior, loader, json, err));
    return um_json_get_bool(&split->is_inverted, json, "invert", loader->where, err);
}

static enum um_status parse_char_delimiter(const void **options, struct um_loader *loader,
                                           const json_t *json, struct um_error *err)
{
    struct split *split = um_options_new(options, loader, sizeof(*split), err);
    if (!split)
        return UM_E_RUNTIME;
    split->behavior = UM_SPLIT_REMOVED;
    return um_text_option_parse(&split->pattern.string, loader, json, "delimiter", err);
}

static enum um_status run_split(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct split *split = options;
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        UM_RETURN_IF(um_pattern_find(s, &split->pattern, piece.start, piece.end, err));
        for (size_t k = 0; split->is_inverted && k < s->matches.n; k++)
            s->matches.items[k].is_match = !s->matches.items[k].is_match;
        UM_RETURN_IF(um_split_piece(s, piece, split->behavior, err));
    }
    um_scratch_swap_pieces(s);
    return UM_OK;
}

static const struct um_kind kind_split = {.type = "Split",
                                          .summary = "cuts by a string or a regular expression",
                                          .parse = parse_split,
                                          .run = run_split};

static const struct um_kind kind_char_delimiter = {.type = "CharDelimiterSplit",
                                                   .summary = "words between one character",
                                                   .parse = parse_char_delimiter,
                                                   .run = run_split};

static enum um_status parse_sequence(const void **options, struct um_loader *loader,
                                     const json_t *json, struct um_error *err)
{
    return um_sequence_parse(options, &um_pre_tokenizers, "pretokenizers", loader, json, err);
}

static const struct um_kind kind_sequence = {.type = "Sequence",
                                             .summary = "several, one after another",
                                             .parse = parse_sequence,
                                             .run = um_sequence_run};

static const struct um_kind *const kinds[] = {&um_pre_tokenizer_bert,
                                              &um_pre_tokenizer_byte_level,
                                              &um_pre_tokenizer_metaspace,
                                              &kind_whitespace,
                                              &kind_whitespace_split,
                                              &kind_punctuation,
                                              &kind_digits,
                                              &kind_split,
                                              &kind_char_delimiter,
                                              &kind_sequence};

const struct um_family um_pre_tokenizers = {
    .name = "pre_tokenizer", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
