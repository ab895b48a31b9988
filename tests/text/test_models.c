/*
 * Byte-pair encoding, Unigram, WordLevel, their pre-tokenizers and decoders, on tokenizers that
 * stand in this file. The expected ids and texts are those of Hugging Face `tokenizers` 0.23.
 */
#include "test.h"

#include <pthread.h>

#include "base/str.h"
#include "text/tokenizer.h"

#define VOCAB                                                                                      \
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\\u0120\":5,\"\\u0120a\":6,"          \
    "\"\\u00c3\":7,\"\\u00a9\":8,\"\\u010a\":9,\"1\":10,\"2\":11,\"<unk>\":12,\"\\u2581\":13,"     \
    "\"\\u2581a\":14,\"<0xC3>\":15,\"<0xA9>\":16,\"'\":17,\"s\":18,\"bc\":19}"
#define MERGES                                                                                     \
    "\"merges\":[[\"a\",\"b\"],[\"ab\",\"c\"],[\"\\u0120\",\"a\"],[\"\\u2581\",\"a\"],[\"b\","     \
    "\"c\"]]"
#define BPE(options) "\"model\":{\"type\":\"BPE\"," options VOCAB "," MERGES "}"
#define BYTE_LEVEL(blank, regex)                                                                   \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" blank ",\"use_regex\":" regex "}"
#define METASPACE(scheme, split)                                                                   \
    "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"" scheme             \
    "\",\"split\":" split "}"
#define BOTH(part) "\"pre_tokenizer\":" part ",\"decoder\":" part ","
#define MARK       "\\u2581"

static const struct {
    const char *json, *text, *ids, *decoded;
} cases[] = {
    {"{" BOTH(BYTE_LEVEL("false", "true")) BPE("") "}", "abc abca", "4 5 4 0", "abc abca"},
    {"{" BOTH(BYTE_LEVEL("false", "true")) BPE("") "}", "\xc3\xa9\n", "7 8 9", "\xc3\xa9\n"},
    {"{" BOTH(BYTE_LEVEL("false", "true")) BPE("") "}", " a'sb", "6 17 18 1", " a'sb"},
    {"{" BOTH(BYTE_LEVEL("true", "true")) BPE("") "}", "abc", "5 4", " abc"},
    {"{" BOTH(BYTE_LEVEL("true", "true")) BPE("") "}", " a", "6", " a"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
     "\"pattern\":{\"Regex\":\"\\\\p{N}\"},\"behavior\":\"Isolated\"}," BYTE_LEVEL(
         "false", "false") "]},\"decoder\":" BYTE_LEVEL("false", "false") "," BPE("") "}",
     "ab12c", "3 10 11 2", "ab12c"},
    {"{" BPE("") "}", "zabzz", "3", "ab"},
    {"{" BPE("\"unk_token\":\"<unk>\",") "}", "zabzz", "12 3 12 12", "<unk> ab <unk> <unk>"},
    {"{" BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,") "}", "zabzz", "12 3 12",
     "<unk> ab <unk>"},
    {"{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
     "{\"type\":\"Fuse\"}]}," BPE("\"unk_token\":\"<unk>\",\"byte_fallback\":true,") "}",
     "a\xc3\xa9z", "0 15 16 12", "a\xc3\xa9<unk>"},
    {"{\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"merges\":[\"b c\"]," VOCAB "}}", "abc",
     "4", "abc"},
    {"{\"model\":{\"type\":\"BPE\",\"merges\":[\"b c\",\"a b\"]," VOCAB "}}", "abc", "0 19",
     "a bc"},
    {"{" BOTH(METASPACE("always", "true")) BPE("") "}", "a ab", "14 13 3", "a ab"},
    {"{" BOTH(METASPACE("always", "true")) BPE("") "}", "  a", "13 14", " a"},
    {"{" BOTH(METASPACE("never", "false")) BPE("") "}", "a a", "0 14", "a a"},
    {"{" BOTH(METASPACE("first", "true")) "\"added_tokens\":[{\"id\":20,\"content\":\"<x>\","
                                          "\"special\":true,\"normalized\":false}]," BPE("") "}",
     "a<x>a", "14 20 0", "aa"},
    {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
     "\"" MARK "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK
     "\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
     "{\"String\":\"" MARK "\"},\"content\":\" \"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
     "\"content\":\" \",\"start\":1,\"stop\":0}]}," BPE("") "}",
     " a", "13 14", " a"},
    {"{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"decoder\":{\"type\":\"BPEDecoder\","
     "\"suffix\":\"</w>\"},\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":"
     "{\"a\":0,\"b</w>\":1,\"ab</w>\":2,\"a</w>\":3},\"merges\":[\"a b</w>\"]}}",
     "ab a", "2 3", "ab a"},
    {"{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"BPE\","
     "\"continuing_subword_prefix\":\"##\",\"vocab\":{\"a\":0,\"##b\":1,\"ab\":2},"
     "\"merges\":[\"a ##b\"]}}",
     "ab abb", "2 2 1", "ab ab ##b"},
    {"{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\","
     "\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\","
     "\"vocab\":{\"?\":0,\"a\":1,\"##b\":2,\",\":3,\"'\":4,\"s\":5}}}",
     "ab, a's", "1 2 3 1 4 5", "ab, a ' s"},
    {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"model\":{\"type\":\"WordLevel\","
     "\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1}}}",
     "a b a", "1 0 1", "a ? a"},
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1],[\"b\",-1.5],"
     "[\"ab\",-2]]}}",
     "abzza", "3 0 1", "ab ? a"},
};

static struct um_tokenizer *parse(const char *json)
{
    struct um_error err;
    struct um_tokenizer *tokenizer;
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, json, strlen(json), "test", &err), err);
    return tokenizer;
}

static void encode(struct um_tokens *tokens, const struct um_tokenizer *tokenizer, const char *text)
{
    struct um_error err;
    assert_ok(um_tokenizer_encode(tokens, tokenizer, text, strlen(text), NULL, 0, true, 0, &err),
              err);
}

/* All ids at once, or one by one. */
static void decode(struct um_str *out, const struct um_tokenizer *tokenizer,
                   const struct um_tokens *tokens, size_t step)
{
    struct um_error err;
    struct um_decoder *decoder;
    const char *text;
    size_t n;
    assert_ok(um_decoder_new(&decoder, tokenizer, true, &err), err);
    um_str_clear(out);
    for (size_t i = 0; i < tokens->n; i += step) {
        assert_ok(um_decoder_put(&text, &n, decoder, tokens->ids + i, step, &err), err);
        um_str_add_n(out, text, n);
    }
    assert_ok(um_decoder_end(&text, &n, decoder, &err), err);
    um_str_add_n(out, text, n);
    um_decoder_free(decoder);
}

static void test_ids_and_texts(void **state)
{
    (void)state;
    struct um_tokens tokens = {0}; /* shared: its scratch must notice another tokenizer */
    struct um_str got = {0};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_tokenizer *tokenizer = parse(cases[i].json);
        for (int again = 0; again < 2; again++) { /* the second time from the cache of words */
            encode(&tokens, tokenizer, cases[i].text);
            um_str_clear(&got);
            um_str_add(&got, "");
            for (size_t k = 0; k < tokens.n; k++)
                um_str_addf(&got, "%s%d", k ? " " : "", (int)tokens.ids[k]);
            assert_string_equal(got.text, cases[i].ids);
        }
        decode(&got, tokenizer, &tokens, tokens.n);
        assert_string_equal(got.text, cases[i].decoded);
        decode(&got, tokenizer, &tokens, 1);
        assert_string_equal(got.text, cases[i].decoded);
        um_tokenizer_free(tokenizer);
    }
    um_str_free(&got);
    um_tokens_free(&tokens);
}

static void test_half_a_character_is_held_back(void **state)
{
    (void)state;
    struct um_tokenizer *tokenizer = parse("{" BOTH(BYTE_LEVEL("false", "true")) BPE("") "}");
    struct um_error err;
    struct um_decoder *decoder;
    const char *text;
    size_t n;
    assert_ok(um_decoder_new(&decoder, tokenizer, false, &err), err);
    assert_ok(um_decoder_put(&text, &n, decoder, (int32_t[]){0, 7}, 2, &err), err);
    assert_int_equal(n, 0);
    assert_ok(um_decoder_put(&text, &n, decoder, (int32_t[]){8}, 1, &err), err);
    assert_string_equal(text, "a\xc3\xa9");
    assert_ok(um_decoder_put(&text, &n, decoder, (int32_t[]){7}, 1, &err), err);
    assert_int_equal(n, 0);
    assert_ok(um_decoder_end(&text, &n, decoder, &err), err);
    assert_string_equal(text, "\xef\xbf\xbd");
    assert_ok(um_decoder_put(&text, &n, decoder, (int32_t[]){-5, 3, 999}, 3, &err), err);
    assert_string_equal(text, "ab");
    um_decoder_free(decoder);
    um_tokenizer_free(tokenizer);
}

/* Runs of one character, where the order of merges matters most: first all pairs from the left,
 * then pairs of pairs, then what is left over. */
static void test_long_word_merges_in_order(void **state)
{
    (void)state;
    struct um_tokenizer *tokenizer =
        parse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2,\"aaa\":3},"
              "\"merges\":[\"a a\",\"aa aa\",\"aa a\"]}}");
    static const int32_t rest[] = {0, 0, 1, 3};
    struct um_tokens tokens = {0};
    for (size_t n = 1; n < 200; n++) {
        char text[200];
        memset(text, 'a', n);
        text[n] = '\0';
        encode(&tokens, tokenizer, text);
        size_t k = 0;
        for (; k < n / 4; k++)
            assert_int_equal(tokens.ids[k], 2);
        if (n % 4)
            assert_int_equal(tokens.ids[k++], rest[n % 4]);
        assert_int_equal(tokens.n, k);
    }
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

enum { N_THREADS = 4, N_ROUNDS = 200 };

/* Encodes the same words again and again; returns NULL if the ids are always the same. */
static void *encode_often(void *tokenizer)
{
    static const int32_t expected[] = {4, 5, 4, 0};
    struct um_tokens tokens = {0};
    struct um_error err;
    const char *fault = NULL;
    for (int i = 0; i < N_ROUNDS && !fault; i++) {
        if (um_tokenizer_encode(&tokens, tokenizer, "abc abca", 8, NULL, 0, true, 0, &err) != UM_OK)
            fault = "an encoding failed";
        else if (tokens.n != UM_COUNT(expected) ||
                 memcmp(tokens.ids, expected, sizeof(expected)) != 0)
            fault = "other ids";
    }
    um_tokens_free(&tokens);
    return (void *)(uintptr_t)fault;
}

static void test_threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct um_tokenizer *tokenizer = parse("{" BOTH(BYTE_LEVEL("false", "true")) BPE("") "}");
    pthread_t threads[N_THREADS];
    void *fault;
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, tokenizer), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &fault), 0);
        assert_null(fault);
    }
    um_tokenizer_free(tokenizer);
}

static void test_malformed_models(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } faults[] = {
        {"{\"model\":{\"type\":\"BPE\"," VOCAB "}}", "model.merges is not a list"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[\"a\"]," VOCAB "}}", "blank between"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[\"a b c\"]," VOCAB "}}", "blank between"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[\"a q\"]," VOCAB "}}", "needs 'q'"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[\"c a\"]," VOCAB "}}", "gives 'ca'"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[[\"a\"]]," VOCAB "}}", "a pair of texts"},
        {"{" BPE("\"unk_token\":\"none\",") "}", "unk_token 'none' is not in the vocabulary"},
        {"{" BPE("\"dropout\":0.1,") "}", "dropout"},
        {"{\"decoder\":{\"type\":\"Odd\"}," BPE("") "}", "unknown decoder 'Odd'"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "[token, score]"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", "expected"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":4,\"vocab\":[[\"a\",1]]}}", "unk_id is 4"},
        {"{\"pre_tokenizer\":" METASPACE("odd", "true") "," BPE("") "}", "prepend_scheme"},
    };
    for (size_t i = 0; i < UM_COUNT(faults); i++) {
        struct um_error err;
        struct um_tokenizer *t;
        assert_ok(um_tokenizer_new(&t, &err), err);
        assert_fails(
            um_tokenizer_parse_json(t, faults[i].json, strlen(faults[i].json), "test", &err),
            UM_E_INPUT, faults[i].message, err);
        um_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_texts),
        cmocka_unit_test(test_half_a_character_is_held_back),
        cmocka_unit_test(test_long_word_merges_in_order),
        cmocka_unit_test(test_threads_share_a_tokenizer),
        cmocka_unit_test(test_malformed_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
