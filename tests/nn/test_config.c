/* What config.json says and leaves out: defaults as transformers has them, and settings that are refused. */
#include "folder.h"
#include "test.h"

#include "model/model.h"

/* Opens the golden model with `edits` (JSON) put over its config; a member "-KEY" removes KEY. */
static enum um_status open_edited(struct um_model *model, const char *name, const char *edits,
                                  struct um_error *err)
{
    char from[512], file[600];
    const struct um_model_options options = {.dropout = -1};
    const char *key, *folder = in_folder(name);
    json_t *config, *edit, *value;
    assert_ok(um_make_folder(folder, err), *err);
    (void)snprintf(from, sizeof(from), GOLDEN_DIR "/models/%s/model/config.json", name);
    assert_ok(um_json_load(&config, from, err), *err);
    assert_ok(um_json_parse(&edit, edits, strlen(edits), "edits", err), *err);
    json_object_foreach (edit, key, value)
        if (*key == '-')
            (void)json_object_del(config, key + 1);
        else
            (void)json_object_set(config, key, value);
    (void)snprintf(file, sizeof(file), "%s/config.json", folder);
    assert_ok(um_json_save(file, config, 2, err), *err);
    json_decref(config);
    json_decref(edit);
    (void)snprintf(file, sizeof(file), "%s/model.safetensors", folder);
    (void)snprintf(from, sizeof(from), GOLDEN_DIR "/models/%s/model/model.safetensors", name);
    assert_ok(um_file_copy(file, from, err), *err);
    return um_model_open(model, folder, &options, err);
}

static struct um_dims dims_of(const char *name, const char *edits)
{
    struct um_model model = {0};
    struct um_error err;
    assert_ok(open_edited(&model, name, edits, &err), err);
    struct um_dims dims = model.dims;
    um_model_close(&model);
    return dims;
}

static void test_windows_and_caps(void **state)
{
    (void)state;
    assert_int_equal(dims_of("llama_tied", "{}").window, 0);
    assert_int_equal(dims_of("mistral_window", "{}").window, 6);
    assert_int_equal(dims_of("mistral_window", "{\"-sliding_window\": 0}").window, 4096);
    assert_int_equal(dims_of("mistral_window", "{\"sliding_window\": null}").window, 0);
    assert_int_equal(dims_of("qwen2", "{\"-sliding_window\": 0}").window, 0);
    assert_int_equal(dims_of("gemma", "{}").window, 0);
    struct um_dims dims = dims_of("gemma2", "{\"-sliding_window\": 0, \"-attn_logit_softcapping\": 0,"
                                            " \"-final_logit_softcapping\": 0}");
    assert_int_equal(dims.window, 4096);
    assert_float_equal(dims.attention_cap, 50, 0);
    assert_float_equal(dims.logit_cap, 30, 0);
    dims = dims_of("gemma2", "{\"attn_logit_softcapping\": null, \"final_logit_softcapping\": null}");
    assert_float_equal(dims.attention_cap, 0, 0);
    assert_float_equal(dims.logit_cap, 0, 0);
    dims = dims_of("gemma3", "{\"-sliding_window\": 0}");
    assert_int_equal(dims.window, 4096);
    assert_float_equal(dims.attention_cap, 0, 0);
}

/* A theta of the whole counts where that of the rotary settings is missing, and gives way to it. */
static void test_rotary_theta(void **state)
{
    (void)state;
    assert_float_equal(dims_of("llama_tied", "{\"-rope_parameters\": 0, \"rope_theta\": 50}").rope.theta,
                       50, 0);
    assert_float_equal(dims_of("llama_tied", "{\"rope_theta\": 50, \"rope_parameters\": "
                                             "{\"rope_type\": \"default\"}}").rope.theta,
                       50, 0);
    assert_float_equal(dims_of("llama_tied", "{\"rope_theta\": 50, \"rope_parameters\": "
                                             "{\"rope_type\": \"default\", \"rope_theta\": 70}}")
                           .rope.theta,
                       70, 0);
}

static void test_dropout_of_embeddings(void **state)
{
    (void)state;
    struct um_dims dims = dims_of("gpt2", "{\"embd_pdrop\": 0.25, \"resid_pdrop\": 0.5}");
    assert_float_equal(dims.embed_dropout, 0.25, 0);
    assert_float_equal(dims.dropout, 0.5, 0);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *edits, *message;
    } cases[] = {
        {"llama_tied", "{\"num_attention_heads\": 1073741824, \"num_key_value_heads\": 1073741824, "
                       "\"head_dim\": 1073741824}", "heads of 1073741824 features"},
        {"gemma3", "{\"use_bidirectional_attention\": true}", "use_bidirectional_attention"},
        {"bert_base", "{\"is_decoder\": true}", "is_decoder"},
        {"bert_base", "{\"position_embedding_type\": \"relative_key\"}", "relative_key"},
        {"llama_tied", "{\"num_key_value_heads\": 3}", "do not divide"},
        {"llama_tied", "{\"-hidden_size\": 0}", "'hidden_size' is missing"},
        {"llama_tied", "{\"vocab_size\": 0}", "'vocab_size' is 0"},
    };
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_model model = {0};
        struct um_error err;
        assert_fails(open_edited(&model, cases[i].name, cases[i].edits, &err), UM_E_INPUT,
                     cases[i].message, err);
        um_model_close(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_and_caps),
        cmocka_unit_test(test_rotary_theta),
        cmocka_unit_test(test_dropout_of_embeddings),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
