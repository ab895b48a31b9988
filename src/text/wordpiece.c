/* WordPiece: the longest piece that is in the vocabulary, again and again; a word that cannot be
 * covered, or is too long, is the unknown token as a whole. */
#include <string.h>

#include "text/tokenizer.h"

enum { PIECE_MAX = 1024 }; /* bytes of a prefix and piece together */

static int64_t count_chars(const char *word, size_t n)
{
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)word[i] & 0xc0) != 0x80;
    return chars;
}

/* The longest piece at word[start..n); returns its id or -1 and its end. */
static int32_t longest_piece(const struct um_tokenizer *t, const char *word, size_t start,
                             size_t n, size_t *end)
{
    const struct um_wordpiece *w = &t->wordpiece;
    char piece[PIECE_MAX];
    size_t n_prefix = start ? w->n_prefix : 0, most = PIECE_MAX - n_prefix;
    if (n - start > most) /* no vocabulary entry is as long */
        n = start + most;
    memcpy(piece, w->prefix, n_prefix);
    memcpy(piece + n_prefix, word + start, n - start);
    for (size_t stop = n; stop > start; stop--) {
        if (stop < n && ((unsigned char)word[stop] & 0xc0) == 0x80)
            continue; /* inside a character */
        int32_t id = um_vocabulary_find(&t->vocabulary, piece, n_prefix + stop - start);
        if (id >= 0) {
            *end = stop;
            return id;
        }
    }
    return -1;
}

bool um_wordpiece_run(const struct um_tokenizer *t, struct um_tokens *out, const char *word,
                      size_t n)
{
    size_t before = out->n;
    bool is_whole = (int64_t)n <= t->wordpiece.max_chars ||
                    count_chars(word, n) <= t->wordpiece.max_chars;
    for (size_t start = 0, end; is_whole && start < n; start = end) {
        int32_t id = longest_piece(t, word, start, n, &end);
        is_whole = id >= 0;
        if (is_whole && !um_tokens_add(out, id, 0))
            return false;
    }
    if (is_whole)
        return true;
    out->n = before;
    return um_tokens_add(out, t->wordpiece.unknown, 0);
}
