/* Metrics against scikit-learn, scipy and seqeval (golden/metric/golden.txt,
 * oracle/make_metric_golden.py). */
#include "test.h"

#include <math.h>

#include "base/mem.h"
#include "metric/metric.h"

/* The generator of oracle/make_metric_golden.py. */
static int64_t draw(uint64_t *x, int64_t n)
{
    *x = *x * 6364136223846793005U + 1442695040888963407U;
    return (int64_t)((*x >> 33) % (uint64_t)n);
}

enum { TAGS_MAX = 16 };

/* The rows of a case; memory is the caller's to free. */
struct generated {
    struct um_scored_rows rows;
    int64_t *classes, *starts;
    double *values;
    char *names[TAGS_MAX], storage[TAGS_MAX][32];
};

static int64_t next_int(char **line)
{
    return strtoll(*line, line, 10);
}

static double next_real(char **line)
{
    return strtod(*line, line);
}

static void generate_classes(struct generated *g, char **line)
{
    int64_t n = next_int(line), n_classes = next_int(line), n_true = next_int(line);
    int64_t n_predicted = next_int(line), agree = next_int(line);
    uint64_t x = (uint64_t)next_int(line);
    g->classes = UM_NEW(2 * n, int64_t);
    assert_non_null(g->classes);
    for (int64_t i = 0; i < n; i++) {
        g->classes[n + i] = draw(&x, n_true);
        bool agrees = draw(&x, 100) < agree;
        int64_t other = draw(&x, n_predicted);
        g->classes[i] = agrees ? g->classes[n + i] : other;
    }
    g->rows = (struct um_scored_rows){.n = n, .n_classes = n_classes, .predicted = g->classes,
                                      .label = g->classes + n};
}

static void generate_values(struct generated *g, char **line)
{
    int64_t n = next_int(line), levels = next_int(line);
    double slope = next_real(line), noise = next_real(line), offset = next_real(line);
    uint64_t x = (uint64_t)next_int(line);
    g->values = UM_NEW(2 * n, double);
    assert_non_null(g->values);
    for (int64_t i = 0; i < n; i++) {
        g->values[n + i] = (double)draw(&x, levels) / 7.0;
        double more = noise * ((double)draw(&x, levels) / 13.0);
        g->values[i] = slope * g->values[n + i] + more + offset;
    }
    g->rows = (struct um_scored_rows){.n = n, .value = g->values, .target = g->values + n};
}

/* Copies the tags of a line, which end where its numbers begin. */
static int64_t read_names(struct generated *g, char **line)
{
    int64_t n = 0;
    char name[32];
    int length;
    while ((*line)[1] >= 'A' && sscanf(*line, "%31s%n", name, &length) == 1) {
        assert_true(n < TAGS_MAX);
        (void)snprintf(g->storage[n], sizeof(g->storage[n]), "%s", name);
        g->names[n] = g->storage[n];
        *line += length;
        n++;
    }
    return n;
}

static void generate_tags(struct generated *g, char **line)
{
    int64_t n = next_int(line), n_texts = next_int(line), agree = next_int(line), before = 0;
    uint64_t x = (uint64_t)next_int(line);
    int64_t n_names = read_names(g, line);
    g->classes = UM_NEW(2 * n, int64_t);
    g->starts = UM_NEW(n + 1, int64_t);
    assert_true(g->classes && g->starts);
    for (int64_t i = 0; i < n; i++) {
        if (draw(&x, n) < n_texts || i == 0)
            g->starts[g->rows.n_texts++] = i;
        bool again = draw(&x, 100) < 40;
        int64_t label = draw(&x, n_names);
        before = again ? before : label;
        g->classes[n + i] = before;
        bool agrees = draw(&x, 100) < agree;
        int64_t other = draw(&x, n_names);
        g->classes[i] = agrees ? before : other;
    }
    g->starts[g->rows.n_texts] = n;
    g->rows = (struct um_scored_rows){.n = n, .n_classes = n_names, .predicted = g->classes,
                                      .label = g->classes + n, .starts = g->starts,
                                      .n_texts = g->rows.n_texts, .names = g->names};
}

static void check_case(char *line, const struct um_metric *const *columns, int64_t n_columns)
{
    struct generated g = {0};
    struct um_error err;
    char *at = line + strcspn(line, " ");
    if (strncmp(line, "tags ", 5) == 0)
        generate_tags(&g, &at);
    else if (columns[0]->is_for_regression)
        generate_values(&g, &at);
    else
        generate_classes(&g, &at);
    for (int64_t c = 0; c < n_columns; c++) {
        double expected = next_real(&at), found = -7;
        assert_ok(columns[c]->compute(&found, &g.rows, &err), err);
        if (isnan(expected) ? !isnan(found)
                            : !(fabs(found - expected) <= 1e-9 * fmax(1, fabs(expected))))
            fail_msg("%s is %.17g, expected %.17g, of: %s", columns[c]->name, found, expected,
                     line);
    }
    um_free(g.classes);
    um_free(g.starts);
    um_free(g.values);
}

/* Every metric of the family must stand in the golden file. */
static void test_equal_to_the_references(void **state)
{
    (void)state;
    const struct um_metric *columns[8];
    int64_t n_columns = 0, n_seen = 0, n_cases = 0;
    char line[512];
    FILE *file = fopen(GOLDEN_DIR "/metric/golden.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        char *at = line;
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "columns ", 8) != 0) {
            assert_true(n_columns > 0);
            check_case(line, columns, n_columns);
            n_cases++;
            continue;
        }
        at += 8;
        n_columns = next_int(&at);
        assert_in_range(n_columns, 1, UM_COUNT(columns));
        for (int64_t c = 0; c < n_columns; c++) {
            char name[64];
            int length;
            assert_int_equal(sscanf(at, "%63s%n", name, &length), 1);
            at += length;
            columns[c] = um_metric_find(name);
            if (!columns[c])
                fail_msg("no metric '%s'", name);
            n_seen++;
        }
    }
    (void)fclose(file);
    assert_int_equal(n_seen, um_n_metrics - 1); /* all but perplexity */
    assert_true(n_cases > 20);
}

static void test_perplexity(void **state)
{
    (void)state;
    const struct um_scored_rows rows = {.loss = 1.5};
    struct um_error err;
    double found = 0;
    const struct um_metric *metric = um_metric_find("perplexity");
    assert_ok(metric->compute(&found, &rows, &err), err);
    assert_true(fabs(found - exp(1.5)) < 1e-12);
    assert_true(metric->is_error);
}

/* Not a number among the values is not a number in the end, and no sort goes astray. */
static void test_nan_stays_nan(void **state)
{
    (void)state;
    const double target[] = {1, 2, 3, 4}, value[] = {1, (double)NAN, 3, 2};
    struct um_scored_rows rows = {.n = 4, .value = value, .target = target};
    for (size_t i = 0; i < um_n_metrics; i++) {
        double found = 0;
        struct um_error err;
        if (!um_metrics[i].is_for_regression)
            continue;
        assert_ok(um_metrics[i].compute(&found, &rows, &err), err);
        assert_true(isnan(found));
    }
}

static void test_out_of_memory_is_said(void **state)
{
    (void)state;
    const int64_t classes[] = {0, 1, 1};
    const double values[] = {0.5, 1.5, 1};
    struct um_scored_rows rows = {.n = 3,
                                  .n_classes = 2,
                                  .predicted = classes,
                                  .label = classes,
                                  .value = values,
                                  .target = values};
    for (size_t i = 0; i < um_n_metrics; i++) {
        double found;
        struct um_error err = {0};
        enum um_status status = UM_E_RUNTIME;
        size_t used = um_mem_used();
        for (int64_t n = 1; n < 20 && status != UM_OK; n++) {
            um_mem_fail_after(n);
            status = um_metrics[i].compute(&found, &rows, &err);
            um_mem_fail_after(0);
            assert_true(status == UM_OK || strstr(err.message, "memory"));
            assert_int_equal(um_mem_used(), used);
        }
        assert_int_equal(status, UM_OK);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_null(um_metric_find("acuracy"));
    for (size_t i = 0; i < um_n_metrics; i++)
        assert_ptr_equal(um_metric_find(um_metrics[i].name), &um_metrics[i]);
}

static void test_better_values(void **state)
{
    (void)state;
    const struct um_metric *accuracy = um_metric_find("accuracy");
    const struct um_metric *perplexity = um_metric_find("perplexity");
    assert_true(um_metric_is_better(accuracy, 2, 1) && um_metric_is_better(perplexity, 1, 2));
    assert_false(um_metric_is_better(accuracy, 1, 2) || um_metric_is_better(perplexity, 2, 1));
    assert_false(um_metric_is_better(accuracy, 1, 1) || um_metric_is_better(perplexity, 1, 1));
    assert_true(um_metric_is_better(accuracy, 0, (double)NAN));
    assert_true(um_metric_is_better(accuracy, (double)NAN, (double)NAN));
    assert_false(um_metric_is_better(accuracy, (double)NAN, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_to_the_references),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_nan_stays_nan),
        cmocka_unit_test(test_out_of_memory_is_said),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_better_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
