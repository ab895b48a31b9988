/*
 * unmask predict: predictions as TSV. Texts come from the command line, from a data file, or from
 * standard input, a line each; a tab stands before the second text of a pair.
 */
#define _POSIX_C_SOURCE 200809L /* getline, mkstemp */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const char *const usage[] = {
    "RUN [TEXT...] [OPTION...]",
    "--model DIR [--delta FILE] [TEXT...] [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask predict RUN 'A text to classify.'",
    "unmask predict RUN $'A first text.\\tAnd a second.'",
    "unmask predict RUN < lines.txt",
    "unmask predict RUN --eval-file unlabelled.tsv --out predictions.tsv",
    NULL,
};

static const struct cli_option options[] = {
    {"--delta", "FILE", "delta to lay over the model: a file or a run folder", false},
    {"--out", "FILE", "write there instead of to standard output", false},
    {"--scores", NULL, "add a column for each class, with its probability", false},
};

static const char *const keys[] = {"model",      "task",    "data.*", "train.max_length",
                                   "eval.batch", "threads", NULL};

enum { BATCH = 32 };

/* Texts on their way to the model, with room for their outputs. */
struct batch {
    struct um_predictor *predictor;
    FILE *to;
    bool with_scores;
    int64_t n_outputs, n;
    const char *texts[BATCH], *pairs[BATCH];
    char *lines[BATCH]; /* owned: a text, and its pair behind it */
    int64_t n_read;     /* lines of standard input, in all */
    float *logits;      /* [BATCH, n_outputs] */
    bool is_tagger;     /* a line for each word, and an empty one behind each text */
    int64_t n_printed;  /* texts of the batch whose words are printed */
};

static void print_header(const struct batch *b)
{
    (void)fputs("prediction", b->to);
    if (b->n_outputs > 1)
        (void)fputs("\tprobability", b->to);
    for (int64_t k = 0; k < b->n_outputs && b->n_outputs > 1 && b->with_scores; k++)
        (void)fprintf(b->to, "\t%s", um_predictor_label(b->predictor, k));
    (void)fputs(b->is_tagger ? "\tword\n" : "\ttext\n", b->to);
}

static void print_text(FILE *to, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)fputc(strchr("\t\n\r", text[i]) ? ' ' : text[i], to);
}

/* The class of greatest logit, with softmax probabilities; or the one number of a regression. */
static void print_outputs(const struct batch *b, const float *z)
{
    int64_t best = 0;
    double sum = 0;
    for (int64_t k = 1; k < b->n_outputs; k++)
        best = z[k] > z[best] ? k : best;
    for (int64_t k = 0; k < b->n_outputs; k++)
        sum += exp((double)z[k] - (double)z[best]);
    if (b->n_outputs > 1)
        (void)fprintf(b->to, "%s\t%.4f", um_predictor_label(b->predictor, best), 1 / sum);
    else
        (void)fprintf(b->to, "%.6g", (double)z[0]);
    for (int64_t k = 0; k < b->n_outputs && b->n_outputs > 1 && b->with_scores; k++)
        (void)fprintf(b->to, "\t%.4f", exp((double)z[k] - (double)z[best]) / sum);
    (void)fputc('\t', b->to);
}

static void print_row(const struct batch *b, int64_t row)
{
    print_outputs(b, b->logits + row * b->n_outputs);
    print_text(b->to, b->texts[row], strlen(b->texts[row]));
    if (b->pairs[row]) {
        (void)fputs("  |  ", b->to);
        print_text(b->to, b->pairs[row], strlen(b->pairs[row]));
    }
    (void)fputc('\n', b->to);
}

/* Ends the texts before text n of the batch. */
static void end_texts(struct batch *b, int64_t n)
{
    for (; b->n_printed < n; b->n_printed++)
        (void)fputc('\n', b->to);
}

/* A word of which the model sees nothing has no probabilities. */
static void print_word(const struct um_tagged_word *w, void *user)
{
    struct batch *b = user;
    end_texts(b, w->text);
    if (w->logits) {
        print_outputs(b, w->logits);
    } else {
        const char *label = um_predictor_label(b->predictor, w->label);
        (void)fputs(label ? label : "", b->to);
        for (int64_t k = 0; k <= (b->with_scores ? b->n_outputs : 0); k++)
            (void)fputs("\t", b->to);
        (void)fputs("\t", b->to);
    }
    print_text(b->to, w->word, w->n);
    (void)fputc('\n', b->to);
}

static enum um_status tag(struct batch *b, struct um_error *err)
{
    enum um_status status =
        um_predictor_tag(b->predictor, b->n, b->texts, print_word, b, err);
    if (status == UM_OK)
        end_texts(b, b->n);
    b->n_printed = 0;
    return status;
}

/* Predicts and prints what is in the batch, and empties it. */
static enum um_status flush(struct batch *b, struct um_error *err)
{
    enum um_status status = UM_OK;
    bool has_pairs = b->n > 0 && b->pairs[0];
    if (b->n > 0 && b->is_tagger)
        status = tag(b, err);
    else if (b->n > 0)
        status = um_predictor_run(b->logits, b->predictor, b->n, b->texts,
                                  has_pairs ? b->pairs : NULL, err);
    if (status != UM_OK && b->n_read)
        cli_prefix(err, "standard input, lines %lld to %lld", (long long)(b->n_read - b->n + 1),
                   (long long)b->n_read);
    for (int64_t i = 0; i < b->n; i++) {
        if (status == UM_OK && !b->is_tagger)
            print_row(b, i);
        free(b->lines[i]);
        b->lines[i] = NULL;
    }
    b->n = 0;
    return status;
}

/* Adds a line, cut at its tab (a tagger takes no pairs); takes it. All texts of a batch have
 * pairs, or none has. */
static enum um_status add(struct batch *b, char *line, struct um_error *err)
{
    enum um_status status = UM_OK;
    char *pair = b->is_tagger ? NULL : strchr(line, '\t');
    if (pair)
        *pair++ = '\0';
    if (b->n == BATCH || (b->n > 0 && !pair != !b->pairs[0]))
        status = flush(b, err);
    b->texts[b->n] = line;
    b->pairs[b->n] = pair;
    b->lines[b->n++] = line;
    return status;
}

/* A line without its end; takes it. */
static enum um_status add_line(struct batch *b, char *line, size_t n, struct um_error *err)
{
    n -= n > 0 && line[n - 1] == '\n';
    n -= n > 0 && line[n - 1] == '\r';
    line[n] = '\0';
    if (memchr(line, '\0', n)) {
        free(line);
        return cli_fail(err, UM_E_INPUT, "standard input, line %lld: it holds a NUL byte",
                        (long long)b->n_read + 1);
    }
    enum um_status status = add(b, line, err);
    b->n_read++;
    return status;
}

static enum um_status predict_lines(struct batch *b, struct um_error *err)
{
    enum um_status status = UM_OK;
    while (status == UM_OK) {
        char *line = NULL;
        size_t capacity = 0;
        ssize_t n = getline(&line, &capacity, stdin);
        if (n < 0) {
            free(line);
            break;
        }
        status = add_line(b, line, (size_t)n, err);
    }
    return status;
}

static enum um_status predict_texts(const struct cli_args *args, struct um_predictor *predictor,
                                    int first, FILE *to, struct um_error *err)
{
    struct batch *b = calloc(1, sizeof(*b));
    float *logits = calloc(BATCH, (size_t)um_predictor_outputs(predictor) * sizeof(*logits));
    enum um_status status = UM_OK;
    if (!b || !logits) {
        free(b);
        free(logits);
        return cli_fail(err, UM_E_RUNTIME, "out of memory");
    }
    *b = (struct batch){.predictor = predictor, .to = to, .logits = logits};
    b->n_outputs = um_predictor_outputs(predictor);
    b->with_scores = cli_has(args, "--scores");
    b->is_tagger = um_predictor_is_tagger(predictor);
    print_header(b);
    for (int i = first; i < args->n_positionals && status == UM_OK; i++) {
        char *copy = strdup(args->positionals[i]);
        status = copy ? add(b, copy, err) : cli_fail(err, UM_E_RUNTIME, "out of memory");
    }
    if (first >= args->n_positionals)
        status = predict_lines(b, err);
    if (status == UM_OK)
        status = flush(b, err);
    for (int64_t i = 0; i < b->n; i++)
        free(b->lines[i]);
    free(logits);
    free(b);
    return status;
}

/* Predictions for a data file, which the library writes; by way of a temporary file to stdout. */
static enum um_status predict_data(const struct cli_target *target, struct um_predictor *predictor,
                                   const char *out, struct um_error *err)
{
    char temporary[] = "/tmp/unmask-predict-XXXXXX";
    if (out)
        return um_predictor_predict_file(predictor, target->recipe, out, NULL, err);
    int descriptor = mkstemp(temporary);
    if (descriptor < 0)
        return cli_fail(err, UM_E_RUNTIME, "cannot make a temporary file in /tmp");
    (void)close(descriptor);
    enum um_status status =
        um_predictor_predict_file(predictor, target->recipe, temporary, NULL, err);
    if (status == UM_OK)
        status = cli_print_file(temporary, err);
    (void)unlink(temporary);
    return status;
}

static long number_of(const struct cli_target *target, const char *key)
{
    return strtol(um_recipe_get(target->recipe, key), NULL, 10);
}

static enum um_status predict(const struct cli_args *args, const struct cli_target *target,
                              struct um_predictor *predictor, struct um_error *err)
{
    const char *out = cli_value(args, "--out");
    bool is_of_file = cli_has(args, "--data") || cli_has(args, "--eval-file");
    if (is_of_file && cli_has(args, "--scores"))
        return cli_fail(err, UM_E_USAGE, "--scores goes with texts; the predictions of a data file "
                                         "have every output");
    if (is_of_file && args->n_positionals > target->n_used)
        return cli_fail_unused(args, args->positionals[target->n_used], err);
    if (is_of_file)
        return predict_data(target, predictor, out, err);
    if (target->n_used || cli_sets(args, "train.max_length"))
        um_predictor_cut(predictor, number_of(target, "train.max_length"));
    um_set_threads((int)number_of(target, "threads"));
    FILE *to = out ? fopen(out, "w") : stdout;
    if (!to)
        return cli_fail(err, UM_E_RUNTIME, "cannot write '%s'", out);
    enum um_status status = predict_texts(args, predictor, target->n_used, to, err);
    if (out && fclose(to) != 0 && status == UM_OK)
        status = cli_fail(err, UM_E_RUNTIME, "cannot write '%s'", out);
    return status;
}

static enum um_status run_predict(const struct cli_args *args, struct um_error *err)
{
    struct cli_target target;
    struct um_predictor *predictor = NULL;
    enum um_status status = cli_target_open(&target, args, err);
    if (status != UM_OK)
        return status;
    status = um_predictor_open(&predictor, target.model, target.delta, err);
    if (status == UM_OK)
        status = predict(args, &target, predictor, err);
    um_predictor_free(predictor);
    cli_target_close(&target);
    return status;
}

const struct cli_command cli_predict = {
    .name = "predict",
    .summary = "predict with a run or a model, as TSV",
    .usage = usage,
    .description =
        "Predicts from the base model with the delta laid over it in memory; nothing is merged. "
        "Texts are the arguments after the run, or the rows of --eval-file, or the lines of "
        "standard input; a tab stands before the second text of a pair. A tagger's "
        "predictions are a line for each word, words being what white space separates, with an "
        "empty line behind each text.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = -1,
    .run = run_predict,
};
