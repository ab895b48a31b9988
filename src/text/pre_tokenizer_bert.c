/*
 * BertPreTokenizer: words between white space, and every punctuation character by itself. The
 * result of WhitespaceSplit and Punctuation in one pass, with a table for ASCII.
 */
#include "text/pre_tokenizer_private.h"

enum class { INSIDE, SPACE, PUNCTUATION };

static enum class class_of(uint32_t c) {
    return um_is_space(c)         ? SPACE
           : um_is_punctuation(c) ? PUNCTUATION
                                  : INSIDE;
}

static const unsigned char ascii_class[128] = {
    ['\t'] = SPACE,       ['\n'] = SPACE,       ['\v'] = SPACE,      ['\f'] = SPACE,
    ['\r'] = SPACE,       [' '] = SPACE,        ['!'] = PUNCTUATION, ['"'] = PUNCTUATION,
    ['#'] = PUNCTUATION,  ['$'] = PUNCTUATION,  ['%'] = PUNCTUATION, ['&'] = PUNCTUATION,
    ['\''] = PUNCTUATION, ['('] = PUNCTUATION,  [')'] = PUNCTUATION, ['*'] = PUNCTUATION,
    ['+'] = PUNCTUATION,  [','] = PUNCTUATION,  ['-'] = PUNCTUATION, ['.'] = PUNCTUATION,
    ['/'] = PUNCTUATION,  [':'] = PUNCTUATION,  [';'] = PUNCTUATION, ['<'] = PUNCTUATION,
    ['='] = PUNCTUATION,  ['>'] = PUNCTUATION,  ['?'] = PUNCTUATION, ['@'] = PUNCTUATION,
    ['['] = PUNCTUATION,  ['\\'] = PUNCTUATION, [']'] = PUNCTUATION, ['^'] = PUNCTUATION,
    ['_'] = PUNCTUATION,  ['`'] = PUNCTUATION,  ['{'] = PUNCTUATION, ['|'] = PUNCTUATION,
    ['}'] = PUNCTUATION,  ['~'] = PUNCTUATION,
};

static enum um_status cut(struct um_scratch *s, struct um_piece piece, struct um_error *err)
{
    const char *text = s->text.text;
    size_t start = piece.start, length;
    for (size_t i = piece.start; i < piece.end; i += length) {
        length = 1;
        enum class class = um_is_ascii(text[i]) ? (enum class)ascii_class[(unsigned char)text[i]]
                                                : class_of(um_utf8_decode(&length, text + i));
        if (class == INSIDE)
            continue;
        if (i > start)
            UM_RETURN_IF(um_pieces_add(&s->spare_pieces, start, i,
                                       piece.is_first && start == piece.start, err));
        if (class == PUNCTUATION)
            UM_RETURN_IF(um_pieces_add(&s->spare_pieces, i, i + length,
                                       piece.is_first && i == piece.start, err));
        start = i + length;
    }
    if (piece.end > start)
        return um_pieces_add(&s->spare_pieces, start, piece.end,
                             piece.is_first && start == piece.start, err);
    return UM_OK;
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    (void)options;
    for (size_t i = 0; i < s->pieces.n; i++)
        UM_RETURN_IF(cut(s, s->pieces.items[i], err));
    um_scratch_swap_pieces(s);
    return UM_OK;
}

const struct um_kind um_pre_tokenizer_bert = {
    .type = "BertPreTokenizer", .summary = "words, and punctuation by itself", .run = run};
