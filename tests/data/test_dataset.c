/* Tasks: where files are looked for, columns, labels; and GLUE as it ships, where it is at hand. */
#include "test.h"

#include "data/task.h"
#include "metric/metric.h"

static char folder[] = "/tmp/unmask data XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[512];
    struct um_error err;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_ok(um_file_write(path, text, strlen(text), &err), err);
    return path;
}

static struct um_data_options options_for(const char *file)
{
    return (struct um_data_options){.folder = "", .file = file, .text = "", .pair = "",
                                    .label = "", .format = "", .header = "",
                                    .is_train = true, .needs_labels = true};
}

/* Opens TEXT as training data of a task; it must fail with the message. */
static void assert_bad(const char *task, const char *text, const char *message)
{
    struct um_dataset d;
    struct um_error err;
    struct um_data_options o = options_for(write_file("bad.tsv", text));
    assert_fails(um_dataset_open(&d, um_task_find(task), &o, &err), UM_E_INPUT, message, err);
}

/* The class names of TEXT as "a b c". */
static void assert_learnt(const char *text, const char *expected)
{
    struct um_dataset d;
    struct um_error err;
    struct um_str names = {0};
    struct um_data_options o = options_for(write_file("l.tsv", text));
    assert_ok(um_dataset_open(&d, um_task_find("classification"), &o, &err), err);
    for (int64_t k = 0; k < d.n_labels; k++)
        um_str_addf(&names, "%s%s", k ? " " : "", d.labels[k]);
    assert_string_equal(names.text, expected);
    for (int64_t i = 0; i < d.n_rows; i++) {
        struct um_cell cell;
        assert_ok(um_table_text(&cell, &d.table, i, 1, &err), err);
        assert_string_equal(d.labels[d.rows[i].label], cell.text);
    }
    um_str_free(&names);
    um_dataset_close(&d);
}

static void test_labels_are_learnt(void **state)
{
    (void)state;
    assert_learnt("text\tlabel\na\t10\nb\t9\nc\t10\n", "9 10");
    assert_learnt("text\tlabel\na\t10\nb\t9\nc\tx\n", "10 9 x");
    assert_learnt("text\tlabel\na\tyes\nb\tno\nc\tYes\n", "Yes no yes");
    assert_learnt("text\tlabel\na\t-1\nb\t1\nc\t0\n", "-1 0 1");
}

static void test_bad_labels(void **state)
{
    (void)state;
    assert_bad("classification", "text\tlabel\na\tyes\nb\tyes\n", "the one label 'yes'");
    assert_bad("classification", "text\tlabel\na\tyes\nb\t\nc\tno\n", ":3: the label is empty");
    assert_bad("classification", "txt\tlabel\na\tyes\nb\tno\n",
               "no column 'text'; there are: 'txt', 'label'");
    assert_bad("classification", "text\tlable\na\tyes\nb\tno\n",
               "no column 'label'; there are: 'text', 'lable'");
    assert_bad("regression", "text\tlabel\na\t1.5\nb\tx\n", ":3: label 'x' is not a number");
    assert_bad("regression", "text\tlabel\na\t1.5\nb\tnan\n", ":3: label 'nan' is not a number");
    assert_bad("sst2", "sentence\tlabel\na\t1\nb\t2\n", ":3: label '2' is not one of '0', '1'");
    assert_bad("sst2", "sentence\tlabel\na\t1\nb\t1\n", "the one label '1'");
}

/* Evaluation takes the labels of training, and need not have any itself. */
/* It is the rows trained on that must have two classes. */
static void test_one_class_of_the_first_rows(void **state)
{
    (void)state;
    struct um_dataset d;
    struct um_error err;
    struct um_data_options o =
        options_for(write_file("l.tsv", "text\tlabel\na\tno\nb\tno\nc\tyes\n"));
    o.n_rows = 3;
    assert_ok(um_dataset_open(&d, um_task_find("classification"), &o, &err), err);
    um_dataset_close(&d);
    o.n_rows = 2;
    assert_fails(um_dataset_open(&d, um_task_find("classification"), &o, &err), UM_E_INPUT,
                 "the one label 'no'", err);
    um_dataset_close(&d);
}

static void test_labels_of_training(void **state)
{
    (void)state;
    struct um_dataset d;
    struct um_error err;
    char *known[] = {"no", "yes"};
    const struct um_task *task = um_task_find("classification");
    struct um_data_options o = options_for(write_file("e.tsv", "text\tlabel\na\tyes\nb\tmaybe\n"));
    o.is_train = false;
    o.labels = known;
    o.n_labels = 2;
    assert_fails(um_dataset_open(&d, task, &o, &err), UM_E_INPUT,
                 ":3: label 'maybe' is not one of 'no', 'yes'", err);
    o.file = write_file("e.tsv", "text\tlabel\na\tyes\nb\tyes\n");
    assert_ok(um_dataset_open(&d, task, &o, &err), err);
    assert_int_equal(d.rows[1].label, 1);
    um_dataset_close(&d);
    o.file = write_file("e.tsv", "text\na\nb\n");
    o.needs_labels = false;
    assert_ok(um_dataset_open(&d, task, &o, &err), err);
    assert_false(d.is_labelled);
    assert_int_equal(d.rows[1].label, -1);
    um_dataset_close(&d);
    o.label = "lable"; /* a column that was asked for must be there */
    assert_fails(um_dataset_open(&d, task, &o, &err), UM_E_INPUT, "no column 'lable'", err);
}

/* Classes of a task that names them, by name and by number. */
static void test_labels_by_number(void **state)
{
    (void)state;
    struct um_dataset d;
    struct um_error err;
    const struct um_data_options o = options_for(write_file(
        "numbers.jsonl",
        "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 1}\n"
        "{\"sentence1\": \"c\", \"sentence2\": \"d\", \"label\": 0}\n"
        "{\"sentence1\": \"e\", \"sentence2\": \"f\", \"label\": \"not_entailment\"}\n"));
    assert_ok(um_dataset_open(&d, um_task_find("rte"), &o, &err), err);
    assert_string_equal(d.labels[d.rows[0].label], "not_entailment");
    assert_string_equal(d.labels[d.rows[1].label], "entailment");
    assert_int_equal(d.rows[2].label, d.rows[0].label);
    um_dataset_close(&d);
    assert_bad("rte", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t2\n",
               "label '2' is not one of 'entailment', 'not_entailment'");
}

static void test_columns_of_choice(void **state)
{
    (void)state;
    struct um_dataset d;
    struct um_error err;
    struct um_data_options o = options_for(
        write_file("c.jsonl", "{\"q\": \"one\", \"context\": \"two\", \"score\": 0.25}\n"));
    o.text = "q";
    o.pair = "context";
    o.label = "score";
    assert_ok(um_dataset_open(&d, um_task_find("regression"), &o, &err), err);
    assert_string_equal(d.rows[0].text, "one");
    assert_string_equal(d.rows[0].pair, "two");
    assert_int_equal(d.rows[0].n_pair, 3);
    assert_true(d.rows[0].target == 0.25);
    um_dataset_close(&d);
    o.file = write_file("c.jsonl", "{\"q\": \"one\", \"context\": null, \"score\": 0.25}\n");
    assert_fails(um_dataset_open(&d, um_task_find("regression"), &o, &err), UM_E_INPUT,
                 "c.jsonl:1: 'context' is missing", err);
}

/* DIR/dev.tsv, DIR/TASK/dev.tsv and DIR/task/dev.tsv. */
static void test_folders_of_glue(void **state)
{
    (void)state;
    static const char *const places[] = {"", "RTE", "rte"};
    for (size_t i = 0; i < UM_COUNT(places); i++) {
        struct um_dataset d;
        struct um_error err;
        char root[128], name[256];
        struct um_data_options o = options_for("");
        (void)snprintf(root, sizeof(root), "%s/glue%zu", folder, i);
        (void)snprintf(name, sizeof(name), "%s/%s", root, places[i]);
        assert_ok(um_make_folder(name, &err), err);
        (void)snprintf(name, sizeof(name), "glue%zu/%s/dev.tsv", i, places[i]);
        (void)write_file(name, "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n");
        o.folder = root;
        o.is_train = false;
        assert_ok(um_dataset_open(&d, um_task_find("rte"), &o, &err), err);
        assert_int_equal(d.rows[0].label, 1);
        um_dataset_close(&d);
        o.is_train = true;
        assert_fails(um_dataset_open(&d, um_task_find("rte"), &o, &err), UM_E_INPUT, "train.tsv",
                     err);
        assert_ok(um_remove_folder(root, &err), err);
    }
}

/* Each task of the list can be read, if a file has its columns, and scored. */
static void test_every_task(void **state)
{
    (void)state;
    for (size_t i = 0; i < um_n_tasks; i++) {
        const struct um_task *task = &um_tasks[i];
        struct um_dataset d;
        struct um_error err;
        struct um_str text = {0};
        struct um_data_options o;
        assert_ptr_equal(um_task_find(task->name), task);
        for (int m = 0; m < UM_TASK_METRICS && task->metrics[m]; m++) {
            assert_non_null(um_metric_find(task->metrics[m]));
            assert_int_equal(um_metric_find(task->metrics[m])->is_for_regression,
                             task->is_regression);
        }
        if (task->style == UM_STYLE_WORDS)
            continue; /* test_dataset_words.c */
        const char *first = task->labels[0] ? task->labels[0] : "1";
        const char *second = task->labels[0] ? task->labels[1] : "2";
        bool is_pair = task->style == UM_STYLE_PAIR;
        if (task->has_header)
            um_str_addf(&text, "%s\t%s\t%s\tanswer\n%s\tb\ta\t5\n%s\td\tc\t6\n",
                        task->label ? task->label : "none", task->pair ? task->pair : "unused",
                        task->text, first, second);
        else
            um_str_addf(&text, "x\t%s\t*\ta\nx\t%s\t\tc\n", first, second);
        o = options_for(write_file("task.tsv", text.text));
        assert_ok(um_dataset_open(&d, task, &o, &err), err);
        assert_int_equal(d.n_rows, 2);
        assert_string_equal(d.rows[0].text, "a");
        if (task->pair)
            assert_string_equal(d.rows[1].pair, "d");
        else
            assert_null(d.rows[1].pair);
        if (is_pair && !task->is_regression)
            assert_int_equal(d.rows[1].label, 1);
        if (!is_pair && task->label)
            assert_string_equal(d.rows[1].completion, second);
        if (task->answer != UM_ANSWER_NONE)
            assert_string_equal(d.rows[1].answer, "6");
        um_dataset_close(&d);
        um_str_free(&text);
    }
    assert_null(um_task_find("sst-2"));
}

static void test_out_of_memory_is_said(void **state)
{
    (void)state;
    struct um_data_options o = options_for(write_file("m.csv", "text,label\n\"a\",x\nb,y\n"));
    struct um_dataset d;
    struct um_error err = {0};
    enum um_status status = UM_E_RUNTIME;
    size_t used = um_mem_used();
    for (int64_t n = 1; n < 100 && status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_dataset_open(&d, um_task_find("classification"), &o, &err);
        um_mem_fail_after(0);
        if (status == UM_OK)
            um_dataset_close(&d);
        else
            assert_non_null(strstr(err.message, "memory"));
        assert_int_equal(um_mem_used(), used);
    }
    assert_int_equal(status, UM_OK);
}

/* FNV-1a of what oracle/make_data_golden.py hashes of a row. */
static uint64_t hash_row(uint64_t hash, const struct um_row *row, bool is_regression)
{
    struct um_str line = {0};
    um_str_addf(&line, "%s\t%s\t", row->text, row->pair ? row->pair : "");
    if (is_regression)
        um_str_addf(&line, "%.3f\n", row->target);
    else
        um_str_addf(&line, "%lld\n", (long long)row->label);
    assert_false(line.failed);
    for (size_t i = 0; i < line.length; i++)
        hash = (hash ^ (unsigned char)line.text[i]) * 0x100000001b3U;
    um_str_free(&line);
    return hash;
}

/* Every text and label of the GLUE sets at hand, by hash. */
static void test_glue_as_it_ships(void **state)
{
    (void)state;
    char name[16], part[16];
    long long n_rows, n_class[2];
    unsigned long long expected;
    int n_read = 0;
    if (!um_path_exists(SHARED_DIR "/data/glue")) {
        print_message("skipped: no GLUE data at " SHARED_DIR "/data/glue\n");
        skip();
    }
    FILE *golden = fopen(GOLDEN_DIR "/data/glue.txt", "r");
    assert_non_null(golden);
    while (fscanf(golden, "%15s %15s %lld %lld %lld %llx", name, part, &n_rows, &n_class[0],
                  &n_class[1], &expected) == 6) {
        struct um_dataset d;
        struct um_error err;
        struct um_data_options o = options_for("");
        uint64_t hash = 0xcbf29ce484222325U;
        long long count[2] = {0};
        o.folder = SHARED_DIR "/data/glue";
        o.is_train = strcmp(part, "train") == 0;
        assert_ok(um_dataset_open(&d, um_task_find(name), &o, &err), err);
        assert_int_equal(d.n_rows, n_rows);
        for (int64_t i = 0; i < d.n_rows; i++) {
            hash = hash_row(hash, &d.rows[i], d.task->is_regression);
            if (!d.task->is_regression)
                count[d.rows[i].label]++;
        }
        for (int k = 0; k < 2 && !d.task->is_regression; k++)
            assert_int_equal(count[k], n_class[k]);
        assert_int_equal(hash, expected);
        um_dataset_close(&d);
        n_read++;
    }
    (void)fclose(golden);
    assert_int_equal(n_read, 10);
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
        cmocka_unit_test(test_labels_are_learnt),
        cmocka_unit_test(test_bad_labels),
        cmocka_unit_test(test_one_class_of_the_first_rows),
        cmocka_unit_test(test_labels_of_training),
        cmocka_unit_test(test_labels_by_number),
        cmocka_unit_test(test_columns_of_choice),
        cmocka_unit_test(test_folders_of_glue),
        cmocka_unit_test(test_every_task),
        cmocka_unit_test(test_out_of_memory_is_said),
        cmocka_unit_test(test_glue_as_it_ships),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
