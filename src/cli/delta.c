/* unmask delta info, verify, diff: what a delta holds, whether it fits, and making one. */
#include "cli.h"

static const char *const model_keys[] = {"model", NULL};

/* ---------------------------------------------------------------------------------------- info */

static const char *const info_usage[] = {"FILE|RUN [--tensors] [--json]", "RUN --by layer,module",
                                         NULL};

static const struct cli_option info_options[] = {
    {"--tensors", NULL, "list the tensors touched", false},
    {"--json", NULL, "print as JSON", false},
    {"--by", "AXES", "the map of 'unmask delta map', of a run", false},
};

void cli_print_delta(const struct um_delta_info *info)
{
    char text[32];
    printf("method       %s\n", info->method[0] ? info->method : "unknown");
    printf("base         %s\n", info->architecture);
    printf("SHA-256      %s of the base's tensors touched\n", info->base_sha256);
    if (info->task[0])
        printf("task         %s\n", info->task);
    if (info->budget > 0)
        printf("budget       %s parameters\n", cli_format_count(text, info->budget));
    printf("tensors      %lld touched\n", (long long)info->n_tensors);
    printf("sparse       %s values\n", cli_format_count(text, info->n_sparse));
    printf("whole        %s values\n", cli_format_count(text, info->n_whole));
    printf("file         %s\n", um_format_bytes(text, (double)info->file_bytes));
}

static void print_tensors(const struct um_delta *delta)
{
    struct um_delta_tensor tensor;
    printf("\n%12s  %s\n", "values", "tensor");
    for (int64_t i = 0; um_delta_get_tensor(&tensor, delta, i); i++)
        printf("%12lld  %s%s\n", (long long)tensor.n_values, tensor.name,
               tensor.is_whole ? " (whole)" : "");
}

static void print_info_json(const struct um_delta_info *info, const struct um_delta *delta,
                            bool with_tensors)
{
    struct um_delta_tensor tensor;
    cli_json_open(NULL, '{');
    cli_json_text("method", info->method);
    cli_json_text("architecture", info->architecture);
    cli_json_text("task", info->task);
    cli_json_text("base_sha256", info->base_sha256);
    cli_json_integer("budget", info->budget);
    cli_json_integer("n_tensors", info->n_tensors);
    cli_json_integer("n_sparse", info->n_sparse);
    cli_json_integer("n_whole", info->n_whole);
    cli_json_integer("file_bytes", info->file_bytes);
    if (with_tensors) {
        cli_json_open("tensors", '[');
        for (int64_t i = 0; um_delta_get_tensor(&tensor, delta, i); i++) {
            cli_json_open(NULL, '{');
            cli_json_text("name", tensor.name);
            cli_json_bool("is_whole", tensor.is_whole);
            cli_json_integer("n_values", tensor.n_values);
            cli_json_close('}');
        }
        cli_json_close(']');
    }
    cli_json_close('}');
}

static enum um_status run_info(const struct cli_args *args, struct um_error *err)
{
    struct um_delta *delta;
    struct um_delta_info info;
    bool with_tensors = cli_has(args, "--tensors");
    if (args->n_positionals != 1)
        return cli_fail(err, UM_E_USAGE, "'unmask delta info' needs a delta file or a run folder");
    if (cli_has(args, "--by") && (with_tensors || cli_has(args, "--json")))
        return cli_fail(err, UM_E_USAGE, "--by prints a map: not with --tensors or --json");
    if (cli_has(args, "--by"))
        return cli_delta_map.run(args, err);
    enum um_status status = um_delta_open(&delta, args->positionals[0], err);
    if (status != UM_OK)
        return status;
    um_delta_get_info(&info, delta);
    if (cli_has(args, "--json")) {
        print_info_json(&info, delta, with_tensors);
    } else {
        cli_print_delta(&info);
        if (with_tensors)
            print_tensors(delta);
    }
    um_delta_free(delta);
    return UM_OK;
}

const struct cli_command cli_delta_info = {
    .name = "delta info",
    .summary = "say what a delta holds",
    .usage = info_usage,
    .description = "Prints method, base, budget and size of a delta, and how many values it holds.",
    .options = info_options,
    .n_options = CLI_COUNT(info_options),
    .n_positionals_max = 1,
    .run = run_info,
};

/* -------------------------------------------------------------------------------------- verify */

static const char *const verify_usage[] = {"RUN", "--model DIR --delta FILE", NULL};

static const struct cli_option verify_options[] = {
    {"--delta", "FILE", "delta to check: a file or a run folder", false},
};

static enum um_status run_verify(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    enum um_status status = cli_target_open_delta(&target, args, err);
    if (status != UM_OK)
        return status;
    status = um_delta_verify(target.model, target.delta, err);
    if (status == UM_OK)
        printf("%s fits %s\n", target.delta, target.model);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_delta_verify = {
    .name = "delta verify",
    .summary = "check that a delta fits its base model",
    .usage = verify_usage,
    .description = "Checks architecture, shapes, and the SHA-256 of the base's tensors that the "
                   "delta touches. Exit status 3 if they do not fit.",
    .options = verify_options,
    .n_options = CLI_COUNT(verify_options),
    .recipe_keys = model_keys,
    .n_positionals_max = 1,
    .run = run_verify,
};

/* ---------------------------------------------------------------------------------------- diff */

static const char *const diff_usage[] = {"BASE TUNED --out FILE", NULL};

static const struct cli_option diff_options[] = {
    {"--out", "FILE", "delta to write", false},
};

static enum um_status run_diff(const struct cli_args *args, struct um_error *err)
{
    struct um_delta_info info;
    const char *out = cli_value(args, "--out");
    if (args->n_positionals != 2 || !out)
        return cli_fail(err, UM_E_USAGE, "'unmask delta diff' needs BASE TUNED --out FILE");
    enum um_status status =
        um_delta_diff(&info, args->positionals[0], args->positionals[1], out, err);
    if (status == UM_OK)
        cli_print_delta(&info);
    return status;
}

const struct cli_command cli_delta_diff = {
    .name = "delta diff",
    .summary = "make a delta of two models",
    .usage = diff_usage,
    .description = "Writes the delta that turns the model BASE into TUNED: two folders or two GGUF "
                   "files of the same parameters. TUNED may lack what else BASE holds (buffers, "
                   "heads of other classes).",
    .options = diff_options,
    .n_options = CLI_COUNT(diff_options),
    .n_positionals_max = 2,
    .run = run_diff,
};
