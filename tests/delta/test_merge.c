/* Merging and its reverse: merge then diff gives the same delta, in every type and with shards;
 * what cannot be done leaves everything as it was. */
#include "limited_merge.h"
#include "made_delta.h"

#include <sys/stat.h>

#define MODEL(name) GOLDEN_DIR "/models/" name "/model"

/* Saves a made delta of a model; returns its path. */
static const char *save_delta(struct um_delta *made, struct um_folder *base, const char *model,
                              uint64_t seed)
{
    struct um_error err;
    const char *path = in_folder("made.safetensors");
    assert_ok(um_folder_open(base, model, &err), err);
    make_delta(made, base, seed);
    assert_ok(um_delta_save(made, path, &err), err);
    return path;
}

static void close_delta(struct um_delta *made, struct um_folder *base)
{
    um_arena_free(&made->arena);
    um_folder_close(base);
}

static int64_t count_values(const struct um_delta *d)
{
    int64_t n = 0;
    for (size_t e = 0; e < d->n_entries; e++)
        n += d->entries[e].n;
    return n;
}

static void test_merge_then_diff_gives_the_delta(void **state)
{
    (void)state;
    static const char *const models[] = {MODEL("bert_base"), MODEL("bert_cls"),
                                         MODEL("bert_bf16"), MODEL("bert_f16"),
                                         MODEL("bert_shards")};
    for (size_t i = 0; i < UM_COUNT(models); i++) {
        struct um_folder base;
        struct um_delta made, *back;
        struct um_delta_info info;
        struct um_merge_report report;
        struct um_error err;
        char name[32];
        (void)snprintf(name, sizeof(name), "merged%zu", i);
        const char *delta = save_delta(&made, &base, models[i], 10 + i);
        const char *merged = in_folder(name), *diff = in_folder("diff.safetensors");
        assert_ok(um_delta_merge(&report, models[i], delta, merged, NULL, &err), err);
        assert_true(report.is_verified);
        assert_int_equal(report.n_changed, count_values(&made));
        assert_ok(um_delta_diff(&info, models[i], merged, diff, &err), err);
        assert_string_equal(info.method, "diff");
        assert_string_equal(info.base_sha256, made.base_sha256);
        assert_int_equal(info.n_sparse + info.n_whole, count_values(&made));
        assert_ok(um_delta_open(&back, diff, &err), err);
        assert_int_equal(info.file_bytes, back->file_bytes);
        assert_same_entries(&made, back);
        assert_string_equal(back->prefix, made.prefix);
        assert_string_equal(back->task_class, made.task_class);
        assert_int_equal(back->n_labels, 3);
        assert_string_equal(back->labels[1], made_labels[1]);
        um_delta_free(back);
        close_delta(&made, &base);
    }
}

static void test_merged_folder_has_all_that_belongs_to_it(void **state)
{
    (void)state;
    struct um_folder base, merged;
    struct um_delta made;
    struct um_merge_report report;
    struct um_error err;
    const char *delta = save_delta(&made, &base, MODEL("bert_base"), 1), *key;
    const char *out = in_folder("complete/");
    assert_int_equal(mkdir(out, 0777), 0); /* empty: may be there */
    assert_ok(um_delta_merge(&report, MODEL("bert_base"), delta, out, NULL, &err), err);
    assert_ok(um_folder_open(&merged, out, &err), err);
    assert_true(um_path_exists(in_folder("complete/tokenizer.json")));
    assert_false(um_path_exists(in_folder("complete.partial")));
    assert_int_equal(merged.shards[0].n_tensors, base.shards[0].n_tensors + 2);
    assert_int_equal(report.n_tensors, merged.shards[0].n_tensors);
    assert_non_null(um_folder_find(&merged, "bert.embeddings.word_embeddings.weight"));
    assert_null(um_folder_find(&merged, "embeddings.word_embeddings.weight"));
    assert_int_equal(um_folder_find(&merged, "classifier.weight")->dims[0], 3);
    assert_string_equal(um_safetensors_metadata(&merged.shards[0], "format"), "pt");
    const json_t *config = merged.config, *labels = json_object_get(config, "id2label");
    assert_string_equal(json_string_value(json_object_get(labels, "1")), made_labels[1]);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(config, "label2id"),
                                                        made_labels[1])), 1);
    assert_string_equal(json_string_value(json_object_get(config, "problem_type")),
                        "single_label_classification");
    void *after = json_object_iter(merged.config); /* the base's keys, in the base's order */
    json_t *value;
    json_object_foreach (base.config, key, value) {
        assert_string_equal(json_object_iter_key(after), key);
        after = json_object_iter_next(merged.config, after);
    }
    um_folder_close(&merged);
    close_delta(&made, &base);
}

static void test_shards_stay(void **state)
{
    (void)state;
    struct um_folder base, merged;
    struct um_delta made;
    struct um_merge_report report;
    struct um_error err;
    const char *delta = save_delta(&made, &base, MODEL("bert_shards"), 2);
    const char *out = in_folder("sharded");
    assert_ok(um_delta_merge(&report, MODEL("bert_shards"), delta, out, NULL, &err), err);
    assert_ok(um_folder_open(&merged, out, &err), err);
    assert_int_equal(merged.n_shards, base.n_shards);
    for (size_t s = 0; s < base.n_shards; s++) {
        assert_string_equal(merged.shard_names[s], base.shard_names[s]);
        assert_int_equal(merged.shards[s].n_tensors, base.shards[s].n_tensors);
        for (size_t t = 0; t < base.shards[s].n_tensors; t++)
            assert_string_equal(merged.shards[s].tensors[t].name, base.shards[s].tensors[t].name);
    }
    um_folder_close(&merged);
    close_delta(&made, &base);
}

static void test_16_bit_bases_round_to_nearest_even(void **state)
{
    (void)state;
    static const char *const models[] = {MODEL("bert_bf16"), MODEL("bert_f16")};
    for (size_t i = 0; i < UM_COUNT(models); i++) {
        struct um_folder base, merged;
        struct um_delta made;
        struct um_merge_report report;
        struct um_error err;
        char name[32];
        (void)snprintf(name, sizeof(name), "rounded%zu", i);
        const char *delta = save_delta(&made, &base, models[i], 20), *out = in_folder(name);
        float *values = (float *)(uintptr_t)made.entries[0].value; /* 1/3 is in no binary type */
        for (int64_t v = 0; v < made.entries[0].n; v++)
            values[v] = (float)(v + 1) / 3;
        assert_ok(um_delta_save(&made, delta, &err), err);
        assert_ok(um_delta_merge(&report, models[i], delta, out, NULL, &err), err);
        assert_ok(um_folder_open(&merged, out, &err), err);
        const struct um_delta_entry *e = &made.entries[0];
        const struct um_tensor_view *view = um_folder_find(&merged, e->name);
        for (int64_t v = 0; v < e->n; v++) {
            uint16_t expected;
            um_from_f32(&expected, &e->value[v], view->dtype, 1);
            assert_memory_equal(view->bytes + 2 * (e->is_whole ? v : e->index[v]), &expected, 2);
        }
        um_folder_close(&merged);
        close_delta(&made, &base);
    }
}

static void test_signs_of_zero_are_a_difference(void **state)
{
    (void)state;
    static const char header[] =
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
        "\"p\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]}}";
    struct um_delta_info info;
    struct um_delta *delta;
    struct um_safetensors st;
    struct um_error err;
    unsigned char bytes[8 + sizeof(header) - 1 + 24] = {sizeof(header) - 1};
    memcpy(bytes + 8, header, sizeof(header) - 1);
    (void)put_file("zero/config.json", "{}", 2);
    (void)put_file("zero/model.safetensors", bytes, sizeof(bytes));
    bytes[8 + sizeof(header) - 1 + 2 * 4 + 3] = 0x80; /* the third weight: -0 */
    (void)put_file("minus/config.json", "{}", 2);
    (void)put_file("minus/model.safetensors", bytes, sizeof(bytes));
    const char *path = in_folder("zero.safetensors");
    assert_ok(um_delta_diff(&info, in_folder("zero"), in_folder("minus"), path, &err), err);
    assert_ok(um_delta_open(&delta, path, &err), err);
    assert_int_equal(delta->n_entries, 1);
    assert_int_equal(delta->entries[0].n, 1);
    assert_int_equal(delta->entries[0].index[0], 2);
    assert_true(delta->entries[0].value[0] == 0 && 1 / delta->entries[0].value[0] < 0);
    um_delta_free(delta);
    assert_ok(um_safetensors_open(&st, in_folder("minus/model.safetensors"), &err), err);
    um_safetensors_close(&st);
    bytes[sizeof(bytes) - 1] = 1; /* a buffer is not a weight */
    (void)put_file("minus/model.safetensors", bytes, sizeof(bytes));
    assert_fails(um_delta_diff(&info, in_folder("zero"), in_folder("minus"), path, &err),
                 UM_E_INPUT, "tensor 'p' differs, but is I64", err);
}

/* A 16-bit base, and a tuned model saved as fp32: what is unchanged is alike all the same. */
static void test_diff_of_a_wider_model(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_safetensors_writer w = {0};
    struct um_delta_info info;
    struct um_delta *delta;
    struct um_error err;
    assert_ok(um_make_folder(in_folder("wide"), &err), err);
    put_edited_config(in_folder("wide"), MODEL("bert_bf16"), "{}");
    assert_ok(um_folder_open(&base, MODEL("bert_bf16"), &err), err);
    const struct um_safetensors *st = &base.shards[0];
    assert_ok(um_safetensors_create(&w, &err), err);
    for (size_t i = 0; i < st->n_tensors; i++)
        um_safetensors_declare(&w, st->tensors[i].name, UM_F32, st->tensors[i].n_dims,
                               st->tensors[i].dims);
    assert_ok(um_safetensors_begin(&w, in_folder("wide/model.safetensors"), &err), err);
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct um_tensor_view *t = &st->tensors[i];
        float *values = UM_NEW(t->n_elements, float);
        um_to_f32(values, t->bytes, t->dtype, t->n_elements);
        if (i == 1)
            values[0] = 0.1f; /* no bfloat16 number */
        assert_ok(um_safetensors_put(&w, values, (size_t)t->n_elements * sizeof(float), &err), err);
        um_free(values);
    }
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_safetensors_abandon(&w);
    const char *out = in_folder("wide.safetensors");
    assert_ok(um_delta_diff(&info, MODEL("bert_bf16"), in_folder("wide"), out, &err), err);
    assert_ok(um_delta_open(&delta, out, &err), err);
    assert_int_equal(delta->n_entries, 1);
    assert_string_equal(delta->entries[0].name, st->tensors[1].name);
    assert_int_equal(delta->entries[0].n, 1);
    assert_true(delta->entries[0].value[0] == 0.1f);
    um_delta_free(delta);
    um_folder_close(&base);
}

static void test_diff_of_unlike_models_is_refused(void **state)
{
    (void)state;
    struct um_delta_info info;
    struct um_error err;
    const char *out = in_folder("unlike.safetensors");
    assert_fails(um_delta_diff(&info, MODEL("bert_cls"), MODEL("distilbert_cls"), out, &err),
                 UM_E_INPUT, "has no tensor '", err);
    assert_fails(um_delta_diff(&info, MODEL("bert_cls"), MODEL("bert_f16"), out, &err),
                 UM_E_INPUT, "is F32 in ", err);
    assert_fails(um_delta_diff(&info, MODEL("bert_cls"), MODEL("bert_reg"), out, &err),
                 UM_E_INPUT, "'classifier.", err);
    assert_fails(um_delta_diff(&info, MODEL("bert_cls"), in_folder("absent"), out, &err),
                 UM_E_INPUT, "no such folder", err);
    assert_false(um_path_exists(out));
    assert_ok(um_delta_diff(&info, MODEL("bert_cls"), MODEL("bert_cls"), out, &err), err);
    assert_int_equal(info.n_tensors, 0);
}

static void test_targets_that_are_in_use_stay(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made;
    struct um_merge_report report;
    struct um_error err;
    const char *delta = save_delta(&made, &base, MODEL("bert_base"), 3);
    const char *file = put_file("taken/precious", "x", 1);
    assert_fails(um_delta_merge(&report, MODEL("bert_base"), delta, in_folder("taken"), NULL, &err),
                 UM_E_USAGE, "not an empty folder", err);
    assert_fails(um_delta_merge(&report, MODEL("bert_base"), delta, file, NULL, &err), UM_E_USAGE,
                 "not an empty folder", err);
    assert_true(um_path_exists(file));
    assert_fails(um_delta_merge(&report, MODEL("bert_base"), delta,
                                in_folder("taken/precious/out"), NULL, &err),
                 UM_E_RUNTIME, "cannot ", err);
    const char *empty = in_folder("empty");
    assert_int_equal(mkdir(empty, 0777), 0);
    assert_fails(um_delta_merge(&report, MODEL("bert_cls"), delta, empty, NULL, &err), UM_E_INPUT,
                 "the delta does not fit", err);
    assert_true(um_path_is_folder(empty));
    assert_false(um_path_exists(in_folder("empty.partial")));
    close_delta(&made, &base);
}

static void test_a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made;
    const char *delta = save_delta(&made, &base, MODEL("bert_base"), 4), *out = in_folder("full");
    static const rlim_t limits[] = {0, 10, 5000, 90000};
    for (size_t i = 0; i < UM_COUNT(limits); i++) {
        assert_true(limited_merge_fails(MODEL("bert_base"), delta, out, NULL, limits[i]));
        assert_false(um_path_exists(out));
        assert_false(um_path_exists(in_folder("full.partial")));
    }
    close_delta(&made, &base);
}

static void test_links_in_a_stale_partial_folder_are_not_followed(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made;
    struct um_merge_report report;
    struct um_error err;
    const char *delta = save_delta(&made, &base, MODEL("bert_base"), 5);
    const char *kept = put_file("elsewhere/kept", "x", 1);
    (void)put_file("stale.partial/old", "x", 1);
    assert_int_equal(symlink(in_folder("elsewhere"), in_folder("stale.partial/link")), 0);
    assert_ok(um_delta_merge(&report, MODEL("bert_base"), delta, in_folder("stale"), NULL, &err),
              err);
    assert_true(um_path_exists(kept));
    assert_false(um_path_exists(in_folder("stale/old")));
    close_delta(&made, &base);
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    struct um_folder base;
    struct um_delta made;
    struct um_merge_report report;
    struct um_error err;
    const char *delta = save_delta(&made, &base, MODEL("bert_base"), 6);
    const char *out = in_folder("memory");
    size_t before = um_mem_used();
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n += 3) {
        um_mem_fail_after(n);
        status = um_delta_merge(&report, MODEL("bert_base"), delta, out, NULL, &err);
        um_mem_fail_after(0);
        assert_true(status == UM_OK || status == UM_E_RUNTIME);
        assert_int_equal(um_mem_used(), before);
        if (status != UM_OK && um_path_exists(out)) /* renamed, but not made durable */
            assert_ok(um_remove_folder(out, &err), err);
    }
    close_delta(&made, &base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_then_diff_gives_the_delta),
        cmocka_unit_test(test_merged_folder_has_all_that_belongs_to_it),
        cmocka_unit_test(test_shards_stay),
        cmocka_unit_test(test_16_bit_bases_round_to_nearest_even),
        cmocka_unit_test(test_signs_of_zero_are_a_difference),
        cmocka_unit_test(test_diff_of_a_wider_model),
        cmocka_unit_test(test_diff_of_unlike_models_is_refused),
        cmocka_unit_test(test_targets_that_are_in_use_stay),
        cmocka_unit_test(test_a_full_disk_leaves_nothing_behind),
        cmocka_unit_test(test_links_in_a_stale_partial_folder_are_not_followed),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
