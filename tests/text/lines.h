/*
 * Lines to tokenize, the same in oracle/make_tokenizer_golden.py:
 *  - real ones: GLUE's files in SHARED_DIR (every line of dev.tsv, every 64th of train.tsv), and
 *    names in more than 100 languages from the catalogues of Debian's iso-codes;
 *  - generated ones, by a generator that needs nothing but integers: many scripts, code, emoji, odd
 *    white space.
 */
#ifndef UM_TEST_LINES_H
#define UM_TEST_LINES_H

#include <glob.h>

#include "base/file.h"
#include "text/unicode.h"

typedef void line_fn(const char *line, size_t n, void *user);

static inline uint64_t fnv1a(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#define FNV_START UINT64_C(0xcbf29ce484222325)

/* Every `every`-th line of a text file. */
static inline bool read_lines(const char *path, size_t every, line_fn *visit, void *user)
{
    struct um_error err;
    char *text;
    size_t n, count = 0;
    if (!um_path_exists(path) || um_file_read(&text, &n, path, &err) != UM_OK)
        return false;
    for (char *line = text, *end = text + n; line < end; count++) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        if (count % every == 0)
            visit(line, (size_t)(stop - line), user);
        line = stop + 1;
    }
    um_free(text);
    return true;
}

static inline bool read_glue_lines(line_fn *visit, void *user)
{
    static const char *const tasks[] = {"CoLA", "MRPC", "RTE", "SST-2", "STS-B"};
    bool is_there = true;
    for (size_t i = 0; i < UM_COUNT(tasks); i++) {
        char path[1024];
        (void)snprintf(path, sizeof(path), "%s/data/glue/%s/dev.tsv", SHARED_DIR, tasks[i]);
        is_there = read_lines(path, 1, visit, user) && is_there;
        (void)snprintf(path, sizeof(path), "%s/data/glue/%s/train.tsv", SHARED_DIR, tasks[i]);
        is_there = read_lines(path, 64, visit, user) && is_there;
    }
    return is_there;
}

static inline uint32_t mo_word(const unsigned char *bytes, size_t at)
{
    uint32_t word;
    memcpy(&word, bytes + at, sizeof(word));
    return word;
}

/* The translations in a catalogue of GNU gettext: magic, revision, count, and where the tables of
 * (length, offset) of originals and translations are. One in 32 of the short ones, by hash. */
static inline void read_catalogue(const char *path, line_fn *visit, void *user)
{
    struct um_map map;
    struct um_error err;
    if (um_map_open(&map, path, &err) != UM_OK)
        return;
    const unsigned char *b = map.bytes;
    if (map.n_bytes > 28 && mo_word(b, 0) == 0x950412de) {
        uint32_t n = mo_word(b, 8), table = mo_word(b, 16);
        for (uint32_t i = 1; i < n && table + 8 * (size_t)i + 8 <= map.n_bytes; i++) {
            uint32_t length = mo_word(b, table + 8 * (size_t)i);
            uint32_t offset = mo_word(b, table + 8 * (size_t)i + 4);
            if ((size_t)offset + length <= map.n_bytes && length < 256 &&
                fnv1a(FNV_START, b + offset, length) >> 59 == 0)
                visit((const char *)b + offset, length, user);
        }
    }
    um_map_close(&map);
}

static inline bool read_names(line_fn *visit, void *user)
{
    static const char *const catalogues[] = {"iso_639-2",  "iso_639-3", "iso_639-5", "iso_3166-1",
                                             "iso_3166-2", "iso_15924", "iso_4217"};
    bool is_there = false;
    for (size_t i = 0; i < UM_COUNT(catalogues); i++) {
        char pattern[256];
        glob_t found;
        (void)snprintf(pattern, sizeof(pattern), "/usr/share/locale/*/LC_MESSAGES/%s.mo",
                       catalogues[i]);
        if (glob(pattern, 0, NULL, &found) == 0) {
            is_there = true;
            for (size_t k = 0; k < found.gl_pathc; k++)
                read_catalogue(found.gl_pathv[k], visit, user);
            globfree(&found);
        }
    }
    return is_there;
}

/* Knuth's MMIX generator; the high bits are used. */
static inline uint32_t next_random(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

/* What generated lines are made of: ranges of code points, and fragments. */
static const uint32_t line_scripts[][2] = {
    {0x20, 0x7e},       {0x61, 0x7a},      {0x41, 0x5a},       {0x30, 0x39},
    {0xa1, 0xff},       {0x100, 0x17f},    {0x391, 0x3a1},     {0x3b1, 0x3c9},
    {0x410, 0x44f},     {0x5d0, 0x5ea},    {0x621, 0x63a},     {0x660, 0x669},
    {0x905, 0x939},     {0x93e, 0x94d},    {0xe01, 0xe2e},     {0x1100, 0x1112},
    {0x1e00, 0x1eff},   {0x2010, 0x2027},  {0x2190, 0x21ff},   {0x2460, 0x24ff},
    {0x3041, 0x3093},   {0x30a1, 0x30f3},  {0x4e00, 0x4fff},   {0xac00, 0xacff},
    {0xff01, 0xff5e},   {0x300, 0x314},    {0x1f600, 0x1f64f}, {0x1f300, 0x1f320},
    {0x1d400, 0x1d433}, {0x20000, 0x20010}};
static const char *const line_fragments[] = {" ",
                                             " ",
                                             " ",
                                             " ",
                                             "  ",
                                             "   ",
                                             "\t",
                                             "\r\n",
                                             "\n",
                                             "\n\n",
                                             "\xc2\xa0",
                                             "\xe3\x80\x80",
                                             "\xe2\x80\x8b",
                                             "\xe2\x80\x8d",
                                             "\xef\xb8\x8f",
                                             "'s",
                                             "'LL",
                                             "don't",
                                             "I'm",
                                             "the",
                                             "ing",
                                             "hello world",
                                             "for (int i = 0; i < n; i++) {",
                                             "return x;",
                                             "}\n",
                                             "def f(a, *b):\n    ",
                                             "    ",
                                             "<html>",
                                             "https://example.org/a?b=c&d=%20",
                                             "3.14159",
                                             "1,000,000",
                                             "--",
                                             "...",
                                             "!!!",
                                             "==",
                                             "#include <stdio.h>",
                                             "\\n",
                                             "\"",
                                             "\xe2\x96\x81",
                                             "caf\xc3\xa9",
                                             "cafe\xcc\x81",
                                             "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
                                             "\xc4\xb0",
                                             "\xef\xac\x81",
                                             "<s>",
                                             "[MASK]",
                                             "<|im_start|>",
                                             "<unk>",
                                             "\x01",
                                             "\xef\xbb\xbf",
                                             "\xc2\x85",
                                             "\xe2\x80\xa8"};

/* Line number `index` of the generator. */
static inline void generate_line(struct um_str *line, uint64_t index)
{
    uint64_t state = index * UINT64_C(0x9e3779b97f4a7c15) + 1;
    um_str_clear(line);
    um_str_add(line, "");
    for (uint32_t n_parts = 1 + next_random(&state, 12); n_parts > 0; n_parts--) {
        if (next_random(&state, 2)) {
            um_str_add(line, line_fragments[next_random(&state, UM_COUNT(line_fragments))]);
            continue;
        }
        const uint32_t *script = line_scripts[next_random(&state, UM_COUNT(line_scripts))];
        for (uint32_t n = 1 + next_random(&state, 9); n > 0; n--)
            um_text_put(line, script[0] + next_random(&state, script[1] - script[0] + 1));
    }
}

#endif
