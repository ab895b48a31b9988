/*
 * JSON by jansson, with this project's errors: file and line of a syntax error, the key and the
 * found type of a wrong value. (jansson's allocator is one for the whole process, so it is left to
 * the host: JSON trees are the one thing um_mem_used does not count.)
 */
#ifndef UM_BASE_JSON_H
#define UM_BASE_JSON_H

#include <jansson.h>

#include "base/str.h"

/* jansson's own, without duplicate keys; whole numbers that are too big (1e30 written out for "no
 * limit", a hash) make all of them reals. Owned (free with json_decref), NULL with *fault
 * filled. */
json_t *um_json_decode(const char *text, size_t n, size_t flags, json_error_t *fault);
/* Parses text[0..n). `where` names it in errors. Returns an owned value (free with json_decref).
 * Duplicate keys, trailing text and invalid UTF-8 are errors (UM_E_INPUT). */
enum um_status um_json_parse(json_t **json, const char *text, size_t n, const char *where,
                             struct um_error *err);
enum um_status um_json_load(json_t **json, const char *path, struct um_error *err);

/* Member access; each writes `*out` only if the key is there (and not null), so that a default may
 * be put in before. A value of another type is UM_E_INPUT naming `where` and the key. */
enum um_status um_json_get_i64(int64_t *out, const json_t *object, const char *key,
                               const char *where, struct um_error *err);
enum um_status um_json_get_f64(double *out, const json_t *object, const char *key,
                               const char *where, struct um_error *err);
enum um_status um_json_get_bool(bool *out, const json_t *object, const char *key,
                                const char *where, struct um_error *err);
enum um_status um_json_get_str(const char **out, const json_t *object, const char *key,
                               const char *where, struct um_error *err); /* borrows */

/* A number as JSON has it: null where it is none. */
json_t *um_json_real(double value);

/* `json` as text, keys in insertion order, atomically to `path`; or to FOLDER/NAME. NULL: it could
 * not be made for want of memory. */
enum um_status um_json_save(const char *path, const json_t *json, struct um_error *err);
enum um_status um_json_save_in(const char *folder, const char *name, const json_t *json,
                               struct um_error *err);
/* Puts `json` (taken; NULL: no memory) as a line of its own behind the text. */
void um_json_add_line(struct um_str *text, json_t *json);

#endif
