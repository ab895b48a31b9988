/* Plans: of a model known by its config.json alone as of the same model with its weights and of a
 * run with data; nothing of the model's size allocated; advice only where it saves. */
#include "tiny_decoder.h"

#include "base/mem.h"
#include "train/run.h"

#define MODELS GOLDEN_DIR "/models/"

static const char llama_2_7b[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
    " \"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"vocab_size\": 32000,"
    " \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\","
    " \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\"}";

static struct um_recipe *make_recipe(const char *settings[][2], size_t n)
{
    struct um_recipe *recipe;
    struct um_error err;
    assert_ok(um_recipe_new(&recipe, &err), err);
    for (size_t i = 0; i < n; i++)
        assert_ok(um_recipe_set(recipe, settings[i][0], settings[i][1], &err), err);
    return recipe;
}

/* The plan of a recipe without data, and what would need less. */
static struct um_plan plan_of(const struct um_recipe *recipe, struct um_saving *savings, size_t *n)
{
    struct um_run *run;
    struct um_plan plan;
    struct um_error err;
    assert_ok(um_run_open_plan(&run, recipe, NULL, &err), err);
    assert_ok(um_run_plan(&plan, run, &err), err);
    if (savings)
        assert_ok(um_run_plan_savings(savings, n, &plan, run, &err), err);
    um_run_free(run);
    return plan;
}

static void assert_same_need(const struct um_plan *a, const struct um_plan *b)
{
    assert_int_equal(a->n_parameters, b->n_parameters);
    assert_int_equal(a->n_base_parameters, b->n_base_parameters);
    assert_int_equal(a->n_scope, b->n_scope);
    assert_int_equal(a->n_whole, b->n_whole);
    assert_int_equal(a->budget, b->budget);
    assert_int_equal(a->max_tokens_per_step, b->max_tokens_per_step);
    assert_int_equal(a->weights_bytes, b->weights_bytes);
    assert_int_equal(a->activation_bytes, b->activation_bytes);
    assert_int_equal(a->method_bytes, b->method_bytes);
    assert_true(a->flop_per_step == b->flop_per_step);
}

static void test_config_alone(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {"llama_untied", ""},   {"llama_tied", ""}, {"gemma2", ""},      {"gpt2", ""},
        {"qwen2", ""},          {"qwen3", ""},      {"bert_base", "rte"}, {"bert_base", "stsb"}};
    static const char *const methods[] = {"id3", "full"};
    for (size_t i = 0; i < 2 * UM_COUNT(models); i++) {
        const char *const *model = models[i / 2];
        char folder[512], config[544];
        (void)snprintf(folder, sizeof(folder), MODELS "%s/model", model[0]);
        (void)snprintf(config, sizeof(config), "%s/config.json", folder);
        const char *settings[][2] = {{"model", folder},         {"train.batch", "3"},
                                     {"train.max_length", "24"}, {"train.accumulate", "2"},
                                     {"method.name", methods[i % 2]}, {"method.budget", "20%"},
                                     {"task", model[1]}};
        size_t n = UM_COUNT(settings) - (*model[1] ? 0 : 1);
        struct um_recipe *recipe = make_recipe(settings, n);
        struct um_plan whole = plan_of(recipe, NULL, NULL);
        settings[0][1] = config;
        um_recipe_free(recipe);
        recipe = make_recipe(settings, n);
        struct um_plan alone = plan_of(recipe, NULL, NULL);
        um_recipe_free(recipe);
        assert_false(whole.is_without_weights);
        assert_true(alone.is_without_weights && alone.is_without_data);
        assert_same_need(&alone, &whole);
    }
}

/* A run whose rows are all cut to the limit needs what is planned without data. */
static void test_full_rows(void **state)
{
    (void)state;
    struct um_error err;
    struct um_str rows = {0};
    struct um_run *run;
    struct um_plan plan;
    um_str_add(&rows, "sentence1\tsentence2\tlabel\n");
    for (int i = 0; i < 12; i++)
        um_str_addf(&rows, "baba deba kiba lo mu baba deba kiba\tlo mu za wu baba deba\t%s\n",
                    i % 2 ? "entailment" : "not_entailment");
    const char *path = put_file("rows.tsv", rows.text, rows.length);
    const char *settings[][2] = {{"model", MODELS "bert_base/model"}, {"task", "rte"},
                                 {"train.max_length", "8"},           {"train.batch", "4"},
                                 {"train.max_steps", "5"},            {"method.budget", "900"},
                                 {"data.train", path}};
    struct um_recipe *recipe = make_recipe(settings, UM_COUNT(settings));
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    assert_ok(um_run_plan(&plan, run, &err), err);
    struct um_plan without = plan_of(recipe, NULL, NULL);
    assert_same_need(&plan, &without);
    um_run_free(run);
    um_recipe_free(recipe);
    um_str_free(&rows);
}

/* The largest batch is found behind millions of learnt tokens: it is rows that a survey is bounded
 * by. */
static void test_many_learnt_tokens(void **state)
{
    (void)state;
    struct um_error err;
    struct um_str rows = {0};
    struct um_run *run;
    struct um_plan plan;
    for (int i = 0; i < 3; i++)
        um_str_addf(&rows, "{\"instruction\": \"a\", \"output\": \"it is %s\"}\n",
                    i < 2 ? "b" : "much longer than the rows before it");
    make_tiny_decoder("tiny", "512");
    const char *path = put_file("rows.jsonl", rows.text, rows.length);
    const char *settings[][2] = {{"model", in_folder("tiny")}, {"task", "instruct"},
                                 {"train.order", "sequential"}, {"train.batch", "1"},
                                 {"method.budget", "500"},      {"data.train", path}};
    struct um_recipe *recipe = make_recipe(settings, UM_COUNT(settings));
    assert_ok(um_run_open(&run, recipe, NULL, &err), err);
    run->train_tokens.weights[0] = 5000000;
    assert_ok(um_run_plan(&plan, run, &err), err);
    assert_true(run->train_tokens.lengths[2] > run->train_tokens.lengths[0]);
    assert_int_equal(plan.max_tokens_per_step, run->train_tokens.lengths[2]);
    um_run_free(run);
    um_recipe_free(recipe);
    um_str_free(&rows);
}

static void test_large_model(void **state)
{
    (void)state;
    enum { ROOM = 8 << 20 };
    struct um_saving savings[UM_SAVINGS_MAX];
    size_t n;
    const char *settings[][2] = {
        {"model", put_file("7b/config.json", llama_2_7b, strlen(llama_2_7b))},
        {"train.batch", "8"},
        {"train.max_length", "64"},
        {"method.name", "id3"}};
    size_t before = um_mem_peak();
    struct um_recipe *recipe = make_recipe(settings, UM_COUNT(settings));
    struct um_plan plan = plan_of(recipe, savings, &n);
    assert_int_equal(plan.n_parameters, 6738415616);
    assert_int_equal(plan.weights_bytes, 2 * 6738415616);
    assert_int_equal(plan.max_tokens_per_step, 512);
    /* Every map of 32 layers and the vocabulary's head, though maps have as many rows as there are
     * positions: forward and input gradients. */
    double maps = 32.0 * (4 * 4096.0 * 4096 + 3 * 4096.0 * 11008) + 32000 * 4096.0;
    assert_true(plan.flop_per_step == 4 * maps * plan.mean_tokens_per_step);
    /* Half the batch, accumulated, would need 25 GiB of sums. */
    assert_int_equal(n, 2);
    assert_true(savings[0].recompute && savings[0].batch == 8 && savings[0].accumulate == 1);
    assert_int_equal(savings[1].max_length, 32);
    for (size_t i = 0; i < n; i++)
        assert_true(savings[i].peak_bytes < plan.peak_bytes);
    assert_true(savings[0].peak_bytes < (int64_t)24 << 30);
    um_recipe_free(recipe);
    settings[3][1] = "full";
    recipe = make_recipe(settings, UM_COUNT(settings));
    plan = plan_of(recipe, savings, &n);
    assert_true(plan.method_bytes > 16 * 6738415616); /* values, gradients, two moments */
    assert_int_equal(n, 3);
    assert_true(savings[1].batch == 4 && savings[1].accumulate == 2); /* here sums cost nothing */
    um_recipe_free(recipe);
    assert_true(um_mem_peak() - before < ROOM);
}

static void test_types(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct um_plan plan;
    const char *settings[][2] = {
        {"model", put_file("7b/config.json", llama_2_7b, strlen(llama_2_7b))}};
    struct um_recipe *recipe = make_recipe(settings, 1);
    assert_ok(um_run_open_plan(&run, recipe, "q4_K", &err), err);
    assert_ok(um_run_plan(&plan, run, &err), err);
    int64_t n_norms = (2 * 32 + 1) * 4096;
    assert_int_equal(plan.weights_bytes, (6738415616 - n_norms) / 256 * 144 + 4 * n_norms);
    struct um_summary summary;
    assert_fails(um_run_train(&summary, run, &err), UM_E_USAGE, "planned", err);
    um_run_free(run);
    assert_fails(um_run_open_plan(&run, recipe, "int4", &err), UM_E_USAGE, "'int4'", err);
    assert_null(run);
    um_recipe_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_alone),
        cmocka_unit_test(test_full_rows),
        cmocka_unit_test(test_many_learnt_tokens),
        cmocka_unit_test(test_large_model),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
