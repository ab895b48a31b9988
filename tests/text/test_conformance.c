/*
 * Ids equal to those of Hugging Face `tokenizers` on real tokenizers and many thousand lines. The
 * golden files hold hashes only (oracle/make_tokenizer_golden.py); the lines come from lines.h.
 */
#include "test.h"

#include "lines.h"
#include "unmask.h"

enum {
    MAX_ROWS = 40000,
    PAIR_LENGTH = 48,
    MIN_REAL = 10000,
    MIN_PAIRS = 2500,
    MIN_MADE = 4000,
    BLOCK_LINES = 1000, /* generated lines behind the first MIN_MADE, by blocks */
    MIN_BLOCKS = 36
};

struct row {
    uint64_t key;
    uint32_t ids;
};

struct golden {
    struct section {
        char initial; /* of its name */
        struct row *rows;
        size_t n;
    } real, pairs, made, texts, blocks; /* parts of one array; real and pairs sorted by key */
};

struct check {
    const struct um_tokenizer *tokenizer;
    struct golden golden;
    struct um_tokens tokens;
    struct um_str before, joined;
    size_t n_real, n_pairs; /* compared */
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static void read_golden(struct golden *golden, const char *name)
{
    char path[1024], line[64];
    (void)snprintf(path, sizeof(path), "%s/tokenizer/%s.txt", GOLDEN_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    struct row *rows = calloc(MAX_ROWS, sizeof(*rows));
    assert_non_null(rows);
    *golden = (struct golden){
        {'r', rows, 0}, {'p', rows, 0}, {'m', rows, 0}, {'t', rows, 0}, {'b', rows, 0}};
    struct section *const sections[] = {&golden->real, &golden->pairs, &golden->made,
                                        &golden->texts, &golden->blocks};
    struct section *section = NULL;
    size_t n = 0;
    while (fgets(line, sizeof(line), file)) {
        for (size_t i = 0; line[0] == '[' && i < UM_COUNT(sections); i++) {
            if (sections[i]->initial == line[1])
                section = sections[i];
        }
        assert_non_null(section);
        if (line[0] == '[') {
            section->rows = rows + n;
            continue;
        }
        assert_true(n < MAX_ROWS);
        uint64_t value = strtoull(line, NULL, 16);
        rows[n++] = (struct row){.key = value >> 24, .ids = value & 0xffffff};
        section->n++;
    }
    (void)fclose(file);
    qsort(golden->real.rows, golden->real.n, sizeof(*rows), compare_rows);
    qsort(golden->pairs.rows, golden->pairs.n, sizeof(*rows), compare_rows);
}

static const struct row *find_row(const struct section *section, const char *line, size_t n)
{
    struct row wanted = {.key = fnv1a(FNV_START, line, n) >> 24};
    return bsearch(&wanted, section->rows, section->n, sizeof(wanted), compare_rows);
}

static void encode(struct check *check, const char *text, size_t n, const char *pair, size_t n_pair,
                   int64_t max_length)
{
    struct um_error err;
    assert_ok(um_tokenizer_encode(&check->tokens, check->tokenizer, text, n, pair, n_pair, true,
                                  max_length, &err),
              err);
}

static uint32_t hash_tokens(const struct um_tokens *tokens, bool with_types)
{
    uint64_t hash = fnv1a(FNV_START, tokens->ids, tokens->n * sizeof(*tokens->ids));
    if (with_types)
        hash = fnv1a(hash, tokens->types, tokens->n * sizeof(*tokens->types));
    return (uint32_t)(hash >> 40);
}

static void check_pair(struct check *check, const char *line, size_t n)
{
    um_str_clear(&check->joined);
    um_str_add_n(&check->joined, check->before.text, check->before.length);
    um_str_add(&check->joined, "\xff");
    um_str_add_n(&check->joined, line, n);
    const struct row *row =
        find_row(&check->golden.pairs, check->joined.text, check->joined.length);
    if (!row)
        return;
    encode(check, check->before.text, check->before.length, line, n, PAIR_LENGTH);
    assert_true(check->tokens.n <= PAIR_LENGTH);
    if (hash_tokens(&check->tokens, true) != row->ids)
        fail_msg("other ids for the pair '%s' and '%.*s'", check->before.text, (int)n, line);
    check->n_pairs++;
}

static void check_line(const char *line, size_t n, void *user)
{
    struct check *check = user;
    const struct row *row = find_row(&check->golden.real, line, n);
    if (!row)
        return; /* of another version of the data */
    encode(check, line, n, NULL, 0, 0);
    if (hash_tokens(&check->tokens, false) != row->ids)
        fail_msg("other ids for '%.*s'", (int)n, line);
    check->n_real++;
    if (check->before.text)
        check_pair(check, line, n);
    um_str_clear(&check->before);
    um_str_add_n(&check->before, line, n);
}

/* Decoding, `step` ids at a time; 0 = all at once. */
static void check_text(struct check *check, struct um_decoder *decoder, size_t index, size_t step)
{
    struct um_error err;
    const char *text;
    size_t n_text, n = check->tokens.n;
    uint64_t hash = FNV_START;
    for (size_t i = 0; i < n; i += step ? step : n) {
        size_t n_now = step && n - i > step ? step : n - i;
        assert_ok(um_decoder_put(&text, &n_text, decoder, check->tokens.ids + i, n_now, &err), err);
        hash = fnv1a(hash, text, n_text);
    }
    assert_ok(um_decoder_end(&text, &n_text, decoder, &err), err);
    hash = fnv1a(hash, text, n_text);
    if ((uint32_t)(hash >> 40) != check->golden.texts.rows[index].ids)
        fail_msg("another text from the ids of generated line %zu, %zu at a time", index, step);
}

static void check_made_lines(struct check *check)
{
    struct um_error err;
    struct um_str line = {0};
    struct um_decoder *decoder;
    const struct section *made = &check->golden.made;
    assert_true(made->n >= MIN_MADE);
    assert_int_equal(made->n, check->golden.texts.n);
    assert_ok(um_decoder_new(&decoder, check->tokenizer, true, &err), err);
    for (size_t i = 0; i < made->n; i++) {
        generate_line(&line, i);
        encode(check, line.text, line.length, NULL, 0, 0);
        if (hash_tokens(&check->tokens, false) != made->rows[i].ids)
            fail_msg("other ids for generated line %zu: '%s'", i, line.text);
        check_text(check, decoder, i, 0);
        check_text(check, decoder, i, 1 + i % 3);
    }
    um_decoder_free(decoder);
    um_str_free(&line);
}

/* Lines first, first + 1, ...: their ids, and the texts of those as they come. */
static void check_block(struct check *check, struct um_decoder *decoder, size_t first,
                        const struct row *expected)
{
    struct um_error err;
    struct um_str line = {0};
    const char *text;
    size_t n_text;
    uint64_t ids = FNV_START, texts = FNV_START;
    for (size_t i = first; i < first + BLOCK_LINES; i++) {
        generate_line(&line, i);
        encode(check, line.text, line.length, NULL, 0, 0);
        ids = fnv1a(ids, check->tokens.ids, check->tokens.n * sizeof(*check->tokens.ids));
        ids = fnv1a(ids, &(int32_t){-1}, sizeof(int32_t));
        for (size_t k = 0, n; k < check->tokens.n; k += n) {
            n = check->tokens.n - k < 1 + i % 5 ? check->tokens.n - k : 1 + i % 5;
            assert_ok(um_decoder_put(&text, &n_text, decoder, check->tokens.ids + k, n, &err), err);
            texts = fnv1a(texts, text, n_text);
        }
        assert_ok(um_decoder_end(&text, &n_text, decoder, &err), err);
        texts = fnv1a(fnv1a(texts, text, n_text), "\xff", 1);
    }
    um_str_free(&line);
    if (ids >> 40 != expected->key || texts >> 40 != expected->ids)
        fail_msg("other %s for one of the generated lines %zu to %zu",
                 ids >> 40 != expected->key ? "ids" : "text", first, first + BLOCK_LINES - 1);
}

static void check_blocks(struct check *check)
{
    struct um_error err;
    struct um_decoder *decoder;
    const struct section *blocks = &check->golden.blocks;
    assert_true(blocks->n >= MIN_BLOCKS);
    assert_ok(um_decoder_new(&decoder, check->tokenizer, true, &err), err);
    for (size_t i = 0; i < blocks->n; i++)
        check_block(check, decoder, MIN_MADE + i * BLOCK_LINES, &blocks->rows[i]);
    um_decoder_free(decoder);
}

/* `path` is a folder with tokenizer.json or a GGUF file. */
static void check_tokenizer(const char *path, const char *name)
{
    struct um_error err;
    struct um_tokenizer *tokenizer;
    struct check check = {0};
    if (!um_path_exists(path)) {
        printf("skipped: '%s' is not there\n", path);
        skip();
    }
    assert_ok(um_tokenizer_open(&tokenizer, path, &err), err);
    check.tokenizer = tokenizer;
    read_golden(&check.golden, name);
    check_made_lines(&check);
    check_blocks(&check);
    bool has_glue = read_glue_lines(check_line, &check);
    bool has_names = read_names(check_line, &check);
    printf("%s: %zu generated lines, %zu real lines, %zu pairs equal\n", name,
           check.golden.made.n + BLOCK_LINES * check.golden.blocks.n, check.n_real, check.n_pairs);
    free(check.golden.real.rows);
    um_str_free(&check.before);
    um_str_free(&check.joined);
    um_tokens_free(&check.tokens);
    um_tokenizer_free(tokenizer);
    if (!has_glue || !has_names) {
        printf("skipped: real lines, without '%s/data/glue' or the catalogues of iso-codes\n",
               SHARED_DIR);
        skip();
    }
    assert_true(check.n_real >= MIN_REAL);
    assert_true(check.n_pairs >= MIN_PAIRS);
}

#define TEST(function, path, name)                                                                 \
    static void function(void **state)                                                             \
    {                                                                                              \
        (void)state;                                                                               \
        check_tokenizer(path, name);                                                               \
    }

TEST(test_bert_uncased, SHARED_DIR "/tokenizers/bert-uncased", "bert-uncased")
TEST(test_llama2, SHARED_DIR "/tokenizers/llama2", "llama2")
TEST(test_llama3, SHARED_DIR "/tokenizers/llama3.1", "llama3.1")
TEST(test_qwen3, SHARED_DIR "/tokenizers/qwen3", "qwen3")
TEST(test_gemma3, SHARED_DIR "/tokenizers/gemma3", "gemma3")
TEST(test_unigram, GOLDEN_DIR "/tokenizer/unigram", "unigram")
TEST(test_gpt2, SHARED_DIR "/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf", "gpt2")

/* Its GGUF file is no part of the shared data: the environment says where it is. */
static void test_smollm2(void **state)
{
    (void)state;
    const char *path = getenv("UNMASK_TEST_SMOLLM2");
    if (!path) {
        printf("skipped: UNMASK_TEST_SMOLLM2 does not name SmolLM2's GGUF file\n");
        skip();
    }
    check_tokenizer(path, "smollm2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert_uncased), cmocka_unit_test(test_llama2),
        cmocka_unit_test(test_llama3),       cmocka_unit_test(test_qwen3),
        cmocka_unit_test(test_gemma3),       cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_gpt2),         cmocka_unit_test(test_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
