/* Additions against PEFT (and the formulas of `adapters`; oracle/make_peft_golden.py): outputs,
 * loss, every gradient, ten losses by AdamW, AdaLoRA's ranks; folding; first values; what is
 * wrong. */
#include "rig.h"

#include "model/addition.h"

static const char *const names[] = {"lora_bert",     "rslora_llama",  "lora_gpt2",
                                    "dora_bert",     "dora_llama",    "dora_gpt2",
                                    "adalora_bert",  "adalora_llama", "houlsby_bert",
                                    "houlsby_llama", "pfeiffer_bert", "pfeiffer_llama"};

static struct um_safetensors added; /* the golden file of the addition at hand */

static const float *expected_floats(const char *prefix, const char *name)
{
    char full[320];
    (void)snprintf(full, sizeof(full), "%s%s", prefix, name);
    const struct um_tensor_view *view = um_safetensors_find(&added, full);
    if (!view)
        fail_msg("the golden file has no '%s'", full);
    return (const float *)(const void *)view->bytes;
}

static void open_rig(struct rig *r, const char *name)
{
    struct um_error err;
    char path[512], whole[] = "classifier*", *whole_items[] = {whole};
    (void)snprintf(path, sizeof(path), GOLDEN_DIR "/added/%s.safetensors", name);
    assert_ok(um_safetensors_open(&added, path, &err), err);
    rig_open(r, um_safetensors_metadata(&added, "model"));
    assert_ok(um_model_attach_text(&r->model, um_safetensors_metadata(&added, "settings"), name,
                                   &err), err);
    for (int64_t p = 0; p < r->model.n_params; p++)
        if (r->model.params[p].is_attached)
            memcpy(r->model.params[p].values,
                   expected_floats("value.", r->model.params[p].name),
                   (size_t)r->model.params[p].n_elements * sizeof(float));
    rig_tune(r, (struct um_tuning_options){
        .method = um_method_find("lora"),
        .n_micro = 1,
        .whole = {whole_items, r->g.is_decoder ? 0 : 1},
        .adalora = {.target_rank = 2, .tinit = 2, .tfinal = 3, .every = 2, .beta1 = 0.85,
                    .beta2 = 0.85, .orthogonality = 0.5}});
}

static void close_rig(struct rig *r)
{
    rig_close(r);
    um_safetensors_close(&added);
}

static void test_outputs_and_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float outputs[1024];
        open_rig(&r, names[i]);
        int64_t n = rig_predict(outputs, &r);
        double d = relative_difference(outputs, expected_floats("", "logits"), n);
        if (!(d < 1e-5))
            fail_msg("%s: logits differ by %g", names[i], d);
        float loss = (float)rig_step(&r, 0, 10);
        d = relative_difference(&loss, expected_floats("", "loss"), 1);
        if (!(d < 1e-5))
            fail_msg("%s: the loss differs by %g", names[i], d);
        for (size_t e = 0; e < r.tuning.set.n_entries; e++) {
            const struct um_entry *entry = &r.tuning.set.entries[e];
            assert_true(entry->is_whole);
            d = relative_difference(entry->column[UM_COLUMN_GRAD],
                                    expected_floats("grad.", entry->param->name), entry->n);
            if (!(d < 1e-4))
                fail_msg("%s: gradient of %s differs by %g", names[i], entry->param->name, d);
        }
        close_rig(&r);
    }
}

/* How many ranks of each map are in use, after step t. */
static void check_ranks(const struct rig *r, const char *name, int64_t t)
{
    for (size_t i = 0; i < r->tuning.adalora.n; i++) {
        const struct um_param *lambda = r->tuning.adalora.pairs[i]->lambda;
        char key[320];
        int64_t n = 0, expected;
        (void)snprintf(key, sizeof(key), "ranks.%.*s",
                       (int)(strlen(lambda->name) - strlen(".lora_E")), lambda->name);
        for (int64_t k = 0; k < lambda->n_elements; k++)
            n += lambda->values[k] != 0;
        const struct um_tensor_view *view = um_safetensors_find(&added, key);
        assert_non_null(view);
        memcpy(&expected, view->bytes + 8 * t, sizeof(expected));
        if (n != expected)
            fail_msg("%s: %s has %lld ranks after step %lld, expected %lld", name, key,
                     (long long)n, (long long)t, (long long)expected);
    }
}

static void test_ten_losses(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float losses[10];
        open_rig(&r, names[i]);
        for (int64_t t = 0; t < 10; t++) {
            losses[t] = (float)rig_step(&r, t, 10);
            rig_update(&r, 1e-2, 0.01, t);
            check_ranks(&r, names[i], t);
        }
        double d = relative_difference(losses, expected_floats("", "losses"), 10);
        if (!(d < 1e-4))
            fail_msg("%s: losses differ by %g", names[i], d);
        close_rig(&r);
    }
}

/* A model with its low-rank changes folded into the maps gives the same outputs without them. */
static void test_folding(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float outputs[1024];
        open_rig(&r, names[i]);
        int64_t n = rig_predict(outputs, &r), n_folded = 0;
        for (int64_t p = 0; p < r.model.n_params; p++) {
            struct um_param *w = &r.model.params[p];
            if (!w->low_rank)
                continue;
            float *folded = UM_NEW(w->n_elements, float);
            float *scratch = UM_NEW(um_low_rank_scratch(w), float);
            float *norms = UM_NEW(w->rows + w->cols, float);
            assert_true(folded && scratch && norms);
            um_low_rank_norms(norms, w, scratch);
            um_low_rank_fold(folded, w, 0, 2, norms);
            um_low_rank_fold(folded + 2 * w->cols, w, 2, w->rows - 2, norms);
            memcpy(w->values, folded, (size_t)w->n_elements * sizeof(float));
            w->low_rank = NULL;
            um_free(folded);
            um_free(scratch);
            um_free(norms);
            n_folded++;
        }
        float after[1024];
        rig_predict(after, &r);
        assert_true((n_folded > 0) == (r.model.adapters == NULL));
        double d = relative_difference(after, outputs, n);
        if (!(d < 1e-5))
            fail_msg("%s: folded, outputs differ by %g", names[i], d);
        close_rig(&r);
    }
}

/* Attached and not yet trained, low-rank changes change nothing; their values follow from the
 * seed. */
static void test_first_values(void **state)
{
    (void)state;
    static const char *const kinds[] = {"lora", "dora", "adalora"};
    for (size_t i = 0; i < UM_COUNT(kinds); i++) {
        struct um_error err;
        struct rig r;
        float before[64], after[64], again[4096];
        char own[64];
        open_rig(&r, "lora_bert");
        um_model_close(&r.model);
        const struct um_model_options options = {.dropout = 0};
        assert_ok(um_model_open(&r.model, r.g.folder, &options, &err), err);
        int64_t n = rig_predict(before, &r), n_base = r.model.n_params;
        (void)snprintf(own, sizeof(own), "%s", kinds[i]);
        const struct um_addition_options o = {.addition = um_addition_find(own), .rank = 3,
                                              .alpha = 8, .seed = 11};
        assert_ok(um_model_attach(&r.model, &o, &err), err);
        assert_int_equal(r.model.n_params, n_base + 4 * (i == 0 ? 2 : 3));
        rig_predict(after, &r);
        assert_true(relative_difference(after, before, n) < 1e-5);
        for (int64_t p = 0; p < r.model.n_params; p++) {
            const struct um_param *param = &r.model.params[p];
            assert_int_equal(param->index, p);
            if (!param->is_attached)
                continue;
            um_model_first_values(again, &r.model, param);
            assert_memory_equal(again, param->values, (size_t)param->n_elements * sizeof(float));
        }
        close_rig(&r);
    }
}

static void attach_fails(const char *text, enum um_status expected, const char *message)
{
    struct um_model model;
    struct um_error err;
    const struct um_model_options options = {.dropout = 0};
    assert_ok(um_model_open(&model, GOLDEN_DIR "/models/bert_cls/model", &options, &err), err);
    assert_fails(um_model_attach_text(&model, text, "a delta", &err), expected, message, err);
    um_model_close(&model);
}

static void test_errors(void **state)
{
    (void)state;
    attach_fails("{\"kind\": \"lorax\"}", UM_E_INPUT, "'lorax', which is not known");
    attach_fails("{\"kind\": \"lora\"", UM_E_INPUT, "a delta");
    attach_fails("{\"kind\": \"lora\", \"rank\": 0}", UM_E_INPUT, "method.rank is 0");
    attach_fails("{\"kind\": \"lora\", \"rank\": 99999999}", UM_E_INPUT, "method.rank");
    attach_fails("{\"kind\": \"lora\", \"rank\": 2, \"targets\": [7]}", UM_E_INPUT, "not a text");
    attach_fails("{\"kind\": \"lora\", \"rank\": 2, \"targets\": [\"qery\"]}", UM_E_INPUT,
                 "'qery' fits no linear map");
    attach_fails("{\"kind\": \"lora\", \"rank\": 2, \"targets\": [\"*word_embeddings*\"]}",
                 UM_E_INPUT, "fits no linear map");
    attach_fails("{\"kind\": \"houlsby\", \"targets\": [\"*.output\"]}", UM_E_INPUT,
                 "fits no site of an adapter");
    attach_fails("{\"kind\": \"houlsby\", \"activation\": \"square\"}", UM_E_INPUT, "'square'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_and_gradients),
        cmocka_unit_test(test_ten_losses),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_first_values),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
