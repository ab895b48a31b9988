/* unmask merge (and its other name, unmask delta apply): base and delta as a model of its own. */
#include <string.h>

#include "cli.h"

static const char *const usage[] = {
    "RUN --out PATH [--type T]",
    "--model BASE --delta FILE --out PATH [--type T]",
    NULL,
};

static const char *const examples[] = {
    "unmask merge RUN --out merged",
    "unmask merge RUN --out merged.gguf --type q8_0",
    "unmask merge --model base.gguf --delta RUN --out merged --type bf16",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to apply: a file or a run folder", false},
    {"--out", "PATH", "folder, or file ending in .gguf, to make; may not exist yet", false},
    {"--format", "F", "folder or gguf, whatever the name of --out", false},
    {"--type", "T", "of the values: f32, f16, bf16; q8_0 in a GGUF file", false},
    {"--json", NULL, "print the report as JSON", false},
};

static const char *const keys[] = {"model", NULL};

static void print_json(const struct um_merge_report *r, const char *out)
{
    cli_json_open(NULL, '{');
    cli_json_text("out", out);
    cli_json_text("format", r->is_gguf ? "gguf" : "folder");
    cli_json_integer("n_tensors", r->n_tensors);
    cli_json_integer("n_untouched", r->n_untouched);
    cli_json_integer("n_changed", r->n_changed);
    cli_json_integer("n_rounded", r->n_rounded);
    cli_json_integer("n_written", r->n_written);
    cli_json_integer("bytes", r->bytes);
    cli_json_bool("is_verified", r->is_verified);
    cli_json_text("note", r->note);
    cli_json_close('}');
}

static void print_report(const struct um_merge_report *r, const char *out)
{
    char changed[32], written[32], rounded[32], bytes[32];
    printf("merged       %lld tensors, %s, into %s%s\n", (long long)r->n_tensors,
           um_format_bytes(bytes, (double)r->bytes), r->is_gguf ? "GGUF " : "", out);
    printf("changed      %s of %s values written\n", cli_format_count(changed, r->n_changed),
           cli_format_count(written, r->n_written));
    if (r->n_rounded)
        printf("rounded      %s values are base + delta rounded to their type\n",
               cli_format_count(rounded, r->n_rounded));
    for (const char *line = r->note; *line;) {
        int n = (int)strcspn(line, "\n");
        printf("note         %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
    printf("verified     %s\n", !r->is_verified ? "NO"
                                : r->n_rounded ? "read back: base + delta as rounded, bit for bit"
                                               : "read back: base + delta, bit for bit");
}

static enum um_status run_merge(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct um_merge_report report;
    const struct um_merge_options o = {.format = cli_value(args, "--format"),
                                       .type = cli_value(args, "--type")};
    const char *out = cli_value(args, "--out");
    if (!out)
        return cli_fail(err, UM_E_USAGE, "'unmask %s' needs --out DIR or FILE.gguf",
                        args->command->name);
    enum um_status status = cli_target_open_delta(&target, args, err);
    if (status != UM_OK)
        return status;
    status = um_delta_merge(&report, target.model, target.delta, out, &o, err);
    if (status == UM_OK) {
        if (cli_has(args, "--json"))
            print_json(&report, out);
        else
            print_report(&report, out);
        if (!report.is_verified)
            status = cli_fail(err, UM_E_RUNTIME, "'%s' read back differs from base + delta", out);
    }
    cli_target_close(&target);
    return status;
}

#define DESCRIPTION                                                                                \
    "Writes the base model with the delta applied as a model of its own, which other programs "    \
    "load as any other: a Hugging Face folder, or a GGUF file for llama.cpp. The base may be "     \
    "either; encoders have no GGUF form. Tensors are streamed piece by piece; the result is "      \
    "read back and compared bit for bit. A delta made for another base is refused.\n\n"            \
    "Without --type a folder's values keep their type in either form. A GGUF file's are f32 in a " \
    "folder; in another GGUF file the tensors that the delta does not touch stay as they are, "    \
    "byte for byte, and those that it touches are written as --type (f16 if they were "            \
    "quantised). Vectors and norms are f32 in GGUF files."

const struct cli_command cli_merge = {
    .name = "merge",
    .summary = "write base and delta as one model folder or GGUF file",
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
