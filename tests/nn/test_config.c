/* What config.json says and leaves out: defaults as transformers has them, and settings that are
 * refused. */
#include "edited_model.h"

#include "model/model.h"

/* Opens the golden model with `edits` (JSON) put over its config; a member "-KEY" removes KEY. */
static enum um_status open_edited(struct um_model *model, const char *name, const char *edits,
                                  struct um_error *err)
{
    char from[512], file[600];
    const struct um_model_options options = {.dropout = -1};
    const char *folder = in_folder(name);
    assert_ok(um_make_folder(folder, err), *err);
    (void)snprintf(from, sizeof(from), GOLDEN_DIR "/models/%s/model", name);
    put_edited_config(folder, from, edits);
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
    struct um_dims dims =
        dims_of("gemma2", "{\"-sliding_window\": 0, \"-attn_logit_softcapping\": 0,"
                          " \"-final_logit_softcapping\": 0}");
    assert_int_equal(dims.window, 4096);
    assert_float_equal(dims.attention_cap, 50, 0);
    assert_float_equal(dims.logit_cap, 30, 0);
    dims =
        dims_of("gemma2", "{\"attn_logit_softcapping\": null, \"final_logit_softcapping\": null}");
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
    assert_float_equal(
        dims_of("llama_tied", "{\"-rope_parameters\": 0, \"rope_theta\": 50}").rope.theta, 50, 0);
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

    /* What a run sets is set everywhere; nonsense is refused. */
    struct um_model model;
    struct um_error err;
    const struct um_model_options none = {.dropout = 0};
    put_edited_config(in_folder("gpt2"), GOLDEN_DIR "/models/gpt2/model", "{\"embd_pdrop\": 0.25}");
    assert_ok(um_file_copy(in_folder("gpt2/model.safetensors"),
                           GOLDEN_DIR "/models/gpt2/model/model.safetensors", &err), err);
    assert_ok(um_model_open(&model, in_folder("gpt2"), &none, &err), err);
    assert_float_equal(model.dims.embed_dropout, 0, 0);
    um_model_close(&model);
    put_edited_config(in_folder("gpt2"), GOLDEN_DIR "/models/gpt2/model", "{\"embd_pdrop\": 1.5}");
    assert_fails(um_model_open(&model, in_folder("gpt2"), &none, &err), UM_E_INPUT,
                 "a dropout outside [0, 1)", err);
    um_model_close(&model);
}

static bool has_param(const struct um_model *model, const char *name)
{
    return um_model_find_param(model, name) != NULL;
}

/* Puts the golden untied LLaMA into `folder`, with a head of three classes in place of the
 * vocabulary's. */
static void make_classifier(const char *folder)
{
    enum { CLASSES = 3, WIDTH = 16 };
    static float score[CLASSES * WIDTH];
    const struct um_tensor_view head = {.name = "score.weight", .dtype = UM_F32, .n_dims = 2,
                                        .dims = {CLASSES, WIDTH}, .n_elements = CLASSES * WIDTH,
                                        .bytes = (unsigned char *)score, .n_bytes = sizeof(score)};
    put_edited_model(folder, GOLDEN_DIR "/models/llama_untied/model", "lm_head.weight", &head);
}

/* Of two heads the one that is not in use is no parameter, and need not be there. */
static void test_heads_in_use(void **state)
{
    (void)state;
    struct um_model model;
    struct um_error err;
    struct um_model_options options = {.dropout = -1, .heads = UM_HEADS_TASK, .n_outputs = 2};
    static const char untied[] = GOLDEN_DIR "/models/llama_untied/model";
    const char *classifier = in_folder("classifier");
    assert_ok(um_model_open(&model, untied, &options, &err), err);
    assert_true(has_param(&model, "score.weight") && !has_param(&model, "lm_head.weight"));
    assert_null(um_model_vocabulary(&model));
    um_model_close(&model);

    make_classifier(classifier);
    options.n_outputs = 0;
    for (int heads = UM_HEADS_STORED; heads <= UM_HEADS_TASK; heads++) {
        options.heads = (enum um_heads)heads;
        assert_ok(um_model_open(&model, classifier, &options, &err), err);
        assert_int_equal(model.dims.O, 3);
        assert_null(um_model_vocabulary(&model));
        um_model_close(&model);
    }
    options.heads = UM_HEADS_VOCABULARY;
    assert_fails(um_model_open(&model, classifier, &options, &err), UM_E_INPUT,
                 "tensor 'lm_head.weight' is missing", err);
    um_model_close(&model);
    assert_ok(um_model_open(&model, untied, &options, &err), err);
    assert_int_equal(model.dims.O, 0);
    assert_non_null(um_model_vocabulary(&model));
    um_model_close(&model);
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
        {"llama_tied", "{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": null}}",
         "'yarn' has no factor"},
        {"llama_tied", "{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2, "
                       "\"truncate\": false}}", "truncate off"},
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
        cmocka_unit_test(test_heads_in_use),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
