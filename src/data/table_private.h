/* What the readers of the table formats share. */
#ifndef UM_DATA_TABLE_PRIVATE_H
#define UM_DATA_TABLE_PRIVATE_H

#include "data/table.h"

/* A reader's place in the file. */
struct um_table_reader {
    struct um_table *table;
    const struct um_table_options *options;
    const char *text; /* the whole file */
    size_t n, at;
    int64_t line;     /* number of the line at `at` */
    size_t row_cells; /* cells of the row being read */
    bool has_header;  /* the next row is the header */
    const char
        *late[UM_TABLE_WANTED_MAX]; /* JSON: wanted columns that no object had so far; NULL: none */
    char *pool;       /* memory for texts that are copied; from the table's arena */
    size_t pool_left;
};

/* The readers; each from r->at to the end. */
enum um_status um_table_read_tsv(struct um_table_reader *r, struct um_error *err);
enum um_status um_table_read_csv(struct um_table_reader *r, struct um_error *err);
enum um_status um_table_read_json(struct um_table_reader *r, struct um_error *err);
enum um_status um_table_read_conll(struct um_table_reader *r, struct um_error *err);
enum um_status um_table_read_whole(struct um_table_reader *r, struct um_error *err);

/* Room for a text of n bytes and its NUL, packed; NULL when out of memory. */
char *um_table_room(struct um_table_reader *r, size_t n);
/* Steps over the line end (or the file's) at `end` of a line that begins at `start`. Returns where
 * the line's text ends: before a carriage return. */
size_t um_table_end_line(struct um_table_reader *r, size_t start, size_t end);
/* Appends a cell to the row being read. Takes text that lives as long as the table. */
enum um_status um_table_add_cell(struct um_table_reader *r, const char *text, size_t n,
                                 struct um_error *err);
/* The same of a list, a line for each item. */
enum um_status um_table_add_list(struct um_table_reader *r, const char *text, size_t n,
                                 struct um_error *err);
/* Takes the row that was read, which began on `line`. */
enum um_status um_table_end_row(struct um_table_reader *r, int64_t line, struct um_error *err);

#endif
