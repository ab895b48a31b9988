/* unmask eval: scores a run, or a model with a delta, on labelled data. */
#include "cli.h"

static const char *const usage[] = {
    "RUN [OPTION...]",
    "--model DIR [--delta FILE] --task NAME --data DIR [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask eval RUN",
    "unmask eval RUN --eval-file test.tsv --predictions predictions.tsv",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to lay over the model: a file or a run folder", false},
    {"--predictions", "FILE", "write row, label, prediction and scores to this TSV file", false},
    {"--json", NULL, "print the result as JSON", false},
    {"--set", "KEY=VALUE", "set any recipe key; see 'unmask help recipe'", true},
};

static const char *const keys[] = {"model",      "task",    "data.*", "train.max_length",
                                   "eval.batch", "threads", NULL};

static void print_text(const struct um_evaluation *e)
{
    char rows[32];
    printf("rows         %s\n", cli_format_count(rows, e->n_rows));
    if (e->n_metrics > 0)
        printf("loss         %.6f\n", e->loss);
    for (size_t i = 0; i < e->n_metrics; i++)
        printf("%-12s %.6f\n", e->metrics[i].name, e->metrics[i].value);
}

static void print_json(const struct um_evaluation *e)
{
    cli_json_open(NULL, '{');
    cli_json_integer("n_rows", e->n_rows);
    cli_json_real("loss", e->loss);
    cli_json_open("metrics", '{');
    for (size_t i = 0; i < e->n_metrics; i++)
        cli_json_real(e->metrics[i].name, e->metrics[i].value);
    cli_json_close('}');
    cli_json_close('}');
}

static enum um_status run_eval(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct um_predictor *predictor = NULL;
    struct um_evaluation evaluation;
    enum um_status status = cli_target_open(&target, args, err);
    if (status != UM_OK)
        return status;
    status = um_predictor_open(&predictor, target.model, target.delta, err);
    if (status == UM_OK)
        status = um_predictor_evaluate(&evaluation, predictor, target.recipe,
                                       cli_value(args, "--predictions"), err);
    if (status == UM_OK && cli_has(args, "--json"))
        print_json(&evaluation);
    else if (status == UM_OK)
        print_text(&evaluation);
    um_predictor_free(predictor);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_eval = {
    .name = "eval",
    .summary = "score a run or a model on labelled data",
    .usage = usage,
    .description = "Scores a model on the evaluation file of its task, with the metrics of the "
                   "task. Of a run, model, delta, task and data are known; options say otherwise. "
                   "The delta is laid over the model in memory; nothing is merged.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_eval,
};
