/* Files: mapped for reading, read whole, written aside and renamed. */
#ifndef UM_BASE_FILE_H
#define UM_BASE_FILE_H

#include <stdio.h>

#include "base/str.h"

/* A file mapped privately: pages are shared with the page cache until they are written to. */
struct um_map {
    unsigned char *bytes; /* NULL for an empty file */
    size_t n_bytes;
};

enum um_status um_map_open(struct um_map *map, const char *path, struct um_error *err);
void um_map_close(struct um_map *map);
/* Lets go of pages of a map that nobody wrote to: they are read again when they are next used. */
void um_map_forget(const void *bytes, size_t n);

/* The whole file, with a NUL behind it. Returns owned text (free with um_free). */
enum um_status um_file_read(char **text, size_t *n_bytes, const char *path, struct um_error *err);

/* A file that is written aside (PATH.partial) and renamed into place by commit, after fsync. Until
 * then what stood at `path` is intact. A symbolic link stays: this is done to what it points to.
 * What is no regular file (a pipe, a device) and where standard output goes are written to
 * directly. Each write may fail: disk full, no permission. */
struct um_writer {
    FILE *file;
    char *path, *partial; /* owned; partial NULL: `path` itself is written to */
    int64_t n_bytes;      /* written so far */
};

enum um_status um_writer_open(struct um_writer *w, const char *path, struct um_error *err);
enum um_status um_writer_put(struct um_writer *w, const void *bytes, size_t n,
                             struct um_error *err);
enum um_status um_writer_commit(struct um_writer *w, struct um_error *err); /* closes too */
void um_writer_abandon(struct um_writer *w); /* removes the partial file; legal after commit */

/* Writes `n` bytes as the whole new content of `path`, atomically. */
enum um_status um_file_write(const char *path, const void *bytes, size_t n, struct um_error *err);
/* The same of a text, if there was memory to make it. */
enum um_status um_file_write_str(const char *path, const struct um_str *text, struct um_error *err);

/* A copy of a file, atomically. */
enum um_status um_file_copy(const char *to, const char *from, struct um_error *err);

bool um_path_exists(const char *path);
bool um_path_is_folder(const char *path);
/* DIR/NAME. Returns owned text (free with um_free), NULL when out of memory. */
char *um_path_join(const char *folder, const char *name);
/* The path from the root on, of what is there: owned text; NULL if it is not there, or "". */
char *um_path_whole(const char *path);
/* Creates the folder and its missing parents; no error if it is there. */
enum um_status um_make_folder(const char *path, struct um_error *err);
/* Removes a folder with the files in it, one level of subfolders included. */
enum um_status um_remove_folder(const char *path, struct um_error *err);
/* Takes the file, made if need be, for this process alone: until *lock is closed (fclose) or the
 * process ends, however it does. *lock is NULL where another has it, unless this `waits`; a signal
 * ends the wait with UM_E_INTERRUPTED. */
enum um_status um_lock_take(FILE **lock, const char *path, bool waits, struct um_error *err);
/* Makes a rename durable: fsync of the folder that holds `path`. */
enum um_status um_sync_parent(const char *path, struct um_error *err);
/* Bytes free to this user on the disk that holds `path` (which need not exist yet). */
int64_t um_disk_free(const char *path);

#endif
