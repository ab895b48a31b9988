/* A task's rows from its table: columns found, labels known or learnt, everything checked. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "base/sorted.h"
#include "data/dataset_private.h"

/* DIR/FILE, or DIR/TASK/FILE with the task's folder as GLUE writes it or in lower case. */
static char *find_file(const char *folder, const char *task_folder, const char *file)
{
    char *path = um_path_join(folder, file);
    if (!path || um_path_exists(path) || !task_folder)
        return path;
    char lower[32] = {0};
    for (size_t i = 0; task_folder[i] && i + 1 < sizeof(lower); i++)
        lower[i] = (char)tolower((unsigned char)task_folder[i]);
    const char *const names[] = {task_folder, lower};
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        char *inner = um_path_join(folder, names[i]);
        char *deep = inner ? um_path_join(inner, file) : NULL;
        um_free(inner);
        if (deep && um_path_exists(deep)) {
            um_free(path);
            return deep;
        }
        um_free(deep);
    }
    return path;
}

static enum um_status work_out_path(char **path, const struct um_task *task,
                                    const struct um_data_options *o, struct um_error *err)
{
    const char *key = o->is_train ? "data.train" : "data.eval";
    const char *own = o->is_train ? task->train : task->eval;
    if (!*o->file && (!own || !*o->folder))
        return um_fail(err, UM_E_USAGE, "task '%s' needs %s", task->name,
                       own ? "data: the folder with its files" : key);
    if (*o->file)
        *path = um_strdup(o->file);
    else
        *path = find_file(o->folder, task->folder, own);
    return *path ? UM_OK : um_fail_memory(err, key, 0);
}

static const char *column_name(const char *given, const char *own)
{
    return *given ? given : own ? own : "";
}

static int compare_numbers(const void *a, const void *b)
{
    long x = strtol(*(const char *const *)a, NULL, 10),
         y = strtol(*(const char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

static bool are_numbers(const char **names, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t value;
        if (!um_parse_i64(&value, names[i]))
            return false;
    }
    return true;
}

enum um_status um_dataset_copy_labels(struct um_dataset *data, const char *const *names, int64_t n,
                                      struct um_error *err)
{
    data->labels = UM_NEW(n + 1, char *);
    for (int64_t i = 0; data->labels && i < n; i++) {
        char number[32];
        (void)snprintf(number, sizeof(number), "%lld", (long long)i);
        data->labels[i] = um_strdup(names ? names[i] : number);
        data->n_labels = i + 1;
        if (!data->labels[i])
            return um_fail_memory(err, "labels", strlen(names ? names[i] : number));
    }
    return data->labels ? UM_OK : um_fail_memory(err, "labels", (size_t)n * sizeof(char *));
}

/* The label of row i as it stands in the table. */
static enum um_status label_text(const char **text, const struct um_table *t, int64_t i,
                                 size_t column, struct um_error *err)
{
    struct um_cell cell;
    UM_RETURN_IF(um_table_text(&cell, t, i, column, err));
    *text = cell.text;
    return cell.n ? UM_OK : um_fail(err, UM_E_INPUT, "%s:%lld: the label is empty", t->path,
                                    (long long)t->lines[i]);
}

int64_t um_dataset_sort_labels(const char **names, int64_t n_names)
{
    int64_t n = 0;
    qsort(names, (size_t)n_names, sizeof(*names), um_compare_texts);
    for (int64_t i = 0; i < n_names; i++)
        if (n == 0 || strcmp(names[n - 1], names[i]) != 0)
            names[n++] = names[i];
    if (are_numbers(names, n))
        qsort(names, (size_t)n, sizeof(*names), compare_numbers);
    return n;
}

enum um_status um_dataset_fail_one_class(const char *path, int64_t n, const char *what,
                                         const char *label, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "'%s': all %lld %s have the one label '%.60s'; a "
                   "classification needs two at least", path, (long long)n, what, label);
}

/* Class names from the data: numbers in numeric order, else sorted by bytes. */
static enum um_status learn_labels(struct um_dataset *data, size_t column, bool is_train,
                                   struct um_error *err)
{
    enum { MOST = 10000 };
    const struct um_table *t = &data->table;
    const char **names = UM_NEW(t->n_rows, const char *);
    enum um_status status = UM_OK;
    if (!names)
        return um_fail_memory(err, "labels", (size_t)t->n_rows * sizeof(char *));
    for (int64_t i = 0; i < t->n_rows; i++)
        UM_TRY(label_text(&names[i], t, i, column, err));
    int64_t n = um_dataset_sort_labels(names, t->n_rows);
    if (n < 2 && is_train)
        UM_TRY(um_dataset_fail_one_class(t->path, t->n_rows, "rows", names[0], err));
    if (n > MOST)
        UM_TRY(um_fail(err, UM_E_INPUT, "'%s': %lld different labels; is this a regression, or "
                       "the wrong label column?", t->path, (long long)n));
    status = um_dataset_copy_labels(data, names, n, err);
out:
    um_free(names);
    return status;
}

static bool has_name(char *const *names, int64_t n, const char *name)
{
    for (int64_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void free_labels(struct um_dataset *data)
{
    for (int64_t k = 0; k < data->n_labels; k++)
        um_free(data->labels[k]);
    um_free(data->labels);
    data->labels = NULL;
    data->n_labels = 0;
}

/* "'a', 'b', 'c'" */
static void add_names(struct um_str *to, char *const *names, int64_t n)
{
    for (int64_t k = 0; k < n && k < 30; k++)
        um_str_addf(to, "%s'%s'", k ? ", " : "", names[k]);
}

static enum um_status fail_names(const struct um_dataset *data, const struct um_data_options *o,
                                 struct um_error *err)
{
    struct um_str own = {0}, names = {0};
    add_names(&own, data->labels, data->n_labels);
    add_names(&names, o->names, o->n_names);
    enum um_status status =
        um_fail(err, UM_E_INPUT, "'%s': the labels %.300s are not the model's classes %.300s",
                data->table.path, own.text ? own.text : "", names.text ? names.text : "");
    um_str_free(&own);
    um_str_free(&names);
    return status;
}

static bool read_class_number(int64_t *number, const char *label, int64_t n_classes)
{
    return um_parse_i64(number, label) && *number >= 0 && *number < n_classes;
}

/* Classes in the model's order, where the data calls them as the model does or by their numbers,
 * though it has not all of them. To train on others the model may learn them anew. */
static enum um_status match_names(struct um_dataset *data, const struct um_data_options *o,
                                  struct um_error *err)
{
    bool are_known = o->n_names > 0, are_numbers = o->n_classes > 0;
    for (int64_t k = 0, number; k < data->n_labels; k++) {
        are_known = are_known && has_name(o->names, o->n_names, data->labels[k]);
        are_numbers = are_numbers && read_class_number(&number, data->labels[k], o->n_classes);
    }
    if (!are_known && !are_numbers)
        return o->n_names == 0 || o->is_train ? UM_OK : fail_names(data, o, err);
    free_labels(data);
    data->has_numbers = !are_known && o->n_names == o->n_classes;
    return are_known || data->has_numbers
               ? um_dataset_copy_labels(data, (const char *const *)o->names, o->n_names, err)
               : um_dataset_copy_labels(data, NULL, o->n_classes, err);
}

static enum um_status known_labels(struct um_dataset *data, const struct um_data_options *o,
                                   size_t column, struct um_error *err)
{
    int64_t n = um_task_n_labels(data->task);
    if (!um_task_has_classes(data->task))
        return UM_OK;
    if (o->labels)
        return um_dataset_copy_labels(data, (const char *const *)o->labels, o->n_labels, err);
    if (n)
        UM_RETURN_IF(um_dataset_copy_labels(data, data->task->labels, n, err));
    else if (data->is_labelled && data->task->style == UM_STYLE_WORDS)
        UM_RETURN_IF(um_dataset_learn_tags(data, column, err));
    else if (data->is_labelled)
        UM_RETURN_IF(learn_labels(data, column, o->is_train, err));
    return data->n_labels ? match_names(data, o, err) : UM_OK;
}

/* Whether a number stands for the class of that number, as in Hugging Face's copies of data
 * sets. */
static bool is_numbered(int64_t *class, const struct um_dataset *data, const char *text)
{
    int64_t n = um_task_n_labels(data->task);
    return read_class_number(class, text, n ? n : data->has_numbers ? data->n_labels : 0);
}

enum um_status um_dataset_find_label(int64_t *label, const struct um_dataset *data,
                                     const char *text, int64_t line, struct um_error *err)
{
    int64_t number;
    bool is_number = is_numbered(&number, data, text);
    if (is_number && !um_task_n_labels(data->task)) {
        *label = number;
        return UM_OK;
    }
    text = is_number ? data->task->labels[number] : text;
    for (int64_t k = 0; k < data->n_labels; k++) {
        if (strcmp(data->labels[k], text) == 0) {
            *label = k;
            return UM_OK;
        }
    }
    struct um_str known = {0};
    add_names(&known, data->labels, data->n_labels);
    enum um_status status = um_fail(err, UM_E_INPUT, "%s:%lld: label '%.60s' is not one of %s",
                                    data->table.path, (long long)line, text,
                                    known.text ? known.text : "");
    um_str_free(&known);
    return status;
}

static enum um_status read_label(struct um_dataset *data, int64_t i, size_t column,
                                 struct um_error *err)
{
    const char *path = data->table.path, *text;
    struct um_row *row = &data->rows[i];
    UM_RETURN_IF(label_text(&text, &data->table, i, column, err));
    if (data->task->is_regression) {
        if (!um_parse_f64(&row->target, text))
            return um_fail(err, UM_E_INPUT, "%s:%lld: label '%.60s' is not a number", path,
                           (long long)row->line, text);
        return UM_OK;
    }
    return um_dataset_find_label(&row->label, data, text, row->line, err);
}

static enum um_status check_classes(const struct um_dataset *data, struct um_error *err)
{
    for (int64_t i = 1; i < data->n_rows; i++)
        if (data->rows[i].label != data->rows[0].label)
            return UM_OK;
    return um_dataset_fail_one_class(data->table.path, data->n_rows, "rows",
                                     data->labels[data->rows[0].label], err);
}

/* The columns that rows are read from. */
struct columns {
    size_t text, pair, label, answer;
    bool has_pair, has_answer;
};

/* Rows to go on with: an input may be missing, a completion where none is to be learnt. */
static enum um_status find_token_columns(struct columns *c, struct um_dataset *data,
                                         const struct um_data_options *o, struct um_error *err)
{
    const struct um_task *task = data->task;
    const struct um_table *t = &data->table;
    const char *pair = column_name(o->pair, task->pair);
    const char *label = column_name(o->label, task->label);
    UM_RETURN_IF(um_table_column(&c->text, t, column_name(o->text, task->text), err));
    c->has_pair = *pair && um_table_has_column(&c->pair, t, pair);
    if (*o->pair && !c->has_pair)
        return um_table_column(&c->pair, t, pair, err);
    bool has_answers = task->answer != UM_ANSWER_NONE;
    c->has_answer = has_answers && um_table_has_column(&c->answer, t, "answer");
    if (has_answers && !o->is_train && !c->has_answer)
        return um_table_column(&c->answer, t, "answer", err);
    data->is_labelled = *label && um_table_has_column(&c->label, t, label);
    bool is_needed = *label && (o->needs_labels || *o->label) && !has_answers;
    return data->is_labelled || !is_needed ? UM_OK : um_table_column(&c->label, t, label, err);
}

static enum um_status read_token_row(struct um_dataset *data, int64_t i, const struct columns *c,
                                     struct um_error *err)
{
    const struct um_table *t = &data->table;
    struct um_cell text, pair = {0}, completion = {0}, answer = {0};
    UM_RETURN_IF(um_table_text(&text, t, i, c->text, err));
    if (c->has_pair)
        UM_RETURN_IF(um_table_text_if_any(&pair, t, i, c->pair, err));
    if (data->is_labelled)
        UM_RETURN_IF(um_table_text(&completion, t, i, c->label, err));
    if (c->has_answer) /* asked for where a row is scored by it */
        UM_RETURN_IF(um_table_text_if_any(&answer, t, i, c->answer, err));
    data->rows[i] = (struct um_row){.text = text.text,
                                    .n_text = text.n,
                                    .pair = pair.n ? pair.text : NULL,
                                    .n_pair = pair.n,
                                    .completion = completion.text,
                                    .n_completion = completion.n,
                                    .answer = answer.text,
                                    .label = -1,
                                    .line = t->lines[i]};
    return UM_OK;
}

/* A column's name; of words whose table names none the number of the one in its place. */
static const char *own_column(char number[24], const char *given, const char *own,
                              const struct um_dataset *data, size_t column)
{
    bool is_named = *given || data->table.columns || data->task->style != UM_STYLE_WORDS;
    (void)snprintf(number, 24, "%zu", column + 1);
    return is_named ? column_name(given, own) : number;
}

static enum um_status find_columns(struct columns *c, struct um_dataset *data,
                                   const struct um_data_options *o, struct um_error *err)
{
    const struct um_task *task = data->task;
    const struct um_table *t = &data->table;
    char first[24], tags[24];
    const char *text = own_column(first, o->text, task->text, data, 0);
    const char *pair = column_name(o->pair, task->pair);
    const char *label =
        own_column(tags, o->label, task->label, data, um_dataset_tag_column(data));
    if (*pair && task->style == UM_STYLE_WORDS)
        return um_fail(err, UM_E_USAGE, "data.pair: task '%s' takes no second text", task->name);
    UM_RETURN_IF(um_table_column(&c->text, t, text, err));
    c->has_pair = *pair != '\0';
    if (c->has_pair)
        UM_RETURN_IF(um_table_column(&c->pair, t, pair, err));
    data->is_labelled = !o->may_lack_labels && um_table_has_column(&c->label, t, label);
    return data->is_labelled || o->may_lack_labels || (!o->needs_labels && !*o->label)
               ? UM_OK
               : um_table_column(&c->label, t, label, err);
}

static enum um_status read_row(struct um_dataset *data, int64_t i, const struct columns *c,
                               struct um_error *err)
{
    const struct um_table *t = &data->table;
    struct um_cell text, pair = {0};
    UM_RETURN_IF(um_table_text(&text, t, i, c->text, err));
    if (c->has_pair)
        UM_RETURN_IF(um_table_text(&pair, t, i, c->pair, err));
    data->rows[i] = (struct um_row){.text = text.text, .n_text = text.n, .pair = pair.text,
                                    .n_pair = pair.n, .label = -1, .line = t->lines[i]};
    return data->is_labelled ? read_label(data, i, c->label, err) : UM_OK;
}

static enum um_status read_words_row(struct um_dataset *data, int64_t i, const struct columns *c,
                                     struct um_error *err)
{
    const struct um_table *t = &data->table;
    struct um_cell text, tags = {0};
    UM_RETURN_IF(um_table_text(&text, t, i, c->text, err));
    if (data->is_labelled)
        UM_RETURN_IF(um_table_text(&tags, t, i, c->label, err));
    data->rows[i] = (struct um_row){.text = text.text,
                                    .n_text = text.n,
                                    .is_list = text.is_list,
                                    .label = -1,
                                    .line = t->lines[i]};
    return um_dataset_read_tags(data, i, data->is_labelled ? &tags : NULL, err);
}

/* How rows of a style are read. */
struct reader {
    enum um_status (*find)(struct columns *columns, struct um_dataset *data,
                           const struct um_data_options *options, struct um_error *err);
    enum um_status (*read)(struct um_dataset *data, int64_t i, const struct columns *columns,
                           struct um_error *err);
};

static const struct reader *reader_of(enum um_style style)
{
    static const struct reader pairs = {find_columns, read_row},
                               words = {find_columns, read_words_row},
                               prose = {find_token_columns, read_token_row};
    return um_style_is_prose(style) ? &prose : style == UM_STYLE_WORDS ? &words : &pairs;
}

static enum um_status read_rows(struct um_dataset *data, const struct um_data_options *o,
                                struct um_error *err)
{
    const struct um_table *t = &data->table;
    const struct reader *reader = reader_of(data->task->style);
    struct columns columns = {0};
    UM_RETURN_IF(reader->find(&columns, data, o, err));
    UM_RETURN_IF(known_labels(data, o, columns.label, err));
    data->rows = UM_NEW(t->n_rows, struct um_row);
    if (!data->rows)
        return um_fail_memory(err, t->path, (size_t)t->n_rows * sizeof(*data->rows));
    for (int64_t i = 0; i < t->n_rows; i++)
        UM_RETURN_IF(reader->read(data, i, &columns, err));
    data->n_rows = o->n_rows > 0 && o->n_rows < t->n_rows ? o->n_rows : t->n_rows;
    UM_RETURN_IF(um_dataset_settle_tags(data, o->is_train, err));
    bool has_classes = data->task->style == UM_STYLE_PAIR && !data->task->is_regression;
    return has_classes && o->is_train && data->is_labelled ? check_classes(data, err) : UM_OK;
}

/* How a file of this name is read. */
static enum um_status table_options(struct um_table_options *table, const struct um_task *task,
                                    const struct um_data_options *o, const char *path,
                                    struct um_error *err)
{
    *table = (struct um_table_options){
        .wanted = {column_name(o->text, task->text), column_name(o->pair, task->pair),
                   column_name(o->label, task->label), "answer"},
        .has_header = *o->header ? strcmp(o->header, "yes") == 0 : task->has_header,
        .keeps_json = task->style == UM_STYLE_CHAT,
        .keeps_lists = task->style == UM_STYLE_WORDS,
        .skips_short_rows = task->skips_short_rows};
    UM_RETURN_IF(um_table_format_of(&table->format, o->format, path, err));
    if (task->style == UM_STYLE_PLAIN && !*o->format && um_glob("*.txt", path))
        table->format = UM_TABLE_WHOLE;
    bool is_conll = task->style == UM_STYLE_WORDS && strcmp(o->header, "yes") != 0;
    if (is_conll && !*o->format && table->format == UM_TABLE_TSV)
        table->format = UM_TABLE_CONLL;
    return UM_OK;
}

enum um_status um_dataset_open(struct um_dataset *data, const struct um_task *task,
                               const struct um_data_options *o, struct um_error *err)
{
    char *path = NULL;
    struct um_table_options table;
    enum um_status status;
    *data = (struct um_dataset){.task = task};
    UM_TRY(work_out_path(&path, task, o, err));
    UM_TRY(table_options(&table, task, o, path, err));
    UM_TRY(um_table_open(&data->table, path, &table, err));
    UM_TRY(read_rows(data, o, err));
out:
    um_free(path);
    if (status != UM_OK)
        um_dataset_close(data);
    return status;
}

enum um_status um_dataset_parse(struct um_dataset *data, const struct um_task *task,
                                const struct um_data_options *o, const char *text, size_t n,
                                const char *path, struct um_error *err)
{
    struct um_table_options table;
    enum um_status status;
    *data = (struct um_dataset){.task = task};
    UM_TRY(table_options(&table, task, o, path, err));
    UM_TRY(um_table_parse(&data->table, text, n, path, &table, err));
    UM_TRY(read_rows(data, o, err));
out:
    if (status != UM_OK)
        um_dataset_close(data);
    return status;
}

enum um_status um_dataset_hold_out(struct um_dataset *held, struct um_dataset *data, double share,
                                   int64_t n_rows_max, struct um_error *err)
{
    struct um_random random = {.seed = 0x686f6c64};
    int64_t n = data->n_rows, n_kept = 0;
    *held = (struct um_dataset){.task = data->task, .is_labelled = data->is_labelled,
                                .rows = UM_NEW(n, struct um_row), .is_borrowed = true,
                                .labels = data->labels, .n_labels = data->n_labels};
    held->table.path = um_strdup(data->table.path);
    if (!held->rows || !held->table.path)
        return um_fail_memory(err, "held-out rows", (size_t)n * sizeof(*held->rows));
    for (int64_t i = 0; i < n; i++) {
        if (um_random_unit(&random) < share)
            held->rows[held->n_rows++] = data->rows[i];
        else
            data->rows[n_kept++] = data->rows[i];
    }
    data->n_rows = n_kept;
    um_dataset_number_words(data);
    um_dataset_number_words(held);
    if (n_kept == 0 || held->n_rows == 0)
        return um_fail(err, UM_E_USAGE, "data.holdout: %g of %lld rows leaves nothing on one side",
                       share, (long long)n);
    if (n_rows_max > 0 && n_rows_max < held->n_rows)
        held->n_rows = n_rows_max;
    return UM_OK;
}

void um_dataset_drop_texts(struct um_dataset *data)
{
    for (int64_t i = 0; i < data->n_rows; i++)
        data->rows[i] = (struct um_row){.line = data->rows[i].line,
                                        .label = data->rows[i].label,
                                        .target = data->rows[i].target,
                                        .tags = data->rows[i].tags,
                                        .n_words = data->rows[i].n_words,
                                        .first_word = data->rows[i].first_word};
    um_table_drop_cells(&data->table);
}

void um_dataset_close(struct um_dataset *data)
{
    if (!data->is_borrowed)
        free_labels(data);
    um_free(data->rows);
    um_free(data->tags);
    um_table_close(&data->table);
    *data = (struct um_dataset){0};
}
