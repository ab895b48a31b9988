/* Writing GGUF: the bytes of the reference writer, every type read back, what is refused. */
#include "folder.h"

#include "base/philox.h"
#include "format/gguf.h"

static void declare_copy(struct um_gguf_writer *w, const struct um_gguf *from)
{
    for (size_t i = 0; i < from->n_pairs; i++)
        um_gguf_declare_pair(w, &from->pairs[i]);
    for (size_t i = 0; i < from->n_tensors; i++) {
        const struct um_tensor_view *t = &from->tensors[i];
        um_gguf_declare(w, t->name, t->dtype, t->n_dims, t->dims);
    }
}

/* Copies a file by its parts, each tensor in two pieces. */
static enum um_status copy_file(const char *path, const struct um_gguf *from, struct um_error *err)
{
    struct um_gguf_writer w;
    enum um_status status;
    UM_RETURN_IF(um_gguf_create(&w, err));
    declare_copy(&w, from);
    UM_TRY(um_gguf_begin(&w, path, err));
    for (size_t i = 0; i < from->n_tensors; i++) {
        const struct um_tensor_view *t = &from->tensors[i];
        UM_TRY(um_gguf_put(&w, t->bytes, t->n_bytes / 2, err));
        UM_TRY(um_gguf_put(&w, t->bytes + t->n_bytes / 2, t->n_bytes - t->n_bytes / 2, err));
    }
    UM_TRY(um_gguf_commit(&w, err));
out:
    um_gguf_abandon(&w);
    return status;
}

/* The reference writer and this one agree on every byte. */
static void assert_same_as_golden(const char *path)
{
    struct um_map golden, map;
    struct um_error err;
    assert_ok(um_map_open(&golden, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    assert_ok(um_map_open(&map, path, &err), err);
    assert_int_equal(map.n_bytes, golden.n_bytes);
    assert_memory_equal(map.bytes, golden.bytes, map.n_bytes);
    um_map_close(&map);
    um_map_close(&golden);
}

static void test_a_copy_is_the_same_file(void **state)
{
    (void)state;
    struct um_gguf from;
    struct um_error err;
    const char *path = in_folder("copy.gguf");
    assert_ok(um_gguf_open(&from, GOLDEN_DIR "/gguf/types.gguf", &err), err);
    assert_ok(copy_file(path, &from, &err), err);
    um_gguf_close(&from);
    assert_same_as_golden(path);
}

/* Every allocation of reading and writing fails once: an error, nothing leaked, no part of a file. */
static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    char path[512];
    size_t before = um_mem_used();
    int n_failures = 0;
    (void)snprintf(path, sizeof(path), "%s", in_folder("memory.gguf"));
    for (int64_t n = 1;; n++) {
        struct um_gguf from;
        struct um_error err;
        um_mem_fail_after(n);
        enum um_status status = um_gguf_open(&from, GOLDEN_DIR "/gguf/types.gguf", &err);
        if (status == UM_OK)
            status = copy_file(path, &from, &err);
        um_mem_fail_after(0);
        um_gguf_close(&from);
        assert_int_equal(um_mem_used(), before);
        if (status == UM_OK)
            break;
        assert_int_equal(status, UM_E_RUNTIME);
        assert_false(um_path_exists(in_folder("memory.gguf.partial")));
        if (um_path_exists(path)) /* only the folder's sync failed: the file is whole */
            assert_same_as_golden(path);
        n_failures++;
    }
    assert_true(n_failures > 10);
    assert_same_as_golden(path);
}

static void declare_all(struct um_gguf_writer *w)
{
    static const char *const texts[] = {"one", "", "three"};
    static const size_t lengths[] = {3, 0, 5};
    static const int32_t integers[] = {-1, INT32_MAX};
    static const float reals[] = {0.25F, -1e30F};
    um_gguf_declare_text(w, "text", "n\0t", 3);
    um_gguf_declare_u32(w, "u32", 4000000000);
    um_gguf_declare_f32(w, "f32", 1e-5F);
    um_gguf_declare_bool(w, "bool", true);
    um_gguf_declare_texts(w, "texts", texts, lengths, 3);
    um_gguf_declare_i32s(w, "i32s", integers, 2);
    um_gguf_declare_f32s(w, "f32s", reals, 2);
    um_gguf_declare_f32s(w, "none", NULL, 0);
}

static void assert_all_read(const struct um_gguf *gguf)
{
    assert_int_equal(gguf->n_pairs, 8);
    assert_int_equal(gguf->pairs[0].n, 3);
    assert_memory_equal(gguf->pairs[0].text, "n\0t", 3);
    assert_int_equal(um_gguf_pair(gguf, "u32")->integer, 4000000000);
    assert_true(um_gguf_pair(gguf, "f32")->real == (double)1e-5F);
    assert_int_equal(um_gguf_pair(gguf, "bool")->integer, 1);
    const struct um_gguf_pair *texts = um_gguf_pair(gguf, "texts");
    assert_int_equal(texts->n, 3);
    assert_int_equal(texts->lengths[1], 0);
    assert_memory_equal(texts->strings[2], "three", 5);
    assert_int_equal(um_gguf_integer_at(um_gguf_pair(gguf, "i32s"), 0), -1);
    assert_int_equal(um_gguf_integer_at(um_gguf_pair(gguf, "i32s"), 1), INT32_MAX);
    assert_true(um_gguf_real_at(um_gguf_pair(gguf, "f32s"), 1) == (double)-1e30F);
    assert_int_equal(um_gguf_pair(gguf, "none")->n, 0);
}

static bool is_writable(enum um_dtype dtype)
{
    return dtype != UM_U8 && dtype != UM_BOOL;
}

/* Tensors of every type and of one to four dimensions, whose sizes need padding. */
static void test_write_then_read(void **state)
{
    (void)state;
    struct um_gguf_writer w;
    struct um_gguf gguf;
    struct um_error err;
    struct um_random random = {.seed = 1};
    static unsigned char bytes[15 * 256 * 8];
    const char *path = in_folder("written.gguf");
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)um_random_u64(&random);
    assert_ok(um_gguf_create(&w, &err), err);
    declare_all(&w);
    for (int t = 0; t < UM_N_DTYPES; t++) {
        const int64_t dims[4] = {1, 5, 3, um_dtype_block((enum um_dtype)t)};
        if (is_writable((enum um_dtype)t))
            um_gguf_declare(&w, um_dtype_name((enum um_dtype)t), (enum um_dtype)t, 4 - t % 4,
                            dims + t % 4);
    }
    assert_ok(um_gguf_begin(&w, path, &err), err);
    assert_int_equal(w.file.n_bytes % 32, 0);
    for (int64_t i = 0; i < w.n_tensors; i++)
        for (size_t at = 0, part = 7; at < w.sizes[i]; at += part, part = w.sizes[i] - at)
            assert_ok(um_gguf_put(&w, bytes + at, part < w.sizes[i] ? part : w.sizes[i], &err),
                      err);
    assert_false(um_path_exists(path));
    assert_ok(um_gguf_commit(&w, &err), err);
    um_gguf_abandon(&w);
    assert_ok(um_gguf_open(&gguf, path, &err), err);
    assert_int_equal(gguf.map.n_bytes % 32, 0);
    assert_all_read(&gguf);
    assert_int_equal(gguf.n_tensors, UM_N_DTYPES - 2);
    for (int t = 0; t < UM_N_DTYPES; t++) {
        const struct um_tensor_view *view = um_gguf_find(&gguf, um_dtype_name((enum um_dtype)t));
        assert_int_equal(view != NULL, is_writable((enum um_dtype)t));
        if (!view)
            continue;
        assert_int_equal(view->dtype, t);
        assert_int_equal(view->n_dims, 4 - t % 4);
        assert_int_equal(view->dims[view->n_dims - 1], um_dtype_block(view->dtype));
        assert_memory_equal(view->bytes, bytes, view->n_bytes);
    }
    um_gguf_close(&gguf);
}

static void assert_not_begun(struct um_gguf_writer *w, const char *message)
{
    struct um_error err;
    const char *path = in_folder("never.gguf");
    assert_fails(um_gguf_begin(w, path, &err), UM_E_INPUT, message, err);
    um_gguf_abandon(w);
    assert_false(um_path_exists(path));
    assert_ok(um_gguf_create(w, &err), err);
}

static void test_writer_refuses_what_would_not_load(void **state)
{
    (void)state;
    struct um_gguf_writer w;
    struct um_error err;
    static const int64_t dims[] = {2, 33, 1, 1, 1}, none[] = {0}, huge[] = {INT64_MAX / 9, 100};
    const struct um_gguf_pair alignment = {.key = "general.alignment", .type = UM_GGUF_BOOL};
    assert_ok(um_gguf_create(&w, &err), err);
    um_gguf_declare_bool(&w, "key", true);
    um_gguf_declare_u32(&w, "key", 1);
    um_gguf_declare_u32(&w, "", 1); /* the first failure is told */
    assert_not_begun(&w, "'key' is declared twice");
    um_gguf_declare_bool(&w, "", true);
    assert_not_begun(&w, "is not a name");
    um_gguf_declare(&w, "x\xff", UM_I8, 1, dims);
    assert_not_begun(&w, "is not a name");
    um_gguf_declare(&w, "x", UM_I8, 1, dims);
    um_gguf_declare(&w, "x", UM_F32, 2, dims);
    assert_not_begun(&w, "'x' is declared twice");
    um_gguf_declare(&w, "x", UM_Q4_0, 2, dims);
    assert_not_begun(&w, "'x' has a shape or a type that GGUF cannot hold");
    um_gguf_declare(&w, "x", UM_U8, 1, dims);
    assert_not_begun(&w, "a shape or a type");
    um_gguf_declare(&w, "x", UM_I8, 5, dims);
    assert_not_begun(&w, "a shape or a type");
    um_gguf_declare(&w, "x", UM_I8, 0, dims);
    assert_not_begun(&w, "a shape or a type");
    um_gguf_declare(&w, "x", UM_I8, 1, none);
    assert_not_begun(&w, "a shape or a type");
    um_gguf_declare(&w, "x", UM_I8, 2, huge);
    assert_not_begun(&w, "a shape or a type");
    um_gguf_declare(&w, "x", UM_F64, 1, huge);
    um_gguf_declare(&w, "y", UM_F64, 1, huge);
    assert_not_begun(&w, "'y' makes the file too large");
    um_gguf_declare_u32(&w, "general.alignment", 48);
    assert_not_begun(&w, "is no power of two");
    um_gguf_declare(&w, "x", UM_I8, 1, dims);
    um_gguf_declare_u32(&w, "general.alignment", 64);
    assert_not_begun(&w, "declared after a tensor");
    um_gguf_declare_pair(&w, &alignment);
    assert_not_begun(&w, "is not a 32-bit number");
    um_gguf_abandon(&w);
}

static void test_bytes_must_be_as_declared(void **state)
{
    (void)state;
    struct um_gguf_writer w;
    struct um_error err;
    const int64_t dims[] = {3};
    const char *path = in_folder("never.gguf");
    assert_ok(um_gguf_create(&w, &err), err);
    um_gguf_declare(&w, "x", UM_I8, 1, dims);
    um_gguf_declare(&w, "y", UM_I8, 1, dims);
    assert_ok(um_gguf_begin(&w, path, &err), err);
    assert_ok(um_gguf_put(&w, "ab", 2, &err), err);
    assert_fails(um_gguf_commit(&w, &err), UM_E_RUNTIME, "0 tensors were put, 2 are declared", err);
    assert_fails(um_gguf_put(&w, "ab", 2, &err), UM_E_RUNTIME, "number 1 of 2 has room for 1", err);
    assert_ok(um_gguf_put(&w, "c", 1, &err), err);
    assert_fails(um_gguf_commit(&w, &err), UM_E_RUNTIME, "1 tensors were put, 2 are declared", err);
    assert_ok(um_gguf_put(&w, "def", 3, &err), err);
    assert_ok(um_gguf_put(&w, NULL, 0, &err), err);
    assert_fails(um_gguf_put(&w, "g", 1, &err), UM_E_RUNTIME, "has room for 0", err);
    um_gguf_abandon(&w);
    assert_false(um_path_exists(path));
    assert_false(um_path_exists(in_folder("never.gguf.partial")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_is_the_same_file),
        cmocka_unit_test(test_no_memory_is_an_error),
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_writer_refuses_what_would_not_load),
        cmocka_unit_test(test_bytes_must_be_as_declared),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
