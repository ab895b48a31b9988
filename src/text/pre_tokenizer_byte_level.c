/*
 * ByteLevel: optionally a blank in front and GPT-2's regular expression; then each byte becomes the
 * code point that stands for it (byte_level.h).
 */
#include <string.h>

#include "text/byte_level.h"
#include "text/pre_tokenizer_private.h"

static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
                                   " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct byte_level {
    bool adds_blank;
    struct um_pattern pattern; /* no regex: not split */
};

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct byte_level *level = um_options_new(options, loader, sizeof(*level), err);
    bool uses_pattern = true;
    if (!level)
        return UM_E_RUNTIME;
    level->adds_blank = true;
    UM_RETURN_IF(
        um_json_get_bool(&level->adds_blank, json, "add_prefix_space", loader->where, err));
    UM_RETURN_IF(um_json_get_bool(&uses_pattern, json, "use_regex", loader->where, err));
    if (!uses_pattern)
        return UM_OK;
    UM_RETURN_IF(um_regex_compile(&loader->tokenizer->regexes, gpt2_pattern, loader->where, err));
    level->pattern.regex = loader->tokenizer->regexes;
    return UM_OK;
}

static enum um_status split(struct um_scratch *s, const struct um_pattern *pattern,
                            struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        UM_RETURN_IF(um_pattern_find(s, pattern, piece.start, piece.end, err));
        UM_RETURN_IF(um_split_piece(s, piece, UM_SPLIT_ISOLATED, err));
    }
    um_scratch_swap_pieces(s);
    return UM_OK;
}

/* Rewrites all pieces by the byte alphabet; a code point takes at most two bytes. */
static void map_bytes(struct um_scratch *s)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        size_t start = s->spare.length;
        for (size_t k = piece->start; k < piece->end; k++) {
            unsigned char byte = (unsigned char)s->text.text[k];
            if (byte > ' ' && byte < 0x7f && um_text_room(&s->spare, 2))
                s->spare.text[s->spare.length++] = (char)byte;
            else
                um_byte_level_put(&s->spare, byte);
        }
        piece->start = start;
        piece->end = s->spare.length;
    }
    um_scratch_swap_text(s);
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct byte_level *level = options;
    if (level->adds_blank)
        UM_RETURN_IF(um_prefix_pieces(s, " ", 1, false, err));
    if (level->pattern.regex)
        UM_RETURN_IF(split(s, &level->pattern, err));
    map_bytes(s);
    return um_scratch_check(s, err);
}

const struct um_kind um_pre_tokenizer_byte_level = {
    .type = "ByteLevel", .summary = "GPT-2's words and bytes", .parse = parse, .run = run};
