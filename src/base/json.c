/* JSON by jansson, with this project's errors. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"

static const char *type_name(const json_t *json)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false", [JSON_NULL] = "null"};
    return names[json_typeof(json)];
}

json_t *um_json_decode(const char *text, size_t n, size_t flags, json_error_t *fault)
{
    json_t *json = json_loadb(text, n, flags | JSON_REJECT_DUPLICATES, fault);
    if (!json && json_error_code(fault) == json_error_numeric_overflow)
        json = json_loadb(text, n, flags | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, fault);
    return json;
}

enum um_status um_json_parse(json_t **json, const char *text, size_t n, const char *where,
                             struct um_error *err)
{
    json_error_t fault;
    *json = um_json_decode(text, n, 0, &fault);
    if (*json)
        return UM_OK;
    if (json_error_code(&fault) == json_error_out_of_memory)
        return um_fail_memory(err, where, n);
    return um_fail(err, UM_E_INPUT, "cannot read '%s': line %d, column %d: %s", where, fault.line,
                   fault.column, fault.text);
}

enum um_status um_json_load(json_t **json, const char *path, struct um_error *err)
{
    struct um_map map;
    *json = NULL;
    UM_RETURN_IF(um_map_open(&map, path, err));
    enum um_status status =
        map.n_bytes ? um_json_parse(json, (const char *)map.bytes, map.n_bytes, path, err)
                    : um_fail(err, UM_E_INPUT, "cannot read '%s': the file is empty", path);
    um_map_close(&map);
    return status;
}

static enum um_status fail_type(const json_t *value, const char *key, const char *expected,
                                const char *where, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot read '%s': '%s' is %s, expected %s", where, key,
                   type_name(value), expected);
}

/* The member, or NULL if it is not there or null. */
static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

enum um_status um_json_get_i64(int64_t *out, const json_t *object, const char *key,
                               const char *where, struct um_error *err)
{
    const json_t *value = member(object, key);
    double real = json_real_value(value); /* 0 for others */
    bool is_whole = json_is_real(value) && fabs(real) < 9e15 && floor(real) == real;
    if (value && !json_is_integer(value) && !is_whole)
        return fail_type(value, key, "an integer", where, err);
    if (value)
        *out = is_whole ? (int64_t)real : json_integer_value(value);
    return UM_OK;
}

enum um_status um_json_get_f64(double *out, const json_t *object, const char *key,
                               const char *where, struct um_error *err)
{
    const json_t *value = member(object, key);
    if (value && !json_is_number(value))
        return fail_type(value, key, "a number", where, err);
    if (value)
        *out = json_number_value(value);
    return UM_OK;
}

enum um_status um_json_get_bool(bool *out, const json_t *object, const char *key,
                                const char *where, struct um_error *err)
{
    const json_t *value = member(object, key);
    if (value && !json_is_boolean(value))
        return fail_type(value, key, "true or false", where, err);
    if (value)
        *out = json_is_true(value);
    return UM_OK;
}

enum um_status um_json_get_str(const char **out, const json_t *object, const char *key,
                               const char *where, struct um_error *err)
{
    const json_t *value = member(object, key);
    if (value && !json_is_string(value))
        return fail_type(value, key, "a string", where, err);
    if (value)
        *out = json_string_value(value);
    return UM_OK;
}

json_t *um_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

enum um_status um_json_save(const char *path, const json_t *json, struct um_error *err)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    struct um_str s = {0};
    if (!text)
        return um_fail_memory(err, path, 0);
    um_str_add(&s, text);
    um_str_add(&s, "\n");
    free(text);
    enum um_status status = um_file_write_str(path, &s, err);
    um_str_free(&s);
    return status;
}

enum um_status um_json_save_in(const char *folder, const char *name, const json_t *json,
                               struct um_error *err)
{
    char *path = um_path_join(folder, name);
    enum um_status status = path ? um_json_save(path, json, err) : um_fail_memory(err, name, 0);
    um_free(path);
    return status;
}

void um_json_add_line(struct um_str *text, json_t *json)
{
    char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (line)
        um_str_addf(text, "%s\n", line);
    else
        text->failed = true;
    free(line); /* jansson's own */
    json_decref(json);
}
