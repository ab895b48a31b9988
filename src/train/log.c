/* Logs: lines that are whole, and none that a resumed run is about to write again. */
#include "train/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* The step that a line begins with, -1 if it does not. A line of a text with a NUL behind it. */
static int64_t step_of(const char *line)
{
    static const char prefix[] = "{\"step\": ";
    if (strncmp(line, prefix, sizeof(prefix) - 1) != 0)
        return -1;
    return strtoll(line + sizeof(prefix) - 1, NULL, 10);
}

static enum um_status cut(const char *path, int64_t last_step, struct um_error *err)
{
    char *text;
    size_t n, kept = 0;
    if (!um_path_exists(path))
        return UM_OK;
    UM_RETURN_IF(um_file_read(&text, &n, path, err));
    for (size_t start = 0; start < n;) {
        const char *newline = memchr(text + start, '\n', n - start);
        int64_t step = step_of(text + start);
        if (!newline || step < 0 || step > last_step)
            break;
        start = kept = (size_t)(newline - text) + 1;
    }
    enum um_status status = um_file_write(path, text, kept, err);
    um_free(text);
    return status;
}

enum um_status um_log_open(struct um_log *log, const char *folder, const char *name,
                           int64_t last_step, struct um_error *err)
{
    *log = (struct um_log){.path = um_path_join(folder, name)};
    if (!log->path)
        return um_fail_memory(err, name, strlen(folder));
    UM_RETURN_IF(cut(log->path, last_step, err));
    log->file = fopen(log->path, "ae");
    return log->file ? UM_OK
                     : um_fail(err, UM_E_RUNTIME, "cannot write '%s': %s", log->path,
                               strerror(errno));
}

enum um_status um_log_put(struct um_log *log, const struct um_str *line, struct um_error *err)
{
    if (line->failed)
        return um_fail_memory(err, "a line of a log", line->length);
    if (log->file && (fputs(line->text, log->file) < 0 || fflush(log->file) != 0))
        return um_fail(err, UM_E_RUNTIME, "cannot write '%s': is the disk full?", log->path);
    return UM_OK;
}

void um_log_close(struct um_log *log)
{
    if (log->file)
        (void)fclose(log->file);
    um_free(log->path);
    *log = (struct um_log){0};
}
