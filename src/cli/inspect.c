/* unmask inspect: what a model is made of, and what a recipe would need and train on. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const usage[] = {
    "MODEL [--tensors] [--json]",
    "--plan [RECIPE] [OPTION...]",
    "--example [N] [RECIPE] [OPTION...]",
    NULL,
};

static const char *const examples[] = {
    "unmask inspect model-folder",
    "unmask inspect --plan recipe.yaml --batch 8",
    "unmask inspect --example 3 --model DIR --task chat --train-file chats.jsonl",
    "unmask inspect --plan --model config.json --batch 1 --max-length 512",
    NULL,
};

static const struct cli_option options[] = {
    {"--tensors", NULL, "list each tensor instead of groups of like ones", false},
    {"--plan", NULL, "print what training by a recipe needs: the same as train --dry-run", false},
    {"--example", NULL, "print row N (default 1) of those trained on, token by token", false},
    {"--dtype", "TYPE", "with --plan: plan without data, missing weights being of this type",
     false},
    {"--json", NULL, "print as JSON", false},
    {"--set", "KEY=VALUE", "with --plan or --example: set any recipe key", true},
};

static const char *const keys[] = {"*", NULL};

/* Tensors of one name but for the numbers in it, of one shape and type. */
struct group {
    char *name; /* owned: with '*' for each number */
    char shape[96];
    const char *dtype;
    int64_t n_tensors, n_elements;
    bool is_used;
};

struct listing {
    struct group *groups; /* owned */
    size_t n, capacity;
    bool by_tensor, failed;
};

static void format_shape(char shape[96], const struct um_tensor_info *tensor)
{
    size_t used = (size_t)snprintf(shape, 96, "[");
    for (int64_t i = 0; i < tensor->n_dims && i < 8 && used < 96; i++)
        used += (size_t)snprintf(shape + used, 96 - used, "%s%lld", i ? ", " : "",
                                 (long long)tensor->dims[i]);
    if (used < 96)
        (void)snprintf(shape + used, 96 - used, "]");
}

/* "layer.11.weight" -> "layer.*.weight": a part that is a number alone. Owned (free). */
static char *group_name(const char *name, bool by_tensor)
{
    char *out = malloc(strlen(name) + 1), *to = out;
    bool is_start = true;
    while (out && *name) {
        size_t n = strspn(name, "0123456789");
        if (!by_tensor && is_start && n > 0 && (name[n] == '.' || name[n] == '\0')) {
            *to++ = '*';
            name += n;
        } else {
            is_start = *name == '.';
            *to++ = *name++;
        }
    }
    if (out)
        *to = '\0';
    return out;
}

static bool belongs(const struct group *g, const char *name, const char *shape,
                    const struct um_tensor_info *tensor)
{
    return strcmp(g->name, name) == 0 && strcmp(g->shape, shape) == 0 &&
           strcmp(g->dtype, tensor->dtype) == 0 && g->is_used == tensor->is_used;
}

static bool append(struct listing *list, struct group group)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct group *groups = realloc(list->groups, capacity * sizeof(*groups));
        if (!groups)
            return false;
        list->groups = groups;
        list->capacity = capacity;
    }
    list->groups[list->n++] = group;
    return true;
}

static void visit(const struct um_tensor_info *tensor, void *user)
{
    struct listing *list = user;
    struct group group = {.name = group_name(tensor->name, list->by_tensor),
                          .dtype = tensor->dtype,
                          .n_tensors = 1,
                          .n_elements = tensor->n_elements,
                          .is_used = tensor->is_used};
    format_shape(group.shape, tensor);
    for (size_t i = 0; group.name && i < list->n && !list->by_tensor; i++) {
        if (belongs(&list->groups[i], group.name, group.shape, tensor)) {
            list->groups[i].n_tensors++;
            list->groups[i].n_elements += tensor->n_elements;
            free(group.name);
            return;
        }
    }
    if (!group.name || !append(list, group)) {
        free(group.name);
        list->failed = true;
    }
}

static void print_text(const struct um_model_info *m, const struct listing *list)
{
    char text[32];
    printf("architecture %s\n", m->architecture);
    printf("parameters   %s\n", cli_format_count(text, m->n_parameters));
    printf("layers       %lld of %lld features\n", (long long)m->n_layers,
           (long long)m->n_features);
    printf("vocabulary   %s\n", cli_format_count(text, m->n_vocabulary));
    printf("length       %lld tokens at most\n", (long long)m->max_length);
    printf("file         %s\n", um_format_bytes(text, (double)m->file_bytes));
    printf("\n%14s %5s %-5s %-16s %s\n", "parameters", "times", "type", "shape", "tensor");
    for (size_t i = 0; i < list->n; i++) {
        const struct group *g = &list->groups[i];
        printf("%14s %5lld %-5s %-16s %s%s\n", cli_format_count(text, g->n_elements),
               (long long)g->n_tensors, g->dtype, g->shape, g->name,
               g->is_used ? "" : " (not used)");
    }
}

static void print_json(const struct um_model_info *m, const struct listing *list)
{
    cli_json_open(NULL, '{');
    cli_json_text("architecture", m->architecture);
    cli_json_integer("n_parameters", m->n_parameters);
    cli_json_integer("n_layers", m->n_layers);
    cli_json_integer("n_features", m->n_features);
    cli_json_integer("n_vocabulary", m->n_vocabulary);
    cli_json_integer("max_length", m->max_length);
    cli_json_integer("file_bytes", m->file_bytes);
    cli_json_open("tensors", '[');
    for (size_t i = 0; i < list->n; i++) {
        const struct group *g = &list->groups[i];
        cli_json_open(NULL, '{');
        cli_json_text("name", g->name);
        cli_json_text("dtype", g->dtype);
        cli_json_text("shape", g->shape);
        cli_json_integer("n_tensors", g->n_tensors);
        cli_json_integer("n_elements", g->n_elements);
        cli_json_bool("is_used", g->is_used);
        cli_json_close('}');
    }
    cli_json_close(']');
    cli_json_close('}');
}

static bool is_given(const struct um_recipe *recipe, const char *key)
{
    return *um_recipe_get(recipe, key) != '\0';
}

/* A recipe that names no data can be planned all the same, and then a model by its config alone. */
static enum um_status open_run(struct um_run **run, const struct um_recipe *recipe,
                               const struct cli_args *args, struct um_error *err)
{
    const struct um_callbacks callbacks = {0};
    bool has_data = is_given(recipe, "data.path") || is_given(recipe, "data.train");
    return has_data && !cli_has(args, "--dtype")
               ? um_run_open(run, recipe, &callbacks, err)
               : um_run_open_plan(run, recipe, cli_value(args, "--dtype"), err);
}

/* The recipe of positional number `at`, if there is one, and the flags. */
static enum um_status read_recipe(struct um_recipe **recipe, const struct cli_args *args, int at,
                                  struct um_error *err)
{
    const char *file = args->n_positionals > at ? args->positionals[at] : NULL;
    if (args->n_positionals > at + 1)
        return cli_fail(err, UM_E_USAGE, "'%s' is one argument too many",
                        args->positionals[at + 1]);
    return cli_recipe(recipe, args, file, err);
}

static enum um_status run_plan(const struct cli_args *args, struct um_error *err)
{
    struct um_recipe *recipe = NULL;
    struct um_run *run = NULL;
    enum um_status status = read_recipe(&recipe, args, 0, err);
    if (status == UM_OK)
        status = open_run(&run, recipe, args, err);
    if (status == UM_OK)
        status = cli_plan(run, cli_has(args, "--json"), err);
    um_run_free(run);
    um_recipe_free(recipe);
    return status;
}

/* A first positional that is a number says which row. */
static enum um_status run_example(const struct cli_args *args, struct um_error *err)
{
    struct um_callbacks callbacks = {0};
    struct um_recipe *recipe = NULL;
    struct um_run *run = NULL;
    char *end = NULL;
    long long row = args->n_positionals > 0 ? strtoll(args->positionals[0], &end, 10) : 1;
    bool has_row = end && end != args->positionals[0] && !*end;
    enum um_status status = read_recipe(&recipe, args, has_row, err);
    if (status == UM_OK)
        status = um_run_open(&run, recipe, &callbacks, err);
    if (status == UM_OK)
        status = cli_print_example(run, has_row ? row - 1 : 0, cli_has(args, "--json"), err);
    um_run_free(run);
    um_recipe_free(recipe);
    return status;
}

static enum um_status run_inspect(const struct cli_args *args, struct um_error *err)
{
    struct um_model_info info;
    struct listing list = {.by_tensor = cli_has(args, "--tensors")};
    if (cli_has(args, "--plan"))
        return run_plan(args, err);
    if (cli_has(args, "--example"))
        return run_example(args, err);
    if (args->n_positionals > 1)
        return cli_fail(err, UM_E_USAGE, "'%s' is one argument too many", args->positionals[1]);
    const char *model = args->n_positionals > 0 ? args->positionals[0] : cli_value(args, "--model");
    if (!model)
        return cli_fail(err, UM_E_USAGE, "'unmask inspect' needs a model folder");
    enum um_status status = um_inspect(&info, model, visit, &list, err);
    if (status == UM_OK && list.failed)
        status = cli_fail(err, UM_E_RUNTIME, "out of memory");
    if (status == UM_OK && cli_has(args, "--json"))
        print_json(&info, &list);
    else if (status == UM_OK)
        print_text(&info, &list);
    for (size_t i = 0; i < list.n; i++)
        free(list.groups[i].name);
    free(list.groups);
    return status;
}

const struct cli_command cli_inspect = {
    .name = "inspect",
    .summary = "say what a model is made of, or what a recipe needs and trains on",
    .usage = usage,
    .description =
        "Lists a model's parameters, tensors that differ only in the layer's number "
        "together; the names are what the patterns of scope.include and its like "
        "match.\n\nWith --plan: steps, budget and memory of a recipe, before any training, "
        "and the settings that would need less. Without data (no --data or --train-file), "
        "every step is taken to be full: train.batch texts of train.max_length tokens, "
        "all learnt, 1000 times unless --max-steps says how often. Then "
        "--model may also be a folder without weights, or the config.json alone: "
        "whether a model fits can be told before it is downloaded.\n\n"
        "With --example: a row of those trained on as the model will see it, token by "
        "token, with '+' at those that are learnt and '|' where a packed text begins. Rows of the "
        "file that are held out or left out are not counted; texts that are packed together are "
        "one row, and a document may be several.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 2,
    .run = run_inspect,
};
