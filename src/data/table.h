/*
 * Tables of text: TSV as GLUE ships it (no quoting: a quote is a character), CSV (RFC 4180), JSON
 * (an object per line, or one array of objects), CoNLL (a word and its tags per line, an empty line
 * behind each sentence). A byte-order mark, CRLF and a missing last newline are fine; invalid
 * UTF-8, NUL bytes and ragged rows are errors with file and line.
 */
#ifndef UM_DATA_TABLE_H
#define UM_DATA_TABLE_H

#include "base/file.h"

enum um_table_format {
    UM_TABLE_TSV,
    UM_TABLE_CSV,
    UM_TABLE_JSON,
    UM_TABLE_CONLL, /* a row is a sentence, a cell its column of the file, a line for each word */
    UM_TABLE_WHOLE, /* the whole file is the one cell of the column "text" */
};

enum { UM_TABLE_WANTED_MAX = 4 };

struct um_table_options {
    enum um_table_format format;
    const char
        *wanted[UM_TABLE_WANTED_MAX]; /* JSON: columns also where the first object lacks them */
    bool has_header;       /* TSV and CSV: the first row names the columns */
    bool keeps_json;       /* JSON: arrays and objects are cells too, as JSON text */
    bool keeps_lists;      /* JSON: arrays of texts and numbers are cells too, a line for each */
    bool skips_short_rows; /* rows with too few fields are left out and counted, no error */
};

struct um_cell {
    const char *text; /* NUL-terminated; NULL: JSON has no text or number there */
    size_t n;         /* without text: 0 if the member is missing or null, else 1 */
    bool is_list;     /* a line for each of its items */
};

struct um_table {
    char *path;
    struct um_arena arena; /* the texts */
    const char **columns;  /* names; NULL if there is no header */
    size_t n_columns;
    struct um_cell *cells; /* [n_rows, n_columns] */
    int64_t *lines;        /* line number of each row */
    int64_t n_rows, n_skipped;
    size_t cells_capacity, lines_capacity;
};

/* "" = by the file's name (.tsv .txt: TSV, .csv, .jsonl .json, .conll .iob .bio: CoNLL). UM_E_USAGE
 * if it is unknown. */
enum um_status um_table_format_of(enum um_table_format *format, const char *name, const char *path,
                                  struct um_error *err);
enum um_status um_table_open(struct um_table *table, const char *path,
                             const struct um_table_options *options, struct um_error *err);
/* As um_table_open, from memory (which is borrowed for the call only); `path` names it in
 * errors. */
enum um_status um_table_parse(struct um_table *table, const char *text, size_t n, const char *path,
                              const struct um_table_options *options, struct um_error *err);
void um_table_drop_cells(struct um_table *table); /* frees the texts; no cell may be read after */
void um_table_close(struct um_table *table);

/* A column by name, or by its number from 1. UM_E_INPUT lists the columns that are there. */
enum um_status um_table_column(size_t *column, const struct um_table *table, const char *name,
                               struct um_error *err);
/* As um_table_column, but a name that is not there is fine: returns false. */
bool um_table_has_column(size_t *column, const struct um_table *table, const char *name);
/* A cell that must hold text. UM_E_INPUT names the row and the column that does not. */
enum um_status um_table_text(struct um_cell *cell, const struct um_table *table, int64_t row,
                             size_t column, struct um_error *err);
/* A cell that may be missing or null; then its text is NULL. */
enum um_status um_table_text_if_any(struct um_cell *cell, const struct um_table *table, int64_t row,
                                    size_t column, struct um_error *err);

#endif
