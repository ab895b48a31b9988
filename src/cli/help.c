/* unmask help, and the help texts: all made from the tables of commands and recipe options. */
#include <string.h>

#include "cli.h"

enum { WIDTH = 80, COLUMN = 26, MEMBERS_MAX = 256 };

/* Prints text wrapped between words, each further line indented; the cursor stands at `column`. */
static void print_wrapped(FILE *to, const char *text, int column, int indent)
{
    bool is_line_start = true;
    for (; *text; text += strspn(text, " ")) {
        if (*text == '\n') {
            (void)fputc(*text++, to);
            column = 0;
            is_line_start = true;
            continue;
        }
        int n = (int)strcspn(text, " \n");
        if (!is_line_start && column + 1 + n > WIDTH) {
            (void)fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else if (!is_line_start) {
            (void)fputc(' ', to);
            column++;
        }
        (void)fprintf(to, "%.*s", n, text);
        column += n;
        text += n;
        is_line_start = false;
    }
    (void)fputc('\n', to);
}

/* "  --flag VALUE     summary" */
static void print_row(FILE *to, const char *name, const char *value, const char *summary)
{
    int n = fprintf(to, "  %s%s%s", name, value ? " " : "", value ? value : "");
    if (n >= COLUMN) {
        (void)fputc('\n', to);
        n = 0;
    }
    (void)fprintf(to, "%*s", COLUMN - n, "");
    print_wrapped(to, summary, COLUMN, COLUMN);
}

static void print_commands(FILE *to, const char *prefix)
{
    for (size_t i = 0; cli_commands[i]; i++)
        if (strncmp(cli_commands[i]->name, prefix, strlen(prefix)) == 0)
            print_row(to, cli_commands[i]->name, NULL, cli_commands[i]->summary);
}

void cli_help_program(FILE *to)
{
    (void)fputs("usage: unmask COMMAND [ARGUMENT...]\n\n"
                "Fine-tunes transformer language models by changing only the few weights that "
                "matter.\n\n",
                to);
    print_commands(to, "");
    (void)fputs("\n'unmask COMMAND --help' tells more, 'unmask help recipe' all settings of a run."
                "\n'unmask --version' prints the version.\n",
                to);
}

void cli_help_group(const char *group, FILE *to)
{
    (void)fprintf(to, "usage: unmask %s COMMAND [ARGUMENT...]\n\n", group);
    print_commands(to, group);
}

void cli_describe_option(char *out, size_t n, const struct um_option_info *info)
{
    struct um_member_info members[MEMBERS_MAX];
    size_t n_members = info->family ? um_family_members(members, MEMBERS_MAX, info->family) : 0;
    size_t used = (size_t)snprintf(out, n, "%s", info->summary);
    for (const char *c = info->choices; c && *c && used < n;) {
        int length = (int)strcspn(c, "|");
        used += (size_t)snprintf(out + used, n - used, "%s%.*s", c == info->choices ? ": " : ", ",
                                 length, c);
        c += length + (c[length] == '|');
    }
    for (size_t i = 0; i < n_members && used < n; i++)
        used += (size_t)snprintf(out + used, n - used, "%s%s", i ? ", " : ": ", members[i].name);
    if (*info->default_value && used < n)
        (void)snprintf(out + used, n - used, " (default %s)", info->default_value);
}

void cli_help_command(const struct cli_command *command, FILE *to)
{
    for (size_t i = 0; command->usage[i]; i++)
        (void)fprintf(to, "%s unmask %s %s\n", i ? "      " : "usage:", command->name,
                      command->usage[i]);
    (void)fputc('\n', to);
    print_wrapped(to, command->description, 0, 0);
    if (command->examples)
        (void)fputs("\nExamples:\n", to);
    for (size_t i = 0; command->examples && command->examples[i]; i++)
        (void)fprintf(to, "  %s\n", command->examples[i]);
    (void)fputs("\nOptions:\n", to);
    for (size_t i = 0; i < command->n_options; i++)
        print_row(to, command->options[i].flag, command->options[i].value,
                  command->options[i].summary);
    print_row(to, "--help", NULL, "print this");
    const struct um_option_info *info;
    char text[1024];
    if (command->recipe_keys)
        (void)fputs("\nSettings:\n", to);
    for (size_t i = 0; (info = um_recipe_option(i)); i++) {
        if (!info->flag || !cli_takes(command, info))
            continue;
        cli_describe_option(text, sizeof(text), info);
        print_row(to, info->flag, info->value, text);
    }
}

/* The family of a topic: itself, or what it is the plural of; NULL if there is none. */
static const char *family_of(const char *topic)
{
    static const char *const plurals[][2] = {
        {"methods", "method"},       {"importances", "importance"},
        {"strategies", "strategy"},  {"schedules", "schedule"},
        {"regions", "region"},       {"optimizers", "optimizer"},
        {"tasks", "task"},           {"templates", "template"},
        {"metrics", "metric"},       {"additions", "addition"},
        {"architectures", "architecture"}, {"lr_schedules", "lr_schedule"}};
    for (size_t i = 0; i < CLI_COUNT(plurals); i++)
        if (strcmp(topic, plurals[i][0]) == 0 || strcmp(topic, plurals[i][1]) == 0)
            return plurals[i][1];
    return NULL;
}

static void print_family(FILE *to, const char *title, const char *family)
{
    struct um_member_info members[MEMBERS_MAX];
    size_t n = um_family_members(members, MEMBERS_MAX, family);
    (void)fprintf(to, "\n%s:\n", title);
    for (size_t i = 0; i < n; i++)
        print_row(to, members[i].name, NULL, members[i].summary);
}

void cli_help_recipe(FILE *to)
{
    const struct um_option_info *info;
    char text[1024];
    (void)fputs("A recipe is a YAML file; a key `section.name` is `name:` indented under "
                "`section:`.\nEach key is also `--set KEY=VALUE`.\n\n",
                to);
    for (size_t i = 0; (info = um_recipe_option(i)); i++) {
        cli_describe_option(text, sizeof(text), info);
        print_row(to, info->key, info->value, text);
    }
    const struct um_option_info *previous;
    for (size_t i = 0; (info = um_recipe_option(i)); i++) {
        bool is_new = info->family != NULL;
        for (size_t j = 0; j < i && is_new && (previous = um_recipe_option(j)); j++)
            is_new = !previous->family || strcmp(previous->family, info->family) != 0;
        if (is_new)
            print_family(to, info->key, info->family);
    }
}

static void print_methods(FILE *to)
{
    struct um_method_info m;
    (void)fputs("A method names a strategy (when it chooses), an importance (what comes first)\n"
                "and a region of the model; method.strategy, method.importance and scope.region\n"
                "name others. lora, dora, adalora, houlsby and pfeiffer train what they put\n"
                "beside the model; method.on puts it under any other method. lr is the rate\n"
                "that a method begins with; with much of the model in the budget it is lower.\n\n",
                to);
    (void)fprintf(to, "  %-13s %-10s %-19s %-11s %s\n", "method", "strategy", "importance",
                  "region", "lr");
    for (size_t i = 0; um_method_get_info(&m, i); i++)
        (void)fprintf(to, "  %-13s %-10s %-19s %-11s %g\n", m.name, m.strategy,
                      m.importance ? m.importance : "-", m.addition ? m.addition : m.region,
                      m.rate);
    static const char *const families[][2] = {{"Methods", "method"},
                                              {"Strategies", "strategy"},
                                              {"Importances", "importance"},
                                              {"Schedules", "schedule"},
                                              {"Regions", "region"}};
    for (size_t i = 0; i < CLI_COUNT(families); i++)
        print_family(to, families[i][0], families[i][1]);
}

/* ------------------------------------------------------------------------------- unmask help */

static const char *const usage[] = {"[COMMAND | recipe | methods | tasks | ...] [--man]", NULL};

static const struct cli_option options[] = {
    {"--man", NULL, "write the man page instead, as roff", false},
};

static enum um_status run_help(const struct cli_args *args, struct um_error *err)
{
    char topic[64] = "";
    bool is_man = cli_has(args, "--man");
    for (int i = 0; i < args->n_positionals; i++) {
        size_t n = strlen(topic);
        (void)snprintf(topic + n, sizeof(topic) - n, "%s%.24s", i ? " " : "", args->positionals[i]);
    }
    const struct cli_command *command = cli_command_find(topic);
    if (!*topic)
        (is_man ? cli_man_program : cli_help_program)(stdout);
    else if (strcmp(topic, "recipe") == 0)
        (is_man ? cli_man_recipe : cli_help_recipe)(stdout);
    else if (strcmp(topic, "methods") == 0 && !is_man)
        print_methods(stdout);
    else if (family_of(topic) && !is_man)
        print_family(stdout, family_of(topic), family_of(topic));
    else if (command)
        (is_man ? cli_man_command : cli_help_command)(command, stdout);
    else if (cli_is_group(topic))
        cli_help_group(topic, stdout);
    else
        return cli_fail(err, UM_E_USAGE, "no help on '%s'", topic);
    return UM_OK;
}

const struct cli_command cli_help = {
    .name = "help",
    .summary = "help on a command, on recipes, or on methods",
    .usage = usage,
    .description =
        "Prints the commands, the help of a command, with 'recipe' all settings, with 'methods' "
        "what methods are made of, or what there is of tasks, templates, metrics, schedules, "
        "strategies, importances, regions, optimizers, additions or architectures.",
    .options = options,
    .n_options = CLI_COUNT(options),
    .n_positionals_max = 2,
    .run = run_help,
};
