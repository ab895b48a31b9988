/*
 * The tokenizer pipeline on tokenizers that stand in this file: each stage, the template,
 * truncation, added tokens, and what malformed files are told. Expected ids were worked out by hand
 * from the stages' definitions.
 */
#include "test.h"

#include "base/file.h"
#include "text/tokenizer.h"

#define VOCAB                                                                                      \
    "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"un\":4,\"##mask\":5,\"##ing\":"  \
    "6,"                                                                                           \
    "\"!\":7,\"e\":8,\"mask\":9,\"a\":10,\"b\":11,\"1\":12,\"##2\":13,\"-\":14,\"\\u4e2d\":15,"    \
    "\"##a\":16,\"A\":17,\"ab\":18,\"##\":19,\"2\":20,"                                            \
    "\"<x>\":22,\"<xy>\":23,\"<l>\":24,\"<r>\":25,\"one\":26}"
#define MODEL "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\"," VOCAB "}"
#define TEMPLATE                                                                                   \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["                             \
    "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":" \
    "0}},"                                                                                         \
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":["                              \
    "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":" \
    "0}},"                                                                                         \
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":" \
    "1}},"                                                                                         \
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],\"special_tokens\":{"                    \
    "\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2]},\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[3]}}}"
#define BERT                                                                                       \
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":"                    \
    "\"BertPreTokenizer\"}"

static struct um_tokenizer *parse(const char *json)
{
    struct um_error err;
    struct um_tokenizer *tokenizer;
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, json, strlen(json), "test", &err), err);
    return tokenizer;
}

/* The ids of a text (special tokens and all) as "2 4 5 3". */
static void assert_ids(const struct um_tokenizer *tokenizer, const char *text, const char *expected)
{
    struct um_error err;
    struct um_tokens tokens = {0};
    struct um_str ids = {0};
    assert_ok(um_tokenizer_encode(&tokens, tokenizer, text, strlen(text), NULL, 0, true, 0, &err),
              err);
    um_str_add(&ids, "");
    for (size_t i = 0; i < tokens.n; i++)
        um_str_addf(&ids, "%s%d", i ? " " : "", (int)tokens.ids[i]);
    if (strcmp(ids.text, expected) != 0)
        fail_msg("'%s' gives %s, expected %s", text, ids.text, expected);
    um_str_free(&ids);
    um_tokens_free(&tokens);
}

static void test_bert_words_and_pieces(void **state)
{
    (void)state;
    struct um_tokenizer *t = parse("{" BERT "," MODEL "," TEMPLATE "}");
    assert_ids(t, "Unmasking!", "2 4 5 6 7 3");
    assert_ids(t, "", "2 3");
    assert_ids(t, " \t\n ", "2 3");
    assert_ids(t, "\xc3\x89", "2 8 3");  /* E with acute: accent stripped, lower case */
    assert_ids(t, "e\xcc\x81", "2 8 3"); /* the same, decomposed */
    assert_ids(t,
               "a\xe4\xb8\xad"
               "a",
               "2 10 15 10 3"); /* a CJK character stands alone */
    assert_ids(t,
               "a\x01\xef\xbf\xbd"
               "b",
               "2 18 3"); /* control characters are dropped */
    assert_ids(t, "un?", "2 4 1 3");
    assert_ids(t, "unq", "2 1 3"); /* one unknown piece makes the whole word unknown */
    um_tokenizer_free(t);
}

static void test_word_too_long_is_unknown(void **state)
{
    (void)state;
    struct um_tokenizer *t = parse(
        "{" BERT ",\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":3," VOCAB "}}");
    assert_ids(t, "aaa", "10 16 16");
    assert_ids(t, "aaaa", "1");
    um_tokenizer_free(t);
}

static void test_pair_types_and_truncation(void **state)
{
    (void)state;
    struct um_tokenizer *t = parse("{" BERT "," MODEL "," TEMPLATE "}");
    static const struct {
        int64_t max_length;
        int32_t n_first, n_second;
    } cases[] = {{0, 5, 2}, {10, 5, 2}, {9, 4, 2}, {7, 2, 2},
                 {6, 2, 1}, {5, 1, 1},  {4, 1, 0}, {3, 0, 0}};
    struct um_tokens tokens = {0};
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        assert_ok(um_tokenizer_encode(&tokens, t, "a b a b a", 9, "e !", 3, true,
                                      cases[i].max_length, &err),
                  err);
        int32_t n_types[2] = {0};
        for (size_t k = 0; k < tokens.n; k++)
            n_types[tokens.types[k]]++;
        assert_int_equal(n_types[0], cases[i].n_first + 2);
        assert_int_equal(n_types[1], cases[i].n_second + 1);
        assert_int_equal(tokens.n_truncated, 7 - cases[i].n_first - cases[i].n_second);
    }
    assert_ok(um_tokenizer_encode(&tokens, t, "a b", 3, NULL, 0, false, 1, &err), err);
    assert_int_equal(tokens.n, 1);
    assert_int_equal(tokens.n_truncated, 1);
    assert_fails(um_tokenizer_encode(&tokens, t, "a", 1, "b", 1, true, 2, &err), UM_E_USAGE,
                 "at least 3", err);
    um_tokens_free(&tokens);
    um_tokenizer_free(t);
}

static void test_added_tokens(void **state)
{
    (void)state;
    struct um_tokenizer *t =
        parse("{" BERT "," MODEL ",\"added_tokens\":["
              "{\"id\":22,\"content\":\"<x>\",\"normalized\":false},"
              "{\"id\":23,\"content\":\"<xy>\",\"normalized\":false},"
              "{\"id\":24,\"content\":\"<l>\",\"normalized\":false,\"lstrip\":true},"
              "{\"id\":25,\"content\":\"<r>\",\"normalized\":false,\"rstrip\":true},"
              "{\"id\":26,\"content\":\"one\",\"normalized\":false,\"single_word\":true},"
              "{\"id\":27,\"content\":\"UP\",\"normalized\":true},"
              "{\"id\":99,\"content\":\"[CLS]\",\"special\":true,\"normalized\":false}]}");
    assert_ids(t, "a<x>b", "10 22 11");
    assert_ids(t, "a<x", "10 1 1");
    assert_ids(t, "a<xy>b", "10 23 11");
    assert_ids(t, "a <l> b", "10 24 11");
    assert_ids(t, "a <r>  b", "10 25 11");
    assert_ids(t, "<r> <l>", "25 24");
    assert_ids(t, "one a", "26 10");
    assert_ids(t, "aone", "1");
    assert_ids(t, "one-one", "26 14 26");
    assert_ids(t, "onea one", "26 16 26"); /* the first by WordPiece */
    assert_ids(t, "a up UP", "10 27 27");  /* looked for in lower case */
    assert_ids(t, "<X>", "1 1 1");         /* looked for as it is */
    assert_ids(t, "[CLS] a", "2 10");      /* the vocabulary's id, not 99 */
    assert_ids(t, "a [cls]", "10 1 1 1");
    assert_int_equal(um_tokenizer_size(t), 28);
    assert_string_equal(um_tokenizer_token(t, 27), "UP");
    um_tokenizer_free(t);
}

static void test_malformed_files(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "line 1"},
        {"{\"model\":{", "line 1"},
        {"{}", "\"model\" is missing"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Odd\"}}",
         "unknown normalizer 'Odd'; known are: Bert"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Odd\"}}", "unknown pre_tokenizer 'Odd'"},
        {"{" MODEL ",\"pre_tokenizer\":{}}", "has no \"type\""},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////\"}}",
         "not a table"},
        {"{\"model\":{\"type\":\"Odd\"}}", "unknown model 'Odd'"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "'[UNK]' is not in the vocab"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":900000}}}", "large enough"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":-1}}}", "large enough"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\"\n:x}}}", "line 2"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"\\ud800\":1}}}", "a token in quotes"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":[]}}", "not an object"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},"
         "\"content\":\"\"}}",
         "regular expression '('"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Lowercase\"},\"added_tokens\":[{\"id\":-4,"
         "\"content\":\"zz\"}]}",
         "has the id -4"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
         "{\"SpecialToken\":{\"id\":\"X\",\"type_id\":0}}],\"pair\":[]}}",
         "does not define"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_error err;
        struct um_tokenizer *t;
        assert_ok(um_tokenizer_new(&t, &err), err);
        assert_fails(um_tokenizer_parse_json(t, cases[i].json, strlen(cases[i].json), "test", &err),
                     UM_E_INPUT, cases[i].message, err);
        um_tokenizer_free(t);
    }
}

static void test_invalid_utf8_is_refused(void **state)
{
    (void)state;
    struct um_tokenizer *t = parse("{" BERT "," MODEL "}");
    struct um_tokens tokens = {0};
    struct um_error err;
    assert_fails(um_tokenizer_encode(&tokens, t, "ab\xff", 3, NULL, 0, true, 0, &err), UM_E_INPUT,
                 "byte 2", err);
    um_tokens_free(&tokens);
    um_tokenizer_free(t);
}

/* A pre-tokenizer (or normalizer) in front of WordPiece, and what becomes of a text. */
static void test_small_parts(void **state)
{
    (void)state;
    static const struct {
        const char *part, *text, *expected;
    } cases[] = {
        {"\"pre_tokenizer\":{\"type\":\"Whitespace\"}", "a!! b", "10 1 11"},
        {"\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}", "a! b", "1 11"},
        {"\"pre_tokenizer\":{\"type\":\"Punctuation\"}", "a!!b", "10 7 7 11"},
        {"\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Removed\"}", "a!b", "10 11"},
        {"\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":true}", "a12", "10 12 20"},
        {"\"pre_tokenizer\":{\"type\":\"Digits\"}", "a12", "10 12 13"},
        {"\"pre_tokenizer\":{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}", "a-b", "10 11"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},"
         "\"behavior\":\"Isolated\"}",
         "a-b", "10 14 11"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a-c]\"},"
         "\"behavior\":\"Removed\",\"invert\":true}",
         "a-b", "10 11"},
        {"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
         "\"WhitespaceSplit\"},"
         "{\"type\":\"Punctuation\"}]}",
         "a! b", "10 7 11"},
        {"\"normalizer\":{\"type\":\"Lowercase\"}", "AB", "18"},
        {"\"normalizer\":{\"type\":\"StripAccents\"}", "e\xcc\x81", "8"},
        {"\"normalizer\":{\"type\":\"NFKC\"}", "\xef\xbd\x81", "10"},
        {"\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"un\"}", "mask", "4 5"},
        {"\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"q+\"},\"content\":\"a\"}",
         "qqqb", "18"},
        {"\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"q\"},\"content\":\"a\"}",
         "qb", "18"},
        {"\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", " ab\n",
         "18"},
        {"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},"
         "{\"type\":\"StripAccents\"},{\"type\":\"Lowercase\"}]}",
         "\xc3\x89", "8"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_str json = {0};
        um_str_addf(&json, "{%s,%s}", cases[i].part, MODEL);
        struct um_tokenizer *t = parse(json.text);
        assert_ids(t, cases[i].text, cases[i].expected);
        um_tokenizer_free(t);
        um_str_free(&json);
    }
}

static void add_base64(struct um_str *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t bit = 0; bit < 8 * n; bit += 6) {
        uint32_t pair = (uint32_t)bytes[bit / 8] << 8 | (bit / 8 + 1 < n ? bytes[bit / 8 + 1] : 0);
        um_str_add_n(out, &digits[pair >> (10 - bit % 8) & 63], 1);
    }
}

/* A table that makes "a" into "ab": the double array goes from unit 0 by offset 1 and byte 0x61 to
 * unit 0x60, and from there by offset 1 to unit 0x61, which holds where the text starts. */
static void test_precompiled_replacements(void **state)
{
    (void)state;
    enum { N_UNITS = 98, N_TABLE = 4 + 4 * N_UNITS + 5 };
    uint32_t units[1 + N_UNITS] = {[0] = 4 * N_UNITS, [1] = 1U << 10};
    units[1 + 0x60] = 0x61 | 1U << 8 | 1U << 10;
    units[1 + 0x61] = 1U << 31 | 2;
    unsigned char table[N_TABLE];
    for (size_t i = 0; i < sizeof(units); i++)
        table[i] = (unsigned char)(units[i / 4] >> 8 * (i % 4));
    memcpy(table + sizeof(units), "x\0ab", 5);
    struct um_str json = {0};
    um_str_add(&json, "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    add_base64(&json, table, N_TABLE);
    um_str_addf(&json, "\"},%s}", MODEL);
    struct um_tokenizer *t = parse(json.text);
    assert_ids(t, "a", "18");
    assert_ids(t, "a\xcc\x81", "18"); /* a short grapheme is replaced whole, as in the reference */
    assert_ids(t, "e", "8");
    um_tokenizer_free(t);
    um_str_free(&json);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    struct um_error err;
    char *path = um_path_join(folder, name);
    assert_ok(um_file_write(path, text, strlen(text), &err), err);
    um_free(path);
}

/* The ids of a text by the tokenizer of a folder. */
static void assert_ids_of_folder(const char *folder, const char *text, const char *expected)
{
    struct um_error err;
    struct um_tokenizer *t;
    assert_ok(um_tokenizer_open(&t, folder, &err), err);
    assert_ids(t, text, expected);
    um_tokenizer_free(t);
}

static void test_open_folder(void **state)
{
    (void)state;
    char folder[] = "/tmp/unmask test XXXXXX";
    struct um_error err;
    struct um_tokenizer *t;
    assert_non_null(mkdtemp(folder));
    assert_fails(um_tokenizer_open(&t, folder, &err), UM_E_INPUT, "neither tokenizer.json", err);
    write_file(folder, "vocab.txt", "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\na\nA\n##b\n");
    assert_ok(um_tokenizer_open(&t, folder, &err), err);
    assert_ids(t, "Ab [SEP]", "2 4 6 3 3");
    assert_int_equal(um_tokenizer_size(t), 7);
    assert_string_equal(um_tokenizer_token(t, 6), "##b");
    assert_null(um_tokenizer_token(t, 7));
    assert_null(um_tokenizer_token(t, -1));
    assert_int_equal(um_tokenizer_find(t, "[SEP]"), 3);
    assert_int_equal(um_tokenizer_find(t, "none"), -1);
    um_tokenizer_free(t);
    write_file(folder, "tokenizer_config.json", "{\"do_lower_case\": false}");
    assert_ids_of_folder(folder, "Ab", "2 5 6 3");
    write_file(folder, "tokenizer.json", "{" BERT "," MODEL "}");
    assert_ids_of_folder(folder, "Unmask", "4 5");
    /* As transformers has it, BERT's settings are those of tokenizer_config.json; true is the
     * default. */
    write_file(
        folder, "tokenizer.json",
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":false},\"pre_tokenizer\":"
        "{\"type\":\"BertPreTokenizer\"}," MODEL "}");
    assert_ids_of_folder(folder, "A", "17"); /* no class is named */
    write_file(folder, "tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}");
    assert_ids_of_folder(folder, "A", "10");
    write_file(folder, "tokenizer.json", "{" BERT "," MODEL "}");
    write_file(folder, "tokenizer_config.json",
               "{\"tokenizer_class\": \"DistilBertTokenizerFast\", \"do_lower_case\": false}");
    assert_ids_of_folder(folder, "A", "17");
    assert_ok(um_remove_folder(folder, &err), err);
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    static const char text[] = "Unmasking e\xcc\x81 \xe4\xb8\xad a b ab 12 - !";
    struct um_tokenizer *t = parse("{" BERT "," MODEL "," TEMPLATE "}");
    struct um_tokens tokens = {0};
    struct um_error err;
    assert_ok(um_tokenizer_encode(&tokens, t, text, sizeof(text) - 1, text, sizeof(text) - 1, true,
                                  0, &err),
              err);
    um_mem_fail_after(1);
    assert_ok(um_tokenizer_encode(&tokens, t, text, sizeof(text) - 1, text, sizeof(text) - 1, true,
                                  0, &err),
              err);
    um_mem_fail_after(0);
    um_tokens_free(&tokens);
    um_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert_words_and_pieces),
        cmocka_unit_test(test_word_too_long_is_unknown),
        cmocka_unit_test(test_pair_types_and_truncation),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_malformed_files),
        cmocka_unit_test(test_invalid_utf8_is_refused),
        cmocka_unit_test(test_small_parts),
        cmocka_unit_test(test_precompiled_replacements),
        cmocka_unit_test(test_open_folder),
        cmocka_unit_test(test_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
