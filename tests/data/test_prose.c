/* Rows as tokens: a prompt's tokens are the same with its completion as without. */
#include "test.h"

#include "data/prose.h"
#include "text/tokenizer.h"

/* Two newlines, and a space with a letter, are one token wherever they meet. */
static const char tokenizer_json[] =
    "{\"version\":\"1.0\",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"Ċ\":2,"
    "\"ĊĊ\":3,\"Ġ\":4,\"Ġb\":5},\"merges\":[\"Ċ Ċ\",\"Ġ b\"]},"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"}}";

/* SentencePiece's kind: a space before each text, two brackets are one token; an end of its own. */
static const char prefixing_json[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":9,\"content\":\"</s>\",\"special\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"▁\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}]},"
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"a\",\"vocab\":{\"▁\":0,"
    "\"a\":1,"
    "\"b\":2,\"▁b\":3,\"<0x0A>\":4,\"[\":5,\"[[\":6,\"</s>\":9},\"merges\":[\"[ [\",\"▁ b\"]},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\","
    "\"type_id\":"
    "0}},{\"SpecialToken\":{\"id\":\"</"
    "s>\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\""
    ":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],\"special_tokens\":{\"</s>\":{\"id\":\"</"
    "s>\",\"ids\""
    ":[9]}}}}";

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

static struct um_tokenizer *parse(const char *json)
{
    struct um_tokenizer *tokenizer;
    struct um_error err;
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, json, strlen(json), "tokenizer.json", &err), err);
    return tokenizer;
}

static void prompts_keep_their_tokens(void **state)
{
    struct um_tokenizer *tokenizer = parse(tokenizer_json);
    struct um_prose prose = {0};
    struct um_marked marked = {0};
    struct um_error err;
    (void)state;
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

/* A row as a training text, or as a prompt, in ids. */
static void assert_row(const struct um_tokenizer *tokenizer, const char *prompt,
                       const char *completion, size_t n, const int32_t *ids)
{
    struct um_prose prose = {0};
    struct um_marked marked = {0};
    struct um_error err;
    const struct um_row row = {.text = prompt, .n_text = strlen(prompt), .completion = completion,
                               .n_completion = completion ? strlen(completion) : 0};
    const struct um_prose_options options = {.style = UM_STYLE_PROMPT, .end_id = END};
    assert_ok(um_prose_render(&prose, &row, &options, completion == NULL, "rows", &err), err);
    assert_ok(um_prose_encode(&marked, &prose, tokenizer, END, &err), err);
    assert_int_equal(marked.n, n);
    assert_memory_equal(marked.ids, ids, n * sizeof(*ids));
    um_marked_free(&marked);
    um_prose_free(&prose);
}

/* A completion is no new text: no space comes before it. A prompt is to be gone on with: it has no
 * end. */
static void completions_are_joined_as_they_stand(void **state)
{
    struct um_tokenizer *tokenizer = parse(prefixing_json);
    (void)state;
    assert_row(tokenizer, "a[", "[b", 6, (const int32_t[]){0, 1, 5, 5, 2, END});
    assert_row(tokenizer, "a[", "[ b", 6, (const int32_t[]){0, 1, 5, 5, 3, END});
    assert_row(tokenizer, "a ", "b", 5, (const int32_t[]){0, 1, 0, 2, END});
    assert_row(tokenizer, "a", "b", 4, (const int32_t[]){0, 1, 2, END});
    assert_row(tokenizer, "a[", NULL, 3, (const int32_t[]){0, 1, 5});
    um_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prompts_keep_their_tokens),
                                       cmocka_unit_test(completions_are_joined_as_they_stand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
