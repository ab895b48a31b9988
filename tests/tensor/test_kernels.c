/*
 * Each instruction set against generic, at odd sizes and offsets; activations against libm; dropout
 * masks, dot products and scans must be the same bits. Also dtype conversion and the pool.
 */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/pool.h"

enum { N = 1031 };

static const int64_t sizes[] = {0, 1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 255, 1000};

struct data {
    float a[N], b[N], c[N], x[N], y[N];
};

static void fill_data(struct data *d, uint64_t seed, double spread)
{
    struct um_random r = {.seed = seed};
    float *all[] = {d->a, d->b, d->c, d->x, d->y};
    for (size_t k = 0; k < UM_COUNT(all); k++)
        for (int i = 0; i < N; i++)
            all[k][i] = (float)(um_random_normal(&r) * spread);
}

/* Calls `body` for each level above generic that this machine has. */
#define FOR_EACH_LEVEL(k, g)                                                                       \
    for (int level_ = UM_CPU_AVX2; level_ <= UM_CPU_AVX512; level_++)                              \
        for (const struct um_kernels *g = um_kernels_at(UM_CPU_GENERIC),                           \
                                     *k = um_kernels_at((enum um_cpu_level)level_);                \
             k; k = NULL)

static void assert_close(const float *a, const float *b, int64_t n, double tolerance)
{
    for (int64_t i = 0; i < n; i++) {
        double scale = fmax(1, fmax(fabs((double)a[i]), fabs((double)b[i])));
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * scale))
            fail_msg("element %lld: %g against %g", (long long)i, (double)a[i], (double)b[i]);
    }
}

typedef void unary(float *y, const float *x, int64_t n);
typedef void unary_grad(float *dx, const float *dy, const float *x, int64_t n);

static void test_elementwise_levels_agree(void **state)
{
    (void)state;
    static struct data d, e;
    FOR_EACH_LEVEL(k, g)
    {
        unary *const f[] = {k->gelu, k->gelu_tanh, k->silu, k->relu, k->tanh};
        unary *const f0[] = {g->gelu, g->gelu_tanh, g->silu, g->relu, g->tanh};
        unary_grad *const h[] = {k->gelu_grad, k->gelu_tanh_grad, k->silu_grad, k->relu_grad,
                                 k->tanh_grad};
        unary_grad *const h0[] = {g->gelu_grad, g->gelu_tanh_grad, g->silu_grad, g->relu_grad,
                                  g->tanh_grad};
        for (size_t s = 0; s < UM_COUNT(sizes); s++) {
            fill_data(&d, s + 1, 3);
            e = d;
            int64_t n = sizes[s];
            for (size_t i = 0; i < UM_COUNT(f); i++) {
                f[i](d.y + 1, d.x + 1, n);
                f0[i](e.y + 1, e.x + 1, n);
                assert_close(d.y, e.y, N, 1e-6); /* all of it: nothing written outside */
                h[i](d.a + 3, d.a + 3, d.x + 1, n); /* in place */
                h0[i](e.a + 3, e.a + 3, e.x + 1, n);
                assert_close(d.a, e.a, N, 2e-6);
            }
            k->add(d.y, d.y, d.b, n);
            g->add(e.y, e.y, e.b, n);
            k->multiply(d.c, d.c, d.b, n);
            g->multiply(e.c, e.c, e.b, n);
            assert_memory_equal(&d.c, &e.c, sizeof(d.c));
        }
    }
}

static void test_activations_match_libm(void **state)
{
    (void)state;
    const struct um_kernels *k = um_kernels();
    for (double at = -30; at <= 30; at += 0.0137) {
        float x = (float)at, y, one = 1, slope;
        double v = (double)x, phi = 0.5 * (1 + erf(v / sqrt(2)));
        k->gelu(&y, &x, 1);
        assert_true(fabs((double)y - v * phi) <= 2e-7 * fmax(1, fabs(v)));
        k->gelu_grad(&slope, &one, &x, 1);
        assert_true(fabs((double)slope - (phi + v * exp(-v * v / 2) / sqrt(2 * M_PI))) <= 4e-7);
        k->tanh(&y, &x, 1);
        assert_true(fabs((double)y - tanh(v)) <= 2e-7);
        k->silu(&y, &x, 1);
        assert_true(fabs((double)y - v / (1 + exp(-v))) <= 2e-7 * fmax(1, fabs(v)));
    }
}

static void test_dropout_is_the_same_everywhere(void **state)
{
    (void)state;
    static struct data d, e;
    FOR_EACH_LEVEL(k, g)
    {
        fill_data(&d, 5, 1);
        struct um_drop drop = {.seed = 1, .stream = 2, .threshold = 6554, .scale = 1.25F};
        e = d;
        k->drop(d.y, d.x, 1000, drop);
        g->drop(e.y, e.x, 1000, drop);
        assert_memory_equal(&d, &e, sizeof(d));
        /* A shorter row is the start of the longer one. */
        k->drop(e.y, e.x, 77, drop);
        assert_memory_equal(&d, &e, sizeof(d));
        int dropped = 0;
        for (int i = 0; i < 1000; i++)
            dropped += d.y[i] == 0;
        assert_in_range(dropped, 70, 130);
    }
}

/* The mask is what Philox4x32-7 says, and a block's rows are one stream. */
static void test_dropout_follows_philox(void **state)
{
    (void)state;
    enum { LENGTH = 300, LD = 70, COLS = 60 };
    const struct um_drop drop = {.seed = 0x123456789abcdef, .stream = 0xfedcba987654321,
                                 .threshold = 20000, .scale = 2};
    float ones[LENGTH], row[LENGTH], block[LENGTH / COLS * LD];
    for (int i = 0; i < LENGTH; i++)
        ones[i] = 1;
    for (size_t i = 0; i < UM_COUNT(block); i++)
        block[i] = 1;
    for (int level = UM_CPU_GENERIC; level <= UM_CPU_AVX512; level++) {
        const struct um_kernels *k = um_kernels_at((enum um_cpu_level)level);
        k->drop(row, ones, LENGTH, drop);
        for (int i = 0; i < LENGTH; i++) {
            uint32_t w[4];
            int word = i % 128 / 16;
            um_philox(w, drop.seed, drop.stream, (uint64_t)(i / 128 * 16 + i % 16), 7);
            uint32_t bits = word < 4 ? w[word] & 0xffff : w[word - 4] >> 16;
            assert_true(row[i] == (bits < drop.threshold ? 0 : 2));
        }
    }
    um_kernels()->drop_block(block, LD, LENGTH / COLS, COLS, drop);
    for (int i = 0; i < LENGTH; i++)
        assert_true(block[i / COLS * LD + i % COLS] == row[i]);
}

static void test_columns_levels_agree(void **state)
{
    (void)state;
    static struct data d, e;
    enum { ROWS = 7, LD = 140 };
    FOR_EACH_LEVEL(k, g)
    {
        for (int64_t n = 1; n <= UM_COLUMN_BLOCK; n += 9) {
            fill_data(&d, (uint64_t)n, 2);
            e = d;
            int32_t first[UM_COLUMN_BLOCK], last[UM_COLUMN_BLOCK];
            for (int j = 0; j < UM_COLUMN_BLOCK; j++) {
                first[j] = j % 3;
                last[j] = 4 + j % 4;
            }
            bool is_masked = n % 2;
            k->softmax(d.x, LD, ROWS, n, 0.7F, is_masked ? first : NULL, last, d.a);
            g->softmax(e.x, LD, ROWS, n, 0.7F, is_masked ? first : NULL, last, e.a);
            assert_close(d.x, e.x, N, 1e-6);
            assert_close(d.a, e.a, N, 1e-6);
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int i = 0; i < ROWS; i++) {
                    sum += (double)d.x[i * LD + j];
                    if (is_masked && (i < first[j] || i >= last[j]))
                        assert_true(d.x[i * LD + j] == 0);
                }
                assert_true(fabs(sum - 1) < 1e-5);
            }
            k->norm(d.y, LD, d.b, LD, ROWS, n, d.c, d.c + 9, 1e-5F, false, d.a, d.a + 200);
            g->norm(e.y, LD, e.b, LD, ROWS, n, e.c, e.c + 9, 1e-5F, false, e.a, e.a + 200);
            assert_close(d.y, e.y, N, 1e-5);
            k->norm_grad(d.x, LD, d.x, LD, d.b, LD, ROWS, n, d.c, false, d.a, d.a + 200, false);
            g->norm_grad(e.x, LD, e.x, LD, e.b, LD, ROWS, n, e.c, false, e.a, e.a + 200, false);
            assert_close(d.x, e.x, N, 1e-5);
        }
    }
}

static void test_dots_and_scan_levels_agree(void **state)
{
    (void)state;
    static struct data d;
    FOR_EACH_LEVEL(k, g)
    {
        for (size_t s = 0; s < UM_COUNT(sizes); s++) {
            fill_data(&d, s, 1);
            int64_t n = sizes[s];
            struct um_pair pair = {0, 0};
            float a, b;
            int32_t hits[N], hits0[N];
            k->dots(&a, &pair, 1, d.a, N, d.b, N, n);
            g->dots(&b, &pair, 1, d.a, N, d.b, N, n);
            assert_close(&a, &b, 1, 1e-4);
            int64_t n_hits = k->scan(hits, d.a, d.b, 0.8F, 0.1F, n);
            assert_int_equal(n_hits, g->scan(hits0, d.a, d.b, 0.8F, 0.1F, n));
            assert_memory_equal(hits, hits0, (size_t)n_hits * sizeof(*hits));
            d.b[n / 2] = NAN; /* what cannot be compared is a candidate */
            n_hits = k->scan(hits, d.a, d.b, 0, 0.1F, n / 2 + 1);
            assert_int_equal(n_hits, 1);
            assert_int_equal(hits[0], n / 2);
        }
    }
}

/* Two widths add in one order: AVX2 and AVX-512 give the same bits. */
static void test_sums_do_not_depend_on_width(void **state)
{
    (void)state;
    static struct data d;
    const struct um_kernels *k = um_kernels_at(UM_CPU_AVX2), *l = um_kernels_at(UM_CPU_AVX512);
    fill_data(&d, 3, 1);
    for (size_t s = 0; s < UM_COUNT(sizes); s++) {
        float a = k->sum(d.a, sizes[s]), b = l->sum(d.a, sizes[s]), c, e;
        struct um_pair pair = {0, 0};
        k->dots(&c, &pair, 1, d.a, N, d.b, N, sizes[s]);
        l->dots(&e, &pair, 1, d.a, N, d.b, N, sizes[s]);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_memory_equal(&c, &e, sizeof(c));
    }
}

/* A pair's bits do not depend on what else is asked for. */
static void test_dots_are_the_same_in_any_list(void **state)
{
    (void)state;
    enum { ROWS = 3, COLUMNS = 5, LENGTH = 700 };
    static float dy[ROWS * LENGTH], x[COLUMNS * LENGTH];
    struct um_random r = {.seed = 8};
    for (size_t i = 0; i < UM_COUNT(dy); i++)
        dy[i] = (float)um_random_normal(&r);
    for (size_t i = 0; i < UM_COUNT(x); i++)
        x[i] = (float)um_random_normal(&r);
    for (int level = UM_CPU_GENERIC; level <= UM_CPU_AVX512; level++) {
        const struct um_kernels *k = um_kernels_at((enum um_cpu_level)level);
        for (int64_t n = 1; n <= LENGTH; n += 233) {
            struct um_pair pairs[ROWS * COLUMNS];
            float all[ROWS * COLUMNS], one;
            for (int i = 0; i < ROWS * COLUMNS; i++)
                pairs[i] = (struct um_pair){i / COLUMNS, i % COLUMNS};
            k->dots(all, pairs, ROWS * COLUMNS, dy, LENGTH, x, LENGTH, n);
            for (int i = 0; i < ROWS * COLUMNS; i++) {
                k->dots(&one, &pairs[i], 1, dy, LENGTH, x, LENGTH, n);
                assert_memory_equal(&one, &all[i], sizeof(one));
            }
        }
    }
}

static void test_16_bit_floats_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t in = (uint16_t)h, out;
        float value;
        for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
            enum um_dtype dtype = is_bf16 ? UM_BF16 : UM_F16;
            um_to_f32(&value, &in, dtype, 1);
            um_from_f32(&out, &value, dtype, 1);
            if (isnan(value))
                assert_true((out & 0x7fff) > (is_bf16 ? 0x7f80 : 0x7c00));
            else
                assert_int_equal(in, out);
        }
    }
    const float halves[] = {1.00048828125F, 65519.9F, 65520, 5.9604645e-8F, 2.9e-8F};
    const uint16_t expected[] = {0x3c00, 0x7bff, 0x7c00, 1, 0};
    uint16_t out[5];
    um_from_f32(out, halves, UM_F16, 5);
    assert_memory_equal(out, expected, sizeof(out));
}

static void test_pool_gives_back_and_joins(void **state)
{
    (void)state;
    struct um_pool pool;
    struct um_error err;
    assert_ok(um_pool_open(&pool, 1 << 20, false, &err), err);
    float *blocks[64];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 64; i++) {
            blocks[i] = um_pool_take(&pool, 100 + i * 7);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 64, 0);
            blocks[i][0] = blocks[i][99 + i * 7] = (float)i;
        }
        for (int i = 0; i < 64; i++)
            assert_true(blocks[i][0] == (float)i);
        for (int i = 0; i < 64; i++)
            um_pool_give(&pool, blocks[(i * 37) % 64]);
        assert_int_equal(pool.used_bytes, 0);
        assert_int_equal(pool.n_blocks, 1);
    }
    assert_null(um_pool_take(&pool, 1 << 20));
    um_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise_levels_agree),
        cmocka_unit_test(test_activations_match_libm),
        cmocka_unit_test(test_dropout_is_the_same_everywhere),
        cmocka_unit_test(test_dropout_follows_philox),
        cmocka_unit_test(test_columns_levels_agree),
        cmocka_unit_test(test_dots_and_scan_levels_agree),
        cmocka_unit_test(test_sums_do_not_depend_on_width),
        cmocka_unit_test(test_dots_are_the_same_in_any_list),
        cmocka_unit_test(test_16_bit_floats_round_trip),
        cmocka_unit_test(test_pool_gives_back_and_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
