/*
 * Status and errors. The fact is recorded where it is known (um_fail); callers that know more put
 * their context in front on the way up (um_error_prefix).
 */
#ifndef UM_BASE_ERROR_H
#define UM_BASE_ERROR_H

#include "base/compiler.h"
#include "unmask.h"

/* Fills `err` (may be NULL) with a formatted message, clears the hint, returns `status`. */
enum um_status um_fail(struct um_error *err, enum um_status status, const char *fmt, ...)
    UM_PRINTF(3, 4);

/* Out of memory while doing `what`; always UM_E_RUNTIME. */
enum um_status um_fail_memory(struct um_error *err, const char *what, size_t bytes);

/* Puts "context: " before the message that is there. */
void um_error_prefix(struct um_error *err, const char *fmt, ...) UM_PRINTF(2, 3);

/* Adds one line of advice. */
void um_error_hint(struct um_error *err, const char *fmt, ...) UM_PRINTF(2, 3);

/* In a function with an `out:` label and a `status` variable: leave when a call failed. */
#define UM_TRY(call)                                                                               \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != UM_OK)                                                                       \
            goto out;                                                                              \
    } while (0)

/* In a function that has nothing to clean up: return when a call failed. */
#define UM_RETURN_IF(call)                                                                         \
    do {                                                                                           \
        enum um_status um_status_ = (call);                                                        \
        if (um_status_ != UM_OK)                                                                   \
            return um_status_;                                                                     \
    } while (0)

#endif
