/* What every test file needs: cmocka with its prerequisites, and a check of a status. */
#ifndef UM_TEST_H
#define UM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

/* Fails the test with the library's own message. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != UM_OK)                                                                       \
            fail_msg("%s: %s", #call, (err).message);                                              \
    } while (0)

/* The call must fail with this status, and its message must contain `text`. */
#define assert_fails(call, expected, text, err)                                                    \
    do {                                                                                           \
        assert_int_equal(call, expected);                                                          \
        if (!strstr((err).message, text))                                                          \
            fail_msg("message '%s' lacks '%s'", (err).message, text);                              \
    } while (0)

#endif
