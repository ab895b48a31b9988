/*
 * The program: a table of subcommands, each a const descriptor (those of a kind in one file), over
 * the public API alone. The program's own names begin with cli_, the library's with um_.
 *
 * Results go to standard output, everything else to standard error. A command returns a status with
 * `err` filled; main prints it (one line `unmask: ...`, at most one line `hint: ...`) and exits.
 */
#ifndef UNMASK_CLI_H
#define UNMASK_CLI_H

#include <stdio.h>

#include "unmask.h"

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* An option of one command that is no recipe key. */
struct cli_option {
    const char *flag, *value; /* value: what stands for it in help; NULL if the option takes none */
    const char *summary;
    bool is_repeatable;
};

struct cli_args;

struct cli_command {
    const char *name;            /* "train", "delta info" */
    const char *summary;         /* one line */
    const char *const *usage;    /* lines of what follows the name, NULL at the end */
    const char *description;     /* paragraphs, an empty line between them */
    const char *const *examples; /* whole command lines, NULL at the end; may be NULL */
    const struct cli_option *options;
    size_t n_options;
    const char *const *recipe_keys; /* keys it takes as flags ("data.*": a section, "*": all), NULL
                                       at the end; NULL: it takes no recipe */
    int n_positionals_max;          /* negative: any number */
    enum um_status (*run)(const struct cli_args *args, struct um_error *err);
};

extern const struct cli_command cli_bench, cli_compare, cli_delta_add, cli_delta_apply,
    cli_delta_compose, cli_delta_diff, cli_delta_export, cli_delta_import, cli_delta_info,
    cli_delta_map, cli_delta_overlap, cli_delta_scale, cli_delta_subtract, cli_delta_verify,
    cli_eval, cli_generate, cli_help, cli_inspect, cli_merge, cli_predict, cli_tokenize, cli_train;
extern const struct cli_command *const cli_commands[];        /* NULL at the end */
const struct cli_command *cli_command_find(const char *name); /* NULL if unknown */
bool cli_is_group(const char *group); /* whether some command is called "group ..." */

/* ------------------------------------------------------------------------------------ args.c */

/* A command line, taken apart. All texts are borrowed from argv. */
struct cli_args {
    const struct cli_command *command;
    const char **positionals;
    int n_positionals;
    struct cli_setting {
        const char *flag;                  /* as it was written */
        const struct cli_option *option;   /* of the command, or NULL: */
        const struct um_option_info *info; /* of the recipe */
        const char *value;                 /* NULL if the option takes none */
    } * settings;
    int n_settings;
    bool wants_help;
};

/* Takes argv[0..argc), which follow the command's name, apart. Free with cli_args_free. */
enum um_status cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
                              char **argv, struct um_error *err);
void cli_args_free(struct cli_args *args);
bool cli_has(const struct cli_args *args, const char *flag);
/* The last value given to an option of the command or of the recipe; NULL if it was not given. */
const char *cli_value(const struct cli_args *args, const char *flag);
/* Whether the command line sets a recipe key, by its flag or by --set. */
bool cli_sets(const struct cli_args *args, const char *key);
/* A whole number >= least (and below 2^31) given to an option of the command; `*number` stays if it
 * was not
 * given. */
enum um_status cli_number(int64_t *number, const struct cli_args *args, const char *flag,
                          int64_t least, struct um_error *err);
/* A text that is a number between two others, less and more than these; `flag` names it in
 * errors. */
enum um_status cli_real(double *number, const char *text, const char *flag, double above,
                        double below, struct um_error *err);
enum { CLI_ITEMS_MAX = 64 };
/* "a,b,c" taken apart; items point into `copy` (owned, free). */
struct cli_list {
    char *copy;
    const char *items[CLI_ITEMS_MAX];
    size_t n;
};
/* The value of an option as a list, which stays empty if it was not given. */
enum um_status cli_list(struct cli_list *list, const struct cli_args *args, const char *flag,
                        struct um_error *err);
/* Whether the command takes the recipe's option as a flag. */
bool cli_takes(const struct cli_command *command, const struct um_option_info *info);
/* A recipe: the defaults, then `file` (NULL = none), then the flags and --set in their order. Owned
 * (free with um_recipe_free). */
enum um_status cli_recipe(struct um_recipe **recipe, const struct cli_args *args, const char *file,
                          struct um_error *err);

/* UM_E_USAGE: the command does nothing with this argument. */
enum um_status cli_fail_unused(const struct cli_args *args, const char *text, struct um_error *err);
/* A file's content to standard output. */
enum um_status cli_print_file(const char *path, struct um_error *err);
/* Fills `err`; returns `status`. */
enum um_status cli_fail(struct um_error *err, enum um_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "where: " before a message that is there. */
void cli_prefix(struct um_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_hint(struct um_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---------------------------------------------------------------------------------- target.c */

/* A base model with a delta over it: a run folder (first positional), or --model and --delta. */
struct cli_target {
    struct um_recipe *recipe; /* owned: the run's own with the flags over it, or of the flags */
    const char *model;        /* borrowed from the recipe */
    const char *delta;        /* of the arguments: a file or a run folder; NULL: none */
    int n_used;               /* positionals used: 1 for a run, else 0 */
};

/* Whether a path is that of a run folder. */
bool cli_is_run(const char *path);
enum um_status cli_target_open(struct cli_target *target, const struct cli_args *args,
                               struct um_error *err);
/* The same, where there must be a delta. */
enum um_status cli_target_open_delta(struct cli_target *target, const struct cli_args *args,
                                     struct um_error *err);
void cli_target_close(struct cli_target *target);

/* -------------------------------------------------------------------------------- progress.c */

/* Callbacks that show progress on standard error and stop the run when the program is
 * interrupted. */
struct um_callbacks cli_progress_start(void);
/* Of those, the one for messages: a line on standard error. */
void cli_progress_message(const char *line, void *user);
/* Ends the line that is being updated, so that what follows stands on its own. */
void cli_progress_end(void);

/* ------------------------------------------------------------------------------- interrupt.c */

/* Takes SIGINT and SIGTERM in hand, before any other thread is there. They end the program until a
 * command listens; from then on the first one only sets cli_is_interrupted. */
void cli_interrupt_start(void);
void cli_interrupt_listen(void);
bool cli_is_interrupted(void);

/* ---------------------------------------------------------------------------------- report.c */

/* Prints what a run will need, and what would need less. */
enum um_status cli_plan(struct um_run *run, bool is_json, struct um_error *err);
void cli_print_summary(const struct um_summary *summary, const char *out, bool is_json);
void cli_print_delta(const struct um_delta_info *info);
/* "22,713,216" into out; returns out. */
char *cli_format_count(char out[32], int64_t count);
/* "2 h 05 min", "3 min 07 s" or "42 s" into out; returns out. */
char *cli_format_seconds(char out[32], double seconds);

/* --------------------------------------------------------------------------------- example.c */

/* Prints row `row` (from 0) of those that a run trains on, token by token. */
enum um_status cli_print_example(struct um_run *run, int64_t row, bool is_json,
                                 struct um_error *err);

/* ------------------------------------------------------------------------------------ json.c */

/* JSON to standard output, with commas and indentation in the right places. A key is NULL in an
 * array and at the top. */
void cli_json_open(const char *key, char bracket);     /* '{' or '[' */
void cli_json_close(char bracket);                     /* '}' or ']' */
void cli_json_text(const char *key, const char *text); /* null for NULL */
void cli_json_text_n(const char *key, const char *text, size_t n);
/* A text as a JSON literal. */
void cli_json_literal(const char *text, size_t n);
void cli_json_integer(const char *key, int64_t value);
void cli_json_real(const char *key, double value); /* null if not finite */
void cli_json_bool(const char *key, bool value);

/* ---------------------------------------------------------------------------- help.c, man.c */

void cli_help_program(FILE *to);
void cli_help_command(const struct cli_command *command, FILE *to);
void cli_help_group(const char *group, FILE *to); /* the commands "group ..." */
void cli_help_recipe(FILE *to);
/* What an option is for, its values, its default. */
void cli_describe_option(char *out, size_t n, const struct um_option_info *info);
/* A man page: of a command, of the program (NULL) and of recipes ("recipe" as topic). */
void cli_man_command(const struct cli_command *command, FILE *to);
void cli_man_program(FILE *to);
void cli_man_recipe(FILE *to);

#endif
