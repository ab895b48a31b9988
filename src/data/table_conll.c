/* CoNLL: a word per line with its tags, in columns that tabs separate, if the line has any, or else
 * spaces; an empty line behind each sentence. The line that begins a document is no word. */
#include <string.h>

#include "base/str.h"
#include "data/table_private.h"

enum { COLUMNS_MAX = 64 };

/* A sentence being read, column by column. */
struct sentence {
    struct um_str columns[COLUMNS_MAX];
    size_t n_columns;
    int64_t n_words, line; /* where it began */
};

/* The next field of a line that ends at `end`; false: there is none. */
static bool next_field(size_t *start, size_t *n, const char *text, size_t *at, size_t end,
                       bool has_tabs)
{
    const char *separators = has_tabs ? "\t" : " ";
    while (!has_tabs && *at < end && text[*at] == ' ')
        ++*at;
    if (*at > end || (*at == end && !has_tabs))
        return false;
    *start = *at;
    while (*at < end && text[*at] != *separators)
        ++*at;
    *n = *at - *start;
    ++*at;
    return true;
}

static enum um_status fail_fields(const struct um_table_reader *r, int64_t line, size_t n,
                                  size_t n_expected, struct um_error *err)
{
    um_fail(err, UM_E_INPUT, "%s:%lld: %zu fields, expected %zu", r->table->path, (long long)line,
            n, n_expected);
    um_error_hint(err, "each line holds a word and its tags, and an empty line ends a sentence");
    return UM_E_INPUT;
}

static enum um_status read_word(struct sentence *s, const struct um_table_reader *r, int64_t line,
                                size_t start, size_t end, struct um_error *err)
{
    const char *text = r->text;
    bool has_tabs = memchr(text + start, '\t', end - start) != NULL;
    size_t field, n, at = start, n_fields = 0;
    while (next_field(&field, &n, text, &at, end, has_tabs)) {
        if (n_fields == COLUMNS_MAX || (s->n_columns && n_fields == s->n_columns))
            return fail_fields(r, line, n_fields + 1, s->n_columns ? s->n_columns : COLUMNS_MAX,
                               err);
        um_str_add_n(&s->columns[n_fields], text + field, n);
        um_str_add(&s->columns[n_fields], "\n");
        if (s->columns[n_fields++].failed)
            return um_fail_memory(err, r->table->path, n);
    }
    if (s->n_columns == 0)
        s->n_columns = n_fields;
    if (n_fields != s->n_columns)
        return fail_fields(r, line, n_fields, s->n_columns, err);
    s->n_words++;
    return UM_OK;
}

static enum um_status end_sentence(struct sentence *s, struct um_table_reader *r,
                                   struct um_error *err)
{
    if (s->n_words == 0)
        return UM_OK;
    for (size_t c = 0; c < s->n_columns; c++) {
        struct um_str *column = &s->columns[c];
        char *copy = um_table_room(r, column->length);
        if (!copy)
            return um_fail_memory(err, r->table->path, column->length);
        memcpy(copy, column->text, column->length + 1);
        UM_RETURN_IF(um_table_add_list(r, copy, column->length, err));
        um_str_clear(column);
    }
    s->n_words = 0;
    return um_table_end_row(r, s->line, err);
}

static bool is_blank(const char *text, size_t start, size_t end)
{
    while (start < end && (text[start] == ' ' || text[start] == '\t'))
        start++;
    return start == end;
}

static bool begins_document(const char *text, size_t start, size_t end)
{
    static const char mark[] = "-DOCSTART-";
    return end - start >= sizeof(mark) - 1 && memcmp(text + start, mark, sizeof(mark) - 1) == 0;
}

/* Files whose first word is the name of the words' column are tables. */
static enum um_status check_header(const struct um_table_reader *r, size_t start, size_t end,
                                   struct um_error *err)
{
    const char *name = r->options->wanted[0] ? r->options->wanted[0] : "";
    size_t n = strlen(name);
    if (n == 0 || end - start <= n || memcmp(r->text + start, name, n) != 0 ||
        !strchr(" \t", r->text[start + n]))
        return UM_OK;
    um_fail(err, UM_E_INPUT, "%s:1: '%s' is the name of a column, where CoNLL files have a word",
            r->table->path, name);
    um_error_hint(err, "--header yes reads it as a table: a text and its tags in each row");
    return UM_E_INPUT;
}

enum um_status um_table_read_conll(struct um_table_reader *r, struct um_error *err)
{
    struct sentence s = {0};
    enum um_status status = UM_OK;
    r->has_header = false;
    while (r->at < r->n) {
        size_t start = r->at;
        int64_t line = r->line;
        const char *newline = memchr(r->text + start, '\n', r->n - start);
        size_t end = um_table_end_line(r, start, newline ? (size_t)(newline - r->text) : r->n);
        if (is_blank(r->text, start, end) || begins_document(r->text, start, end)) {
            UM_TRY(end_sentence(&s, r, err));
            continue;
        }
        if (line == 1)
            UM_TRY(check_header(r, start, end, err));
        if (s.n_words == 0)
            s.line = line;
        UM_TRY(read_word(&s, r, line, start, end, err));
    }
    UM_TRY(end_sentence(&s, r, err));
out:
    for (size_t c = 0; c < COLUMNS_MAX; c++)
        um_str_free(&s.columns[c]);
    return status;
}
