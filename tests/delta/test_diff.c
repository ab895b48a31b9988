/* Differences of models whose files are not alike: what the hub's files hold beside the model, old
 * names of norms, heads that are tied, classes with and without a pooler; and what is no pair. */
#include "folder.h"

#include "delta/delta.h"

#define MODEL(name) GOLDEN_DIR "/models/" name "/model"

/* ---- golden models as other programs would have saved them */

/* A tensor's name in the copy; NULL: it is left out. */
typedef const char *rename_fn(char out[320], const char *name);

struct variant {
    const char *golden;
    const char *edits; /* JSON put over its config, a member "-KEY" removes KEY; NULL = none */
    rename_fn *rename; /* NULL: names stay */
    const char *changed; /* the tensor, by its new name, whose first value becomes 42 */
    struct {
        const char *name; /* NULL: none */
        int n_dims;
        int64_t dims[UM_DIMS_MAX];
        float value; /* of all its elements */
    } extra[2];
};

static void put_tensors(struct um_safetensors_writer *w, const struct variant *v,
                        const struct um_folder *from, bool is_declaring)
{
    static const float changed = 42;
    struct um_error err;
    const struct um_tensor_view *view;
    char text[320];
    for (size_t t = 0; (view = um_folder_tensor(from, t)); t++) {
        const char *name = v->rename ? v->rename(text, view->name) : view->name;
        if (name && is_declaring) {
            um_safetensors_declare(w, name, view->dtype, view->n_dims, view->dims);
        } else if (name) {
            bool is_changed = v->changed && strcmp(name, v->changed) == 0;
            size_t n = is_changed ? sizeof(changed) : 0;
            assert_ok(um_safetensors_put(w, &changed, n, &err), err);
            assert_ok(um_safetensors_put(w, view->bytes + n, view->n_bytes - n, &err), err);
        }
    }
    for (size_t i = 0; i < UM_COUNT(v->extra) && v->extra[i].name; i++) {
        int64_t n = 1;
        for (int d = 0; d < v->extra[i].n_dims; d++)
            n *= v->extra[i].dims[d];
        if (is_declaring)
            um_safetensors_declare(w, v->extra[i].name, UM_F32, v->extra[i].n_dims,
                                   v->extra[i].dims);
        for (int64_t k = 0; k < n && !is_declaring; k++)
            assert_ok(um_safetensors_put(w, &v->extra[i].value, sizeof(float), &err), err);
    }
}

/* Returns the folder's path, which stays for the next seven. */
static const char *put_model(const char *name, struct variant v)
{
    static char folders[8][512];
    static int next;
    struct um_error err;
    struct um_folder from;
    struct um_safetensors_writer w;
    char path[700], *folder = folders[next++ % 8];
    (void)snprintf(folder, sizeof(folders[0]), "%s", in_folder(name));
    assert_ok(um_remove_folder(folder, &err), err);
    assert_ok(um_make_folder(folder, &err), err);
    put_edited_config(folder, v.golden, v.edits ? v.edits : "{}");
    assert_ok(um_folder_open(&from, v.golden, &err), err);
    assert_ok(um_safetensors_create(&w, &err), err);
    put_tensors(&w, &v, &from, true);
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    assert_ok(um_safetensors_begin(&w, path, &err), err);
    put_tensors(&w, &v, &from, false);
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_folder_close(&from);
    return folder;
}

static const char *bare(char out[320], const char *name)
{
    (void)out;
    return strncmp(name, "transformer.", 12) == 0 ? name + 12 : name;
}

/* As checkpoints converted from TensorFlow have their norms. */
static const char *old_norms(char out[320], const char *name)
{
    size_t n = um_length_before(name, "LayerNorm.weight");
    (void)snprintf(out, 320, "%.*s%s", n ? (int)n : (int)um_length_before(name, "LayerNorm.bias"),
                   name, n ? "LayerNorm.gamma" : "LayerNorm.beta");
    return strstr(name, "LayerNorm.") ? out : name;
}

static const char *no_head(char out[320], const char *name)
{
    (void)out;
    return strstr(name, "classifier.") ? NULL : name;
}

static const char *old_norms_no_head(char out[320], const char *name)
{
    return no_head(out, name) ? old_norms(out, name) : NULL;
}

static const char *no_pooler(char out[320], const char *name)
{
    return strstr(name, "pooler.") ? NULL : no_head(out, name);
}

static const char *no_output_bias(char out[320], const char *name)
{
    (void)out;
    return strstr(name, "layer.1.output.dense.bias") ? NULL : name;
}

/* The difference, opened; the caller frees it. */
static struct um_delta *diff(const char *base, const char *tuned)
{
    struct um_error err;
    struct um_delta_info info;
    struct um_delta *delta;
    const char *path = in_folder("diff.safetensors");
    assert_ok(um_delta_diff(&info, base, tuned, path, &err), err);
    assert_ok(um_delta_open(&delta, path, &err), err);
    return delta;
}

/* Merges it; the caller closes the result. */
static void merge(struct um_folder *merged, const char *base)
{
    struct um_error err;
    struct um_merge_report report;
    const char *out = in_folder("merged");
    assert_ok(um_remove_folder(out, &err), err);
    assert_ok(um_delta_merge(&report, base, in_folder("diff.safetensors"), out, NULL, &err), err);
    assert_ok(um_folder_open(merged, out, &err), err);
}

/* The delta is one value of that tensor. */
static void assert_one_value(const struct um_delta *delta, const char *name)
{
    assert_int_equal(delta->n_entries, 1);
    assert_string_equal(delta->entries[0].name, name);
    assert_int_equal(delta->entries[0].n, 1);
    assert_true(delta->entries[0].value[0] == 42);
}

static void assert_refused(const char *base, const char *tuned, enum um_status status,
                           const char *message)
{
    struct um_error err;
    struct um_delta_info info;
    assert_fails(um_delta_diff(&info, base, tuned, in_folder("none.safetensors"), &err), status,
                 message, err);
    assert_false(um_path_exists(in_folder("none.safetensors")));
}

/* ---- what is beside the model */

static void test_buffers_may_be_missing(void **state)
{
    (void)state;
    const char *base = put_model("base", (struct variant){.golden = MODEL("gpt2"), .rename = bare,
                                     .extra = {{"h.0.attn.bias", 4, {1, 1, 4, 4}, 1}}});
    const char *tuned = put_model("tuned", (struct variant){.golden = MODEL("gpt2"),
                                      .changed = "transformer.wte.weight"});
    struct um_delta *delta = diff(base, tuned);
    assert_one_value(delta, "wte.weight");
    assert_string_equal(delta->prefix, "transformer.");
    um_delta_free(delta);
}

static void test_norms_have_two_names(void **state)
{
    (void)state;
    const char *base = put_model("base", (struct variant){.golden = MODEL("bert_cls"),
                                     .rename = old_norms_no_head,
                                     .extra = {{"cls.predictions.bias", 1, {7}, 0}}});
    const char *tuned = put_model("tuned", (struct variant){.golden = MODEL("bert_cls"),
                                      .changed = "bert.embeddings.LayerNorm.weight"});
    struct um_delta *delta = diff(base, tuned);
    assert_int_equal(delta->n_entries, 3); /* and the head */
    assert_string_equal(delta->entries[0].name, "bert.embeddings.LayerNorm.gamma");
    assert_true(delta->entries[0].n == 1 && delta->entries[0].value[0] == 42);
    assert_true(delta->entries[1].is_added && delta->entries[2].is_added);
    um_delta_free(delta);
    delta = diff(MODEL("bert_cls"), put_model("old", (struct variant){.golden = MODEL("bert_cls"),
                                                  .rename = old_norms}));
    assert_int_equal(delta->n_entries, 0);
    um_delta_free(delta);
}

static const char *no_vocabulary_head(char out[320], const char *name)
{
    (void)out;
    return strcmp(name, "lm_head.weight") == 0 ? NULL : name;
}

/* A decoder that classifies has no vocabulary head; one that writes must have it. */
static void test_a_classifier_has_no_vocabulary_head(void **state)
{
    (void)state;
    struct variant v = {.golden = MODEL("llama_untied"), .rename = no_vocabulary_head,
                        .edits = "{\"architectures\": [\"LlamaForSequenceClassification\"]}",
                        .extra = {{"score.weight", 2, {2, 16}, 1}}};
    struct um_delta *delta = diff(MODEL("llama_untied"), put_model("tuned", v));
    assert_int_equal(delta->n_entries, 1);
    assert_string_equal(delta->entries[0].name, "score.weight");
    assert_int_equal(delta->n_labels, 2);
    um_delta_free(delta);
    v.edits = NULL;
    assert_refused(MODEL("llama_untied"), put_model("tuned", v), UM_E_INPUT,
                   "has no tensor 'lm_head.weight'");
}

static void test_a_parameter_must_be_there(void **state)
{
    (void)state;
    const char *tuned = put_model("tuned", (struct variant){.golden = MODEL("bert_cls"),
                                      .rename = no_output_bias});
    assert_refused(MODEL("bert_cls"), tuned, UM_E_INPUT,
                   "has no tensor 'bert.encoder.layer.1.output.dense.bias'");
}

/* ---- tied heads */

static void test_a_tied_copy_is_no_difference(void **state)
{
    (void)state;
    static const char head[] = "lm_head.weight", words[] = "model.embed_tokens.weight";
    struct um_folder merged;
    const char *base = put_model("base", (struct variant){.golden = MODEL("llama_tied"),
                                     .extra = {{head, 2, {64, 16}, 1}}});
    const char *tuned = put_model("tuned", (struct variant){.golden = MODEL("llama_tied"),
                                      .changed = words, .extra = {{head, 2, {64, 16}, 2}}});
    const char *once = put_model("once", (struct variant){.golden = MODEL("llama_tied"),
                                     .changed = words});
    const char *const pairs[][2] = {{base, tuned}, {base, once}, {MODEL("llama_tied"), tuned}};
    for (size_t i = 0; i < UM_COUNT(pairs); i++) {
        struct um_delta *delta = diff(pairs[i][0], pairs[i][1]);
        assert_one_value(delta, words);
        um_delta_free(delta);
        merge(&merged, pairs[i][0]);
        assert_null(um_folder_find(&merged, head));
        um_folder_close(&merged);
    }
    const char *untied = put_model("untied", (struct variant){.golden = MODEL("llama_tied"),
                                       .edits = "{\"tie_word_embeddings\": false}",
                                       .extra = {{head, 2, {64, 16}, 2}}});
    assert_refused(base, untied, UM_E_INPUT, "has a vocabulary head of its own");
}

/* A config that does not say it means what its architecture's models have. */
static void test_gpt2_is_tied_unsaid(void **state)
{
    (void)state;
    static const char unsaid[] = "{\"-tie_word_embeddings\": 0}";
    struct um_folder merged;
    const char *base = put_model("base", (struct variant){.golden = MODEL("gpt2"), .edits = unsaid,
                                     .extra = {{"lm_head.weight", 2, {64, 16}, 1}}});
    const char *tuned = put_model("tuned", (struct variant){.golden = MODEL("gpt2"),
                                                            .edits = unsaid,
                                                            .changed = "transformer.wte.weight"});
    struct um_delta *delta = diff(base, tuned);
    assert_one_value(delta, "transformer.wte.weight");
    um_delta_free(delta);
    merge(&merged, base);
    assert_null(um_folder_find(&merged, "lm_head.weight"));
    um_folder_close(&merged);
}

/* ---- classes of outputs */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void test_token_classes_go_along(void **state)
{
    (void)state;
    struct um_folder merged;
    const char *base = put_model("base", (struct variant){.golden = MODEL("bert_cls"),
                                     .rename = no_head});
    const char *tuned = put_model(
        "tuned",
        (struct variant){
            .golden = MODEL("bert_cls"),
            .rename = no_pooler,
            .edits = "{\"architectures\": [\"BertForTokenClassification\"], \"id2label\": {\"0\": "
                     "\"O\", \"1\": \"A\", \"2\": \"B\", \"3\": \"C\", \"4\": \"D\"}}",
            .extra = {{"classifier.weight", 2, {5, 32}, 1}, {"classifier.bias", 1, {5}, 0}}});
    um_delta_free(diff(base, tuned));
    merge(&merged, base);
    const json_t *names = json_object_get(merged.config, "id2label");
    assert_int_equal(json_object_size(names), 5);
    assert_string_equal(text_of(names, "4"), "D");
    assert_int_equal(json_object_size(json_object_get(merged.config, "label2id")), 5);
    assert_string_equal(text_of(merged.config, "problem_type"), ""); /* none of tokens */
    um_folder_close(&merged);
}

static void test_a_known_problem_type_stays(void **state)
{
    (void)state;
    static const struct {
        const char *tuned, *merged;
    } cases[] = {{"multi_label_classification", "multi_label_classification"},
                 {"regression", "regression"},
                 {"juggling", "single_label_classification"}};
    const char *base = put_model("base", (struct variant){.golden = MODEL("bert_cls"),
                                     .rename = no_head});
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        struct um_folder merged;
        char edits[256];
        (void)snprintf(edits, sizeof(edits), "{\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": "
                       "\"c\"}, \"problem_type\": \"%s\"}", cases[i].tuned);
        um_delta_free(diff(base, put_model("tuned", (struct variant){.golden = MODEL("bert_cls"),
                                                        .edits = edits})));
        merge(&merged, base);
        assert_string_equal(text_of(merged.config, "problem_type"), cases[i].merged);
        um_folder_close(&merged);
    }
}

/* ---- two forms */

static void test_a_folder_and_a_gguf_file_are_no_pair(void **state)
{
    (void)state;
    struct um_error err;
    struct um_merge_report report;
    const char *gguf = in_folder("model.gguf");
    um_delta_free(diff(MODEL("llama_tied"), MODEL("llama_tied")));
    assert_ok(um_delta_merge(&report, MODEL("llama_tied"), in_folder("diff.safetensors"), gguf,
                             NULL, &err),
              err);
    assert_refused(gguf, MODEL("llama_tied"), UM_E_USAGE, "laid out otherwise");
    assert_refused(MODEL("llama_tied"), gguf, UM_E_USAGE, "laid out otherwise");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffers_may_be_missing),
        cmocka_unit_test(test_norms_have_two_names),
        cmocka_unit_test(test_a_classifier_has_no_vocabulary_head),
        cmocka_unit_test(test_a_parameter_must_be_there),
        cmocka_unit_test(test_a_tied_copy_is_no_difference),
        cmocka_unit_test(test_gpt2_is_tied_unsaid),
        cmocka_unit_test(test_token_classes_go_along),
        cmocka_unit_test(test_a_known_problem_type_stays),
        cmocka_unit_test(test_a_folder_and_a_gguf_file_are_no_pair),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
