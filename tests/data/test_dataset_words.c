/* Rows of words with tags: CoNLL files, lists in JSON, texts with spaces; and what does not fit. */
#include "test.h"

#include "data/task.h"
#include "data/words.h"

static struct um_data_options options(void)
{
    return (struct um_data_options){.folder = "", .file = "", .text = "", .pair = "",
                                    .label = "", .format = "", .header = "",
                                    .is_train = true, .needs_labels = true};
}

static struct um_dataset parse(const char *task, const char *text, const char *path,
                               const struct um_data_options *o)
{
    struct um_dataset d;
    struct um_error err;
    assert_ok(um_dataset_parse(&d, um_task_find(task), o, text, strlen(text), path, &err), err);
    return d;
}

static void assert_bad(const char *task, const char *text, const char *path, const char *message)
{
    struct um_dataset d;
    struct um_error err;
    const struct um_data_options o = options();
    assert_fails(um_dataset_parse(&d, um_task_find(task), &o, text, strlen(text), path, &err),
                 UM_E_INPUT, message, err);
}

/* A row as "word/tag word/tag". */
static void assert_row(const struct um_dataset *d, int64_t i, const char *expected)
{
    struct um_str found = {0};
    const struct um_row *row = &d->rows[i];
    struct um_words words = um_words(row->text, row->n_text, row->is_list);
    const char *word;
    size_t n;
    um_str_add(&found, "");
    for (int64_t k = 0; um_words_next(&word, &n, &words); k++) {
        um_str_add(&found, k ? " " : "");
        um_str_add_n(&found, word, n);
        um_str_addf(&found, "/%s", row->tags ? d->labels[row->tags[k]] : "");
        assert_true(k < row->n_words);
    }
    assert_string_equal(found.text, expected);
    um_str_free(&found);
}

static void test_conll(void **state)
{
    (void)state;
    const struct um_data_options o = options();
    struct um_dataset d = parse("tagging",
                                "\xef\xbb\xbf-DOCSTART- -X- O\r\n\r\n"
                                "EU NNP B-ORG\r\nrejects  VBZ O \r\n. . O\r\n\r\n\n"
                                "-DOCSTART-\n\nPeter\tNNP\tB-PER\nvan der\tNNP\tI-PER",
                                "a.conll", &o);
    assert_int_equal(d.n_rows, 2);
    assert_row(&d, 0, "EU/B-ORG rejects/O ./O");
    assert_row(&d, 1, "Peter/B-PER van der/I-PER");
    assert_int_equal(d.rows[0].line, 3);
    assert_int_equal(d.rows[1].line, 10);
    assert_int_equal(d.rows[1].first_word, 3);
    assert_int_equal(um_dataset_n_words(&d), 5);
    assert_string_equal(d.labels[0], "O"); /* outside of all comes first */
    assert_string_equal(d.labels[1], "B-ORG");
    assert_int_equal(d.n_labels, 4);
    um_dataset_close(&d);
}

static void test_columns_of_conll(void **state)
{
    (void)state;
    struct um_data_options o = options();
    o.label = "2";
    struct um_dataset d = parse("tagging", "EU NNP B-ORG\n. PUNCT O\n", "a.txt", &o);
    assert_row(&d, 0, "EU/NNP ./PUNCT");
    um_dataset_close(&d);
    o.label = "";
    d = parse("conll2003", "EU B-ORG 0\n. O 0\n\n\nBonn B-LOC 0\n", "valid.txt", &o);
    assert_int_equal(d.n_labels, 9);
    assert_int_equal(d.rows[1].tags[0], 5);
    um_dataset_close(&d);
    d = parse("conll2003", "EU NNP B-NP B-ORG\nsays VBZ O O\n", "train.txt", &o);
    assert_row(&d, 0, "EU/B-ORG says/O"); /* as the data set was shipped first */
    um_dataset_close(&d);
    o.is_train = o.needs_labels = false;
    d = parse("tagging", "EU\n.\n\nBonn\n", "a.conll", &o);
    assert_false(d.is_labelled);
    assert_row(&d, 0, "EU/ ./");
    um_dataset_close(&d);
}

static void test_other_formats(void **state)
{
    (void)state;
    struct um_data_options o = options();
    struct um_dataset d = parse("tagging",
                                "{\"tokens\": [\"New York\", \"a\\tb\", \"\"], "
                                "\"tags\": [\"B-LOC\", \"O\", \"O\"]}\n"
                                "{\"tokens\": \"x  y\", \"tags\": \"O B-LOC\"}\n",
                                "a.jsonl", &o);
    assert_row(&d, 0, "New York/B-LOC a b/O /O");
    assert_row(&d, 1, "x/O y/B-LOC");
    um_dataset_close(&d);
    d = parse("tagging", "tokens,tags\n\"a b\nc\",X Y X\n", "a.csv", &o);
    assert_row(&d, 0, "a/X b/Y c/X");
    um_dataset_close(&d);
    o.text = "tokens";
    o.label = "ner_tags";
    d = parse("conll2003", "{\"tokens\": [\"EU\", \".\"], \"ner_tags\": [3, 0]}\n", "a.json", &o);
    assert_row(&d, 0, "EU/B-ORG ./O");
    um_dataset_close(&d);
}

/* A model's classes, which the data calls by their numbers. */
static void test_tags_by_number(void **state)
{
    (void)state;
    char o_name[] = "O", x_name[] = "B-X";
    char *const names[] = {x_name, o_name};
    struct um_data_options o = options();
    o.names = names;
    o.n_names = o.n_classes = 2;
    o.is_train = false;
    static const char text[] = "{\"tokens\": [\"a\", \"b\"], \"tags\": [0, 1]}\n";
    struct um_dataset d = parse("tagging", text, "a.jsonl", &o);
    assert_row(&d, 0, "a/B-X b/O");
    um_dataset_close(&d);
    o.n_names = 0;
    d = parse("tagging", text, "a.jsonl", &o);
    assert_row(&d, 0, "a/0 b/1");
    um_dataset_close(&d);
}

/* Sentences without words stay, as rows of which nothing is learnt. */
static void test_empty_rows(void **state)
{
    (void)state;
    const struct um_data_options o = options();
    struct um_dataset d = parse("tagging",
                                "{\"tokens\": [], \"tags\": []}\n"
                                "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"O\", \"X\"]}\n",
                                "a.jsonl", &o);
    assert_int_equal(d.n_rows, 2);
    assert_int_equal(d.rows[0].n_words, 0);
    assert_row(&d, 1, "a/O b/X");
    um_dataset_close(&d);
    struct um_data_options table = o;
    table.header = "yes";
    d = parse("tagging", "tokens\ttags\na b\tO X\n", "a.tsv", &table);
    assert_row(&d, 0, "a/O b/X");
    um_dataset_close(&d);
}

static void test_held_out_rows(void **state)
{
    (void)state;
    const struct um_data_options o = options();
    struct um_str text = {0};
    struct um_dataset held;
    struct um_error err;
    for (int i = 0; i < 50; i++)
        um_str_addf(&text, "a%d X\n%sb O\n\n", i, i % 3 ? "more O\n" : "");
    struct um_dataset d = parse("tagging", text.text, "a.conll", &o);
    assert_ok(um_dataset_hold_out(&held, &d, 0.3, 0, &err), err);
    assert_int_equal(held.n_rows + d.n_rows, 50);
    int64_t n = 0;
    for (int64_t i = 0; i < held.n_rows; i++) {
        assert_int_equal(held.rows[i].first_word, n);
        assert_string_equal(held.labels[held.rows[i].tags[0]], "X");
        n += held.rows[i].n_words;
    }
    assert_int_equal(um_dataset_n_words(&held), n);
    um_dataset_close(&held);
    um_dataset_close(&d);
    um_str_free(&text);
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    assert_bad("tagging", "a X\nb\n", "a.conll", "a.conll:2: 1 fields, expected 2");
    assert_bad("tagging", "a X\nb O Z\n", "a.conll", "a.conll:2: 3 fields, expected 2");
    assert_bad("tagging", "a X\nb X\n", "a.conll", "all 2 words have the one label 'X'");
    assert_bad("tagging", "a\nb\n", "a.conll", "no column '2'");
    assert_bad("tagging", "-DOCSTART- O\n\n", "a.conll", "has no rows");
    assert_bad("tagging", "a X\n\nb\t\n", "a.conll", "a.conll:3: a tag is empty");
    assert_bad("conll2003", "a NNP 0\n", "a.txt",
               "a.txt:1: label 'NNP' is not one of 'O', 'B-PER'");
    assert_bad("tagging", "{\"tokens\": [\"a\"], \"tags\": [\"O\", \"X\"]}\n", "a.jsonl",
               "a.jsonl:1: 1 words, but 2 tags");
    assert_bad("tagging", "{\"tokens\": [\"a\", {}], \"tags\": [\"O\", \"X\"]}\n", "a.jsonl",
               "'tokens' is an object or an array");
    assert_bad("tagging", "{\"tokens\": [], \"tags\": []}\n", "a.jsonl", "has no words");
    assert_bad("tagging", "tokens tags\nEU X\n", "a.tsv",
               "a.tsv:1: 'tokens' is the name of a column");
    assert_bad("conll2003", "a O 0\nb O 0\n", "a.txt", "all 2 words have the one label 'O'");
    struct um_data_options o = options();
    struct um_dataset d;
    struct um_error err;
    o.pair = "2";
    assert_fails(um_dataset_parse(&d, um_task_find("tagging"), &o, "a X\n", 4, "a.conll", &err),
                 UM_E_USAGE, "takes no second text", err);
}

static void test_too_many_tags(void **state)
{
    (void)state;
    struct um_str text = {0};
    for (int i = 0; i < 1002; i++)
        um_str_addf(&text, "a tag%d\n", i);
    assert_bad("tagging", text.text, "a.conll", "more than 1000 different tags");
    um_str_clear(&text);
    um_str_add(&text, "a ");
    for (int i = 0; i < 256; i++)
        um_str_add(&text, "x");
    assert_bad("tagging", text.text, "a.conll", "a.conll:1: a tag is longer than 255 bytes");
    um_str_free(&text);
}

static void test_out_of_memory_is_said(void **state)
{
    (void)state;
    const struct um_data_options o = options();
    static const char text[] = "a X\nb O\n\nc X\n";
    struct um_dataset d;
    struct um_error err;
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status == UM_E_RUNTIME; n++) {
        um_mem_fail_after(n);
        status = um_dataset_parse(&d, um_task_find("tagging"), &o, text, sizeof(text) - 1,
                                  "a.conll", &err);
    }
    um_mem_fail_after(0);
    assert_ok(status, err);
    um_dataset_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conll),
        cmocka_unit_test(test_columns_of_conll),
        cmocka_unit_test(test_other_formats),
        cmocka_unit_test(test_tags_by_number),
        cmocka_unit_test(test_empty_rows),
        cmocka_unit_test(test_held_out_rows),
        cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_too_many_tags),
        cmocka_unit_test(test_out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
