/* Man pages in roff, made from the same tables as --help. */
#include <ctype.h>
#include <string.h>

#include "cli.h"

/* Text with what roff takes specially made plain: backslashes, hyphens, leading dots and quotes. */
static void put(FILE *to, const char *text)
{
    bool is_line_start = true;
    for (; *text; text++) {
        if (is_line_start && (*text == '.' || *text == '\''))
            (void)fputs("\\&", to);
        if (*text == '\\')
            (void)fputs("\\e", to);
        else if (*text == '-')
            (void)fputs("\\-", to);
        else
            (void)fputc(*text, to);
        is_line_start = *text == '\n';
    }
}

/* The name of a page: "unmask-delta-info" for "delta info". */
static void format_page(char page[64], const char *name)
{
    (void)snprintf(page, 64, "unmask%s%.40s", *name ? "-" : "", name);
    for (char *c = page; *c; c++)
        *c = *c == ' ' ? '-' : *c;
}

static void put_header(FILE *to, const char *name, const char *section, const char *summary)
{
    char page[64];
    format_page(page, name);
    (void)fputs(".TH ", to);
    for (const char *c = page; *c; c++)
        (void)fputc(toupper((unsigned char)*c), to);
    (void)fprintf(to, " %s \"\" \"unmask %s\" \"unmask\"\n.SH NAME\n", section, um_version());
    put(to, page);
    (void)fputs(" \\- ", to);
    put(to, summary);
    (void)fputc('\n', to);
}

/* An entry of a list: the term in bold, its value in italics, then the text. */
static void put_entry(FILE *to, const char *term, const char *value, const char *text)
{
    (void)fputs(".TP\n\\fB", to);
    put(to, term);
    (void)fputs("\\fR", to);
    if (value) {
        (void)fputs(" \\fI", to);
        put(to, value);
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
    put(to, text);
    (void)fputc('\n', to);
}

/* Paragraphs with an empty line between them. */
static void put_paragraphs(FILE *to, const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        int n = end ? (int)(end - text) : (int)strlen(text);
        char paragraph[1024];
        (void)snprintf(paragraph, sizeof(paragraph), "%.*s", n, text);
        (void)fputs(".PP\n", to);
        put(to, paragraph);
        (void)fputc('\n', to);
        text += n;
        text += strspn(text, "\n");
    }
}

static void put_exit_status(FILE *to)
{
    static const struct {
        const char *status, *meaning;
    } rows[] = {
        {"0", "Done."},
        {"1", "Failed while running: out of memory or disk, not a number in the loss."},
        {"2", "Wrong usage or a wrong recipe."},
        {"3", "A bad input file."},
        {"130", "Interrupted (training: after saving a checkpoint)."},
    };
    (void)fputs(".SH EXIT STATUS\n", to);
    for (size_t i = 0; i < CLI_COUNT(rows); i++)
        put_entry(to, rows[i].status, NULL, rows[i].meaning);
}

static void put_setting(FILE *to, const char *term, const struct um_option_info *info)
{
    char text[1024];
    cli_describe_option(text, sizeof(text), info);
    put_entry(to, term, info->value, text);
}

static void put_settings(FILE *to, const struct cli_command *command)
{
    const struct um_option_info *info;
    (void)fputs(".SH SETTINGS\nEach is a key of the recipe too: see \\fBunmask\\-recipe\\fR(5).\n",
                to);
    for (size_t i = 0; (info = um_recipe_option(i)); i++)
        if (info->flag && cli_takes(command, info))
            put_setting(to, info->flag, info);
}

void cli_man_command(const struct cli_command *command, FILE *to)
{
    put_header(to, command->name, "1", command->summary);
    (void)fputs(".SH SYNOPSIS\n", to);
    for (size_t i = 0; command->usage[i]; i++) {
        (void)fprintf(to, "%s\\fBunmask %s\\fR ", i ? ".br\n" : "", command->name);
        put(to, command->usage[i]);
        (void)fputc('\n', to);
    }
    (void)fputs(".SH DESCRIPTION\n", to);
    put_paragraphs(to, command->description);
    (void)fputs(".SH OPTIONS\n", to);
    for (size_t i = 0; i < command->n_options; i++)
        put_entry(to, command->options[i].flag, command->options[i].value,
                  command->options[i].summary);
    put_entry(to, "--help", NULL, "print a summary of this");
    if (command->recipe_keys)
        put_settings(to, command);
    if (command->examples)
        (void)fputs(".SH EXAMPLES\n.nf\n", to);
    for (size_t i = 0; command->examples && command->examples[i]; i++) {
        put(to, command->examples[i]);
        (void)fputc('\n', to);
    }
    if (command->examples)
        (void)fputs(".fi\n", to);
    put_exit_status(to);
    (void)fputs(".SH SEE ALSO\n\\fBunmask\\fR(1), \\fBunmask\\-recipe\\fR(5)\n", to);
}

void cli_man_program(FILE *to)
{
    put_header(to, "", "1", "fine-tune transformers by changing only the few weights that matter");
    (void)fputs(".SH SYNOPSIS\n\\fBunmask\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n"
                ".SH DESCRIPTION\n"
                "Fine\\-tunes transformer language models on the machine you have. A run writes a "
                "small delta next to the base model, which can be used as it is or merged.\n"
                ".SH COMMANDS\n",
                to);
    for (size_t i = 0; cli_commands[i]; i++)
        put_entry(to, cli_commands[i]->name, NULL, cli_commands[i]->summary);
    (void)fputs(".SH ENVIRONMENT\n", to);
    put_entry(to, "UNMASK_CPU", "generic|avx2|avx512", "the best instruction set to use");
    put_entry(to, "OMP_NUM_THREADS", "N", "threads, where --threads is not given");
    put_exit_status(to);
    (void)fputs(".SH SEE ALSO\n", to);
    for (size_t i = 0; cli_commands[i]; i++) {
        char page[64];
        format_page(page, cli_commands[i]->name);
        (void)fputs("\\fB", to);
        put(to, page);
        (void)fputs("\\fR(1), ", to);
    }
    (void)fputs("\\fBunmask\\-recipe\\fR(5)\n", to);
}

void cli_man_recipe(FILE *to)
{
    const struct um_option_info *info;
    put_header(to, "recipe", "5", "the settings of a run");
    (void)fputs(".SH DESCRIPTION\n", to);
    put(to, "A recipe is a YAML file that describes a run of unmask train. A key section.name "
            "stands as name: indented under section:. A key that is not in this list is an error. "
            "Each key can also be given as --set KEY=VALUE; lists as a,b,c.\n");
    (void)fputs(".SH KEYS\n", to);
    for (size_t i = 0; (info = um_recipe_option(i)); i++)
        put_setting(to, info->key, info);
    (void)fputs(".SH EXAMPLE\n.nf\n", to);
    put(to, "model: base\ntask: rte\ndata: glue/RTE\nout: run\nmethod:\n  name: id3\n"
            "  budget: 0.17%\ntrain:\n  epochs: 3\n");
    (void)fputs(".fi\n.SH SEE ALSO\n\\fBunmask\\-train\\fR(1)\n", to);
}
