/*
 * Precompiled: SentencePiece's table of replacements (NFKC and more), in base64. Its bytes:
 *
 *   u32 size of the trie in bytes, the trie (a double array of u32, as in darts-clone), then the
 *   replacements, each ended by NUL, which the trie's values point at
 *
 * As the reference has it: a grapheme of less than six bytes is looked up whole, and the shortest
 * prefix that the trie knows replaces all of it; otherwise each code point is looked up.
 */
#include <string.h>

#include <utf8proc.h>

#include "text/normalizer_private.h"

enum { WHOLE_GRAPHEME_BYTES = 6 };

struct precompiled {
    const unsigned char *trie; /* n_units little-endian words */
    size_t n_units;
    const char *texts;
    size_t n_texts; /* bytes; the last one is NUL */
};

/* The value of a base64 digit, or -1. */
static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes up to the padding; false if a character is no base64. */
static bool decode_base64(unsigned char *out, size_t *n_out, const char *text)
{
    uint32_t bits = 0;
    int n_bits = 0;
    *n_out = 0;
    for (; *text && *text != '='; text++) {
        int digit = digit_of(*text);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[(*n_out)++] = (unsigned char)(bits >> n_bits);
        }
    }
    return true;
}

static uint32_t word_at(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct precompiled *table = um_options_new(options, loader, sizeof(*table), err);
    const char *base64 = "";
    if (!table)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_json_get_str(&base64, json, "precompiled_charsmap", loader->where, err));
    size_t n = strlen(base64), n_bytes = 0;
    unsigned char *bytes = um_arena_alloc(loader->arena, n + 1);
    if (!bytes)
        return um_fail_memory(err, loader->where, n);
    if (!decode_base64(bytes, &n_bytes, base64) || n_bytes < 4 || word_at(bytes) % 4 != 0 ||
        word_at(bytes) > n_bytes - 4)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': precompiled_charsmap is not a table of replacements in "
                       "base64",
                       loader->where);
    table->trie = bytes + 4;
    table->n_units = word_at(bytes) / 4;
    bytes[n_bytes] = '\0'; /* n + 1 bytes are there, and base64 shrinks */
    table->texts = (const char *)bytes + 4 + word_at(bytes);
    table->n_texts = n_bytes + 1 - 4 - word_at(bytes);
    return UM_OK;
}

/* Unit `index` of the double array; 0, which leads nowhere, outside of it. */
static uint32_t unit_at(const struct precompiled *table, size_t index)
{
    return index < table->n_units ? word_at(table->trie + 4 * index) : 0;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1U << 9) >> 6);
}

/* The replacement for the shortest prefix that has one; NULL if none has. */
static const char *find_replacement(const struct precompiled *table, const char *text, size_t n)
{
    size_t at = offset_of(unit_at(table, 0));
    for (size_t i = 0; i < n && text[i]; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        uint32_t unit = unit_at(table, at);
        if (at >= table->n_units || (unit & (1U << 31 | 0xff)) != byte)
            return NULL;
        at ^= offset_of(unit);
        if (unit >> 8 & 1) {
            size_t value = unit_at(table, at) & ~(1U << 31);
            return value < table->n_texts ? table->texts + value : NULL;
        }
    }
    return NULL;
}

static void put_grapheme(struct um_str *out, const struct precompiled *table, const char *text,
                         size_t n)
{
    const char *whole = n < WHOLE_GRAPHEME_BYTES ? find_replacement(table, text, n) : NULL;
    if (whole) {
        um_str_add(out, whole);
        return;
    }
    for (size_t i = 0, length; i < n; i += length) {
        length = um_utf8_length(text[i]);
        const char *replacement = find_replacement(table, text + i, length);
        if (replacement)
            um_str_add(out, replacement);
        else
            um_str_add_n(out, text + i, length);
    }
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    const char *text = s->text.text;
    size_t n = s->text.length, start = 0, length;
    int32_t before = 0, state = 0;
    for (size_t i = 0; i < n; i += length) {
        int32_t c = (int32_t)um_utf8_decode(&length, text + i);
        if (i > 0 && utf8proc_grapheme_break_stateful(before, c, &state)) {
            put_grapheme(&s->spare, options, text + start, i - start);
            start = i;
        }
        before = c;
    }
    if (n > 0)
        put_grapheme(&s->spare, options, text + start, n - start);
    return um_scratch_rewritten(s, err);
}

const struct um_kind um_normalizer_precompiled = {
    .type = "Precompiled",
    .summary = "SentencePiece's table of replacements",
    .parse = parse,
    .run = run,
};
