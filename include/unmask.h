/*
 * unmask: fine-tune transformer language models by changing only the few weights that matter.
 *
 * Conventions of this header:
 *  - A function that can fail returns `enum um_status` and fills the caller's `struct um_error`
 *    (which may be NULL). The library never prints, exits or asserts on user data.
 *  - Outputs come first, then the subject, then inputs, then options; the error comes last.
 *  - "Owned" results are freed with the named function; every free function accepts NULL.
 *  - Strings are UTF-8 and NUL-terminated.
 *  - Handles may be used from one thread at a time; different handles are independent.
 *  - Numbers are read and written with a point, whatever locale the program has set.
 *  - Signals: oneDNN's products keep other things where the stack pointer points. A handler must
 *    not run there: block its signal in all threads but one that does not compute (sigwait), or
 *    give it a stack of its own (sigaltstack, SA_ONSTACK) and block it in OpenMP's threads.
 */
#ifndef UNMASK_H
#define UNMASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UM_API __attribute__((visibility("default")))
#define UM_CHECKED __attribute__((warn_unused_result))
#else
#define UM_API
#define UM_CHECKED
#endif

/* What a call came to. The values of the failures are the program's exit statuses, see
 * um_status_exit_code(). */
enum um_status {
    UM_OK = 0,
    UM_E_RUNTIME,     /* failed while running: out of memory, disk */
    UM_E_USAGE,       /* a wrong option, key, pattern or combination of them */
    UM_E_INPUT,       /* a file that is malformed, unsupported or does not fit the others */
    UM_E_INTERRUPTED, /* a callback asked to stop; a checkpoint was saved */
    UM_E_DIVERGED,    /* training came to a loss or a gradient that is not finite */
};

/* A failure in words: doing what, where, found what, expected what; and what to do. */
struct um_error {
    enum um_status status;
    char message[1024];
    char hint[512]; /* empty, or one line of advice */
};

/* UM_E_USAGE if the environment variable UNMASK_CPU, which keeps the library from newer instruction
 * sets, names none that it knows; elsewhere such a name has no effect. */
UM_API UM_CHECKED enum um_status um_check_environment(struct um_error *err);

/* Exit status of a program for `status`: 0, 1, 2, 3 or 130. */
UM_API int um_status_exit_code(enum um_status status);

/* The library's version, "MAJOR.MINOR.PATCH". */
UM_API const char *um_version(void);

/* The name closest to `name` (edit distance at most a third of its length), or NULL: for messages
 * that ask "did you mean ...?". */
UM_API const char *um_nearest(const char *name, const char *const *names, size_t n_names);

/* "1.5 MiB" into `out` (at least 24 bytes); returns out. */
UM_API char *um_format_bytes(char *out, double bytes);

/* ---------------------------------------------------------------- recipes: what a run is to do */

/* A set of options by dotted key (`method.budget`), each a row of one table with a default. */
struct um_recipe;

/* One row of the option table. All strings live as long as the library. */
struct um_option_info {
    const char *key;           /* "method.budget" */
    const char *flag;          /* "--budget", or NULL if only --set and the recipe reach it */
    const char *value;         /* what stands for the value in help: "N", "DIR", "id3|full" */
    const char *default_value; /* as text; "" if there is none */
    const char *summary;       /* one line */
    const char *family;        /* whose members are the values (um_family_members), or NULL */
    const char *choices;       /* the values, as "a|b|c", or NULL */
};

/* Returns an owned recipe with every option at its default (free with um_recipe_free). */
UM_API UM_CHECKED enum um_status um_recipe_new(struct um_recipe **recipe, struct um_error *err);
UM_API void um_recipe_free(struct um_recipe *recipe);
/* Reads a YAML file over what is set. Unknown keys, wrong types and ranges: UM_E_USAGE, with
 * line. */
UM_API UM_CHECKED enum um_status um_recipe_load(struct um_recipe *recipe, const char *path,
                                                struct um_error *err);
/* Sets one key from text, as a flag or --set does. A list is given as "a,b,c". What is set so and
 * has no effect on a run is told when that is opened; nothing is said of what a file sets. */
UM_API UM_CHECKED enum um_status um_recipe_set(struct um_recipe *recipe, const char *key,
                                               const char *value, struct um_error *err);
/* The value as text (borrows, until the next call on this recipe), NULL for an unknown key. */
UM_API const char *um_recipe_get(const struct um_recipe *recipe, const char *key);
/* Writes all options as YAML that um_recipe_load reads back to the same values. */
UM_API UM_CHECKED enum um_status um_recipe_save(const struct um_recipe *recipe, const char *path,
                                                struct um_error *err);
/* Row `index` of the option table, from 0; NULL past the end. */
UM_API const struct um_option_info *um_recipe_option(size_t index);

/* The members of a family ("method", "importance", "strategy", "schedule", "region", "task",
 * "addition", "architecture", "lr_schedule", "optimizer", "metric", "template"): name and one-line
 * summary. */
struct um_member_info {
    const char *name, *summary;
};
/* Returns the number of members written to out[0..capacity); 0 for an unknown family. */
UM_API size_t um_family_members(struct um_member_info *out, size_t capacity, const char *family);

/* What a named method is made of: a member of each family. */
struct um_method_info {
    const char *name, *summary;
    const char *strategy, *importance, *region; /* importance NULL: it chooses nothing */
    const char *addition;                       /* what it puts beside the model; NULL: nothing */
    double rate;                                /* its usual peak learning rate */
    int64_t samples; /* rows of calibration, INT64_MAX: all; 0: none */
};
/* Method `index`, from 0; false past the end. */
UM_API bool um_method_get_info(struct um_method_info *info, size_t index);

/* ------------------------------------------------------------------------------ runs: training */

struct um_run;

/* What a run will need and do, known before the first step. Bytes and counts. */
struct um_plan {
    int64_t n_parameters;       /* of the base model and the task head */
    int64_t n_base_parameters;  /* of the base model alone: what a budget's share refers to */
    int64_t n_scope;            /* parameters that may change */
    int64_t n_whole;            /* of those, trained from the first step */
    int64_t budget; /* parameters that may change, whole ones included; where the dropped keep
                       their values (method.dropped), at a time */
    int64_t n_steps, n_train_rows, n_eval_rows;
    int64_t n_truncated_rows;   /* of both, cut to max_length */
    int64_t n_left_out_rows;    /* beside them, since nothing is to be learnt within max_length */
    int64_t batch, accumulate, max_length; /* a step: so many texts, so many times, of so many
                                              tokens at most */
    int64_t eval_batch;
    bool recompute;
    int64_t max_tokens_per_step;
    double mean_tokens_per_step;
    int64_t weights_bytes, activation_bytes, method_bytes, data_bytes, process_bytes;
    int64_t generation_bytes;   /* keys, values, logits, where answers are generated to evaluate */
    int64_t peak_bytes;         /* the sum: what the resident set is expected to reach */
    double flop_per_step;       /* of matrix products, on the mean step */
    bool is_without_data;       /* see um_run_open_plan: steps are taken to be full, and 1000 */
    bool is_without_weights;    /* by config.json alone */
};

/* Settings that would need less memory: those of the recipe but for one of them. */
enum { UM_SAVINGS_MAX = 8 };
struct um_saving {
    bool recompute;
    int64_t batch, accumulate, eval_batch, max_length;
    int64_t peak_bytes; /* with them */
};

/* What a training step or an evaluation reports to the callback. */
struct um_progress {
    int64_t step, n_steps; /* steps done, of how many */
    double epoch, loss, lr, grad_norm;
    int64_t n_unmasked;    /* unmasked parameters, whole ones included */
    int64_t n_touched;     /* those that ever were unmasked */
    int64_t n_updates;     /* parameter updates so far */
    int64_t n_scored;      /* candidates scored exactly by this step's selection */
    const char *selection; /* which bound ran: "rank-1", "segments", "tiles" or "none" */
    int64_t n_tokens;      /* in this step */
    double tokens_per_second, seconds; /* of this step or evaluation */
    double seconds_left;               /* of the run */
    int64_t rss_bytes;
    const char *phase;     /* NULL; "calibration" or "trial" before the first step: then step and
                              n_steps count rows or steps of that */
    const char *split;     /* NULL for a step; "dev" and so on for an evaluation */
    const char *metric;    /* an evaluation's main metric and its value */
    double metric_value;
    bool is_best;          /* the best evaluation so far */
};

/* How far an evaluation is: rows answered by generation, or scored by what the model makes of
 * them. */
struct um_answering {
    int64_t n_done, n_rows, n_right; /* rows done, of how many; answered right */
    double tokens_per_second;        /* new ones, in the mean */
    double seconds, seconds_left;
    bool is_scoring; /* nothing is generated: n_right and tokens_per_second are 0. An evaluation
                        that generates may score all rows before, for their loss. Of texts that are
                        packed or cut up, the rows are those of batches */
};

/* Returning false stops the run: a checkpoint is saved and um_run_train returns
 * UM_E_INTERRUPTED. */
typedef bool um_progress_fn(const struct um_progress *progress, void *user);
/* A line of what the run says about itself (table of what trains, warnings). */
typedef void um_message_fn(const char *line, void *user);

/* Called for each answer, and each batch that is scored. Returning false stops the evaluation with
 * UM_E_INTERRUPTED; a run stops as by um_progress_fn, and evaluates when it goes on. */
typedef bool um_answering_fn(const struct um_answering *answering, void *user);

struct um_callbacks {
    um_progress_fn *progress;   /* may be NULL */
    um_answering_fn *answering; /* may be NULL */
    um_message_fn *message;     /* may be NULL */
    void *user;
};

/* What a finished run promises, counted and verified: of the weights in its delta, which are those
 * of the best evaluation, or the last ones where there was none. */
struct um_summary {
    int64_t n_steps, budget, n_changed, n_unmasked, n_updates;
    int64_t n_touched; /* parameters that ever were unmasked: n_unmasked, unless some are dropped */
    bool is_within_budget; /* n_unmasked <= budget; n_changed too, unless the dropped keep their
                              values (method.dropped: keep): then n_changed <= n_touched */
    bool is_base_intact;   /* every masked parameter bit-identical to the base */
    const char *metric;    /* the one that tells the best: eval.best, or the task's main one */
    double metric_before, metric_best, metric_last; /* NaN where not evaluated */
    bool is_worse_than_before; /* the best evaluation, than the one before the first step */
    double loss_best;      /* of the evaluation data, with metric_best */
    int64_t best_step;
    double seconds;
    int64_t peak_rss_bytes, delta_bytes, model_bytes;
};

/* Opens everything a recipe names: model, tokenizer, data, method. Nothing is written yet.
 * `callbacks` (copied) may be NULL. Returns an owned run (free with um_run_free). The recipe is
 * copied. */
UM_API UM_CHECKED enum um_status um_run_open(struct um_run **run, const struct um_recipe *recipe,
                                             const struct um_callbacks *callbacks,
                                             struct um_error *err);
/* Opens a run folder to continue from its newest whole checkpoint (from the start if none). */
UM_API UM_CHECKED enum um_status um_run_resume(struct um_run **run, const char *folder,
                                               const struct um_callbacks *callbacks,
                                               struct um_error *err);
/* Opens what it takes to plan a recipe, and no more: no data, no tokenizer, and of the model only
 * config.json needs to be there. `model` may name a folder with it or the file itself, which then
 * stands alone; weights that are there are looked at for their types only. `dtype` is the type of
 * weights that are missing ("bf16", "Q4_K"); NULL: what config.json says. Each step is taken to be
 * train.accumulate times train.batch texts of train.max_length tokens, all learnt; without
 * train.max_steps there are 1000. Without a task, a decoder is to learn texts. Nothing of the
 * model's size is allocated. Such a run can be planned; um_run_train refuses it (UM_E_USAGE). Owned
 * (free with um_run_free). UM_E_INPUT: an unknown model_type, missing keys. */
UM_API UM_CHECKED enum um_status um_run_open_plan(struct um_run **run,
                                                  const struct um_recipe *recipe,
                                                  const char *dtype, struct um_error *err);
/* What the run will need, all worked out beforehand: the largest batch is walked through on memory
 * that is not there. */
UM_API UM_CHECKED enum um_status um_run_plan(struct um_plan *plan, struct um_run *run,
                                             struct um_error *err);
/* What lowers the peak of that plan: recomputation, half the batch with twice the accumulation,
 * half the batch of evaluation, half the length. Each is planned in full; only those that need less
 * are told. */
UM_API UM_CHECKED enum um_status um_run_plan_savings(struct um_saving savings[UM_SAVINGS_MAX],
                                                     size_t *n_savings, const struct um_plan *plan,
                                                     struct um_run *run, struct um_error *err);
/* Trains to the end, writing the run folder. UM_E_INTERRUPTED when a callback stopped it. */
UM_API UM_CHECKED enum um_status um_run_train(struct um_summary *summary, struct um_run *run,
                                              struct um_error *err);
UM_API void um_run_free(struct um_run *run);

/* A token of the training data as the model sees it. Texts are borrowed for the call. */
struct um_example_token {
    int32_t id;
    const char *token; /* as the vocabulary has it */
    const char *text; /* what it adds to the text: n_text bytes, 0 while a character is not whole */
    size_t n_text;
    bool is_learnt;    /* the loss is of its prediction, or of the tag of the word it begins */
    bool is_start;     /* starts a sequence, which sees none of those before it in the row */
    int segment;       /* of a pair of texts: 0 or 1 */
};
typedef void um_example_fn(const struct um_example_token *token, void *user);
/* A row that is trained on: what one row of a batch is. Documents may make several rows, and
 * several texts be packed into one; rows of the file that are held out, or with nothing to learn
 * within train.max_length, are not among them and not counted. */
struct um_example {
    int64_t row, n_rows;             /* which, from 0, and of how many */
    int64_t n_tokens, n_learnt, n_sequences;
    int64_t n_truncated, n_left_out; /* of all the data: texts cut to fit, and left out */
};
/* Visits the tokens of a row, in order. UM_E_USAGE if there is no such row. */
UM_API UM_CHECKED enum um_status um_run_example(struct um_example *example, struct um_run *run,
                                                int64_t row, um_example_fn *visit, void *user,
                                                struct um_error *err);

/* `n` values of a tensor were unmasked in the steps up to `step`, since the line before; less than
 * 0: more were dropped. The last step is told in any case, if nothing came by NULL and 0. */
typedef void um_history_fn(int64_t step, const char *tensor, int64_t n, void *user);
/* Reads where a run unmasked and when, from its folder (unmasked.jsonl), in order of steps. */
UM_API UM_CHECKED enum um_status um_run_history(const char *folder, um_history_fn *visit,
                                                void *user, struct um_error *err);

/* ----------------------------------------------------- comparisons: methods against each other */

/* What is compared. Lists are borrowed, and list nothing twice; an empty one stands for what the
 * recipe says. */
struct um_compare_options {
    const char *out;                /* folder of the runs and tables */
    const char *const *variants;    /* "NAME" or "NAME:key=value:...": a method with settings of its
                                       own; the others are compared with the first */
    const char *const *budgets;     /* of the methods that have one */
    const char *const *tasks;
    const double *rates;            /* learning rates that each method tries on held-out rows */
    bool are_factors; /* the rates are multiples of the rate that a method begins with */
    size_t n_variants, n_budgets, n_tasks, n_rates;
    int64_t n_seeds;                /* runs of each: seeds 1 to n_seeds */
    double holdout;                 /* share of the training rows that trials are scored on */
    double trial_epochs;            /* of a trial; 0: the recipe's */
};

/* Trains the whole grid, every run in a folder of its own under `out`, and writes table.md,
 * table.csv and table.json there after each: mean, deviation, paired difference from the first
 * variant with its p, parameters changed, updates, seconds, peak memory, bytes of delta. Runs that
 * are done are not done again, those that were stopped go on; one that other settings made is an
 * error (UM_E_USAGE), one that diverged has no value. Several processes given the same `out` share
 * the work, each taking what no other has; each ends when all is done. UM_E_INTERRUPTED when a
 * callback stopped it. */
UM_API UM_CHECKED enum um_status um_compare(const struct um_recipe *recipe,
                                            const struct um_compare_options *options,
                                            const struct um_callbacks *callbacks,
                                            struct um_error *err);

/* ------------------------------------------------------------- predictors: a model put to use */

/* A base model with an optional delta laid over it, ready for one task. Nothing is merged. */
struct um_predictor;

/* `delta` is a delta file, a run folder, or NULL. What neither model nor delta has is
 * UM_E_INPUT: an encoder without a task head, one whose head lacks a part. Returns owned (free with
 * um_predictor_free). */
UM_API UM_CHECKED enum um_status um_predictor_open(struct um_predictor **predictor,
                                                   const char *model, const char *delta,
                                                   struct um_error *err);
UM_API void um_predictor_free(struct um_predictor *predictor);
/* Texts are cut to so many tokens from now on; never to more than the model takes, as it begins. */
UM_API void um_predictor_cut(struct um_predictor *predictor, int64_t max_length);
/* Outputs per row, or of a tagger per word: the number of classes, or 1 for regression; 0: a
 * decoder without a task head. */
UM_API int64_t um_predictor_outputs(const struct um_predictor *predictor);
/* Name of class k; NULL for regression or k out of range (borrows). */
UM_API const char *um_predictor_label(const struct um_predictor *predictor, int64_t k);
/* Logits [n, outputs], row-major, for n texts; `pairs` may be NULL. */
UM_API UM_CHECKED enum um_status um_predictor_run(float *logits, struct um_predictor *predictor,
                                                  int64_t n, const char *const *texts,
                                                  const char *const *pairs, struct um_error *err);

/* Whether it tags words: then um_predictor_tag takes the place of um_predictor_run. */
UM_API bool um_predictor_is_tagger(const struct um_predictor *predictor);
struct um_tagged_word {
    int64_t text;        /* of which text, from 0 */
    const char *word;    /* n bytes of it (borrows) */
    size_t n;
    int64_t label;       /* its class; -1: not seen, and no class is named O */
    const float *logits; /* [outputs]; NULL: the model saw none of it, for want of room or tokens;
                            then it is outside of all entities: of class O */
};
typedef void um_tagged_fn(const struct um_tagged_word *word, void *user);
/* Calls `visit` for each word of n texts, in order. White space separates words. */
UM_API UM_CHECKED enum um_status um_predictor_tag(struct um_predictor *predictor, int64_t n,
                                                  const char *const *texts, um_tagged_fn *visit,
                                                  void *user, struct um_error *err);

/* How a decoder goes on with texts. All zero: greedily, until the text ends or the model's context
 * is full. */
struct um_generate_options {
    int64_t max_new_tokens;    /* 0: no limit but the model's */
    double temperature;        /* 0: the likeliest token; else logits are divided by it */
    int64_t top_k;             /* only the k likeliest; 0: all */
    double top_p;              /* only the likeliest that reach this share; 0: all */
    double repetition_penalty; /* above 1: tokens that stand there already are less likely; 0: 1 */
    uint64_t seed;
    const char *const *stops;  /* texts that end a text when they appear; left out of it */
    size_t n_stops;
    int64_t batch;             /* texts at a time; 0: 8 */
    bool is_raw; /* prompts as they are; else each is a user message, by a chat template
                    if there is one */
    const char *chat_template; /* one by name; NULL: as the delta's training data was written
                                  (Alpaca for records), without a delta the model's own */
    const char *system;        /* message before each prompt; NULL: as the template has it */
};
enum um_stop { UM_STOP_END, UM_STOP_TEXT, UM_STOP_LENGTH, UM_STOP_CALLER };
struct um_generation {
    char *text;                /* new text, n_text bytes; owned (free with um_generation_free) */
    int32_t *ids;              /* new tokens, the end token included; owned */
    size_t n_text;
    int64_t n_ids, n_prompt;   /* tokens, new and of the prompt */
    enum um_stop stop;
    double prompt_seconds, seconds; /* share of time with the prompt, and with going on */
};
/* A piece of new text of prompt `index`, as it comes. Returning false ends that text. */
typedef bool um_text_fn(int64_t index, const char *text, size_t n, void *user);

/* Goes on with n prompts, several at a time, into out[0..n): owned, free each with
 * um_generation_free, also after a failure. `visit` may be NULL. UM_E_INPUT: what does not fit the
 * context; UM_E_USAGE: options out of their ranges, a system message without a template, a model
 * that only classifies. */
UM_API UM_CHECKED enum um_status um_predictor_generate(struct um_generation *out,
                                                       struct um_predictor *predictor, int64_t n,
                                                       const char *const *prompts,
                                                       const struct um_generate_options *options,
                                                       um_text_fn *visit, void *user,
                                                       struct um_error *err);
UM_API void um_generation_free(struct um_generation *generation);
/* The same for column "prompt" of a data file (JSONL, TSV, CSV); writes a JSON object per line:
 * prompt, text, ids, prompt_tokens, prompt_seconds, seconds. */
UM_API UM_CHECKED enum um_status
um_predictor_generate_file(struct um_predictor *predictor, const char *prompts, const char *out,
                           const struct um_generate_options *options, um_text_fn *visit, void *user,
                           struct um_error *err);
/* The threads that calls from this thread compute with from now on; 0: all. Opening a run,
 * evaluating and um_bench set it to the recipe's; a run that is then trained in another thread has
 * that thread's. */
UM_API void um_set_threads(int threads);

struct um_metric_value {
    const char *name;
    double value;
};
struct um_evaluation {
    int64_t n_rows; /* texts; loss and metrics of a tagger are of their words */
    double loss;
    size_t n_metrics;
    struct um_metric_value metrics[8]; /* the first is the main one */
};
/* Scores data as training does. `recipe` names task, data, columns, batch, rows at most and new
 * tokens at most. A task with an answer rule is scored by what the model writes; one that only goes
 * on with texts by its loss, which is NaN where the data has no completions. `predictions` is a
 * file to write, or NULL: TSV (row, label, prediction, scores; of a tagger a line for each word,
 * which stands behind the row, and an empty line behind each text), or of answers a JSON object a
 * row (row, line, prompt, text, prediction, answer, correct, tokens). Data of a task with a head
 * may lack labels if only predictions are asked for: then n_metrics is 0. `callbacks` may be NULL;
 * messages go there, and how far it is. UM_E_INTERRUPTED when a callback stopped it; `predictions`
 * then holds the rows that it had come to, if any. */
UM_API UM_CHECKED enum um_status um_predictor_evaluate(struct um_evaluation *evaluation,
                                                       struct um_predictor *predictor,
                                                       const struct um_recipe *recipe,
                                                       const char *predictions,
                                                       const struct um_callbacks *callbacks,
                                                       struct um_error *err);
/* Opens what um_predictor_evaluate would, and no more: fails as it would before it scores. */
UM_API UM_CHECKED enum um_status um_predictor_check(struct um_predictor *predictor,
                                                    const struct um_recipe *recipe,
                                                    const char *predictions, struct um_error *err);
/* Writes the predictions alone, of data that may lack labels: also the column that the recipe
 * names. */
UM_API UM_CHECKED enum um_status um_predictor_predict_file(struct um_predictor *predictor,
                                                           const struct um_recipe *recipe,
                                                           const char *out,
                                                           const struct um_callbacks *callbacks,
                                                           struct um_error *err);

/* ------------------------------------------------------------------------------------- deltas */

struct um_delta_info {
    char method[64], architecture[64], task[64];
    char base_sha256[65]; /* of the base's tensors that are touched */
    int64_t budget, n_tensors, n_sparse, n_whole; /* tensors touched; parameters by kind */
    int64_t file_bytes;
};
/* One touched tensor. Strings are borrowed until the delta is freed. */
struct um_delta_tensor {
    const char *name;
    bool is_whole;
    int64_t n_values; /* that it holds */
};
struct um_delta;

/* Opens a delta: a file, or the one of a run folder. Returns owned (free with um_delta_free).
 * Wherever else a delta is named by its path, it may be either, too. UM_E_INPUT: not a delta, or
 * not a sound one. */
UM_API UM_CHECKED enum um_status um_delta_open(struct um_delta **delta, const char *path,
                                               struct um_error *err);
UM_API void um_delta_free(struct um_delta *delta);
UM_API void um_delta_get_info(struct um_delta_info *info, const struct um_delta *delta);
UM_API bool um_delta_get_tensor(struct um_delta_tensor *tensor, const struct um_delta *delta,
                                int64_t index); /* false past the end */

/* What a merge writes. All zero (or NULL for the whole): the form by the name of `out`, the base's
 * own types. */
struct um_merge_options {
    const char *format; /* "folder" or "gguf"; NULL: gguf if `out` ends in .gguf, else folder */
    /* Type of the values: "f32", "f16", "bf16"; in GGUF files also "q8_0". NULL: what the base has;
     * of a GGUF base, f32 in a folder, and f16 for the tensors that the delta touches in a GGUF
     * file (the others stay as they are, with any `type`). In GGUF files vectors and norms are
     * f32. */
    const char *type;
};

struct um_merge_report {
    int64_t n_tensors, n_changed, n_written; /* values that differ from the base; values written */
    int64_t n_rounded;   /* values written that are base + delta rounded to their type */
    int64_t n_untouched; /* tensors that are the base's, byte for byte */
    int64_t bytes;
    bool is_gguf;
    bool is_verified; /* read back: each value is base + delta in its type, bit for bit */
    char note[600];   /* what a user should know, a line each; "" if nothing */
};
/* Writes model + delta as a model of its own, piece by piece (no tensor is held whole), then reads
 * it back and verifies. The model is a folder or a GGUF file, `out` either; it must not exist, or
 * be an empty folder. `options` may be NULL. UM_E_USAGE: the model cannot be put into that form. */
UM_API UM_CHECKED enum um_status um_delta_merge(struct um_merge_report *report, const char *model,
                                                const char *delta, const char *out,
                                                const struct um_merge_options *options,
                                                struct um_error *err);
/* Writes a delta for another program. `format`:
 *   "peft"         LoRA, DoRA, AdaLoRA and a task head: a folder that Hugging Face PEFT loads
 *                  (adapter_config.json, adapter_model.safetensors);
 *   "supertuning"  single fp32 weights of linear maps and a task head, in the same way, as PEFT's
 *                  SuperTuning: PEFT adds to the base what gives the delta's values bit for bit;
 *   "shira"        the same as PEFT's SHiRA;
 *   "gguf"         LoRA or AdaLoRA of a decoder: a GGUF adapter file that llama.cpp loads;
 *   NULL           peft, or supertuning if the delta adds nothing to the base.
 * `out` must not exist. UM_E_USAGE: the delta holds something that the format has no place for. */
UM_API UM_CHECKED enum um_status um_delta_export(const char *model, const char *delta,
                                                 const char *format, const char *out,
                                                 struct um_error *err);
/* Makes a delta over `model` of a folder that "peft" writes, or PEFT itself. */
UM_API UM_CHECKED enum um_status um_delta_import_peft(struct um_delta_info *info,
                                                      const char *folder, const char *model,
                                                      const char *out, struct um_error *err);
/* Checks that the delta fits the base (architecture, SHA-256 of the tensors touched, shapes). */
UM_API UM_CHECKED enum um_status um_delta_verify(const char *model, const char *delta,
                                                 struct um_error *err);
/* Writes the delta that turns one model into another of the same parameters, which may lack what
 * else the base's file holds (buffers, heads of other classes). UM_E_USAGE: one is a folder, the
 * other a GGUF file. */
UM_API UM_CHECKED enum um_status um_delta_diff(struct um_delta_info *info, const char *base,
                                               const char *tuned, const char *out,
                                               struct um_error *err);

/* One delta of a combination: a delta file or a run folder, and how far its way is gone. */
struct um_delta_term {
    const char *delta;
    double factor; /* 1: all the way, 0: not at all, -1: as far the other way */
};
/* What becomes of a position that several deltas touch. */
enum um_conflict {
    UM_CONFLICT_SUM,   /* the differences from the base add up */
    UM_CONFLICT_MEAN,  /* their mean */
    UM_CONFLICT_FIRST, /* the first delta's */
    UM_CONFLICT_LAST,  /* the last one's */
    UM_CONFLICT_ERROR, /* UM_E_INPUT, unless all come to the same value */
};
/* Writes base + the sum of factor * (delta - base) as a delta, for deltas that all fit the base at
 * `model`. Parameters that the base does not have (task heads) are no differences: where the deltas
 * have different ones, `heads` (first, last, mean) says what is taken; by sum or error that is
 * UM_E_INPUT. */
UM_API UM_CHECKED enum um_status um_delta_combine(struct um_delta_info *info, const char *model,
                                                  const struct um_delta_term *terms, size_t n_terms,
                                                  enum um_conflict on_conflict,
                                                  enum um_conflict heads, const char *out,
                                                  struct um_error *err);

/* Values that two deltas hold, in how many positions both do, and there the same value. */
struct um_delta_overlap {
    int64_t n_first, n_second, n_both, n_same;
};
typedef void um_overlap_fn(const char *tensor, const struct um_delta_overlap *overlap, void *user);
/* Compares positions tensor by tensor; `visit` may be NULL. The total is over all tensors. */
UM_API void um_delta_compare(struct um_delta_overlap *total, const struct um_delta *first,
                             const struct um_delta *second, um_overlap_fn *visit, void *user);

/* --------------------------------------------------------------------------------- tokenizers */

struct um_tokenizer;
struct um_tokens {
    int32_t *ids, *types; /* owned (free with um_tokens_free): ids and segment numbers */
    size_t n, capacity;
    size_t n_truncated;   /* tokens cut off to fit */
    void *scratch;        /* working memory, reused from call to call; start with all zero */
};

/* From a model folder (tokenizer.json, else vocab.txt) or a GGUF file (its metadata). Owned (free
 * with um_tokenizer_free). */
UM_API UM_CHECKED enum um_status um_tokenizer_open(struct um_tokenizer **tokenizer,
                                                   const char *path, struct um_error *err);
UM_API void um_tokenizer_free(struct um_tokenizer *tokenizer);
/* Encodes text (n_text bytes of UTF-8) and optionally a pair, with the special tokens of the
 * tokenizer's template if `special`, cut to max_length tokens (0 = no limit; longest first).
 * Writes over `tokens`, whose memory is reused. Threads may share a tokenizer, not a um_tokens. */
UM_API UM_CHECKED enum um_status um_tokenizer_encode(struct um_tokens *tokens,
                                                     const struct um_tokenizer *tokenizer,
                                                     const char *text, size_t n_text,
                                                     const char *pair, size_t n_pair,
                                                     bool special, int64_t max_length,
                                                     struct um_error *err);
UM_API void um_tokens_free(struct um_tokens *tokens);
UM_API int64_t um_tokenizer_size(const struct um_tokenizer *tokenizer);
/* The token's text (borrows), NULL if out of range. */
UM_API const char *um_tokenizer_token(const struct um_tokenizer *tokenizer, int32_t id);
/* The id of a token by its exact text, or -1. */
UM_API int32_t um_tokenizer_find(const struct um_tokenizer *tokenizer, const char *token);

/* Turns ids into text, at once or as they come from a model. */
struct um_decoder;

/* Special tokens (such as <eos>) are left out if `skip_special`. Borrows the tokenizer. Returns
 * owned (free with um_decoder_free). */
UM_API UM_CHECKED enum um_status um_decoder_new(struct um_decoder **decoder,
                                                const struct um_tokenizer *tokenizer,
                                                bool skip_special, struct um_error *err);
UM_API void um_decoder_free(struct um_decoder *decoder);
/* The text that n_ids more ids add, n_text bytes (borrows, until the next call). A character whose
 * bytes are not all there is held back. Ids that the tokenizer does not have add nothing. */
UM_API UM_CHECKED enum um_status um_decoder_put(const char **text, size_t *n_text,
                                                struct um_decoder *decoder, const int32_t *ids,
                                                size_t n_ids, struct um_error *err);
/* What was held back, U+FFFD for half a character; then the decoder starts anew. */
UM_API UM_CHECKED enum um_status um_decoder_end(const char **text, size_t *n_text,
                                                struct um_decoder *decoder, struct um_error *err);

/* ---------------------------------------------------------------------------------- inspection */

/* One tensor of a model, as um_inspect reports it. */
struct um_tensor_info {
    const char *name, *dtype;
    int64_t n_dims, dims[8], n_elements;
    bool is_used; /* false: in the file, but not part of the architecture */
};
typedef void um_tensor_fn(const struct um_tensor_info *tensor, void *user);
struct um_model_info {
    char architecture[64];
    int64_t n_parameters, n_layers, n_features, n_vocabulary, max_length, file_bytes;
};
UM_API UM_CHECKED enum um_status um_inspect(struct um_model_info *info, const char *model,
                                            um_tensor_fn *visit, void *user, struct um_error *err);

/* --------------------------------------------------------------------------------------- bench */

/* What the machine can do and where a training step's time goes. */
struct um_bench_report {
    char cpu_level[16];
    int threads;
    double gemm_gflops;       /* best of several square products */
    double read_gbytes;       /* streaming read, GB/s */
    int64_t n_steps;
    double tokens_per_step, tokens_per_second;
    size_t n_parts;
    struct {
        const char *name;     /* "gemm forward", "attention", ..., "other" */
        double milliseconds;  /* mean per step */
        double gflop;         /* of the part, 0 if not counted */
    } parts[16];
    double step_milliseconds;
    double needed_gflop;      /* 4 FLOP per weight and token: what an exact ID3 step needs */
    double share_of_gemm;     /* needed_gflop / step time, over gemm_gflops */
};
UM_API UM_CHECKED enum um_status um_bench(struct um_bench_report *report,
                                          const struct um_recipe *recipe, int64_t n_steps,
                                          const struct um_callbacks *callbacks,
                                          struct um_error *err);

#ifdef __cplusplus
}
#endif
#endif
