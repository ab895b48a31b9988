/* Files: private maps, whole reads, locks, and atomic writes (aside, fsync, rename, fsync of the
 * folder). What is no regular file (a device, a pipe) is written to as it stands. */
#define _GNU_SOURCE /* fileno, flock, fsync, mkdir, statvfs under -std=c17 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static enum um_status fail_open(struct um_error *err, const char *path)
{
    return um_fail(err, UM_E_INPUT, "cannot open '%s': %s", path, strerror(errno));
}

enum um_status um_map_open(struct um_map *map, const char *path, struct um_error *err)
{
    *map = (struct um_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_open(err, path);
    enum um_status status = UM_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = fail_open(err, path);
    } else if (!S_ISREG(info.st_mode)) {
        status = um_fail(err, UM_E_INPUT, "cannot open '%s': not a regular file", path);
    } else if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            status = um_fail(err, UM_E_RUNTIME, "cannot map '%s': %s", path, strerror(errno));
        else
            *map = (struct um_map){.bytes = bytes, .n_bytes = (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void um_map_close(struct um_map *map)
{
    if (map->bytes)
        munmap(map->bytes, map->n_bytes);
    *map = (struct um_map){0};
}

void um_map_forget(const void *bytes, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)bytes + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)bytes + n) / page * page;
    if (end > start)
        (void)madvise((void *)start, end - start, MADV_DONTNEED); // NOLINT: an address in the map
}

enum um_status um_file_read(char **text, size_t *n_bytes, const char *path, struct um_error *err)
{
    struct um_map map;
    *text = NULL;
    UM_RETURN_IF(um_map_open(&map, path, err));
    *text = um_alloc(map.n_bytes + 1);
    if (*text) {
        if (map.n_bytes)
            memcpy(*text, map.bytes, map.n_bytes);
        (*text)[map.n_bytes] = '\0';
        if (n_bytes)
            *n_bytes = map.n_bytes;
    }
    size_t need = map.n_bytes;
    um_map_close(&map);
    return *text ? UM_OK : um_fail_memory(err, path, need);
}

static enum um_status fail_write(const struct um_writer *w, struct um_error *err)
{
    return um_fail(err, UM_E_RUNTIME, "cannot write '%s': %s", w->path, strerror(errno));
}

/* The folder that holds `path`; returns owned text or NULL. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return um_strdup(".");
    return um_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Where the link at `path` points to, from the same place as `path` itself; *target is NULL, and
 * the result true, if there is no link. False: out of memory. */
static bool read_link(char **target, const char *path)
{
    char text[4096];
    ssize_t n = readlink(path, text, sizeof(text) - 1);
    *target = NULL;
    if (n <= 0)
        return true;
    text[n] = '\0';
    char *parent = text[0] == '/' ? um_strdup("") : parent_of(path);
    *target = parent ? um_path_join(parent, text) : NULL;
    um_free(parent);
    return *target != NULL;
}

/* The place that `path` names by way of symbolic links, whether or not anything is there yet.
 * Returns owned text, NULL when out of memory. */
static char *follow_links(const char *path)
{
    enum { LINKS_MAX = 40 }; /* as Linux has it: more are a circle */
    char *at = um_strdup(path);
    for (int i = 0; at && i < LINKS_MAX; i++) {
        char *target;
        if (!read_link(&target, at)) {
            um_free(at);
            return NULL;
        }
        if (!target)
            break;
        um_free(at);
        at = target;
    }
    return at;
}

/* Whether `path` cannot be replaced by another file: it is no regular one, or standard output goes
 * there (by /dev/stdout, too), which may have more in it. */
static bool is_written_in_place(const char *path)
{
    struct stat info, output;
    if (stat(path, &info) != 0)
        return errno == ELOOP; /* links in a circle: to be refused when it is opened */
    return !S_ISREG(info.st_mode) ||
           (fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == info.st_dev &&
            output.st_ino == info.st_ino);
}

enum um_status um_writer_open(struct um_writer *w, const char *path, struct um_error *err)
{
    bool is_in_place = is_written_in_place(path);
    struct um_str partial = {0};
    *w = (struct um_writer){.path = is_in_place ? um_strdup(path) : follow_links(path)};
    if (w->path && !is_in_place)
        um_str_addf(&partial, "%s.partial", w->path);
    w->partial = partial.text;
    if (!w->path || partial.failed) {
        um_writer_abandon(w);
        return um_fail_memory(err, path, strlen(path));
    }
    w->file = is_in_place ? fopen(w->path, "abe") : fopen(w->partial, "wbe");
    if (!w->file) {
        enum um_status status = fail_write(w, err);
        um_writer_abandon(w);
        return status;
    }
    return UM_OK;
}

enum um_status um_writer_put(struct um_writer *w, const void *bytes, size_t n, struct um_error *err)
{
    if (n && fwrite(bytes, 1, n, w->file) != n)
        return fail_write(w, err);
    w->n_bytes += (int64_t)n;
    return UM_OK;
}

enum um_status um_writer_commit(struct um_writer *w, struct um_error *err)
{
    enum um_status status = UM_OK;
    bool is_written = fflush(w->file) == 0 && (!w->partial || fsync(fileno(w->file)) == 0);
    if (!is_written)
        status = fail_write(w, err);
    if (fclose(w->file) != 0 && status == UM_OK)
        status = fail_write(w, err);
    w->file = NULL;
    if (status == UM_OK && w->partial && rename(w->partial, w->path) != 0)
        status = fail_write(w, err);
    if (status == UM_OK && w->partial) {
        um_free(w->partial); /* nothing to remove any more */
        w->partial = NULL;
        status = um_sync_parent(w->path, err);
    }
    um_writer_abandon(w);
    return status;
}

void um_writer_abandon(struct um_writer *w)
{
    if (w->file)
        (void)fclose(w->file);
    if (w->partial)
        (void)unlink(w->partial);
    um_free(w->path);
    um_free(w->partial);
    *w = (struct um_writer){0};
}

enum um_status um_file_write(const char *path, const void *bytes, size_t n, struct um_error *err)
{
    struct um_writer w = {0};
    enum um_status status;
    UM_TRY(um_writer_open(&w, path, err));
    UM_TRY(um_writer_put(&w, bytes, n, err));
    UM_TRY(um_writer_commit(&w, err));
out:
    um_writer_abandon(&w);
    return status;
}

enum um_status um_file_write_str(const char *path, const struct um_str *text, struct um_error *err)
{
    return text->failed ? um_fail_memory(err, path, text->length)
                        : um_file_write(path, text->text, text->length, err);
}

enum um_status um_file_copy(const char *to, const char *from, struct um_error *err)
{
    struct um_map map;
    UM_RETURN_IF(um_map_open(&map, from, err));
    enum um_status status = um_file_write(to, map.bytes, map.n_bytes, err);
    um_map_close(&map);
    return status;
}

bool um_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool um_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *um_path_join(const char *folder, const char *name)
{
    struct um_str s = {0};
    um_str_add(&s, folder);
    if (s.length && s.text[s.length - 1] != '/')
        um_str_add(&s, "/");
    um_str_add(&s, name);
    if (s.failed)
        um_str_free(&s);
    return s.text;
}

enum um_status um_make_folder(const char *path, struct um_error *err)
{
    char *copy = um_strdup(path);
    if (!copy)
        return um_fail_memory(err, path, strlen(path));
    enum um_status status = UM_OK;
    for (char *c = copy + 1; status == UM_OK; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char was = *c;
        *c = '\0';
        if (mkdir(copy, 0777) != 0 && (errno != EEXIST || !um_path_is_folder(copy)))
            status = um_fail(err, UM_E_RUNTIME, "cannot create folder '%s': %s", copy,
                             strerror(errno));
        *c = was;
        if (was == '\0')
            break;
    }
    um_free(copy);
    return status;
}

static enum um_status remove_folder(const char *path, int depth, struct um_error *err)
{
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? UM_OK
                               : um_fail(err, UM_E_RUNTIME, "cannot remove '%s': %s", path,
                                         strerror(errno));
    enum um_status status = UM_OK;
    for (struct dirent *entry; status == UM_OK && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *inner = um_path_join(path, entry->d_name);
        struct stat info; /* of the entry itself: what a link points to stays */
        if (!inner)
            status = um_fail_memory(err, path, 0);
        else if (depth > 0 && lstat(inner, &info) == 0 && S_ISDIR(info.st_mode))
            status = remove_folder(inner, depth - 1, err);
        else if (unlink(inner) != 0)
            status = um_fail(err, UM_E_RUNTIME, "cannot remove '%s': %s", inner, strerror(errno));
        um_free(inner);
    }
    (void)closedir(folder);
    if (status == UM_OK && rmdir(path) != 0)
        status = um_fail(err, UM_E_RUNTIME, "cannot remove '%s': %s", path, strerror(errno));
    return status;
}

enum um_status um_remove_folder(const char *path, struct um_error *err)
{
    return remove_folder(path, 1, err);
}

enum um_status um_sync_parent(const char *path, struct um_error *err)
{
    char *parent = parent_of(path);
    if (!parent)
        return um_fail_memory(err, path, strlen(path));
    enum um_status status = UM_OK;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot sync a folder (EINVAL); the rename itself is still atomic there. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        status = um_fail(err, UM_E_RUNTIME, "cannot sync folder '%s': %s", parent, strerror(errno));
    if (fd >= 0)
        close(fd);
    um_free(parent);
    return status;
}

char *um_path_whole(const char *path)
{
    char *found = *path ? realpath(path, NULL) : NULL;
    char *whole = found ? um_strdup(found) : NULL;
    free(found); /* the C library's own */
    return whole;
}

enum um_status um_lock_take(FILE **lock, const char *path, bool waits, struct um_error *err)
{
    *lock = fopen(path, "ae");
    if (!*lock)
        return um_fail(err, UM_E_RUNTIME, "cannot write '%s': %s", path, strerror(errno));
    if (flock(fileno(*lock), waits ? LOCK_EX : LOCK_EX | LOCK_NB) == 0)
        return UM_OK;
    int error = errno;
    (void)fclose(*lock);
    *lock = NULL;
    if (error == EWOULDBLOCK)
        return UM_OK;
    if (error == EINTR)
        return um_fail(err, UM_E_INTERRUPTED, "stopped while another process had '%s'", path);
    return um_fail(err, UM_E_RUNTIME, "cannot lock '%s': %s", path, strerror(error));
}

int64_t um_disk_free(const char *path)
{
    char *at = um_strdup(path);
    int64_t bytes = INT64_MAX;
    while (at) {
        struct statvfs info;
        if (statvfs(at, &info) == 0) {
            bytes = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
            break;
        }
        if (strcmp(at, ".") == 0 || strcmp(at, "/") == 0)
            break;
        char *parent = parent_of(at);
        um_free(at);
        at = parent;
    }
    um_free(at);
    return bytes;
}
