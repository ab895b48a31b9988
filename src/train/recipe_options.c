/*
 * The option table: one row per recipe key, in the order in which a recipe is written. A new option
 * is a member of struct um_config and a row here; its flag, its key, its help, its man page entry,
 * its check and its place in the run record follow.
 */
#include <stdio.h>
#include <string.h>

#include "train/recipe_private.h"

#define AT(member) offsetof(struct um_config, member)

enum { MANY = 1 << 30 }; /* a bound for counts that only keeps arithmetic on them safe */

const struct um_option um_options[] = {
    {.info = {"model", "--model", "DIR", "",
              "model to start from: a Hugging Face folder or a GGUF file", NULL},
     .type = UM_OPTION_PATH,
     .offset = AT(model)},
    {.info = {"task", "--task", "NAME", "", "what to learn", "task"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(task)},
    {.info = {"data.path", "--data", "DIR", "",
              "folder with the task's training and evaluation files", NULL},
     .type = UM_OPTION_PATH,
     .offset = AT(data.path)},
    {.info = {"data.train", "--train-file", "FILE", "", "training file, if not the task's own name",
              NULL},
     .type = UM_OPTION_PATH,
     .offset = AT(data.train)},
    {.info = {"data.eval", "--eval-file", "FILE", "", "evaluation file, if not the task's own name",
              NULL},
     .type = UM_OPTION_PATH,
     .offset = AT(data.eval)},
    {.info = {"data.text", "--text-column", "COLUMN", "",
              "column of the text, by name or number from 1", NULL},
     .type = UM_OPTION_TEXT,
     .offset = AT(data.text)},
    {.info = {"data.pair", "--pair-column", "COLUMN", "",
              "column of the second text, if there is one", NULL},
     .type = UM_OPTION_TEXT,
     .offset = AT(data.pair)},
    {.info = {"data.label", "--label-column", "COLUMN", "", "column of the label or score", NULL},
     .type = UM_OPTION_TEXT,
     .offset = AT(data.label)},
    {.info = {"data.format", "--format", "NAME", "",
              "format of the data files, if their names do not tell", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(data.format),
     .choices = "tsv|csv|jsonl"},
    {.info = {"data.header", "--header", "WHETHER", "",
              "does the first row name the columns? if not as the task has it", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(data.header),
     .choices = "yes|no"},
    {.info = {"data.template", "--template", "NAME", "",
              "chat template; none: the model's own for messages, Alpaca's for records", "template"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(data.template)},
    {.info = {"data.loss", "--loss", "WHAT", "completion",
              "what of a text is learnt: completions (answers) only, or all of it", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(data.loss),
     .choices = "completion|all"},
    {.info = {"data.pack", "--pack", "on|off", "off",
              "put short texts into one row, up to max_length; none sees another", NULL},
     .type = UM_OPTION_BOOL,
     .offset = AT(data.pack)},
    {.info = {"out", "--out", "RUN", "", "folder of the run, made anew", NULL},
     .type = UM_OPTION_PATH,
     .offset = AT(out)},
    {.info = {"threads", "--threads", "N", "0", "threads to compute with; 0: all", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(threads),
     .low = 0,
     .high = 4096},

    {.info = {"method.name", "--method", "NAME", "id3", "how to fine-tune", "method"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(method.name)},
    {.info =
         {"method.budget", "--budget", "B", "0.17%",
          "parameters that may change: a count, a share of the model (1%) or bytes of delta (2MB)",
          NULL},
     .type = UM_OPTION_TEXT,
     .offset = AT(method.budget)},
    {.info = {"method.exp", "--exp", "X", "1", "exponent of the weight in |g| / (|w| + eps)^exp",
              NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(method.exp),
     .low = 0,
     .high = 16},
    {.info = {"method.eps", "--eps", "X", "1e-8", "eps in |g| / (|w| + eps)^exp", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(method.eps),
     .low = 0,
     .high = 1e6,
     .above_low = true},
    {.info = {"method.schedule", "--schedule", "NAME", "uniform",
              "how the budget is spent over the steps", "schedule"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(method.schedule)},
    {.info = {"method.importance", "--importance", "NAME", "",
              "which parameters come first, if not as the method does", "importance"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(method.importance)},
    {.info = {"method.until", "--until", "SHARE", "1",
              "share of the steps after which all is unmasked", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(method.until),
     .low = 0,
     .high = 1,
     .above_low = true},
    {.info = {"method.every", "--every", "N", "1", "steps between two selections", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(method.every),
     .low = 1,
     .high = MANY},
    {.info = {"method.bound", "--bound", "NAME", "auto",
              "how exact selection is pruned; the choice changes speed, never the result", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(method.bound),
     .choices = "auto|rank-1|segments|tiles"},

    {.info = {"scope.include", "--include", "PATTERNS", "", "parameters that may change; none: all",
              NULL},
     .type = UM_OPTION_LIST,
     .offset = AT(scope.include)},
    {.info = {"scope.exclude", "--exclude", "PATTERNS", "", "parameters that may not", NULL},
     .type = UM_OPTION_LIST,
     .offset = AT(scope.exclude)},
    {.info = {"scope.whole", "--whole", "PATTERNS", "",
              "parameters that train whole from the first step", NULL},
     .type = UM_OPTION_LIST,
     .offset = AT(scope.whole)},

    {.info = {"optimizer.name", "--optimizer", "NAME", "adamw", "update rule", "optimizer"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(optimizer.name)},
    {.info = {"optimizer.lr", "--lr", "X", "5e-4", "peak learning rate", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.lr),
     .low = 0,
     .high = 1e3,
     .above_low = true},
    {.info = {"optimizer.beta1", NULL, "X", "0.9", "decay of the first moment", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.beta1),
     .low = 0,
     .high = 0.9999999},
    {.info = {"optimizer.beta2", NULL, "X", "0.999", "decay of the second moment", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.beta2),
     .low = 0,
     .high = 0.9999999},
    {.info = {"optimizer.eps", NULL, "X", "1e-8", "added to the root of the second moment", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.eps),
     .low = 0,
     .high = 1},
    {.info = {"optimizer.momentum", "--momentum", "X", "0", "momentum of sgd", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.momentum),
     .low = 0,
     .high = 0.9999999},
    {.info = {"optimizer.weight_decay", "--weight-decay", "X", "0",
              "decoupled weight decay of unmasked parameters", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.weight_decay),
     .low = 0,
     .high = 10},
    {.info = {"optimizer.clip", "--clip", "X", "1", "largest gradient norm; 0: no clipping", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(optimizer.clip),
     .low = 0,
     .high = 1e9},
    {.info = {"optimizer.bias_correction", "--bias-correction", "NAME", "reference",
              "adamw's step count: the run's, or each parameter's own age", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(optimizer.bias_correction),
     .choices = "reference|per-parameter"},

    {.info = {"lr_schedule.name", "--lr-schedule", "NAME", "linear", "course of the learning rate",
              "lr_schedule"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(lr_schedule.name)},
    {.info = {"lr_schedule.warmup", "--warmup", "X", "0.06",
              "warm-up: share of the steps if below 1, else steps", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(lr_schedule.warmup),
     .low = 0,
     .high = MANY},

    {.info = {"train.epochs", "--epochs", "X", "3", "passes over the training data", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(train.epochs),
     .low = 0,
     .high = 1e6,
     .above_low = true},
    {.info = {"train.max_steps", "--max-steps", "N", "0",
              "optimizer steps at most; 0: by the epochs", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.max_steps),
     .low = 0,
     .high = MANY},
    {.info = {"train.batch", "--batch", "N", "32", "rows per batch", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.batch),
     .low = 1,
     .high = 1 << 20},
    {.info = {"train.accumulate", "--accumulate", "N", "1", "batches per optimizer step", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.accumulate),
     .low = 1,
     .high = 1 << 20},
    {.info = {"train.max_length", "--max-length", "N", "256", "tokens per row at most", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.max_length),
     .low = 3,
     .high = 1 << 24},
    {.info = {"train.order", "--order", "NAME", "shuffle",
              "order of the rows; grouped: shuffled, with like lengths together", NULL},
     .type = UM_OPTION_CHOICE,
     .offset = AT(train.order),
     .choices = "shuffle|sequential|grouped"},
    {.info = {"train.dropout", "--dropout", "X", "model",
              "dropout; model: as the model's config says", NULL},
     .type = UM_OPTION_FLOAT,
     .offset = AT(train.dropout),
     .low = 0,
     .high = 0.99,
     .word = "model"},
    {.info = {"train.seed", "--seed", "N", "42", "seed of all randomness", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.seed),
     .low = 0,
     .high = 1e18},
    {.info = {"train.recompute", "--recompute", "on|off", "off",
              "compute activations again in the backward pass: less memory, more time, same bits",
              NULL},
     .type = UM_OPTION_BOOL,
     .offset = AT(train.recompute)},
    {.info = {"train.log_every", "--log-every", "N", "1",
              "steps between two lines of metrics.jsonl", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(train.log_every),
     .low = 1,
     .high = MANY},

    {.info = {"eval.every", "--eval-every", "N", "0",
              "steps between two evaluations; 0: only at the end", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(eval.every),
     .low = 0,
     .high = MANY},
    {.info = {"eval.batch", "--eval-batch", "N", "64", "rows (or answers) at a time in an evaluation", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(eval.batch),
     .low = 1,
     .high = 1 << 20},
    {.info = {"eval.best", "--best", "METRIC", "",
              "metric by which the best weights are kept, if not the task's main one", "metric"},
     .type = UM_OPTION_CHOICE,
     .offset = AT(eval.best)},
    {.info = {"eval.patience", "--patience", "N", "0",
              "evaluations without a better one before stopping; 0: never stop", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(eval.patience),
     .low = 0,
     .high = MANY},
    {.info = {"eval.before", "--eval-before", "on|off", "on", "evaluate before the first step too",
              NULL},
     .type = UM_OPTION_BOOL,
     .offset = AT(eval.before)},
    {.info = {"eval.rows", "--eval-rows", "N", "0",
              "evaluate this many rows from the start only; 0: all", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(eval.rows),
     .low = 0,
     .high = MANY},
    {.info = {"eval.max_new_tokens", "--max-new-tokens", "N", "256",
              "tokens of a generated answer at most, of tasks scored by answers", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(eval.max_new_tokens),
     .low = 1,
     .high = MANY},

    {.info = {"checkpoint.every", "--checkpoint-every", "N", "0",
              "steps between two checkpoints; 0: only when interrupted", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(checkpoint.every),
     .low = 0,
     .high = MANY},
    {.info = {"checkpoint.keep", "--checkpoint-keep", "N", "2", "newest checkpoints to keep", NULL},
     .type = UM_OPTION_INT,
     .offset = AT(checkpoint.keep),
     .low = 1,
     .high = 1 << 20},
};
const size_t um_n_options = UM_COUNT(um_options);

const struct um_option_info *um_recipe_option(size_t index)
{
    return index < um_n_options ? &um_options[index].info : NULL;
}

/* Whether `key` is `section` with `suffix` behind it, or is `section` if the suffix is "". */
static bool is_key(const char *key, const char *section, const char *suffix)
{
    size_t n = strlen(section);
    return strncmp(key, section, n) == 0 && strcmp(key + n, suffix) == 0;
}

const struct um_option *um_option_find(const char *key)
{
    static const char *const suffixes[] = {"", ".path", ".name"};
    for (size_t s = 0; s < UM_COUNT(suffixes); s++)
        for (size_t i = 0; i < um_n_options; i++)
            if (is_key(um_options[i].info.key, key, suffixes[s]))
                return &um_options[i];
    return NULL;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

enum { KEY_BYTES = 64 };

/* The key of another section that ends like this one; else the nearest key or section name; "" if
 * none is near. */
static void find_nearest(char nearest[KEY_BYTES], const char *key)
{
    char sections[UM_COUNT(um_options)][KEY_BYTES];
    const char *names[2 * UM_COUNT(um_options)], *found = NULL;
    for (size_t i = 0; i < um_n_options; i++) {
        const char *name = um_options[i].info.key;
        (void)snprintf(sections[i], KEY_BYTES, "%.*s", (int)strcspn(name, "."), name);
        names[i] = name;
        names[um_n_options + i] = sections[i];
        if (!found && strcmp(last_part(name), last_part(key)) == 0)
            found = name;
    }
    if (!found)
        found = um_nearest(key, names, UM_COUNT(names));
    (void)snprintf(nearest, KEY_BYTES, "%s", found ? found : "");
}

enum um_status um_option_fail_unknown(const char *key, struct um_error *err)
{
    char nearest[KEY_BYTES];
    find_nearest(nearest, key);
    if (nearest[0])
        return um_fail(err, UM_E_USAGE, "unknown key '%s'; did you mean '%s'?", key, nearest);
    (void)um_fail(err, UM_E_USAGE, "unknown key '%s'", key);
    um_error_hint(err, "'unmask help recipe' lists all keys");
    return UM_E_USAGE;
}
