/* Rows as tokens: a prompt's tokens are the same with its completion as without. */
#include "test.h"

#include "data/prose.h"
#include "text/tokenizer.h"

/* Two newlines, and a space with a letter, are one token wherever they meet. */
static const char tokenizer_json[] =
    "{\"version\":\"1.0\",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"Ċ\":2,\"ĊĊ\":3,"
    "\"Ġ\":4,\"Ġb\":5},\"merges\":[\"Ċ Ċ\",\"Ġ b\"]},"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"}}";

enum { END = 9 };

static const struct {
    const char *prompt, *completion;
    bool learns_all;
    size_t n;
    int32_t ids[8];
    const char *learnt; /* by token, 1 = learnt */
} rows[] = {
    {"a", "\n\nb", false, 4, {0, 3, 1, END}, "0111"},
    {"a\n", "b", false, 4, {0, 2, 1, END}, "0011"},
    {"a\n", "\nb", false, 5, {0, 2, 2, 1, END}, "00111"}, /* as a whole: 0 3 1 */
    {"a\n\n", "\n\nb", false, 5, {0, 3, 3, 1, END}, "00111"},
    {"a ", "b", false, 4, {0, 4, 1, END}, "0011"},        /* as a whole: 0 5 */
    {"a\n", "\nb", true, 5, {0, 2, 2, 1, END}, "11111"},
};

static void prompts_keep_their_tokens(void **state)
{
    struct um_tokenizer *tokenizer;
    struct um_prose prose = {0};
    struct um_marked marked = {0};
    struct um_error err;
    (void)state;
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, tokenizer_json, strlen(tokenizer_json),
                                      "tokenizer.json", &err),
              err);
    for (size_t r = 0; r < UM_COUNT(rows); r++) {
        const struct um_row row = {.text = rows[r].prompt,
                                   .n_text = strlen(rows[r].prompt),
                                   .completion = rows[r].completion,
                                   .n_completion = strlen(rows[r].completion)};
        const struct um_prose_options options = {.style = UM_STYLE_PROMPT,
                                                 .learns_all = rows[r].learns_all,
                                                 .end_id = END};
        assert_ok(um_prose_render(&prose, &row, &options, false, "rows", &err), err);
        assert_ok(um_prose_encode(&marked, &prose, tokenizer, END, &err), err);
        assert_int_equal(marked.n, rows[r].n);
        for (size_t i = 0; i < marked.n; i++) {
            assert_int_equal(marked.ids[i], rows[r].ids[i]);
            assert_int_equal(marked.learnt[i], rows[r].learnt[i] - '0');
        }
        /* What generation starts from is what training saw. */
        const struct um_tokens *prompt = &marked.part;
        size_t n_prompt = strcspn(rows[r].learnt, "1");
        assert_ok(um_tokenizer_encode(&marked.part, tokenizer, row.text, row.n_text, NULL, 0, true,
                                      0, &err),
                  err);
        assert_true(rows[r].learns_all || prompt->n == n_prompt);
        assert_memory_equal(prompt->ids, rows[r].ids, prompt->n * sizeof(*prompt->ids));
    }
    um_marked_free(&marked);
    um_prose_free(&prose);
    um_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prompts_keep_their_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
