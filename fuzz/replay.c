/* Replays a corpus folder through a fuzz target: once as it is, then with each allocation failing
 * in turn, so that every out-of-memory path runs under the sanitizers. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

enum { ALLOCATIONS_MAX = 2000 };

static bool replay(const char *path)
{
    char *text;
    size_t n;
    struct um_error err;
    if (um_file_read(&text, &n, path, &err) != UM_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        return false;
    }
    /* A copy of exactly n bytes, so that the sanitizer sees a read past the end. */
    unsigned char *bytes = malloc(n ? n : 1);
    if (bytes) {
        memcpy(bytes, text, n);
        (void)LLVMFuzzerTestOneInput(bytes, n);
        for (int64_t i = 1; i <= ALLOCATIONS_MAX; i++) {
            um_mem_fail_after(i);
            (void)LLVMFuzzerTestOneInput(bytes, n);
            if (um_mem_left() > 1)
                break; /* there are fewer */
        }
        um_mem_fail_after(0);
    }
    free(bytes);
    um_free(text);
    return bytes != NULL;
}

int main(int argc, char **argv)
{
    int n_files = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = um_path_join(argv[1], entry->d_name);
        if (!path || !replay(path))
            return 1;
        um_free(path);
        n_files++;
    }
    (void)closedir(folder);
    printf("%d files replayed\n", n_files);
    return n_files ? 0 : 1;
}
