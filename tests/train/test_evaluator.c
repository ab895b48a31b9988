/* Evaluation of token tasks, by answers and by loss: in training, and by a predictor; what is
 * written of it, what is planned for it, and runs that are stopped in the middle of it. */
#include "tiny_decoder.h"

#include <math.h>

#include "base/json.h"
#include "unmask.h"

enum { N_ROWS = 12 };

/* Rows of sums; `answer` is a format of the answer's member, or "". */
static const char *put_rows(const char *name, const char *answer)
{
    struct um_str rows = {0};
    for (int i = 0; i < N_ROWS; i++) {
        um_str_addf(&rows, "{\"instruction\": \"what is %d + %d?\", \"input\": \"\", ", i, 3 * i);
        um_str_addf(&rows, "\"output\": \"it is %d\"", 4 * i);
        if (*answer)
            um_str_addf(&rows, ", \"answer\": \"%d%s\"", 4 * i, answer);
        um_str_add(&rows, "}\n");
    }
    const char *path = put_file(name, rows.text, rows.length);
    um_str_free(&rows);
    return path;
}

static struct um_recipe *make_recipe(const char *task, const char *out)
{
    struct um_recipe *recipe;
    struct um_error err;
    const struct {
        const char *key, *value;
    } settings[] = {{"model", in_folder("tiny")},
                    {"task", task},
                    {"data.train", in_folder("rows.jsonl")},
                    {"data.eval", in_folder("rows.jsonl")},
                    {"out", in_folder(out)},
                    {"method.budget", "500"},
                    {"train.batch", "4"},
                    {"train.max_steps", "6"},
                    {"eval.every", "3"},
                    {"eval.batch", "5"},
                    {"eval.max_new_tokens", "24"},
                    {"threads", "2"}};
    assert_ok(um_recipe_new(&recipe, &err), err);
    for (size_t i = 0; i < UM_COUNT(settings); i++)
        assert_ok(um_recipe_set(recipe, settings[i].key, settings[i].value, &err), err);
    return recipe;
}

static void set(struct um_recipe *recipe, const char *key, const char *value)
{
    struct um_error err;
    assert_ok(um_recipe_set(recipe, key, value, &err), err);
}

static struct um_predictor *open_tiny(const char *name)
{
    struct um_predictor *p;
    struct um_error err;
    assert_ok(um_predictor_open(&p, in_folder(name), NULL, &err), err);
    return p;
}

static char *read_text(const char *path)
{
    char *text;
    size_t n;
    struct um_error err;
    assert_ok(um_file_read(&text, &n, path, &err), err);
    return text;
}

static int count_lines(const char *path)
{
    char *text = read_text(path);
    int n = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n++;
    um_free(text);
    return n;
}

static void assert_same_file(const char *a, const char *b)
{
    char *x = read_text(a), *y = read_text(b);
    assert_string_equal(x, y);
    um_free(x);
    um_free(y);
}

/* ---- predictors */

/* Line `index` of a file of predictions; the caller's to free. */
static json_t *line_of(const char *path, int index)
{
    char *text = read_text(path), *line = text;
    struct um_error err;
    json_t *json;
    for (; index > 0; index--) {
        line = strchr(line, '\n');
        assert_non_null(line++);
    }
    assert_ok(um_json_parse(&json, line, strcspn(line, "\n"), path, &err), err);
    um_free(text);
    return json;
}

static void test_predictions(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e, again;
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p = open_tiny("tiny");
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("a.jsonl"), NULL, &err), err);
    assert_ok(um_predictor_evaluate(&again, p, recipe, in_folder("b.jsonl"), NULL, &err), err);
    assert_same_file(in_folder("a.jsonl"), in_folder("b.jsonl"));
    assert_int_equal(e.n_rows, N_ROWS);
    assert_true(e.loss > 1 && e.loss < 10); /* about log 64 */
    assert_int_equal(e.n_metrics, 1);
    assert_string_equal(e.metrics[0].name, "accuracy");
    json_t *line = line_of(in_folder("a.jsonl"), 2);
    assert_int_equal(json_integer_value(json_object_get(line, "row")), 3);
    assert_string_equal(json_string_value(json_object_get(line, "prompt")),
                        "Below is an instruction that describes a task. Write a response that "
                        "appropriately completes the request.\n\n### Instruction:\n"
                        "what is 2 + 6?\n\n### Response:\n");
    assert_true(json_number_value(json_object_get(line, "answer")) == 8);
    assert_true(json_is_boolean(json_object_get(line, "correct")));
    assert_true(json_is_string(json_object_get(line, "text")));
    json_int_t n_tokens = json_integer_value(json_object_get(line, "tokens"));
    assert_true(n_tokens > 0 && n_tokens <= 24);
    json_decref(line);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

/* Answers that are what the model writes are right; the others are not. */
static void test_accuracy(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    struct um_recipe *recipe = make_recipe("aqua", "unused");
    struct um_predictor *p = open_tiny("tiny");
    struct um_str rows = {0};
    int n_right = 0;
    put_rows("letters.jsonl", " A");
    set(recipe, "data.eval", in_folder("letters.jsonl"));
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("c.jsonl"), NULL, &err), err);
    for (int i = 0; i < N_ROWS; i++) {
        json_t *line = line_of(in_folder("c.jsonl"), i);
        const char *letter = json_string_value(json_object_get(line, "prediction"));
        n_right += letter && i % 2;
        um_str_addf(&rows, "{\"instruction\": \"what is %d + %d?\", \"answer\": \"%s\"}\n", i,
                    3 * i,
                    !letter          ? "A"
                    : i % 2          ? letter
                    : *letter == 'B' ? "C"
                                     : "B");
        json_decref(line);
    }
    assert_true(n_right > 0);
    set(recipe, "data.eval", put_file("told.jsonl", rows.text, rows.length));
    assert_ok(um_predictor_evaluate(&e, p, recipe, NULL, NULL, &err), err);
    assert_true(fabs(e.metrics[0].value - (double)n_right / N_ROWS) < 1e-12);
    assert_true(isnan(e.loss)); /* there are no completions now */
    um_str_free(&rows);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

static void test_rows_are_limited(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p = open_tiny("tiny");
    set(recipe, "eval.rows", "5");
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("d.jsonl"), NULL, &err), err);
    assert_int_equal(e.n_rows, 5);
    assert_int_equal(count_lines(in_folder("d.jsonl")), 5);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

/* Stops at a step, or at the n-th answer or batch scored of all evaluations; 0: never. */
struct stops {
    int64_t step, answer, batch;
    int64_t n_answers, n_batches, n_evaluations;
};

static bool on_answering(const struct um_answering *a, void *user)
{
    struct stops *stops = user;
    assert_true(a->n_done >= 1 && a->n_done <= a->n_rows && a->n_rows == N_ROWS);
    if (a->is_scoring)
        return ++stops->n_batches != stops->batch;
    stops->n_answers++;
    return !stops->answer || stops->n_answers < stops->answer;
}

/* An evaluation that is stopped keeps the answers that it had, each as it is in a whole one. */
static void test_stopped_predictions(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    struct stops stops = {.answer = 7};
    const struct um_callbacks callbacks = {.answering = on_answering, .user = &stops};
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p = open_tiny("tiny");
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("whole.jsonl"), NULL, &err), err);
    assert_fails(um_predictor_evaluate(&e, p, recipe, in_folder("some.jsonl"), &callbacks, &err),
                 UM_E_INTERRUPTED, "the evaluation was stopped after 7 of 12 rows", err);
    assert_non_null(strstr(err.hint, "some.jsonl' holds what was predicted until then"));
    assert_int_equal(count_lines(in_folder("some.jsonl")), 7);
    char *whole = read_text(in_folder("whole.jsonl")), *some = read_text(in_folder("some.jsonl"));
    for (char *line = strtok(some, "\n"); line; line = strtok(NULL, "\n"))
        assert_non_null(strstr(whole, line));
    um_free(some);
    um_free(whole);
    /* Stopped before the first answer, it leaves the file alone. */
    stops = (struct stops){.batch = 1};
    assert_fails(um_predictor_evaluate(&e, p, recipe, in_folder("some.jsonl"), &callbacks, &err),
                 UM_E_INTERRUPTED, "stopped after 5 of 12 rows", err);
    assert_int_equal(count_lines(in_folder("some.jsonl")), 7);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

/* The same of a task with a head: batches of rows. */
static void test_stopped_classes(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    struct stops stops = {.batch = 2};
    const struct um_callbacks callbacks = {.answering = on_answering, .user = &stops};
    struct um_recipe *recipe = make_recipe("classification", "unused");
    struct um_predictor *p;
    struct um_str rows = {0};
    um_str_add(&rows, "text\n");
    for (int i = 0; i < N_ROWS; i++)
        um_str_add(&rows, i % 2 ? "baba lo mu\n" : "deba\n");
    set(recipe, "data.eval", put_file("texts.tsv", rows.text, rows.length));
    assert_ok(um_predictor_open(&p, GOLDEN_DIR "/models/bert_cls/model", NULL, &err), err);
    assert_fails(um_predictor_evaluate(&e, p, recipe, in_folder("some.tsv"), &callbacks, &err),
                 UM_E_INTERRUPTED, "the evaluation was stopped after 10 of 12 rows", err);
    assert_int_equal(count_lines(in_folder("some.tsv")), 1 + 10);
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("some.tsv"), NULL, &err), err);
    assert_int_equal(count_lines(in_folder("some.tsv")), 1 + N_ROWS);
    um_str_free(&rows);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

/* What generating does not take, told before anything is computed. */
static void test_odd_generate_options(void **state)
{
    (void)state;
    static const struct {
        struct um_generate_options options;
        const char *message;
    } cases[] = {
        {{.temperature = -1}, "temperature is -1, expected a number from 0 to 1e+06"},
        {{.temperature = (double)NAN}, "temperature is "},
        {{.top_p = 1.5}, "top_p is 1.5, expected a number from 0 to 1"},
        {{.top_k = -2}, "top_k is -2, expected a number from 0 on"},
        {{.repetition_penalty = -1}, "repetition_penalty is -1"},
        {{.system = "be kind"}, "a system message is written by a chat template"},
    };
    struct um_error err;
    struct um_generation out;
    const char *prompt = "a";
    struct um_predictor *p = open_tiny("tiny");
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const struct um_generate_options *o = &cases[i].options;
        assert_fails(um_predictor_generate(&out, p, 1, &prompt, o, NULL, NULL, &err), UM_E_USAGE,
                     cases[i].message, err);
        um_generation_free(&out);
    }
    um_predictor_free(p);
}

static void test_check(void **state)
{
    (void)state;
    struct um_error err;
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p = open_tiny("tiny");
    assert_ok(um_predictor_check(p, recipe, in_folder("none.jsonl"), &err), err);
    assert_false(um_path_exists(in_folder("none.jsonl")));
    set(recipe, "task", "instruct");
    assert_ok(um_predictor_check(p, recipe, NULL, &err), err);
    assert_fails(um_predictor_check(p, recipe, in_folder("none.jsonl"), &err), UM_E_USAGE,
                 "task 'instruct' has no predictions", err);
    set(recipe, "task", "rte");
    assert_fails(um_predictor_check(p, recipe, NULL, &err), UM_E_USAGE, "task 'rte' does not fit",
                 err);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

static void test_loss_only(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e, answers;
    struct um_recipe *recipe = make_recipe("instruct", "unused");
    struct um_predictor *p = open_tiny("tiny");
    assert_ok(um_predictor_evaluate(&e, p, recipe, NULL, NULL, &err), err);
    assert_string_equal(e.metrics[0].name, "perplexity");
    assert_true(fabs(e.metrics[0].value - exp(e.loss)) < 1e-9);
    set(recipe, "task", "svamp");
    assert_ok(um_predictor_evaluate(&answers, p, recipe, NULL, NULL, &err), err);
    assert_true(e.loss == answers.loss);
    set(recipe, "task", "instruct");
    struct stops stops = {.batch = 2};
    const struct um_callbacks callbacks = {.answering = on_answering, .user = &stops};
    assert_fails(um_predictor_evaluate(&e, p, recipe, NULL, &callbacks, &err), UM_E_INTERRUPTED,
                 "the evaluation was stopped after 10 of 12 rows", err);
    assert_fails(um_predictor_evaluate(&e, p, recipe, in_folder("e.jsonl"), NULL, &err), UM_E_USAGE,
                 "task 'instruct' has no predictions", err);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

static void test_bad_data(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p = open_tiny("tiny"), *encoder;
    put_rows("unanswered.jsonl", "");
    set(recipe, "data.eval", in_folder("unanswered.jsonl"));
    assert_fails(um_predictor_evaluate(&e, p, recipe, NULL, NULL, &err), UM_E_INPUT,
                 "no column 'answer'", err);
    const char *text = "{\"instruction\": \"a\", \"answer\": \"5\"}\n"
                       "{\"instruction\": \"a\", \"answer\": \"five\"}\n";
    set(recipe, "data.eval", put_file("words.jsonl", text, strlen(text)));
    assert_fails(um_predictor_evaluate(&e, p, recipe, NULL, NULL, &err), UM_E_INPUT,
                 "words.jsonl:2: answer 'five' has no number", err);
    set(recipe, "task", "rte");
    assert_fails(um_predictor_evaluate(&e, p, recipe, NULL, NULL, &err), UM_E_USAGE,
                 "task 'rte' does not fit: the model has no task head", err);
    set(recipe, "task", "gsm8k");
    assert_ok(um_predictor_open(&encoder, GOLDEN_DIR "/models/bert_cls/model", NULL, &err), err);
    assert_fails(um_predictor_evaluate(&e, encoder, recipe, NULL, NULL, &err), UM_E_USAGE,
                 "which a bert model cannot", err);
    um_predictor_free(encoder);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

static void keep_line(const char *line, void *user)
{
    (void)snprintf(user, 256, "%s", line);
}

/* A question that leaves no room for an answer counts as wrong, and it is said. */
static void test_long_questions(void **state)
{
    (void)state;
    struct um_error err;
    struct um_evaluation e;
    char said[256] = "";
    const struct um_callbacks callbacks = {.message = keep_line, .user = said};
    struct um_recipe *recipe = make_recipe("gsm8k", "unused");
    struct um_predictor *p =
        open_tiny("narrow"); /* 155 tokens; four prompts have 154, the others more */
    assert_ok(um_predictor_evaluate(&e, p, recipe, in_folder("f.jsonl"), &callbacks, &err), err);
    assert_int_equal(e.n_rows, N_ROWS);
    assert_string_equal(said, "8 questions fill the model's context of 155 tokens and count as "
                              "wrong");
    json_t *line = line_of(in_folder("f.jsonl"), N_ROWS - 1);
    assert_string_equal(json_string_value(json_object_get(line, "text")), "");
    assert_true(json_is_null(json_object_get(line, "prediction")));
    assert_true(json_is_false(json_object_get(line, "correct")));
    json_decref(line);
    um_predictor_free(p);
    um_recipe_free(recipe);
}

/* ---- training */


static bool on_progress(const struct um_progress *progress, void *user)
{
    struct stops *stops = user;
    stops->n_evaluations += progress->split != NULL;
    return progress->split || !stops->step || progress->step < stops->step;
}

static enum um_status train(struct um_run *run, struct um_summary *summary)
{
    struct um_error err;
    enum um_status status = um_run_train(summary, run, &err);
    if (status != UM_OK && status != UM_E_INTERRUPTED)
        fail_msg("%s", err.message);
    um_run_free(run);
    return status;
}

/* The evaluations' lines of a run's log. */
static char *evaluations_of(const char *out)
{
    char path[64], *text;
    struct um_str lines = {0};
    (void)snprintf(path, sizeof(path), "%s/metrics.jsonl", out);
    text = read_text(in_folder(path));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strstr(line, "\"split\""))
            um_str_addf(&lines, "%s\n", line);
    um_free(text);
    return lines.text;
}

static void assert_same_run(const char *a, const char *b)
{
    char one[64], other[64];
    char *x = evaluations_of(a), *y = evaluations_of(b);
    assert_string_equal(x, y);
    um_free(x);
    um_free(y);
    (void)snprintf(one, sizeof(one), "%s/delta.safetensors", a);
    (void)snprintf(other, sizeof(other), "%s/delta.safetensors", b);
    struct um_error err;
    struct um_map m, n;
    assert_ok(um_map_open(&m, in_folder(one), &err), err);
    assert_ok(um_map_open(&n, in_folder(other), &err), err);
    assert_int_equal(m.n_bytes, n.n_bytes);
    assert_memory_equal(m.bytes, n.bytes, m.n_bytes);
    um_map_close(&m);
    um_map_close(&n);
}

/* Trains into `out`, stopped as told; then goes on to the end, which must be the run "whole". */
static void assert_goes_on(const char *out, struct stops stops)
{
    struct um_error err;
    struct um_run *run;
    struct um_summary summary;
    struct stops never = {0};
    struct um_callbacks callbacks = {
        .progress = on_progress, .answering = on_answering, .user = &stops};
    struct um_recipe *recipe = make_recipe("gsm8k", out);
    assert_ok(um_run_open(&run, recipe, &callbacks, &err), err);
    assert_int_equal(train(run, &summary), UM_E_INTERRUPTED);
    callbacks.user = &never;
    assert_ok(um_run_resume(&run, in_folder(out), &callbacks, &err), err);
    assert_int_equal(train(run, &summary), UM_OK);
    assert_int_equal(stops.n_evaluations + never.n_evaluations, 3); /* none twice, none left out */
    assert_same_run("whole", out);
    um_recipe_free(recipe);
}

static void test_training(void **state)
{
    (void)state;
    struct um_error err;
    struct um_run *run;
    struct um_plan plan;
    struct um_summary summary;
    struct stops never = {0};
    const struct um_callbacks callbacks = {
        .progress = on_progress, .answering = on_answering, .user = &never};
    struct um_recipe *recipe = make_recipe("gsm8k", "whole");
    assert_ok(um_run_open(&run, recipe, &callbacks, &err), err);
    assert_ok(um_run_plan(&plan, run, &err), err);
    /* 5 texts and what all begin with; 2 layers of keys and values, 2 heads of 4 rows, 4 bytes a
     * token: 128; 64 logits */
    int64_t capacity = (plan.generation_bytes - 5 * 64 * 4) / 6 / 128;
    assert_true(capacity >= 156 + 24 && capacity <= 156 + 24 + 32);
    assert_true(plan.peak_bytes >= plan.generation_bytes + plan.activation_bytes);
    assert_int_equal(train(run, &summary), UM_OK);
    assert_string_equal(summary.metric, "accuracy");
    assert_int_equal(never.n_answers, 3 * N_ROWS); /* before, in the middle, at the end */
    assert_true(isfinite(summary.metric_before) && isfinite(summary.metric_best));
    assert_goes_on("cut-before", (struct stops){.answer = 4});
    assert_goes_on("cut-middle", (struct stops){.answer = N_ROWS + 7});
    assert_goes_on("cut-end", (struct stops){.answer = 2 * N_ROWS + 1});
    assert_goes_on("cut-loss", (struct stops){.batch = 4}); /* of 3 in each */
    assert_goes_on("cut-step", (struct stops){.step = 3}); /* an evaluation is due there */
    assert_goes_on("cut-last", (struct stops){.step = 6});
    um_recipe_free(recipe);
}

static int make_folder(void **state)
{
    if (make_test_folder(state) != 0)
        return -1;
    make_tiny_decoder("tiny", "512");
    make_tiny_decoder("narrow", "155");
    put_rows("rows.jsonl", ".0");
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const runs[] = {"whole",   "cut-before", "cut-middle",
                                       "cut-end", "cut-loss",   "cut-step",   "cut-last"};
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(runs); i++)
        if (um_remove_folder(in_folder(runs[i]), &err) != UM_OK)
            return -1;
    return remove_test_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),      cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_rows_are_limited), cmocka_unit_test(test_loss_only),
        cmocka_unit_test(test_bad_data),         cmocka_unit_test(test_long_questions),
        cmocka_unit_test(test_stopped_predictions),
        cmocka_unit_test(test_stopped_classes),  cmocka_unit_test(test_check),
        cmocka_unit_test(test_training),         cmocka_unit_test(test_odd_generate_options),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
