/* unmask delta export, import: deltas to and from other programs' formats. */

#include "cli.h"

static const char *const export_usage[] = {
    "RUN [--format NAME] --out PATH",
    "--model DIR --delta FILE [--format NAME] --out PATH",
    NULL,
};
static const struct cli_option export_options[] = {
    {"--delta", "FILE", "delta to export: a file or a run folder", false},
    {"--format", "NAME", "format to write: peft, supertuning, shira, gguf", false},
    {"--out", "PATH", "folder (gguf: file) to make; must not exist", false},
};
static const char *const export_keys[] = {"model", NULL};

static enum um_status run_export(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    const char *out = cli_value(args, "--out");
    if (!out)
        return cli_fail(err, UM_E_USAGE, "'unmask delta export' needs --out PATH");
    enum um_status status = cli_target_open_delta(&target, args, err);
    if (status != UM_OK)
        return status;
    status = um_delta_export(target.model, target.delta, cli_value(args, "--format"), out, err);
    if (status == UM_OK)
        printf("exported     %s\n", out);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_delta_export = {
    .name = "delta export",
    .summary = "write a delta for PEFT or llama.cpp",
    .usage = export_usage,
    .description =
        "Format peft takes LoRA, DoRA and AdaLoRA; supertuning and shira take single weights of "
        "linear maps, as ID3 and the other selective methods change them, if nothing else of the "
        "base is changed (train with --region maps). All three write adapter_config.json and "
        "adapter_model.safetensors, which Hugging Face PEFT loads over the same base, with a task "
        "head as a module saved along; the weights are the delta's bit for bit.\n\nFormat gguf "
        "takes LoRA and AdaLoRA of a decoder and writes an adapter that llama.cpp loads (--lora) "
        "over the same base as GGUF.\n\nWithout --format it is peft, or supertuning if the delta "
        "adds no parameters to the base.",
    .options = export_options,
    .n_options = CLI_COUNT(export_options),
    .recipe_keys = export_keys,
    .n_positionals_max = 1,
    .run = run_export,
};

static const char *const import_usage[] = {"DIR --model DIR --out FILE", NULL};
static const struct cli_option import_options[] = {
    {"--out", "FILE", "delta to write", false},
};

static enum um_status run_import(const struct cli_args *args, struct um_error *err)
{
    struct um_delta_info info;
    char text[32];
    const char *out = cli_value(args, "--out"), *model = cli_value(args, "--model");
    if (args->n_positionals != 1 || !model || !out)
        return cli_fail(err, UM_E_USAGE, "'unmask delta import' needs DIR --model DIR --out FILE");
    enum um_status status = um_delta_import_peft(&info, args->positionals[0], model, out, err);
    if (status == UM_OK)
        printf("imported     %s, %s values, into %s\n", info.method,
               cli_format_count(text, info.n_whole), out);
    return status;
}

const struct cli_command cli_delta_import = {
    .name = "delta import",
    .summary = "make a delta of a PEFT folder (LoRA, DoRA, AdaLoRA)",
    .usage = import_usage,
    .description = "Reads adapter_config.json and adapter_model.safetensors of Hugging Face PEFT "
                   "and writes the same as a delta over the model, for eval, predict, generate and "
                   "merge. Classes get the names LABEL_0, LABEL_1 and so on.",
    .options = import_options,
    .n_options = CLI_COUNT(import_options),
    .recipe_keys = export_keys,
    .n_positionals_max = 1,
    .run = run_import,
};
