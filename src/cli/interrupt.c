/*
 * SIGINT and SIGTERM. oneDNN's matrix products keep other things where the stack pointer points, so
 * a handler must not run on top of them: it would write into the heap. Hence all threads block
 * these signals but one, which waits for them. Where a command listens, the first one asks it to
 * stop, and wakes the main thread if that is waiting for input (by SIGURG, whose empty handler has
 * a stack of its own); a second one, or the first one elsewhere, ends the program as it would by
 * default.
 */
#define _XOPEN_SOURCE 700 /* sigaltstack, sigaction */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static atomic_bool is_listening, is_interrupted;
static pthread_t main_thread;
static sigset_t signals;

static void wake(int number)
{
    (void)number;
}

static void *wait_for_signals(void *unused)
{
    int number;
    while (sigwait(&signals, &number) == 0) {
        if (!is_listening || is_interrupted) {
            (void)signal(number, SIG_DFL);
            (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
            (void)kill(getpid(), number);
        }
        is_interrupted = true;
        (void)pthread_kill(main_thread, SIGURG);
    }
    return unused;
}

static bool give_stack(void)
{
    static char bytes[64 * 1024]; /* AVX-512's and AMX's registers alone are 11 KiB of a frame */
    const stack_t stack = {.ss_sp = bytes, .ss_size = sizeof(bytes)};
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = wake;
    action.sa_flags = SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask);
    return sigaltstack(&stack, NULL) == 0 && sigaction(SIGURG, &action, NULL) == 0;
}

void cli_interrupt_start(void)
{
    pthread_t thread;
    main_thread = pthread_self();
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    /* Threads that are made from here on inherit what is blocked. */
    if (!give_stack() || pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return;
    if (pthread_create(&thread, NULL, wait_for_signals, NULL) == 0)
        (void)pthread_detach(thread);
    else
        (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL); /* they end the program, then */
}

void cli_interrupt_listen(void)
{
    is_listening = true;
}

bool cli_is_interrupted(void)
{
    return is_interrupted;
}
