/* unmask eval: scores a run, or a model with a delta, on labelled data; several tasks in a row. */
#define _POSIX_C_SOURCE 200809L /* mkdir */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static const char *const usage[] = {
    "RUN [OPTION...]",
    "--model DIR [--delta FILE] --task NAME --data DIR [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask eval RUN",
    "unmask eval RUN --eval-file test.tsv --predictions predictions.tsv",
    "unmask eval RUN --tasks gsm8k,svamp,aqua --predictions FOLDER",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to lay over the model: a file or a run folder", false},
    {"--tasks", "NAMES", "score several tasks, one after another: gsm8k,svamp", false},
    {"--predictions", "FILE", "write what is predicted for each row; with --tasks, a folder",
     false},
    {"--json", NULL, "print the result as JSON", false},
    {"--set", "KEY=VALUE", "set any recipe key; see 'unmask help recipe'", true},
};

static const char *const keys[] = {"model",
                                   "task",
                                   "data.*",
                                   "train.max_length",
                                   "eval.batch",
                                   "eval.rows",
                                   "eval.max_new_tokens",
                                   "threads",
                                   NULL};

/* What is evaluated, and how each result is shown. */
struct session {
    struct um_recipe *recipe; /* borrowed */
    struct um_predictor *predictor;
    struct um_callbacks callbacks;
    bool is_json;
};

static void print_text(const char *task, const struct um_evaluation *e)
{
    char rows[32];
    int width = 12;
    for (size_t i = 0; i < e->n_metrics; i++)
        if ((int)strlen(e->metrics[i].name) > width)
            width = (int)strlen(e->metrics[i].name);
    if (task)
        printf("%-*s %s\n", width, "task", task);
    printf("%-*s %s\n", width, "rows", cli_format_count(rows, e->n_rows));
    if (e->n_metrics > 0 && isfinite(e->loss))
        printf("%-*s %.6f\n", width, "loss", e->loss);
    for (size_t i = 0; i < e->n_metrics; i++)
        printf("%-*s %.6f\n", width, e->metrics[i].name, e->metrics[i].value);
}

static void print_json(const char *task, const struct um_evaluation *e)
{
    cli_json_open(NULL, '{');
    if (task)
        cli_json_text("task", task);
    cli_json_integer("n_rows", e->n_rows);
    cli_json_real("loss", e->loss);
    cli_json_open("metrics", '{');
    for (size_t i = 0; i < e->n_metrics; i++)
        cli_json_real(e->metrics[i].name, e->metrics[i].value);
    cli_json_close('}');
    cli_json_close('}');
}

/* Evaluates the recipe's task and prints the result, under a task's name if there are several. */
static enum um_status evaluate(const struct session *s, const char *task, const char *predictions,
                               struct um_error *err)
{
    struct um_evaluation evaluation;
    enum um_status status = um_predictor_evaluate(&evaluation, s->predictor, s->recipe, predictions,
                                                  &s->callbacks, err);
    cli_progress_end();
    if (status != UM_OK)
        return status;
    (s->is_json ? print_json : print_text)(task, &evaluation);
    (void)fflush(stdout);
    return UM_OK;
}

/* FOLDER/TASK.jsonl, or .tsv for a task with a head; NULL: out of memory. Owned (free). */
static char *predictions_path(const char *folder, const char *task, bool is_json_lines)
{
    size_t n = strlen(folder) + strlen(task) + sizeof("/.jsonl");
    char *path = malloc(n);
    if (path)
        (void)snprintf(path, n, "%s/%s.%s", folder, task, is_json_lines ? "jsonl" : "tsv");
    return path;
}

static enum um_status evaluate_task(const struct session *s, const char *task, const char *folder,
                                    struct um_error *err)
{
    enum um_status status = um_recipe_set(s->recipe, "task", task, err);
    if (status != UM_OK || !folder)
        return status == UM_OK ? evaluate(s, task, NULL, err) : status;
    char *path = predictions_path(folder, task, um_predictor_outputs(s->predictor) == 0);
    status = path ? evaluate(s, task, path, err) : cli_fail(err, UM_E_RUNTIME, "out of memory");
    free(path);
    return status;
}

static enum um_status check_task(const struct session *s, const char *task,
                                 const char *predictions, struct um_error *err)
{
    enum um_status status = um_recipe_set(s->recipe, "task", task, err);
    return status == UM_OK ? um_predictor_check(s->predictor, s->recipe, predictions, err) : status;
}

static enum um_status evaluate_tasks(const struct session *s, const struct cli_list *tasks,
                                     const char *predictions, struct um_error *err)
{
    enum um_status status = UM_OK;
    /* before hours are spent on the first */
    for (size_t i = 0; i < tasks->n && status == UM_OK; i++)
        status = check_task(s, tasks->items[i], predictions, err);
    if (status == UM_OK && predictions && mkdir(predictions, 0777) != 0 && errno != EEXIST)
        status = cli_fail(err, UM_E_RUNTIME, "cannot make the folder '%s': %s", predictions,
                          strerror(errno));
    if (status == UM_OK && s->is_json)
        cli_json_open(NULL, '[');
    for (size_t i = 0; i < tasks->n && status == UM_OK; i++) {
        if (i > 0 && !s->is_json)
            printf("\n");
        status = evaluate_task(s, tasks->items[i], predictions, err);
    }
    if (status == UM_OK && s->is_json)
        cli_json_close(']');
    return status;
}

static enum um_status run_eval(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct session s = {.is_json = cli_has(args, "--json")};
    struct cli_list tasks;
    const char *predictions = cli_value(args, "--predictions");
    enum um_status status = cli_target_open(&target, args, err);
    if (status != UM_OK)
        return status;
    status = cli_list(&tasks, args, "--tasks", err);
    if (status == UM_OK && tasks.n && (cli_has(args, "--eval-file") || cli_has(args, "--task")))
        status = cli_fail(err, UM_E_USAGE,
                          "--tasks goes with neither --task nor --eval-file: each "
                          "task has a file of its own in --data");
    s.recipe = target.recipe;
    s.callbacks = cli_progress_start();
    if (status == UM_OK)
        status = um_predictor_open(&s.predictor, target.model, target.delta, err);
    if (status == UM_OK)
        status = tasks.n ? evaluate_tasks(&s, &tasks, predictions, err)
                         : evaluate(&s, NULL, predictions, err);
    um_predictor_free(s.predictor);
    free(tasks.copy);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_eval = {
    .name = "eval",
    .summary = "score a run or a model on labelled data",
    .usage = usage,
    .description =
        "Scores a model on the evaluation file of its task, with the metrics of the task. Of a "
        "run, model, delta, task and data are known; options say otherwise (all rows are scored, "
        "however few the run looked at while it trained; those that it held out of its training "
        "data, unless --data, --task or --tasks is given). The delta is laid over the model in "
        "memory; nothing is merged.\n\nA task with answers, such as gsm8k, is scored by what the "
        "model writes: it goes on with each row's prompt, the likeliest token each time, and the "
        "answer is looked for in that text: the last number, or the first letter from A to "
        "E.\n\n--predictions writes a TSV of row, label, prediction and scores; of answers a JSON "
        "object a row: row, line, prompt, text, prediction, answer, correct, tokens. With --tasks "
        "it names a folder, for a file of each task. Interrupted by Ctrl-C, an evaluation leaves "
        "there what it had predicted.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_eval,
};
