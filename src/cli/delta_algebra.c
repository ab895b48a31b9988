/* unmask delta add, subtract, scale, compose, overlap: what can be made of several deltas of one
 * base. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const keys[] = {"model", NULL};

static const struct {
    const char *name;
    enum um_conflict conflict;
} conflicts[] = {{"sum", UM_CONFLICT_SUM},
                 {"mean", UM_CONFLICT_MEAN},
                 {"first", UM_CONFLICT_FIRST},
                 {"last", UM_CONFLICT_LAST},
                 {"error", UM_CONFLICT_ERROR}};

#define CONFLICT_OPTION(summary) {"--on-conflict", "RULE", summary, false}
#define HEADS_SUMMARY "where task heads differ: first, last or mean (default: by --on-conflict)"
#define HEADS_OPTION {"--heads", "RULE", HEADS_SUMMARY, false}
#define OUT_OPTION {"--out", "FILE", "delta to write", false}

static const struct cli_option sum_options[] = {
    OUT_OPTION,
    CONFLICT_OPTION("where several touch: sum (default), mean, first, last, error"),
    HEADS_OPTION,
};
static const struct cli_option scale_options[] = {
    OUT_OPTION,
    {"--by", "X", "how far the way from the base to the delta is gone", false},
};
static const struct cli_option compose_options[] = {
    OUT_OPTION,
    CONFLICT_OPTION("where several touch: last (default), first, mean, sum, error"),
    HEADS_OPTION,
};

/* Leaves *conflict as it is if the option is not given. */
static enum um_status read_rule(enum um_conflict *conflict, const struct cli_args *args,
                                const char *option, struct um_error *err)
{
    const char *name = cli_value(args, option);
    for (size_t i = 0; name && i < CLI_COUNT(conflicts); i++) {
        if (strcmp(conflicts[i].name, name) == 0) {
            *conflict = conflicts[i].conflict;
            return UM_OK;
        }
    }
    return name ? cli_fail(err, UM_E_USAGE,
                           "%s: '%s' is not one of sum, mean, first, last, error", option, name)
                : UM_OK;
}

/* How deltas are combined: the first with factor `first`, the others with `others`. */
struct rule {
    double first, others;
    enum um_conflict conflict;
};

/* The deltas on the command line, over `model`. */
static enum um_status combine_over(const char *model, const struct cli_args *args,
                                   struct rule rule, struct um_error *err)
{
    struct um_delta_info info;
    size_t n = (size_t)args->n_positionals;
    enum um_status status = read_rule(&rule.conflict, args, "--on-conflict", err);
    enum um_conflict heads = rule.conflict;
    if (status == UM_OK)
        status = read_rule(&heads, args, "--heads", err);
    if (status != UM_OK)
        return status;
    struct um_delta_term *terms = calloc(n, sizeof(*terms));
    if (!terms)
        return cli_fail(err, UM_E_RUNTIME, "out of memory");
    for (size_t k = 0; k < n; k++)
        terms[k] = (struct um_delta_term){args->positionals[k], k == 0 ? rule.first : rule.others};
    status = um_delta_combine(&info, model, terms, n, rule.conflict, heads,
                              cli_value(args, "--out"), err);
    if (status == UM_OK)
        cli_print_delta(&info);
    free(terms);
    return status;
}

/* The same over the model that is named, or else the one that the first delta's run was made of. */
static enum um_status combine(const struct cli_args *args, struct rule rule, struct um_error *err)
{
    const char *model = cli_value(args, "--model");
    if (!cli_has(args, "--out") || args->n_positionals == 0)
        return cli_fail(err, UM_E_USAGE, "'unmask %s' needs deltas and --out",
                        args->command->name);
    if (model)
        return combine_over(model, args, rule, err);
    if (!cli_is_run(args->positionals[0]))
        return cli_fail(err, UM_E_USAGE,
                        "'unmask %s' needs --model, since '%s' is no run that tells its model",
                        args->command->name, args->positionals[0]);
    struct cli_target target;
    enum um_status status = cli_target_open(&target, args, err);
    if (status == UM_OK)
        status = combine_over(target.model, args, rule, err);
    cli_target_close(&target);
    return status;
}

static enum um_status run_add(const struct cli_args *args, struct um_error *err)
{
    return combine(args, (struct rule){1, 1, UM_CONFLICT_SUM}, err);
}

static enum um_status run_subtract(const struct cli_args *args, struct um_error *err)
{
    return combine(args, (struct rule){1, -1, UM_CONFLICT_SUM}, err);
}

static enum um_status run_compose(const struct cli_args *args, struct um_error *err)
{
    return combine(args, (struct rule){1, 1, UM_CONFLICT_LAST}, err);
}

static enum um_status run_scale(const struct cli_args *args, struct um_error *err)
{
    const char *text = cli_value(args, "--by");
    double factor;
    if (!text)
        return cli_fail(err, UM_E_USAGE, "'unmask delta scale' needs --by, a number");
    enum um_status status = cli_real(&factor, text, "--by", -1e6, 1e6, err);
    const struct rule rule = {factor, factor, UM_CONFLICT_SUM};
    return status == UM_OK ? combine(args, rule, err) : status;
}

#define BASE_NOTE "fit the base that --model names, or else that of the first delta's run. "
#define NOTE                                                                                       \
    "\n\nAll deltas must " BASE_NOTE "Parameters that the base does not have, such as a "          \
    "task head, are no differences: --heads says whose is taken where they differ."
#define SCALE_NOTE                                                                                 \
    "\n\nThe delta must " BASE_NOTE "Parameters that the base does not have, such as a "           \
    "task head, are no differences: they stay as they are."

static const char *const add_usage[] = {"DELTA... [--model DIR] --out FILE", NULL};
static const char *const scale_usage[] = {"DELTA --by X [--model DIR] --out FILE", NULL};

const struct cli_command cli_delta_add = {
    .name = "delta add",
    .summary = "add the changes of several deltas up",
    .usage = add_usage,
    .description = "Writes the delta whose differences from the base are the sums of those of the "
                   "deltas given." NOTE,
    .options = sum_options,
    .n_options = CLI_COUNT(sum_options),
    .recipe_keys = keys,
    .n_positionals_max = -1,
    .run = run_add,
};

const struct cli_command cli_delta_subtract = {
    .name = "delta subtract",
    .summary = "take the changes of deltas off another's",
    .usage = add_usage,
    .description = "Writes the first delta less the differences from the base of the others: to "
                   "make a model forget a task." NOTE,
    .options = sum_options,
    .n_options = CLI_COUNT(sum_options),
    .recipe_keys = keys,
    .n_positionals_max = -1,
    .run = run_subtract,
};

const struct cli_command cli_delta_scale = {
    .name = "delta scale",
    .summary = "go part of a delta's way, or beyond it",
    .usage = scale_usage,
    .description = "Writes base + X * (delta - base): 0.5 is half the way, -1 as far the other "
                   "way." SCALE_NOTE,
    .options = scale_options,
    .n_options = CLI_COUNT(scale_options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_scale,
};

const struct cli_command cli_delta_compose = {
    .name = "delta compose",
    .summary = "lay deltas over each other",
    .usage = add_usage,
    .description = "Writes the delta that holds all values of the deltas given; where several "
                   "touch a position, that of the last, or as --on-conflict says." NOTE,
    .options = compose_options,
    .n_options = CLI_COUNT(compose_options),
    .recipe_keys = keys,
    .n_positionals_max = -1,
    .run = run_compose,
};

/* ------------------------------------------------------------------------------------- overlap */

static const char *const overlap_usage[] = {"DELTA DELTA [--tensors] [--json]", NULL};

static const struct cli_option overlap_options[] = {
    {"--tensors", NULL, "list the tensors, too", false},
    {"--json", NULL, "print as JSON", false},
};

/* Positions of both over positions of either (Jaccard 1912). */
static double jaccard(const struct um_delta_overlap *o)
{
    int64_t either = o->n_first + o->n_second - o->n_both;
    return either ? (double)o->n_both / (double)either : 0;
}

static void print_row(const char *name, const struct um_delta_overlap *o, void *user)
{
    (void)user;
    printf("%12lld %12lld %12lld %12lld %8.4f  %s\n", (long long)o->n_first,
           (long long)o->n_second, (long long)o->n_both, (long long)o->n_same, jaccard(o), name);
}

static void print_row_json(const char *name, const struct um_delta_overlap *o, void *user)
{
    (void)user;
    cli_json_open(NULL, '{');
    cli_json_text("name", name);
    cli_json_integer("first", o->n_first);
    cli_json_integer("second", o->n_second);
    cli_json_integer("both", o->n_both);
    cli_json_integer("same", o->n_same);
    cli_json_real("jaccard", jaccard(o));
    cli_json_close('}');
}

static void print_overlap(const struct cli_args *args, const struct um_delta *first,
                          const struct um_delta *second)
{
    struct um_delta_overlap total;
    bool is_json = cli_has(args, "--json");
    um_overlap_fn *print = is_json ? print_row_json : print_row;
    if (is_json)
        cli_json_open(NULL, '[');
    else
        printf("%12s %12s %12s %12s %8s  %s\n", "first", "second", "both", "same value", "Jaccard",
               "tensor");
    um_delta_compare(&total, first, second, cli_has(args, "--tensors") ? print : NULL, NULL);
    print("(all)", &total, NULL);
    if (is_json)
        cli_json_close(']');
}

static enum um_status run_overlap(const struct cli_args *args, struct um_error *err)
{
    struct um_delta *deltas[2] = {NULL, NULL};
    enum um_status status = UM_OK;
    if (args->n_positionals != 2)
        return cli_fail(err, UM_E_USAGE, "'unmask delta overlap' needs two deltas");
    for (int k = 0; k < 2 && status == UM_OK; k++)
        status = um_delta_open(&deltas[k], args->positionals[k], err);
    if (status == UM_OK)
        print_overlap(args, deltas[0], deltas[1]);
    um_delta_free(deltas[0]);
    um_delta_free(deltas[1]);
    return status;
}

const struct cli_command cli_delta_overlap = {
    .name = "delta overlap",
    .summary = "count what two deltas have in common",
    .usage = overlap_usage,
    .description =
        "Counts the values of two deltas, the positions that both touch, and those where "
        "both hold the same value; the Jaccard index is both over either.",
    .options = overlap_options,
    .n_options = CLI_COUNT(overlap_options),
    .n_positionals_max = 2,
    .run = run_overlap,
};
