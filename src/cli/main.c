/* unmask: finds the subcommand, runs it, prints its error, and turns its status into the exit's. */
#define _GNU_SOURCE /* setenv */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* In the order of help. */
const struct cli_command *const cli_commands[] = {
    &cli_train,
    &cli_compare,
    &cli_eval,
    &cli_predict,
    &cli_generate,
    &cli_merge,
    &cli_delta_info,
    &cli_delta_map,
    &cli_delta_apply,
    &cli_delta_verify,
    &cli_delta_diff,
    &cli_delta_add,
    &cli_delta_subtract,
    &cli_delta_scale,
    &cli_delta_compose,
    &cli_delta_overlap,
    &cli_delta_export,
    &cli_delta_import,
    &cli_inspect,
    &cli_tokenize,
    &cli_bench,
    &cli_help,
    NULL,
};

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

bool cli_is_group(const char *group)
{
    size_t n = strlen(group);
    for (size_t i = 0; cli_commands[i]; i++)
        if (strncmp(cli_commands[i]->name, group, n) == 0 && cli_commands[i]->name[n] == ' ')
            return true;
    return false;
}

static enum um_status fail_unknown_command(const char *name, struct um_error *err)
{
    const char *names[CLI_COUNT(cli_commands)];
    size_t n = 0;
    for (; cli_commands[n]; n++)
        names[n] = cli_commands[n]->name;
    const char *nearest = um_nearest(name, names, n);
    (void)cli_fail(err, UM_E_USAGE, "unknown command '%s'%s%s%s", name,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    cli_hint(err, "'unmask help' lists the commands");
    return UM_E_USAGE;
}

/* The command that argv[1..] names, and in *n_words how many words its name has. */
static enum um_status find_command(const struct cli_command **command, int *n_words, int argc,
                                   char **argv, struct um_error *err)
{
    char name[64];
    *n_words = 1;
    *command = cli_command_find(argv[1]);
    if (*command)
        return UM_OK;
    if (!cli_is_group(argv[1]))
        return fail_unknown_command(argv[1], err);
    if (argc < 3) {
        (void)cli_fail(err, UM_E_USAGE, "'unmask %s' needs a command", argv[1]);
        cli_hint(err, "'unmask %s --help' lists them", argv[1]);
        return UM_E_USAGE;
    }
    *n_words = 2;
    (void)snprintf(name, sizeof(name), "%.24s %.24s", argv[1], argv[2]);
    *command = cli_command_find(name);
    return *command ? UM_OK : fail_unknown_command(name, err);
}

static bool is_help_flag(const char *text)
{
    return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
}

/* What needs no command: help and version. False if argv[1] is neither. */
static bool run_without_command(int argc, char **argv)
{
    if (argc < 2 || is_help_flag(argv[1]))
        cli_help_program(argc < 2 ? stderr : stdout);
    else if (strcmp(argv[1], "--version") == 0)
        printf("unmask %s\n", um_version());
    else if (argc == 3 && cli_is_group(argv[1]) && is_help_flag(argv[2]))
        cli_help_group(argv[1], stdout);
    else
        return false;
    return true;
}

static enum um_status run_command(int argc, char **argv, struct um_error *err)
{
    const struct cli_command *command;
    int n_words;
    enum um_status status = find_command(&command, &n_words, argc, argv, err);
    if (status != UM_OK)
        return status;
    struct cli_args args;
    status = cli_args_parse(&args, command, argc - 1 - n_words, argv + 1 + n_words, err);
    if (status == UM_OK && args.wants_help)
        cli_help_command(command, stdout);
    else if (status == UM_OK)
        status = command->run(&args, err);
    cli_args_free(&args);
    return status;
}

/* "label: text" as one line, whatever the text had in it from a command line. */
static void print_line(const char *label, const char *text)
{
    if (!*text)
        return;
    (void)fprintf(stderr, "%s: ", label);
    for (const char *c = text; *c; c++)
        (void)fputc((unsigned char)*c < 0x20 ? '?' : *c, stderr);
    (void)fputc('\n', stderr);
}

/*
 * OpenMP's threads spin for a while before they sleep, which on a machine that others use too can
 * cost ten times the work itself (seen: 4.0 s a step against 0.6 s beside one busy process). A
 * short spin loses nothing on an idle machine. The setting is read when the library is loaded, so
 * the program starts itself anew with it, unless the user has one.
 */
static void spin_briefly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "3000", 0) == 0)
        (void)execv("/proc/self/exe", argv); /* where there is no /proc, nothing is lost */
}

int main(int argc, char **argv)
{
    spin_briefly(argv);
    cli_interrupt_start();
    struct um_error err = {.message = ""};
    enum um_status status = UM_OK;
    if (argc < 2)
        status = UM_E_USAGE;
    if (!run_without_command(argc, argv))
        status = um_check_environment(&err) == UM_OK ? run_command(argc, argv, &err) : err.status;
    if (fflush(stdout) != 0 && status == UM_OK)
        status = cli_fail(&err, UM_E_RUNTIME, "cannot write to standard output");
    if (status != UM_OK && argc >= 2) {
        print_line("unmask", err.message);
        print_line("hint", err.hint);
    }
    return um_status_exit_code(status);
}
