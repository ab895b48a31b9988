/* JSON: an object per line, or one array of objects, read an object at a time. The first object
 * names the columns, and wanted ones are added by the first that has them; objects may lack some,
 * or hold more, which are not read. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/table_private.h"

static enum um_status add_copy(struct um_table_reader *r, const char *text, struct um_error *err)
{
    size_t n = strlen(text);
    char *copy = um_table_room(r, n);
    if (!copy)
        return um_fail_memory(err, r->table->path, n);
    memcpy(copy, text, n + 1);
    return um_table_add_cell(r, copy, n, err);
}

/* An array or an object as JSON text. */
static enum um_status add_json(struct um_table_reader *r, const json_t *value,
                               struct um_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT);
    if (!text)
        return um_fail_memory(err, r->table->path, 0);
    enum um_status status = add_copy(r, text, err);
    free(text); /* jansson's own */
    return status;
}

/* Whether a value is a list of texts and whole numbers. */
static bool is_list(const json_t *value)
{
    bool is = json_is_array(value);
    for (size_t i = 0; is && i < json_array_size(value); i++)
        is = json_is_string(json_array_get(value, i)) || json_is_integer(json_array_get(value, i));
    return is;
}

/* Such a list, a line for each: what separates lines or columns is a space within a text. */
static enum um_status add_list(struct um_table_reader *r, const json_t *list, struct um_error *err)
{
    struct um_str lines = {0};
    um_str_add(&lines, "");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (json_is_string(item))
            um_str_add_flat(&lines, json_string_value(item), json_string_length(item));
        else
            um_str_addf(&lines, "%lld", (long long)json_integer_value(item));
        um_str_add(&lines, "\n");
    }
    char *copy = lines.failed ? NULL : um_table_room(r, lines.length);
    enum um_status status = UM_OK;
    if (!copy)
        UM_TRY(um_fail_memory(err, r->table->path, lines.length));
    memcpy(copy, lines.text, lines.length + 1);
    status = um_table_add_list(r, copy, lines.length, err);
out:
    um_str_free(&lines);
    return status;
}

/* The shortest form that reads back as the same number: 0.1, not 0.10000000000000001. */
static void write_real(char *text, size_t size, double value)
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)um_snprintf(text, size, "%.*g", digits, value);
        if (um_strtod(text, NULL) == value)
            return;
    }
}

/* A value as a cell: strings as they are, numbers and truth values as JSON; nothing else is text,
 * unless the reader is to keep it. */
static enum um_status add_value(struct um_table_reader *r, const json_t *value,
                                struct um_error *err)
{
    char number[64] = "";
    const char *text = number;
    if (json_is_integer(value))
        (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        write_real(number, sizeof(number), json_real_value(value));
    else if (json_is_boolean(value))
        text = json_is_true(value) ? "true" : "false";
    else if (json_is_string(value))
        text = json_string_value(value);
    else if (r->options->keeps_lists && is_list(value))
        return add_list(r, value, err);
    else if (value && !json_is_null(value) && r->options->keeps_json)
        return add_json(r, value, err);
    else
        return um_table_add_cell(r, NULL, value && !json_is_null(value), err);
    return add_copy(r, text, err);
}

static enum um_status name_columns(struct um_table_reader *r, json_t *object, struct um_error *err)
{
    struct um_table *t = r->table;
    const char *key;
    json_t *value;
    size_t n_most = json_object_size(object) + UM_TABLE_WANTED_MAX;
    t->columns = UM_ARENA_NEW(&t->arena, n_most, const char *);
    if (!t->columns)
        return um_fail_memory(err, t->path, n_most * sizeof(char *));
    json_object_foreach (object, key, value) {
        t->columns[t->n_columns] = um_arena_strdup(&t->arena, key);
        if (!t->columns[t->n_columns++])
            return um_fail_memory(err, t->path, strlen(key));
    }
    for (size_t i = 0; i < UM_TABLE_WANTED_MAX; i++) {
        const char *name = r->options->wanted[i];
        r->late[i] = name && *name && !json_object_get(object, name) ? name : NULL;
    }
    return UM_OK;
}

/* A column that the rows so far lack. */
static enum um_status add_column(struct um_table *t, const char *name, struct um_error *err)
{
    size_t n = t->n_columns, n_rows = (size_t)t->n_rows;
    t->columns[n] = um_arena_strdup(&t->arena, name);
    if (!t->columns[n] ||
        !um_grow(&t->cells, &t->cells_capacity, n_rows * (n + 1), sizeof(*t->cells)))
        return um_fail_memory(err, t->path, n_rows * sizeof(*t->cells));
    for (size_t row = n_rows; row-- > 0;) {
        memmove(t->cells + row * (n + 1), t->cells + row * n, n * sizeof(*t->cells));
        t->cells[row * (n + 1) + n] = (struct um_cell){0};
    }
    t->n_columns++;
    return UM_OK;
}

static enum um_status add_late_columns(struct um_table_reader *r, const json_t *object,
                                       struct um_error *err)
{
    for (size_t i = 0; i < UM_TABLE_WANTED_MAX; i++) {
        if (!r->late[i] || !json_object_get(object, r->late[i]))
            continue;
        UM_RETURN_IF(add_column(r->table, r->late[i], err));
        r->late[i] = NULL;
    }
    return UM_OK;
}

static enum um_status add_object(struct um_table_reader *r, json_t *object, struct um_error *err)
{
    struct um_table *t = r->table;
    if (!json_is_object(object) || json_object_size(object) == 0)
        return um_fail(err, UM_E_INPUT, "%s:%lld: not a JSON object with members", t->path,
                       (long long)r->line);
    UM_RETURN_IF(t->columns ? add_late_columns(r, object, err) : name_columns(r, object, err));
    for (size_t c = 0; c < t->n_columns; c++)
        UM_RETURN_IF(add_value(r, json_object_get(object, t->columns[c]), err));
    return um_table_end_row(r, r->line, err);
}

/* Adds the object at r->at, which ends before `end`, and steps over it. */
static enum um_status read_object(struct um_table_reader *r, size_t end, size_t flags,
                                  struct um_error *err)
{
    json_error_t fault;
    json_t *object = um_json_decode(r->text + r->at, end - r->at, flags, &fault);
    if (!object && json_error_code(&fault) == json_error_out_of_memory)
        return um_fail_memory(err, r->table->path, end - r->at);
    if (!object) {
        um_fail(err, UM_E_INPUT, "%s:%lld: column %d: %s", r->table->path,
                (long long)r->line + fault.line - 1, fault.column, fault.text);
        um_error_hint(err, "JSON data is one object per line, or one array of objects");
        return UM_E_INPUT;
    }
    enum um_status status = add_object(r, object, err);
    json_decref(object);
    for (size_t stop = r->at + (size_t)fault.position; r->at < stop; r->at++)
        r->line += r->text[r->at] == '\n';
    return status;
}

/* The next character that is not white space, or '\0' at the end. */
static char skip_space(struct um_table_reader *r)
{
    for (; r->at < r->n && strchr(" \t\r\n", r->text[r->at]); r->at++)
        r->line += r->text[r->at] == '\n';
    return r->at < r->n ? r->text[r->at] : '\0';
}

static enum um_status read_array(struct um_table_reader *r, struct um_error *err)
{
    char next;
    do {
        r->at++; /* the bracket or a comma */
        if (skip_space(r) == ']' && r->table->n_rows == 0)
            break;
        UM_RETURN_IF(read_object(r, r->n, JSON_DISABLE_EOF_CHECK, err));
        next = skip_space(r);
    } while (next == ',');
    if (skip_space(r) != ']')
        return um_fail(err, UM_E_INPUT,
                       "%s:%lld: ',' or ']' expected behind an object of the array", r->table->path,
                       (long long)r->line);
    r->at++;
    return skip_space(r) ? um_fail(err, UM_E_INPUT, "%s:%lld: text behind the array",
                                   r->table->path, (long long)r->line)
                         : UM_OK;
}

enum um_status um_table_read_json(struct um_table_reader *r, struct um_error *err)
{
    r->has_header = false; /* every object names its members */
    if (skip_space(r) == '[')
        return read_array(r, err);
    while (skip_space(r)) {
        const char *newline = memchr(r->text + r->at, '\n', r->n - r->at);
        UM_RETURN_IF(read_object(r, newline ? (size_t)(newline - r->text) : r->n, 0, err));
    }
    return UM_OK;
}
