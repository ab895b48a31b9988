/* Tables, tasks, labels and the order of rows; and GLUE as it ships, where it is at hand. */
#include "test.h"

#include "data/batches.h"
#include "data/task.h"

static char folder[] = "/tmp/unmask data XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[256];
    struct um_error err;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_ok(um_file_write(path, text, strlen(text), &err), err);
    return path;
}

static const struct um_table_options tsv = {UM_TABLE_TSV, true, false};
static const struct um_table_options csv = {UM_TABLE_CSV, true, false};
static const struct um_table_options json = {UM_TABLE_JSON, true, false};

static void assert_cell(const struct um_table *t, int64_t row, size_t column, const char *text)
{
    assert_string_equal(t->cells[(size_t)row * t->n_columns + column].text, text);
}

static void test_tsv_keeps_quotes(void **state)
{
    (void)state;
    struct um_table t;
    struct um_error err;
    const char *path = write_file("a.tsv", "\xef\xbb\xbfid\ttext\r\n1\t\"open quote\r\n\r\n2\tb\"c");
    assert_ok(um_table_open(&t, path, &tsv, &err), err);
    assert_int_equal(t.n_rows, 2);
    assert_string_equal(t.columns[0], "id");
    assert_cell(&t, 0, 1, "\"open quote");
    assert_cell(&t, 1, 1, "b\"c");
    assert_int_equal(t.lines[1], 4);
    um_table_close(&t);
}

static void test_csv_unquotes(void **state)
{
    (void)state;
    struct um_table t;
    struct um_error err;
    const char *path =
        write_file("a.csv", "text,label\n\"a, \"\"b\"\"\nc\",1\n,2\r\nplain,\"3\"\r\n");
    assert_ok(um_table_open(&t, path, &csv, &err), err);
    assert_int_equal(t.n_rows, 3);
    assert_cell(&t, 0, 0, "a, \"b\"\nc");
    assert_cell(&t, 1, 0, "");
    assert_cell(&t, 2, 1, "3");
    assert_int_equal(t.lines[1], 4);
    um_table_close(&t);
}

static void test_jsonl(void **state)
{
    (void)state;
    struct um_table t;
    struct um_error err;
    const char *path = write_file("a.jsonl", "{\"text\": \"x\\ny\", \"label\": 3}\n\n"
                                             "{\"label\": 2.5, \"text\": \"z\", \"more\": 1}\n");
    assert_ok(um_table_open(&t, path, &json, &err), err);
    assert_int_equal(t.n_rows, 2);
    assert_cell(&t, 0, 0, "x\ny");
    assert_cell(&t, 1, 1, "2.5");
    um_table_close(&t);
}

static void test_bad_tables(void **state)
{
    (void)state;
    static const struct {
        enum um_table_format format;
        const char *text, *message;
    } cases[] = {
        {UM_TABLE_TSV, "", "has no rows"},
        {UM_TABLE_TSV, "a\tb\n", "no rows behind its header"},
        {UM_TABLE_TSV, "a\tb\n1\t2\n3\n", ":3: 1 fields, expected 2"},
        {UM_TABLE_TSV, "a\tb\n1\t\xff\n", ":2: invalid UTF-8"},
        {UM_TABLE_CSV, "a,b\n\"1,2\n", ":2: a quoted field is never closed"},
        {UM_TABLE_CSV, "a,b\n\"1\"x,2\n", "text behind a closing quote"},
        {UM_TABLE_JSON, "{\"a\": 1}\n[1]\n", ":2: not a JSON object"},
        {UM_TABLE_JSON, "{\"a\": 1\n", ":1"},
        {UM_TABLE_JSON, "{\"a\": 1}\n\n{\"a\": \"\\u0000\"}", ":3: column"},
        {UM_TABLE_JSON, "{\"a\": 1, \"a\": 2}", "duplicate"},
        {UM_TABLE_JSON, "{}", ":1: not a JSON object with members"},
        {UM_TABLE_JSON, "[", ":1"},
        {UM_TABLE_JSON, "[]", "has no rows"},
        {UM_TABLE_JSON, "[{\"a\": 1}\n,\n]", ":3: column"},
        {UM_TABLE_JSON, "[{\"a\": 1}\n{\"a\": 2}]", ":2: ',' or ']' expected"},
        {UM_TABLE_JSON, "[{\"a\": 1},\n\n[2]]", ":3: not a JSON object"},
        {UM_TABLE_JSON, "[{\"a\": 1},\n{\"a\":\n\n!", ":4: column"},
        {UM_TABLE_JSON, "[{\"a\": 1}]\nx", ":2: text behind the array"},
        {UM_TABLE_TSV, "\xef\xbb\xbf", "has no rows"},
        {UM_TABLE_TSV, "\r\n\n\r", "has no rows"},
        {UM_TABLE_CSV, "a,b\n1,2,3\n", ":2: 3 fields, expected 2"},
        {UM_TABLE_CSV, "a,b\n\"1\n2\",3\n4\n", ":4: 1 fields, expected 2"},
        {UM_TABLE_CSV, "a,b\n1,\"", ":2: a quoted field is never closed"},
        {UM_TABLE_CSV, "a,b\n1,\"\"\"", ":2: a quoted field is never closed"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_table t;
        struct um_error err;
        const char *path = write_file("bad", cases[i].text);
        const struct um_table_options options = {cases[i].format, true, false};
        assert_fails(um_table_open(&t, path, &options, &err), UM_E_INPUT,
                     cases[i].message, err);
    }
}

static struct um_data_options options_for(const char *file)
{
    return (struct um_data_options){.folder = "", .file = file, .text = "", .pair = "",
                                    .label = "", .format = "", .is_train = true,
                                    .needs_labels = true};
}

static void test_labels_are_learnt(void **state)
{
    (void)state;
    struct um_dataset d;
    struct um_error err;
    const struct um_task *task = um_task_find("classification");
    struct um_data_options o =
        options_for(write_file("l.tsv", "text\tlabel\na\t10\nb\t9\nc\t10\n"));
    assert_ok(um_dataset_open(&d, task, &o, &err), err);
    assert_int_equal(d.n_labels, 2);
    assert_string_equal(d.labels[0], "9");
    assert_int_equal(d.rows[0].label, 1);
    um_dataset_close(&d);
    o = options_for(write_file("l.tsv", "text\tlabel\na\tyes\nb\tyes\n"));
    assert_fails(um_dataset_open(&d, task, &o, &err), UM_E_INPUT, "the one label 'yes'", err);
    o = options_for(write_file("l.tsv", "txt\tlabel\na\tyes\nb\tno\n"));
    assert_fails(um_dataset_open(&d, task, &o, &err), UM_E_INPUT,
                 "no column 'text'; there are: 'txt', 'label'", err);
    o = options_for(write_file("l.tsv", "text\tlabel\na\t1.5\nb\tx\n"));
    assert_fails(um_dataset_open(&d, um_task_find("regression"), &o, &err), UM_E_INPUT,
                 ":3: label 'x' is not a number", err);
    o = options_for(write_file("l.tsv", "text\tlabel\na\tyes\nb\tmaybe\n"));
    char *known[] = {"no", "yes"};
    o.labels = known;
    o.n_labels = 2;
    assert_fails(um_dataset_open(&d, task, &o, &err), UM_E_INPUT,
                 ":3: label 'maybe' is not one of 'no', 'yes'", err);
}

static void test_every_row_once_per_epoch(void **state)
{
    (void)state;
    int64_t lengths[531];
    struct um_error err;
    for (int i = 0; i < 531; i++)
        lengths[i] = 1 + (i * 7919) % 97;
    for (int order = 0; order < UM_N_ORDERS; order++) {
        struct um_batches b;
        int64_t first_row[2] = {0};
        assert_ok(um_batches_open(&b, (enum um_order)order, 531, 8, 3, lengths, &err), err);
        assert_int_equal(um_batches_per_epoch(&b), 67);
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            int seen[531] = {0};
            for (int64_t i = 0; i < 67; i++) {
                int64_t n;
                const int64_t *rows = um_batches_rows(&n, &b, epoch, i);
                assert_int_equal(n, i < 66 ? 8 : 3);
                if (i == 0)
                    first_row[epoch] = rows[0];
                for (int64_t k = 0; k < n; k++)
                    seen[rows[k]]++;
            }
            for (int i = 0; i < 531; i++)
                assert_int_equal(seen[i], 1);
        }
        if (order == UM_ORDER_SEQUENTIAL)
            assert_int_equal(first_row[0], 0);
        if (order == UM_ORDER_GROUPED)
            assert_int_equal(lengths[first_row[0]], 97);
        if (order == UM_ORDER_SHUFFLE)
            assert_int_not_equal(first_row[0], first_row[1]);
        um_batches_close(&b);
    }
}

/* Counts of the data sets as GLUE ships them. */
static void test_glue_as_it_ships(void **state)
{
    (void)state;
    static const struct {
        const char *task;
        int64_t n_train, n_eval, n_labels;
    } cases[] = {{"cola", 8551, 1043, 2}, {"mrpc", 3667, 408, 2},  {"rte", 2490, 277, 2},
                 {"sst2", 67349, 872, 2}, {"stsb", 5749, 1500, 0}};
    if (!um_path_exists(SHARED_DIR "/data/glue")) {
        print_message("skipped: no GLUE data at " SHARED_DIR "/data/glue\n");
        skip();
    }
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        for (int is_train = 0; is_train < 2; is_train++) {
            struct um_dataset d;
            struct um_error err;
            struct um_data_options o = options_for("");
            o.folder = SHARED_DIR "/data/glue";
            o.is_train = is_train;
            assert_ok(um_dataset_open(&d, um_task_find(cases[i].task), &o, &err), err);
            assert_int_equal(d.n_rows, is_train ? cases[i].n_train : cases[i].n_eval);
            assert_int_equal(d.n_labels, cases[i].n_labels);
            um_dataset_close(&d);
        }
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    struct um_error err;
    return um_remove_folder(folder, &err) == UM_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tsv_keeps_quotes),
        cmocka_unit_test(test_csv_unquotes),
        cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_labels_are_learnt),
        cmocka_unit_test(test_every_row_once_per_epoch),
        cmocka_unit_test(test_glue_as_it_ships),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
