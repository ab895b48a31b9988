/* Rows of words, each with a tag. */
#include <string.h>

#include "data/dataset_private.h"
#include "data/words.h"

enum { TAGS_MAX = 1000, TAG_BYTES = 256 };

/* A tag as a string. */
static enum um_status copy_tag(char tag[TAG_BYTES], const char *text, size_t n, const char *path,
                               int64_t line, struct um_error *err)
{
    if (n == 0 || n >= TAG_BYTES)
        return um_fail(err, UM_E_INPUT, "%s:%lld: a tag is %s", path, (long long)line,
                       n ? "longer than 255 bytes" : "empty");
    memcpy(tag, text, n);
    tag[n] = '\0';
    return UM_OK;
}

/* Different tags, in order of appearance. */
struct found {
    char *names[TAGS_MAX]; /* owned */
    int64_t n;
};

static enum um_status add_found(struct found *f, const char *tag, const char *path,
                                struct um_error *err)
{
    for (int64_t k = 0; k < f->n; k++)
        if (strcmp(f->names[k], tag) == 0)
            return UM_OK;
    if (f->n == TAGS_MAX)
        return um_fail(err, UM_E_INPUT, "'%s': more than %d different tags; is this the wrong "
                       "column?", path, TAGS_MAX);
    f->names[f->n] = um_strdup(tag);
    return f->names[f->n++] ? UM_OK : um_fail_memory(err, path, strlen(tag));
}

static enum um_status find_tags(struct found *f, int64_t *n_words, const struct um_table *t,
                                size_t column, struct um_error *err)
{
    for (int64_t i = 0; i < t->n_rows; i++) {
        struct um_cell cell;
        char tag[TAG_BYTES];
        const char *text;
        size_t n;
        UM_RETURN_IF(um_table_text(&cell, t, i, column, err));
        struct um_words tags = um_words(cell.text, cell.n, cell.is_list);
        for (; um_words_next(&text, &n, &tags); ++*n_words) {
            UM_RETURN_IF(copy_tag(tag, text, n, t->path, t->lines[i], err));
            UM_RETURN_IF(add_found(f, tag, t->path, err));
        }
    }
    return UM_OK;
}

static void put_outside_first(const char **names, int64_t n)
{
    for (int64_t k = 1; k < n; k++) {
        if (strcmp(names[k], "O") != 0)
            continue;
        const char *outside = names[k];
        memmove(names + 1, names, (size_t)k * sizeof(*names));
        names[0] = outside;
    }
}

static bool is_tag_of(const struct um_task *task, const char *text, size_t n)
{
    for (int64_t k = 0; task->labels[k]; k++)
        if (strlen(task->labels[k]) == n && memcmp(task->labels[k], text, n) == 0)
            return true;
    return false;
}

static bool has_tags_of(const struct um_task *task, const struct um_table *t, size_t column)
{
    bool is = task->labels[0] != NULL;
    for (int64_t i = 0; i < t->n_rows && is; i++) {
        const struct um_cell *cell = &t->cells[(size_t)i * t->n_columns + column];
        struct um_words tags = um_words(cell->text, cell->n, cell->is_list);
        const char *text;
        size_t n;
        while (is && um_words_next(&text, &n, &tags))
            is = is_tag_of(task, text, n);
    }
    return is;
}

size_t um_dataset_tag_column(const struct um_dataset *data)
{
    const struct um_table *t = &data->table;
    bool is_needed = data->task->style == UM_STYLE_WORDS && !t->columns;
    for (size_t c = 1; is_needed && c < t->n_columns; c++)
        if (has_tags_of(data->task, t, c))
            return c;
    return t->n_columns > 1 && !data->task->labels[0] ? t->n_columns - 1 : 1;
}

enum um_status um_dataset_learn_tags(struct um_dataset *data, size_t column,
                                     struct um_error *err)
{
    const struct um_table *t = &data->table;
    struct found *f = UM_NEW(1, struct found);
    int64_t n_words = 0;
    enum um_status status = UM_OK;
    if (!f)
        return um_fail_memory(err, t->path, sizeof(*f));
    UM_TRY(find_tags(f, &n_words, t, column, err));
    if (n_words == 0)
        UM_TRY(um_fail(err, UM_E_INPUT, "'%s' has no words", t->path));
    const char **names = (const char **)f->names;
    int64_t n = um_dataset_sort_labels(names, f->n);
    put_outside_first(names, n);
    status = um_dataset_copy_labels(data, names, n, err);
out:
    for (int64_t k = 0; k < f->n; k++)
        um_free(f->names[k]);
    um_free(f);
    return status;
}

static enum um_status read_tags(struct um_dataset *data, const struct um_row *row,
                                const struct um_cell *cell, struct um_error *err)
{
    const char *path = data->table.path, *text;
    struct um_words tags = um_words(cell->text, cell->n, cell->is_list);
    size_t n;
    int32_t *to = data->tags + row->first_word;
    while (um_words_next(&text, &n, &tags)) {
        char tag[TAG_BYTES];
        int64_t class;
        UM_RETURN_IF(copy_tag(tag, text, n, path, row->line, err));
        UM_RETURN_IF(um_dataset_find_label(&class, data, tag, row->line, err));
        *to++ = (int32_t)class;
    }
    return UM_OK;
}

enum um_status um_dataset_read_tags(struct um_dataset *data, int64_t i, const struct um_cell *tags,
                                    struct um_error *err)
{
    struct um_row *row = &data->rows[i];
    const char *path = data->table.path;
    row->n_words = um_words_count(row->text, row->n_text, row->is_list);
    row->first_word = i ? data->rows[i - 1].first_word + data->rows[i - 1].n_words : 0;
    if (!tags)
        return UM_OK;
    int64_t n_tags = um_words_count(tags->text, tags->n, tags->is_list);
    size_t n = (size_t)(row->first_word + row->n_words);
    if (n_tags != row->n_words)
        return um_fail(err, UM_E_INPUT, "%s:%lld: %lld words, but %lld tags", path,
                       (long long)row->line, (long long)row->n_words, (long long)n_tags);
    if (!um_grow(&data->tags, &data->tags_capacity, n, sizeof(*data->tags)))
        return um_fail_memory(err, path, n * sizeof(*data->tags));
    return read_tags(data, row, tags, err);
}

enum um_status um_dataset_settle_tags(struct um_dataset *data, bool is_train,
                                      struct um_error *err)
{
    int64_t n = um_dataset_n_words(data);
    bool is_one = is_train && data->tags && n > 0;
    for (int64_t i = 0; data->tags && i < data->n_rows; i++)
        data->rows[i].tags = data->tags + data->rows[i].first_word;
    for (int64_t k = 1; k < n && is_one; k++)
        is_one = data->tags[k] == data->tags[0];
    return is_one ? um_dataset_fail_one_class(data->table.path, n, "words",
                                              data->labels[data->tags[0]], err)
                  : UM_OK;
}

void um_dataset_number_words(struct um_dataset *data)
{
    int64_t n = 0;
    for (int64_t i = 0; i < data->n_rows; i++) {
        data->rows[i].first_word = n;
        n += data->rows[i].n_words;
    }
}
