/* Whole runs of ID3, and of static choices, against a dense computation in float64
 * (oracle/make_id3_golden.py): which entries are unmasked, at which step, what they come to, and
 * every loss, by each bound. */
#include "rig.h"

#include "method/calibration.h"

static const char *const cases[] = {"id3_uniform", "id3_unclipped", "id3_cosine", "id3_ages",
                                    "fish",        "sam",           "pafi"};

struct golden_run {
    struct rig rig;
    struct um_safetensors file;
    int64_t n_steps, n_rows; /* of the run; of a step */
    struct um_optimizer_options optimizer;
    struct um_batch batch;
};

static const char *option(const struct golden_run *r, const char *name)
{
    const char *value = um_safetensors_metadata(&r->file, name);
    if (!value)
        fail_msg("the golden run does not say '%s'", name);
    return value;
}

static double number(const struct golden_run *r, const char *name)
{
    return strtod(option(r, name), NULL);
}

/* The golden method; a run of ID3 does not name it. */
static const struct um_method *method_of(const struct golden_run *r)
{
    const char *name = um_safetensors_metadata(&r->file, "method");
    return um_method_find(name ? name : "id3");
}

static void open_run(struct golden_run *r, const char *name, enum um_bound bound)
{
    struct um_error err;
    char path[512];
    static char whole_pattern[] = "classifier.*";
    static char *const whole[] = {whole_pattern};
    memset(r, 0, sizeof(*r));
    (void)snprintf(path, sizeof(path), GOLDEN_DIR "/training/%s.safetensors", name);
    assert_ok(um_safetensors_open(&r->file, path, &err), err);
    rig_open(&r->rig, "bert_cls");
    r->n_steps = (int64_t)number(r, "steps");
    r->n_rows = (int64_t)number(r, "rows");
    r->optimizer = (struct um_optimizer_options){
        .lr = number(r, "lr"),
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .weight_decay = number(r, "weight_decay"),
        .clip = number(r, "clip"),
        .is_age_per_parameter = strcmp(option(r, "bias_correction"), "per-parameter") == 0};
    struct um_tuning_options o = {
        .method = method_of(r),
        .schedule = um_schedule_find(option(r, "schedule")),
        .select = {.exp = number(r, "exp"), .eps = number(r, "eps"), .bound = bound},
        .budget = option(r, "budget"),
        .until = number(r, "until"),
        .every = (int64_t)number(r, "every"),
        .samples = -1,
        .n_micro = 1,
        .whole = {whole, 1}};
    o.has_column[UM_COLUMN_BORN] = true;
    rig_tune(&r->rig, o);
}

static void close_run(struct golden_run *r)
{
    rig_close(&r->rig);
    um_batch_free(&r->batch);
    um_safetensors_close(&r->file);
}

/* Step t takes rows t, t + 1, ... */
static double step(struct golden_run *r, int64_t t)
{
    struct um_error err;
    double loss = 0;
    golden_take_rows(&r->batch, &r->rig.g, t, r->n_rows);
    assert_ok(um_tuning_begin(&r->rig.tuning, t, r->n_steps, &err), err);
    um_tuning_micro(&r->rig.tuning, 0, true);
    assert_ok(um_engine_train(&loss, &r->rig.engine, &r->batch, r->n_rows, 0,
                              um_tuning_sink(&r->rig.tuning), &err),
              err);
    assert_ok(um_tuning_end(&r->rig.tuning, &err), err);
    um_optimizer_step(um_optimizer_find("adamw"), &r->rig.tuning.set, &r->optimizer,
                      um_grad_norm(&r->rig.tuning.set), r->optimizer.lr, t);
    return loss;
}

/* The rows of the golden batch one by one, or (SAM) two and then three of them. */
static void calibrate(struct golden_run *r)
{
    struct um_calibration c;
    struct um_error err;
    const struct um_batch *all = &r->rig.g.batch;
    double loss = 0;
    assert_ok(um_calibration_open(&c, &r->rig.tuning, &err), err);
    for (int64_t b = 0, n, is_counted = !c.is_squared; b < all->n_rows; b += n) {
        n = c.is_squared ? 1 : b == 0 ? 2 : 3;
        golden_take_rows(&r->batch, &r->rig.g, b, n);
        double n_losses = c.is_squared ? 1 : (double)all->n_rows;
        struct um_sink sink = is_counted ? um_calibration_sink(&c) : um_calibration_count(&c);
        assert_ok(
            um_engine_train(&loss, &r->rig.engine, &r->batch, (int64_t)n_losses, 0, sink, &err),
            err);
        if (is_counted)
            assert_ok(um_calibration_end(&c, &err), err);
        else
            assert_ok(um_calibration_counted(&c, &err), err);
        n = is_counted ? n : 0; /* counted: the same row again */
        is_counted = true;
    }
    assert_ok(um_calibration_choose(&c, r->n_steps, &err), err);
    um_calibration_close(&c);
}

static const struct um_tensor_view *find(const struct golden_run *r, const struct um_entry *entry,
                                         const char *suffix)
{
    char name[300];
    (void)snprintf(name, sizeof(name), "%s%s", entry->param->name, suffix);
    return um_safetensors_find(&r->file, name);
}

/* The entries of one tensor: the golden positions, steps and values, and no others. */
static int64_t check_entry(const struct golden_run *r, const char *name, struct um_entry *entry)
{
    const struct um_tensor_view *index = find(r, entry, ".index"), *born = find(r, entry, ".step");
    const struct um_tensor_view *value = find(r, entry, ".value");
    if (entry->n != (index ? index->n_elements : 0))
        fail_msg("%s: %s has %lld entries", name, entry->param->name, (long long)entry->n);
    if (!entry->n)
        return 0;
    const int64_t *at = (const int64_t *)(const void *)index->bytes;
    const int64_t *steps = (const int64_t *)(const void *)born->bytes;
    for (int64_t i = 0; i < entry->n && !entry->is_whole; i++)
        if (entry->index[i] != at[i] || (int64_t)entry->column[UM_COLUMN_BORN][i] != steps[i])
            fail_msg("%s: %s[%lld] was unmasked at step %lld; expected [%lld] at step %lld", name,
                     entry->param->name, (long long)entry->index[i],
                     (long long)entry->column[UM_COLUMN_BORN][i], (long long)at[i],
                     (long long)steps[i]);
    const float *expected = (const float *)(const void *)value->bytes;
    for (int64_t i = 0; i < entry->n; i++)
        if (!(fabs((double)um_entry_values(entry)[i] - (double)expected[i]) < 2e-6))
            fail_msg("%s: %s[%lld] is %.9g; expected %.9g", name, entry->param->name,
                     (long long)at[i], (double)um_entry_values(entry)[i], (double)expected[i]);
    return entry->n;
}

static void test_runs(void **state)
{
    (void)state;
    for (size_t c = 0; c < UM_COUNT(cases); c++)
        for (int bound = 0; bound < UM_N_BOUNDS; bound++) {
            struct golden_run r;
            float losses[64];
            int64_t n = 0;
            open_run(&r, cases[c], (enum um_bound)bound);
            if (bound && r.rig.tuning.options.strategy->chooses_once) { /* no bound is used */
                close_run(&r);
                continue;
            }
            const struct um_tensor_view *expected = um_safetensors_find(&r.file, "losses");
            assert_non_null(expected);
            assert_int_equal(expected->n_elements, r.n_steps);
            assert_in_range(r.n_steps, 1, UM_COUNT(losses));
            if (um_tuning_is_calibrated(&r.rig.tuning))
                calibrate(&r);
            for (int64_t t = 0; t < r.n_steps; t++)
                losses[t] = (float)step(&r, t);
            double d = relative_difference(losses, (const float *)(const void *)expected->bytes,
                                           r.n_steps);
            if (!(d < 1e-5))
                fail_msg("%s: losses differ by %g", cases[c], d);
            for (size_t e = 0; e < r.rig.tuning.set.n_entries; e++)
                n += check_entry(&r, cases[c], &r.rig.tuning.set.entries[e]);
            assert_int_equal(n, r.rig.tuning.budget);
            close_run(&r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
