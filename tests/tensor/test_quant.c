/*
 * Stored weights to fp32: every 16-bit float by its definition, every quantised type against the
 * golden file of the `gguf` package (oracle/make_gguf_golden.py), each instruction set against
 * generic; Q8_0 made of fp32; and parameters that are stored so.
 */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "nn/param.h"
#include "tensor/kernels.h"

static const enum um_dtype quantised[] = {UM_Q4_0, UM_Q4_1, UM_Q5_0, UM_Q5_1, UM_Q8_0,
                                          UM_Q2_K, UM_Q3_K, UM_Q4_K, UM_Q5_K, UM_Q6_K};

/* The same bits, or both not a number. */
static void assert_same(const float *a, const float *b, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof(*a)) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s, element %lld: %a, expected %a", what, (long long)i, (double)a[i],
                     (double)b[i]);
}

static unsigned char *random_bytes(size_t n, uint64_t seed)
{
    struct um_random random = {.seed = seed};
    unsigned char *bytes = um_alloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)um_random_u64(&random);
    return bytes;
}

static void test_types_have_names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t block;
        size_t bytes;
    } expected[UM_N_DTYPES] = {
        {"F32", 1, 4},     {"F16", 1, 2},      {"BF16", 1, 2},     {"F64", 1, 8},
        {"I64", 1, 8},     {"I32", 1, 4},      {"I16", 1, 2},      {"I8", 1, 1},
        {"U8", 1, 1},      {"BOOL", 1, 1},     {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
        {"Q5_0", 32, 22},  {"Q5_1", 32, 24},   {"Q8_0", 32, 34},   {"Q2_K", 256, 84},
        {"Q3_K", 256, 110}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
    };
    for (int t = 0; t < UM_N_DTYPES; t++) {
        enum um_dtype dtype = (enum um_dtype)t, found;
        bool is_quantised = expected[t].block > 1;
        assert_string_equal(um_dtype_name(dtype), expected[t].name);
        assert_int_equal(um_dtype_block(dtype), expected[t].block);
        assert_int_equal(um_dtype_bytes(dtype), expected[t].bytes);
        assert_int_equal(um_dtype_size(dtype, 3 * expected[t].block), 3 * expected[t].bytes);
        assert_int_equal(um_dtype_is_quantised(dtype), is_quantised);
        assert_int_equal(um_dtype_is_weight(dtype), is_quantised || t <= UM_BF16);
        /* safetensors has no quantised types. */
        assert_int_equal(um_dtype_from_name(&found, expected[t].name), !is_quantised);
        assert_true(is_quantised || found == dtype);
    }
}

/* IEEE 754 binary16 by its definition; NaN keeps sign and payload. */
static float half_by_definition(uint32_t h)
{
    uint32_t exponent = h >> 10 & 31, fraction = h & 0x3ff, sign = h >> 15;
    float value;
    if (exponent == 31) {
        uint32_t bits = sign << 31 | 0x7f800000 | fraction << 13;
        memcpy(&value, &bits, sizeof(value));
        return value;
    }
    value = exponent ? ldexpf((float)(fraction | 0x400), (int)exponent - 25)
                     : ldexpf((float)fraction, -24);
    return sign ? -value : value;
}

static void test_every_16_bit_float_expands_exactly(void **state)
{
    (void)state;
    enum { N = 65536 };
    unsigned char *bytes = um_alloc(2 * N + 1); /* halves at odd addresses */
    float *expected = um_alloc(N * sizeof(float)), *to = um_alloc(N * sizeof(float));
    assert_true(bytes && expected && to);
    for (uint32_t h = 0; h < N; h++) {
        uint16_t half = (uint16_t)h;
        memcpy(bytes + 1 + 2 * h, &half, sizeof(half));
    }
    for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
        for (uint32_t h = 0; h < N; h++) {
            uint32_t bits = h << 16;
            expected[h] = half_by_definition(h);
            if (is_bf16)
                memcpy(&expected[h], &bits, sizeof(bits));
        }
        for (int level = UM_CPU_GENERIC; level <= UM_CPU_AVX512; level++) {
            const struct um_kernels *k = um_kernels_at((enum um_cpu_level)level);
            k->expand[is_bf16 ? UM_BF16 : UM_F16](to, bytes + 1, N);
            assert_memory_equal(to, expected, N * sizeof(float));
            k->expand[is_bf16 ? UM_BF16 : UM_F16](to, bytes + 1 + 2 * 1021, 77);
            assert_memory_equal(to, expected + 1021, 77 * sizeof(float));
        }
    }
    um_free(bytes);
    um_free(expected);
    um_free(to);
}

static void open_golden(struct um_gguf *gguf, struct um_safetensors *st)
{
    struct um_error err;
    assert_ok(um_gguf_open(gguf, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    assert_ok(um_safetensors_open(st, GOLDEN_DIR "/gguf/expected.safetensors", &err), err);
}

static void test_every_type_expands_as_the_reference(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_safetensors st;
    int n_weights = 0;
    open_golden(&gguf, &st);
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        const struct um_tensor_view *t = &gguf.tensors[i];
        if (!um_dtype_is_weight(t->dtype))
            continue;
        const struct um_tensor_view *expected = um_safetensors_find(&st, t->name);
        assert_non_null(expected);
        assert_int_equal(t->n_elements, expected->n_elements);
        float *to = um_alloc((size_t)t->n_elements * sizeof(float));
        assert_non_null(to);
        for (int level = UM_CPU_GENERIC; level <= UM_CPU_AVX512; level++) {
            memset(to, 0x55, (size_t)t->n_elements * sizeof(float));
            um_kernels_at((enum um_cpu_level)level)->expand[t->dtype](to, t->bytes, t->n_elements);
            assert_same(to, (const float *)(const void *)expected->bytes, t->n_elements, t->name);
        }
        for (int64_t e = 0; e < t->n_elements; e++) {
            float one = um_to_f32_at(t->bytes, t->dtype, e);
            assert_same(&one, &to[e], 1, t->name);
        }
        um_free(to);
        n_weights++;
    }
    assert_int_equal(n_weights, 3 + UM_COUNT(quantised));
    um_gguf_close(&gguf);
    um_safetensors_close(&st);
}

/* Random blocks from an odd address on; nothing is written behind the last. */
static void test_instruction_sets_expand_alike(void **state)
{
    (void)state;
    enum { N_BLOCKS_MAX = 67 };
    static float expected[N_BLOCKS_MAX * 256], to[N_BLOCKS_MAX * 256 + 1];
    for (size_t q = 0; q < UM_COUNT(quantised); q++) {
        enum um_dtype dtype = quantised[q];
        unsigned char *bytes = random_bytes(N_BLOCKS_MAX * um_dtype_bytes(dtype) + 1, q);
        for (int64_t n_blocks = 0; n_blocks <= N_BLOCKS_MAX; n_blocks += 1 + n_blocks / 2) {
            int64_t n = n_blocks * um_dtype_block(dtype);
            um_kernels_at(UM_CPU_GENERIC)->expand[dtype](expected, bytes + 1, n);
            for (int level = UM_CPU_AVX2; level <= UM_CPU_AVX512; level++) {
                to[n] = 77;
                um_kernels_at((enum um_cpu_level)level)->expand[dtype](to, bytes + 1, n);
                assert_same(to, expected, n, um_dtype_name(dtype));
                assert_true(to[n] == 77);
            }
        }
        um_free(bytes);
    }
}

static void test_q8_0_is_made_as_by_the_reference(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_safetensors st;
    open_golden(&gguf, &st);
    const struct um_tensor_view *from = um_safetensors_find(&st, "q8_0.from");
    const struct um_tensor_view *made = um_safetensors_find(&st, "q8_0.made");
    assert_true(from && made);
    assert_int_equal(um_dtype_size(UM_Q8_0, from->n_elements), made->n_bytes);
    unsigned char *bytes = um_alloc(made->n_bytes);
    assert_non_null(bytes);
    um_from_f32(bytes, (const float *)(const void *)from->bytes, UM_Q8_0, from->n_elements);
    assert_memory_equal(bytes, made->bytes, made->n_bytes);
    um_free(bytes);
    um_gguf_close(&gguf);
    um_safetensors_close(&st);
}

static void test_q8_0_stays_close_or_not_finite(void **state)
{
    (void)state;
    struct um_random random = {.seed = 5};
    unsigned char block[34];
    float from[32], to[32];
    for (int round = 0; round < 1000; round++) {
        double scale = ldexp(1, (int)um_random_below(&random, 30) - 20);
        float most = 0;
        for (int i = 0; i < 32; i++) {
            from[i] = (float)(um_random_normal(&random) * scale);
            most = fmaxf(most, fabsf(from[i]));
        }
        um_from_f32(block, from, UM_Q8_0, 32);
        um_to_f32(to, block, UM_Q8_0, 32);
        for (int i = 0; i < 32; i++) /* half a step, the scale's own rounding, its denormals */
            assert_true(fabsf(to[i] - from[i]) <= most * (0.5F / 127 + 0x1p-11F) + 127 * 0x1p-25F);
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < UM_COUNT(bad); k++) {
        from[17] = bad[k];
        um_from_f32(block, from, UM_Q8_0, 32);
        um_to_f32(to, block, UM_Q8_0, 32);
        assert_true(isnan(to[17]) || isinf(to[17]));
    }
    for (int i = 0; i < 32; i++)
        from[i] = 1e-42F; /* 1 / d overflows */
    um_from_f32(block, from, UM_Q8_0, 32);
    um_to_f32(to, block, UM_Q8_0, 32);
    for (int i = 0; i < 32; i++)
        assert_true(to[i] == 0);
}

enum { ROWS = 301, COLS = 512 }; /* more elements than one thread expands */

static float *expand_whole(enum um_dtype dtype, const unsigned char *bytes)
{
    float *values = um_alloc((size_t)ROWS * COLS * sizeof(float));
    assert_non_null(values);
    um_kernels_at(UM_CPU_GENERIC)->expand[dtype](values, bytes, (int64_t)ROWS * COLS);
    return values;
}

static void test_parameters_are_read_by_rows(void **state)
{
    (void)state;
    static const enum um_dtype types[] = {UM_F16, UM_BF16, UM_Q4_1, UM_Q6_K};
    static const int64_t ranges[][2] = {{0, ROWS}, {0, 1}, {17, 1}, {3, 150}, {ROWS - 1, 1}};
    float *scratch = um_alloc((size_t)ROWS * COLS * sizeof(float));
    assert_non_null(scratch);
    for (size_t k = 0; k < UM_COUNT(types); k++) {
        unsigned char *bytes = random_bytes(um_dtype_size(types[k], (int64_t)ROWS * COLS), k);
        float *expected = expand_whole(types[k], bytes);
        struct um_param param = {.rows = ROWS, .cols = COLS, .n_elements = (int64_t)ROWS * COLS,
                                 .n_dims = 2, .dtype = types[k], .stored = bytes};
        assert_int_equal(um_param_scratch(&param), param.n_elements);
        for (size_t r = 0; r < UM_COUNT(ranges); r++) {
            const float *rows = um_param_read(&param, ranges[r][0], ranges[r][1], scratch);
            assert_same(rows, expected + ranges[r][0] * COLS, ranges[r][1] * COLS,
                        um_dtype_name(types[k]));
        }
        for (int64_t i = 0; i < param.n_elements; i += 97) {
            float one = um_param_stored(&param, i);
            assert_same(&one, &expected[i], 1, um_dtype_name(types[k]));
        }
        um_free(bytes);
        um_free(expected);
    }
    um_free(scratch);
}

static void test_changed_values_lie_over_quantised_ones(void **state)
{
    (void)state;
    unsigned char *bytes = random_bytes(um_dtype_size(UM_Q4_1, (int64_t)ROWS * COLS), 9);
    float *expected = expand_whole(UM_Q4_1, bytes);
    float *scratch = um_alloc((size_t)ROWS * COLS * sizeof(float));
    static const int64_t index[] = {0, 5 * COLS - 1, 5 * COLS, 6 * COLS, (int64_t)ROWS * COLS - 1};
    static const float value[] = {1, 2, 3, 4, 5};
    struct um_param param = {.rows = ROWS, .cols = COLS, .n_elements = (int64_t)ROWS * COLS,
                             .n_dims = 2, .dtype = UM_Q4_1, .stored = bytes,
                             .overlay_index = index, .overlay_value = value, .n_overlay = 5};
    assert_non_null(scratch);
    for (size_t i = 0; i < UM_COUNT(index); i++)
        expected[index[i]] = value[i];
    assert_same(um_param_read(&param, 0, ROWS, scratch), expected, param.n_elements, "all rows");
    assert_same(um_param_read(&param, 5, 1, scratch), expected + 5 * (int64_t)COLS, COLS, "row 5");
    um_free(bytes);
    um_free(expected);
    um_free(scratch);
}

/* Threads that each read the whole parameter do not share its rows among them. */
static void test_parameters_are_read_within_a_parallel_region(void **state)
{
    (void)state;
    unsigned char *bytes = random_bytes(um_dtype_size(UM_Q8_0, (int64_t)ROWS * COLS), 10);
    float *expected = expand_whole(UM_Q8_0, bytes), *scratch[2];
    struct um_param param = {.rows = ROWS, .cols = COLS, .n_elements = (int64_t)ROWS * COLS,
                             .n_dims = 2, .dtype = UM_Q8_0, .stored = bytes};
    for (int t = 0; t < 2; t++) {
        scratch[t] = um_calloc((size_t)ROWS * COLS, sizeof(float));
        assert_non_null(scratch[t]);
    }
#pragma omp parallel for num_threads(2)
    for (int t = 0; t < 2; t++)
        (void)um_param_read(&param, 0, ROWS, scratch[t]);
    for (int t = 0; t < 2; t++) {
        assert_same(scratch[t], expected, param.n_elements, "read by a thread");
        um_free(scratch[t]);
    }
    um_free(bytes);
    um_free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_have_names_and_sizes),
        cmocka_unit_test(test_every_16_bit_float_expands_exactly),
        cmocka_unit_test(test_every_type_expands_as_the_reference),
        cmocka_unit_test(test_instruction_sets_expand_alike),
        cmocka_unit_test(test_q8_0_is_made_as_by_the_reference),
        cmocka_unit_test(test_q8_0_stays_close_or_not_finite),
        cmocka_unit_test(test_parameters_are_read_by_rows),
        cmocka_unit_test(test_changed_values_lie_over_quantised_ones),
        cmocka_unit_test(test_parameters_are_read_within_a_parallel_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
