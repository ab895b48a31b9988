/*
 * Decoders: the texts of tokens back to a text. scratch->pieces are the tokens; each decoder
 * rewrites them, and what is left, one behind the other, is the result.
 */
#include <string.h>

#include "text/byte_level.h"
#include "text/metaspace_private.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Rewriting: `start` is where the new form of a piece begins in spare. */
static void end_piece(struct um_scratch *s, struct um_piece *piece, size_t start)
{
    piece->start = start;
    piece->end = s->spare.length;
}

static void keep(struct um_scratch *s, struct um_piece *piece)
{
    size_t start = s->spare.length;
    um_str_add_n(&s->spare, s->text.text + piece->start, piece->end - piece->start);
    end_piece(s, piece, start);
}

/* The bytes that a token stands for; a token with a character outside the alphabet is itself. */
static void put_token_bytes(struct um_str *out, const char *text, size_t n)
{
    size_t before = out->length;
    for (size_t i = 0, length; i < n; i += length) {
        int byte = um_byte_level_byte(um_utf8_decode(&length, text + i));
        if (byte < 0) {
            out->length = before;
            um_str_add_n(out, text, n);
            return;
        }
        um_str_add_n(out, &(char){(char)byte}, 1);
    }
}

static enum um_status run_byte_level(struct um_scratch *s, const void *options,
                                     struct um_error *err)
{
    (void)options;
    struct um_str *bytes = &s->run[0];
    um_str_clear(bytes);
    for (size_t i = 0; i < s->pieces.n; i++)
        put_token_bytes(bytes, s->text.text + s->pieces.items[i].start,
                        s->pieces.items[i].end - s->pieces.items[i].start);
    if (bytes->failed)
        return um_fail_memory(err, "decoding", bytes->length);
    um_text_put_lossy(&s->spare, bytes->text ? bytes->text : "", bytes->length);
    s->pieces.n = 0;
    UM_RETURN_IF(um_pieces_add(&s->pieces, 0, s->spare.length, true, err));
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_byte_level = {
    .type = "ByteLevel", .summary = "GPT-2's byte alphabet to text", .run = run_byte_level};

/* The value of "<0xHH>", or -1. */
static int byte_of_token(const char *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || !text[3] || !text[4])
        return -1;
    const char *high = strchr(digits, text[3]), *low = strchr(digits, text[4]);
    return high && low ? (int)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

/* A run of byte tokens: one text if it is valid UTF-8, else a replacement for each byte. */
static enum um_status put_byte_run(struct um_scratch *s, const struct um_str *bytes,
                                   struct um_error *err)
{
    size_t start = s->spare.length;
    bool is_valid = um_utf8_valid(bytes->text, bytes->length) == bytes->length;
    if (is_valid)
        um_str_add_n(&s->spare, bytes->text, bytes->length);
    for (size_t i = 0; !is_valid && i < bytes->length; i++)
        um_str_add(&s->spare, replacement);
    return um_pieces_add(&s->spare_pieces, start, s->spare.length, start == 0, err);
}

static enum um_status run_byte_fallback(struct um_scratch *s, const void *options,
                                        struct um_error *err)
{
    (void)options;
    struct um_str *bytes = &s->run[0];
    um_str_clear(bytes);
    for (size_t i = 0; i <= s->pieces.n; i++) {
        struct um_piece piece = i < s->pieces.n ? s->pieces.items[i] : (struct um_piece){0};
        const char *text = s->text.text + piece.start;
        int byte = i < s->pieces.n ? byte_of_token(text, piece.end - piece.start) : -1;
        if (byte >= 0) {
            um_str_add_n(bytes, &(char){(char)byte}, 1);
            continue;
        }
        if (bytes->failed)
            return um_fail_memory(err, "decoding", bytes->length);
        if (bytes->length)
            UM_RETURN_IF(put_byte_run(s, bytes, err));
        um_str_clear(bytes);
        if (i == s->pieces.n)
            break;
        keep(s, &piece);
        UM_RETURN_IF(um_pieces_add(&s->spare_pieces, piece.start, piece.end, false, err));
    }
    um_scratch_swap_pieces(s);
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_byte_fallback = {
    .type = "ByteFallback", .summary = "<0xHH> tokens to text", .run = run_byte_fallback};

static enum um_status run_fuse(struct um_scratch *s, const void *options, struct um_error *err)
{
    (void)options;
    for (size_t i = 0; i < s->pieces.n; i++)
        keep(s, &s->pieces.items[i]);
    s->pieces.n = 0;
    UM_RETURN_IF(um_pieces_add(&s->pieces, 0, s->spare.length, true, err));
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_fuse = {
    .type = "Fuse", .summary = "all tokens to one", .run = run_fuse};

static enum um_status run_metaspace(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct um_metaspace *meta = options;
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        size_t start = s->spare.length;
        UM_RETURN_IF(um_pattern_find(s, &meta->mark, piece->start, piece->end, err));
        for (size_t k = 0; k < s->matches.n; k++) {
            struct um_match part = s->matches.items[k];
            if (!part.is_match)
                um_str_add_n(&s->spare, s->text.text + part.start, part.end - part.start);
            else if (i > 0 || meta->prepend == UM_PREPEND_NEVER)
                um_str_add(&s->spare, " ");
        }
        end_piece(s, piece, start);
    }
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_metaspace = {.type = "Metaspace",
                                              .summary = "visible blanks to blanks",
                                              .parse = um_metaspace_parse,
                                              .run = run_metaspace};

static enum um_status run_replace(struct um_scratch *s, const void *options, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        size_t start = s->spare.length;
        UM_RETURN_IF(um_replace_put(s, options, piece->start, piece->end, err));
        end_piece(s, piece, start);
    }
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_replace = {.type = "Replace",
                                            .summary = "replaces what a pattern matches",
                                            .parse = um_replace_parse,
                                            .run = run_replace};

struct strip {
    struct um_text_option content;
    int64_t start, stop; /* at most so many at each end of a token */
};

static enum um_status parse_strip(const void **options, struct um_loader *loader,
                                  const json_t *json, struct um_error *err)
{
    struct strip *strip = um_options_new(options, loader, sizeof(*strip), err);
    if (!strip)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_text_option_parse(&strip->content, loader, json, "content", err));
    UM_RETURN_IF(um_json_get_i64(&strip->start, json, "start", loader->where, err));
    return um_json_get_i64(&strip->stop, json, "stop", loader->where, err);
}

static enum um_status run_strip(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct strip *strip = options;
    size_t n = strip->content.n;
    (void)err;
    for (size_t i = 0; n > 0 && i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        const char *text = s->text.text;
        for (int64_t k = 0; k < strip->start && piece->end - piece->start >= n &&
                            !memcmp(text + piece->start, strip->content.text, n);
             k++)
            piece->start += n;
        for (int64_t k = 0; k < strip->stop && piece->end - piece->start >= n &&
                            !memcmp(text + piece->end - n, strip->content.text, n);
             k++)
            piece->end -= n;
    }
    return UM_OK;
}

static const struct um_kind kind_strip = {.type = "Strip",
                                          .summary = "removes a character at the ends",
                                          .parse = parse_strip,
                                          .run = run_strip};

struct word_piece {
    struct um_text_option prefix;
    bool cleans;
};

static enum um_status parse_word_piece(const void **options, struct um_loader *loader,
                                       const json_t *json, struct um_error *err)
{
    struct word_piece *word_piece = um_options_new(options, loader, sizeof(*word_piece), err);
    if (!word_piece)
        return UM_E_RUNTIME;
    word_piece->cleans = true;
    UM_RETURN_IF(um_text_option_parse(&word_piece->prefix, loader, json, "prefix", err));
    return um_json_get_bool(&word_piece->cleans, json, "cleanup", loader->where, err);
}

/* Appends text[0..n) with what cleaning up shortens, in the reference's order of replacements. All
 * begin with a blank and none makes a new one, so one pass does. */
static void put_cleaned(struct um_str *out, const char *text, size_t n)
{
    static const struct {
        const char *from, *to;
    } cleanups[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < n;) {
        size_t k = 0, n_from = 0;
        for (; text[i] == ' ' && k < UM_COUNT(cleanups); k++) {
            n_from = strlen(cleanups[k].from);
            if (n - i >= n_from && !memcmp(text + i, cleanups[k].from, n_from))
                break;
        }
        bool is_found = text[i] == ' ' && k < UM_COUNT(cleanups);
        um_str_add_n(out, is_found ? cleanups[k].to : text + i,
                     is_found ? strlen(cleanups[k].to) : 1);
        i += is_found ? n_from : 1;
    }
}

static enum um_status run_word_piece(struct um_scratch *s, const void *options,
                                     struct um_error *err)
{
    const struct word_piece *word_piece = options;
    struct um_str *word = &s->run[0];
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        const char *text = s->text.text + piece->start;
        size_t n = piece->end - piece->start, start = s->spare.length, n_prefix;
        n_prefix = word_piece->prefix.n;
        bool is_continued = n >= n_prefix && !memcmp(text, word_piece->prefix.text, n_prefix);
        um_str_clear(word);
        if (i > 0 && !is_continued)
            um_str_add(word, " ");
        n_prefix = i > 0 && is_continued ? n_prefix : 0;
        um_str_add_n(word, text + n_prefix, n - n_prefix);
        if (word->failed)
            return um_fail_memory(err, "decoding", word->length);
        if (word_piece->cleans)
            put_cleaned(&s->spare, word->text, word->length);
        else
            um_str_add_n(&s->spare, word->text, word->length);
        end_piece(s, piece, start);
    }
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_word_piece = {.type = "WordPiece",
                                               .summary = "words of pieces, blanks between them",
                                               .parse = parse_word_piece,
                                               .run = run_word_piece};

static enum um_status parse_bpe(const void **options, struct um_loader *loader, const json_t *json,
                                struct um_error *err)
{
    struct um_replace *replace = um_options_new(options, loader, sizeof(*replace), err);
    if (!replace)
        return UM_E_RUNTIME;
    replace->content = (struct um_text_option){" ", 1};
    return um_text_option_parse(&replace->pattern.string, loader, json, "suffix", err);
}

static enum um_status run_bpe(struct um_scratch *s, const void *options, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        struct um_replace replace = *(const struct um_replace *)options;
        size_t start = s->spare.length;
        if (i + 1 == s->pieces.n)
            replace.content.n = 0;
        UM_RETURN_IF(um_replace_put(s, &replace, piece->start, piece->end, err));
        end_piece(s, piece, start);
    }
    return um_scratch_rewritten(s, err);
}

static const struct um_kind kind_bpe = {
    .type = "BPEDecoder", .summary = "a suffix ends words", .parse = parse_bpe, .run = run_bpe};

static enum um_status parse_sequence(const void **options, struct um_loader *loader,
                                     const json_t *json, struct um_error *err)
{
    return um_sequence_parse(options, &um_decoders, "decoders", loader, json, err);
}

static const struct um_kind kind_sequence = {.type = "Sequence",
                                             .summary = "several, one after another",
                                             .parse = parse_sequence,
                                             .run = um_sequence_run};

static const struct um_kind *const kinds[] = {
    &kind_byte_level, &kind_byte_fallback, &kind_fuse, &kind_metaspace, &kind_replace,
    &kind_strip,      &kind_word_piece,    &kind_bpe,  &kind_sequence};

const struct um_family um_decoders = {
    .name = "decoder", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
