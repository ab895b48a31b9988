/*
 * Tables of text: TSV as GLUE ships it (no quoting: a quote is a character), CSV (RFC 4180), JSONL
 * (an object per line). Rows and cells are slices of one arena. A byte-order mark, CRLF and a
 * missing last newline are fine; invalid UTF-8, NUL bytes and ragged rows are errors with file and
 * line.
 */
#ifndef UM_DATA_TABLE_H
#define UM_DATA_TABLE_H

#include "base/file.h"

enum um_table_format { UM_TABLE_TSV, UM_TABLE_CSV, UM_TABLE_JSONL };

struct um_cell {
    const char *text; /* NUL-terminated */
    size_t n;
};

struct um_table {
    char *path;
    struct um_arena arena;
    const char **columns; /* names; NULL if there is no header */
    size_t n_columns;
    struct um_cell *cells; /* [n_rows, n_columns] */
    int64_t *lines;        /* line number of each row */
    int64_t n_rows;
    size_t cells_capacity, lines_capacity;
};

/* "" = by the file's name (.tsv .txt: TSV, .csv, .jsonl .json). UM_E_USAGE if it is unknown. */
enum um_status um_table_format_of(enum um_table_format *format, const char *name, const char *path,
                                  struct um_error *err);
enum um_status um_table_open(struct um_table *table, const char *path,
                             enum um_table_format format, bool has_header, struct um_error *err);
void um_table_close(struct um_table *table);

/* A column by name, or by its number from 1. UM_E_INPUT lists the columns that are there. */
enum um_status um_table_column(size_t *column, const struct um_table *table, const char *name,
                               struct um_error *err);
/* As um_table_column, but a name that is not there is fine: returns false. */
bool um_table_has_column(size_t *column, const struct um_table *table, const char *name);

#endif
