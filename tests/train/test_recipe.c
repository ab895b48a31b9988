/* Recipes: every row of the option table by each way in and out; and what YAML must be refused. */
#include "test.h"

#include "base/file.h"
#include "train/recipe_private.h"

static struct um_error err;
static char folder[] = "/tmp/unmask recipe XXXXXX";
static char *path; /* of a recipe in it */

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    path = um_path_join(folder, "r.yaml");
    return path == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    um_free(path);
    return um_remove_folder(folder, &err) != UM_OK;
}

static struct um_recipe *new_recipe(void)
{
    struct um_recipe *recipe;
    assert_ok(um_recipe_new(&recipe, &err), err);
    return recipe;
}

/* Loads `text` as a recipe. */
static enum um_status load_n(struct um_recipe *recipe, const char *text, size_t n)
{
    assert_ok(um_file_write(path, text, n, &err), err);
    return um_recipe_load(recipe, path, &err);
}

static enum um_status load(struct um_recipe *recipe, const char *text)
{
    return load_n(recipe, text, strlen(text));
}

static void test_defaults_fill_the_config(void **state)
{
    (void)state;
    struct um_recipe *recipe = new_recipe();
    const struct um_config *c = um_recipe_config(recipe);
    assert_string_equal(c->method.name, "id3");
    assert_string_equal(c->method.budget, "0.17%");
    assert_string_equal(c->model, "");
    assert_int_equal(c->train.batch, 32);
    assert_int_equal(c->train.seed, 42);
    assert_true(c->optimizer.lr < 0); /* the method's */
    assert_true(c->train.dropout < 0);
    assert_false(c->train.recompute);
    assert_true(c->eval.before);
    assert_int_equal(c->scope.include.n, 0);
    um_recipe_free(recipe);
}

static void test_keys_and_flags_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < um_n_options; i++) {
        const struct um_option_info *a = um_recipe_option(i), *b;
        assert_ptr_equal(um_option_find(a->key), &um_options[i]);
        for (size_t j = i + 1; (b = um_recipe_option(j)); j++) {
            assert_string_not_equal(a->key, b->key);
            assert_false(a->flag && b->flag && strcmp(a->flag, b->flag) == 0);
        }
    }
    assert_null(um_recipe_option(um_n_options));
}

/* A value other than the default, as text. */
static const char *other_value(const struct um_option *option, char *buffer)
{
    struct um_member_info members[2];
    switch (option->type) {
    case UM_OPTION_TEXT:
    case UM_OPTION_PATH:
        return " odd: 'text' # \"with\" \\ \t {things}, - \xc3\xa9\xf0\x9f\x98\x80\nand lines\n";
    case UM_OPTION_LIST:
        return "*.query.*,- 'a' # b,layer: 1,[x],\xc3\xa9";
    case UM_OPTION_INT:
        (void)snprintf(buffer, 64, "%.0f", option->high);
        return buffer;
    case UM_OPTION_FLOAT:
        (void)snprintf(buffer, 64, "%.17g", option->low + (option->high - option->low) / 3);
        return buffer;
    case UM_OPTION_BOOL:
        return strcmp(option->info.default_value, "on") == 0 ? "off" : "on";
    case UM_OPTION_CHOICE:
        break;
    }
    if (option->info.choices)
        return strrchr(option->info.choices, '|') + 1;
    size_t n = um_family_members(members, 2, option->info.family);
    return n ? members[n - 1].name : option->info.default_value;
}

static void assert_same_values(const struct um_recipe *a, const struct um_recipe *b)
{
    for (size_t i = 0; i < um_n_options; i++) {
        const struct um_option *option = &um_options[i];
        const char *member_a = (const char *)um_recipe_config(a) + option->offset;
        const char *member_b = (const char *)um_recipe_config(b) + option->offset;
        assert_string_equal(um_recipe_text(a, option), um_recipe_text(b, option));
        if (option->type == UM_OPTION_INT || option->type == UM_OPTION_FLOAT)
            assert_memory_equal(member_a, member_b, 8);
        if (option->type == UM_OPTION_BOOL)
            assert_int_equal(*(const bool *)member_a, *(const bool *)member_b);
    }
}

static void test_every_row_survives_save_and_load(void **state)
{
    (void)state;
    struct um_recipe *saved = new_recipe(), *loaded = new_recipe(), *clone;
    char buffer[64];
    for (size_t i = 0; i < um_n_options; i++)
        assert_ok(
            um_recipe_set(saved, um_options[i].info.key, other_value(&um_options[i], buffer), &err),
            err);
    assert_ok(um_recipe_save(saved, path, &err), err);
    assert_ok(um_recipe_load(loaded, path, &err), err);
    assert_same_values(saved, loaded);
    assert_int_equal(um_recipe_config(loaded)->scope.whole.n, 5);
    assert_string_equal(um_recipe_config(loaded)->scope.whole.items[2], "layer: 1");
    assert_ok(um_recipe_clone(&clone, saved, &err), err);
    um_recipe_free(saved);
    assert_same_values(clone, loaded);
    um_recipe_free(clone);
    um_recipe_free(loaded);
    saved = new_recipe();
    loaded = new_recipe();
    assert_ok(um_recipe_save(saved, path, &err), err);
    assert_ok(um_recipe_load(loaded, path, &err), err);
    assert_same_values(saved, loaded);
    um_recipe_free(saved);
    um_recipe_free(loaded);
}

static void test_sections_lists_and_short_keys(void **state)
{
    (void)state;
    struct um_recipe *recipe = new_recipe();
    const struct um_config *c = um_recipe_config(recipe);
    assert_ok(load(recipe,
                   "# a comment\nmodel: base\ndata: folder\nmethod: {budget: 2MB, exp: 0.5}\n"
                   "scope:\n  include: ['*.query.*', \"*.key.*\"]\n  exclude: a,b\n"
                   "train:\n  recompute: on\n  dropout: 0.1\nlr_schedule.warmup: 10\n"),
              err);
    assert_string_equal(c->data.path, "folder");
    assert_string_equal(c->method.budget, "2MB");
    assert_int_equal(c->scope.include.n, 2);
    assert_string_equal(c->scope.include.items[1], "*.key.*");
    assert_int_equal(c->scope.exclude.n, 2);
    assert_true(c->train.recompute);
    assert_true(c->train.dropout > 0.09 && c->lr_schedule.warmup > 9);
    assert_ok(load(recipe, "data: {train: a.tsv, eval: b.tsv}\nscope: {include: []}\n"
                           "train: {dropout: model}\n"),
              err);
    assert_string_equal(c->data.path, "folder"); /* kept: a recipe is read over what is set */
    assert_string_equal(c->data.eval, "b.tsv");
    assert_int_equal(c->scope.include.n, 0);
    assert_true(c->train.dropout < 0);
    assert_ok(load(recipe, ""), err);
    assert_ok(um_recipe_set(recipe, "data", "elsewhere", &err), err);
    assert_string_equal(um_recipe_get(recipe, "data.path"), "elsewhere");
    assert_null(um_recipe_get(recipe, "data.pth"));
    um_recipe_free(recipe);
}

static void test_numbers_are_canonical(void **state)
{
    (void)state;
    struct um_recipe *recipe = new_recipe();
    assert_ok(um_recipe_set(recipe, "optimizer.lr", "5.00e-4", &err), err);
    assert_string_equal(um_recipe_get(recipe, "optimizer.lr"), "0.0005");
    assert_ok(um_recipe_set(recipe, "train.batch", "+016", &err), err);
    assert_string_equal(um_recipe_get(recipe, "train.batch"), "16");
    assert_ok(um_recipe_set(recipe, "train.recompute", "yes", &err), err);
    assert_string_equal(um_recipe_get(recipe, "train.recompute"), "on");
    um_recipe_free(recipe);
}

static void test_wrong_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"method.buget", "1", "unknown key 'method.buget'; did you mean 'method.budget'?"},
        {"budget", "1", "did you mean 'method.budget'?"},
        {"zzzzzzzz", "1", "unknown key 'zzzzzzzz'"},
        {"", "1", "unknown key ''"},
        {"train.batch", "0", "'train.batch' takes a whole number from 1 to 1048576, found '0'"},
        {"train.batch", "3.5", "found '3.5'"},
        {"train.accumulate", "65537", "takes a whole number from 1 to 65536, found '65537'"},
        {"train.batch", "", "found ''"},
        {"train.seed", "99999999999999999999", "whole number"},
        {"optimizer.lr", "0", "above 0"},
        {"optimizer.lr", "fast",
         "takes a number above 0 and at most 1000, or method, found 'fast'"},
        {"optimizer.lr", "nan", "found 'nan'"},
        {"train.dropout", "1.5", "or model, found '1.5'"},
        {"train.dropout", "-1", "found '-1'"},
        {"train.recompute", "maybe", "takes on or off, found 'maybe'"},
        {"train.order", "shufle", "one of shuffle, sequential, grouped, found 'shufle'"},
        {"optimizer.name", "adam", "one of adamw, sgd, found 'adam'"},
        {"scope.include", "a,,b", "commas"},
        {"model", "\xff", "not valid UTF-8"},
    };
    struct um_recipe *recipe = new_recipe();
    for (size_t i = 0; i < UM_COUNT(cases); i++)
        assert_fails(um_recipe_set(recipe, cases[i].key, cases[i].value, &err), UM_E_USAGE,
                     cases[i].message, err);
    assert_int_equal(um_recipe_config(recipe)->train.batch, 32);
    um_recipe_free(recipe);
}

static void test_bad_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"model: m\nmethod:\n  buget: 1\n",
         "r.yaml:3: unknown key 'method.buget'; did you mean 'method.budget'?"},
        {"metod:\n  name: id3\n", "r.yaml:1: unknown key 'metod'; did you mean 'method'?"},
        {"train:\n  batch: many\n", "r.yaml:2: 'train.batch' takes a whole number"},
        {"train:\n  batch: [1]\n", "r.yaml:2: 'train.batch' takes one value, found a list"},
        {"model: {a: b}\n", "r.yaml:1: 'model' takes one value, found a mapping"},
        {"model: a\n\nmodel: b\n", "r.yaml:3: duplicate key 'model'"},
        {"train: {batch: 1}\ntrain: {epochs: 1}\n", "r.yaml:2: duplicate key 'train'"},
        {"train: {batch: 1}\ntrain.batch: 2\n", "r.yaml:2: duplicate key 'train.batch'"},
        {"data: a\ndata.path: b\n", "r.yaml:2: duplicate key 'data.path'"},
        {"train: 3\n", "r.yaml:1: 'train' is a section"},
        {"model: &a m\n", "r.yaml:1: an anchor"},
        {"model: *a\n", "r.yaml:1: an alias"},
        {"train: &a\n  batch: 1\n", "an anchor"},
        {"model: !x m\n", "a tag"},
        {"? [a]\n: b\n", "a key is plain text"},
        {"scope: {include: [[a]]}\n", "a list of plain texts"},
        {"scope: {include: ['a,b']}\n", "have no commas"},
        {"model: \"a\\0b\"\n", "NUL"},
        {"- a\n", "r.yaml:1: a recipe is a mapping"},
        {"model: a\n---\nmodel: b\n", "r.yaml:2: a second document"},
        {"model: a\nx y\n", "not valid YAML"},
        {"model: [a\n", "r.yaml:1: 'model' takes one value"},
        {"train:\n\tbatch: 1\n", "r.yaml:2: not valid YAML"},
        {"model: a\ntask: \xff\n", "r.yaml:2: not valid UTF-8"},
        {"train: {train: {train: {batch: 1}}}\n", "unknown key 'train.train'"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_recipe *recipe = new_recipe();
        assert_fails(load(recipe, cases[i].text), UM_E_USAGE, cases[i].message, err);
        um_recipe_free(recipe);
    }
}

static void test_files_that_are_no_recipes(void **state)
{
    (void)state;
    struct um_recipe *recipe = new_recipe();
    enum { N = 2 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, '[', N);
    assert_fails(load_n(recipe, text, N), UM_E_USAGE, "too many", err);
    assert_fails(load_n(recipe, text, 100000), UM_E_USAGE, "r.yaml:1:", err);
    assert_fails(load_n(recipe, "a\0b", 3), UM_E_USAGE, "r.yaml", err);
    assert_int_not_equal(um_recipe_load(recipe, "/nonexistent.yaml", &err), UM_OK);
    assert_non_null(strstr(err.message, "/nonexistent.yaml"));
    free(text);
    um_recipe_free(recipe);
}

static void test_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    struct um_recipe *recipe;
    size_t before = um_mem_used();
    bool is_done = false;
    assert_ok(um_file_write(path, "model: m\nscope: {include: [a, b]}\n", 34, &err), err);
    for (int64_t i = 1; !is_done; i++) {
        um_mem_fail_after(i);
        enum um_status status = um_recipe_new(&recipe, &err);
        if (status == UM_OK)
            status = um_recipe_load(recipe, path, &err);
        if (status == UM_OK)
            status = um_recipe_save(recipe, path, &err);
        is_done = status == UM_OK;
        um_mem_fail_after(0);
        if (!is_done)
            assert_int_equal(err.status, UM_E_RUNTIME);
        um_recipe_free(recipe);
        assert_int_equal(um_mem_used(), before);
    }
}

static void test_families_have_members(void **state)
{
    (void)state;
    static const char *const families[] = {"method",      "importance",   "schedule", "optimizer",
                                           "lr_schedule", "architecture", "task",     "metric"};
    struct um_member_info members[64];
    for (size_t i = 0; i < UM_COUNT(families); i++) {
        size_t n = um_family_members(members, UM_COUNT(members), families[i]);
        assert_true(n > 0 && n < UM_COUNT(members));
        for (size_t k = 0; k < n; k++)
            assert_true(*members[k].name && *members[k].summary);
        assert_int_equal(um_family_members(members, 1, families[i]), 1);
    }
    assert_int_equal(um_family_members(members, UM_COUNT(members), "no such family"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_fill_the_config),
        cmocka_unit_test(test_keys_and_flags_are_unique),
        cmocka_unit_test(test_every_row_survives_save_and_load),
        cmocka_unit_test(test_sections_lists_and_short_keys),
        cmocka_unit_test(test_numbers_are_canonical),
        cmocka_unit_test(test_wrong_values_are_refused),
        cmocka_unit_test(test_bad_yaml_is_refused_with_its_line),
        cmocka_unit_test(test_files_that_are_no_recipes),
        cmocka_unit_test(test_out_of_memory_leaks_nothing),
        cmocka_unit_test(test_families_have_members),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
