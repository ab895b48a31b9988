/* What eval, predict, merge and delta work on: a run folder, or a model and a delta. */
#define _POSIX_C_SOURCE 200809L /* strdup */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* FOLDER/NAME, owned (free); NULL when out of memory. */
static char *join(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    if (path)
        (void)snprintf(path, n, "%s/%s", folder, name);
    return path;
}

/* The delta file of what may be a run folder, owned (free); NULL when out of memory. */
static char *delta_path(const char *path)
{
    return is_folder(path) ? join(path, "delta.safetensors") : strdup(path);
}

enum um_status cli_delta_open(struct um_delta **delta, const char *path, struct um_error *err)
{
    char *file = delta_path(path);
    *delta = NULL;
    enum um_status status =
        file ? um_delta_open(delta, file, err) : cli_fail(err, UM_E_RUNTIME, "out of memory");
    free(file);
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
    char *recipe = join(run, "recipe.yaml");
    target->delta = delta_path(run);
    if (!recipe || !target->delta) {
        free(recipe);
        return cli_fail(err, UM_E_RUNTIME, "out of memory");
    }
    enum um_status status = cli_recipe(&target->recipe, args, recipe, err);
    free(recipe);
    target->n_used = 1;
    /* Rows were limited to save time while training; that is over. */
    if (status == UM_OK && !cli_sets(args, "eval.rows"))
        status = um_recipe_set(target->recipe, "eval.rows", "0", err);
    return status;
}

enum um_status cli_target_open(struct cli_target *target, const struct cli_args *args,
                               struct um_error *err)
{
    *target = (struct cli_target){0};
    const char *delta = cli_value(args, "--delta");
    enum um_status status;
    if (!cli_has(args, "--model") && !delta && args->n_positionals > 0) {
        status = open_run(target, args, err);
    } else {
        status = cli_recipe(&target->recipe, args, NULL, err);
        target->delta = status == UM_OK && delta ? delta_path(delta) : NULL;
        if (status == UM_OK && delta && !target->delta)
            status = cli_fail(err, UM_E_RUNTIME, "out of memory");
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

void cli_target_close(struct cli_target *target)
{
    um_recipe_free(target->recipe);
    free(target->delta);
    *target = (struct cli_target){0};
}
