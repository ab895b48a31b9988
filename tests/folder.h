/* A folder of a test's own, and files in it. */
#ifndef UM_TESTS_FOLDER_H
#define UM_TESTS_FOLDER_H

#include "test.h"

#include "base/file.h"
#include "base/json.h"

static char test_folder[64];

/* Group set-up and tear-down. */
static int make_test_folder(void **state)
{
    (void)state;
    (void)snprintf(test_folder, sizeof(test_folder), "/tmp/unmask test XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static int remove_test_folder(void **state)
{
    struct um_error err;
    (void)state;
    return um_remove_folder(test_folder, &err) == UM_OK ? 0 : -1;
}

/* The path of `name` in the folder; the next eight calls leave it alone. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][512];
    static int next;
    next = (next + 1) % 8;
    (void)snprintf(paths[next], sizeof(paths[next]), "%s/%s", test_folder, name);
    return paths[next];
}

/* Writes a file there (and the folder it stands in); returns its path. */
static inline const char *put_file(const char *name, const void *bytes, size_t n)
{
    struct um_error err;
    const char *path = in_folder(name);
    if (strchr(name, '/')) {
        char parent[512];
        (void)snprintf(parent, sizeof(parent), "%s", path);
        *strrchr(parent, '/') = '\0';
        assert_ok(um_make_folder(parent, &err), err);
    }
    assert_ok(um_file_write(path, bytes, n, &err), err);
    return path;
}

/* Writes folder TO's config.json: that of folder FROM with `edits` (JSON) put over it; a member
 * "-KEY" removes KEY. */
static inline void put_edited_config(const char *to, const char *from, const char *edits)
{
    struct um_error err;
    char path[700];
    const char *key;
    json_t *config, *edit, *value;
    (void)snprintf(path, sizeof(path), "%s/config.json", from);
    assert_ok(um_json_load(&config, path, &err), err);
    assert_ok(um_json_parse(&edit, edits, strlen(edits), "edits", &err), err);
    json_object_foreach (edit, key, value)
        if (*key == '-')
            (void)json_object_del(config, key + 1);
        else
            (void)json_object_set(config, key, value);
    (void)snprintf(path, sizeof(path), "%s/config.json", to);
    assert_ok(um_json_save(path, config, &err), err);
    json_decref(config);
    json_decref(edit);
}

/* A safetensors file of this header text and n_data bytes 0, 1, 2, ... */
static inline const char *put_safetensors(const char *name, const char *header, size_t n_data)
{
    size_t n = strlen(header);
    unsigned char *bytes = calloc(1, 8 + n + n_data);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (unsigned char)i;
    const char *path = put_file(name, bytes, 8 + n + n_data);
    free(bytes);
    return path;
}

#endif
