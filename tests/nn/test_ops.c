/*
 * Every op against finite differences: a small graph embed -> op -> linear -> squared error, whose
 * gradients (of the table that feeds the op and of the op's own parameters) must equal central
 * differences of the loss. Also: recomputation gives the same bits, and a dry run the same memory.
 */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "method/gradient.h"
#include "nn/ops.h"

enum { T = 11, D = 8, N_PARAMS_MAX = 8, POOL_BYTES = 1 << 22 };

/* A graph under test: params, and the op in the middle. */
struct bench {
    struct um_param params[N_PARAMS_MAX];
    int n_params;
    float *grads[N_PARAMS_MAX];
    struct um_value *(*op)(struct bench *b, struct um_tape *tape, struct um_value *x);
    bool is_training, recompute;
    float loss;
    struct um_gradient_work work;
    struct um_random random;
    size_t peak;
};

static struct um_param *param(struct bench *b, int64_t rows, int64_t cols)
{
    struct um_param *p = &b->params[b->n_params];
    *p = (struct um_param){.name = "p", .index = b->n_params, .rows = rows, .cols = cols,
                           .n_elements = rows * cols, .dtype = UM_F32, .wants_grad = true};
    p->values = UM_NEW(p->n_elements, float);
    b->grads[b->n_params++] = UM_NEW(p->n_elements, float);
    assert_non_null(p->values);
    for (int64_t i = 0; i < p->n_elements; i++)
        p->values[i] = (float)um_random_normal(&b->random) * 0.7F;
    return p;
}

static void accept(void *user, struct um_param *p, const struct um_factor *factor)
{
    struct bench *b = user;
    struct um_gradient g;
    struct um_error err;
    assert_ok(um_gradient_of(&g, &b->work, p, factor, &err), err);
    um_gradient_dense(b->grads[p->index], &g, true);
}

/* Runs the graph; with gradients if `backward`. Returns the loss. */
static float run(struct bench *b, bool backward, bool is_dry)
{
    static const int64_t offsets[] = {0, 4, 5, T};
    static const float targets[T] = {0.3F, -1, 2, 0.1F, 0.5F, 1, -0.4F, 0, 1, 2, -2};
    static const int32_t ids[T] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3};
    struct um_pool pool;
    struct um_tape tape;
    struct um_error err;
    assert_ok(um_pool_open(&pool, POOL_BYTES, is_dry, &err), err);
    um_tape_open(&tape, &pool, (struct um_sequences){.n = 3, .offsets = offsets});
    tape.is_training = b->is_training;
    tape.recompute = b->recompute;
    tape.seed = 7;
    tape.sink = (struct um_sink){.accept = accept, .user = b};
    const struct um_lookup lookup = {&b->params[0], ids};
    struct um_value *x = um_embed(&tape, &lookup, 1, T, 1.5F);
    um_tape_block_begin(&tape);
    struct um_value *y = b->op(b, &tape, x);
    um_tape_block_end(&tape);
    struct um_value *out = um_linear(&tape, y, &b->params[1], &b->params[2]);
    struct um_value *loss = um_squared_error(&tape, out, targets, T);
    assert_ok(um_tape_forward(&tape, &err), err);
    float value = is_dry ? 0 : loss->data[0];
    for (int i = 0; backward && i < b->n_params; i++)
        memset(b->grads[i], 0, (size_t)b->params[i].n_elements * sizeof(float));
    if (backward)
        assert_ok(um_tape_backward(&tape, &err), err);
    b->peak = pool.peak_bytes;
    um_tape_close(&tape);
    um_pool_close(&pool);
    return value;
}

static void open_bench(struct bench *b, struct um_value *(*op)(struct bench *, struct um_tape *,
                                                               struct um_value *),
                       int64_t out_rows)
{
    *b = (struct bench){.op = op, .is_training = true, .random = {.seed = 3}};
    param(b, 10, D);
    param(b, 1, out_rows);
    param(b, 1, 1);
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < b->n_params; i++) {
        um_free(b->params[i].values);
        um_free(b->grads[i]);
    }
    um_gradient_work_free(&b->work);
}

static void check_differences(struct bench *b)
{
    run(b, true, false);
    for (int p = 0; p < b->n_params; p++) {
        struct um_param *q = &b->params[p];
        double most = 1e-3;
        for (int64_t i = 0; i < q->n_elements; i++)
            most = fmax(most, fabs((double)b->grads[p][i]));
        for (int64_t i = 0; i < q->n_elements; i++) {
            const float h = 4e-3F, was = q->values[i];
            q->values[i] = was + h;
            double above = (double)run(b, false, false);
            q->values[i] = was - h;
            double below = (double)run(b, false, false);
            q->values[i] = was;
            double numeric = (above - below) / (2 * (double)h);
            if (fabs(numeric - (double)b->grads[p][i]) > 5e-3 * most)
                fail_msg("param %d element %lld: %g by differences, %g by backward", p,
                         (long long)i, numeric, (double)b->grads[p][i]);
        }
    }
}

/* The same bits when blocks are computed again, and the same peak on a dry pool. */
static void check_recompute(struct bench *b)
{
    float *plain[N_PARAMS_MAX], loss = run(b, true, false);
    size_t peak = b->peak;
    run(b, true, true);
    assert_int_equal(b->peak, peak);
    run(b, true, false);
    for (int p = 0; p < b->n_params; p++) {
        plain[p] = UM_NEW(b->params[p].n_elements, float);
        memcpy(plain[p], b->grads[p], (size_t)b->params[p].n_elements * sizeof(float));
    }
    b->recompute = true;
    assert_true(run(b, true, false) == loss);
    peak = b->peak;
    for (int p = 0; p < b->n_params; p++) {
        assert_memory_equal(plain[p], b->grads[p],
                            (size_t)b->params[p].n_elements * sizeof(float));
        um_free(plain[p]);
    }
    run(b, true, true);
    assert_int_equal(b->peak, peak);
}

static void check(struct bench *b)
{
    check_differences(b);
    check_recompute(b);
    close_bench(b);
}

static struct um_value *op_linear(struct bench *b, struct um_tape *t, struct um_value *x)
{
    return um_linear(t, um_linear(t, x, &b->params[3], &b->params[4]), &b->params[5], NULL);
}

static void test_linear(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_linear, 5);
    param(&b, 7, D);
    param(&b, 7, 1);
    param(&b, 5, 7);
    check(&b);
}

static struct um_value *op_norm(struct bench *b, struct um_tape *t, struct um_value *x)
{
    return um_norm(t, x, &b->params[3], &b->params[4], (struct um_norm_options){.eps = 1e-5F});
}

static struct um_value *op_rms(struct bench *b, struct um_tape *t, struct um_value *x)
{
    return um_norm(t, x, &b->params[3], NULL,
                   (struct um_norm_options){.eps = 1e-5F, .is_rms = true});
}

static void test_norm(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_norm, D);
    param(&b, D, 1);
    param(&b, D, 1);
    check(&b);
    open_bench(&b, op_rms, D);
    param(&b, D, 1);
    check(&b);
}

static enum um_activation kind;
static struct um_value *op_activate(struct bench *b, struct um_tape *t, struct um_value *x)
{
    (void)b;
    /* Twice, so that a gradient is both written and added to. */
    return um_residual(t, um_activate(t, x, kind), um_activate(t, x, kind), 0);
}

static void test_activations(void **state)
{
    (void)state;
    for (kind = UM_ACT_GELU; kind <= UM_ACT_TANH; kind++) {
        struct bench b;
        open_bench(&b, op_activate, D);
        check(&b);
    }
}

static struct um_value *op_dropout(struct bench *b, struct um_tape *t, struct um_value *x)
{
    struct um_value *y = um_dropout(t, um_linear(t, x, &b->params[3], NULL), 0.3F);
    return um_residual(t, x, um_residual(t, x, y, 0.4F), 0.2F);
}

static void test_dropout_and_residual(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_dropout, D);
    param(&b, D, D);
    check(&b);
}

static struct um_attention_options attention;
static struct um_value *op_attention(struct bench *b, struct um_tape *t, struct um_value *x)
{
    struct um_value *q = um_linear(t, x, &b->params[3], NULL);
    struct um_value *k = um_linear(t, x, &b->params[4], NULL);
    return um_attention(t, q, k, um_linear(t, x, &b->params[5], NULL), attention);
}

static void test_attention(void **state)
{
    (void)state;
    static const struct um_attention_options cases[] = {
        {.n_heads = 2, .n_kv_heads = 2},
        {.n_heads = 4, .n_kv_heads = 2, .is_causal = true},
        {.n_heads = 4, .n_kv_heads = 1, .is_causal = true, .window = 2, .dropout = 0.25F},
        {.n_heads = 2, .n_kv_heads = 2, .dropout = 0.25F},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct bench b;
        attention = cases[i];
        open_bench(&b, op_attention, D);
        param(&b, D, D);
        param(&b, D / attention.n_heads * attention.n_kv_heads, D);
        param(&b, D / attention.n_heads * attention.n_kv_heads, D);
        check(&b);
    }
}

static struct um_value *op_columns(struct bench *b, struct um_tape *t, struct um_value *x)
{
    (void)b;
    static const int32_t columns[T] = {0, 4, 5, 5, 10, 1, 2, 3, 6, 7, 8};
    return um_residual(t, um_take_columns(t, x, columns, T), x, 0);
}

static void test_columns(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_columns, D);
    check(&b);
}

static void test_shapes_that_do_not_fit_fail_the_tape(void **state)
{
    (void)state;
    struct bench b;
    struct um_tape tape;
    struct um_pool pool;
    struct um_error err;
    const int32_t ids[1] = {0};
    open_bench(&b, op_columns, D + 1);
    assert_ok(um_pool_open(&pool, POOL_BYTES, false, &err), err);
    um_tape_open(&tape, &pool, (struct um_sequences){0});
    um_linear(&tape, um_embed(&tape, &(struct um_lookup){&b.params[0], ids}, 1, 1, 1),
              &b.params[1], NULL);
    assert_fails(um_tape_forward(&tape, &err), UM_E_RUNTIME, "does not fit", err);
    um_tape_close(&tape);
    um_pool_close(&pool);
    close_bench(&b);
}

/* Cross entropy has its own outputs, so it is checked apart: against the formula in double. */
static void test_cross_entropy(void **state)
{
    (void)state;
    struct bench b = {.random = {.seed = 5}};
    struct um_param *table = param(&b, 3, 4);
    static const int32_t ids[3] = {0, 1, 2}, labels[3] = {3, 0, 2};
    struct um_tape tape;
    struct um_pool pool;
    struct um_error err;
    assert_ok(um_pool_open(&pool, POOL_BYTES, false, &err), err);
    um_tape_open(&tape, &pool, (struct um_sequences){0});
    tape.is_training = true;
    tape.sink = (struct um_sink){.accept = accept, .user = &b};
    struct um_value *x = um_embed(&tape, &(struct um_lookup){table, ids}, 1, 3, 1);
    struct um_value *loss = um_cross_entropy(&tape, x, labels, 6);
    assert_ok(um_tape_forward(&tape, &err), err);
    double expected = 0;
    double p[3][4];
    for (int t = 0; t < 3; t++) {
        double sum = 0;
        for (int k = 0; k < 4; k++)
            sum += p[t][k] = exp((double)table->values[t * 4 + k]);
        for (int k = 0; k < 4; k++)
            p[t][k] /= sum;
        expected -= log(p[t][labels[t]]) / 6;
    }
    assert_true(fabs((double)loss->data[0] - expected) < 1e-6);
    assert_ok(um_tape_backward(&tape, &err), err);
    for (int t = 0; t < 3; t++)
        for (int k = 0; k < 4; k++)
            assert_true(fabs((double)b.grads[0][t * 4 + k] - (p[t][k] - (k == labels[t])) / 6) <
                        1e-7);
    um_tape_close(&tape);
    um_pool_close(&pool);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_dropout_and_residual),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_shapes_that_do_not_fit_fail_the_tape),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
