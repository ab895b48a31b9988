/* Texts given word by word against Hugging Face `tokenizers` (golden/tokenizer/words.txt,
 * oracle/make_words_golden.py). */
#include "test.h"

#include "base/file.h"
#include "data/words.h"
#include "text/tokenizer.h"

enum { WORDS_MAX = 64 };

/* The numbers of a field, which are n. */
static void assert_numbers(const char *field, int64_t (*number)(const void *of, size_t i),
                           const void *of, size_t n, const char *line)
{
    char *at = (char *)(uintptr_t)field;
    for (size_t i = 0; i < n; i++) {
        char *before = at;
        long long expected = strtoll(at, &at, 10);
        if (at == before || number(of, i) != expected)
            fail_msg("number %zu is %lld, of: %s", i, (long long)number(of, i), line);
    }
    assert_true(*at == '\t' || *at == '\n' || *at == '\0');
}

static int64_t id_at(const void *of, size_t i)
{
    return ((const struct um_tokens *)of)->ids[i];
}

static int64_t first_at(const void *of, size_t i)
{
    return ((const struct um_word *)of)[i].first;
}

static void check_line(struct um_tokens *tokens, const struct um_tokenizer *tokenizer,
                       const char *line)
{
    struct um_word words[WORDS_MAX];
    struct um_error err;
    char *text;
    long long max_length = strtoll(line, &text, 10);
    const char *ids = strchr(text + 1, '\t'), *first = ids ? strchr(ids + 1, '\t') : NULL;
    assert_non_null(first);
    size_t n = 0;
    struct um_words walk = um_words(text + 1, (size_t)(ids - text - 1), false);
    while (um_words_next(&words[n].text, &words[n].n, &walk))
        assert_true(++n < WORDS_MAX);
    assert_ok(um_tokenizer_encode_words(tokens, tokenizer, words, n, max_length, &err), err);
    assert_numbers(ids + 1, id_at, tokens, tokens->n, line);
    assert_numbers(first + 1, first_at, words, n, line);
}

static void test_equal_to_tokenizers(void **state)
{
    (void)state;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    struct um_error err;
    char line[8192];
    int n_lines = 0;
    FILE *file = fopen(GOLDEN_DIR "/tokenizer/words.txt", "r");
    assert_non_null(file);
    assert_ok(um_tokenizer_open(&tokenizer, GOLDEN_DIR "/models/bert_cls/model", &err), err);
    for (; fgets(line, sizeof(line), file); n_lines++)
        check_line(&tokens, tokenizer, line);
    (void)fclose(file);
    assert_int_equal(n_lines, 200);
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

static void test_too_short_a_limit(void **state)
{
    (void)state;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    struct um_word word = {.text = "ba", .n = 2};
    struct um_error err;
    assert_ok(um_tokenizer_open(&tokenizer, GOLDEN_DIR "/models/bert_cls/model", &err), err);
    assert_fails(um_tokenizer_encode_words(&tokens, tokenizer, &word, 1, 1, &err), UM_E_USAGE,
                 "max_length is 1", err);
    assert_ok(um_tokenizer_encode_words(&tokens, tokenizer, &word, 1, 2, &err), err);
    assert_int_equal(word.first, -1);
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_to_tokenizers),
        cmocka_unit_test(test_too_short_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
