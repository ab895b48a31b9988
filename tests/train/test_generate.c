/* Going on with texts, against transformers (oracle/make_generation_golden.py); and what must hold
 * of any model: the cache changes nothing, nor do neighbours in a batch, nor the pieces of a
 * stream. */
#include "golden.h"

#include "train/generate.h"

static const char *const names[] = {"llama_tied",
                                    "llama_untied",
                                    "llama_rope_llama3",
                                    "llama_rope_linear",
                                    "llama_rope_yarn",
                                    "mistral_window",
                                    "qwen2",
                                    "qwen3",
                                    "gemma",
                                    "gemma2",
                                    "gemma3",
                                    "gpt2"};

enum { N_PROMPTS = 6, N_NEW = 24, CONTEXT = 64, V = 64 };

struct rig {
    const char *name;
    struct um_model model;
    struct um_engine engine;
    struct um_tokenizer *tokenizer;
    struct um_safetensors golden;
    int32_t ids[256];
    struct um_prompt prompts[N_PROMPTS];
    struct um_generation out[N_PROMPTS];
};

static const int64_t *golden_row(int64_t *n, const struct rig *r, const char *what, int64_t row)
{
    char key[64];
    (void)snprintf(key, sizeof(key), "%s.%s_offsets", r->name, what);
    const struct um_tensor_view *offsets = um_safetensors_find(&r->golden, key);
    key[strlen(key) - strlen("_offsets")] = '\0';
    const struct um_tensor_view *rows = um_safetensors_find(&r->golden, key);
    if (!offsets || !rows)
        fail_msg("the golden file has no '%s'", key);
    const int64_t *starts = (const int64_t *)(const void *)offsets->bytes;
    *n = starts[row + 1] - starts[row];
    return (const int64_t *)(const void *)rows->bytes + starts[row];
}

static void open_rig(struct rig *r, const char *name)
{
    struct um_error err;
    char folder[512];
    const struct um_model_options options = {.dropout = 0};
    int32_t *ids = r->ids;
    *r = (struct rig){.name = name};
    (void)snprintf(folder, sizeof(folder), GOLDEN_DIR "/models/%s/model", name);
    assert_ok(um_model_open(&r->model, folder, &options, &err), err);
    assert_ok(um_engine_open(&r->engine, &r->model, 64, &err), err);
    assert_ok(um_tokenizer_open(&r->tokenizer, GOLDEN_DIR "/generation", &err), err);
    assert_ok(um_safetensors_open(&r->golden, GOLDEN_DIR "/generation/greedy.safetensors", &err),
              err);
    for (int64_t p = 0; p < N_PROMPTS; p++) {
        int64_t n;
        const int64_t *row = golden_row(&n, r, "prompt", p);
        r->prompts[p] = (struct um_prompt){ids, n};
        for (int64_t i = 0; i < n; i++)
            *ids++ = (int32_t)row[i];
    }
}

static void forget(struct rig *r)
{
    for (int p = 0; p < N_PROMPTS; p++)
        um_generation_free(&r->out[p]);
}

static void close_rig(struct rig *r)
{
    forget(r);
    um_safetensors_close(&r->golden);
    um_tokenizer_free(r->tokenizer);
    um_engine_close(&r->engine);
    um_model_close(&r->model);
}

static void generate(struct rig *r, const struct um_generate_options *options, um_text_fn *visit,
                     void *user)
{
    struct um_error err;
    const struct um_generate_job job = {.engine = &r->engine,
                                        .tokenizer = r->tokenizer,
                                        .prompts = r->prompts,
                                        .n = N_PROMPTS,
                                        .options = options,
                                        .visit = visit,
                                        .user = user};
    forget(r);
    assert_ok(um_generate(r->out, &job, &err), err);
}

static void check_greedy(struct rig *r, const char *what, double penalty, int64_t batch)
{
    const struct um_generate_options o = {
        .max_new_tokens = N_NEW, .repetition_penalty = penalty, .batch = batch};
    generate(r, &o, NULL, NULL);
    for (int64_t p = 0; p < N_PROMPTS; p++) {
        int64_t n;
        const int64_t *expected = golden_row(&n, r, what, p);
        const struct um_generation *g = &r->out[p];
        for (int64_t i = 0; i < n && i < g->n_ids; i++)
            if (g->ids[i] != expected[i])
                fail_msg("%s, %s, batch %d: prompt %d goes on with %d at %d, not %d", r->name, what,
                         (int)batch, (int)p, g->ids[i], (int)i, (int)expected[i]);
        assert_int_equal(g->n_ids, n);
        assert_int_equal(g->n_prompt, r->prompts[p].n);
        assert_int_equal(g->stop, expected[n - 1] == 2 ? UM_STOP_END : UM_STOP_LENGTH);
    }
}

static void test_greedy_as_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        open_rig(&r, names[i]);
        for (int64_t batch = 1; batch <= 7; batch += 3) { /* slots of 4 are filled anew */
            check_greedy(&r, "new", 0, batch);
            check_greedy(&r, "varied", 1.5, batch);
        }
        close_rig(&r);
    }
}

/* Prompts that begin alike: the longest with none, none, 1, 2, ... of the tokens that follow it. */
static void check_shared(struct rig *r, int64_t batch)
{
    enum { LONGEST = 4 };
    int32_t ids[CONTEXT];
    int64_t n;
    struct um_prompt own[N_PROMPTS];
    const struct um_generate_options o = {.max_new_tokens = N_NEW - N_PROMPTS, .batch = batch};
    const int64_t *expected = golden_row(&n, r, "new", LONGEST), n_prompt = r->prompts[LONGEST].n;
    assert_in_range(n_prompt, 16, CONTEXT);
    assert_in_range(n, N_PROMPTS, CONTEXT - n_prompt);
    memcpy(ids, r->prompts[LONGEST].ids, (size_t)n_prompt * sizeof(*ids));
    for (int64_t i = 0; i < n; i++)
        ids[n_prompt + i] = (int32_t)expected[i];
    memcpy(own, r->prompts, sizeof(own));
    for (int p = 0; p < N_PROMPTS; p++)
        r->prompts[p] = (struct um_prompt){ids, n_prompt + (p ? p - 1 : 0)};
    generate(r, &o, NULL, NULL);
    for (int p = 0; p < N_PROMPTS; p++) {
        const int32_t *rest = ids + r->prompts[p].n;
        int64_t n_rest = n_prompt + n - r->prompts[p].n;
        assert_true(r->out[p].n_ids == o.max_new_tokens || r->out[p].n_ids == n_rest);
        assert_int_equal(r->out[p].n_prompt, r->prompts[p].n);
        for (int64_t i = 0; i < r->out[p].n_ids; i++)
            if (r->out[p].ids[i] != rest[i])
                fail_msg("%s, batch %d: prompt %d goes on with %d at %d, not %d", r->name,
                         (int)batch, p, r->out[p].ids[i], (int)i, rest[i]);
    }
    memcpy(r->prompts, own, sizeof(own));
}

static void test_shared_beginning(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        open_rig(&r, names[i]);
        for (int64_t batch = 1; batch <= 7; batch += 3)
            check_shared(&r, batch);
        close_rig(&r);
    }
}

/* ---- the cache */

static void full_logits(float *logits, struct rig *r, const int32_t *ids, int64_t n)
{
    struct um_error err;
    struct um_batch batch = {0};
    int32_t columns[CONTEXT];
    for (int32_t i = 0; i < n; i++)
        columns[i] = i;
    assert_ok(um_engine_reserve(&r->engine, 16 << 20, &err), err);
    assert_ok(um_batch_begin(&batch, 1, n, &err), err);
    um_batch_add(&batch, ids, NULL, n, 0, 0);
    assert_ok(um_engine_logits(logits, &r->engine, &batch, columns, n, &err), err);
    um_batch_free(&batch);
}

/* Two texts go on side by side, the second one token at a time; the first in these chunks. */
static void check_chunks(struct rig *r, const float *full[2], const int32_t *ids[2],
                         const int64_t *chunks, size_t n_chunks)
{
    struct um_error err;
    struct um_batch batch = {0};
    struct um_cache cache;
    const struct um_dims *dims = &r->model.dims;
    const int32_t slots[2] = {2, 0};
    float logits[2 * V];
    int64_t at[2] = {0};
    assert_ok(um_cache_open(&cache, dims->L, 3, dims->K * dims->E, CONTEXT, false, &err), err);
    for (size_t c = 0; c < n_chunks; c++) {
        int64_t n[2] = {chunks[c], 1};
        assert_ok(um_batch_begin(&batch, 2, n[0] + n[1], &err), err);
        for (int b = 0; b < 2; b++)
            um_batch_add(&batch, ids[b] + at[b], NULL, n[b], 0, 0);
        assert_ok(um_engine_go_on(logits, &r->engine, &batch, &cache, slots, &err), err);
        for (int b = 0; b < 2; b++) {
            at[b] += n[b];
            assert_int_equal(cache.lengths[slots[b]], at[b]);
            double difference = relative_difference(logits + b * V, full[b] + (at[b] - 1) * V, V);
            if (difference > 1e-5)
                fail_msg("%s: token %d from the cache is off by %g", r->name, (int)at[b],
                         difference);
        }
    }
    um_cache_close(&cache);
    um_batch_free(&batch);
}

static void test_cache_changes_nothing(void **state)
{
    (void)state;
    static const int64_t ones[40] = {[0] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1,       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1,       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int64_t some[] = {1, 5, 1, 1, 20, 3, 2, 17}, first[] = {30, 1, 1, 1, 8};
    static float full[2][CONTEXT * V];
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        open_rig(&r, names[i]);
        const int32_t *ids[2] = {r.prompts[4].ids, r.ids};
        const float *expected[2] = {full[0], full[1]};
        full_logits(full[0], &r, ids[0], 50);
        full_logits(full[1], &r, ids[1], 40);
        check_chunks(&r, expected, ids, ones, UM_COUNT(ones));
        check_chunks(&r, expected, ids, some, UM_COUNT(some));
        check_chunks(&r, expected, ids, first, UM_COUNT(first));
        close_rig(&r);
    }
}

/* ---- chance */

static void keep_ids(int32_t ids[N_PROMPTS][CONTEXT], const struct rig *r)
{
    memset(ids, 0, sizeof(int32_t[N_PROMPTS][CONTEXT]));
    for (int p = 0; p < N_PROMPTS; p++)
        memcpy(ids[p], r->out[p].ids, (size_t)r->out[p].n_ids * sizeof(**ids));
}

static void test_chance_is_of_seed_and_prompt(void **state)
{
    (void)state;
    struct rig r;
    int32_t alone[N_PROMPTS][CONTEXT], again[N_PROMPTS][CONTEXT];
    struct um_generate_options o = {
        .max_new_tokens = N_NEW, .temperature = 0.9, .top_p = 0.95, .seed = 7, .batch = 1};
    open_rig(&r, "qwen2");
    generate(&r, &o, NULL, NULL);
    keep_ids(alone, &r);
    for (o.batch = 1; o.batch <= 8; o.batch++) {
        generate(&r, &o, NULL, NULL);
        keep_ids(again, &r);
        assert_memory_equal(alone, again, sizeof(alone));
    }
    o.seed = 8;
    generate(&r, &o, NULL, NULL);
    keep_ids(again, &r);
    for (int p = 0; p < N_PROMPTS; p++)
        assert_memory_not_equal(alone[p], again[p], sizeof(alone[p]));
    close_rig(&r);
}

/* ---- text */

struct stream {
    struct um_str texts[N_PROMPTS];
    size_t limit; /* bytes after which the caller has enough; 0: none */
};

static bool take(int64_t index, const char *text, size_t n, void *user)
{
    struct stream *s = user;
    assert_in_range(index, 0, N_PROMPTS - 1);
    assert_true(n > 0 && um_utf8_valid(text, n) == n); /* whole characters */
    um_str_add_n(&s->texts[index], text, n);
    return s->limit == 0 || s->texts[index].length < s->limit;
}

static void free_stream(struct stream *s)
{
    for (int p = 0; p < N_PROMPTS; p++)
        um_str_free(&s->texts[p]);
}

static void check_stream(const struct rig *r, const struct stream *s)
{
    for (int p = 0; p < N_PROMPTS; p++) {
        assert_int_equal(r->out[p].n_text, s->texts[p].length);
        if (r->out[p].n_text)
            assert_memory_equal(r->out[p].text, s->texts[p].text, r->out[p].n_text);
    }
}

static void test_stream_is_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct rig r;
        struct stream s = {0};
        const struct um_generate_options o = {
            .max_new_tokens = N_NEW, .temperature = 2, .seed = i, .batch = 3};
        open_rig(&r, names[i]);
        generate(&r, &o, take, &s);
        check_stream(&r, &s);
        free_stream(&s);
        close_rig(&r);
    }
}

/* Stops at texts that begin within one token and end within a later one. */
static void test_stop_texts_across_tokens(void **state)
{
    (void)state;
    struct rig r;
    char whole[N_PROMPTS][256];
    struct um_generate_options o = {
        .max_new_tokens = N_NEW, .temperature = 1, .seed = 3, .batch = 2};
    open_rig(&r, "llama_rope_llama3");
    generate(&r, &o, NULL, NULL);
    for (int p = 0; p < N_PROMPTS; p++)
        (void)snprintf(whole[p], sizeof(whole[p]), "%s", r.out[p].text);
    assert_true(strlen(whole[0]) > 12);
    for (size_t n = 1; n < 6; n++) {
        char stop[8];
        const char *const stops[] = {"no such text", stop};
        struct stream s = {0};
        memcpy(stop, whole[0] + 5, n);
        stop[n] = '\0';
        o.stops = stops;
        o.n_stops = 2;
        generate(&r, &o, take, &s);
        check_stream(&r, &s);
        for (int p = 0; p < N_PROMPTS; p++) {
            const char *place = strstr(whole[p], stop);
            size_t length = place ? (size_t)(place - whole[p]) : strlen(whole[p]);
            assert_int_equal(r.out[p].n_text, length);
            assert_memory_equal(r.out[p].text, whole[p], length);
            assert_int_equal(r.out[p].stop == UM_STOP_TEXT, place != NULL);
        }
        free_stream(&s);
    }
    close_rig(&r);
}

static void test_caller_ends_a_text(void **state)
{
    (void)state;
    struct rig r;
    struct stream s = {.limit = 4};
    const struct um_generate_options o = {.max_new_tokens = N_NEW, .batch = 2};
    open_rig(&r, "gpt2");
    generate(&r, &o, take, &s);
    check_stream(&r, &s);
    assert_int_equal(r.out[0].stop, UM_STOP_CALLER);
    assert_true(r.out[0].n_ids < N_NEW && r.out[0].n_text >= 4);
    free_stream(&s);
    close_rig(&r);
}

/* ---- limits */

static void test_no_limit_but_the_context(void **state)
{
    (void)state;
    struct rig r;
    const struct um_generate_options o = {.batch = 4};
    open_rig(&r, "llama_tied"); /* says the same again and again */
    generate(&r, &o, NULL, NULL);
    for (int p = 0; p < N_PROMPTS; p++) {
        assert_int_equal(r.out[p].n_prompt + r.out[p].n_ids, CONTEXT);
        assert_int_equal(r.out[p].stop, UM_STOP_LENGTH);
    }
    close_rig(&r);
}

static void test_prompts_that_do_not_fit(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    int32_t ids[CONTEXT] = {0};
    struct um_generation out[2];
    struct um_prompt prompts[2] = {{ids, 3}, {ids, CONTEXT - 1}};
    const struct um_generate_options o = {.max_new_tokens = 5, .batch = 2};
    open_rig(&r, "llama_tied");
    r.engine.objective = UM_OBJECTIVE_TOKEN;
    r.engine.seed = 5;
    const struct um_generate_job job = {
        .engine = &r.engine, .tokenizer = r.tokenizer, .prompts = prompts, .n = 2, .options = &o};
    assert_ok(um_generate(out, &job, &err), err);
    assert_int_equal(out[0].n_ids, 5);
    assert_int_equal(out[1].n_ids, 1);
    um_generation_free(&out[0]);
    um_generation_free(&out[1]);
    /* The engine may serve training: its settings stay. */
    assert_true(r.engine.objective == UM_OBJECTIVE_TOKEN && r.engine.seed == 5);
    prompts[1].n = CONTEXT;
    assert_fails(um_generate(out, &job, &err), UM_E_INPUT, "prompt 2 has 64 tokens", err);
    prompts[1].n = 0;
    assert_fails(um_generate(out, &job, &err), UM_E_INPUT, "prompt 2 has 0 tokens", err);
    close_rig(&r);
}

/* Gives a model of tied embeddings a vocabulary of `n`, all of its weights 0; returns the old
 * ones. */
static struct um_param widen(struct rig *r, int64_t n)
{
    struct um_param *w = um_model_vocabulary(&r->model), old = *w;
    w->rows = r->model.dims.V = n;
    w->n_elements = n * w->cols;
    w->values = UM_NEW(w->n_elements, float);
    assert_non_null(w->values);
    return old;
}

/* Many rows of logits need more than a few long prompts: one text is long and all others are short,
 * or all are long alike. */
static void test_many_texts_at_a_time(void **state)
{
    (void)state;
    enum { N = 128, N_WORDS = 40000 };
    struct rig r;
    struct um_error err;
    int32_t ids[CONTEXT] = {0};
    struct um_generation out[N];
    struct um_prompt prompts[N];
    const struct um_generate_options o = {.max_new_tokens = 2, .batch = N};
    open_rig(&r, "llama_tied");
    const struct um_generate_job job = {.engine = &r.engine, .tokenizer = r.tokenizer,
                                        .prompts = prompts, .n = N, .options = &o};
    struct um_param *w = um_model_vocabulary(&r.model), old = widen(&r, N_WORDS);
    for (int is_shared = 0; is_shared < 2; is_shared++) {
        struct um_generate_need need;
        um_engine_close(&r.engine);
        assert_ok(um_engine_open(&r.engine, &r.model, 64, &err), err);
        for (int i = 0; i < N; i++)
            prompts[i] = (struct um_prompt){ids, i == 0 || is_shared ? CONTEXT - 4 : 2};
        assert_ok(um_generate_plan(&need, &job, &err), err);
        assert_true(need.pool_bytes >= (size_t)N * N_WORDS * sizeof(float));
        assert_ok(um_generate(out, &job, &err), err);
        assert_true(r.engine.pool.peak_bytes <= 2 * need.pool_bytes);
        for (int i = 0; i < N; i++)
            um_generation_free(&out[i]);
    }
    um_free(w->values);
    r.model.dims.V = old.rows;
    *w = old;
    close_rig(&r);
}

static void test_weights_that_are_no_numbers(void **state)
{
    (void)state;
    struct rig r;
    struct um_error err;
    const struct um_generate_options o = {.max_new_tokens = 5};
    open_rig(&r, "llama_untied");
    const struct um_generate_job job = {
        .engine = &r.engine, .tokenizer = r.tokenizer, .prompts = r.prompts, .n = 1, .options = &o};
    um_model_vocabulary(&r.model)->values[7] = NAN;
    assert_fails(um_generate(r.out, &job, &err), UM_E_INPUT, "not finite", err);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_as_transformers),
        cmocka_unit_test(test_shared_beginning),
        cmocka_unit_test(test_cache_changes_nothing),
        cmocka_unit_test(test_chance_is_of_seed_and_prompt),
        cmocka_unit_test(test_stream_is_the_text),
        cmocka_unit_test(test_stop_texts_across_tokens),
        cmocka_unit_test(test_caller_ends_a_text),
        cmocka_unit_test(test_no_limit_but_the_context),
        cmocka_unit_test(test_prompts_that_do_not_fit),
        cmocka_unit_test(test_many_texts_at_a_time),
        cmocka_unit_test(test_weights_that_are_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
