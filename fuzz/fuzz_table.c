/*
 * Input: a line of options (its first character the format: t, c, j, or o for CoNLL; then 'h' with
 * header, 's' skips short rows, 'l' keeps JSON's lists), and the table behind it, of which JSON's
 * columns "a" and "b" are wanted. What is read must be whole: texts end where they say.
 */
#include <stdlib.h>
#include <string.h>

#include "data/table.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

static void check(const struct um_table *table)
{
    size_t column;
    for (size_t i = 0; i < (size_t)table->n_rows * table->n_columns; i++) {
        const struct um_cell *cell = &table->cells[i];
        if (cell->text && strlen(cell->text) != cell->n)
            abort();
    }
    for (int64_t i = 1; i < table->n_rows; i++)
        if (table->lines[i] < table->lines[i - 1])
            abort();
    for (size_t c = 0; table->columns && c < table->n_columns; c++)
        if (!um_table_has_column(&column, table, table->columns[c]))
            abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    const char *text = (const char *)bytes, *newline = n ? memchr(text, '\n', n) : NULL;
    size_t n_options = newline ? (size_t)(newline - text) : 0;
    if (n_options == 0)
        return 0;
    const struct um_table_options options = {
        .format = text[0] == 'c'   ? UM_TABLE_CSV
                  : text[0] == 'j' ? UM_TABLE_JSON
                  : text[0] == 'o' ? UM_TABLE_CONLL
                                   : UM_TABLE_TSV,
        .wanted = {"a", "b"},
        .has_header = memchr(text, 'h', n_options) != NULL,
        .keeps_lists = memchr(text, 'l', n_options) != NULL,
        .skips_short_rows = memchr(text, 's', n_options) != NULL};
    struct um_table table;
    struct um_error err;
    if (um_table_parse(&table, newline + 1, n - n_options - 1, "fuzz", &options, &err) == UM_OK) {
        size_t column;
        check(&table);
        (void)um_table_column(&column, &table, "text", &err);
        um_table_close(&table);
    }
    return 0;
}
