/* Merging decoders: from a folder or a GGUF file into either. What was written, opened as any other
 * model, gives the logits of base + delta; types round as they should; nothing is lost silently. */
#include "folder.h"
#include "golden.h"
#include "limited_merge.h"
#include "made_delta.h"

#include "text/gguf_vocabulary.h"

static const char *const names[] = {"llama_tied",      "llama_untied",   "llama_rope_llama3",
                                    "llama_rope_linear", "llama_rope_yarn", "mistral_window",
                                    "qwen2",           "qwen3",          "gemma",
                                    "gemma2",          "gemma3",         "gpt2"};

static const struct um_merge_options as_gguf = {.format = "gguf"};

/* ---- a golden model as a folder of the test's own */

/* GGUF takes some of Gemma's settings for given, and knows no window of Mistral's. */
static void make_sayable(json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    json_int_t size = json_integer_value(json_object_get(config, "head_dim"));
    if (strcmp(type, "mistral") == 0)
        (void)json_object_set_new(config, "sliding_window", json_null());
    if (json_object_get(config, "query_pre_attn_scalar"))
        (void)json_object_set_new(config, "query_pre_attn_scalar", json_integer(size));
    if (strcmp(type, "gemma3_text") == 0)
        (void)json_object_set_new(config, "layer_types",
                                  json_pack("[s, s, s]", "sliding_attention", "sliding_attention",
                                            "sliding_attention"));
}

static const char *copy_model(const char *name, bool is_sayable)
{
    struct um_error err;
    char from[512], to[512], file[600];
    json_t *config;
    (void)snprintf(from, sizeof(from), GOLDEN_DIR "/models/%s/model", name);
    (void)snprintf(to, sizeof(to), "%s", in_folder(name));
    assert_ok(um_remove_folder(to, &err), err);
    assert_ok(um_make_folder(to, &err), err);
    (void)snprintf(file, sizeof(file), "%s/config.json", from);
    assert_ok(um_json_load(&config, file, &err), err);
    if (is_sayable)
        make_sayable(config);
    (void)snprintf(file, sizeof(file), "%s/config.json", to);
    assert_ok(um_json_save(file, config, &err), err);
    json_decref(config);
    (void)snprintf(file, sizeof(file), "%s/model.safetensors", to);
    (void)snprintf(from, sizeof(from), GOLDEN_DIR "/models/%s/model/model.safetensors", name);
    assert_ok(um_file_copy(file, from, &err), err);
    (void)snprintf(file, sizeof(file), "%s/tokenizer.json", to);
    assert_ok(um_file_copy(file, GOLDEN_DIR "/generation/tokenizer.json", &err), err);
    return in_folder(name);
}

/* Makes and saves a delta of the model; returns its path. */
static const char *save_delta(const char *model, uint64_t seed)
{
    struct um_error err;
    struct um_folder base;
    struct um_delta made;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s", in_folder("made.safetensors"));
    assert_ok(um_folder_open(&base, model, &err), err);
    make_delta(&made, &base, seed);
    const char *const class = json_string_value(
        json_array_get(json_object_get(base.config, "architectures"), 0));
    made.task_class = class ? class : "";
    made.n_labels = 0;
    for (size_t e = 0; e < made.n_entries; e++) /* small enough for logits to stay sound */
        for (int64_t i = 0; i < made.entries[e].n; i++)
            ((float *)(uintptr_t)made.entries[e].value)[i] *= 0.125F;
    assert_ok(um_delta_save(&made, path, &err), err);
    um_arena_free(&made.arena);
    um_folder_close(&base);
    return in_folder("made.safetensors");
}

/* ---- logits */

enum { LOGITS_MAX = 16 * 64 };

/* Of the golden batch, by the model with a delta (or NULL) over it. */
static int64_t logits_of(float logits[LOGITS_MAX], const char *golden, const char *path,
                         const char *delta_path)
{
    struct golden g;
    struct um_model model;
    struct um_engine engine;
    struct um_delta *delta = NULL;
    struct um_error err;
    int32_t columns[16];
    const struct um_model_options options = {.dropout = 0};
    golden_open(&g, golden);
    assert_ok(um_model_open(&model, path, &options, &err), err);
    if (delta_path)
        assert_ok(um_delta_open(&delta, delta_path, &err), err);
    for (size_t e = 0; delta && e < delta->n_entries; e++) {
        struct um_param *param = um_model_find_param(&model, delta->entries[e].name);
        if (param)
            um_delta_apply(param->values, &delta->entries[e]);
    }
    assert_ok(um_engine_open(&engine, &model, 64 << 20, &err), err);
    engine.objective = UM_OBJECTIVE_TOKEN;
    int64_t n = golden_tensor(&g, "logit_positions")->n_elements;
    for (int64_t i = 0; i < n; i++)
        columns[i] = (int32_t)golden_ints(&g, "logit_positions")[i];
    assert_ok(um_engine_logits(logits, &engine, &g.batch, columns, n, &err), err);
    int64_t n_logits = n * model.dims.V;
    um_engine_close(&engine);
    um_model_close(&model);
    um_delta_free(delta);
    golden_close(&g);
    return n_logits;
}

static void assert_same_logits(const char *golden, const char *merged, const char *base,
                               const char *delta)
{
    float expected[LOGITS_MAX], found[LOGITS_MAX];
    int64_t n = logits_of(expected, golden, base, delta);
    assert_int_equal(logits_of(found, golden, merged, NULL), n);
    double d = relative_difference(found, expected, n);
    if (!(d < 1e-6))
        fail_msg("%s: '%s' differs from base + delta by %g", golden, merged, d);
}

/* The path of NAME + end, kept by the caller. */
static const char *path_of(char path[512], const char *name, const char *end)
{
    char file[128];
    struct um_error err;
    (void)snprintf(file, sizeof(file), "%s%s", name, end);
    (void)snprintf(path, 512, "%s", in_folder(file));
    if (um_path_is_folder(path))
        assert_ok(um_remove_folder(path, &err), err);
    (void)remove(path);
    return path;
}

static void assert_diff_is(const char *base, const char *merged, const char *delta_path)
{
    struct um_delta *delta, *back;
    struct um_delta_info info;
    struct um_error err;
    char diff[512];
    (void)path_of(diff, "diff", ".safetensors");
    assert_ok(um_delta_diff(&info, base, merged, diff, &err), err);
    assert_ok(um_delta_open(&delta, delta_path, &err), err);
    assert_ok(um_delta_open(&back, diff, &err), err);
    assert_same_entries(delta, back);
    um_delta_free(delta);
    um_delta_free(back);
}

/* ---- every architecture, every way */

static void test_folder_to_folder(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct um_merge_report report;
        struct um_error err;
        struct um_folder base, merged;
        char model[512], out[512];
        (void)snprintf(model, sizeof(model), "%s", copy_model(names[i], false));
        const char *delta = save_delta(model, i);
        (void)path_of(out, names[i], "_merged");
        assert_ok(um_delta_merge(&report, model, delta, out, NULL, &err), err);
        assert_true(report.is_verified && !report.is_gguf && report.n_rounded == 0);
        assert_same_logits(names[i], out, model, delta);
        assert_diff_is(model, out, delta);
        assert_ok(um_folder_open(&base, model, &err), err);
        assert_ok(um_folder_open(&merged, out, &err), err);
        assert_true(json_equal(base.config, merged.config));
        assert_int_equal(base.shards[0].n_tensors, merged.shards[0].n_tensors);
        um_folder_close(&base);
        um_folder_close(&merged);
    }
}

static void test_folder_to_gguf_and_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct um_merge_report report;
        struct um_error err;
        char model[512], gguf[512], again[512], folder[512];
        (void)snprintf(model, sizeof(model), "%s", copy_model(names[i], true));
        const char *delta = save_delta(model, 100 + i);
        (void)path_of(gguf, names[i], ".gguf");
        assert_ok(um_delta_merge(&report, model, delta, gguf, NULL, &err), err);
        assert_true(report.is_verified && report.is_gguf);
        assert_string_equal(report.note, "");
        assert_same_logits(names[i], gguf, model, delta);
        /* with another delta, made of the GGUF file */
        delta = save_delta(gguf, 200 + i);
        (void)path_of(again, names[i], "_again.gguf");
        assert_ok(um_delta_merge(&report, gguf, delta, again, NULL, &err), err);
        assert_true(report.n_untouched > 0 && report.n_rounded == 0);
        assert_same_logits(names[i], again, gguf, delta);
        assert_diff_is(gguf, again, delta);
        (void)path_of(folder, names[i], "_folder");
        assert_ok(um_delta_merge(&report, gguf, delta, folder, NULL, &err), err);
        assert_true(report.is_verified);
        assert_string_equal(report.note, "");
        assert_same_logits(names[i], folder, gguf, delta);
    }
}

/* A folder, a GGUF file of it, a folder of that: what went in comes out. */
static void test_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        struct um_merge_report report;
        struct um_delta_info info;
        struct um_error err;
        struct um_folder before, after;
        const struct um_tensor_view *view;
        char model[512], gguf[512], folder[512], none[512];
        (void)snprintf(model, sizeof(model), "%s", copy_model(names[i], true));
        (void)path_of(none, "none", ".safetensors");
        assert_ok(um_delta_diff(&info, model, model, none, &err), err);
        (void)path_of(gguf, names[i], ".gguf");
        assert_ok(um_delta_merge(&report, model, none, gguf, NULL, &err), err);
        assert_int_equal(report.n_changed, 0);
        assert_ok(um_delta_diff(&info, gguf, gguf, none, &err), err);
        (void)path_of(folder, names[i], "_back");
        assert_ok(um_delta_merge(&report, gguf, none, folder, NULL, &err), err);
        assert_ok(um_folder_open(&before, model, &err), err);
        assert_ok(um_folder_open(&after, folder, &err), err);
        bool is_gemma = strncmp(names[i], "gemma", 5) == 0;
        for (size_t t = 0; (view = um_folder_tensor(&before, t)); t++) {
            const struct um_tensor_view *there = um_folder_find(&after, view->name);
            assert_non_null(there);
            assert_int_equal(there->n_bytes, view->n_bytes);
            if (is_gemma && view->n_dims == 1) /* 1 + w - 1 rounds */
                assert_true(relative_difference((const float *)(const void *)there->bytes,
                                                (const float *)(const void *)view->bytes,
                                                view->n_elements) < 1e-5);
            else
                assert_memory_equal(there->bytes, view->bytes, view->n_bytes);
        }
        const json_t *class = json_object_get(after.config, "architectures");
        if (strcmp(names[i], "mistral_window") == 0) /* GGUF files call it llama, which it is now */
            assert_string_equal(json_string_value(json_array_get(class, 0)), "LlamaForCausalLM");
        else
            assert_true(json_equal(class, json_object_get(before.config, "architectures")));
        um_folder_close(&before);
        um_folder_close(&after);
    }
}

static void test_tokenizer_goes_along(void **state)
{
    (void)state;
    static const char text[] = "the cat, the hat? 12 caf\xc3\xa9s\nand more!";
    struct um_merge_report report;
    struct um_delta_info info;
    struct um_error err;
    char model[512], gguf[512], folder[512], none[512];
    (void)snprintf(model, sizeof(model), "%s", copy_model("llama_tied", true));
    (void)path_of(none, "none", ".safetensors");
    assert_ok(um_delta_diff(&info, model, model, none, &err), err);
    assert_ok(um_delta_merge(&report, model, none, path_of(gguf, "words", ".gguf"), NULL, &err),
              err);
    assert_ok(um_delta_diff(&info, gguf, gguf, none, &err), err);
    assert_ok(um_delta_merge(&report, gguf, none, path_of(folder, "words", ""), NULL, &err), err);
    struct um_tokenizer *tokenizers[2];
    struct um_tokens tokens[2] = {0};
    assert_ok(um_tokenizer_open(&tokenizers[0], model, &err), err);
    assert_ok(um_tokenizer_open(&tokenizers[1], folder, &err), err);
    for (size_t i = 0; i < 2; i++)
        assert_ok(um_tokenizer_encode(&tokens[i], tokenizers[i], text, strlen(text), NULL, 0, false,
                                      0, &err),
                  err);
    assert_true(tokens[0].n > 10);
    assert_int_equal(tokens[0].n, tokens[1].n);
    assert_memory_equal(tokens[0].ids, tokens[1].ids, tokens[0].n * sizeof(int32_t));
    for (size_t i = 0; i < 2; i++) {
        um_tokens_free(&tokens[i]);
        um_tokenizer_free(tokenizers[i]);
    }
}

/* A head that stands there twice is written once, and its copy is not what counts. */
static void test_tied_head_is_written_once(void **state)
{
    (void)state;
    struct um_merge_report report;
    struct um_error err;
    struct um_folder base, merged;
    struct um_safetensors_writer w;
    char model[512], out[512], file[600];
    const struct um_tensor_view *view;
    (void)snprintf(model, sizeof(model), "%s", copy_model("llama_tied", false));
    assert_ok(um_folder_open(&base, model, &err), err);
    assert_ok(um_safetensors_create(&w, &err), err);
    for (size_t t = 0; (view = um_folder_tensor(&base, t)); t++)
        um_safetensors_declare(&w, view->name, view->dtype, view->n_dims, view->dims);
    const struct um_tensor_view *words = um_folder_find(&base, "model.embed_tokens.weight");
    um_safetensors_declare(&w, "lm_head.weight", UM_F32, 2, words->dims);
    (void)snprintf(file, sizeof(file), "%s/new", model);
    assert_ok(um_safetensors_begin(&w, file, &err), err);
    for (size_t t = 0; (view = um_folder_tensor(&base, t)); t++)
        assert_ok(um_safetensors_put(&w, view->bytes, view->n_bytes, &err), err);
    assert_ok(um_safetensors_put(&w, words->bytes, words->n_bytes, &err), err);
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_folder_close(&base);
    assert_int_equal(rename(file, in_folder("llama_tied/model.safetensors")), 0);
    struct um_delta_info info;
    char none[512];
    (void)path_of(none, "none", ".safetensors");
    assert_ok(um_delta_diff(&info, model, model, none, &err), err);
    (void)path_of(out, "once", "");
    assert_ok(um_delta_merge(&report, model, none, out, NULL, &err), err);
    assert_ok(um_folder_open(&merged, out, &err), err);
    assert_null(um_folder_find(&merged, "lm_head.weight"));
    um_folder_close(&merged);
    (void)path_of(out, "once", ".gguf");
    assert_ok(um_delta_merge(&report, model, none, out, NULL, &err), err);
    assert_ok(um_folder_open(&merged, out, &err), err);
    assert_null(um_gguf_find(merged.gguf, "output.weight"));
    um_folder_close(&merged);
}

/* ---- types */

/* Every value of a merged matrix is the rounding of base + delta. */
static void assert_rounded(const char *model, const char *delta_path, const char *merged,
                           const char *name, enum um_dtype dtype)
{
    struct um_folder base, there;
    struct um_delta *delta;
    struct um_error err;
    assert_ok(um_folder_open(&base, model, &err), err);
    assert_ok(um_folder_open(&there, merged, &err), err);
    assert_ok(um_delta_open(&delta, delta_path, &err), err);
    const struct um_tensor_view *from = um_folder_find(&base, name);
    const struct um_tensor_view *to = um_folder_find(&there, name);
    float *values = UM_NEW(from->n_elements, float);
    unsigned char *bytes = um_alloc((size_t)from->n_elements * sizeof(float));
    assert_true(values && bytes);
    um_to_f32(values, from->bytes, from->dtype, from->n_elements);
    for (size_t e = 0; e < delta->n_entries; e++)
        if (strcmp(delta->entries[e].name, name) == 0)
            um_delta_apply(values, &delta->entries[e]);
    assert_int_equal(to->dtype, dtype);
    um_from_f32(bytes, values, dtype, from->n_elements);
    assert_memory_equal(to->bytes, bytes, to->n_bytes);
    um_free(values);
    um_free(bytes);
    um_delta_free(delta);
    um_folder_close(&base);
    um_folder_close(&there);
}

static void test_types_of_a_folder(void **state)
{
    (void)state;
    static const enum um_dtype types[] = {UM_F32, UM_F16, UM_BF16};
    char model[512], out[512];
    struct um_merge_report report;
    struct um_error err;
    (void)snprintf(model, sizeof(model), "%s", copy_model("qwen3", true));
    const char *delta = save_delta(model, 7);
    for (size_t i = 0; i < UM_COUNT(types); i++) {
        const struct um_merge_options folder = {.type = um_dtype_name(types[i])};
        const struct um_merge_options gguf = {.type = um_dtype_name(types[i]), .format = "gguf"};
        (void)path_of(out, "typed", "");
        assert_ok(um_delta_merge(&report, model, delta, out, &folder, &err), err);
        assert_true(report.is_verified && (report.n_rounded > 0) == (types[i] != UM_F32));
        assert_rounded(model, delta, out, "model.layers.0.mlp.up_proj.weight", types[i]);
        (void)path_of(out, "typed", "");
        assert_ok(um_delta_merge(&report, model, delta, out, &gguf, &err), err);
        assert_true(report.is_verified && (report.n_rounded > 0) == (types[i] != UM_F32));
        assert_rounded(model, delta, out, "model.layers.0.mlp.up_proj.weight", types[i]);
        assert_rounded(model, delta, out, "model.norm.weight", UM_F32);
    }
    const struct um_merge_options odd = {.type = "q8_0"};
    (void)path_of(out, "odd", ".gguf");
    assert_ok(um_delta_merge(&report, model, delta, out, &odd, &err), err);
    assert_non_null(strstr(report.note, "their rows are no multiple of 32"));
    assert_rounded(model, delta, out, "model.layers.0.mlp.up_proj.weight", UM_F16);
}

/* A LLaMA of one layer whose matrices are of a quantised type, by random blocks. */
static const char *put_quantised(const char *name, enum um_dtype dtype)
{
    static const struct {
        const char *name;
        int64_t rows; /* 0: a vector of 64 F32 */
    } tensors[] = {{"token_embd.weight", 40},         {"output_norm.weight", 0},
                   {"blk.0.attn_norm.weight", 0},     {"blk.0.ffn_norm.weight", 0},
                   {"blk.0.attn_q.weight", 64},       {"blk.0.attn_k.weight", 32},
                   {"blk.0.attn_v.weight", 32},       {"blk.0.attn_output.weight", 64},
                   {"blk.0.ffn_gate.weight", 64},     {"blk.0.ffn_up.weight", 64},
                   {"blk.0.ffn_down.weight", 64}};
    static const struct {
        const char *key;
        uint32_t value;
    } settings[] = {{"llama.context_length", 64},       {"llama.embedding_length", 64},
                    {"llama.block_count", 1},           {"llama.feed_forward_length", 64},
                    {"llama.attention.head_count", 4},  {"llama.attention.head_count_kv", 2}};
    struct um_random random = {.seed = 5};
    struct um_gguf_writer w;
    struct um_error err;
    float values[64 * 64];
    unsigned char bytes[sizeof(values)];
    const char *path = in_folder(name);
    assert_ok(um_gguf_create(&w, &err), err);
    um_gguf_declare_text(&w, "general.architecture", "llama", 5);
    for (size_t i = 0; i < UM_COUNT(settings); i++)
        um_gguf_declare_u32(&w, settings[i].key, settings[i].value);
    um_gguf_declare_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    for (size_t i = 0; i < UM_COUNT(tensors); i++) {
        const int64_t dims[] = {tensors[i].rows ? tensors[i].rows : 64, 64};
        um_gguf_declare(&w, tensors[i].name, tensors[i].rows ? dtype : UM_F32,
                        tensors[i].rows ? 2 : 1, dims);
    }
    assert_ok(um_gguf_begin(&w, path, &err), err);
    for (size_t i = 0; i < UM_COUNT(tensors); i++) {
        int64_t n = tensors[i].rows ? tensors[i].rows * 64 : 64;
        size_t n_bytes = um_dtype_size(tensors[i].rows ? dtype : UM_F32, n);
        for (int64_t k = 0; k < n; k++)
            values[k] = (float)um_random_normal(&random);
        if (!tensors[i].rows || dtype == UM_Q8_0) {
            um_from_f32(bytes, values, tensors[i].rows ? dtype : UM_F32, n);
        } else {
            size_t block = um_dtype_bytes(dtype);
            for (size_t b = 0; b < n_bytes; b++) /* the scales: sound fp16 numbers */
                bytes[b] = b % block < 4 ? (b % 2 ? 0x20 : (unsigned char)b)
                                         : (unsigned char)um_random_below(&random, 256);
        }
        assert_ok(um_gguf_put(&w, bytes, n_bytes, &err), err);
    }
    assert_ok(um_gguf_commit(&w, &err), err);
    return path;
}

static void test_quantised_base(void **state)
{
    (void)state;
    static const char touched[] = "model.layers.0.mlp.gate_proj.weight"; /* the ninth: sparse */
    static const char untouched[] = "model.layers.0.self_attn.v_proj.weight";
    static const struct {
        const char *type;
        enum um_dtype dtype;
    } cases[] = {{NULL, UM_F16}, {"f32", UM_F32}, {"f16", UM_F16}, {"bf16", UM_BF16},
                 {"q8_0", UM_Q8_0}};
    char model[512], out[512];
    struct um_merge_report report;
    struct um_error err;
    (void)snprintf(model, sizeof(model), "%s", put_quantised("q4.gguf", UM_Q4_1));
    struct um_folder base, merged;
    struct um_delta made;
    assert_ok(um_folder_open(&base, model, &err), err);
    make_delta(&made, &base, 3);
    made.n_entries = 0; /* two of the tensors only, so that the others stay */
    struct um_random random = {.seed = 1};
    make_sparse(&made, &random, um_folder_find(&base, touched));
    make_sparse(&made, &random, um_folder_find(&base, "model.norm.weight"));
    char hash[UM_SHA256_TEXT];
    assert_ok(um_delta_hash(hash, &made, &base, &err), err);
    made.base_sha256 = hash;
    made.task_class = "LlamaForCausalLM";
    const char *delta = in_folder("q4.safetensors");
    assert_ok(um_delta_save(&made, delta, &err), err);
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const struct um_merge_options options = {.type = cases[i].type};
        (void)path_of(out, "q4_merged", ".gguf");
        assert_ok(um_delta_merge(&report, model, delta, out, &options, &err), err);
        assert_true(report.is_verified);
        assert_non_null(strstr(report.note, um_dtype_name(cases[i].dtype)));
        assert_int_equal(report.n_untouched, 9);
        assert_rounded(model, delta, out, touched, cases[i].dtype);
        assert_ok(um_folder_open(&merged, out, &err), err);
        const struct um_tensor_view *kept = um_folder_find(&base, untouched);
        assert_int_equal(um_folder_find(&merged, untouched)->dtype, UM_Q4_1);
        assert_memory_equal(um_folder_find(&merged, untouched)->bytes, kept->bytes, kept->n_bytes);
        assert_int_equal(merged.gguf->n_pairs, base.gguf->n_pairs);
        um_folder_close(&merged);
        if (cases[i].dtype == UM_F32) {
            assert_int_equal(report.n_rounded, 0);
            assert_int_equal(report.n_changed, made.entries[0].n + made.entries[1].n);
            assert_diff_is(model, out, delta);
        }
    }
    (void)path_of(out, "q4_folder", "");
    assert_ok(um_delta_merge(&report, model, delta, out, NULL, &err), err);
    assert_int_equal(report.n_changed, made.entries[0].n + made.entries[1].n);
    assert_rounded(model, delta, out, touched, UM_F32);
    um_arena_free(&made.arena);
    um_folder_close(&base);
}

/* Blocks of Q8_0 that the delta does not touch stay as they are. */
static void test_q8_0_in_place(void **state)
{
    (void)state;
    static const struct um_merge_options options = {.type = "q8_0"};
    char model[512], out[512];
    struct um_merge_report report;
    struct um_error err;
    struct um_folder base, merged;
    struct um_delta *delta;
    (void)snprintf(model, sizeof(model), "%s", put_quantised("q8.gguf", UM_Q8_0));
    const char *path = save_delta(model, 11);
    (void)path_of(out, "q8_merged", ".gguf");
    assert_ok(um_delta_merge(&report, model, path, out, &options, &err), err);
    assert_string_equal(report.note, "");
    assert_ok(um_folder_open(&base, model, &err), err);
    assert_ok(um_folder_open(&merged, out, &err), err);
    assert_ok(um_delta_open(&delta, path, &err), err);
    for (size_t e = 0; e < delta->n_entries; e++) {
        const struct um_delta_entry *entry = &delta->entries[e];
        const struct um_tensor_view *from = um_folder_find(&base, entry->name);
        const struct um_tensor_view *to = um_folder_find(&merged, entry->name);
        assert_int_equal(to->dtype, from->dtype);
        for (int64_t block = 0, k = 0; !entry->is_whole && from->dtype == UM_Q8_0 &&
                                       block < from->n_elements / 32; block++) {
            bool is_touched = k < entry->n && entry->index[k] / 32 == block;
            while (k < entry->n && entry->index[k] / 32 == block)
                k++;
            if (!is_touched)
                assert_memory_equal(from->bytes + block * 34, to->bytes + block * 34, 34);
        }
    }
    um_delta_free(delta);
    um_folder_close(&base);
    um_folder_close(&merged);
}

/* ---- what cannot be */

static void test_what_cannot_be_said_is_refused(void **state)
{
    (void)state;
    struct um_merge_report report;
    struct um_error err;
    char model[512], out[512], delta[512];
    (void)path_of(out, "refused", ".gguf");
    (void)snprintf(model, sizeof(model), "%s", copy_model("gemma2", false));
    (void)snprintf(delta, sizeof(delta), "%s", save_delta(model, 1));
    assert_fails(um_delta_merge(&report, model, delta, out, NULL, &err), UM_E_USAGE,
                 "attention scale", err);
    assert_false(um_path_exists(out));
    assert_false(um_path_exists(in_folder("refused.gguf.partial")));
    (void)snprintf(model, sizeof(model), "%s", copy_model("mistral_window", false));
    (void)snprintf(delta, sizeof(delta), "%s", save_delta(model, 1));
    assert_ok(um_delta_merge(&report, model, delta, out, NULL, &err), err);
    assert_non_null(strstr(report.note, "window of 6 tokens"));
    assert_fails(um_delta_merge(&report, model, delta, out, NULL, &err), UM_E_USAGE,
                 "it is there already", err);
    const struct um_merge_options bad_format = {.format = "onnx"}, bad_type = {.type = "q4_0"},
                                  no_q8 = {.type = "q8_0"};
    assert_fails(um_delta_merge(&report, model, delta, in_folder("x"), &bad_format, &err),
                 UM_E_USAGE, "format 'onnx' is not one of", err);
    assert_fails(um_delta_merge(&report, model, delta, in_folder("x.gguf"), &bad_type, &err),
                 UM_E_USAGE, "type 'q4_0' is not one of", err);
    assert_fails(um_delta_merge(&report, model, delta, in_folder("x"), &no_q8, &err), UM_E_USAGE,
                 "a folder holds no other", err);
    static const char bert[] = GOLDEN_DIR "/models/bert_base/model";
    (void)snprintf(delta, sizeof(delta), "%s", save_delta(bert, 1));
    assert_fails(um_delta_merge(&report, bert, delta, in_folder("x.gguf"), NULL, &err), UM_E_USAGE,
                 "is a 'bert', which is not written as GGUF", err);
}

/* A classification head has no place in GGUF; a value too large for F16 is no infinity. */
static void test_values_without_place(void **state)
{
    (void)state;
    static const struct um_merge_options f16 = {.type = "f16"};
    struct um_merge_report report;
    struct um_error err;
    struct um_folder base;
    struct um_delta made;
    char model[512], hash[UM_SHA256_TEXT];
    (void)snprintf(model, sizeof(model), "%s", copy_model("llama_tied", true));
    const char *delta = in_folder("placeless.safetensors");
    assert_ok(um_folder_open(&base, model, &err), err);
    make_delta(&made, &base, 1);
    made.n_entries = 0;
    struct um_random random = {.seed = 1};
    make_sparse(&made, &random, um_folder_find(&base, "model.layers.0.mlp.up_proj.weight"));
    ((float *)(uintptr_t)made.entries[0].value)[0] = 1e6F;
    assert_ok(um_delta_hash(hash, &made, &base, &err), err);
    made.base_sha256 = hash;
    made.task_class = "";
    assert_ok(um_delta_save(&made, delta, &err), err);
    assert_fails(um_delta_merge(&report, model, delta, in_folder("x"), &f16, &err), UM_E_INPUT,
                 "1e+06 of tensor 'model.layers.0.mlp.up_proj.weight' is too large for F16", err);
    assert_false(um_path_exists(in_folder("x")));
    make_added(&made, &random, "score.weight", 2, 3, 16);
    assert_ok(um_delta_save(&made, delta, &err), err);
    assert_fails(um_delta_merge(&report, model, delta, in_folder("x.gguf"), NULL, &err), UM_E_USAGE,
                 "no place for tensor 'score.weight', which the delta adds", err);
    um_arena_free(&made.arena);
    um_folder_close(&base);
}

static void test_a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    static const rlim_t limits[] = {0, 10, 2000, 20000};
    char model[512], out[512];
    (void)snprintf(model, sizeof(model), "%s", copy_model("llama_tied", true));
    const char *delta = save_delta(model, 4);
    (void)path_of(out, "full", ".gguf");
    for (size_t i = 0; i < UM_COUNT(limits); i++) {
        assert_true(limited_merge_fails(model, delta, out, &as_gguf, limits[i]));
        assert_false(um_path_exists(out));
        assert_false(um_path_exists(in_folder("full.gguf.partial")));
    }
}

static void fail_every_allocation(const char *model, const char *delta, const char *out)
{
    struct um_merge_report report;
    struct um_error err;
    size_t before = um_mem_used();
    enum um_status status = UM_E_RUNTIME;
    for (int64_t n = 1; status != UM_OK; n += 3) {
        um_mem_fail_after(n);
        status = um_delta_merge(&report, model, delta, out, NULL, &err);
        um_mem_fail_after(0);
        if (status != UM_OK && status != UM_E_RUNTIME)
            fail_msg("allocation %lld: %s", (long long)n, err.message);
        assert_int_equal(um_mem_used(), before);
        if (status != UM_OK && um_path_exists(out)) /* renamed, but not made durable */
            assert_true(remove(out) == 0 || um_remove_folder(out, &err) == UM_OK);
    }
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    char model[512], gguf[512], out[512];
    (void)snprintf(model, sizeof(model), "%s", copy_model("llama_rope_llama3", true));
    fail_every_allocation(model, save_delta(model, 6), path_of(gguf, "memory", ".gguf"));
    fail_every_allocation(gguf, save_delta(gguf, 6), path_of(out, "memory", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_to_folder),
        cmocka_unit_test(test_folder_to_gguf_and_on),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_tokenizer_goes_along),
        cmocka_unit_test(test_tied_head_is_written_once),
        cmocka_unit_test(test_types_of_a_folder),
        cmocka_unit_test(test_quantised_base),
        cmocka_unit_test(test_q8_0_in_place),
        cmocka_unit_test(test_what_cannot_be_said_is_refused),
        cmocka_unit_test(test_values_without_place),
        cmocka_unit_test(test_a_full_disk_leaves_nothing_behind),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
