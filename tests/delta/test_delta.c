/* Deltas as files: what is saved is opened, what is malformed or of another base is refused. */
#include "made_delta.h"

#define BASE GOLDEN_DIR "/models/bert_base/model"

static void test_sha256_known_answers(void **state)
{
    (void)state; /* FIPS 180-4's examples */
    static const char *const answers[] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"};
    struct um_sha256 h;
    unsigned char digest[UM_SHA256_BYTES];
    char text[UM_SHA256_TEXT], as[997];
    um_sha256_begin(&h);
    um_sha256_end(digest, &h);
    um_sha256_text(text, digest);
    assert_string_equal(text, answers[0]);
    um_sha256_begin(&h);
    um_sha256_add(&h, "a", 1);
    um_sha256_add(&h, "bc", 2);
    um_sha256_end(digest, &h);
    um_sha256_text(text, digest);
    assert_string_equal(text, answers[1]);
    memset(as, 'a', sizeof(as));
    um_sha256_begin(&h);
    for (size_t n = 0, take; n < 1000000; n += take) {
        take = n % sizeof(as) + 1;
        take = take < 1000000 - n ? take : 1000000 - n;
        um_sha256_add(&h, as, take);
    }
    um_sha256_end(digest, &h);
    um_sha256_text(text, digest);
    assert_string_equal(text, answers[2]);
}

static void test_save_then_open(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made, *opened;
    struct um_delta_info info;
    struct um_error err;
    const char *path = in_folder("delta.safetensors");
    assert_ok(um_folder_open(&base, BASE, &err), err);
    make_delta(&made, &base, 1);
    assert_ok(um_delta_save(&made, path, &err), err);
    assert_ok(um_delta_open(&opened, test_folder, &err), err);
    assert_same_entries(&made, opened);
    assert_string_equal(opened->method, "id3");
    assert_string_equal(opened->task_class, made.task_class);
    assert_string_equal(opened->prefix, "bert.");
    assert_int_equal(opened->n_labels, 3);
    assert_string_equal(opened->labels[1], made_labels[1]);
    um_delta_get_info(&info, opened);
    assert_int_equal(info.budget, 1234);
    assert_string_equal(info.architecture, "bert");
    assert_string_equal(info.base_sha256, made.base_sha256);
    assert_int_equal(info.n_tensors, made.n_entries);
    struct um_delta_tensor tensor;
    int64_t n_values = 0, i = 0;
    for (; um_delta_get_tensor(&tensor, opened, i); i++)
        n_values += tensor.n_values;
    assert_int_equal(i, info.n_tensors);
    assert_int_equal(n_values, info.n_sparse + info.n_whole);
    assert_false(um_delta_get_tensor(&tensor, opened, -1));
    assert_ok(um_delta_verify(BASE, path, &err), err);
    um_delta_free(opened);
    um_arena_free(&made.arena);
    um_folder_close(&base);
}

static void test_apply_then_revert_is_bit_identical(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made;
    struct um_error err;
    assert_ok(um_folder_open(&base, BASE, &err), err);
    make_delta(&made, &base, 2);
    for (size_t e = 0; e < made.n_entries; e++) {
        const struct um_delta_entry *entry = &made.entries[e];
        const struct um_tensor_view *view = um_folder_find(&base, entry->name);
        if (entry->is_added)
            continue;
        float *values = malloc(view->n_bytes), *old = malloc((size_t)entry->n * sizeof(float));
        assert_true(values && old);
        memcpy(values, view->bytes, view->n_bytes);
        for (int64_t i = 0; i < entry->n; i++)
            old[i] = values[entry->is_whole ? i : entry->index[i]];
        um_delta_apply(values, entry);
        assert_memory_not_equal(values, view->bytes, view->n_bytes);
        struct um_delta_entry back = *entry;
        back.value = old;
        um_delta_apply(values, &back);
        assert_memory_equal(values, view->bytes, view->n_bytes);
        free(values);
        free(old);
    }
    um_arena_free(&made.arena);
    um_folder_close(&base);
}

#define META(more)                                                                                 \
    "\"__metadata__\":{\"format\":\"unmask.delta\",\"version\":\"1\",\"budget\":\"3\"" more "}"
#define INDEX(name, from, to, n)                                                                   \
    ",\"" name ".index\":{\"dtype\":\"I64\",\"shape\":[" #n "],\"data_offsets\":[" #from "," #to   \
    "]}"
#define VALUE(name, from, to, n)                                                                   \
    ",\"" name "\":{\"dtype\":\"F32\",\"shape\":[" #n "],\"data_offsets\":[" #from "," #to "]}"

static void test_malformed_deltas_are_refused(void **state)
{
    (void)state; /* data bytes are 0, 1, 2, ...: the position is 0x0706050403020100 */
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } cases[] = {
        {"{}", 0, "is not a delta"},
        {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, "is not a delta"},
        {"{\"__metadata__\":{\"format\":\"unmask.delta\",\"version\":\"2\"}}", 0, "version '2'"},
        {"{\"__metadata__\":{\"format\":\"unmask.delta\",\"version\":\"1\"}}", 0, "budget"},
        {"{" META(",\"labels\":\"[\"") "}", 0, "line 1"},
        {"{" META(",\"labels\":\"{}\"") "}", 0, "'labels' is not a list"},
        {"{" META(",\"labels\":\"[\\\"a\\\",1]\"") "}", 0, "'labels' is not a list of texts"},
        {"{" META(",\"added\":\"3\"") "}", 0, "line 1"},
        {"{" META(",\"added\":\"{}\"") "}", 0, "'added' is not a list"},
        {"{" META(",\"added\":\"[7]\"") "}", 0, "(not a text)"},
        {"{" META(",\"added\":\"[\\\"h\\\"]\"") "}", 0, "added parameter 'h' is not there"},
        {"{" META(",\"added\":\"[\\\"x\\\"]\"") INDEX("x", 0, 8, 1) VALUE("x.value", 8, 12, 1) "}",
         12, "added parameter 'x' is not there"},
        {"{" META("") INDEX("x", 0, 8, 1) "}", 8, "1 positions, but 0 values"},
        {"{" META("") INDEX("x", 0, 8, 1) VALUE("x.value", 8, 16, 2) "}", 16,
         "1 positions, but 2 values"},
        {"{" META("") INDEX("x", 0, 8, 1) VALUE("x.value", 8, 12, 1) VALUE("x", 12, 16, 1) "}", 16,
         "'x' stands there sparse and whole"},
        {"{" META("") ",\"x\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2,
         "'x' is F16, expected F32"},
        {"{" META("") ",\"x.index\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}"
         VALUE("x.value", 4, 8, 1) "}", 8, "'x.index' is I32"},
    };
    struct um_delta *delta;
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const char *path = put_safetensors("bad.safetensors", cases[i].header, cases[i].n_data);
        assert_fails(um_delta_open(&delta, path, &err), UM_E_INPUT, cases[i].message, err);
        assert_null(delta);
    }
    const char *path = put_safetensors("good.safetensors", "{" META("") INDEX("x", 0, 8, 1)
                                       VALUE("x.value", 8, 12, 1) "}", 12);
    assert_ok(um_delta_open(&delta, path, &err), err);
    assert_int_equal(delta->entries[0].index[0], 0x0706050403020100);
    um_delta_free(delta);
}

static void save_positions(const char *path, int64_t first, int64_t second)
{
    struct um_safetensors_writer w;
    struct um_error err;
    const int64_t index[] = {first, second}, n = 2;
    const float value[] = {1, 2};
    assert_ok(um_safetensors_create(&w, &err), err);
    um_safetensors_declare_metadata(&w, "format", "unmask.delta");
    um_safetensors_declare_metadata(&w, "version", "1");
    um_safetensors_declare_metadata(&w, "budget", "2");
    um_safetensors_declare_metadata(&w, "base_architecture", "bert");
    um_safetensors_declare(&w, "pooler.dense.bias.index", UM_I64, 1, &n);
    um_safetensors_declare(&w, "pooler.dense.bias.value", UM_F32, 1, &n);
    assert_ok(um_safetensors_begin(&w, path, &err), err);
    assert_ok(um_safetensors_put(&w, index, sizeof(index), &err), err);
    assert_ok(um_safetensors_put(&w, value, sizeof(value), &err), err);
    assert_ok(um_safetensors_commit(&w, &err), err);
}

static void test_positions_are_checked(void **state)
{
    (void)state;
    struct um_error err;
    const char *path = in_folder("positions.safetensors");
    static const int64_t wrong[][2] = {{-1, 2}, {2, 2}, {3, 2}, {INT64_MIN, INT64_MAX}};
    for (size_t i = 0; i < UM_COUNT(wrong); i++) {
        save_positions(path, wrong[i][0], wrong[i][1]);
        assert_fails(um_delta_verify(BASE, path, &err), UM_E_INPUT, "do not ascend", err);
    }
    save_positions(path, 0, 32); /* of 32 */
    assert_fails(um_delta_verify(BASE, path, &err), UM_E_INPUT,
                 "'pooler.dense.bias' has another shape", err);
    save_positions(path, 0, INT64_MAX);
    assert_fails(um_delta_verify(BASE, path, &err), UM_E_INPUT, "another shape", err);
    save_positions(path, 0, 31);
    assert_fails(um_delta_verify(BASE, path, &err), UM_E_INPUT, "made from other weights", err);
}

static void test_wrong_base_is_refused(void **state)
{
    (void)state;
    struct um_folder base, other;
    struct um_delta made;
    struct um_error err;
    const char *path = in_folder("d.safetensors");
    assert_ok(um_folder_open(&base, BASE, &err), err);
    make_delta(&made, &base, 3);
    assert_ok(um_delta_save(&made, path, &err), err);
    assert_fails(um_delta_verify(GOLDEN_DIR "/models/distilbert_cls/model", path, &err),
                 UM_E_INPUT, "it is for a 'bert', this is a 'distilbert'", err);
    assert_fails(um_delta_verify(GOLDEN_DIR "/models/bert_cls/model", path, &err), UM_E_INPUT,
                 "it has no tensor", err);
    assert_ok(um_folder_open(&other, BASE, &err), err);
    size_t touched = 0;
    while (made.entries[touched].is_added)
        touched++;
    um_folder_find(&other, made.entries[touched].name)->bytes[0] ^= 1; /* one bit */
    assert_fails(um_delta_check(&made, &other, &err), UM_E_INPUT, "other weights", err);
    assert_non_null(strstr(err.hint, "the very model"));
    um_folder_find(&other, made.entries[touched].name)->bytes[0] ^= 1;
    um_folder_find(&other, "embeddings.LayerNorm.weight")->bytes[0] ^= 1; /* not touched */
    assert_ok(um_delta_check(&made, &other, &err), err);
    struct um_delta_entry *whole = made.entries;
    while (!whole->is_whole || whole->is_added)
        whole++;
    whole->dims[whole->n_dims++] = 1;
    assert_fails(um_delta_check(&made, &other, &err), UM_E_INPUT, "another shape", err);
    um_arena_free(&made.arena);
    um_folder_close(&other);
    um_folder_close(&base);
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made, *opened;
    struct um_error err;
    const char *path = in_folder("m.safetensors");
    assert_ok(um_folder_open(&base, BASE, &err), err);
    make_delta(&made, &base, 4);
    size_t before = um_mem_used();
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_delta_save(&made, path, &err);
        um_mem_fail_after(0);
        assert_true(status == UM_OK || status == UM_E_RUNTIME);
        assert_int_equal(um_mem_used(), before);
    }
    status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_delta_open(&opened, path, &err);
        um_mem_fail_after(0);
        assert_true(status == UM_OK || status == UM_E_RUNTIME);
        um_delta_free(opened);
        assert_int_equal(um_mem_used(), before);
    }
    um_arena_free(&made.arena);
    um_folder_close(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_known_answers),
        cmocka_unit_test(test_save_then_open),
        cmocka_unit_test(test_apply_then_revert_is_bit_identical),
        cmocka_unit_test(test_malformed_deltas_are_refused),
        cmocka_unit_test(test_positions_are_checked),
        cmocka_unit_test(test_wrong_base_is_refused),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
