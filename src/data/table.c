/* Tables: rows as the readers of the formats give them, and the columns by name. */
#include <string.h>

#include "data/table_private.h"

enum um_status um_table_format_of(enum um_table_format *format, const char *name, const char *path,
                                  struct um_error *err)
{
    static const struct {
        const char *suffix;
        enum um_table_format format;
    } known[] = {{"tsv", UM_TABLE_TSV},    {"txt", UM_TABLE_TSV},  {"csv", UM_TABLE_CSV},
                 {"jsonl", UM_TABLE_JSON}, {"json", UM_TABLE_JSON},
                 {"conll", UM_TABLE_CONLL}, {"iob", UM_TABLE_CONLL},
                 {"iob2", UM_TABLE_CONLL}, {"bio", UM_TABLE_CONLL}};
    const char *dot = strrchr(path, '.'), *suffix = *name ? name : dot ? dot + 1 : "";
    for (size_t i = 0; i < UM_COUNT(known); i++) {
        if (strcmp(known[i].suffix, suffix) == 0) {
            *format = known[i].format;
            return UM_OK;
        }
    }
    return um_fail(err, UM_E_USAGE, "data.format: '%s' of '%s' is not one of tsv, csv, jsonl, "
                   "conll", suffix, path);
}

char *um_table_room(struct um_table_reader *r, size_t n)
{
    enum { BLOCK_BYTES = 64 * 1024 };
    if (n >= r->pool_left) {
        size_t bytes = n < BLOCK_BYTES ? BLOCK_BYTES : n + 1;
        r->pool = um_arena_alloc(&r->table->arena, bytes);
        r->pool_left = r->pool ? bytes : 0;
        if (!r->pool)
            return NULL;
    }
    char *room = r->pool;
    r->pool += n + 1;
    r->pool_left -= n + 1;
    return room;
}

static enum um_status add_cell(struct um_table_reader *r, struct um_cell cell,
                               struct um_error *err)
{
    struct um_table *t = r->table;
    size_t at = (size_t)t->n_rows * t->n_columns + r->row_cells;
    if (!um_grow(&t->cells, &t->cells_capacity, at + 1, sizeof(*t->cells)))
        return um_fail_memory(err, t->path, at * sizeof(*t->cells));
    t->cells[at] = cell;
    r->row_cells++;
    return UM_OK;
}

enum um_status um_table_add_cell(struct um_table_reader *r, const char *text, size_t n,
                                 struct um_error *err)
{
    return add_cell(r, (struct um_cell){.text = text, .n = n}, err);
}

enum um_status um_table_add_list(struct um_table_reader *r, const char *text, size_t n,
                                 struct um_error *err)
{
    return add_cell(r, (struct um_cell){.text = text, .n = n, .is_list = true}, err);
}

/* The first row fixes the number of columns, and names them if it is a header. */
enum um_status um_table_end_row(struct um_table_reader *r, int64_t line, struct um_error *err)
{
    struct um_table *t = r->table;
    size_t n = r->row_cells;
    r->row_cells = 0;
    if (t->n_columns == 0)
        t->n_columns = n;
    if (n < t->n_columns && r->options->skips_short_rows) {
        t->n_skipped++;
        return UM_OK;
    }
    if (n != t->n_columns) {
        um_fail(err, UM_E_INPUT, "%s:%lld: %zu fields, expected %zu", t->path, (long long)line, n,
                t->n_columns);
        um_error_hint(err, "a TSV has no quoting, so no field may hold a tab; a CSV quotes fields "
                           "that hold commas or newlines");
        return UM_E_INPUT;
    }
    if (r->has_header) {
        r->has_header = false;
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

static enum um_status check_bytes(const struct um_table_reader *r, struct um_error *err)
{
    size_t valid = um_utf8_valid(r->text, r->n);
    const char *nul = r->n ? memchr(r->text, '\0', r->n) : NULL;
    size_t bad = nul && (size_t)(nul - r->text) < valid ? (size_t)(nul - r->text) : valid;
    int64_t line = 1;
    if (bad == r->n)
        return UM_OK;
    for (size_t i = 0; i < bad; i++)
        line += r->text[i] == '\n';
    return um_fail(err, UM_E_INPUT, "%s:%lld: %s at byte %zu of the file", r->table->path,
                   (long long)line, bad < valid ? "a NUL byte" : "invalid UTF-8", bad);
}

enum um_status um_table_parse(struct um_table *table, const char *text, size_t n, const char *path,
                              const struct um_table_options *options, struct um_error *err)
{
    static enum um_status (*const readers[])(struct um_table_reader *, struct um_error *) = {
        [UM_TABLE_TSV] = um_table_read_tsv,
        [UM_TABLE_CSV] = um_table_read_csv,
        [UM_TABLE_JSON] = um_table_read_json,
        [UM_TABLE_CONLL] = um_table_read_conll,
        [UM_TABLE_WHOLE] = um_table_read_whole};
    *table = (struct um_table){.path = um_strdup(path)};
    struct um_table_reader r = {.table = table, .options = options, .text = text, .n = n,
                                .line = 1, .has_header = options->has_header};
    enum um_status status;
    UM_TRY(table->path ? check_bytes(&r, err) : um_fail_memory(err, path, n));
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r.at = 3; /* a byte-order mark */
    UM_TRY(readers[options->format](&r, err));
    if (table->n_rows == 0)
        UM_TRY(um_fail(err, UM_E_INPUT, "'%s' has no rows%s", path,
                       table->columns ? " behind its header" : ""));
out:
    if (status != UM_OK)
        um_table_close(table);
    return status;
}

enum um_status um_table_open(struct um_table *table, const char *path,
                             const struct um_table_options *options, struct um_error *err)
{
    struct um_map map;
    *table = (struct um_table){0};
    UM_RETURN_IF(um_map_open(&map, path, err));
    enum um_status status =
        um_table_parse(table, (const char *)map.bytes, map.n_bytes, path, options, err);
    um_map_close(&map);
    return status;
}

void um_table_drop_cells(struct um_table *table)
{
    um_free(table->cells);
    um_arena_free(&table->arena); /* the columns' names too */
    table->cells = NULL;
    table->columns = NULL;
    table->cells_capacity = 0;
}

void um_table_close(struct um_table *table)
{
    um_table_drop_cells(table);
    um_free(table->path);
    um_free(table->lines);
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

static enum um_status fail_text(const struct um_table *table, int64_t row, size_t column,
                                const char *what, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "%s:%lld: '%s' is %s; expected text or a number", table->path,
                   (long long)table->lines[row], table->columns[column], what);
}

enum um_status um_table_text_if_any(struct um_cell *cell, const struct um_table *table, int64_t row,
                                    size_t column, struct um_error *err)
{
    *cell = table->cells[(size_t)row * table->n_columns + column];
    return cell->text || cell->n == 0 ? UM_OK
                                      : fail_text(table, row, column, "an object or an array", err);
}

enum um_status um_table_text(struct um_cell *cell, const struct um_table *table, int64_t row,
                             size_t column, struct um_error *err)
{
    UM_RETURN_IF(um_table_text_if_any(cell, table, row, column, err));
    return cell->text ? UM_OK : fail_text(table, row, column, "missing or null", err);
}
