/* Model folders: one file or shards, and what may be wrong with them. */
#include "folder.h"

#include "format/folder.h"

#define BERT "{\"model_type\": \"bert\"}"
#define U8(name, n)                                                                                \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #n "],\"data_offsets\":[0," #n "]}"

static void assert_refused(const char *folder, const char *text)
{
    struct um_folder opened;
    struct um_error err;
    assert_fails(um_folder_open(&opened, in_folder(folder), &err), UM_E_INPUT, text, err);
}

static void put_text(const char *name, const char *text)
{
    (void)put_file(name, text, strlen(text));
}

/* A folder NAME of two shards, a in the first and b in the second, and this index. */
static void put_shards(const char *name, const char *index)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/config.json", name);
    put_text(path, BERT);
    (void)snprintf(path, sizeof(path), "%s/one.safetensors", name);
    (void)put_safetensors(path, "{" U8("a", 3) "}", 3);
    (void)snprintf(path, sizeof(path), "%s/two.safetensors", name);
    (void)put_safetensors(path, "{" U8("b", 5) "}", 5);
    (void)snprintf(path, sizeof(path), "%s/model.safetensors.index.json", name);
    put_text(path, index);
}

static void test_one_file(void **state)
{
    (void)state;
    struct um_folder folder;
    struct um_error err;
    put_text("one/config.json", BERT);
    (void)put_safetensors("one/model.safetensors", "{" U8("a", 3) "}", 3);
    assert_ok(um_folder_open(&folder, in_folder("one"), &err), err);
    assert_int_equal(folder.n_shards, 1);
    assert_int_equal(um_folder_find(&folder, "a")->n_elements, 3);
    assert_null(um_folder_find(&folder, "b"));
    assert_string_equal(json_string_value(json_object_get(folder.config, "model_type")), "bert");
    um_folder_close(&folder);
    assert_ok(um_folder_open(&folder, in_folder("one/"), &err), err);
    um_folder_close(&folder);
}

static void test_shards(void **state)
{
    (void)state;
    struct um_folder folder;
    struct um_error err;
    put_shards("shards", "{\"metadata\":{\"total_size\":8},\"weight_map\":"
                         "{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    assert_ok(um_folder_open(&folder, in_folder("shards"), &err), err);
    assert_int_equal(folder.n_shards, 2);
    assert_int_equal(um_folder_find(&folder, "b")->n_elements, 5);
    assert_true(um_folder_bytes(&folder) > 8);
    um_folder_close(&folder);
}

static void test_wrong_indexes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *index, *message;
    } cases[] = {
        {"[1]", "no 'weight_map'"},
        {"{\"weight_map\":{}}", "no 'weight_map'"},
        {"{\"weight_map\":{\"a\":1}}", "(not a text)"},
        {"{\"weight_map\":{\"a\":\"\"}}", "expected a file name in this folder"},
        {"{\"weight_map\":{\"a\":\"../one/model.safetensors\"}}", "expected a file name"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "expected a file name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "expected a file name"},
        {"{\"weight_map\":{\"a\":\".\"}}", "not a regular file"},
        {"{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors': No such file"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}",
         "two.safetensors': tensor 'c' should be there"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}",
         "one.safetensors': tensor 'b' should be there"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", "duplicate"},
        {"", "the file is empty"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        put_shards("wrong", cases[i].index);
        assert_refused("wrong", cases[i].message);
    }
    put_shards("twice", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    (void)put_safetensors("twice/two.safetensors",
                          "{" U8("b", 2) ",\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
                          "\"data_offsets\":[2,3]}}", 3);
    assert_refused("twice", "tensor 'a' stands in 'one.safetensors', but also in "
                            "'two.safetensors'");
}

static void test_wrong_folders_are_refused(void **state)
{
    (void)state;
    struct um_folder folder;
    struct um_error err;
    assert_refused("absent", "no such folder");
    put_text("file", "x");
    assert_refused("file", "too few for a GGUF file");
    put_text("bare/README", "x");
    assert_refused("bare", "config.json");
    put_text("bare/config.json", "[1]");
    assert_refused("bare", "not an object");
    put_text("bare/config.json", "{\"a\": }");
    assert_refused("bare", "line 1, column 7");
    put_text("bare/config.json", BERT);
    assert_refused("bare", "neither model.safetensors nor");
    put_text("bare/pytorch_model.bin", "x");
    assert_fails(um_folder_open(&folder, in_folder("bare"), &err), UM_E_INPUT, "neither", err);
    assert_non_null(strstr(err.hint, "safe_serialization=True"));
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    struct um_folder folder;
    struct um_error err;
    put_shards("memory", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    const char *path = in_folder("memory");
    size_t before = um_mem_used();
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_folder_open(&folder, path, &err);
        um_mem_fail_after(0);
        if (status == UM_OK)
            um_folder_close(&folder);
        else
            assert_int_equal(status, UM_E_RUNTIME);
        assert_int_equal(um_mem_used(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_wrong_indexes_are_refused),
        cmocka_unit_test(test_wrong_folders_are_refused),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
