/* unmask train: runs a recipe to its end, or continues a run. */
#include <stdlib.h>

#include "cli.h"

static const char *const usage[] = {
    "[RECIPE] [OPTION...]",
    "--resume RUN [--threads N]",
    NULL,
};

static const char *const examples[] = {
    "unmask train recipe.yaml --set method.budget=1%",
    "unmask train --model DIR --task rte --data DIR --budget 0.17% --out RUN",
    "unmask train recipe.yaml --dry-run",
    "unmask train --resume RUN",
    NULL,
};

static const struct cli_option options[] = {
    {"--set", "KEY=VALUE", "set any recipe key; see 'unmask help recipe'", true},
    {"--resume", "RUN", "continue a run from its newest checkpoint", false},
    {"--dry-run", NULL, "print what would be done, with the memory it needs, and stop", false},
    {"--json", NULL, "print plan or summary as JSON", false},
};

static const char *const keys[] = {"*", NULL};

/* Opens a run to go on with. Its results do not depend on the number of threads: that may be
 * another. */
static enum um_status resume_run(struct um_run **run, const char *folder,
                                 const struct cli_args *args, const struct um_callbacks *callbacks,
                                 struct um_error *err)
{
    struct um_recipe *settings = NULL;
    bool sets_threads = cli_sets(args, "threads");
    int n_allowed = 1 + cli_has(args, "--json") + cli_has(args, "--dry-run") + sets_threads;
    if (args->n_positionals > 0 || args->n_settings > n_allowed)
        return cli_fail(err, UM_E_USAGE,
                        "--resume continues a run as it was begun: it takes "
                        "no recipe and no settings but --threads");
    enum um_status status = cli_recipe(&settings, args, NULL, err);
    if (status == UM_OK)
        status = um_run_resume(run, folder, callbacks, err);
    if (status == UM_OK && sets_threads)
        um_set_threads((int)strtol(um_recipe_get(settings, "threads"), NULL, 10));
    um_recipe_free(settings);
    return status;
}

/* Opens the run that the command line describes. */
static enum um_status open_run(struct um_run **run, struct um_recipe **recipe,
                               const struct cli_args *args, const struct um_callbacks *callbacks,
                               struct um_error *err)
{
    const char *folder = cli_value(args, "--resume");
    if (folder)
        return resume_run(run, folder, args, callbacks, err);
    const char *file = args->n_positionals > 0 ? args->positionals[0] : NULL;
    if (!file && args->n_settings == 0) {
        (void)cli_fail(err, UM_E_USAGE, "nothing to train: give a recipe, or flags");
        cli_hint(err, "for example: %s", examples[1]);
        return UM_E_USAGE;
    }
    enum um_status status = cli_recipe(recipe, args, file, err);
    return status == UM_OK ? um_run_open(run, *recipe, callbacks, err) : status;
}

static enum um_status train(struct um_run *run, const char *out, bool is_json, struct um_error *err)
{
    struct um_summary summary;
    enum um_status status = um_run_train(&summary, run, err);
    cli_progress_end();
    if (status == UM_E_INTERRUPTED) {
        (void)cli_fail(err, status, "interrupted; the run is saved in '%s'", out);
        cli_hint(err, "unmask train --resume '%s' continues it", out);
    }
    if (status != UM_OK)
        return status;
    cli_print_summary(&summary, out, is_json);
    if (!summary.is_within_budget || !summary.is_base_intact)
        return cli_fail(err, UM_E_RUNTIME, "the run broke its promise: see the summary");
    return UM_OK;
}

static enum um_status run_train(const struct cli_args *args, struct um_error *err)
{
    struct um_callbacks callbacks = cli_progress_start();
    struct um_recipe *recipe = NULL;
    struct um_run *run = NULL;
    bool is_json = cli_has(args, "--json");
    enum um_status status = open_run(&run, &recipe, args, &callbacks, err);
    const char *out = recipe ? um_recipe_get(recipe, "out") : cli_value(args, "--resume");
    if (status == UM_OK && cli_has(args, "--dry-run")) {
        status = cli_plan(run, is_json, err);
    } else if (status == UM_OK) {
        status = train(run, out, is_json, err);
    }
    um_run_free(run);
    um_recipe_free(recipe);
    return status;
}

const struct cli_command cli_train = {
    .name = "train",
    .summary = "fine-tune a model by a recipe",
    .usage = usage,
    .description =
        "Fine-tunes a model as a recipe says, or as the options say; options stand over the "
        "recipe. The run folder --out receives the resolved recipe.yaml, metrics.jsonl, "
        "unmasked.jsonl, checkpoints, delta.safetensors and summary.json.\n\nAt the end the run's "
        "promises are checked and printed: no more parameters changed than the budget allows, and "
        "every other one is bit-identical to the base model.\n\nInterrupt it with Ctrl-C: a "
        "checkpoint is saved, and --resume continues from there.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_train,
};
