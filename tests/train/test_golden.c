/* Models against transformers, tiny and random: outputs, loss, every gradient, and ten losses of full
 * fine-tuning by AdamW. */
#include "golden.h"

#include "method/method.h"
#include "optim/optimizer.h"

static const char *const names[] = {"bert_cls",  "bert_reg",    "bert_f16",
                                    "bert_bf16", "bert_shards", "distilbert_cls",
                                    "llama_tied", "llama_untied", "llama_rope_llama3",
                                    "llama_rope_linear", "llama_rope_yarn", "mistral_window",
                                    "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2"};

struct rig {
    struct golden g;
    struct um_model model;
    struct um_engine engine;
    struct um_tuning tuning;
};

static void open_rig(struct rig *r, const char *name)
{
    struct um_error err;
    golden_open(&r->g, name);
    const struct um_model_options options = {.dropout = 0};
    assert_ok(um_model_open(&r->model, r->g.folder, &options, &err), err);
    assert_ok(um_engine_open(&r->engine, &r->model, 64 << 20, false, &err), err);
    r->engine.objective = r->g.is_decoder          ? UM_OBJECTIVE_TOKEN
                          : r->model.dims.O == 1 ? UM_OBJECTIVE_VALUE
                                                 : UM_OBJECTIVE_CLASS;
    struct um_tuning_options full = {.method = um_method_find("full"), .n_micro = 1};
    full.has_column[UM_COLUMN_FIRST] = full.has_column[UM_COLUMN_SECOND] = true;
    assert_ok(um_tuning_open(&r->tuning, r->model.params, r->model.n_params, &full, &err), err);
}

static void close_rig(struct rig *r)
{
    um_tuning_close(&r->tuning);
    um_engine_close(&r->engine);
    um_model_close(&r->model);
    golden_close(&r->g);
}

static double step(struct rig *r, int64_t number)
{
    struct um_error err;
    double loss = 0;
    assert_ok(um_tuning_begin(&r->tuning, number, 10, &err), err);
    um_tuning_micro(&r->tuning, 0, true);
    int64_t n = r->g.is_decoder ? r->g.batch.n_losses : r->g.batch.n_rows;
    assert_ok(um_engine_train(&loss, &r->engine, &r->g.batch, n, 0, um_tuning_sink(&r->tuning),
                              &err),
              err);
    assert_ok(um_tuning_end(&r->tuning, &err), err);
    return loss;
}

/* A row's outputs, or logits at some tokens. */
static void predict(float *outputs, struct rig *r)
{
    struct um_error err;
    if (!r->g.is_decoder) {
        assert_ok(um_engine_predict(outputs, &r->engine, &r->g.batch, &err), err);
        return;
    }
    int32_t columns[16];
    int64_t n = golden_tensor(&r->g, "logit_positions")->n_elements;
    for (int64_t i = 0; i < n; i++)
        columns[i] = (int32_t)golden_ints(&r->g, "logit_positions")[i];
    assert_ok(um_engine_logits(outputs, &r->engine, &r->g.batch, columns, n, &err), err);
}

static void test_outputs_and_loss(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float outputs[1024];
        open_rig(&r, names[i]);
        predict(outputs, &r);
        double d = relative_difference(outputs, golden_floats(&r.g, "logits"),
                                       golden_tensor(&r.g, "logits")->n_elements);
        if (!(d < 1e-5))
            fail_msg("%s: logits differ by %g", names[i], d);
        float loss = (float)step(&r, 0);
        d = relative_difference(&loss, golden_floats(&r.g, "loss"), 1);
        if (!(d < 1e-5))
            fail_msg("%s: the loss differs by %g", names[i], d);
        close_rig(&r);
    }
}

static void test_every_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        open_rig(&r, names[i]);
        step(&r, 0);
        /* A key's bias moves all scores of a query alike: its gradient is nothing but rounding. */
        double most = 0;
        for (size_t e = 0; e < r.tuning.set.n_entries; e++)
            for (int64_t k = 0; k < r.tuning.set.entries[e].n; k++)
                most = fmax(most,
                            fabs((double)r.tuning.set.entries[e].column[UM_COLUMN_GRAD][k]));
        assert_int_equal(r.tuning.set.n_entries, r.model.n_params);
        for (size_t e = 0; e < r.tuning.set.n_entries; e++) {
            const struct um_entry *entry = &r.tuning.set.entries[e];
            char name[300];
            (void)snprintf(name, sizeof(name), "grad.%s", entry->param->name);
            const float *expected = golden_floats(&r.g, name);
            double d = relative_difference(entry->column[UM_COLUMN_GRAD], expected, entry->n);
            double scale = 0;
            for (int64_t k = 0; k < entry->n; k++)
                scale = fmax(scale, fabs((double)expected[k]));
            if (!(d < 1e-4 || d * scale < 1e-6 * most))
                fail_msg("%s: %s differs by %g", names[i], name, d);
        }
        close_rig(&r);
    }
}

static void test_ten_losses(void **state)
{
    (void)state;
    static const struct um_optimizer_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        float losses[10];
        open_rig(&r, names[i]);
        for (int64_t t = 0; t < 10; t++) {
            losses[t] = (float)step(&r, t);
            um_optimizer_step(um_optimizer_find("adamw"), &r.tuning.set, &options, 0, 1e-3, t);
        }
        double d = relative_difference(losses, golden_floats(&r.g, "losses"), 10);
        if (!(d < 1e-4))
            fail_msg("%s: losses differ by %g", names[i], d);
        close_rig(&r);
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
        cmocka_unit_test(test_model_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
