/* unmask compare: methods against each other on the same tasks, budgets and seeds. */
#include <stdlib.h>

#include "cli.h"

static const char *const usage[] = {
    "RECIPE --methods A,B,... --out DIR [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask compare recipe.yaml --methods id3,pafi,full --seeds 3 --out results",
    "unmask compare recipe.yaml --methods id3,id3:method.importance=gradient \\\n"
    "    --tasks rte,mrpc --budgets 0.05%,0.17% --lrs 2e-4,5e-4,1e-3 --out results",
    NULL,
};

static const struct cli_option options[] = {
    {"--methods", "LIST",
     "methods; NAME:KEY=VALUE:... goes with settings (a list's items with ; between)", false},
    {"--budgets", "LIST", "budgets (default: the recipe's)", false},
    {"--tasks", "LIST", "tasks (default: the recipe's)", false},
    {"--lrs", "LIST", "learning rates to try; x3: thrice a method's (default: the recipe's)",
     false},
    {"--seeds", "N", "runs of each, with seeds 1 to N (default 1)", false},
    {"--holdout", "SHARE", "of the training rows, to score trials on (default 0.1)", false},
    {"--trial-epochs", "X", "epochs of a trial (default: the recipe's)", false},
    {"--set", "KEY=VALUE", "set any recipe key; see 'unmask help recipe'", true},
};

static const char *const keys[] = {"*", NULL};

struct lists {
    struct cli_list methods, budgets, tasks, rates;
};

/* "1e-3", or "x3": so many times the rate that a method begins with. All are of one kind. */
static enum um_status read_rates(struct um_compare_options *o, double rates[CLI_ITEMS_MAX],
                                 const struct cli_list *list, struct um_error *err)
{
    enum um_status status = UM_OK;
    o->rates = rates;
    o->n_rates = list->n;
    o->are_factors = list->n > 0 && *list->items[0] == 'x';
    for (size_t i = 0; i < list->n && status == UM_OK; i++) {
        bool is_factor = *list->items[i] == 'x';
        if (is_factor != o->are_factors)
            return cli_fail(err, UM_E_USAGE, "option '--lrs' takes rates or multiples, not '%s' "
                            "beside '%s'", list->items[i], list->items[0]);
        status = cli_real(&rates[i], list->items[i] + is_factor, "--lrs", 0, 1e6, err);
    }
    return status;
}

static enum um_status read_options(struct um_compare_options *o, double rates[CLI_ITEMS_MAX],
                                   struct lists *lists, const struct cli_args *args,
                                   struct um_error *err)
{
    const char *holdout = cli_value(args, "--holdout");
    const char *epochs = cli_value(args, "--trial-epochs");
    struct {
        struct cli_list *list;
        const char *flag;
    } all[] = {{&lists->methods, "--methods"},
               {&lists->budgets, "--budgets"},
               {&lists->tasks, "--tasks"},
               {&lists->rates, "--lrs"}};
    enum um_status status = UM_OK;
    *o = (struct um_compare_options){.n_seeds = 1, .holdout = 0.1};
    for (size_t i = 0; i < CLI_COUNT(all) && status == UM_OK; i++)
        status = cli_list(all[i].list, args, all[i].flag, err);
    if (status == UM_OK)
        status = read_rates(o, rates, &lists->rates, err);
    if (status == UM_OK)
        status = cli_number(&o->n_seeds, args, "--seeds", 1, err);
    if (status == UM_OK && holdout)
        status = cli_real(&o->holdout, holdout, "--holdout", 0, 1, err);
    if (status == UM_OK && epochs)
        status = cli_real(&o->trial_epochs, epochs, "--trial-epochs", 0, 1e6, err);
    o->variants = lists->methods.items;
    o->n_variants = lists->methods.n;
    o->budgets = lists->budgets.items;
    o->n_budgets = lists->budgets.n;
    o->tasks = lists->tasks.items;
    o->n_tasks = lists->tasks.n;
    return status;
}

/* The table on standard output. */
static enum um_status print_table(const char *out, struct um_error *err)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/table.md", out);
    return cli_print_file(path, err);
}

static enum um_status run_compare(const struct cli_args *args, struct um_error *err)
{
    struct um_callbacks callbacks = cli_progress_start();
    struct um_compare_options o;
    struct lists lists = {0};
    double rates[CLI_ITEMS_MAX];
    struct um_recipe *recipe = NULL;
    enum um_status status = read_options(&o, rates, &lists, args, err);
    if (status == UM_OK && cli_has(args, "--seed"))
        status = cli_fail(err, UM_E_USAGE, "a comparison's runs have seeds 1 to N, by --seeds N");
    if (status == UM_OK && lists.methods.n == 0)
        status = cli_fail(err, UM_E_USAGE, "'unmask compare' needs --methods");
    if (status == UM_OK)
        status = cli_recipe(&recipe, args, args->n_positionals ? args->positionals[0] : NULL, err);
    if (status == UM_OK) {
        o.out = um_recipe_get(recipe, "out");
        status = um_compare(recipe, &o, &callbacks, err);
        cli_progress_end();
    }
    if (status == UM_OK)
        status = print_table(o.out, err);
    if (status == UM_E_INTERRUPTED)
        cli_hint(err, "the same command goes on where this one stopped");
    um_recipe_free(recipe);
    free(lists.methods.copy);
    free(lists.budgets.copy);
    free(lists.tasks.copy);
    free(lists.rates.copy);
    return status;
}

const struct cli_command cli_compare = {
    .name = "compare",
    .summary = "train by several methods and compare them",
    .usage = usage,
    .description =
        "Trains each method on each task with each budget and seed, every run in a folder of its "
        "own under --out, and writes table.md, table.csv and table.json there: mean, deviation, "
        "paired difference from the first method with its p, parameters changed, updates done, "
        "time, memory, bytes of delta. What is done already is not done again: a comparison that "
        "was stopped goes on, and one that is called with more seeds or methods trains those; the "
        "tables hold what the last call lists. Calls at the same time share the work, each doing "
        "what no other is at.\n\nWith several learning rates (x0.3,x1,x3 are multiples of the "
        "rate that a method begins with, which differs from method to method) every method tries "
        "each of them once on the same held-out "
        "part of the training data, and takes the best (of equal ones, that of the lower loss). "
        "One at which training diverges loses; a run that diverges has no value.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_compare,
};
