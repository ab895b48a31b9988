/* unmask merge (and its other name, unmask delta apply): a model folder of base and delta. */
#include "cli.h"

static const char *const usage[] = {
    "RUN --out DIR",
    "--model DIR --delta FILE --out DIR",
    NULL,
};

static const char *const examples[] = {
    "unmask merge RUN --out merged",
    "unmask merge --model base --delta delta.safetensors --out merged",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to apply: a file or a run folder", false},
    {"--out", "DIR", "folder to make; must not exist or be empty", false},
    {"--json", NULL, "print the report as JSON", false},
};

static const char *const keys[] = {"model", NULL};

static void print_report(const struct um_merge_report *r, const char *out, bool is_json)
{
    char changed[32], written[32], bytes[32];
    if (is_json) {
        cli_json_open(NULL, '{');
        cli_json_text("out", out);
        cli_json_integer("n_tensors", r->n_tensors);
        cli_json_integer("n_changed", r->n_changed);
        cli_json_integer("n_written", r->n_written);
        cli_json_integer("bytes", r->bytes);
        cli_json_bool("is_verified", r->is_verified);
        cli_json_close('}');
        return;
    }
    printf("merged       %lld tensors, %s, into %s\n", (long long)r->n_tensors,
           um_format_bytes(bytes, (double)r->bytes), out);
    printf("changed      %s of %s values written\n", cli_format_count(changed, r->n_changed),
           cli_format_count(written, r->n_written));
    printf("verified     %s\n", r->is_verified ? "read back: base + delta, bit for bit" : "NO");
}

static enum um_status run_merge(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct um_merge_report report;
    const char *out = cli_value(args, "--out");
    if (!out)
        return cli_fail(err, UM_E_USAGE, "'unmask %s' needs --out DIR", args->command->name);
    enum um_status status = cli_target_open(&target, args, err);
    if (status != UM_OK)
        return status;
    if (!target.delta)
        status = cli_fail(err, UM_E_USAGE, "'unmask %s' needs a run folder or --delta",
                          args->command->name);
    else
        status = um_delta_merge(&report, target.model, target.delta, out, err);
    if (status == UM_OK) {
        print_report(&report, out, cli_has(args, "--json"));
        if (!report.is_verified)
            status = cli_fail(err, UM_E_RUNTIME, "'%s' read back differs from base + delta", out);
    }
    cli_target_close(&target);
    return status;
}

#define DESCRIPTION                                                                                \
    "Writes the base model with the delta applied as a model folder of its own, which other "      \
    "programs load as any other. Tensors are streamed one by one; the result is read back and "    \
    "compared bit for bit. A delta made for another base is refused."

const struct cli_command cli_merge = {
    .name = "merge",
    .summary = "write base model and delta as one model folder",
    .usage = usage,
    .description = DESCRIPTION,
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_merge,
};
const struct cli_command cli_delta_apply = {
    .name = "delta apply",
    .summary = "the same as merge",
    .usage = usage,
    .description = DESCRIPTION,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_merge,
};
