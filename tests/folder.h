/* A folder of a test's own, and files in it. */
#ifndef UM_TESTS_FOLDER_H
#define UM_TESTS_FOLDER_H

#include "test.h"

#include "base/file.h"

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
