/* The command line: options of the command and of the recipe, positionals, errors with the nearest
 * name. Options are `--name value` or `--name=value`; `--` ends them. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum um_status cli_fail(struct um_error *err, enum um_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    err->status = status;
    err->hint[0] = '\0';
    return status;
}

void cli_prefix(struct um_error *err, const char *fmt, ...)
{
    char old[sizeof(err->message)], where[128];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(where, sizeof(where), fmt, args);
    va_end(args);
    memcpy(old, err->message, sizeof(old));
    (void)snprintf(err->message, sizeof(err->message), "%s: %.*s", where,
                   (int)(sizeof(old) - sizeof(where) - 2), old);
}

enum um_status cli_print_file(const char *path, struct um_error *err)
{
    char buffer[4096];
    size_t n;
    FILE *from = fopen(path, "r");
    if (!from)
        return cli_fail(err, UM_E_RUNTIME, "cannot read '%s'", path);
    while ((n = fread(buffer, 1, sizeof(buffer), from)) > 0)
        (void)fwrite(buffer, 1, n, stdout);
    (void)fclose(from);
    return UM_OK;
}

void cli_hint(struct um_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->hint, sizeof(err->hint), fmt, args);
    va_end(args);
}

bool cli_takes(const struct cli_command *command, const struct um_option_info *info)
{
    for (const char *const *k = command->recipe_keys; k && *k; k++) {
        size_t n = strcspn(*k, "*");
        if (strncmp(*k, info->key, n) == 0 && ((*k)[n] == '*' || info->key[n] == '\0'))
            return true;
    }
    return false;
}

/* Whether `text` is `flag` or `flag=...`. */
static bool is_flag(const char *text, const char *flag)
{
    size_t n = strlen(flag);
    return strncmp(text, flag, n) == 0 && (text[n] == '\0' || text[n] == '=');
}

/* Finds what an argument that begins with "--" sets; false if the command knows no such option. */
static bool find_option(struct cli_setting *setting, const struct cli_command *command,
                        const char *text)
{
    for (size_t i = 0; i < command->n_options; i++) {
        if (is_flag(text, command->options[i].flag)) {
            setting->option = &command->options[i];
            setting->flag = command->options[i].flag;
            return true;
        }
    }
    const struct um_option_info *info;
    for (size_t i = 0; (info = um_recipe_option(i)); i++) {
        if (info->flag && is_flag(text, info->flag) && cli_takes(command, info)) {
            setting->info = info;
            setting->flag = info->flag;
            return true;
        }
    }
    return false;
}

enum { FLAGS_MAX = 256 };

static enum um_status fail_unknown_option(const struct cli_command *command, const char *text,
                                          struct um_error *err)
{
    const char *flags[FLAGS_MAX];
    size_t n = 0;
    char name[64];
    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "="), text);
    for (size_t i = 0; i < command->n_options; i++)
        flags[n++] = command->options[i].flag;
    const struct um_option_info *info;
    for (size_t i = 0; (info = um_recipe_option(i)) && n < FLAGS_MAX; i++)
        if (info->flag && cli_takes(command, info))
            flags[n++] = info->flag;
    const char *nearest = um_nearest(name, flags, n);
    (void)cli_fail(err, UM_E_USAGE, "unknown option '%s'%s%s%s", name,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    cli_hint(err, "'unmask %s --help' lists the options", command->name);
    return UM_E_USAGE;
}

/* The option at argv[*i], and its value, which may be the next argument. */
static enum um_status parse_option(struct cli_args *args, int *i, int argc, char **argv,
                                   struct um_error *err)
{
    struct cli_setting setting = {0};
    if (!find_option(&setting, args->command, argv[*i]))
        return fail_unknown_option(args->command, argv[*i], err);
    const char *equals = strchr(argv[*i], '=');
    bool takes_value = !setting.option || setting.option->value;
    if (equals && !takes_value)
        return cli_fail(err, UM_E_USAGE, "option '%s' takes no value", setting.flag);
    if (takes_value && !equals && *i + 1 >= argc)
        return cli_fail(err, UM_E_USAGE, "option '%s' needs a value: %s", setting.flag,
                        setting.option ? setting.option->value : setting.info->value);
    if (takes_value)
        setting.value = equals ? equals + 1 : argv[++*i];
    if (setting.option && !setting.option->is_repeatable && cli_has(args, setting.flag))
        return cli_fail(err, UM_E_USAGE, "option '%s' is given twice", setting.flag);
    args->settings[args->n_settings++] = setting;
    return UM_OK;
}

enum um_status cli_fail_unused(const struct cli_args *args, const char *text, struct um_error *err)
{
    (void)cli_fail(err, UM_E_USAGE, "'unmask %s' has no use for '%s'", args->command->name, text);
    cli_hint(err, "usage: unmask %s %s", args->command->name, args->command->usage[0]);
    return UM_E_USAGE;
}

static enum um_status parse_positional(struct cli_args *args, const char *text,
                                       struct um_error *err)
{
    int n_max = args->command->n_positionals_max;
    if (n_max < 0 || args->n_positionals < n_max) {
        args->positionals[args->n_positionals++] = text;
        return UM_OK;
    }
    return cli_fail_unused(args, text, err);
}

enum um_status cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
                              char **argv, struct um_error *err)
{
    size_t n = (size_t)argc + 1;
    bool is_after_dashes = false;
    *args = (struct cli_args){.command = command};
    args->positionals = calloc(n, sizeof(*args->positionals));
    args->settings = calloc(n, sizeof(*args->settings));
    if (!args->positionals || !args->settings)
        return cli_fail(err, UM_E_RUNTIME, "out of memory");
    for (int i = 0; i < argc; i++) {
        enum um_status status = UM_OK;
        if (is_after_dashes || argv[i][0] != '-' || argv[i][1] == '\0')
            status = parse_positional(args, argv[i], err);
        else if (strcmp(argv[i], "--") == 0)
            is_after_dashes = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            args->wants_help = true;
        else
            status = parse_option(args, &i, argc, argv, err);
        if (status != UM_OK)
            return status;
    }
    return UM_OK;
}

void cli_args_free(struct cli_args *args)
{
    free(args->positionals);
    free(args->settings);
}

/* The last setting of a flag, or NULL. */
static const struct cli_setting *find_setting(const struct cli_args *args, const char *flag)
{
    for (int i = args->n_settings - 1; i >= 0; i--)
        if (strcmp(args->settings[i].flag, flag) == 0)
            return &args->settings[i];
    return NULL;
}

bool cli_has(const struct cli_args *args, const char *flag)
{
    return find_setting(args, flag) != NULL;
}

const char *cli_value(const struct cli_args *args, const char *flag)
{
    const struct cli_setting *setting = find_setting(args, flag);
    return setting ? setting->value : NULL;
}

bool cli_sets(const struct cli_args *args, const char *key)
{
    for (int i = 0; i < args->n_settings; i++) {
        const struct cli_setting *s = &args->settings[i];
        size_t n = strlen(key);
        if (s->info ? strcmp(s->info->key, key) == 0
                    : strcmp(s->flag, "--set") == 0 && strncmp(s->value, key, n) == 0 &&
                          s->value[n] == '=')
            return true;
    }
    return false;
}

enum um_status cli_number(int64_t *number, const struct cli_args *args, const char *flag,
                          int64_t least, struct um_error *err)
{
    const char *text = cli_value(args, flag);
    if (!text)
        return UM_OK;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < least || value > INT32_MAX)
        return cli_fail(err, UM_E_USAGE,
                        "option '%s' takes a whole number from %lld to %d, found '%s'", flag,
                        (long long)least, INT32_MAX, text);
    *number = value;
    return UM_OK;
}

enum um_status cli_real(double *number, const char *text, const char *flag, double above,
                        double below, struct um_error *err)
{
    char *end;
    *number = strtod(text, &end);
    if (end != text && !*end && *number > above && *number < below)
        return UM_OK;
    return cli_fail(err, UM_E_USAGE, "option '%s' takes a number above %g and below %g, found '%s'",
                    flag, above, below, text);
}

enum um_status cli_list(struct cli_list *list, const struct cli_args *args, const char *flag,
                        struct um_error *err)
{
    const char *text = cli_value(args, flag);
    *list = (struct cli_list){.copy = text ? malloc(strlen(text) + 1) : NULL};
    if (!text)
        return UM_OK;
    if (!list->copy)
        return cli_fail(err, UM_E_RUNTIME, "out of memory");
    memcpy(list->copy, text, strlen(text) + 1);
    for (char *item = list->copy, *next; item; item = next) {
        next = strchr(item, ',');
        if (next)
            *next++ = '\0';
        if (!*item || list->n == CLI_ITEMS_MAX)
            return cli_fail(err, UM_E_USAGE,
                            "option '%s' takes 1 to %d items with commas between, found '%.200s'",
                            flag, CLI_ITEMS_MAX, text);
        list->items[list->n++] = item;
    }
    return UM_OK;
}

/* `--set key=value` */
static enum um_status apply_set(struct um_recipe *recipe, const char *text, struct um_error *err)
{
    char key[128];
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof(key))
        return cli_fail(err, UM_E_USAGE, "option '--set' takes key=value, found '%s'", text);
    (void)snprintf(key, sizeof(key), "%.*s", (int)(equals - text), text);
    return um_recipe_set(recipe, key, equals + 1, err);
}

enum um_status cli_recipe(struct um_recipe **recipe, const struct cli_args *args, const char *file,
                          struct um_error *err)
{
    enum um_status status = um_recipe_new(recipe, err);
    if (status == UM_OK && file)
        status = um_recipe_load(*recipe, file, err);
    for (int i = 0; i < args->n_settings && status == UM_OK; i++) {
        const struct cli_setting *s = &args->settings[i];
        if (s->info)
            status = um_recipe_set(*recipe, s->info->key, s->value, err);
        else if (strcmp(s->flag, "--set") == 0)
            status = apply_set(*recipe, s->value, err);
        if (status == UM_E_USAGE && s->info)
            cli_prefix(err, "option '%s'", s->flag);
    }
    if (status != UM_OK) {
        um_recipe_free(*recipe);
        *recipe = NULL;
    }
    return status;
}
