/* Base: allocator and arenas, strings, files, numbers. */
#include "test.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/philox.h"
#include "base/sorted.h"

static void test_alloc_counts_and_fails_on_request(void **state)
{
    (void)state;
    size_t before = um_mem_used();
    void *p = um_alloc(1000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_int_equal(um_mem_used(), before + 1000);
    um_free(p);
    assert_int_equal(um_mem_used(), before);
    um_mem_fail_after(2);
    p = um_alloc(1);
    assert_non_null(p);
    assert_null(um_alloc(1));
    um_mem_fail_after(0);
    um_free(p);
    assert_null(um_calloc(SIZE_MAX / 2, 4));
}

static void test_arena_keeps_what_it_gave(void **state)
{
    (void)state;
    struct um_arena arena = {0};
    char *text = um_arena_strdup(&arena, "kept");
    for (size_t n = 1; n < 3000000; n *= 3)
        assert_non_null(memset(um_arena_alloc(&arena, n), 0xab, n));
    assert_string_equal(text, "kept");
    um_arena_free(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void test_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"method.budget", "train.epochs", "model"};
    assert_string_equal(um_nearest("method.buget", names, 3), "method.budget");
    assert_null(um_nearest("zzzz", names, 3));
}

static void test_glob(void **state)
{
    (void)state;
    assert_true(um_glob("*.query.*", "layer.0.query.weight"));
    assert_true(um_glob("layer.?.w", "layer.1.w"));
    assert_false(um_glob("layer.?.w", "layer.10.w"));
    assert_false(um_glob("*.bias", "a.weight"));
    assert_true(um_glob("*", ""));
}

static void test_length_before_an_ending(void **state)
{
    (void)state;
    assert_int_equal(um_length_before("a.weight", ".weight"), 1);
    assert_int_equal(um_length_before(".weight", ".weight"), 0);
    assert_int_equal(um_length_before("a.weights", ".weight"), 0);
    assert_int_equal(um_length_before("ht", ".weight"), 0);
}

static void test_text_written_over(void **state)
{
    (void)state;
    struct um_str s = {0};
    assert_string_equal(um_str_setf(&s, "%0300d", 7) + 298, "07");
    assert_string_equal(um_str_setf(&s, "%s.%s", "name", "index"), "name.index");
    um_str_free(&s);
    um_mem_fail_after(1);
    assert_string_equal(um_str_setf(&s, "more"), "");
    um_mem_fail_after(0);
    assert_string_equal(um_str_setf(&s, "more"), ""); /* once failed, it stays so */
    um_str_free(&s);
}

static void test_places_in_sorted_arrays(void **state)
{
    (void)state;
    const int64_t positions[] = {2, 3, 7, 8, 20, INT64_MAX};
    for (int64_t n = 0; n <= (int64_t)UM_COUNT(positions); n++)
        for (int64_t at = -1; at < 22; at++) {
            int64_t expected = 0;
            while (expected < n && positions[expected] < at)
                expected++;
            assert_int_equal(um_place_from(positions, n, at), expected);
        }
    const char *texts[] = {"b", "", "ba", "a"};
    qsort(texts, UM_COUNT(texts), sizeof(*texts), um_compare_texts);
    assert_string_equal(texts[0], "");
    assert_string_equal(texts[1], "a");
    assert_string_equal(texts[3], "ba");
}

static void test_numbers_that_json_lacks(void **state)
{
    (void)state;
    const double numbers[] = {0.5, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < UM_COUNT(numbers); i++) {
        json_t *json = um_json_real(numbers[i]);
        assert_true(i == 0 ? json_is_real(json) : json_is_null(json));
        json_decref(json);
    }
}

static void test_memory_that_is_not_there(void **state)
{
    (void)state;
    struct um_error err;
    assert_ok(um_memory_check("this", um_memory_total(), &err), err);
    assert_fails(um_memory_check("this run", (int64_t)1 << 60, &err), UM_E_RUNTIME,
                 "this run needs about 1048576.0 TiB of memory, the machine has", err);
}

static void test_utf8_validity(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n, valid;
    } cases[] = {{"abc", 3, 3},          {"\xc3\xa9", 2, 2},         {"a\xc3", 2, 1},
                 {"\xc0\x80", 2, 0},     {"\xed\xa0\x80", 3, 0},     {"\xf4\x90\x80\x80", 4, 0},
                 {"\xf0\x9f\x98\x80", 4, 4}, {"\xff", 1, 0}, {"x\x80", 2, 1}};
    for (size_t i = 0; i < UM_COUNT(cases); i++)
        assert_int_equal(um_utf8_valid(cases[i].text, cases[i].n), cases[i].valid);
}

static void test_write_is_all_or_nothing(void **state)
{
    (void)state;
    char folder[] = "/tmp/unmask test XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct um_error err;
    char *path = um_path_join(folder, "file");
    assert_ok(um_file_write(path, "old", 3, &err), err);
    struct um_writer w;
    assert_ok(um_writer_open(&w, path, &err), err);
    assert_ok(um_writer_put(&w, "new content", 11, &err), err);
    um_writer_abandon(&w);
    char *text;
    size_t n;
    assert_ok(um_file_read(&text, &n, path, &err), err);
    assert_string_equal(text, "old");
    um_free(text);
    assert_fails(um_file_write("/nonexistent/x", "a", 1, &err), UM_E_RUNTIME, "/nonexistent/x",
                 err);
    assert_ok(um_remove_folder(folder, &err), err);
    assert_false(um_path_exists(folder));
    um_free(path);
}

static void assert_holds(const char *path, const char *expected)
{
    struct um_error err;
    char *text;
    size_t n;
    assert_ok(um_file_read(&text, &n, path, &err), err);
    assert_string_equal(text, expected);
    um_free(text);
}

static void assert_is_link(const char *path)
{
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
}

/* Goes into a new folder, and out of it again. */
static int enter_folder(char *folder)
{
    assert_non_null(mkdtemp(folder));
    int back = open(".", O_RDONLY | O_DIRECTORY);
    assert_true(back >= 0);
    assert_int_equal(chdir(folder), 0);
    return back;
}

static void leave_folder(const char *folder, int back)
{
    struct um_error err;
    assert_int_equal(fchdir(back), 0);
    close(back);
    assert_ok(um_remove_folder(folder, &err), err);
}

static void test_write_keeps_links(void **state)
{
    (void)state;
    struct um_error err;
    char folder[] = "/tmp/unmask test XXXXXX", there[64];
    int back = enter_folder(folder);
    assert_ok(um_make_folder("in/deep", &err), err);
    assert_ok(um_file_write("in/file", "old", 3, &err), err);
    assert_int_equal(symlink("../file", "in/deep/link"), 0);
    assert_int_equal(symlink("in/deep/link", "link"), 0);
    assert_int_equal(symlink("in/new", "dangling"), 0);
    (void)snprintf(there, sizeof(there), "%s/whole", folder);
    assert_int_equal(symlink(there, "rooted"), 0);
    assert_int_equal(symlink("circle", "circle"), 0);
    assert_ok(um_file_write("link", "new", 3, &err), err);
    assert_ok(um_file_write("dangling", "made", 4, &err), err);
    assert_ok(um_file_write("rooted", "whole", 5, &err), err);
    assert_fails(um_file_write("circle", "a", 1, &err), UM_E_RUNTIME, "circle", err);
    static const char *const links[] = {"link", "in/deep/link", "dangling", "rooted", "circle"};
    for (size_t i = 0; i < UM_COUNT(links); i++)
        assert_is_link(links[i]);
    assert_holds("in/file", "new");
    assert_holds("in/new", "made");
    assert_holds("whole", "whole");
    assert_ok(um_remove_folder("in", &err), err);
    leave_folder(folder, back);
}

/* A pipe stands for all that is no regular file: devices, too. */
static void test_write_into_a_pipe(void **state)
{
    (void)state;
    struct um_error err;
    struct stat info;
    char folder[] = "/tmp/unmask test XXXXXX", got[16] = "";
    int back = enter_folder(folder);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(symlink("pipe", "link"), 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_ok(um_file_write("pipe", "one", 3, &err), err);
    assert_ok(um_file_write("link", "two", 3, &err), err);
    assert_int_equal(read(reader, got, sizeof(got)), 6);
    assert_string_equal(got, "onetwo");
    struct um_writer w;
    assert_ok(um_writer_open(&w, "link", &err), err);
    um_writer_abandon(&w);
    assert_is_link("link");
    assert_int_equal(stat("pipe", &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    close(reader);
    leave_folder(folder, back);
}

/* Where standard output goes, what stands there already stays. */
static void test_write_to_standard_output(void **state)
{
    (void)state;
    struct um_error err;
    char folder[] = "/tmp/unmask test XXXXXX";
    int back = enter_folder(folder);
    assert_ok(um_file_write("out", "before ", 7, &err), err);
    (void)fflush(stdout);
    int own = dup(STDOUT_FILENO), file = open("out", O_WRONLY | O_APPEND);
    assert_true(own >= 0 && file >= 0);
    assert_true(dup2(file, STDOUT_FILENO) >= 0);
    enum um_status status = um_file_write("out", "more", 4, &err);
    assert_true(dup2(own, STDOUT_FILENO) >= 0);
    close(file);
    close(own);
    assert_ok(status, err);
    assert_holds("out", "before more");
    leave_folder(folder, back);
}

static void test_philox_known_answers(void **state)
{
    (void)state; /* Random123's kat_vectors: philox4x32-10 of all zeros and of all ones. */
    uint32_t w[4];
    um_philox(w, 0, 0, 0, 10);
    assert_int_equal(w[0], 0x6627e8d5);
    assert_int_equal(w[3], 0x9b00dbd8);
    um_philox(w, UINT64_MAX, UINT64_MAX, UINT64_MAX, 10);
    assert_int_equal(w[0], 0x408f276d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_counts_and_fails_on_request),
        cmocka_unit_test(test_arena_keeps_what_it_gave),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_length_before_an_ending),
        cmocka_unit_test(test_text_written_over),
        cmocka_unit_test(test_places_in_sorted_arrays),
        cmocka_unit_test(test_numbers_that_json_lacks),
        cmocka_unit_test(test_memory_that_is_not_there),
        cmocka_unit_test(test_utf8_validity),
        cmocka_unit_test(test_write_is_all_or_nothing),
        cmocka_unit_test(test_write_keeps_links),
        cmocka_unit_test(test_write_into_a_pipe),
        cmocka_unit_test(test_write_to_standard_output),
        cmocka_unit_test(test_philox_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
