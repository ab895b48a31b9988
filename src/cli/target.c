/* What eval, predict, merge and delta work on: a run folder, or a model and a delta. */
#include <sys/stat.h>

#include "cli.h"

enum { PATH_BYTES = 4096 };

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool path_of_recipe(char path[PATH_BYTES], const char *run)
{
    int n = snprintf(path, PATH_BYTES, "%s/recipe.yaml", run);
    return n > 0 && n < PATH_BYTES;
}

bool cli_is_run(const char *path)
{
    char recipe[PATH_BYTES];
    struct stat info;
    return path_of_recipe(recipe, path) && stat(recipe, &info) == 0;
}

/* Whether the first argument is a run. With --model its delta is laid over that model. */
static bool names_run(const struct cli_args *args)
{
    if (args->n_positionals == 0 || cli_has(args, "--delta"))
        return false;
    return !cli_has(args, "--model") || cli_is_run(args->positionals[0]);
}

/* Where the command line names other data, or another task, the run's files and the rows that it
 * held out are not what is meant. */
static enum um_status forget_data(struct um_recipe *recipe, const struct cli_args *args,
                                  struct um_error *err)
{
    bool is_other_data = cli_sets(args, "data.path"), has_tasks = cli_has(args, "--tasks");
    const struct {
        const char *key, *none;
        bool is_over;
    } settings[] = {{"data.train", "", is_other_data},
                    {"data.eval", "", is_other_data || has_tasks},
                    {"data.holdout", "0", is_other_data || has_tasks || cli_sets(args, "task")}};
    enum um_status status = UM_OK;
    for (size_t i = 0; i < CLI_COUNT(settings) && status == UM_OK; i++)
        if (settings[i].is_over && !cli_sets(args, settings[i].key))
            status = um_recipe_set(recipe, settings[i].key, settings[i].none, err);
    return status;
}

/* The run's own recipe with the command line's settings over it. */
static enum um_status open_run(struct cli_target *target, const struct cli_args *args,
                               struct um_error *err)
{
    const char *run = args->positionals[0];
    if (!is_folder(run)) {
        (void)cli_fail(err, UM_E_INPUT, "'%s' is not a run folder", run);
        cli_hint(err, "without a run: unmask %s --model DIR --delta FILE", args->command->name);
        return UM_E_INPUT;
    }
    char recipe[PATH_BYTES];
    if (!path_of_recipe(recipe, run))
        return cli_fail(err, UM_E_USAGE, "the path '%.100s...' is too long", run);
    enum um_status status = cli_recipe(&target->recipe, args, recipe, err);
    target->delta = run;
    target->n_used = 1;
    if (status == UM_OK)
        status = forget_data(target->recipe, args, err);
    /* Rows were limited to save time while training; that is over. */
    if (status == UM_OK && !cli_sets(args, "eval.rows"))
        status = um_recipe_set(target->recipe, "eval.rows", "0", err);
    return status;
}

/* Of a command that takes a run and nothing else: what was given in its place and is none. */
static enum um_status refuse_unused(const struct cli_args *args, struct um_error *err)
{
    const char *text = args->positionals[0];
    if (cli_has(args, "--delta"))
        return cli_fail(err, UM_E_USAGE, "'%s' and --delta: give a run, or --model and --delta",
                        text);
    (void)cli_fail(err, UM_E_INPUT, "'%s' is not a run folder", text);
    cli_hint(err, "a delta file goes over --model by --delta FILE");
    return UM_E_INPUT;
}

enum um_status cli_target_open(struct cli_target *target, const struct cli_args *args,
                               struct um_error *err)
{
    *target = (struct cli_target){0};
    const char *delta = cli_value(args, "--delta");
    enum um_status status;
    if (names_run(args)) {
        status = open_run(target, args, err);
    } else if (args->command->n_positionals_max == 1 && args->n_positionals) {
        status = refuse_unused(args, err);
    } else {
        status = cli_recipe(&target->recipe, args, NULL, err);
        target->delta = delta;
    }
    if (status == UM_OK) {
        target->model = um_recipe_get(target->recipe, "model");
        if (!*target->model) {
            status = cli_fail(err, UM_E_USAGE, "'unmask %s' needs a run folder or --model",
                              args->command->name);
            cli_hint(err, "usage: unmask %s %s", args->command->name, args->command->usage[0]);
        }
    }
    if (status != UM_OK)
        cli_target_close(target);
    return status;
}

enum um_status cli_target_open_delta(struct cli_target *target, const struct cli_args *args,
                                     struct um_error *err)
{
    enum um_status status = cli_target_open(target, args, err);
    if (status != UM_OK || target->delta)
        return status;
    cli_target_close(target);
    return cli_fail(err, UM_E_USAGE, "'unmask %s' needs a run folder or --delta",
                    args->command->name);
}

void cli_target_close(struct cli_target *target)
{
    um_recipe_free(target->recipe);
    *target = (struct cli_target){0};
}
