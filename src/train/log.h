/* Logs of a run: files of JSON lines, each of which begins with {"step": N. */
#ifndef UM_TRAIN_LOG_H
#define UM_TRAIN_LOG_H

#include <stdio.h>

#include "base/str.h"

struct um_log {
    FILE *file; /* NULL: not open, lines go nowhere */
    char *path; /* owned */
};

/* Opens a log to append to. Lines of steps behind `last_step`, which an earlier life of the run
 * wrote but no checkpoint knows, and half a line at the end are dropped. */
enum um_status um_log_open(struct um_log *log, const char *folder, const char *name,
                           int64_t last_step, struct um_error *err);
/* Appends a line (with its newline) at once. */
enum um_status um_log_put(struct um_log *log, const struct um_str *line, struct um_error *err);
void um_log_close(struct um_log *log);

#endif
