/* Numbers in a program whose locale writes them with a comma: recipes and JSON are as ever. */
#include "folder.h"

#include <locale.h>

#include "base/json.h"
#include "unmask.h"

/* Sets such a locale: one that the machine has, or one that is made for the test. */
static bool set_comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "comma"};
    static const char definition[] = "LC_NUMERIC\n"
                                     "decimal_point \"<U002C>\"\n"
                                     "thousands_sep \"<U002E>\"\n"
                                     "grouping 3;3\n"
                                     "END LC_NUMERIC\n";
    char command[256];
    for (size_t i = 0; i + 1 < UM_COUNT(names); i++)
        if (setlocale(LC_NUMERIC, names[i]))
            return true;
    (void)put_file("locale/source", definition, strlen(definition));
    (void)snprintf(command, sizeof(command),
                   "cd '%s/locale' && localedef -c -i ./source ./comma >log 2>&1", test_folder);
    (void)!system(
        command); /* it warns of what the definition leaves out, and is made for all that */
    assert_int_equal(setenv("LOCPATH", in_folder("locale"), 1), 0);
    return setlocale(LC_NUMERIC, names[UM_COUNT(names) - 1]) != NULL;
}

/* Into and out of the comma's locale, which is no locale of the other tests. */
static void in_comma_locale(void (*check)(void))
{
    char text[16];
    if (!set_comma_locale()) {
        print_message("not tested: no locale with a decimal comma, and localedef makes none\n");
        skip();
    }
    (void)snprintf(text, sizeof(text), "%g", 0.5);
    assert_string_equal(text, "0,5"); /* the C library's own */
    check();
    (void)setlocale(LC_NUMERIC, "C");
}

static void check_recipe(void)
{
    struct um_error err;
    struct um_recipe *recipe, *again;
    assert_ok(um_recipe_new(&recipe, &err), err); /* of defaults with decimals */
    assert_ok(um_recipe_set(recipe, "optimizer.lr", "2.5e-4", &err), err);
    assert_ok(um_recipe_set(recipe, "method.budget", "0.17%", &err), err);
    assert_string_equal(um_recipe_get(recipe, "optimizer.lr"), "0.00025");
    assert_fails(um_recipe_set(recipe, "optimizer.lr", "0,5", &err), UM_E_USAGE, "found '0,5'",
                 err);
    assert_fails(um_recipe_set(recipe, "train.dropout", "2", &err), UM_E_USAGE, "at most 0.99",
                 err);
    assert_ok(um_recipe_save(recipe, in_folder("r.yaml"), &err), err);
    assert_ok(um_recipe_new(&again, &err), err);
    assert_ok(um_recipe_load(again, in_folder("r.yaml"), &err), err);
    assert_string_equal(um_recipe_get(again, "optimizer.lr"), "0.00025");
    um_recipe_free(recipe);
    um_recipe_free(again);
}

static void test_recipe(void **state)
{
    (void)state;
    in_comma_locale(check_recipe);
}

static void check_run(void)
{
    struct um_error err;
    struct um_recipe *recipe;
    struct um_run *run;
    struct um_summary summary;
    static const char rows[] = "{\"text\": \"baba\", \"label\": 1.5}\n"
                               "{\"text\": \"lo mu\", \"label\": 0.25}\n";
    const struct {
        const char *key, *value;
    } settings[] = {{"model", GOLDEN_DIR "/models/bert_base/model"},
                    {"task", "regression"},
                    {"data.train", put_file("rows.jsonl", rows, strlen(rows))},
                    {"data.eval", in_folder("rows.jsonl")},
                    {"out", in_folder("run")},
                    {"method.budget", "0.5%"},
                    {"train.epochs", "0.5"}};
    assert_ok(um_recipe_new(&recipe, &err), err);
    for (size_t i = 0; i < UM_COUNT(settings); i++)
        assert_ok(um_recipe_set(recipe, settings[i].key, settings[i].value, &err), err);
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_ok(um_run_train(&summary, run, &err), err);
    um_run_free(run);
    um_recipe_free(recipe);
    char *text;
    assert_ok(um_file_read(&text, NULL, in_folder("run/metrics.jsonl"), &err), err);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        json_decref(json);
    }
    um_free(text);
    assert_ok(um_remove_folder(in_folder("run"), &err), err);
}

static void test_run(void **state)
{
    (void)state;
    in_comma_locale(check_run);
}

static void check_texts(void)
{
    char bytes[24];
    struct um_error err;
    double number;
    assert_string_equal(um_format_bytes(bytes, 1536), "1.5 KiB");
    assert_true(um_parse_f64(&number, "0.25") && number == 0.25);
    assert_false(um_parse_f64(&number, "0,25"));
    (void)um_fail(&err, UM_E_RUNTIME, "%.2f", 0.25);
    assert_string_equal(err.message, "0.25");
}

static void test_texts(void **state)
{
    (void)state;
    in_comma_locale(check_texts);
}

static int remove_locale(void **state)
{
    struct um_error err;
    if (um_remove_folder(in_folder("locale/comma"), &err) != UM_OK ||
        um_remove_folder(in_folder("locale"), &err) != UM_OK)
        return -1;
    return remove_test_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipe),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_locale);
}
