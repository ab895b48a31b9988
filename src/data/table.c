/* Reading tables: one parser per format, all checks in one place. */
#include "data/table.h"

#include <string.h>

#include "base/json.h"

enum um_status um_table_format_of(enum um_table_format *format, const char *name, const char *path,
                                  struct um_error *err)
{
    static const struct {
        const char *suffix;
        enum um_table_format format;
    } known[] = {{"tsv", UM_TABLE_TSV},     {"txt", UM_TABLE_TSV},   {"csv", UM_TABLE_CSV},
                 {"jsonl", UM_TABLE_JSONL}, {"json", UM_TABLE_JSONL}};
    const char *dot = strrchr(path, '.'), *suffix = *name ? name : dot ? dot + 1 : "";
    for (size_t i = 0; i < UM_COUNT(known); i++) {
        if (strcmp(known[i].suffix, suffix) == 0) {
            *format = known[i].format;
            return UM_OK;
        }
    }
    return um_fail(err, UM_E_USAGE, "data.format: '%s' of '%s' is not one of tsv, csv, jsonl",
                   suffix, path);
}

/* A parser's place in the file. */
struct reader {
    struct um_table *table;
    char *text; /* the whole file, written over by unquoting */
    size_t n, at;
    int64_t line;
    size_t row_cells; /* cells of the row being read */
};

static enum um_status add_cell(struct reader *r, const char *text, size_t n, struct um_error *err)
{
    struct um_table *t = r->table;
    size_t at = (size_t)t->n_rows * t->n_columns + r->row_cells;
    if (!um_grow(&t->cells, &t->cells_capacity, at + 1, sizeof(*t->cells)))
        return um_fail_memory(err, t->path, at * sizeof(*t->cells));
    t->cells[at] = (struct um_cell){text, n};
    r->row_cells++;
    return UM_OK;
}

/* Takes the row that was read: the first fixes the number of columns (and names them). */
static enum um_status end_row(struct reader *r, int64_t line, bool is_header,
                              struct um_error *err)
{
    struct um_table *t = r->table;
    size_t n = r->row_cells;
    r->row_cells = 0;
    if (t->n_columns == 0)
        t->n_columns = n;
    if (n != t->n_columns) {
        um_fail(err, UM_E_INPUT, "%s:%lld: %zu fields, expected %zu", t->path, (long long)line, n,
                t->n_columns);
        um_error_hint(err, "a TSV has no quoting, so no field may hold a tab; a CSV quotes fields "
                           "that hold commas or newlines");
        return UM_E_INPUT;
    }
    if (is_header) {
        t->columns = UM_ARENA_NEW(&t->arena, n, const char *);
        if (!t->columns)
            return um_fail_memory(err, t->path, n * sizeof(char *));
        for (size_t c = 0; c < n; c++)
            t->columns[c] = t->cells[c].text;
        return UM_OK;
    }
    if (!um_grow(&t->lines, &t->lines_capacity, (size_t)t->n_rows + 1, sizeof(*t->lines)))
        return um_fail_memory(err, t->path, (size_t)t->n_rows * sizeof(*t->lines));
    t->lines[t->n_rows++] = line;
    return UM_OK;
}

/* The next line's end; steps over the newline and cuts a carriage return off. */
static size_t line_end(struct reader *r)
{
    size_t end = r->at;
    while (end < r->n && r->text[end] != '\n')
        end++;
    size_t next = end < r->n ? end + 1 : end;
    if (end > r->at && r->text[end - 1] == '\r')
        end--;
    r->text[end] = '\0';
    r->line++;
    r->at = next;
    return end;
}

static enum um_status read_tsv(struct reader *r, bool has_header, struct um_error *err)
{
    while (r->at < r->n) {
        size_t start = r->at, end = line_end(r);
        if (start == end)
            continue; /* an empty line */
        for (size_t i = start;; i++) {
            if (i < end && r->text[i] != '\t')
                continue;
            r->text[i] = '\0';
            UM_RETURN_IF(add_cell(r, r->text + start, i - start, err));
            start = i + 1;
            if (i >= end)
                break;
        }
        UM_RETURN_IF(end_row(r, r->line, has_header, err));
        has_header = false;
    }
    return UM_OK;
}

/* One CSV field from r->at, unquoted in place. *last: it ends its row. */
static enum um_status read_csv_field(struct reader *r, bool *last, struct um_error *err)
{
    size_t start = r->at, out = start;
    bool is_quoted = r->at < r->n && r->text[r->at] == '"';
    int64_t line = r->line;
    r->at += is_quoted;
    for (; r->at < r->n; r->at++) {
        char c = r->text[r->at];
        if (is_quoted && c == '"') {
            if (r->at + 1 < r->n && r->text[r->at + 1] == '"')
                r->at++;
            else
                break;
        } else if (!is_quoted && (c == ',' || c == '\n')) {
            break;
        }
        r->line += c == '\n';
        r->text[out++] = r->text[r->at];
    }
    if (is_quoted) {
        if (r->at == r->n)
            return um_fail(err, UM_E_INPUT, "%s:%lld: a quoted field is never closed",
                           r->table->path, (long long)line);
        r->at++; /* the closing quote */
        if (r->at < r->n && r->text[r->at] == '\r')
            r->at++;
        if (r->at < r->n && r->text[r->at] != ',' && r->text[r->at] != '\n')
            return um_fail(err, UM_E_INPUT, "%s:%lld: text behind a closing quote",
                           r->table->path, (long long)r->line);
    } else if (out > start && r->text[out - 1] == '\r') {
        out--;
    }
    *last = r->at >= r->n || r->text[r->at] == '\n';
    r->at += r->at < r->n;
    r->text[out] = '\0';
    return add_cell(r, r->text + start, out - start, err);
}

static enum um_status read_csv(struct reader *r, bool has_header, struct um_error *err)
{
    r->line = 1;
    while (r->at < r->n) {
        int64_t line = r->line;
        if (r->text[r->at] == '\n' || (r->text[r->at] == '\r' && r->at + 1 < r->n &&
                                       r->text[r->at + 1] == '\n')) {
            r->at += r->text[r->at] == '\r' ? 2 : 1;
            r->line++;
            continue;
        }
        for (bool last = false; !last;)
            UM_RETURN_IF(read_csv_field(r, &last, err));
        r->line++;
        UM_RETURN_IF(end_row(r, line, has_header, err));
        has_header = false;
    }
    return UM_OK;
}

/* A JSON value as a cell's text: strings as they are, numbers and truth values as JSON. */
static enum um_status add_json_cell(struct reader *r, const json_t *value, struct um_error *err)
{
    struct um_table *t = r->table;
    if (json_is_object(value) || json_is_array(value))
        return um_fail(err, UM_E_INPUT, "%s:%lld: a value is an object or array, expected text "
                       "or a number", t->path, (long long)r->line);
    char number[64];
    const char *text = json_string_value(value);
    size_t n = text ? json_string_length(value) : 0;
    if (json_is_integer(value))
        (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(number, sizeof(number), "%.17g", json_real_value(value));
    else
        (void)snprintf(number, sizeof(number), "%s", json_is_true(value)    ? "true"
                                                     : json_is_false(value) ? "false"
                                                                            : "");
    if (!text) {
        text = number;
        n = strlen(number);
    }
    const char *copy = um_arena_strndup(&t->arena, text, n);
    return copy ? add_cell(r, copy, n, err) : um_fail_memory(err, t->path, n);
}

/* The first object names the columns; every other must have the same keys. */
static enum um_status add_object(struct reader *r, const json_t *object, struct um_error *err)
{
    struct um_table *t = r->table;
    const char *key;
    json_t *value;
    if (!json_is_object(object) || json_object_size(object) == 0)
        return um_fail(err, UM_E_INPUT, "%s:%lld: not a JSON object with members", t->path,
                       (long long)r->line);
    if (!t->columns) {
        t->columns = UM_ARENA_NEW(&t->arena, json_object_size(object), const char *);
        if (!t->columns)
            return um_fail_memory(err, t->path, json_object_size(object) * sizeof(char *));
        json_object_foreach ((json_t *)object, key, value) {
            t->columns[t->n_columns] = um_arena_strdup(&t->arena, key);
            if (!t->columns[t->n_columns++])
                return um_fail_memory(err, t->path, strlen(key));
        }
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        value = json_object_get(object, t->columns[c]);
        if (!value)
            return um_fail(err, UM_E_INPUT, "%s:%lld: no member '%s', which the first line has",
                           t->path, (long long)r->line, t->columns[c]);
        UM_RETURN_IF(add_json_cell(r, value, err));
    }
    return end_row(r, r->line, false, err);
}

static enum um_status read_jsonl(struct reader *r, bool has_header, struct um_error *err)
{
    (void)has_header;
    while (r->at < r->n) {
        size_t start = r->at, end = line_end(r);
        char where[600];
        json_t *object;
        if (start == end)
            continue;
        (void)snprintf(where, sizeof(where), "%.500s:%lld", r->table->path, (long long)r->line);
        UM_RETURN_IF(um_json_parse(&object, r->text + start, end - start, where, err));
        enum um_status status = add_object(r, object, err);
        json_decref(object);
        UM_RETURN_IF(status);
    }
    return UM_OK;
}

static enum um_status check_bytes(const struct reader *r, struct um_error *err)
{
    size_t valid = um_utf8_valid(r->text, r->n);
    const char *nul = memchr(r->text, '\0', r->n);
    size_t bad = nul && (size_t)(nul - r->text) < valid ? (size_t)(nul - r->text) : valid;
    int64_t line = 1;
    if (bad == r->n)
        return UM_OK;
    for (size_t i = 0; i < bad; i++)
        line += r->text[i] == '\n';
    return um_fail(err, UM_E_INPUT, "%s:%lld: %s at byte %zu of the file", r->table->path,
                   (long long)line, bad < valid ? "a NUL byte" : "invalid UTF-8", bad);
}

enum um_status um_table_open(struct um_table *table, const char *path,
                             enum um_table_format format, bool has_header, struct um_error *err)
{
    static enum um_status (*const readers[])(struct reader *, bool, struct um_error *) = {
        [UM_TABLE_TSV] = read_tsv, [UM_TABLE_CSV] = read_csv, [UM_TABLE_JSONL] = read_jsonl};
    struct um_map map;
    *table = (struct um_table){0};
    UM_RETURN_IF(um_map_open(&map, path, err));
    enum um_status status = UM_OK;
    struct reader r = {.table = table, .n = map.n_bytes};
    table->path = um_strdup(path);
    r.text = um_arena_alloc(&table->arena, map.n_bytes + 1);
    if (!table->path || !r.text)
        UM_TRY(um_fail_memory(err, path, map.n_bytes));
    if (map.n_bytes)
        memcpy(r.text, map.bytes, map.n_bytes);
    r.text[r.n] = '\0';
    UM_TRY(check_bytes(&r, err));
    if (r.n >= 3 && memcmp(r.text, "\xef\xbb\xbf", 3) == 0)
        r.at = 3; /* a byte-order mark */
    UM_TRY(readers[format](&r, has_header, err));
    if (table->n_rows == 0)
        UM_TRY(um_fail(err, UM_E_INPUT, "'%s' has no rows%s", path,
                       has_header && r.n ? " behind its header" : ""));
out:
    um_map_close(&map);
    if (status != UM_OK)
        um_table_close(table);
    return status;
}

void um_table_close(struct um_table *table)
{
    um_free(table->path);
    um_free(table->cells);
    um_free(table->lines);
    um_arena_free(&table->arena);
    *table = (struct um_table){0};
}

bool um_table_has_column(size_t *column, const struct um_table *table, const char *name)
{
    int64_t number;
    for (size_t c = 0; table->columns && c < table->n_columns; c++) {
        if (strcmp(table->columns[c], name) == 0) {
            *column = c;
            return true;
        }
    }
    if (!um_parse_i64(&number, name) || number < 1 || (uint64_t)number > table->n_columns)
        return false;
    *column = (size_t)number - 1;
    return true;
}

enum um_status um_table_column(size_t *column, const struct um_table *table, const char *name,
                               struct um_error *err)
{
    if (um_table_has_column(column, table, name))
        return UM_OK;
    struct um_str there = {0};
    for (size_t c = 0; table->columns && c < table->n_columns; c++)
        um_str_addf(&there, "%s'%s'", c ? ", " : "", table->columns[c]);
    if (!table->columns)
        um_str_addf(&there, "numbers 1 to %zu (there is no header)", table->n_columns);
    enum um_status status = um_fail(err, UM_E_INPUT, "'%s' has no column '%s'; there are: %s",
                                    table->path, name, there.text ? there.text : "");
    const char *near = table->columns ? um_nearest(name, table->columns, table->n_columns) : NULL;
    if (near)
        um_error_hint(err, "did you mean '%s'?", near);
    um_str_free(&there);
    return status;
}
