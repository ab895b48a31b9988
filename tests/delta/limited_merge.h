/* Merging, and other work, where files cannot grow, as on a full disk. */
#ifndef UM_TESTS_LIMITED_MERGE_H
#define UM_TESTS_LIMITED_MERGE_H

#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unmask.h"

/* Works in a child whose files cannot grow beyond `limit` bytes. Whether that failed as it
 * should. */
static inline bool limited_fails(enum um_status (*work)(const void *user, struct um_error *err),
                                 const void *user, rlim_t limit)
{
    struct um_error err;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit files = {limit, limit};
        (void)signal(SIGXFSZ, SIG_IGN);
        um_set_threads(1); /* OpenMP's threads do not outlive a fork */
        enum um_status status =
            setrlimit(RLIMIT_FSIZE, &files) == 0 ? work(user, &err) : UM_OK;
        _exit(status == UM_E_RUNTIME && strstr(err.message, "cannot write") ? 7 : 1);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFEXITED(how) && WEXITSTATUS(how) == 7;
}

struct limited_merge {
    const char *model, *delta, *out;
    const struct um_merge_options *options;
};

static inline enum um_status merge_limited(const void *user, struct um_error *err)
{
    struct um_merge_report report;
    const struct limited_merge *m = user;
    return um_delta_merge(&report, m->model, m->delta, m->out, m->options, err);
}

static inline bool limited_merge_fails(const char *model, const char *delta, const char *out,
                                       const struct um_merge_options *options, rlim_t limit)
{
    const struct limited_merge merge = {model, delta, out, options};
    return limited_fails(merge_limited, &merge, limit);
}

#endif
