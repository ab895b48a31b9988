/*
 * BertNormalizer: in this order, drops control characters and makes all white space a blank, sets
 * CJK characters apart by blanks, removes accents (by default if it lowercases), lowercases. All in
 * one pass over runs: ASCII directly, other runs by code point.
 */
#include <string.h>

#include "text/normalizer_private.h"

struct bert {
    bool cleans, splits_chinese, strips_accents, lowers;
    char ascii[128]; /* what becomes of each ASCII character; '\0': dropped */
};

/* White space for this normalizer; tab, line feed and carriage return are not control here. */
static bool is_space(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || um_is_space(c);
}

static bool is_dropped(uint32_t c)
{
    return c == 0 || c == 0xfffd || (um_is_other(c) && c != '\t' && c != '\n' && c != '\r');
}

static char map_ascii(const struct bert *bert, char c)
{
    if (bert->cleans && is_dropped((unsigned char)c))
        return '\0';
    if (bert->cleans && is_space((unsigned char)c))
        return ' ';
    return bert->lowers && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct bert *bert = um_options_new(options, loader, sizeof(*bert), err);
    if (!bert)
        return UM_E_RUNTIME;
    bert->cleans = bert->splits_chinese = bert->lowers = true;
    UM_RETURN_IF(um_json_get_bool(&bert->cleans, json, "clean_text", loader->where, err));
    UM_RETURN_IF(
        um_json_get_bool(&bert->splits_chinese, json, "handle_chinese_chars", loader->where, err));
    UM_RETURN_IF(um_json_get_bool(&bert->lowers, json, "lowercase", loader->where, err));
    bert->strips_accents = bert->lowers;
    UM_RETURN_IF(
        um_json_get_bool(&bert->strips_accents, json, "strip_accents", loader->where, err));
    for (int c = 1; c < 128; c++)
        bert->ascii[c] = map_ascii(bert, (char)c);
    return UM_OK;
}

/* Code points of a run, cleaned and with blanks around CJK ones, in UTF-8. */
static void clean_run(struct um_str *out, const struct bert *bert, const char *text, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = um_utf8_decode(&length, text + i);
        if (bert->cleans && is_dropped(c))
            continue;
        if (bert->cleans && is_space(c))
            c = ' ';
        bool is_apart = bert->splits_chinese && um_is_chinese(c);
        if (is_apart)
            um_text_put(out, ' ');
        um_text_put(out, c);
        if (is_apart)
            um_text_put(out, ' ');
    }
}

/* Appends a run's code points without accents and in lower case, as asked. */
static void fold_run(struct um_str *out, const struct bert *bert, const char *text, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = um_utf8_decode(&length, text + i);
        if (bert->strips_accents && um_is_mark_nonspacing(c))
            continue;
        if (bert->lowers)
            um_text_put_lower(out, c);
        else
            um_text_put(out, c);
    }
}

/* A run without ASCII. Decomposition reorders within a run only: ASCII characters are starters. */
static void put_run(struct um_scratch *s, const struct bert *bert, const char *text, size_t n)
{
    struct um_str *cleaned = &s->run[0], *decomposed = &s->run[1];
    um_str_clear(cleaned);
    clean_run(cleaned, bert, text, n);
    if (!cleaned->length)
        return;
    if (bert->strips_accents) {
        um_str_clear(decomposed);
        um_text_put_normal(decomposed, &s->code_points, cleaned->text, cleaned->length, UM_NFD);
        cleaned = decomposed;
    }
    if (!cleaned->failed)
        fold_run(&s->spare, bert, cleaned->text, cleaned->length);
    s->spare.failed |= cleaned->failed;
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    const struct bert *bert = options;
    const char *text = s->text.text;
    size_t n = s->text.length, start;
    for (size_t i = 0; i < n;) {
        if (!um_text_room(&s->spare, n - i))
            break;
        char *out = s->spare.text + s->spare.length;
        for (; i < n && um_is_ascii(text[i]); i++) {
            *out = bert->ascii[(unsigned char)text[i]];
            out += *out || (!text[i] && !bert->cleans);
        }
        s->spare.length = (size_t)(out - s->spare.text);
        for (start = i; i < n && !um_is_ascii(text[i]);)
            i++;
        if (i > start)
            put_run(s, bert, text + start, i - start);
    }
    return um_scratch_rewritten(s, err);
}

const struct um_kind um_normalizer_bert = {.type = "BertNormalizer",
                                           .summary =
                                               "cleans, sets CJK apart, strips accents, lowercases",
                                           .parse = parse,
                                           .run = run};
