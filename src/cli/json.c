/* JSON to standard output: the little that reports need. */
#include <math.h>
#include <string.h>

#include "cli.h"

static int depth;
static bool has_member[8]; /* at each depth: whether a comma comes first */

/* Comma, line, indentation and key of the next value. */
static void begin(const char *key)
{
    if (depth > 0)
        printf("%s\n%*s", has_member[depth] ? "," : "", 2 * depth, "");
    has_member[depth] = true;
    if (key)
        printf("\"%s\": ", key);
}

void cli_json_open(const char *key, char bracket)
{
    begin(key);
    (void)putchar(bracket);
    has_member[++depth] = false;
}

void cli_json_close(char bracket)
{
    depth--;
    if (has_member[depth + 1])
        printf("\n%*s", 2 * depth, "");
    (void)putchar(bracket);
    if (depth == 0) {
        (void)putchar('\n');
        has_member[0] = false;
    }
}

void cli_json_literal(const char *text, size_t n)
{
    (void)putchar('"');
    for (const char *c = text; c < text + n; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c == '\n')
            printf("\\n");
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            printf("\\u%04x", (unsigned)*c);
        else
            (void)putchar(*c);
    }
    (void)putchar('"');
}

void cli_json_text_n(const char *key, const char *text, size_t n)
{
    begin(key);
    cli_json_literal(text, n);
}

void cli_json_text(const char *key, const char *text)
{
    begin(key);
    if (!text) {
        printf("null");
        return;
    }
    cli_json_literal(text, strlen(text));
}

void cli_json_integer(const char *key, int64_t value)
{
    begin(key);
    printf("%lld", (long long)value);
}

void cli_json_real(const char *key, double value)
{
    begin(key);
    if (isfinite(value))
        printf("%.10g", value);
    else
        printf("null");
}

void cli_json_bool(const char *key, bool value)
{
    begin(key);
    printf(value ? "true" : "false");
}
