/* safetensors: what is written is read back; every lie of a header is found. */
#include "folder.h"

#include "base/philox.h"
#include "format/safetensors.h"

#define X(dtype, shape, from, to)                                                                  \
    "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}}"

static void test_reads_tensors_in_order_of_bytes(void **state)
{
    (void)state;
    struct um_safetensors st;
    struct um_error err;
    const char *path = put_safetensors(
        "a.safetensors",
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"second\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[6,14]},"
        "\"first\":{\"dtype\":\"BF16\",\"shape\":[3,1],\"data_offsets\":[0,6]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[6,6]}}   ",
        14);
    assert_ok(um_safetensors_open(&st, path, &err), err);
    assert_int_equal(st.n_tensors, 3);
    assert_string_equal(st.tensors[0].name, "first");
    assert_string_equal(st.tensors[1].name, "none");
    const struct um_tensor_view *t = um_safetensors_find(&st, "second");
    assert_non_null(t);
    assert_int_equal(t->n_dims, 0);
    assert_int_equal(t->n_elements, 1);
    assert_int_equal(t->bytes[0], 6);
    assert_int_equal(um_safetensors_find(&st, "first")->dims[0], 3);
    assert_null(um_safetensors_find(&st, "__metadata__"));
    assert_null(um_safetensors_find(&st, "third"));
    assert_string_equal(um_safetensors_metadata(&st, "format"), "pt");
    assert_null(um_safetensors_metadata(&st, "other"));
    um_safetensors_close(&st);
}

static void test_weights_are_written_over_in_memory_only(void **state)
{
    (void)state;
    struct um_safetensors st;
    struct um_error err;
    const char *path = put_safetensors("a.safetensors", X("U8", "[2]", 0, 2), 2);
    assert_ok(um_safetensors_open(&st, path, &err), err);
    st.tensors[0].bytes[1] = 77;
    um_safetensors_close(&st);
    assert_ok(um_safetensors_open(&st, path, &err), err);
    assert_int_equal(st.tensors[0].bytes[1], 1);
    um_safetensors_close(&st);
}

static void test_lying_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } cases[] = {
        {"[]", 0, "not an object"},
        {"{", 0, "line 1"},
        {"{\"x\":1,\"x\":2}", 0, "duplicate"},
        {"{\"x\\u0000y\":1}", 0, "cannot read"},
        {"{\"\xff\":1}", 0, "byte 0xff"},
        {"{\"x\":1}", 0, "tensor 'x' has unknown dtype '(none)'"},
        {X("F31", "[1]", 0, 4), 4, "tensor 'x' has unknown dtype 'F31'"},
        {X("F32", "1", 0, 4), 4, "no shape"},
        {X("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4), 4, "at most 8"},
        {X("F32", "[-1]", 0, 4), 4, "absurd shape"},
        {X("F32", "[1.5]", 0, 4), 4, "absurd shape"},
        {X("F32", "[9223372036854775807,2]", 0, 4), 4, "absurd shape (dimension 0)"},
        {X("F32", "[4294967296,4294967296]", 0, 4), 4, "absurd shape (dimension 1)"},
        {X("F32", "[1]", 0, 8), 4, "at bytes 0 to 8, the file has 4"},
        {X("F32", "[1]", 4, 0), 4, "at bytes 4 to 0"},
        {X("F32", "[1]", -4, 0), 4, "at bytes -4 to 0"},
        {X("F32", "[1]", 0, 1e3), 4, "no data_offsets"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "no data_offsets"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_offsets"},
        {X("F32", "[11008, 4096]", 0, 4096), 4096,
         "tensor 'x' [11008, 4096] F32 needs 180355072 bytes, header gives 4096"},
        {X("F32", "[1]", 4, 8), 8, "'x' leaves a hole"},
        {X("F32", "[1]", 0, 4), 8, "4 bytes behind the last tensor"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
         7, "'y' overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
         4, "overlaps"},
        {"{\"__metadata__\":3}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":3}}", 0, "metadata 'k' is not a text"},
    };
    struct um_safetensors st;
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const char *path = put_safetensors("lie.safetensors", cases[i].header, cases[i].n_data);
        assert_fails(um_safetensors_open(&st, path, &err), UM_E_INPUT, cases[i].message, err);
        assert_non_null(strstr(err.message, "lie.safetensors"));
    }
}

static void test_absurd_lengths_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"", 0, "0 bytes are too few"},
        {"\2\0\0", 3, "3 bytes are too few"},
        {"\3\0\0\0\0\0\0\0{}", 10, "header of 3 bytes in a file of 10"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "header of 18446744073709551615 bytes"},
        {"\0\0\0\0\0\0\0\0{}", 10, "cannot read"},
        {"#!/bin/sh\necho", 14, "not safetensors"},
    };
    struct um_safetensors st;
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const char *path = put_file("b.safetensors", cases[i].bytes, cases[i].n);
        assert_fails(um_safetensors_open(&st, path, &err), UM_E_INPUT, cases[i].message, err);
    }
    assert_fails(um_safetensors_open(&st, in_folder("absent"), &err), UM_E_INPUT, "No such file",
                 err);
    assert_fails(um_safetensors_open(&st, test_folder, &err), UM_E_INPUT, "not a regular file",
                 err);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct um_safetensors st;
    struct um_error err;
    char *text;
    size_t n;
    const char *path = put_safetensors("whole.safetensors", X("F32", "[2]", 0, 8), 8);
    assert_ok(um_file_read(&text, &n, path, &err), err);
    for (size_t cut = 0; cut < n; cut++) {
        path = put_file("cut.safetensors", text, cut);
        assert_int_equal(um_safetensors_open(&st, path, &err), UM_E_INPUT);
    }
    um_free(text);
}

/* Random tensors of every type, written as a stream. */
static void test_write_then_read(void **state)
{
    (void)state;
    struct um_safetensors_writer w;
    struct um_safetensors st;
    struct um_error err;
    struct um_random random = {.seed = 1};
    unsigned char bytes[8 * 5 * (UM_BOOL + 1)];
    const char *path = in_folder("written.safetensors");
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)um_random_u64(&random);
    assert_ok(um_safetensors_create(&w, &err), err);
    um_safetensors_declare_metadata(&w, "k\"ey", "v\xc3\xa9\n");
    for (int t = 0; t <= UM_BOOL; t++)
        um_safetensors_declare(&w, um_dtype_name((enum um_dtype)t), (enum um_dtype)t, 2,
                               (const int64_t[]){5, t});
    assert_ok(um_safetensors_begin(&w, path, &err), err);
    assert_int_equal(w.file.n_bytes % 64, 0);
    for (int t = 0; t <= UM_BOOL; t++) {
        size_t n = (size_t)(5 * t) * um_dtype_bytes((enum um_dtype)t);
        assert_ok(um_safetensors_put(&w, bytes, n / 2, &err), err);
        assert_ok(um_safetensors_put(&w, bytes + n / 2, n - n / 2, &err), err);
    }
    assert_false(um_path_exists(path));
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_safetensors_abandon(&w);
    assert_ok(um_safetensors_open(&st, path, &err), err);
    assert_int_equal(st.n_tensors, UM_BOOL + 1);
    assert_string_equal(um_safetensors_metadata(&st, "k\"ey"), "v\xc3\xa9\n");
    for (int t = 0; t <= UM_BOOL; t++) {
        const struct um_tensor_view *view =
            um_safetensors_find(&st, um_dtype_name((enum um_dtype)t));
        assert_non_null(view);
        assert_int_equal(view->dtype, t);
        assert_int_equal(view->dims[1], t);
        assert_memory_equal(view->bytes, bytes, view->n_bytes);
    }
    um_safetensors_close(&st);
}

static void test_writer_refuses_what_would_not_load(void **state)
{
    (void)state;
    struct um_safetensors_writer w;
    struct um_error err;
    const char *path = in_folder("never.safetensors");
    const int64_t dims[] = {2};
    assert_ok(um_safetensors_create(&w, &err), err);
    um_safetensors_declare(&w, "x", UM_U8, 1, dims);
    um_safetensors_declare(&w, "x", UM_U8, 1, dims);
    assert_fails(um_safetensors_begin(&w, path, &err), UM_E_INPUT, "two tensors are named 'x'",
                 err);
    um_safetensors_abandon(&w);
    assert_ok(um_safetensors_create(&w, &err), err);
    um_safetensors_declare(&w, "\xff", UM_U8, 1, dims);
    assert_fails(um_safetensors_begin(&w, path, &err), UM_E_RUNTIME, "not UTF-8", err);
    um_safetensors_abandon(&w);
    assert_ok(um_safetensors_create(&w, &err), err);
    um_safetensors_declare(&w, "x", UM_U8, 1, dims);
    assert_ok(um_safetensors_begin(&w, path, &err), err);
    assert_ok(um_safetensors_put(&w, "a", 1, &err), err);
    assert_fails(um_safetensors_commit(&w, &err), UM_E_RUNTIME, "declared", err);
    um_safetensors_abandon(&w);
    assert_false(um_path_exists(path));
    assert_false(um_path_exists(in_folder("never.safetensors.partial")));
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    struct um_safetensors st;
    struct um_error err;
    const char *path = put_safetensors("m.safetensors", X("F32", "[2]", 0, 8), 8);
    size_t before = um_mem_used();
    for (int64_t n = 1; n <= 2; n++) {
        um_mem_fail_after(n);
        enum um_status status = um_safetensors_open(&st, path, &err);
        um_mem_fail_after(0);
        assert_int_equal(status, UM_E_RUNTIME);
        assert_int_equal(um_mem_used(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_tensors_in_order_of_bytes),
        cmocka_unit_test(test_weights_are_written_over_in_memory_only),
        cmocka_unit_test(test_lying_headers_are_refused),
        cmocka_unit_test(test_absurd_lengths_are_refused),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_writer_refuses_what_would_not_load),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
