/* Reading GGUF: what the reference writer wrote (oracle/make_gguf_golden.py), and real vocabularies.
 * (tests/tensor/test_quant.c expands the tensors.) */
#include "test.h"

#include "format/gguf.h"

static void test_metadata_of_every_type(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    static const struct {
        const char *key;
        enum um_gguf_type type;
        int64_t integer;
        double real;
    } numbers[] = {
        {"general.alignment", UM_GGUF_U32, 64, 64},
        {"test.u8", UM_GGUF_U8, 200, 200},
        {"test.i8", UM_GGUF_I8, -100, -100},
        {"test.u16", UM_GGUF_U16, 60000, 60000},
        {"test.i16", UM_GGUF_I16, -30000, -30000},
        {"test.i32", UM_GGUF_I32, -2000000000, -2e9},
        {"test.f32", UM_GGUF_F32, 0, (double)0.1F},
        {"test.bool", UM_GGUF_BOOL, 1, 1},
        {"test.u64", UM_GGUF_U64, INT64_MIN + ((int64_t)1 << 40), 0x1p63 + 0x1p40},
        {"test.i64", UM_GGUF_I64, -((int64_t)1 << 62), -0x1p62},
        {"test.f64", UM_GGUF_F64, 0, 1e-300},
    };
    assert_ok(um_gguf_open(&gguf, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    for (size_t i = 0; i < UM_COUNT(numbers); i++) {
        const struct um_gguf_pair *pair = um_gguf_pair(&gguf, numbers[i].key);
        assert_non_null(pair);
        assert_int_equal(pair->type, numbers[i].type);
        assert_int_equal(pair->integer, numbers[i].integer);
        assert_true(pair->real == numbers[i].real);
    }
    const struct um_gguf_pair *text = um_gguf_pair(&gguf, "test.text");
    assert_int_equal(text->type, UM_GGUF_STRING);
    assert_int_equal(text->n, strlen("gr\xc3\xbcn\n\"1\""));
    assert_memory_equal(text->text, "gr\xc3\xbcn\n\"1\"", text->n);
    const struct um_gguf_pair *texts = um_gguf_pair(&gguf, "test.texts");
    assert_int_equal(texts->element, UM_GGUF_STRING);
    assert_int_equal(texts->n, 4);
    assert_int_equal(texts->lengths[0], 0);
    assert_int_equal(texts->lengths[2], 6);
    assert_memory_equal(texts->strings[2], "na\xc3\xafve", 6);
    assert_int_equal(texts->lengths[3], 300);
    um_gguf_close(&gguf);
}

static void test_arrays_of_every_type(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    static const struct {
        const char *key;
        enum um_gguf_type element;
        int64_t integers[2];
        double reals[2];
    } arrays[] = {
        {"test.u8s", UM_GGUF_U8, {0, 255}, {0, 255}},
        {"test.i8s", UM_GGUF_I8, {-128, 127}, {-128, 127}},
        {"test.u16s", UM_GGUF_U16, {0, 65535}, {0, 65535}},
        {"test.i16s", UM_GGUF_I16, {-32768, 32767}, {-32768, 32767}},
        {"test.u32s", UM_GGUF_U32, {0, UINT32_MAX}, {0, 4294967295.0}},
        {"test.i32s", UM_GGUF_I32, {INT32_MIN, 1}, {-2147483648.0, 1}},
        {"test.f32s", UM_GGUF_F32, {0, -3}, {0.5, -3.25}},
        {"test.bools", UM_GGUF_BOOL, {1, 0}, {1, 0}},
        {"test.u64s", UM_GGUF_U64, {0, INT64_MAX}, {0, 0x1p63}},
        {"test.i64s", UM_GGUF_I64, {INT64_MIN, 1}, {-0x1p63, 1}},
        {"test.f64s", UM_GGUF_F64, {0, 0}, {1e300, -0.125}}, /* no integer is 1e300 */
    };
    assert_ok(um_gguf_open(&gguf, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    for (size_t i = 0; i < UM_COUNT(arrays); i++) {
        const struct um_gguf_pair *pair = um_gguf_pair(&gguf, arrays[i].key);
        assert_non_null(pair);
        assert_int_equal(pair->type, UM_GGUF_ARRAY);
        assert_int_equal(pair->element, arrays[i].element);
        assert_int_equal(pair->n, 2);
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(um_gguf_integer_at(pair, k), arrays[i].integers[k]);
            assert_true(um_gguf_real_at(pair, k) == arrays[i].reals[k]);
        }
    }
    um_gguf_close(&gguf);
}

static void test_integer_tensors_of_the_reference(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    static const struct {
        const char *name;
        enum um_dtype dtype;
    } cases[] = {{"i8", UM_I8}, {"i16", UM_I16}, {"i32", UM_I32}, {"i64", UM_I64}};
    assert_ok(um_gguf_open(&gguf, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const struct um_tensor_view *t = um_gguf_find(&gguf, cases[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, cases[i].dtype);
        assert_int_equal(t->n_elements, 4);
        assert_int_equal(t->bytes[3 * um_dtype_bytes(t->dtype)], 100);
    }
    const double expected[] = {-3, 0, 7, 100};
    assert_memory_equal(um_gguf_find(&gguf, "f64")->bytes, expected, sizeof(expected));
    const struct um_tensor_view *cube = um_gguf_find(&gguf, "f32");
    assert_int_equal(cube->n_dims, 3);
    assert_int_equal(cube->dims[0] * 100 + cube->dims[1] * 10 + cube->dims[2], 235);
    um_gguf_close(&gguf);
}

/* Vocabularies of real models, where they are. */
static void test_real_vocabularies(void **state)
{
    (void)state;
    static const struct {
        const char *name, *token;
        size_t n_tokens, index;
    } cases[] = {
        {"bert-bge", "[CLS]", 30522, 101},
        {"gpt-2", "<|endoftext|>", 50257, 50256},
        {"llama-spm", "<unk>", 32000, 0},
    };
    int n_found = 0;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        char path[512];
        struct um_gguf gguf;
        struct um_error err;
        (void)snprintf(path, sizeof(path), SHARED_DIR "/tokenizers/gguf-vocab/ggml-vocab-%s.gguf",
                       cases[i].name);
        if (!um_path_exists(path)) {
            printf("skipped: '%s' is not there\n", path);
            continue;
        }
        n_found++;
        assert_ok(um_gguf_open(&gguf, path, &err), err);
        const struct um_gguf_pair *tokens = um_gguf_pair(&gguf, "tokenizer.ggml.tokens");
        assert_non_null(tokens);
        assert_int_equal(tokens->n, cases[i].n_tokens);
        assert_int_equal(tokens->lengths[cases[i].index], strlen(cases[i].token));
        assert_memory_equal(tokens->strings[cases[i].index], cases[i].token,
                            strlen(cases[i].token));
        const struct um_gguf_pair *types = um_gguf_pair(&gguf, "tokenizer.ggml.token_type");
        assert_int_equal(types->n, tokens->n);
        assert_int_equal(um_gguf_integer_at(types, 1000), 1); /* a normal token */
        um_gguf_close(&gguf);
    }
    if (n_found == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_of_every_type),
        cmocka_unit_test(test_arrays_of_every_type),
        cmocka_unit_test(test_integer_tensors_of_the_reference),
        cmocka_unit_test(test_real_vocabularies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
