/* unmask tokenize: texts to token ids or tokens, a line each. */
#define _POSIX_C_SOURCE 200809L /* getline */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const usage[] = {"MODEL [TEXT...] [OPTION...]", NULL};

static const char *const examples[] = {
    "unmask tokenize model-folder 'How is this cut up?' --tokens",
    "unmask tokenize model-folder < lines.txt",
    "unmask tokenize model.gguf 'How is this cut up?'",
    NULL,
};

static const struct cli_option options[] = {
    {"--tokens", NULL, "print the tokens instead of their ids", false},
    {"--pair", "TEXT", "second text, to each of the texts", false},
    {"--no-special", NULL, "leave out the special tokens, such as [CLS]", false},
    {"--max-length", "N", "cut to N tokens", false},
};

struct job {
    const struct um_tokenizer *tokenizer;
    struct um_tokens tokens;
    const char *pair;
    int64_t max_length;
    bool is_special, as_tokens;
};

static enum um_status tokenize(struct job *job, const char *text, size_t n, struct um_error *err)
{
    enum um_status status = um_tokenizer_encode(&job->tokens, job->tokenizer, text, n, job->pair,
                                                job->pair ? strlen(job->pair) : 0, job->is_special,
                                                job->max_length, err);
    for (size_t i = 0; i < job->tokens.n && status == UM_OK; i++) {
        if (i > 0)
            (void)putchar(' ');
        if (job->as_tokens)
            (void)fputs(um_tokenizer_token(job->tokenizer, job->tokens.ids[i]), stdout);
        else
            printf("%d", (int)job->tokens.ids[i]);
    }
    if (status == UM_OK)
        (void)putchar('\n');
    return status;
}

static enum um_status tokenize_lines(struct job *job, struct um_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    enum um_status status = UM_OK;
    for (ssize_t n; status == UM_OK && (n = getline(&line, &capacity, stdin)) >= 0;) {
        if (n > 0 && line[n - 1] == '\n')
            n--;
        status = tokenize(job, line, (size_t)n, err);
    }
    free(line);
    return status;
}

static enum um_status run_tokenize(const struct cli_args *args, struct um_error *err)
{
    struct um_tokenizer *tokenizer;
    struct job job = {.pair = cli_value(args, "--pair"),
                      .is_special = !cli_has(args, "--no-special"),
                      .as_tokens = cli_has(args, "--tokens")};
    if (args->n_positionals < 1)
        return cli_fail(err, UM_E_USAGE,
                        "'unmask tokenize' needs a model: a folder or a GGUF file");
    enum um_status status = cli_number(&job.max_length, args, "--max-length", 1, err);
    if (status == UM_OK)
        status = um_tokenizer_open(&tokenizer, args->positionals[0], err);
    if (status != UM_OK)
        return status;
    job.tokenizer = tokenizer;
    for (int i = 1; i < args->n_positionals && status == UM_OK; i++)
        status = tokenize(&job, args->positionals[i], strlen(args->positionals[i]), err);
    if (args->n_positionals == 1)
        status = tokenize_lines(&job, err);
    um_tokens_free(&job.tokens);
    um_tokenizer_free(tokenizer);
    return status;
}

const struct cli_command cli_tokenize = {
    .name = "tokenize",
    .summary = "show how a model's tokenizer cuts up texts",
    .usage = usage,
    .description = "Prints the token ids of each text, or of each line of standard input if there "
                   "are no texts. MODEL is a Hugging Face folder or a GGUF file.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .n_positionals_max = -1,
    .run = run_tokenize,
};
