/* Patterns (a string or a regular expression) and cutting pieces by what they match. */
#include <string.h>

#include "text/pipeline_private.h"

enum um_status um_pattern_parse(struct um_pattern *pattern, struct um_loader *loader,
                                const json_t *json, struct um_error *err)
{
    const json_t *value = json_object_get(json, "pattern");
    const char *regex = NULL;
    if (json_object_get(value, "String"))
        return um_text_option_parse(&pattern->string, loader, value, "String", err);
    UM_RETURN_IF(um_json_get_str(&regex, value, "Regex", loader->where, err));
    if (!regex)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': a \"pattern\" is neither {\"String\": ...} nor "
                       "{\"Regex\": ...}",
                       loader->where);
    UM_RETURN_IF(um_regex_compile(&loader->tokenizer->regexes, regex, loader->where, err));
    pattern->regex = loader->tokenizer->regexes;
    return UM_OK;
}

static enum um_status add_stretch(struct um_matches *matches, size_t start, size_t end,
                                  bool is_match, struct um_error *err)
{
    if (UM_UNLIKELY(matches->n == matches->capacity) &&
        !um_grow(&matches->items, &matches->capacity, matches->n + 1, sizeof(*matches->items)))
        return um_fail_memory(err, "tokenizing", matches->n * sizeof(*matches->items));
    matches->items[matches->n++] =
        (struct um_match){.start = start, .end = end, .is_match = is_match};
    return UM_OK;
}

/* Appends a match and the gap before it; *covered moves behind the match. */
static enum um_status add_match(struct um_scratch *s, size_t *covered, size_t start, size_t end,
                                struct um_error *err)
{
    if (start > *covered)
        UM_RETURN_IF(add_stretch(&s->matches, *covered, start, false, err));
    *covered = end;
    return add_stretch(&s->matches, start, end, true, err);
}

static enum um_status add_last_gap(struct um_scratch *s, size_t covered, size_t end,
                                   struct um_error *err)
{
    return end > covered ? add_stretch(&s->matches, covered, end, false, err) : UM_OK;
}

/* Where the needle (not empty) first stands at or behind `from`; `end` if nowhere. */
static size_t find_bytes(const char *text, size_t from, size_t end, struct um_text_option needle)
{
    while (end - from >= needle.n) {
        const char *at = memchr(text + from, needle.text[0], end - from - needle.n + 1);
        if (!at)
            break;
        if (!memcmp(at, needle.text, needle.n))
            return (size_t)(at - text);
        from = (size_t)(at - text) + 1;
    }
    return end;
}

static enum um_status find_string(struct um_scratch *s, struct um_text_option string, size_t start,
                                  size_t end, struct um_error *err)
{
    const char *text = s->text.text;
    size_t covered = start;
    while (string.n && covered < end) {
        size_t found = find_bytes(text, covered, end, string);
        if (found == end)
            break;
        UM_RETURN_IF(add_match(s, &covered, found, found + string.n, err));
    }
    return add_last_gap(s, covered, end, err);
}

static enum um_status find_regex(struct um_scratch *s, const struct um_regex *regex, size_t start,
                                 size_t end, struct um_error *err)
{
    /* The piece is matched as a text of its own: nothing outside it is looked at. */
    const char *text = s->text.text + start;
    size_t n = end - start, from = 0, covered = start, match_start, match_end;
    bool found, is_behind_match = false;
    while (from <= n) {
        UM_RETURN_IF(
            um_regex_find(&found, &match_start, &match_end, regex, &s->regex, text, n, from, err));
        if (!found)
            break;
        bool is_empty = match_start == match_end;
        if (!(is_empty && is_behind_match && match_start == from)) /* none right behind a match */
            UM_RETURN_IF(add_match(s, &covered, start + match_start, start + match_end, err));
        from = match_end;
        if (is_empty)
            from += from < n ? um_utf8_length(text[from]) : 1;
        is_behind_match = !is_empty;
    }
    return add_last_gap(s, covered, end, err);
}

enum um_status um_pattern_find(struct um_scratch *s, const struct um_pattern *pattern, size_t start,
                               size_t end, struct um_error *err)
{
    s->matches.n = 0;
    if (start == end)
        return UM_OK;
    return pattern->regex ? find_regex(s, pattern->regex, start, end, err)
                          : find_string(s, pattern->string, start, end, err);
}

enum um_status um_split_behavior_parse(enum um_split_behavior *behavior, struct um_loader *loader,
                                       const json_t *json, struct um_error *err)
{
    static const char *const names[] = {
        [UM_SPLIT_REMOVED] = "Removed",
        [UM_SPLIT_ISOLATED] = "Isolated",
        [UM_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [UM_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [UM_SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const char *name = NULL;
    UM_RETURN_IF(um_json_get_str(&name, json, "behavior", loader->where, err));
    if (!name)
        return UM_OK;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        if (!strcmp(names[i], name)) {
            *behavior = (enum um_split_behavior)i;
            return UM_OK;
        }
    }
    return um_fail(err, UM_E_INPUT,
                   "cannot read '%s': unknown \"behavior\" '%.100s'; known are: Removed, Isolated, "
                   "MergedWithPrevious, MergedWithNext, Contiguous",
                   loader->where, name);
}

/* Whether the stretch matches[i] joins the one before it. */
static bool joins_previous(const struct um_matches *matches, size_t i,
                           enum um_split_behavior behavior)
{
    if (i == 0)
        return false;
    bool is_match = matches->items[i].is_match, was_match = matches->items[i - 1].is_match;
    switch (behavior) {
    case UM_SPLIT_MERGED_WITH_PREVIOUS:
        return is_match && !was_match;
    case UM_SPLIT_MERGED_WITH_NEXT:
        return !is_match && was_match;
    case UM_SPLIT_CONTIGUOUS:
        return is_match == was_match;
    default:
        return false;
    }
}

enum um_status um_split_piece(struct um_scratch *s, struct um_piece piece,
                              enum um_split_behavior behavior, struct um_error *err)
{
    const struct um_matches *matches = &s->matches;
    for (size_t i = 0, next; i < matches->n; i = next) {
        size_t start = matches->items[i].start, end = matches->items[i].end;
        for (next = i + 1; next < matches->n && joins_previous(matches, next, behavior); next++)
            end = matches->items[next].end;
        bool is_removed = behavior == UM_SPLIT_REMOVED && matches->items[i].is_match;
        if (is_removed || start == end)
            continue;
        UM_RETURN_IF(um_pieces_add(&s->spare_pieces, start, end,
                                   piece.is_first && start == piece.start, err));
    }
    return UM_OK;
}

/* The matches of single characters in one piece. */
static enum um_status find_chars(struct um_scratch *s, struct um_piece piece,
                                 um_char_fn *is_delimiter, struct um_error *err)
{
    size_t covered = piece.start;
    s->matches.n = 0;
    for (size_t i = piece.start, length; i < piece.end; i += length) {
        if (is_delimiter(um_utf8_decode(&length, s->text.text + i)))
            UM_RETURN_IF(add_match(s, &covered, i, i + length, err));
    }
    return add_last_gap(s, covered, piece.end, err);
}

enum um_status um_split_by_char(struct um_scratch *s, um_char_fn *is_delimiter,
                                enum um_split_behavior behavior, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        UM_RETURN_IF(find_chars(s, s->pieces.items[i], is_delimiter, err));
        UM_RETURN_IF(um_split_piece(s, s->pieces.items[i], behavior, err));
    }
    um_scratch_swap_pieces(s);
    return UM_OK;
}

enum um_status um_prefix_pieces(struct um_scratch *s, const char *prefix, size_t n_prefix,
                                bool only_first, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        const char *text = s->text.text + piece->start;
        size_t n = piece->end - piece->start, start = s->spare.length;
        bool has_it = n >= n_prefix && !memcmp(text, prefix, n_prefix);
        if (!has_it && (piece->is_first || !only_first))
            um_str_add_n(&s->spare, prefix, n_prefix);
        um_str_add_n(&s->spare, text, n);
        piece->start = start;
        piece->end = s->spare.length;
    }
    return um_scratch_rewritten(s, err);
}

enum um_status um_replace_parse(const void **options, struct um_loader *loader, const json_t *json,
                                struct um_error *err)
{
    struct um_replace *replace = um_options_new(options, loader, sizeof(*replace), err);
    if (!replace)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_pattern_parse(&replace->pattern, loader, json, err));
    return um_text_option_parse(&replace->content, loader, json, "content", err);
}

enum um_status um_replace_put(struct um_scratch *s, const struct um_replace *replace, size_t start,
                              size_t end, struct um_error *err)
{
    UM_RETURN_IF(um_pattern_find(s, &replace->pattern, start, end, err));
    for (size_t i = 0; i < s->matches.n; i++) {
        struct um_match part = s->matches.items[i];
        if (part.is_match)
            um_str_add_n(&s->spare, replace->content.text, replace->content.n);
        else
            um_str_add_n(&s->spare, s->text.text + part.start, part.end - part.start);
    }
    return UM_OK;
}
