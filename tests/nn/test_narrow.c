/* Maps of few columns from stored weights: every type, with changed values over it and a bias, by
 * every way there is, against double. */
#include "test.h"

#include <math.h>

#include "base/philox.h"
#include "nn/ops.h"

enum { ROWS = 150, COLS = 256, N_MAX = 20, N_CHANGED = 3 };

struct map {
    struct um_param weight, bias;
    float *expanded;
    float bias_values[ROWS], x[COLS * N_MAX];
};

static const int64_t changed_index[N_CHANGED] = {3, 70 * COLS + 255, (int64_t)ROWS *COLS - 1};
static const float changed_value[N_CHANGED] = {2, -3, 1};

static void make_map(struct map *m, enum um_dtype dtype)
{
    struct um_random random = {.seed = 4, .stream = dtype};
    size_t bytes = um_dtype_size(dtype, (int64_t)ROWS * COLS), block = um_dtype_bytes(dtype);
    unsigned char *stored = um_alloc(bytes);
    float *values = um_alloc(sizeof(float) * ROWS * COLS);
    assert_true(stored && values);
    for (size_t i = 0; i < bytes; i++) /* no infinite scales, wherever a block has them */
        stored[i] = (unsigned char)um_random_u64(&random) & (block > 1 ? 0xBB : 0x3B);
    if (dtype == UM_F32)
        for (int64_t i = 0; i < (int64_t)ROWS * COLS; i++) {
            values[i] = (float)um_random_normal(&random);
            memcpy(stored + 4 * i, &values[i], 4);
        }
    m->weight = (struct um_param){.name = "w",
                                  .rows = ROWS,
                                  .cols = COLS,
                                  .n_elements = (int64_t)ROWS * COLS,
                                  .n_dims = 2,
                                  .dtype = dtype,
                                  .stored = stored};
    if (dtype == UM_F32)
        m->weight.values = (float *)(void *)stored;
    m->weight.overlay_index = changed_index;
    m->weight.overlay_value = changed_value;
    m->weight.n_overlay = dtype == UM_F32 ? 0 : N_CHANGED;
    const float *read = um_param_read(&m->weight, 0, ROWS, values);
    if (read != values)
        memcpy(values, read, sizeof(float) * ROWS * COLS);
    m->expanded = values;
    for (int i = 0; i < ROWS; i++)
        m->bias_values[i] = (float)um_random_normal(&random);
    for (int i = 0; i < COLS * N_MAX; i++)
        m->x[i] = (float)um_random_normal(&random);
    m->bias = (struct um_param){.name = "b",
                                .rows = ROWS,
                                .cols = 1,
                                .n_elements = ROWS,
                                .n_dims = 1,
                                .values = m->bias_values};
}

static void free_map(struct map *m)
{
    um_free((void *)(uintptr_t)m->weight.stored);
    um_free(m->expanded);
}

static void copy_in(struct um_tape *tape, struct um_node *node)
{
    (void)tape;
    const struct map *m = *(struct map *const *)node->options;
    for (int64_t j = 0; j < COLS; j++)
        memcpy(node->out->data + j * node->out->ld, m->x + j * N_MAX,
               (size_t)node->out->cols * sizeof(float));
}

static const struct um_op op_in = {.name = "in", .forward = copy_in};

static void check(struct map *m, int64_t n, bool has_bias)
{
    struct um_error err;
    struct um_pool pool;
    struct um_tape tape;
    assert_ok(um_pool_open(&pool, 16 << 20, false, &err), err);
    um_tape_open(&tape, &pool, (struct um_sequences){0});
    struct um_value *x = um_tape_value(&tape, COLS, n);
    (void)um_tape_append(&tape, &op_in, x, &m, sizeof(m));
    struct um_value *y = um_linear(&tape, x, &m->weight, has_bias ? &m->bias : NULL);
    y->is_output = true;
    assert_ok(um_tape_forward(&tape, &err), err);
    for (int64_t i = 0; i < ROWS; i++) {
        for (int64_t t = 0; t < n; t++) {
            double sum = has_bias ? (double)m->bias_values[i] : 0, size = fabs(sum);
            for (int64_t j = 0; j < COLS; j++) {
                double part = (double)m->expanded[i * COLS + j] * (double)m->x[j * N_MAX + t];
                sum += part;
                size += fabs(part);
            }
            if (!(fabs((double)y->data[i * y->ld + t] - sum) <= 2e-6 * size))
                fail_msg("%s, %d columns, row %d, column %d: %g, expected %g",
                         um_dtype_name(m->weight.dtype), (int)n, (int)i, (int)t,
                         (double)y->data[i * y->ld + t], sum);
        }
    }
    um_tape_close(&tape);
    um_pool_close(&pool);
}

static void test_every_type_and_width(void **state)
{
    (void)state;
    for (int t = 0; t < UM_N_DTYPES; t++) {
        struct map m;
        if (!um_dtype_is_weight((enum um_dtype)t))
            continue;
        make_map(&m, (enum um_dtype)t);
        for (int64_t n = 1; n <= N_MAX; n += n < 6 ? 1 : 7)
            check(&m, n, n % 2 == 0);
        free_map(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_and_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
