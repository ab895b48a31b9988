/* Answers in texts, found by one scan. */
#include "data/answer.h"

#include <math.h>
#include <string.h>

static const char letters[] = "ABCDE";

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The first place from `at` on that is no comma; n if there is none. */
static size_t skip_commas(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] == ',')
        at++;
    return at;
}

static size_t skip_digits(const char *text, size_t n, size_t at)
{
    while (at < n && (is_digit(text[at]) || text[at] == ','))
        at++;
    return at;
}

/* The last number of the text, text[*start..*end) with commas in it; false if there is none. A
 * minus sign belongs to it if it stands right before its first digit. */
static bool find_last_number(size_t *start, size_t *end, const char *text, size_t n)
{
    bool is_found = false;
    for (size_t at = 0; at < n;) {
        size_t first = text[at] == '-' ? skip_commas(text, n, at + 1) : at;
        if (first >= n || !is_digit(text[first])) {
            at++;
            continue;
        }
        *start = at;
        at = skip_digits(text, n, first);
        if (at < n && text[at] == '.')
            at = skip_digits(text, n, at + 1);
        *end = at;
        is_found = true;
    }
    return is_found;
}

static enum um_status find_number(struct um_found *found, const char *text, size_t n,
                                  struct um_error *err)
{
    size_t start, end;
    struct um_str number = {0};
    if (!find_last_number(&start, &end, text, n))
        return UM_OK;
    for (size_t i = start; i < end; i++)
        if (text[i] != ',')
            um_str_add_n(&number, text + i, 1);
    if (number.failed) {
        um_str_free(&number);
        return um_fail_memory(err, "an answer", end - start);
    }
    found->is_there = um_parse_f64(&found->number, number.text);
    um_str_free(&number);
    return UM_OK;
}

enum um_status um_answer_find(struct um_found *found, enum um_answer rule, const char *text,
                              size_t n, struct um_error *err)
{
    *found = (struct um_found){0};
    if (rule == UM_ANSWER_NUMBER)
        return find_number(found, text, n, err);
    for (size_t i = 0; i < n && !found->is_there; i++) {
        found->is_there = memchr(letters, text[i], sizeof(letters) - 1) != NULL;
        found->letter = text[i];
    }
    return UM_OK;
}

enum um_status um_answer_truth(struct um_found *truth, enum um_answer rule,
                               const struct um_row *row, const char *path, struct um_error *err)
{
    *truth = (struct um_found){0};
    if (!row->answer)
        return um_fail(err, UM_E_INPUT, "%s:%lld: no 'answer', by which the row is to be scored",
                       path, (long long)row->line);
    if (rule == UM_ANSWER_NUMBER && um_parse_f64(&truth->number, row->answer))
        truth->is_there = true; /* in any notation, such as 1e3 */
    else
        UM_RETURN_IF(um_answer_find(truth, rule, row->answer, strlen(row->answer), err));
    if (truth->is_there)
        return UM_OK;
    return um_fail(err, UM_E_INPUT, "%s:%lld: answer '%.60s' has no %s", path, (long long)row->line,
                   row->answer, rule == UM_ANSWER_NUMBER ? "number" : "letter from A to E");
}

bool um_answer_is_right(const struct um_found *found, const struct um_found *truth,
                        enum um_answer rule)
{
    const double most = 0.001;
    if (!found->is_there)
        return false;
    return rule == UM_ANSWER_NUMBER ? fabs(truth->number - found->number) <= most
                                    : found->letter == truth->letter;
}
