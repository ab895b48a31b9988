/* Orders of rows, and rows as tokens. */
#include "test.h"

#include <omp.h>

#include "data/batches.h"
#include "data/encoded.h"
#include "text/tokenizer.h"

enum { N_ROWS = 531, BATCH = 8, N_BATCHES = 67, LONGEST = 97 };
static int64_t lengths[N_ROWS];

static struct um_batches open_batches(enum um_order order, int64_t n_rows, int64_t batch,
                                      uint64_t seed)
{
    struct um_batches b;
    struct um_error err;
    for (int i = 0; i < N_ROWS; i++)
        lengths[i] = 1 + (i * 7919) % LONGEST;
    assert_ok(um_batches_open(&b, order, n_rows, batch, seed, lengths, &err), err);
    return b;
}

static void test_every_row_once_per_epoch(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{N_ROWS, BATCH}, {N_ROWS, 1},      {N_ROWS, 3},
                                       {N_ROWS, N_ROWS}, {N_ROWS, 100000}, {1, 4}};
    for (size_t s = 0; s < UM_COUNT(sizes); s++) {
        for (int order = 0; order < UM_N_ORDERS; order++) {
            int64_t n_rows = sizes[s][0], batch = sizes[s][1], n_seen = 0, n;
            struct um_batches b = open_batches((enum um_order)order, n_rows, batch, 3);
            int seen[N_ROWS] = {0};
            int64_t n_batches = um_batches_per_epoch(&b);
            assert_int_equal(n_batches, (n_rows + batch - 1) / batch);
            for (int64_t i = 0; i < n_batches; i++) {
                const int64_t *rows = um_batches_rows(&n, &b, 5, i);
                if (i < n_batches - 1)
                    assert_int_equal(n, batch);
                for (int64_t k = 0; k < n; k++)
                    seen[rows[k]]++;
                n_seen += n;
            }
            assert_int_equal(n_seen, n_rows);
            for (int64_t i = 0; i < n_rows; i++)
                assert_int_equal(seen[i], 1);
            um_batches_close(&b);
        }
    }
}

/* A batch depends on its epoch and number only, whatever was asked for before. */
static void test_orders_are_pure(void **state)
{
    (void)state;
    static const int64_t asked[][2] = {{3, 66}, {0, 0}, {3, 1}, {7, 20}, {0, 65}};
    for (int order = 0; order < UM_N_ORDERS; order++) {
        struct um_batches used = open_batches((enum um_order)order, N_ROWS, BATCH, 42);
        for (size_t i = 0; i < UM_COUNT(asked); i++) {
            int64_t n, n_fresh;
            struct um_batches fresh = open_batches((enum um_order)order, N_ROWS, BATCH, 42);
            const int64_t *rows = um_batches_rows(&n, &used, asked[i][0], asked[i][1]);
            const int64_t *again = um_batches_rows(&n_fresh, &fresh, asked[i][0], asked[i][1]);
            assert_int_equal(n, n_fresh);
            assert_memory_equal(rows, again, (size_t)n * sizeof(*rows));
            um_batches_close(&fresh);
        }
        um_batches_close(&used);
    }
}

static void test_orders_differ(void **state)
{
    (void)state;
    for (int order = 0; order < UM_N_ORDERS; order++) {
        struct um_batches a = open_batches((enum um_order)order, N_ROWS, N_ROWS, 1);
        struct um_batches b = open_batches((enum um_order)order, N_ROWS, N_ROWS, 2);
        int64_t n, first[N_ROWS];
        const size_t bytes = sizeof(first);
        memcpy(first, um_batches_rows(&n, &a, 0, 0), bytes);
        bool next_epoch = memcmp(first, um_batches_rows(&n, &a, 1, 0), bytes) != 0;
        bool other_seed = memcmp(first, um_batches_rows(&n, &b, 0, 0), bytes) != 0;
        assert_int_equal(next_epoch, order != UM_ORDER_SEQUENTIAL);
        assert_int_equal(other_seed, order != UM_ORDER_SEQUENTIAL);
        for (int64_t i = 0; i < N_ROWS && order == UM_ORDER_SEQUENTIAL; i++)
            assert_int_equal(first[i], i);
        um_batches_close(&a);
        um_batches_close(&b);
    }
}

/* The longest batch comes first, and rows of a batch differ little in length. */
static void test_groups_are_of_like_length(void **state)
{
    (void)state;
    struct um_batches b = open_batches(UM_ORDER_GROUPED, N_ROWS, BATCH, 9);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t spread = 0;
        for (int64_t i = 0; i < N_BATCHES; i++) {
            int64_t n, low = LONGEST, high = 0;
            const int64_t *rows = um_batches_rows(&n, &b, epoch, i);
            for (int64_t k = 0; k < n; k++) {
                low = lengths[rows[k]] < low ? lengths[rows[k]] : low;
                high = lengths[rows[k]] > high ? lengths[rows[k]] : high;
            }
            if (i == 0)
                assert_int_equal(high, LONGEST);
            spread += high - low;
        }
        /* 50 batches sorted together span 97 lengths: about 2 a batch, not the 75 of chance. */
        assert_in_range(spread, 1, 5 * N_BATCHES);
    }
    um_batches_close(&b);
}

#define TOKENIZER                                                                                  \
    "{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"model\":{\"type\":\"WordPiece\","              \
    "\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1,\"b\":2,\"c\":3}}}"

enum { N_TEXTS = 1000 }; /* several chunks of work */
static char texts[N_TEXTS][64];

static void make_rows(struct um_row *rows)
{
    for (int i = 0; i < N_TEXTS; i++) {
        texts[i][0] = '\0';
        for (int k = 0; k <= i % 7; k++)
            strcat(texts[i], (i + k) % 3 ? "a " : "b ");
        rows[i] = (struct um_row){.text = texts[i], .n_text = strlen(texts[i])};
    }
}

static struct um_tokenizer *make_tokenizer(void)
{
    struct um_tokenizer *tokenizer;
    struct um_error err;
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, TOKENIZER, strlen(TOKENIZER), "test", &err), err);
    return tokenizer;
}

static enum um_status open_encoded(struct um_encoded *e, const struct um_tokenizer *tokenizer,
                                   struct um_row *rows, int64_t max_length, int64_t n_vocabulary,
                                   struct um_error *err)
{
    const struct um_dataset data = {.rows = rows, .n_rows = N_TEXTS};
    const struct um_encode_options options = {
        .tokenizer = tokenizer, .max_length = max_length, .n_vocabulary = n_vocabulary};
    return um_encoded_open(e, &data, &options, err);
}

/* Rows end to end in their order, cut where they are too long, for any number of threads. */
static void test_rows_as_tokens(void **state)
{
    (void)state;
    static struct um_row rows[N_TEXTS];
    struct um_tokenizer *tokenizer = make_tokenizer();
    int n_threads = omp_get_max_threads();
    make_rows(rows);
    for (int threads = 1; threads <= 3; threads++) {
        struct um_encoded e;
        struct um_error err;
        omp_set_num_threads(threads);
        assert_ok(open_encoded(&e, tokenizer, rows, 5, 4, &err), err);
        int64_t n_cut = 0;
        for (int i = 0; i < N_TEXTS; i++) {
            int64_t n = i % 7 + 1;
            n_cut += n > 5;
            assert_int_equal(e.lengths[i], n < 5 ? n : 5);
            assert_int_equal(e.offsets[i + 1] - e.offsets[i], e.lengths[i]);
            for (int64_t k = 0; k < e.lengths[i]; k++)
                assert_int_equal(e.ids[e.offsets[i] + k], (i + k) % 3 ? 1 : 2);
        }
        assert_int_equal(e.n_truncated, n_cut);
        um_encoded_close(&e);
    }
    omp_set_num_threads(n_threads);
    um_tokenizer_free(tokenizer);
}

/* The first row at fault is the one that is told of, whichever thread met one first. */
static void test_ids_the_model_lacks(void **state)
{
    (void)state;
    static struct um_row rows[N_TEXTS];
    struct um_tokenizer *tokenizer = make_tokenizer();
    struct um_encoded e;
    struct um_error err;
    size_t used = um_mem_used();
    make_rows(rows);
    rows[300].text = "c";
    rows[300].n_text = 1;
    assert_fails(open_encoded(&e, tokenizer, rows, 5, 2, &err), UM_E_INPUT,
                 "id 2 ('b'), but the model knows 2", err);
    assert_fails(open_encoded(&e, tokenizer, rows, 5, 3, &err), UM_E_INPUT,
                 "id 3 ('c'), but the model knows 3", err);
    for (int64_t n = 1; n < 12; n++) {
        um_mem_fail_after(n);
        enum um_status status = open_encoded(&e, tokenizer, rows, 5, 4, &err);
        um_mem_fail_after(0);
        assert_int_equal(status, UM_E_RUNTIME);
        assert_int_equal(um_mem_used(), used);
    }
    um_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_once_per_epoch),
        cmocka_unit_test(test_orders_are_pure),
        cmocka_unit_test(test_orders_differ),
        cmocka_unit_test(test_groups_are_of_like_length),
        cmocka_unit_test(test_rows_as_tokens),
        cmocka_unit_test(test_ids_the_model_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
