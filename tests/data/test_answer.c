/* Answers in texts: by the rules of LLM-Adapters, against Python (golden/data/answers.json,
 * oracle/make_answer_golden.py), on thousands of made texts and on the real tests' own. */
#include "test.h"

#include <math.h>

#include "base/json.h"
#include "data/answer.h"

static json_t *golden;

/* The number that a text answers; NaN: none. */
static double number_in(const char *text)
{
    struct um_found found;
    struct um_error err;
    assert_ok(um_answer_find(&found, UM_ANSWER_NUMBER, text, strlen(text), &err), err);
    return found.is_there ? found.number : (double)NAN;
}

/* The letter that a text answers; '-': none. */
static char letter_in(const char *text)
{
    struct um_found found;
    struct um_error err;
    assert_ok(um_answer_find(&found, UM_ANSWER_LETTER, text, strlen(text), &err), err);
    return found.is_there ? found.letter : '-';
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double number;
    } cases[] = {
        {"The answer is 18.", 18},
        {"\nA: 3 + 4 = 7 apples. The answer is 7.", 7},
        {"It costs $1,234,567.50 in all", 1234567.5},
        {"from 3-4", -4},
        {"-2", -2},
        {"- 2", 2},
        {"--2", -2},
        {"-,2", -2},
        {"2-", 2},
        {"1.2.3", 3},
        {"3.", 3},
        {".5", 5},
        {"1,2", 12},
        {"1, 2", 2},
        {"1e3", 3},
        {"1/2", 2},
        {"10:30", 30},
        {"50 %", 50},
        {"0.0010", 0.001},
        {"007", 7},
        {"\xe2\x88\x92"
         "5",
         5}, /* U+2212 is no minus sign here */
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++)
        if (number_in(cases[i].text) != cases[i].number)
            fail_msg("'%s' gives %g, not %g", cases[i].text, number_in(cases[i].text),
                     cases[i].number);
    static const char *const none[] = {"", "-", ".", ",,", "no number", "-.", "\xd9\xa3"};
    for (size_t i = 0; i < UM_COUNT(none); i++)
        assert_true(isnan(number_in(none[i])));
    char huge[500];
    memset(huge, '9', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_true(isnan(number_in(huge)));
}

static void test_letters(void **state)
{
    (void)state;
    assert_int_equal(letter_in("The answer is (C)."), 'C');
    assert_int_equal(letter_in("the rate is 5, so E, not A"), 'E');
    assert_int_equal(letter_in("A: the answer is B"), 'A');
    assert_int_equal(letter_in("F G a b c"), '-');
    assert_int_equal(letter_in(""), '-');
}

static bool is_right(enum um_answer rule, const char *text, const char *answer)
{
    struct um_found found, truth;
    struct um_error err;
    const struct um_row row = {.answer = answer, .line = 3};
    assert_ok(um_answer_find(&found, rule, text, strlen(text), &err), err);
    assert_ok(um_answer_truth(&truth, rule, &row, "test.json", &err), err);
    return um_answer_is_right(&found, &truth, rule);
}

static void test_right_and_wrong(void **state)
{
    (void)state;
    assert_true(is_right(UM_ANSWER_NUMBER, "it is 576", "576.0"));
    assert_true(is_right(UM_ANSWER_NUMBER, "1,080", "lots of steps\n#### 1,080"));
    assert_true(is_right(UM_ANSWER_NUMBER, "1000", "1e3"));
    assert_true(is_right(UM_ANSWER_NUMBER, "0.3335", "0.3333"));
    assert_false(is_right(UM_ANSWER_NUMBER, "0.335", "0.3333"));
    assert_false(is_right(UM_ANSWER_NUMBER, "-7", "7"));
    assert_false(is_right(UM_ANSWER_NUMBER, "none", "0"));
    assert_true(is_right(UM_ANSWER_LETTER, "so (D)", "D"));
    assert_false(is_right(UM_ANSWER_LETTER, "so (D)", "C"));
    assert_false(is_right(UM_ANSWER_LETTER, "", "A"));
}

static void test_bad_truth(void **state)
{
    (void)state;
    struct um_found truth;
    struct um_error err;
    struct um_row row = {.answer = "many", .line = 3};
    assert_fails(um_answer_truth(&truth, UM_ANSWER_NUMBER, &row, "t.json", &err), UM_E_INPUT,
                 "t.json:3: answer 'many' has no number", err);
    row.answer = "none of these";
    assert_fails(um_answer_truth(&truth, UM_ANSWER_LETTER, &row, "t.json", &err), UM_E_INPUT,
                 "t.json:3: answer 'none of these' has no letter from A to E", err);
}

/* The generator of oracle/make_answer_golden.py. */
static size_t draw(uint64_t *x, size_t n)
{
    *x = *x * 6364136223846793005U + 1442695040888963407U;
    return (size_t)((*x >> 33) % n);
}

static void test_made_texts(void **state)
{
    (void)state;
    const json_t *pieces = json_object_get(golden, "pieces");
    const json_t *numbers = json_object_get(golden, "numbers");
    const char *letters = json_string_value(json_object_get(golden, "letters"));
    uint64_t x = (uint64_t)json_integer_value(json_object_get(golden, "seed"));
    size_t n_pieces = json_array_size(pieces), n_texts = json_array_size(numbers);
    assert_true(n_texts >= 4000);
    assert_int_equal(strlen(letters), n_texts);
    for (size_t i = 0; i < n_texts; i++) {
        char text[512] = "";
        for (size_t n = 1 + draw(&x, 12); n > 0; n--)
            (void)strcat(text, json_string_value(json_array_get(pieces, draw(&x, n_pieces))));
        const json_t *expected = json_array_get(numbers, i);
        double number = number_in(text);
        if (json_is_null(expected) ? !isnan(number) : number != json_number_value(expected))
            fail_msg("text %zu, '%s', gives %.17g, not %.17g", i, text, number,
                     json_number_value(expected));
        assert_int_equal(letter_in(text), letters[i]);
    }
}

/* How many of a real test's `output` texts give its `answer`. */
static int64_t count_right(const char *path, enum um_answer rule)
{
    struct um_error err;
    json_t *rows;
    int64_t n_right = 0;
    size_t i;
    json_t *row;
    assert_ok(um_json_load(&rows, path, &err), err);
    json_array_foreach(rows, i, row) n_right +=
        is_right(rule, json_string_value(json_object_get(row, "output")),
                 json_string_value(json_object_get(row, "answer")));
    json_decref(rows);
    return n_right;
}

static void test_real_texts(void **state)
{
    (void)state;
    const char *name;
    json_t *expected;
    json_object_foreach(json_object_get(golden, "right"), name, expected)
    {
        char path[512];
        (void)snprintf(path, sizeof(path), SHARED_DIR "/data/math/%s", name);
        if (!um_path_exists(path)) {
            print_message("no %s: the real tests are left out\n", path);
            skip();
        }
        bool is_letter = strcmp(name, "AQuA.test.json") == 0;
        assert_int_equal(count_right(path, is_letter ? UM_ANSWER_LETTER : UM_ANSWER_NUMBER),
                         json_integer_value(expected));
    }
}

static int load_golden(void **state)
{
    (void)state;
    struct um_error err;
    return um_json_load(&golden, GOLDEN_DIR "/data/answers.json", &err) == UM_OK ? 0 : -1;
}

static int free_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_letters),
        cmocka_unit_test(test_right_and_wrong), cmocka_unit_test(test_bad_truth),
        cmocka_unit_test(test_made_texts),      cmocka_unit_test(test_real_texts),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
