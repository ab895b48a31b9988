/* Models against transformers, tiny and random: outputs, loss, every gradient, and ten losses of
 * full fine-tuning by AdamW. */
#include "rig.h"

static const char *const names[] = {"bert_cls",  "bert_reg",    "bert_f16",
                                    "bert_bf16", "bert_shards", "distilbert_cls",
                                    "bert_tags", "distilbert_tags",
                                    "llama_tied", "llama_untied", "llama_rope_llama3",
                                    "llama_rope_linear", "llama_rope_yarn", "mistral_window",
                                    "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2"};

static void open_rig(struct rig *r, const char *name)
{
    rig_open(r, name);
    rig_tune(r, (struct um_tuning_options){.method = um_method_find("full"), .n_micro = 1});
}

static void test_outputs_and_loss(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float outputs[1024];
        open_rig(&r, names[i]);
        int64_t n = rig_predict(outputs, &r);
        double d = relative_difference(outputs, golden_floats(&r.g, "logits"), n);
        if (!(d < 1e-5))
            fail_msg("%s: logits differ by %g", names[i], d);
        float loss = (float)rig_step(&r, 0, 10);
        d = relative_difference(&loss, golden_floats(&r.g, "loss"), 1);
        if (!(d < 1e-5))
            fail_msg("%s: the loss differs by %g", names[i], d);
        rig_close(&r);
    }
}

static const float *golden_gradient(const struct rig *r, const struct um_param *param)
{
    char name[300];
    (void)snprintf(name, sizeof(name), "grad.%s", param->name);
    return golden_floats(&r->g, name);
}

static void test_every_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        open_rig(&r, names[i]);
        rig_step(&r, 0, 10);
        /* A key's bias moves all scores of a query alike: its gradient is nothing but rounding. */
        double most = 0;
        for (size_t e = 0; e < r.tuning.set.n_entries; e++)
            for (int64_t k = 0; k < r.tuning.set.entries[e].n; k++)
                most = fmax(most,
                            fabs((double)r.tuning.set.entries[e].column[UM_COLUMN_GRAD][k]));
        assert_int_equal(r.tuning.set.n_entries, r.model.n_params);
        for (size_t e = 0; e < r.tuning.set.n_entries; e++) {
            const struct um_entry *entry = &r.tuning.set.entries[e];
            const float *expected = golden_gradient(&r, entry->param);
            double d = relative_difference(entry->column[UM_COLUMN_GRAD], expected, entry->n);
            double scale = 0;
            for (int64_t k = 0; k < entry->n; k++)
                scale = fmax(scale, fabs((double)expected[k]));
            if (!(d < 1e-4 || d * scale < 1e-6 * most))
                fail_msg("%s: grad.%s differs by %g", names[i], entry->param->name, d);
        }
        rig_close(&r);
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
            rig_update(&r, 1e-3, 0.01, t);
        }
        double d = relative_difference(losses, golden_floats(&r.g, "losses"), 10);
        if (!(d < 1e-4))
            fail_msg("%s: losses differ by %g", names[i], d);
        rig_close(&r);
    }
}

/* 8 bits of a bfloat16's fraction: gradients in the right direction, and a run that goes the same
 * way. */
static void test_bfloat16_products(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float outputs[1024], losses[10];
        double dot = 0, square = 0, expected_square = 0;
        open_rig(&r, names[i]);
        r.engine.is_rounded = true;
        int64_t n = rig_predict(outputs, &r); /* evaluations are not rounded */
        assert_true(relative_difference(outputs, golden_floats(&r.g, "logits"), n) < 1e-5);
        for (int64_t t = 0; t < 10; t++) {
            losses[t] = (float)rig_step(&r, t, 10);
            for (size_t e = 0; t == 0 && e < r.tuning.set.n_entries; e++) {
                const struct um_entry *entry = &r.tuning.set.entries[e];
                const float *expected = golden_gradient(&r, entry->param);
                for (int64_t k = 0; k < entry->n; k++) {
                    double g = (double)entry->column[UM_COLUMN_GRAD][k];
                    dot += g * (double)expected[k];
                    square += g * g;
                    expected_square += (double)expected[k] * (double)expected[k];
                }
            }
            rig_update(&r, 1e-3, 0.01, t);
        }
        double cosine = dot / sqrt(square * expected_square);
        if (!(cosine > 0.998))
            fail_msg("%s: the gradient's cosine is %g", names[i], cosine);
        double d = relative_difference(losses, golden_floats(&r.g, "losses"), 10);
        if (!(d < 0.05) || d == 0)
            fail_msg("%s: losses differ by %g", names[i], d);
        rig_close(&r);
    }
}

static void test_model_errors(void **state)
{
    (void)state;
    struct um_model model;
    struct um_error err;
    const struct um_model_options options = {.dropout = -1};
    assert_fails(um_model_open(&model, "/nonexistent", &options, &err), UM_E_INPUT,
                 "no such folder", err);
    assert_ok(um_model_open(&model, GOLDEN_DIR "/models/bert_base/model", &options, &err), err);
    assert_int_equal(model.dims.O, 0);
    assert_false(model.has_prefix);
    um_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_and_loss),
        cmocka_unit_test(test_every_gradient),
        cmocka_unit_test(test_ten_losses),
        cmocka_unit_test(test_bfloat16_products),
        cmocka_unit_test(test_model_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
