/*
 * Metaspace (SentencePiece): blanks become a visible mark (U+2581), one is put in front, and the
 * text is cut before every mark.
 */
#include <string.h>

#include "text/metaspace_private.h"
#include "text/pre_tokenizer_private.h"

enum um_status um_metaspace_parse(const void **options, struct um_loader *loader,
                                  const json_t *json, struct um_error *err)
{
    static const char *const schemes[] = {
        [UM_PREPEND_ALWAYS] = "always", [UM_PREPEND_FIRST] = "first", [UM_PREPEND_NEVER] = "never"};
    struct um_metaspace *meta = um_options_new(options, loader, sizeof(*meta), err);
    const char *scheme = NULL;
    bool adds_blank = true;
    size_t i = 0;
    if (!meta)
        return UM_E_RUNTIME;
    meta->splits = true;
    UM_RETURN_IF(um_text_option_parse(&meta->mark.string, loader, json, "replacement", err));
    UM_RETURN_IF(um_json_get_bool(&adds_blank, json, "add_prefix_space", loader->where, err));
    UM_RETURN_IF(um_json_get_str(&scheme, json, "prepend_scheme", loader->where, err));
    UM_RETURN_IF(um_json_get_bool(&meta->splits, json, "split", loader->where, err));
    if (!scheme)
        scheme = adds_blank ? "always" : "never";
    while (i < UM_COUNT(schemes) && strcmp(schemes[i], scheme) != 0)
        i++;
    if (i == UM_COUNT(schemes))
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': \"prepend_scheme\" is '%.100s', expected "
                       "always, first or never",
                       loader->where, scheme);
    meta->prepend = (enum um_prepend)i;
    return UM_OK;
}

static void mark_blanks(struct um_scratch *s, const struct um_metaspace *meta)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece *piece = &s->pieces.items[i];
        size_t start = s->spare.length;
        for (size_t k = piece->start; k < piece->end; k++) {
            if (s->text.text[k] == ' ')
                um_str_add_n(&s->spare, meta->mark.string.text, meta->mark.string.n);
            else
                um_str_add_n(&s->spare, s->text.text + k, 1);
        }
        piece->start = start;
        piece->end = s->spare.length;
    }
    um_scratch_swap_text(s);
}

static enum um_status split(struct um_scratch *s, const struct um_metaspace *meta,
                            struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        UM_RETURN_IF(um_pattern_find(s, &meta->mark, piece.start, piece.end, err));
        UM_RETURN_IF(um_split_piece(s, piece, UM_SPLIT_MERGED_WITH_NEXT, err));
    }
    um_scratch_swap_pieces(s);
    return UM_OK;
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct um_metaspace *meta = options;
    mark_blanks(s, meta);
    UM_RETURN_IF(um_scratch_check(s, err));
    if (meta->prepend != UM_PREPEND_NEVER)
        UM_RETURN_IF(um_prefix_pieces(s, meta->mark.string.text, meta->mark.string.n,
                                      meta->prepend == UM_PREPEND_FIRST, err));
    return meta->splits ? split(s, meta, err) : UM_OK;
}

const struct um_kind um_pre_tokenizer_metaspace = {.type = "Metaspace",
                                                   .summary = "SentencePiece's visible blanks",
                                                   .parse = um_metaspace_parse,
                                                   .run = run};
