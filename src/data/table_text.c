/* TSV and CSV. Fields are copied, packed, with a NUL behind each. */
#include <string.h>

#include "data/table_private.h"

static enum um_status copy_cell(struct um_table_reader *r, const char *text, size_t n,
                                struct um_error *err)
{
    char *copy = um_table_room(r, n);
    if (!copy)
        return um_fail_memory(err, r->table->path, n);
    memcpy(copy, text, n);
    copy[n] = '\0';
    return um_table_add_cell(r, copy, n, err);
}

/* Steps over an empty line; false if there is none. */
static bool skip_empty_line(struct um_table_reader *r)
{
    size_t end = r->at + (r->text[r->at] == '\r');
    if (end < r->n && r->text[end] != '\n')
        return false;
    r->at = end + (end < r->n);
    r->line++;
    return true;
}

size_t um_table_end_line(struct um_table_reader *r, size_t start, size_t end)
{
    r->at = end + (end < r->n);
    r->line++;
    return end > start && r->text[end - 1] == '\r' ? end - 1 : end;
}

enum um_status um_table_read_tsv(struct um_table_reader *r, struct um_error *err)
{
    while (r->at < r->n) {
        if (skip_empty_line(r))
            continue;
        size_t start = r->at;
        int64_t line = r->line;
        const char *newline = memchr(r->text + start, '\n', r->n - start);
        size_t end = um_table_end_line(r, start, newline ? (size_t)(newline - r->text) : r->n);
        for (const char *tab; (tab = memchr(r->text + start, '\t', end - start));) {
            size_t n = (size_t)(tab - r->text) - start;
            UM_RETURN_IF(copy_cell(r, r->text + start, n, err));
            start += n + 1;
        }
        UM_RETURN_IF(copy_cell(r, r->text + start, end - start, err));
        UM_RETURN_IF(um_table_end_row(r, line, err));
    }
    return UM_OK;
}

/* A quoted field: r->at is behind its opening quote, and is left behind its closing one. */
static enum um_status read_quoted(struct um_table_reader *r, struct um_error *err)
{
    const char *text = r->text;
    size_t start = r->at, n = 0, end = start;
    int64_t line = r->line;
    while (end < r->n && (text[end] != '"' || (end + 1 < r->n && text[end + 1] == '"')))
        end += text[end] == '"' ? 2 : 1;
    if (end >= r->n)
        return um_fail(err, UM_E_INPUT, "%s:%lld: a quoted field is never closed", r->table->path,
                       (long long)line);
    char *copy = um_table_room(r, end - start);
    if (!copy)
        return um_fail_memory(err, r->table->path, end - start);
    for (size_t i = start; i < end; i++) {
        r->line += text[i] == '\n';
        copy[n++] = text[i];
        i += text[i] == '"'; /* the second of two */
    }
    copy[n] = '\0';
    r->at = end + 1;
    return um_table_add_cell(r, copy, n, err);
}

/* One field and what ends it. *is_last: that was the end of the row. */
static enum um_status read_field(bool *is_last, struct um_table_reader *r, struct um_error *err)
{
    size_t start = r->at, end = start;
    if (r->at < r->n && r->text[r->at] == '"') {
        r->at++;
        UM_RETURN_IF(read_quoted(r, err));
        start = end = r->at;
        end += end < r->n && r->text[end] == '\r';
        if (end < r->n && r->text[end] != ',' && r->text[end] != '\n')
            return um_fail(err, UM_E_INPUT, "%s:%lld: text behind a closing quote",
                           r->table->path, (long long)r->line);
    } else {
        while (end < r->n && r->text[end] != ',' && r->text[end] != '\n')
            end++;
        size_t cut =
            end > start && r->text[end - 1] == '\r' && (end == r->n || r->text[end] == '\n');
        UM_RETURN_IF(copy_cell(r, r->text + start, end - start - cut, err));
    }
    *is_last = end == r->n || r->text[end] == '\n';
    r->at = end + (end < r->n);
    return UM_OK;
}

enum um_status um_table_read_csv(struct um_table_reader *r, struct um_error *err)
{
    while (r->at < r->n) {
        if (skip_empty_line(r))
            continue;
        int64_t line = r->line;
        for (bool is_last = false; !is_last;)
            UM_RETURN_IF(read_field(&is_last, r, err));
        r->line++;
        UM_RETURN_IF(um_table_end_row(r, line, err));
    }
    return UM_OK;
}

enum um_status um_table_read_whole(struct um_table_reader *r, struct um_error *err)
{
    static const char *const name = "text";
    struct um_table *t = r->table;
    size_t n = r->n - r->at;
    char *copy = um_table_room(r, n);
    t->columns = UM_ARENA_NEW(&t->arena, 1, const char *);
    if (!copy || !t->columns)
        return um_fail_memory(err, t->path, n);
    if (n == 0)
        return UM_OK;
    memcpy(copy, r->text + r->at, n);
    copy[n] = '\0';
    t->columns[0] = name;
    r->has_header = false;
    UM_RETURN_IF(um_table_add_cell(r, copy, n, err));
    return um_table_end_row(r, 1, err);
}
