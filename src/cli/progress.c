/*
 * Progress of a run on standard error: on a terminal one line that is updated, else a line now and
 * then; evaluations always. The callbacks are also where an interrupt is seen, and the run asked to
 * save and stop.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, isatty */
#include <time.h>
#include <unistd.h>

#include "cli.h"

static struct {
    bool is_terminal;
    bool is_line_open;      /* a line without its end stands on the terminal */
    double printed;         /* when a line was last printed */
} state;

/* Seconds between two lines: on a terminal, and where there is none. */
#define TERMINAL_SECONDS 0.1
#define PLAIN_SECONDS 10.0

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Whether it is time for another line; a first or last one `must` be printed. */
static bool is_due(bool must)
{
    double time = now();
    if (!must && time - state.printed < (state.is_terminal ? TERMINAL_SECONDS : PLAIN_SECONDS))
        return false;
    state.printed = time;
    return true;
}

void cli_progress_end(void)
{
    if (state.is_line_open)
        (void)fputc('\n', stderr);
    state.is_line_open = false;
}

void cli_progress_message(const char *line, void *user)
{
    (void)user;
    cli_progress_end();
    (void)fprintf(stderr, "%s\n", line);
}

/* What goes before the first step. */
static void print_phase(const struct um_progress *p)
{
    bool is_last = p->step == p->n_steps;
    (void)fprintf(stderr, "%s%s %lld/%lld%s", state.is_terminal ? "\r\033[K" : "", p->phase,
                  (long long)p->step, (long long)p->n_steps,
                  state.is_terminal && !is_last ? "" : "\n");
    state.is_line_open = state.is_terminal && !is_last;
    (void)fflush(stderr);
}

static void print_step(const struct um_progress *p)
{
    char unmasked[32], left[32];
    (void)fprintf(stderr, "%sstep %lld/%lld  loss %.4f  %s unmasked  %.0f tokens/s  %s left%s",
                  state.is_terminal ? "\r\033[K" : "", (long long)p->step, (long long)p->n_steps,
                  p->loss, cli_format_count(unmasked, p->n_unmasked), p->tokens_per_second,
                  cli_format_seconds(left, p->seconds_left), state.is_terminal ? "" : "\n");
    state.is_line_open = state.is_terminal;
    (void)fflush(stderr);
}

/* Rows that are only scored pass too quickly to be worth a line. */
static bool on_answering(const struct um_answering *a, void *user)
{
    char left[32];
    (void)user;
    if (!a->is_scoring && is_due(a->n_done == a->n_rows)) {
        (void)fprintf(stderr, "%s%lld/%lld rows answered  %lld right  %.0f tokens/s  %s left%s",
                      state.is_terminal ? "\r\033[K" : "", (long long)a->n_done,
                      (long long)a->n_rows, (long long)a->n_right, a->tokens_per_second,
                      cli_format_seconds(left, a->seconds_left), state.is_terminal ? "" : "\n");
        state.is_line_open = state.is_terminal;
        (void)fflush(stderr);
    }
    return !cli_is_interrupted();
}

static bool on_progress(const struct um_progress *p, void *user)
{
    (void)user;
    if (p->phase) {
        if (state.is_terminal || p->step == p->n_steps)
            print_phase(p);
    } else if (p->split) {
        cli_progress_end();
        (void)fprintf(stderr, "step %lld/%lld  %s: %s %.4f%s\n", (long long)p->step,
                      (long long)p->n_steps, p->split, p->metric ? p->metric : "loss",
                      p->metric ? p->metric_value : p->loss, p->is_best ? "  (best)" : "");
    } else if (is_due(p->step <= 1 || p->step == p->n_steps)) {
        print_step(p);
    }
    if (cli_is_interrupted()) {
        cli_progress_end();
        (void)fprintf(stderr, "interrupted: saving a checkpoint\n");
    }
    return !cli_is_interrupted();
}

struct um_callbacks cli_progress_start(void)
{
    cli_interrupt_listen();
    state.is_terminal = isatty(STDERR_FILENO) == 1;
    return (struct um_callbacks){
        .progress = on_progress, .answering = on_answering, .message = cli_progress_message};
}
