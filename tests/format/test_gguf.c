/* Reading GGUF: files made by hand, and every lie that one can tell. */
#include "folder.h"

#include "format/gguf.h"

/* ---- files made by hand */

struct made {
    unsigned char bytes[4096];
    size_t n;
};

static void add(struct made *f, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        f->bytes[f->n++] = (unsigned char)(value >> (8 * i));
}

static void add_bytes(struct made *f, const void *bytes, size_t n)
{
    memcpy(f->bytes + f->n, bytes, n);
    f->n += n;
}

static void add_text(struct made *f, const char *text)
{
    add(f, strlen(text), 8);
    add_bytes(f, text, strlen(text));
}

static struct made begin(uint64_t n_tensors, uint64_t n_pairs)
{
    struct made f = {.n = 0};
    add_bytes(&f, "GGUF", 4);
    add(&f, 3, 4);
    add(&f, n_tensors, 8);
    add(&f, n_pairs, 8);
    return f;
}

static void add_pair(struct made *f, const char *key, uint32_t type, uint64_t value, int n_bytes)
{
    add_text(f, key);
    add(f, type, 4);
    add(f, value, n_bytes);
}

/* The head of an array; its elements must follow. */
static void add_array(struct made *f, const char *key, uint32_t element, uint64_t n)
{
    add_text(f, key);
    add(f, UM_GGUF_ARRAY, 4);
    add(f, element, 4);
    add(f, n, 8);
}

/* Innermost first, as in the file; `last` is 0 for one dimension. */
static void add_info(struct made *f, const char *name, uint64_t first, uint64_t last, uint32_t type,
                     uint64_t offset)
{
    add_text(f, name);
    add(f, last ? 2 : 1, 4);
    add(f, first, 8);
    if (last)
        add(f, last, 8);
    add(f, type, 4);
    add(f, offset, 8);
}

/* Padding to 32, then n_data bytes 0, 1, 2, ... */
static void add_data(struct made *f, size_t n_data)
{
    while (f->n % 32)
        add(f, 0, 1);
    for (size_t i = 0; i < n_data; i++)
        add(f, i, 1);
}

/* A file of one tensor "x" of 8 fp32 numbers with this offset. */
static struct made one_tensor(uint64_t offset, size_t n_data)
{
    struct made f = begin(1, 0);
    add_info(&f, "x", 8, 0, 0, offset);
    add_data(&f, n_data);
    return f;
}

static void assert_refused(const struct made *f, const char *message)
{
    struct um_gguf gguf;
    struct um_error err;
    size_t before = um_mem_used();
    const char *path = put_file("lie.gguf", f->bytes, f->n);
    assert_fails(um_gguf_open(&gguf, path, &err), UM_E_INPUT, message, err);
    assert_non_null(strstr(err.message, "lie.gguf"));
    um_gguf_close(&gguf);
    assert_int_equal(um_mem_used(), before);
}

static void test_reads_a_file_made_by_hand(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    struct made f = begin(2, 1);
    add_pair(&f, "a.key", UM_GGUF_U16, 513, 2);
    add_info(&f, "second", 32, 3, 2, 64);
    add_info(&f, "first", 8, 0, 0, 0);
    add_data(&f, 64 + 54);
    assert_ok(um_gguf_open(&gguf, put_file("a.gguf", f.bytes, f.n), &err), err);
    assert_int_equal(gguf.version, 3);
    assert_int_equal(gguf.alignment, 32);
    assert_int_equal(um_gguf_pair(&gguf, "a.key")->integer, 513);
    assert_null(um_gguf_pair(&gguf, "a.ke"));
    assert_int_equal(gguf.n_tensors, 2);
    assert_string_equal(gguf.tensors[0].name, "second");
    const struct um_tensor_view *t = um_gguf_find(&gguf, "second");
    assert_int_equal(t->dtype, UM_Q4_0);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 3); /* outermost first */
    assert_int_equal(t->dims[1], 32);
    assert_int_equal(t->n_elements, 96);
    assert_int_equal(t->n_bytes, 54);
    assert_int_equal(t->bytes[0], 64);
    assert_int_equal(um_gguf_find(&gguf, "first")->bytes[0], 0);
    assert_null(um_gguf_find(&gguf, "third"));
    um_gguf_close(&gguf);
}

static void test_version_2_and_no_tensors_are_legal(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    struct made f = begin(0, 1);
    f.bytes[4] = 2;
    add_pair(&f, "k", UM_GGUF_U8, 1, 1); /* the file ends here, without padding */
    assert_ok(um_gguf_open(&gguf, put_file("a.gguf", f.bytes, f.n), &err), err);
    assert_int_equal(gguf.version, 2);
    assert_int_equal(gguf.n_tensors, 0);
    um_gguf_close(&gguf);
}

/* ---- lies, one by one */

static void test_what_is_no_gguf_is_refused(void **state)
{
    (void)state;
    struct made f = {.n = 0};
    assert_refused(&f, "0 bytes are too few");
    add_bytes(&f, "GGUF\3\0\0\0", 8);
    assert_refused(&f, "8 bytes are too few");
    f = begin(0, 0);
    f.bytes[0] = 'g';
    assert_refused(&f, "not a GGUF file");
    struct um_gguf gguf;
    struct um_error err;
    assert_fails(um_gguf_open(&gguf, in_folder("absent"), &err), UM_E_INPUT, "No such file", err);
}

static void test_other_versions_are_named(void **state)
{
    (void)state;
    struct made f = begin(0, 0);
    f.bytes[4] = 1;
    assert_refused(&f, "GGUF version 1, expected 2 or 3");
    f.bytes[4] = 4;
    assert_refused(&f, "GGUF version 4, expected 2 or 3");
    f.bytes[4] = 0;
    assert_refused(&f, "GGUF version 0");
    f.bytes[7] = 3;
    assert_refused(&f, "big-endian");
}

static void test_counts_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    assert_refused(&f, "1 metadata pairs and 0 tensors in a file of 24 bytes");
    f = begin(1, 0);
    assert_refused(&f, "0 metadata pairs and 1 tensors");
    f = begin(UINT64_MAX, UINT64_MAX);
    add_data(&f, 64);
    assert_refused(&f, "18446744073709551615 metadata pairs and 18446744073709551615 tensors");
}

static void test_texts_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add(&f, 1000, 8);
    add_data(&f, 64);
    assert_refused(&f, "a text of 1000 bytes at byte 32 of a file of 96");
    f = begin(0, 1);
    add(&f, UINT64_MAX, 8);
    add_data(&f, 64);
    assert_refused(&f, "a text of 18446744073709551615 bytes");
    f = begin(0, 1);
    add_text(&f, "key");
    add(&f, UM_GGUF_STRING, 4);
    add(&f, 5, 8);
    add_bytes(&f, "four", 4);
    assert_refused(&f, "a text of 5 bytes");
}

static void test_names_must_be_text(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add_pair(&f, "", UM_GGUF_U32, 1, 4);
    assert_refused(&f, "metadata key number 0 (0 bytes) is not 1 to 65535 bytes of UTF-8");
    f = begin(0, 1);
    add_pair(&f, "a\xff", UM_GGUF_U32, 1, 4);
    assert_refused(&f, "metadata key number 0 (2 bytes)");
    f = one_tensor(0, 32);
    f.bytes[32] = '\0';
    assert_refused(&f, "tensor name number 0 (1 bytes)");
}

static void test_unknown_value_types_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add_pair(&f, "key", 13, 1, 8);
    assert_refused(&f, "metadata 'key' has type 13, known are 0 to 12");
    f = begin(0, 1);
    add_array(&f, "key", 4000000000, 0);
    assert_refused(&f, "metadata 'key' has type 4000000000");
}

static void test_arrays_of_arrays_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_ARRAY, 1);
    add_data(&f, 32);
    assert_refused(&f, "metadata 'key' is an array of arrays");
}

static void test_arrays_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_U32, 9);
    add(&f, 0, 8);
    assert_refused(&f, "metadata 'key' is an array of 9 elements");
    f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_F64, (uint64_t)1 << 61); /* times 8 overflows */
    assert_refused(&f, "metadata 'key' is an array of 2305843009213693952 elements");
    f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_STRING, UINT64_MAX);
    assert_refused(&f, "metadata 'key' is an array of 18446744073709551615 elements");
    f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_STRING, 2);
    add_text(&f, "one");
    add(&f, 2, 8);
    add(&f, 'o', 1);
    assert_refused(&f, "a text of 2 bytes");
}

static void test_bools_are_0_or_1(void **state)
{
    (void)state;
    struct made f = begin(0, 1);
    add_pair(&f, "key", UM_GGUF_BOOL, 2, 1);
    assert_refused(&f, "metadata 'key' has a bool that is 2");
    f = begin(0, 1);
    add_array(&f, "key", UM_GGUF_BOOL, 3);
    add_bytes(&f, "\0\1\xff", 3);
    assert_refused(&f, "metadata 'key' has a bool that is 255");
}

static void test_duplicate_keys_are_refused(void **state)
{
    (void)state;
    struct made f = begin(0, 3);
    add_pair(&f, "b", UM_GGUF_U8, 1, 1);
    add_pair(&f, "a", UM_GGUF_U8, 1, 1);
    add_pair(&f, "b", UM_GGUF_U32, 1, 4);
    assert_refused(&f, "two metadata keys are 'b'");
}

static void test_one_part_of_several_is_named(void **state)
{
    (void)state;
    struct made f = begin(0, 2);
    add_pair(&f, "split.no", UM_GGUF_U16, 1, 2);
    add_pair(&f, "split.count", UM_GGUF_U16, 3, 2);
    assert_refused(&f, "part 2 of a GGUF file that is split into 3");
}

static void test_alignment_must_be_a_power_of_two(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 3, 48, UINT32_MAX};
    for (size_t i = 0; i < UM_COUNT(bad); i++) {
        struct made f = begin(0, 1);
        add_pair(&f, "general.alignment", UM_GGUF_U32, bad[i], 4);
        assert_refused(&f, "expected a power of two");
    }
    struct made f = begin(0, 1);
    add_pair(&f, "general.alignment", UM_GGUF_U64, 32, 8);
    assert_refused(&f, "'general.alignment' is 32 (type 10), expected a power of two (type 4)");
}

static void test_alignment_places_the_data(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    struct made f = begin(1, 1);
    add_pair(&f, "general.alignment", UM_GGUF_U32, 128, 4);
    add_info(&f, "x", 2, 0, 24, 128);
    while (f.n % 128)
        add(&f, 0, 1);
    size_t start = f.n;
    add_data(&f, 130);
    assert_ok(um_gguf_open(&gguf, put_file("a.gguf", f.bytes, f.n), &err), err);
    assert_int_equal(gguf.alignment, 128);
    assert_ptr_equal(gguf.tensors[0].bytes, gguf.map.bytes + start + 128);
    um_gguf_close(&gguf);
    f = begin(1, 1);
    add_pair(&f, "general.alignment", UM_GGUF_U32, 1U << 31, 4);
    add_info(&f, "x", 2, 0, 24, 0);
    assert_refused(&f, "the file has 0 bytes of tensors");
}

static void test_numbers_of_dimensions_are_checked(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 5, UINT32_MAX};
    for (size_t i = 0; i < UM_COUNT(bad); i++) {
        struct made f = begin(1, 0);
        add_text(&f, "x");
        add(&f, bad[i], 4);
        add_data(&f, 128);
        char message[64];
        (void)snprintf(message, sizeof(message), "tensor 'x' has %u dimensions", bad[i]);
        assert_refused(&f, message);
    }
}

static void test_absurd_shapes_are_refused(void **state)
{
    (void)state;
    struct made f = begin(1, 0);
    add_info(&f, "x", 8, 0, 0, 0);
    f.bytes[37] = 0; /* the dimension */
    add_data(&f, 32);
    assert_refused(&f, "tensor 'x' has an absurd shape (dimension 0 is 0)");
    f = begin(1, 0);
    add_info(&f, "x", UINT64_MAX, 0, 0, 0);
    add_data(&f, 32);
    assert_refused(&f, "absurd shape (dimension 0 is 18446744073709551615)");
    f = begin(1, 0);
    add_info(&f, "x", (uint64_t)1 << 32, (uint64_t)1 << 32, 0, 0);
    add_data(&f, 32);
    assert_refused(&f, "absurd shape (dimension 0 is 4294967296)");
}

static void test_rows_must_be_whole_blocks(void **state)
{
    (void)state;
    struct made f = begin(1, 0);
    add_info(&f, "x", 48, 2, 8, 0); /* 96 elements are 3 blocks, but not by rows */
    add_data(&f, 102);
    assert_refused(&f, "tensor 'x' is Q8_0 with rows of 48 elements, expected a multiple of 32");
    f = begin(1, 0);
    add_info(&f, "x", 128, 2, 12, 0);
    add_data(&f, 144);
    assert_refused(&f, "tensor 'x' is Q4_K with rows of 128 elements, expected a multiple of 256");
}

static void test_unsupported_types_are_named(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *message;
    } cases[] = {
        {20, "tensor 'x' has ggml type 20 (IQ4_NL), which is not supported; supported are F32"},
        {16, "ggml type 16 (IQ2_XXS)"},
        {9, "ggml type 9 (Q8_1)"},
        {4, "ggml type 4 (unknown)"},
        {UINT32_MAX, "ggml type 4294967295 (unknown)"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct made f = begin(1, 0);
        add_info(&f, "x", 256, 0, cases[i].number, 0);
        add_data(&f, 256);
        assert_refused(&f, cases[i].message);
    }
}

static void test_duplicate_tensors_are_refused(void **state)
{
    (void)state;
    struct made f = begin(2, 0);
    add_info(&f, "x", 8, 0, 0, 0);
    add_info(&f, "x", 8, 0, 0, 32);
    add_data(&f, 64);
    assert_refused(&f, "two tensor names are 'x'");
}

static void test_offsets_must_be_aligned(void **state)
{
    (void)state;
    struct made f = one_tensor(16, 64);
    assert_refused(&f, "tensor 'x' is at byte 16, which is no multiple of the alignment 32");
}

static void test_tensors_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct made f = one_tensor(0, 31);
    assert_refused(&f, "tensor 'x' has 32 bytes from byte 0 on, the file has 31 bytes of tensors");
    f = one_tensor(32, 63);
    assert_refused(&f, "from byte 32 on, the file has 63");
    f = one_tensor((uint64_t)0 - 32, 64);
    assert_refused(&f, "from byte 18446744073709551584 on");
    f = one_tensor(0, 0);
    f.n -= 3; /* ends in the padding */
    assert_refused(&f, "the file has 0 bytes of tensors");
}

static void test_overlaps_are_refused(void **state)
{
    (void)state;
    struct made f = begin(3, 0);
    add_info(&f, "last", 8, 0, 0, 64);
    add_info(&f, "first", 9, 0, 0, 0);
    add_info(&f, "middle", 8, 0, 0, 32);
    add_data(&f, 96);
    assert_refused(&f, "tensors 'first' and 'middle' overlap");
    f = begin(2, 0);
    add_info(&f, "a", 8, 0, 0, 0);
    add_info(&f, "b", 8, 0, 0, 0);
    add_data(&f, 32);
    assert_refused(&f, "overlap");
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct um_gguf gguf;
    struct um_error err;
    struct made f = begin(1, 4);
    add_pair(&f, "number", UM_GGUF_I64, 1, 8);
    add_pair(&f, "text", UM_GGUF_STRING, 0, 8);
    add_array(&f, "texts", UM_GGUF_STRING, 1);
    add_text(&f, "a");
    add_array(&f, "numbers", UM_GGUF_I16, 2);
    add(&f, 1, 4);
    add_info(&f, "x", 8, 2, 0, 32);
    add_data(&f, 96);
    assert_ok(um_gguf_open(&gguf, put_file("cut.gguf", f.bytes, f.n), &err), err);
    um_gguf_close(&gguf);
    for (size_t cut = 0; cut < f.n; cut++) {
        const char *path = put_file("cut.gguf", f.bytes, cut);
        assert_int_equal(um_gguf_open(&gguf, path, &err), UM_E_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_a_file_made_by_hand),
        cmocka_unit_test(test_version_2_and_no_tensors_are_legal),
        cmocka_unit_test(test_what_is_no_gguf_is_refused),
        cmocka_unit_test(test_other_versions_are_named),
        cmocka_unit_test(test_counts_beyond_the_file_are_refused),
        cmocka_unit_test(test_texts_beyond_the_file_are_refused),
        cmocka_unit_test(test_names_must_be_text),
        cmocka_unit_test(test_unknown_value_types_are_refused),
        cmocka_unit_test(test_arrays_of_arrays_are_refused),
        cmocka_unit_test(test_arrays_beyond_the_file_are_refused),
        cmocka_unit_test(test_bools_are_0_or_1),
        cmocka_unit_test(test_duplicate_keys_are_refused),
        cmocka_unit_test(test_one_part_of_several_is_named),
        cmocka_unit_test(test_alignment_must_be_a_power_of_two),
        cmocka_unit_test(test_alignment_places_the_data),
        cmocka_unit_test(test_numbers_of_dimensions_are_checked),
        cmocka_unit_test(test_absurd_shapes_are_refused),
        cmocka_unit_test(test_rows_must_be_whole_blocks),
        cmocka_unit_test(test_unsupported_types_are_named),
        cmocka_unit_test(test_duplicate_tensors_are_refused),
        cmocka_unit_test(test_offsets_must_be_aligned),
        cmocka_unit_test(test_tensors_beyond_the_file_are_refused),
        cmocka_unit_test(test_overlaps_are_refused),
        cmocka_unit_test(test_every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
