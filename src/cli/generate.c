/* unmask generate: goes on with a text (or answers a message), streaming it as it comes. */
#define _POSIX_C_SOURCE 200809L /* getline */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const char *const usage[] = {
    "RUN [PROMPT] [OPTION...]",
    "--model DIR|FILE.gguf [--delta FILE] [PROMPT] [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask generate RUN 'Tom has 3 apples and buys 4 more. How many has he?'",
    "unmask generate --model m.gguf --raw 'Once upon a time' --temperature 1",
    "unmask generate RUN --prompts questions.jsonl --out answers.jsonl",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to lay over the model: a file or a run folder", false},
    {"--prompt", "TEXT", "the prompt, if it does not stand alone; '-': standard input", false},
    {"--prompts", "FILE", "column 'prompt' of a JSONL, TSV or CSV file; needs --out", false},
    {"--out", "FILE", "with --prompts: a JSON object per prompt goes there", false},
    {"--raw", NULL, "go on with the prompt as it is, without a chat template", false},
    {"--system", "TEXT", "system message before the prompt, by the chat template", false},
    {"--max-new-tokens", "N", "stop after so many tokens (default 256; 0: no limit)", false},
    {"--temperature", "X", "0 (default): the likeliest token; above: by chance", false},
    {"--top-k", "N", "with --temperature: choose among the N likeliest only", false},
    {"--top-p", "X", "with --temperature: only the likeliest that reach this share", false},
    {"--repetition-penalty", "X", "above 1: what stands there already becomes less likely", false},
    {"--seed", "N", "of the choices by chance", false},
    {"--stop", "TEXT", "end where this text appears; may be given several times", true},
    {"--batch", "N", "with --prompts: texts at a time (default 8)", false},
};

static const char *const keys[] = {"model", "data.template", "threads", NULL};

enum { STOPS_MAX = 32 };

/* An option that takes a number from 0, or above it, to `most`. */
struct real {
    const char *flag;
    double *number, most;
    bool is_above;
};

static enum um_status read_real(const struct real *real, const struct cli_args *args,
                                struct um_error *err)
{
    const char *text = cli_value(args, real->flag);
    char *end;
    if (!text)
        return UM_OK;
    double x = *real->number = strtod(text, &end);
    if (*text && !*end && (real->is_above ? x > 0 : x >= 0) && x <= real->most)
        return UM_OK;
    return cli_fail(err, UM_E_USAGE, "option '%s' takes a number %s 0 and at most %g, found '%s'",
                    real->flag, real->is_above ? "above" : "of at least", real->most, text);
}

static enum um_status read_stops(struct um_generate_options *o, const char *stops[STOPS_MAX],
                                 const struct cli_args *args, struct um_error *err)
{
    for (int i = 0; i < args->n_settings; i++) {
        const struct cli_setting *setting = &args->settings[i];
        if (strcmp(setting->flag, "--stop") != 0)
            continue;
        if (o->n_stops == STOPS_MAX)
            return cli_fail(err, UM_E_USAGE, "option '--stop' can be given %d times, not more",
                            STOPS_MAX);
        stops[o->n_stops++] = setting->value;
    }
    return UM_OK;
}

static enum um_status read_options(struct um_generate_options *o, const char **stops,
                                   const struct cli_args *args, const struct um_recipe *recipe,
                                   struct um_error *err)
{
    int64_t seed = 42;
    enum um_status status = UM_OK;
    *o = (struct um_generate_options){.max_new_tokens = 256,
                                      .stops = stops,
                                      .is_raw = cli_has(args, "--raw"),
                                      .chat_template = um_recipe_get(recipe, "data.template"),
                                      .system = cli_value(args, "--system")};
    struct {
        const char *flag;
        int64_t *number, least;
    } numbers[] = {{"--max-new-tokens", &o->max_new_tokens, 0},
                   {"--top-k", &o->top_k, 0},
                   {"--seed", &seed, 0},
                   {"--batch", &o->batch, 1}};
    const struct real reals[] = {{"--temperature", &o->temperature, 1e6, false},
                                 {"--top-p", &o->top_p, 1, true},
                                 {"--repetition-penalty", &o->repetition_penalty, 1e6, true}};
    for (size_t i = 0; i < CLI_COUNT(numbers) && status == UM_OK; i++)
        status = cli_number(numbers[i].number, args, numbers[i].flag, numbers[i].least, err);
    for (size_t i = 0; i < CLI_COUNT(reals) && status == UM_OK; i++)
        status = read_real(&reals[i], args, err);
    o->seed = (uint64_t)seed;
    return status == UM_OK ? read_stops(o, stops, args, err) : status;
}

/* Standard input to its end, less the end of its last line; owned (free). */
static enum um_status read_input(char **text, struct um_error *err)
{
    size_t capacity = 0;
    ssize_t n = getdelim(text, &capacity, '\0', stdin);
    if (n < 0 && !feof(stdin))
        return cli_fail(err, UM_E_RUNTIME, "cannot read standard input");
    if (n > 0 && (size_t)n > strlen(*text))
        return cli_fail(err, UM_E_INPUT, "standard input holds a NUL byte");
    if (n > 0 && (*text)[n - 1] == '\n')
        (*text)[--n] = '\0';
    return n > 0 ? UM_OK : cli_fail(err, UM_E_USAGE, "no prompt: give one, or --prompts FILE");
}

static bool print_piece(int64_t index, const char *text, size_t n, void *user)
{
    (void)index;
    (void)user;
    (void)fwrite(text, 1, n, stdout);
    (void)fflush(stdout);
    return true;
}

static enum um_status generate_one(struct um_predictor *predictor, const char *prompt,
                                   const struct um_generate_options *o, struct um_error *err)
{
    struct um_generation g = {0};
    enum um_status status =
        um_predictor_generate(&g, predictor, 1, &prompt, o, print_piece, NULL, err);
    if (status == UM_OK) {
        (void)fputc('\n', stdout);
        if (isatty(STDERR_FILENO))
            (void)fprintf(stderr, "%lld tokens after %lld, %.1f tokens/s\n", (long long)g.n_ids,
                          (long long)g.n_prompt,
                          g.seconds > 0 ? (double)(g.n_ids - 1) / g.seconds : 0);
    }
    um_generation_free(&g);
    return status;
}

static enum um_status generate(struct um_predictor *predictor, const struct cli_args *args,
                               const struct cli_target *target, struct um_error *err)
{
    struct um_generate_options o;
    const char *stops[STOPS_MAX], *prompt = cli_value(args, "--prompt");
    const char *file = cli_value(args, "--prompts"), *out = cli_value(args, "--out");
    char *input = NULL;
    int next = target->n_used;
    enum um_status status = read_options(&o, stops, args, target->recipe, err);
    if (status != UM_OK)
        return status;
    if (!file != !out)
        return cli_fail(err, UM_E_USAGE, "--prompts and --out go together");
    if (file && prompt)
        return cli_fail(err, UM_E_USAGE, "--prompt beside --prompts: give one of them");
    if (!file && !prompt && next < args->n_positionals)
        prompt = args->positionals[next++];
    if (next < args->n_positionals)
        return cli_fail_unused(args, args->positionals[next], err);
    if (file)
        return um_predictor_generate_file(predictor, file, out, &o, NULL, NULL, err);
    if (!prompt || strcmp(prompt, "-") == 0) {
        status = read_input(&input, err);
        prompt = input;
    }
    if (status == UM_OK)
        status = generate_one(predictor, prompt, &o, err);
    free(input);
    return status;
}

static enum um_status run(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct um_predictor *predictor = NULL;
    enum um_status status = cli_target_open(&target, args, err);
    if (status == UM_OK) {
        um_set_threads((int)strtol(um_recipe_get(target.recipe, "threads"), NULL, 10));
        status = um_predictor_open(&predictor, target.model, target.delta, err);
    }
    if (status == UM_OK)
        status = generate(predictor, args, &target, err);
    um_predictor_free(predictor);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_generate = {
    .name = "generate",
    .summary = "go on with a text, or answer a message, by a decoder",
    .usage = usage,
    .description =
        "Goes on with a prompt by a decoder model with a delta laid over it, token by token, and "
        "prints the text as it comes. Nothing is merged.\n\n"
        "The prompt is a user message: written by the template that --template names, else as the "
        "run's training data was, else by the model's own; --raw, or a model without a template, "
        "goes on with the prompt as it is. --system puts a system message before it, in place of "
        "the template's own if that has one. Without options the likeliest token is taken each "
        "time; --temperature above 0 chooses by chance, the same for the same --seed.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 2,
    .run = run,
};
