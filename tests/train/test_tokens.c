/*
 * The token objective: the loss is the mean over all learnt tokens of a step, however they are
 * spread over micro-batches and rows, and gradients are its derivative. So accumulation equals the
 * big batch, packed texts equal texts on their own, and the evaluation's loss is training's.
 */
#include "golden.h"

#include "data/encoded.h"
#include "method/method.h"
#include "train/task_model.h"

static const char *const names[] = {"llama_tied", "mistral_window", "gemma2", "gpt2"};

enum { V = 64, N_TEXTS = 7 };

struct rig {
    char folder[512];
    struct um_task_model tm;
    struct um_tuning tuning;
};

static void open_rig(struct rig *r, const char *name, int64_t n_micro)
{
    struct um_error err;
    const struct um_model_options options = {.dropout = 0};
    struct um_tuning_options full = {.method = um_method_find("full"), .n_micro = n_micro};
    *r = (struct rig){0};
    full.has_column[UM_COLUMN_FIRST] = full.has_column[UM_COLUMN_SECOND] = true;
    (void)snprintf(r->folder, sizeof(r->folder), GOLDEN_DIR "/models/%s/model", name);
    assert_ok(um_model_open(&r->tm.model, r->folder, &options, &err), err);
    assert_ok(um_engine_open(&r->tm.engine, &r->tm.model, 64 << 20, &err), err);
    r->tm.engine.objective = UM_OBJECTIVE_TOKEN;
    r->tm.max_length = r->tm.model.dims.P;
    assert_ok(um_tuning_open(&r->tuning, r->tm.model.params, r->tm.model.n_params, &full, &err),
              err);
}

static void close_rig(struct rig *r)
{
    um_tuning_close(&r->tuning);
    um_task_model_close(&r->tm);
}

/* Texts of unequal length, of which unequal shares are learnt, encoded as packed rows or not. */
struct texts {
    int32_t ids[256];
    uint8_t types[256];
    int64_t offsets[N_TEXTS + 1], lengths[N_TEXTS], weights[N_TEXTS];
    struct um_encoded encoded;
};

static void fill(struct texts *t, bool packs)
{
    static const int64_t lengths[N_TEXTS] = {5, 19, 2, 11, 30, 8, 3};
    uint32_t seed = 7;
    int64_t at = 0, row = -1;
    *t = (struct texts){0};
    for (int i = 0; i < N_TEXTS; i++) {
        if (!packs || row < 0 || t->lengths[row] + lengths[i] > 40)
            row++;
        for (int64_t k = 0; k < lengths[i]; k++, at++) {
            seed = seed * 1664525 + 1013904223;
            t->ids[at] = (int32_t)(3 + (seed >> 16) % (V - 3));
            t->types[at] = k == 0 ? UM_MARK_START : k == 1 || seed >> 31 ? UM_MARK_LEARNT : 0;
            t->weights[row] += t->types[at] == UM_MARK_LEARNT;
        }
        t->lengths[row] += lengths[i];
        t->offsets[row + 1] = at;
    }
    t->encoded = (struct um_encoded){.ids = t->ids, .types = t->types, .offsets = t->offsets,
                                     .lengths = t->lengths, .weights = t->weights,
                                     .n_rows = row + 1};
}

/* A step's loss, its gradients in the tuning; `batch` rows in each of the rig's micro-batches. */
static double step(struct rig *r, const struct texts *texts, int64_t batch)
{
    struct um_error err;
    double loss = 0;
    int64_t n_learnt = 0, rows[N_TEXTS], n = texts->encoded.n_rows;
    for (int64_t row = 0; row < n; row++) {
        n_learnt += texts->weights[row];
        rows[row] = row;
    }
    assert_ok(um_tuning_begin(&r->tuning, 0, 10, &err), err);
    for (int64_t at = 0, micro = 0; at < n; at += batch, micro++) {
        int64_t some = n - at < batch ? n - at : batch;
        um_tuning_micro(&r->tuning, micro, at + batch >= n);
        assert_ok(um_task_model_batch(&r->tm, &texts->encoded, NULL, rows + at, some, &err), err);
        assert_ok(um_engine_train(&loss, &r->tm.engine, &r->tm.batch, n_learnt, 0,
                                  um_tuning_sink(&r->tuning), &err),
                  err);
    }
    assert_ok(um_tuning_end(&r->tuning, &err), err);
    return loss;
}

/* The largest difference of gradients, of the largest gradient. */
static double gradient_difference(const struct rig *a, const struct rig *b)
{
    double most = 0, difference = 0;
    for (size_t e = 0; e < a->tuning.set.n_entries; e++) {
        const struct um_entry *x = &a->tuning.set.entries[e], *y = &b->tuning.set.entries[e];
        for (int64_t k = 0; k < x->n; k++) {
            double g = (double)x->column[UM_COLUMN_GRAD][k];
            most = fmax(most, fabs(g));
            difference = fmax(difference, fabs(g - (double)y->column[UM_COLUMN_GRAD][k]));
        }
    }
    assert_true(most > 0);
    return difference / most;
}

/* One big batch of texts on their own, against `texts` in micro-batches. */
static void assert_equals_big_batch(const char *name, const struct texts *texts, int64_t batch)
{
    struct rig big, other;
    struct texts whole;
    fill(&whole, false);
    open_rig(&big, name, 1);
    open_rig(&other, name, (texts->encoded.n_rows + batch - 1) / batch);
    double expected = step(&big, &whole, N_TEXTS), found = step(&other, texts, batch);
    if (!(fabs(found - expected) < 1e-6 * expected))
        fail_msg("%s: loss %.9g, expected %.9g", name, found, expected);
    double d = gradient_difference(&big, &other);
    if (!(d < 2e-5))
        fail_msg("%s: gradients differ by %g of the largest", name, d);
    close_rig(&big);
    close_rig(&other);
}

static void test_accumulation_equals_the_big_batch(void **state)
{
    (void)state;
    struct texts texts;
    fill(&texts, false);
    for (size_t i = 0; i < UM_COUNT(names); i++)
        for (int64_t batch = 1; batch <= 3; batch++)
            assert_equals_big_batch(names[i], &texts, batch);
}

static void test_packed_texts_do_not_see_each_other(void **state)
{
    (void)state;
    struct texts texts;
    fill(&texts, true);
    assert_int_equal(texts.encoded.n_rows, 3); /* 5 19 2 11 | 30 8 | 3 */
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        assert_equals_big_batch(names[i], &texts, 3);
        assert_equals_big_batch(names[i], &texts, 1);
    }
}

static void test_evaluation_is_the_same_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        struct um_error err;
        struct texts texts;
        double loss;
        open_rig(&r, names[i], 1);
        fill(&texts, false);
        double expected = step(&r, &texts, N_TEXTS);
        for (int packs = 0; packs < 2; packs++) {
            fill(&texts, packs);
            for (int64_t batch = 1; batch <= 4; batch++) {
                assert_ok(um_task_model_loss(&loss, &r.tm, &texts.encoded, batch, NULL, &err), err);
                assert_true(fabs(loss - expected) < 1e-6 * expected);
            }
        }
        close_rig(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accumulation_equals_the_big_batch),
        cmocka_unit_test(test_packed_texts_do_not_see_each_other),
        cmocka_unit_test(test_evaluation_is_the_same_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
