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
    struct um_value *remade; /* set by the op: a value that forward does not keep */
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
    if (b->remade && !b->recompute)
        assert_true(b->remade->is_remade && !b->remade->data);
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

static struct um_value *op_transposed(struct bench *b, struct um_tape *t, struct um_value *x)
{
    return um_linear_transposed(t, x, &b->params[3], &b->params[4]);
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
    open_bench(&b, op_transposed, 5);
    param(&b, D, 5);
    param(&b, 5, 1);
    check(&b);
}

/* A low-rank change of params[3] by params 5 to 7, with dropout. */
static struct um_value *op_low_rank(struct bench *b, struct um_tape *t, struct um_value *x)
{
    const struct um_low_rank pair = {.down = &b->params[5], .up = &b->params[6],
                                     .lambda = &b->params[7], .scale = 1.7F, .dropout = 0.3F};
    struct um_low_rank *kept = um_arena_alloc(&t->arena, sizeof(pair));
    assert_non_null(kept);
    *kept = pair;
    b->params[3].low_rank = kept;
    return b->params[3].is_turned ? um_linear_transposed(t, x, &b->params[3], &b->params[4])
                                  : um_linear(t, x, &b->params[3], &b->params[4]);
}

/* The lengths of DoRA's rows count as constants in the backward pass, so that only what they do not
 * depend on is compared: the map itself, down and up want no gradient. */
static struct um_value *op_magnitude(struct bench *b, struct um_tape *t, struct um_value *x)
{
    static float maps[3][64];
    static struct um_param parts[3];
    static struct um_low_rank pair;
    const int64_t shapes[3][2] = {{5, D}, {2, D}, {5, 2}};
    struct um_random random = {.seed = 5};
    for (int k = 0; k < 3; k++) {
        parts[k] = (struct um_param){.name = "w", .rows = shapes[k][0], .cols = shapes[k][1],
                                     .n_elements = shapes[k][0] * shapes[k][1], .dtype = UM_F32,
                                     .values = maps[k]};
        for (int64_t i = 0; i < parts[k].n_elements; i++)
            maps[k][i] = (float)um_random_normal(&random);
    }
    pair = (struct um_low_rank){.down = &parts[1], .up = &parts[2], .magnitude = &b->params[3],
                                .scale = 0.8F};
    parts[0].low_rank = &pair;
    return um_linear(t, x, &parts[0], &b->params[4]);
}

static void test_low_rank(void **state)
{
    (void)state;
    struct bench b;
    for (int is_turned = 0; is_turned < 2; is_turned++) {
        open_bench(&b, op_low_rank, 5);
        param(&b, is_turned ? D : 5, is_turned ? 5 : D)->is_turned = is_turned;
        param(&b, 5, 1);
        param(&b, 3, D);
        param(&b, 5, 3);
        param(&b, 3, 1);
        check(&b);
    }
    open_bench(&b, op_magnitude, 5);
    param(&b, 5, 1);
    param(&b, 5, 1);
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

/* Two heads, weights less one. */
static struct um_value *op_heads(struct bench *b, struct um_tape *t, struct um_value *x)
{
    return um_norm(t, x, &b->params[3], NULL,
                   (struct um_norm_options){.eps = 1e-5F, .is_rms = true, .adds_one = true});
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
    open_bench(&b, op_heads, D);
    param(&b, D / 2, 1);
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

static struct um_value *op_packed(struct bench *b, struct um_tape *t, struct um_value *x)
{
    struct um_value *qkv = um_linear(t, x, &b->params[3], NULL);
    struct um_value *y = um_attention_packed(t, qkv, attention);
    /* A second use, so that gradients are added to as well as written. */
    return um_residual(t, y, um_attention_packed(t, qkv, attention), 0);
}

static void test_packed_attention(void **state)
{
    (void)state;
    static const struct um_attention_options cases[] = {
        {.n_heads = 2, .n_kv_heads = 2, .is_causal = true},
        {.n_heads = 4, .n_kv_heads = 1, .is_causal = true, .cap = 1.5F},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct bench b;
        attention = cases[i];
        open_bench(&b, op_packed, D);
        param(&b, D / attention.n_heads * (attention.n_heads + 2 * attention.n_kv_heads), D);
        check(&b);
    }
}

static void test_attention(void **state)
{
    (void)state;
    static const struct um_attention_options cases[] = {
        {.n_heads = 2, .n_kv_heads = 2},
        {.n_heads = 4, .n_kv_heads = 2, .is_causal = true},
        {.n_heads = 4, .n_kv_heads = 1, .is_causal = true, .window = 2, .dropout = 0.25F},
        {.n_heads = 2, .n_kv_heads = 2, .dropout = 0.25F},
        {.n_heads = 4, .n_kv_heads = 2, .is_causal = true, .cap = 0.8F, .dropout = 0.25F},
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

/* Pairs of heads of 4, both ways to pair; a gradient is written and added to. */
static struct um_value *op_rope(struct bench *b, struct um_tape *t, struct um_value *x)
{
    static const int32_t positions[T] = {0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 5};
    (void)b;
    struct um_value *angles = um_rope_angles(t, positions, T, D / 2,
                                             (struct um_rope_options){.theta = 100});
    return um_residual(t, um_rope(t, x, angles, false), um_rope(t, x, angles, true), 0);
}

static struct um_value *op_gate(struct bench *b, struct um_tape *t, struct um_value *x)
{
    struct um_value *u = um_linear(t, x, &b->params[3], NULL);
    return um_gate(t, x, um_gate(t, x, u, kind), kind);
}

static struct um_value *op_cap(struct bench *b, struct um_tape *t, struct um_value *x)
{
    (void)b;
    return um_residual(t, um_soft_cap(t, x, 0.9F), um_soft_cap(t, x, 2), 0);
}

static void test_rope_gate_and_cap(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_rope, D);
    check(&b);
    open_bench(&b, op_cap, D);
    check(&b);
    for (kind = UM_ACT_GELU; kind <= UM_ACT_TANH; kind++) {
        open_bench(&b, op_gate, D);
        param(&b, D, D);
        check(&b);
    }
}

/* Of two norms in a row the first is made again, the second is kept: it could not be made from what
 * is not there. */
static struct um_value *op_norms(struct bench *b, struct um_tape *t, struct um_value *x)
{
    const struct um_norm_options options = {.eps = 1e-5F};
    b->remade = um_norm(t, x, &b->params[3], NULL, options);
    return um_activate(t, um_norm(t, b->remade, &b->params[4], NULL, options), UM_ACT_GELU);
}

static void test_cheap_values_are_made_again(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, op_norms, D);
    param(&b, D, 1);
    param(&b, D, 1);
    check(&b);
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

/* What the head's sink sees: the sum of the parts, and rows made again. */
struct head_sink {
    struct bench *b;
    int n_parts;
    float *again; /* [V, n] */
};

static void accept_head(void *user, struct um_param *p, const struct um_factor *f)
{
    struct head_sink *s = user;
    s->n_parts += f->is_part;
    if (f->kind != UM_FACTOR_HEAD) {
        accept(s->b, p, f);
        return;
    }
    int32_t *rows = UM_NEW(p->rows, int32_t);
    float *scratch = UM_NEW(um_head_rows_scratch(p, p->rows, f->n_tokens), float);
    for (int64_t i = 0; i < p->rows; i++)
        rows[i] = (int32_t)i;
    um_head_rows(s->again, f->n_tokens, f->head, f->x, f->ldx, f->n_tokens, rows, p->rows, scratch);
    um_free(rows);
    um_free(scratch);
}

/*
 * A tied head over a vocabulary so large that its logits take several chunks: loss and the whole
 * gradient (of the head and of the look-ups) against the formula in double, also with a soft cap.
 */
static void check_head(float cap)
{
    enum { V = 150000, W = 3, N = 100 };
    struct bench b = {.random = {.seed = 8}};
    struct um_param *table = param(&b, V, W);
    struct um_tape tape;
    struct um_pool pool;
    struct um_error err;
    int32_t ids[N], labels[N];
    float *again = UM_NEW(V * N, float);
    double *expected = UM_NEW(V * W, double), *p = UM_NEW(V, double), loss = 0;
    for (int t = 0; t < N; t++) {
        ids[t] = t * 7;
        labels[t] = t * 1493 + 5;
    }
    for (int t = 0; t < N; t++) {
        const float *x = table->values + ids[t] * W;
        double sum = 0, d_x[W] = {0};
        for (int v = 0; v < V; v++) {
            double l = 0;
            for (int d = 0; d < W; d++)
                l += (double)table->values[v * W + d] * (double)x[d];
            p[v] = cap != 0 ? (double)cap * tanh(l / (double)cap) : l;
            sum += exp(p[v]);
        }
        loss += (log(sum) - p[labels[t]]) / (2 * N);
        for (int v = 0; v < V; v++) {
            double squash = cap != 0 ? 1 - pow(p[v] / (double)cap, 2) : 1;
            double dl = (exp(p[v]) / sum - (v == labels[t])) * squash / (2 * N);
            for (int d = 0; d < W; d++) {
                expected[v * W + d] += dl * (double)x[d];
                d_x[d] += dl * (double)table->values[v * W + d];
            }
        }
        for (int d = 0; d < W; d++)
            expected[ids[t] * W + d] += d_x[d];
    }
    struct head_sink sink = {.b = &b, .again = again};
    assert_ok(um_pool_open(&pool, (size_t)1 << 30, false, &err), err);
    um_tape_open(&tape, &pool, (struct um_sequences){0});
    tape.is_training = true;
    tape.sink = (struct um_sink){.accept = accept_head, .user = &sink};
    struct um_value *x = um_embed(&tape, &(struct um_lookup){table, ids}, 1, N, 1);
    struct um_value *l = um_head_loss(&tape, x,
                                      (struct um_head){.weight = table, .labels = labels,
                                                       .normalizer = 2 * N, .cap = cap});
    assert_ok(um_tape_forward(&tape, &err), err);
    assert_true(fabs((double)l->data[0] - loss) < 1e-6 * loss);
    assert_ok(um_tape_backward(&tape, &err), err);
    assert_true(sink.n_parts > 1);
    double worst = 0, most = 0;
    for (int i = 0; i < V * W; i++) {
        worst = fmax(worst, fabs(expected[i] - (double)b.grads[0][i]));
        most = fmax(most, fabs(expected[i]));
    }
    if (!(worst < 1e-5 * most))
        fail_msg("the head's gradient differs by %g of %g", worst, most);
    /* A row made again, times x, is the head's share: all of it where nothing was looked up. */
    for (int v = 1; v < V; v += 997) {
        for (int d = 0; d < W && v % 7; d++) {
            double sum = 0;
            for (int t = 0; t < N; t++)
                sum += (double)again[v * N + t] * (double)table->values[ids[t] * W + d];
            assert_true(fabs(sum - expected[v * W + d]) < 1e-6 * most);
        }
    }
    um_tape_close(&tape);
    um_pool_close(&pool);
    um_free(again);
    um_free(expected);
    um_free(p);
    close_bench(&b);
}

static void test_head(void **state)
{
    (void)state;
    check_head(0);
    check_head(1.2F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_low_rank),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_dropout_and_residual),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_packed_attention),
        cmocka_unit_test(test_rope_gate_and_cap),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_cheap_values_are_made_again),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_shapes_that_do_not_fit_fail_the_tape),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
