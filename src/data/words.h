/* The words of a text: what white space separates, or the items of a list, a line for each
 * (um_cell.is_list). */
#ifndef UM_DATA_WORDS_H
#define UM_DATA_WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A walk over them; um_words begins one. */
struct um_words {
    const char *at, *end;
    bool are_lines;
};

static inline struct um_words um_words(const char *text, size_t n, bool is_list)
{
    return (struct um_words){text, text + n, is_list};
}

static inline bool um_words_is_end(const struct um_words *w, char c)
{
    return c == '\n' || (!w->are_lines && (c == ' ' || c == '\t' || c == '\r'));
}

/* The next word (borrows the text; a line may be empty); false at the end. */
static inline bool um_words_next(const char **word, size_t *n, struct um_words *w)
{
    while (!w->are_lines && w->at < w->end && um_words_is_end(w, *w->at))
        w->at++;
    if (w->at == w->end)
        return false;
    *word = w->at;
    while (w->at < w->end && !um_words_is_end(w, *w->at))
        w->at++;
    *n = (size_t)(w->at - *word);
    w->at += w->at < w->end;
    return true;
}

static inline int64_t um_words_count(const char *text, size_t n, bool is_list)
{
    struct um_words words = um_words(text, n, is_list);
    const char *word;
    int64_t count = 0;
    while (um_words_next(&word, &n, &words))
        count++;
    return count;
}

#endif
