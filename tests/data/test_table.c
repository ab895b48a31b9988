/* Tables: each format, what it forgives and what it must not. */
#include "test.h"

#include "data/table.h"

static const struct um_table_options tsv = {.format = UM_TABLE_TSV, .has_header = true};
static const struct um_table_options csv = {.format = UM_TABLE_CSV, .has_header = true};
static const struct um_table_options json = {.format = UM_TABLE_JSON};

static struct um_table parse(const char *text, const struct um_table_options *options)
{
    struct um_table t;
    struct um_error err;
    assert_ok(um_table_parse(&t, text, strlen(text), "test", options, &err), err);
    return t;
}

static void assert_cell(const struct um_table *t, int64_t row, size_t column, const char *text)
{
    struct um_cell cell;
    struct um_error err;
    assert_ok(um_table_text(&cell, t, row, column, &err), err);
    assert_string_equal(cell.text, text);
    assert_int_equal(cell.n, strlen(text));
}

static void test_tsv_keeps_quotes(void **state)
{
    (void)state;
    struct um_table t =
        parse("\xef\xbb\xbfid\ttext\r\n1\t\"open quote\r\n\r\n2\tb\"c\r\n\t", &tsv);
    assert_int_equal(t.n_rows, 3);
    assert_string_equal(t.columns[0], "id");
    assert_cell(&t, 0, 1, "\"open quote");
    assert_cell(&t, 1, 1, "b\"c");
    assert_cell(&t, 2, 1, "");
    assert_int_equal(t.lines[1], 4);
    um_table_close(&t);
}

static void test_csv_unquotes(void **state)
{
    (void)state;
    struct um_table t = parse(
        "text,label\n\"a, \"\"b\"\"\nc\",1\n,2\r\nplain,\"3\"\r\nhe said \"no\",4\n\n5,", &csv);
    assert_int_equal(t.n_rows, 5);
    assert_cell(&t, 0, 0, "a, \"b\"\nc");
    assert_cell(&t, 1, 0, "");
    assert_cell(&t, 2, 1, "3");
    assert_cell(&t, 3, 0, "he said \"no\"");
    assert_cell(&t, 4, 1, "");
    assert_int_equal(t.lines[1], 4);
    assert_int_equal(t.lines[4], 8);
    um_table_close(&t);
}

static void test_json_lines(void **state)
{
    (void)state;
    struct um_table t = parse("{\"text\": \"x\\ny\\u00e9\", \"label\": 3}\r\n\n"
                              "{\"label\": 2.5, \"text\": 0.1, \"more\": [1]}\n"
                              "{\"label\": true, \"text\": \"\"}",
                              &json);
    assert_int_equal(t.n_rows, 3);
    assert_int_equal(t.n_columns, 2);
    assert_cell(&t, 0, 0, "x\ny\xc3\xa9");
    assert_cell(&t, 0, 1, "3");
    assert_cell(&t, 1, 0, "0.1");
    assert_cell(&t, 1, 1, "2.5");
    assert_cell(&t, 2, 1, "true");
    assert_int_equal(t.lines[1], 3);
    um_table_close(&t);
}

static void test_json_array(void **state)
{
    (void)state;
    struct um_table t =
        parse(" [\n  {\"q\": \"1\",\n   \"a\": -7}\n,{\"a\": \"b\", \"q\": \"2\"} ]\n", &json);
    assert_int_equal(t.n_rows, 2);
    assert_cell(&t, 0, 1, "-7");
    assert_cell(&t, 1, 0, "2");
    assert_int_equal(t.lines[0], 2);
    assert_int_equal(t.lines[1], 4);
    um_table_close(&t);
}

/* Values that are no text do no harm until they are asked for. */
static void test_json_without_text(void **state)
{
    (void)state;
    static const struct {
        const char *row, *message; /* NULL: nothing is there, which may be fine */
    } cases[] = {{"{\"a\": null, \"b\": 1}", NULL},
                 {"{\"b\": 1}", NULL},
                 {"{\"a\": [1], \"b\": 1}", "test:2: 'a' is an object or an array"},
                 {"{\"a\": {}, \"b\": 1}", "test:2: 'a' is an object or an array"}};
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        char text[128];
        struct um_cell cell;
        struct um_error err;
        (void)snprintf(text, sizeof(text), "{\"a\": \"x\", \"b\": 0}\n%s\n", cases[i].row);
        struct um_table t = parse(text, &json);
        assert_cell(&t, 1, 1, "1");
        const char *message = cases[i].message;
        assert_fails(um_table_text(&cell, &t, 1, 0, &err), UM_E_INPUT,
                     message ? message : "test:2: 'a' is missing or null", err);
        if (message)
            assert_fails(um_table_text_if_any(&cell, &t, 1, 0, &err), UM_E_INPUT, message, err);
        else
            assert_ok(um_table_text_if_any(&cell, &t, 1, 0, &err), err);
        assert_null(cell.text);
        um_table_close(&t);
    }
}

/* What is wanted is found though the first objects lack it; what is not is left out. */
static void test_json_columns_that_come_late(void **state)
{
    (void)state;
    const struct um_table_options options = {.format = UM_TABLE_JSON,
                                             .wanted = {"a", "c", "d", NULL}};
    struct um_table t = parse("{\"b\": 1}\n{\"b\": 2, \"x\": 9}\n{\"b\": 3, \"c\": 4}\n"
                              "{\"a\": 5, \"b\": 6, \"c\": 7}",
                              &options);
    size_t a, c, none;
    assert_int_equal(t.n_columns, 3);
    assert_true(um_table_has_column(&a, &t, "a") && um_table_has_column(&c, &t, "c"));
    assert_false(um_table_has_column(&none, &t, "d") || um_table_has_column(&none, &t, "x"));
    for (int64_t row = 0; row < 3; row++)
        assert_null(t.cells[row * 3 + (int64_t)a].text);
    assert_null(t.cells[3 + c].text);
    assert_cell(&t, 2, 0, "3");
    assert_cell(&t, 2, c, "4");
    assert_cell(&t, 3, a, "5");
    assert_cell(&t, 3, 0, "6");
    assert_cell(&t, 3, c, "7");
    um_table_close(&t);
}

static void test_bad_tables(void **state)
{
    (void)state;
    static const struct {
        enum um_table_format format;
        const char *text, *message;
    } cases[] = {
        {UM_TABLE_TSV, "", "'test' has no rows"},
        {UM_TABLE_TSV, "\xef\xbb\xbf", "has no rows"},
        {UM_TABLE_TSV, "\r\n\n\r", "has no rows"},
        {UM_TABLE_TSV, "a\tb\n", "no rows behind its header"},
        {UM_TABLE_TSV, "a\tb\n1\t2\n3\n", "test:3: 1 fields, expected 2"},
        {UM_TABLE_TSV, "a\tb\n1\t2\t3\n", "test:2: 3 fields, expected 2"},
        {UM_TABLE_TSV, "a\tb\n1\t\xff\n", "test:2: invalid UTF-8 at byte 6"},
        {UM_TABLE_TSV, "a\tb\n1\t\xed\xa0\x80\n", "test:2: invalid UTF-8"},
        {UM_TABLE_CSV, "", "has no rows"},
        {UM_TABLE_CSV, "a,b\n\"1,2\n", "test:2: a quoted field is never closed"},
        {UM_TABLE_CSV, "a,b\n1,\"", "test:2: a quoted field is never closed"},
        {UM_TABLE_CSV, "a,b\n1,\"\"\"", "test:2: a quoted field is never closed"},
        {UM_TABLE_CSV, "a,b\n\"1\"x,2\n", "test:2: text behind a closing quote"},
        {UM_TABLE_CSV, "a,b\n1,2,3\n", "test:2: 3 fields, expected 2"},
        {UM_TABLE_CSV, "a,b\n\"1\n2\",3\n4\n", "test:4: 1 fields, expected 2"},
        {UM_TABLE_JSON, "", "has no rows"},
        {UM_TABLE_JSON, "{\"a\": 1}\n[1]\n", "test:2: not a JSON object"},
        {UM_TABLE_JSON, "{}", "test:1: not a JSON object with members"},
        {UM_TABLE_JSON, "{\"a\": 1\n", "test:1: column"},
        {UM_TABLE_JSON, "{\"a\": 1}\n\n{\"a\": \"\\u0000\"}", "test:3: column"},
        {UM_TABLE_JSON, "{\"a\": 1, \"a\": 2}", "duplicate"},
        {UM_TABLE_JSON, "[", "test:1: column"},
        {UM_TABLE_JSON, "[]", "has no rows"},
        {UM_TABLE_JSON, "[{\"a\": 1}\n,\n]", "test:3: column"},
        {UM_TABLE_JSON, "[{\"a\": 1}\n{\"a\": 2}]", "test:2: ',' or ']' expected"},
        {UM_TABLE_JSON, "[{\"a\": 1},\n\n[2]]", "test:3: not a JSON object"},
        {UM_TABLE_JSON, "[{\"a\": 1},\n{\"a\":\n\n!", "test:4: column"},
        {UM_TABLE_JSON, "[{\"a\": 1}]\nx", "test:2: text behind the array"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_table t;
        struct um_error err;
        const struct um_table_options options = {.format = cases[i].format, .has_header = true};
        assert_fails(um_table_parse(&t, cases[i].text, strlen(cases[i].text), "test", &options,
                                    &err),
                     UM_E_INPUT, cases[i].message, err);
    }
}

static void test_nul_bytes(void **state)
{
    (void)state;
    static const char text[] = "a\tb\n1\t2\n3\t\0004\n";
    struct um_table t;
    struct um_error err;
    assert_fails(um_table_parse(&t, text, sizeof(text) - 1, "test", &tsv, &err), UM_E_INPUT,
                 "test:3: a NUL byte at byte 10", err);
}

static void test_short_rows_are_counted(void **state)
{
    (void)state;
    struct um_table_options options = tsv;
    options.skips_short_rows = true;
    struct um_table t = parse("a\tb\tc\n1\t2\n3\n4\t5\t6\n7\n", &options);
    assert_int_equal(t.n_rows, 1);
    assert_int_equal(t.n_skipped, 3);
    assert_cell(&t, 0, 0, "4");
    assert_int_equal(t.lines[0], 4);
    um_table_close(&t);
}

static void test_columns(void **state)
{
    (void)state;
    size_t column;
    struct um_error err;
    struct um_table t = parse("text\t3\tlabel\nx\ty\tz\n", &tsv);
    assert_ok(um_table_column(&column, &t, "label", &err), err);
    assert_int_equal(column, 2);
    assert_ok(um_table_column(&column, &t, "3", &err), err); /* a name first */
    assert_int_equal(column, 1);
    assert_ok(um_table_column(&column, &t, "1", &err), err);
    assert_int_equal(column, 0);
    assert_fails(um_table_column(&column, &t, "txt", &err), UM_E_INPUT,
                 "'test' has no column 'txt'; there are: 'text', '3', 'label'", err);
    assert_string_equal(err.hint, "did you mean 'text'?");
    assert_fails(um_table_column(&column, &t, "0", &err), UM_E_INPUT, "no column '0'", err);
    um_table_close(&t);
    struct um_table_options options = tsv;
    options.has_header = false;
    t = parse("x\ty\n", &options);
    assert_fails(um_table_column(&column, &t, "3", &err), UM_E_INPUT, "numbers 1 to 2", err);
    um_table_close(&t);
}

static void test_formats_by_name(void **state)
{
    (void)state;
    enum um_table_format format;
    struct um_error err;
    assert_ok(um_table_format_of(&format, "", "a.b/data.csv", &err), err);
    assert_int_equal(format, UM_TABLE_CSV);
    assert_ok(um_table_format_of(&format, "jsonl", "data.csv", &err), err);
    assert_int_equal(format, UM_TABLE_JSON);
    assert_fails(um_table_format_of(&format, "", "data", &err), UM_E_USAGE, "data.format", err);
}

/* Texts longer than the blocks they are packed into. */
static void test_long_fields(void **state)
{
    (void)state;
    enum { LONG = 200000 };
    struct um_str text = {0};
    um_str_add(&text, "a,b\n");
    for (int row = 0; row < 3; row++) {
        um_str_addf(&text, "\"%d", row);
        for (int i = 1; i < LONG; i++)
            um_str_add(&text, "x");
        um_str_add(&text, "\",y\n");
    }
    assert_false(text.failed);
    struct um_table t = parse(text.text, &csv);
    um_str_free(&text);
    assert_int_equal(t.n_rows, 3);
    for (size_t row = 0; row < 3; row++) {
        assert_int_equal(t.cells[2 * row].n, LONG);
        assert_int_equal(strlen(t.cells[2 * row].text), LONG);
        assert_int_equal(t.cells[2 * row].text[0], '0' + (int)row);
        assert_string_equal(t.cells[2 * row + 1].text, "y");
    }
    um_table_close(&t);
}

/* Rows of the math sets as their makers count them. */
static void test_math_as_it_ships(void **state)
{
    (void)state;
    static const struct {
        const char *file, *column;
        int64_t n_rows;
    } cases[] = {{"AddSub.test.json", "output", 395},   {"AQuA.test.json", "answer", 254},
                 {"MultiArith.test.json", "input", 600}, {"SVAMP.test.json", "answer", 1000},
                 {"SingleEq.test.json", "answer", 508},  {"gsm8k.test.json", "instruction", 1319},
                 {"math_data.json", "output", 3260},     {"gsm8k_test.jsonl", "answer", 1319},
                 {"gsm8k_train.jsonl", "question", 7473}};
    if (!um_path_exists(SHARED_DIR "/data/math")) {
        print_message("skipped: no data at " SHARED_DIR "/data/math\n");
        skip();
    }
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_table t;
        struct um_cell cell;
        struct um_error err;
        size_t column;
        char path[512];
        (void)snprintf(path, sizeof(path), SHARED_DIR "/data/math/%s", cases[i].file);
        assert_ok(um_table_open(&t, path, &json, &err), err);
        assert_int_equal(t.n_rows, cases[i].n_rows);
        assert_ok(um_table_column(&column, &t, cases[i].column, &err), err);
        for (int64_t row = 0; row < t.n_rows; row++)
            assert_ok(um_table_text(&cell, &t, row, column, &err), err);
        um_table_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tsv_keeps_quotes),
        cmocka_unit_test(test_csv_unquotes),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_json_array),
        cmocka_unit_test(test_json_without_text),
        cmocka_unit_test(test_json_columns_that_come_late),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_short_rows_are_counted),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_formats_by_name),
        cmocka_unit_test(test_long_fields),
        cmocka_unit_test(test_math_as_it_ships),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
