/* Status and errors: formatted messages, context put before them, hints. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

int um_status_exit_code(enum um_status status)
{
    switch (status) {
    case UM_OK:
        return 0;
    case UM_E_USAGE:
        return 2;
    case UM_E_INPUT:
        return 3;
    case UM_E_INTERRUPTED:
        return 130;
    case UM_E_RUNTIME:
    case UM_E_DIVERGED:
        break;
    }
    return 1;
}

enum um_status um_fail(struct um_error *err, enum um_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        (void)um_vsnprintf(err->message, sizeof(err->message), fmt, args);
        va_end(args);
        err->status = status;
        err->hint[0] = '\0';
        /* A message is one line, whatever a file's own text had in it. */
        for (char *c = err->message; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
    }
    return status;
}

enum um_status um_fail_memory(struct um_error *err, const char *what, size_t bytes)
{
    return um_fail(err, UM_E_RUNTIME, "out of memory: %s needs %zu bytes", what, bytes);
}

void um_error_prefix(struct um_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    char old[sizeof(err->message)];
    memcpy(old, err->message, sizeof(old));
    va_list args;
    va_start(args, fmt);
    int n = um_vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(err->message))
        (void)snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", old);
}

void um_error_hint(struct um_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, fmt);
    (void)um_vsnprintf(err->hint, sizeof(err->hint), fmt, args);
    va_end(args);
}
