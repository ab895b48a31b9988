/*
 * Tokenizers from GGUF metadata: small files made here, each way to get one wrong, and the
 * vocabularies that come with ggml, whose ids must be those that come with them.
 */
#include "folder.h"

#include "gguf_spec.h"
#include "base/str.h"
#include "unmask.h"

#define A_GRAVE "\xc4\xa0" /* the blank of byte-level vocabularies */
#define MARK    "\xe2\x96\x81"

#define BYTE_LEVEL(pre)                                                                            \
    "model text gpt2;pre text " pre ";tokens texts a,b,ab,1,2,12," A_GRAVE "," A_GRAVE             \
    "a,</s>,\xc3\x83,\xc2\xa9,X,x y;token_type i32s 1,1,1,1,1,1,1,1,3,1,1,1,4;"                    \
    "merges texts a b,1 2," A_GRAVE " a"
#define PIECES                                                                                     \
    "model text llama;tokens texts <unk>,<s>,</s>,<0xC3>,<0xA9>," MARK ",a,b,ab," MARK             \
    "a,bb,  ,abb;token_type i32s 2,3,3,6,6,1,1,1,1,1,1,4,1"
#define SCORES "scores f32s 0,0,0,0,0,-9,-8,-7,-3,-2,-3,-1000,-5"
#define WORDS                                                                                      \
    "model text bert;tokens texts [PAD],[UNK],[CLS],[SEP]," MARK "a,b," MARK "ab,[unused0]," MARK  \
    ",\xc3\xa9;token_type i32s 3,3,3,3,1,1,1,1,1,1"

static const struct {
    const char *spec, *text, *ids, *decoded; /* special tokens put, and left out again */
} cases[] = {
    {BYTE_LEVEL("gpt-2"), "ab a12 \xc3\xa9", "2 7 5 6 9 10", "ab a12 \xc3\xa9"},
    {BYTE_LEVEL("default"), "12</s>b", "5 8 1", "12b"},
    {BYTE_LEVEL("smollm"), "ab 12", "2 6 3 4", "ab 12"},
    {BYTE_LEVEL("qwen2"), "12", "3 4", "12"},
    {BYTE_LEVEL("qwen2"), "e\xcc\x81", "9 10", "\xc3\xa9"},
    {BYTE_LEVEL("llama-bpe"), "12 a", "5 7", "12 a"},
    {BYTE_LEVEL("gpt-2"), "ax ya", "0 12 0", "ax ya"},
    {BYTE_LEVEL("llama-bpe") ";bos_token_id u32 8", "a", "8 0", "a"},
    {BYTE_LEVEL("llama-bpe") ";bos_token_id u32 8;add_bos_token bool 0", "a", "0", "a"},
    {BYTE_LEVEL("gpt-2") ";eos_token_id u32 8;add_eos_token bool 1", "a", "0 8", "a"},
    {BYTE_LEVEL("gpt-2") ";add_space_prefix bool 1", "a", "7", " a"},
    {"model text gpt2;tokens texts a,,b,ab;merges texts a b", "abba", "3 2 0", "abba"},
    {PIECES ";" SCORES, "a ab", "1 9 9 7", "a ab"},
    /* "ab" and "bb" are equals: the one on the left comes first */
    {PIECES ";" SCORES ";add_space_prefix bool 0;add_bos_token bool 0", "abb", "12", "abb"},
    {PIECES ";" SCORES ";add_space_prefix bool 0;add_bos_token bool 0", "bbab", "10 8", "bbab"},
    {PIECES ";" SCORES ";add_bos_token bool 0", "a  b", "9 11 7", "a  b"},
    {PIECES ";" SCORES ";add_eos_token bool 1", "\xc3\xa9", "1 5 3 4 2", "\xc3\xa9"},
    {PIECES ";" SCORES, "xb</s>", "1 5 0 7 2", "b"},
    {PIECES ";" SCORES, "", "1", ""},
    {WORDS, "ab AB aab", "2 6 6 1 3", NULL},
    {WORDS, "aba", "2 1 3", NULL},
    {WORDS, "abb [x a\xc3\xa9", "2 6 5 1 1 1 3", NULL},
    {WORDS ";normalizer.lowercase bool 0", "ab A a\xc3\xa9", "2 6 1 4 9 3", "ab a\xc3\xa9"},
};

/* The ids as text. */
static void print_ids(char *out, size_t n_out, const struct um_tokens *tokens)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < tokens->n && at < n_out; i++)
        at += (size_t)snprintf(out + at, n_out - at, "%s%d", i ? " " : "", (int)tokens->ids[i]);
}

static void assert_decodes(const struct um_tokenizer *tokenizer, const struct um_tokens *tokens,
                           const char *expected)
{
    struct um_error err;
    struct um_decoder *decoder;
    const char *text;
    size_t n;
    assert_ok(um_decoder_new(&decoder, tokenizer, true, &err), err);
    for (size_t step = 1; step <= tokens->n; step += tokens->n - 1 ? tokens->n - 1 : 1) {
        struct um_str whole = {0};
        for (size_t i = 0; i < tokens->n; i += step) {
            assert_ok(um_decoder_put(&text, &n, decoder, tokens->ids + i, step, &err), err);
            um_str_add_n(&whole, text, n);
        }
        assert_ok(um_decoder_end(&text, &n, decoder, &err), err);
        um_str_add_n(&whole, text, n);
        assert_string_equal(whole.text, expected);
        um_str_free(&whole);
    }
    um_decoder_free(decoder);
}

static void check_case(const char *spec, const char *text, const char *ids, const char *decoded)
{
    struct um_error err;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    char found[256];
    const char *path = in_folder("made.gguf");
    assert_ok(spec_write(path, spec, &err), err);
    assert_ok(um_tokenizer_open(&tokenizer, path, &err), err);
    assert_ok(um_tokenizer_encode(&tokens, tokenizer, text, strlen(text), NULL, 0, true, 0, &err),
              err);
    print_ids(found, sizeof(found), &tokens);
    if (strcmp(found, ids) != 0)
        fail_msg("'%s' is '%s', expected '%s', by %s", text, found, ids, spec);
    if (decoded && tokens.n)
        assert_decodes(tokenizer, &tokens, decoded);
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

static void test_made_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(cases); i++)
        check_case(cases[i].spec, cases[i].text, cases[i].ids, cases[i].decoded);
}

static void test_pairs(void **state)
{
    (void)state;
    struct um_error err;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    char found[256];
    const char *path = in_folder("made.gguf");
    assert_ok(spec_write(path, PIECES ";" SCORES ";add_eos_token bool 1", &err), err);
    assert_ok(um_tokenizer_open(&tokenizer, path, &err), err);
    assert_ok(um_tokenizer_encode(&tokens, tokenizer, "a", 1, "ab", 2, true, 0, &err), err);
    print_ids(found, sizeof(found), &tokens);
    assert_string_equal(found, "1 9 2 1 9 7 2");
    assert_int_equal(tokens.types[2], 0);
    assert_int_equal(tokens.types[3], 1);
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

static const struct {
    const char *spec, *message;
} lies[] = {
    {"pre text gpt-2", "holds none (tokenizer.ggml.model is missing)"},
    {"model u32 3", "tokenizer.ggml.model is something else, expected a name"},
    {"model text t6", "unknown tokenizer.ggml.model 't6'; known are: gpt2, llama, bert"},
    {"model text gpt2", "tokenizer.ggml.tokens is missing"},
    {"model text gpt2;tokens i32s 1,2", "tokenizer.ggml.tokens is something else"},
    {"model text gpt2;tokens texts a,b", "tokenizer.ggml.merges is missing"},
    {"model text gpt2;tokens texts a,b;merges texts ab", "expected two texts with a blank"},
    {"model text gpt2;tokens texts a,b,ab;merges texts a b ", "expected two texts with a blank"},
    {"model text gpt2;tokens texts a,b;merges texts a b", "merge 0 gives 'ab'"},
    {"model text gpt2;tokens texts a,b;merges texts a c", "a merge needs 'c'"},
    {"model text gpt2;tokens texts a,b,a;merges texts a b", "tokens 0 and 2 have the same text"},
    {"model text gpt2;tokens texts a,\xff;merges texts a b", "token 1 is not valid UTF-8"},
    {"model text gpt2;pre text falcon;tokens texts a;merges texts a b",
     "unknown tokenizer.ggml.pre 'falcon'; known are: default, gpt-2,"},
    {"model text gpt2;tokens texts a,b;token_type i32s 1;merges texts a b",
     "token_type has 1 elements, expected one for each of the 2 tokens"},
    {"model text gpt2;tokens texts a,b;token_type texts a,b;merges texts a b",
     "token_type is something else, expected an array of numbers"},
    {"model text gpt2;tokens texts a,b;bos_token_id u32 2;merges texts a b",
     "bos_token_id is 2, expected an id below 2"},
    {"model text gpt2;tokens texts a,b,ab;add_bos_token bool 1;merges texts a b",
     "bos_token_id is missing, expected an id, as add_bos_token is true"},
    {"model text gpt2;tokens texts a,b,ab;add_eos_token bool 1;merges texts a b",
     "eos_token_id is missing, expected an id, as add_eos_token is true"},
    {"model text gpt2;tokens texts a,b,ab;add_bos_token u32 1;merges texts a b",
     "add_bos_token is something else, expected true or false"},
    {"model text llama;tokens texts a,b", "tokenizer.ggml.scores is missing"},
    {"model text llama;tokens texts a,b;scores f32s 1", "scores has 1 elements"},
    {"model text llama;tokens texts a,b,c;scores f32s 1,nan,2", "score of token 1 is no number"},
    {"model text bert;tokens texts a,b", "the token '[CLS]' is not in the vocabulary"},
    {"model text bert;tokens texts [CLS],[SEP]", "the token '[UNK]' is not in the vocabulary"},
};

static void test_lies_are_refused(void **state)
{
    (void)state;
    struct um_error err;
    struct um_tokenizer *tokenizer;
    const char *path = in_folder("lie.gguf");
    for (size_t i = 0; i < UM_COUNT(lies); i++) {
        assert_ok(spec_write(path, lies[i].spec, &err), err);
        assert_fails(um_tokenizer_open(&tokenizer, path, &err), UM_E_INPUT, lies[i].message, err);
        assert_null(tokenizer);
    }
    put_file("lie.gguf", "GGU", 3);
    assert_fails(um_tokenizer_open(&tokenizer, path, &err), UM_E_INPUT, "GGUF", err);
}

/* A token that is merged from others is cut everywhere: its length is bounded. */
static void test_a_long_piece_is_refused(void **state)
{
    (void)state;
    struct um_error err;
    struct um_tokenizer *tokenizer;
    char spec[512], piece[300];
    const char *path = in_folder("long.gguf");
    memset(piece, 'a', sizeof(piece) - 1);
    piece[sizeof(piece) - 1] = '\0';
    (void)snprintf(spec, sizeof(spec),
                   "model text llama;tokens texts <unk>,<s>,</s>,a,%s;scores f32s 0,0,0,0,0",
                   piece);
    assert_ok(spec_write(path, spec, &err), err);
    assert_fails(um_tokenizer_open(&tokenizer, path, &err), UM_E_INPUT,
                 "token 4 has 299 bytes, expected at most 256", err);
}

/* Every allocation of opening fails once: an error, nothing leaked. (JSON trees are not counted.)
 */
static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    static const char *const specs[] = {BYTE_LEVEL("qwen2"), PIECES ";" SCORES, WORDS};
    const char *path = in_folder("memory.gguf");
    struct um_error err;
    struct um_tokenizer *tokenizer;
    for (size_t i = 0; i < UM_COUNT(specs); i++) {
        assert_ok(spec_write(path, specs[i], &err), err);
        size_t before = um_mem_used();
        enum um_status status = UM_E_RUNTIME;
        int64_t n = 1;
        for (; status != UM_OK; n++) {
            um_mem_fail_after(n);
            status = um_tokenizer_open(&tokenizer, path, &err);
            um_mem_fail_after(0);
            assert_true(status == UM_OK || status == UM_E_RUNTIME);
            um_tokenizer_free(tokenizer);
            assert_int_equal(um_mem_used(), before);
        }
        assert_true(n > 10);
    }
}

/* ---- ggml's vocabularies: texts in NAME.gguf.inp, a line of ids for each in NAME.gguf.out */

static void check_ggml_text(const struct um_tokenizer *tokenizer, struct um_tokens *tokens,
                            const char *text, size_t n, char *line)
{
    struct um_error err;
    size_t i = 0;
    assert_ok(um_tokenizer_encode(tokens, tokenizer, text, n, NULL, 0, false, 0, &err), err);
    for (char *at = line, *stop; *at; at = stop, i++) {
        long id = strtol(at, &stop, 10);
        if (stop == at)
            break;
        if (i >= tokens->n || tokens->ids[i] != id)
            fail_msg("other ids for '%.*s'", (int)n, text);
    }
    assert_int_equal(i, tokens->n);
}

static void check_ggml(const char *name, size_t n_expected)
{
    static const char cut[] = "\n__ggml_vocab_test__\n";
    struct um_error err;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    char path[1024], texts_path[1040], ids_path[1040], *texts, *ids;
    size_t n_texts, n_ids, n_compared = 0;
    (void)snprintf(path, sizeof(path), "%s/tokenizers/gguf-vocab/ggml-vocab-%s.gguf", SHARED_DIR,
                   name);
    (void)snprintf(texts_path, sizeof(texts_path), "%s.inp", path);
    (void)snprintf(ids_path, sizeof(ids_path), "%s.out", path);
    if (!um_path_exists(path)) {
        printf("skipped: '%s' is not there\n", path);
        skip();
    }
    assert_ok(um_tokenizer_open(&tokenizer, path, &err), err);
    assert_ok(um_file_read(&texts, &n_texts, texts_path, &err), err);
    assert_ok(um_file_read(&ids, &n_ids, ids_path, &err), err);
    char *line = ids;
    for (char *text = texts, *stop; text; text = stop ? stop + strlen(cut) : NULL, n_compared++) {
        stop = strstr(text, cut);
        size_t n = stop ? (size_t)(stop - text) : strlen(text);
        size_t n_line = strcspn(line, "\n");
        assert_true(line + n_line <= ids + n_ids);
        line[n_line] = '\0';
        check_ggml_text(tokenizer, &tokens, text, n, line);
        line += n_line + (line + n_line < ids + n_ids);
    }
    assert_int_equal(n_compared, n_expected);
    um_free(texts);
    um_free(ids);
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
}

static void test_ggml_gpt2(void **state)
{
    (void)state;
    check_ggml("gpt-2", 47);
}

static void test_ggml_llama(void **state)
{
    (void)state;
    check_ggml("llama-spm", 47);
}

static void test_ggml_bert(void **state)
{
    (void)state;
    check_ggml("bert-bge", 47);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_files),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_lies_are_refused),
        cmocka_unit_test(test_a_long_piece_is_refused),
        cmocka_unit_test(test_no_memory_is_an_error),
        cmocka_unit_test(test_ggml_gpt2),
        cmocka_unit_test(test_ggml_llama),
        cmocka_unit_test(test_ggml_bert),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
