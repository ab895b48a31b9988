/* The algebra of deltas against a dense computation over the base. */
#include "made_delta.h"

#include <math.h>

#define BASE GOLDEN_DIR "/models/bert_base/model"

struct rig {
    struct um_folder base;
    struct um_delta made[2];
    char paths[2][600], out[600];
};

static void open_rig(struct rig *r)
{
    struct um_error err;
    assert_ok(um_folder_open(&r->base, BASE, &err), err);
    for (int k = 0; k < 2; k++) {
        make_delta(&r->made[k], &r->base, (uint64_t)k + 1);
        (void)snprintf(r->paths[k], sizeof(r->paths[k]), "%s/delta%d", test_folder, k);
        assert_ok(um_delta_save(&r->made[k], r->paths[k], &err), err);
    }
    (void)snprintf(r->out, sizeof(r->out), "%s/out", test_folder);
}

static void close_rig(struct rig *r)
{
    for (int k = 0; k < 2; k++)
        um_arena_free(&r->made[k].arena);
    um_folder_close(&r->base);
}

static const struct um_delta_entry *entry_of(const struct um_delta *d, const char *name)
{
    for (size_t e = 0; e < d->n_entries; e++)
        if (strcmp(d->entries[e].name, name) == 0)
            return &d->entries[e];
    return NULL;
}

/* A tensor as fp32, with an entry laid over it. */
static float *laid_over(const struct um_tensor_view *view, const struct um_delta_entry *entry)
{
    float *values = UM_NEW(view->n_elements, float);
    assert_non_null(values);
    um_to_f32(values, view->bytes, view->dtype, view->n_elements);
    if (entry)
        um_delta_apply(values, entry);
    return values;
}

static bool touches(const struct um_delta_entry *entry, int64_t at)
{
    bool does = entry && entry->is_whole;
    for (int64_t i = 0; entry && !does && i < entry->n; i++)
        does = entry->index[i] == at;
    return does;
}

typedef double expect_fn(double base, const double value[2], const bool is_in[2]);

/* The combination in r->out, position by position over all tensors of the base. */
static void check(struct rig *r, expect_fn *expect)
{
    struct um_delta *got;
    struct um_error err;
    const struct um_tensor_view *view;
    assert_ok(um_delta_open(&got, r->out, &err), err);
    assert_ok(um_delta_check(got, &r->base, &err), err);
    for (size_t t = 0; (view = um_folder_tensor(&r->base, t)); t++) {
        if (!um_dtype_is_weight(view->dtype))
            continue;
        const struct um_delta_entry *parts[2] = {entry_of(&r->made[0], view->name),
                                                 entry_of(&r->made[1], view->name)};
        float *base = laid_over(view, NULL), *now = laid_over(view, entry_of(got, view->name));
        float *each[2] = {laid_over(view, parts[0]), laid_over(view, parts[1])};
        for (int64_t i = 0; i < view->n_elements; i++) {
            const double value[2] = {(double)each[0][i], (double)each[1][i]};
            const bool is_in[2] = {touches(parts[0], i), touches(parts[1], i)};
            float wanted = (float)expect((double)base[i], value, is_in);
            if (memcmp(&wanted, &now[i], sizeof(wanted)) != 0)
                fail_msg("%s[%lld] is %g, expected %g", view->name, (long long)i, (double)now[i],
                         (double)wanted);
        }
        um_free(base);
        um_free(now);
        um_free(each[0]);
        um_free(each[1]);
    }
    um_delta_free(got);
}

static double expect_sum(double base, const double value[2], const bool is_in[2])
{
    if (is_in[0] != is_in[1])
        return is_in[0] ? value[0] : value[1];
    return is_in[0] ? base + (value[0] - base + (value[1] - base)) : base;
}

static double expect_mean(double base, const double value[2], const bool is_in[2])
{
    return is_in[0] && is_in[1] ? base + (value[0] - base + (value[1] - base)) / 2
                                : expect_sum(base, value, is_in);
}

static double expect_last(double base, const double value[2], const bool is_in[2])
{
    return is_in[1] ? value[1] : is_in[0] ? value[0] : base;
}

static double expect_difference(double base, const double value[2], const bool is_in[2])
{
    if (is_in[0] && is_in[1])
        return base + (value[0] - base - (value[1] - base));
    return is_in[0] ? value[0] : is_in[1] ? base - (value[1] - base) : base;
}

static double expect_half(double base, const double value[2], const bool is_in[2])
{
    return is_in[0] ? base + 0.5 * (value[0] - base) : base;
}

/* The made deltas have heads of their own; a rule is needed for those. */
static void drop_added(struct rig *r)
{
    struct um_error err;
    for (int k = 0; k < 2; k++) {
        size_t n = 0;
        for (size_t e = 0; e < r->made[k].n_entries; e++)
            if (!r->made[k].entries[e].is_added)
                r->made[k].entries[n++] = r->made[k].entries[e];
        r->made[k].n_entries = n;
        assert_ok(um_delta_save(&r->made[k], r->paths[k], &err), err);
    }
}

static void test_combinations(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    struct um_delta_info info;
    open_rig(&r);
    struct um_delta_term terms[2] = {{r.paths[0], 1}, {r.paths[1], 1}};
    assert_fails(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        UM_E_INPUT, "cannot be added up", err);
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_LAST, UM_CONFLICT_LAST, r.out, &err),
        err);
    check(&r, expect_last);
    assert_string_equal(info.method, "combined");
    drop_added(&r);
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        err);
    check(&r, expect_sum);
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_MEAN, UM_CONFLICT_MEAN, r.out, &err),
        err);
    check(&r, expect_mean);
    assert_fails(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_ERROR, UM_CONFLICT_ERROR, r.out, &err),
        UM_E_INPUT, "differ in what they make of", err);
    terms[1].factor = -1;
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        err);
    check(&r, expect_difference);
    terms[0].factor = 0.5;
    assert_ok(
        um_delta_combine(&info, BASE, terms, 1, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        err);
    check(&r, expect_half);
    close_rig(&r);
}

/* The labels of the combination in r->out begin with this one. */
static void assert_label(const struct rig *r, const char *label, const char *class)
{
    struct um_delta *got;
    struct um_error err;
    assert_ok(um_delta_open(&got, r->out, &err), err);
    assert_true(got->n_labels > 0);
    assert_string_equal(got->labels[0], label);
    assert_string_equal(got->task_class, class);
    um_delta_free(got);
}

/* Class names are those of the head that was taken, also where another delta comes first. */
static void test_labels_go_with_the_head(void **state)
{
    (void)state;
    static const char *others[] = {"bad", "good", "neither"};
    struct rig r;
    struct um_error err;
    struct um_delta_info info;
    const char *class;
    open_rig(&r);
    r.made[1].labels = others;
    class = r.made[1].task_class;
    assert_ok(um_delta_save(&r.made[1], r.paths[1], &err), err);
    struct um_delta_term terms[2] = {{r.paths[0], 1}, {r.paths[1], 1}};
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_LAST, r.out, &err),
        err);
    assert_label(&r, "bad", class);
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_FIRST, r.out, &err),
        err);
    assert_label(&r, made_labels[0], class);
    assert_fails(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_MEAN, r.out, &err),
        UM_E_INPUT, "has other classes", err);
    drop_added(&r); /* the first one has no head, */
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_ERROR, r.out, &err),
        err);
    assert_label(&r, made_labels[0], class); /* nor has the second */
    r.made[0].task_class = "BertModel";
    r.made[0].n_labels = 0;
    assert_ok(um_delta_save(&r.made[0], r.paths[0], &err), err);
    um_arena_free(&r.made[1].arena);
    make_delta(&r.made[1], &r.base, 2);
    r.made[1].labels = others;
    r.made[1].task = ""; /* as a difference of two models has it */
    assert_ok(um_delta_save(&r.made[1], r.paths[1], &err), err);
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_ERROR, r.out, &err),
        err);
    assert_label(&r, "bad", class);
    close_rig(&r);
}

/* A delta alone stays what it is; with itself it is no conflict; less itself it is nothing. */
static void test_identities(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    struct um_delta_info info;
    struct um_delta *got;
    open_rig(&r);
    struct um_delta_term terms[2] = {{r.paths[0], 1}, {r.paths[0], 1}};
    for (size_t n = 1; n <= 2; n++) {
        assert_ok(um_delta_combine(&info, BASE, terms, n, UM_CONFLICT_ERROR, UM_CONFLICT_ERROR,
                                   r.out, &err),
                  err);
        assert_ok(um_delta_open(&got, r.out, &err), err);
        assert_same_entries(&r.made[0], got);
        um_delta_free(got);
    }
    drop_added(&r);
    terms[1].factor = -1;
    assert_ok(
        um_delta_combine(&info, BASE, terms, 2, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        err);
    assert_int_equal(info.n_sparse, 0);
    close_rig(&r);
}

static void test_overlap(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    struct um_delta *d[2];
    struct um_delta_overlap total;
    int64_t n[3] = {0};
    open_rig(&r);
    for (int k = 0; k < 2; k++)
        assert_ok(um_delta_open(&d[k], r.paths[k], &err), err);
    um_delta_compare(&total, d[0], d[0], NULL, NULL);
    assert_int_equal(total.n_first, total.n_both);
    assert_int_equal(total.n_same, total.n_both);
    for (size_t e = 0; e < r.made[0].n_entries; e++) {
        const struct um_delta_entry *a = &r.made[0].entries[e], *b = entry_of(&r.made[1], a->name);
        n[0] += a->n;
        for (int64_t i = 0; b && i < a->n; i++)
            n[2] += touches(b, a->is_whole ? i : a->index[i]);
    }
    for (size_t e = 0; e < r.made[1].n_entries; e++)
        n[1] += r.made[1].entries[e].n;
    um_delta_compare(&total, d[0], d[1], NULL, NULL);
    assert_int_equal(total.n_first, n[0]);
    assert_int_equal(total.n_second, n[1]);
    assert_int_equal(total.n_both, n[2]);
    assert_true(n[2] > 0 && n[2] < n[0]);
    um_delta_free(d[0]);
    um_delta_free(d[1]);
    close_rig(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    struct um_delta_info info;
    open_rig(&r);
    const struct um_delta_term terms[] = {{r.paths[0], 1}};
    assert_fails(
        um_delta_combine(&info, BASE, terms, 0, UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
        UM_E_USAGE, "no delta", err);
    assert_fails(um_delta_combine(&info, GOLDEN_DIR "/models/distilbert_cls/model", terms, 1,
                                  UM_CONFLICT_SUM, UM_CONFLICT_SUM, r.out, &err),
                 UM_E_INPUT, "delta0': the delta does not fit", err);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_labels_go_with_the_head),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
