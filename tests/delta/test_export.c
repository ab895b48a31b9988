/*
 * Deltas in other programs' forms, read as those programs read them: SuperTuning's and SHiRA's sums
 * come to the delta's values bit for bit and leave every other weight alone; a GGUF adapter holds
 * the change in the map's own order of rows; what a form has no place for is refused.
 */
#include "folder.h"
#include "golden.h"
#include "limited_merge.h"
#include "made_delta.h"

#include <math.h>

#include "base/json.h"
#include "delta/attached.h"

static const char *base_path = GOLDEN_DIR "/models/bert_base/model";

/* Values that are awkward to reach by adding: far smaller than the base, other signs, zeros,
 * denormals. */
static float awkward(struct um_random *random, float base)
{
    static const float factors[] = {0.1F, -0.3F, 3, 1e-7F, -1e7F, 1e-30F, 1.0000001F};
    uint64_t kind = um_random_below(random, UM_COUNT(factors) + 3);
    if (kind < UM_COUNT(factors))
        return base * factors[kind];
    return kind == UM_COUNT(factors)       ? 0
           : kind == UM_COUNT(factors) + 1 ? 1e-40F
                                           : (float)um_random_normal(random);
}

/* A delta of single weights of linear maps, and a fresh head; `extra` is changed too, if any. */
static const char *make(const struct um_folder *base, const char *extra)
{
    static char path[512];
    struct um_random random = {.seed = 7};
    struct um_delta d = {.method = "id3", .task = "made", .architecture = "bert", .prefix = "bert.",
                         .task_class = "BertForSequenceClassification", .attached = ""};
    struct um_error err;
    char hash[UM_SHA256_TEXT];
    const struct um_tensor_view *view;
    size_t n = 0;
    while (um_folder_tensor(base, n))
        n++;
    d.entries = UM_ARENA_NEW(&d.arena, n + 2, struct um_delta_entry);
    d.labels = (const char **)(uintptr_t)made_labels;
    d.n_labels = 3;
    for (n = 0; (view = um_folder_tensor(base, n)); n++) {
        bool is_map = strstr(view->name, "layer.") && view->n_dims == 2 && n % 3 != 1;
        if (!is_map && !(extra && strcmp(extra, view->name) == 0))
            continue;
        make_sparse(&d, &random, view);
        struct um_delta_entry *e = &d.entries[d.n_entries - 1];
        for (int64_t i = 0; i < e->n; i++)
            ((float *)(uintptr_t)e->value)[i] =
                awkward(&random, um_to_f32_at(view->bytes, view->dtype, e->index[i]));
    }
    int64_t features = um_folder_find(base, "pooler.dense.bias")->n_elements;
    make_added(&d, &random, "classifier.weight", 2, 3, features);
    make_added(&d, &random, "classifier.bias", 1, 3, 0);
    um_delta_sort(&d);
    assert_ok(um_delta_hash(hash, &d, base, &err), err);
    d.base_sha256 = hash;
    (void)snprintf(path, sizeof(path), "%s", in_folder("made.safetensors"));
    assert_ok(um_delta_save(&d, path, &err), err);
    um_arena_free(&d.arena);
    return path;
}

static const struct um_tensor_view *find(const struct um_safetensors *file, const char *name,
                                         const char *end)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "base_model.model.bert.%.*s.%s",
                   (int)(strrchr(name, '.') - name), name, end);
    return um_safetensors_find(file, full);
}

/* Adds the file's terms to the base's tensor, in their order, and compares with base and delta. */
static void check_tensor(const struct um_safetensors *file, const struct um_tensor_view *base,
                         const struct um_delta_entry *e, bool is_flat, double density)
{
    const struct um_tensor_view *positions =
        find(file, base->name, is_flat ? "supertuning_indices" : "shira_indices");
    const struct um_tensor_view *terms =
        find(file, base->name, is_flat ? "supertuning_values" : "shira_weight");
    int64_t cols = base->dims[1], n = base->n_elements;
    assert_true((positions != NULL) == (e != NULL) && (terms != NULL) == (e != NULL));
    if (!e)
        return;
    float *sum = um_alloc((size_t)n * sizeof(float)), *due = um_alloc((size_t)n * sizeof(float));
    um_to_f32(sum, base->bytes, base->dtype, n);
    um_to_f32(due, base->bytes, base->dtype, n);
    um_delta_apply(due, e);
    int64_t k = terms->n_elements;
    assert_int_equal(positions->n_elements, is_flat ? k : 2 * k);
    assert_int_equal(positions->dtype, UM_I32);
    /* As many as PEFT makes room for. */
    assert_int_equal(k, is_flat ? (int64_t)((double)n * density)
                                : (int64_t)density * (base->dims[0] + base->dims[1]));
    const int32_t *at = (const int32_t *)(const void *)positions->bytes;
    const float *term = (const float *)(const void *)terms->bytes;
    for (int64_t i = 0; i < k; i++) {
        int64_t index = is_flat ? at[i] : at[i] * cols + at[k + i];
        assert_in_range(index, 0, n - 1);
        sum[index] += term[i];
    }
    assert_memory_equal(sum, due, (size_t)n * sizeof(float));
    um_free(sum);
    um_free(due);
}

static void check_form(const char *format, bool is_flat)
{
    struct um_error err;
    struct um_folder base;
    struct um_delta *delta;
    struct um_safetensors file;
    const struct um_tensor_view *view;
    json_t *config;
    char out[512], path[600];
    double setting = 0;
    size_t n_entries = 0;
    assert_ok(um_folder_open(&base, base_path, &err), err);
    const char *made = make(&base, NULL);
    (void)snprintf(out, sizeof(out), "%s", in_folder(format));
    assert_ok(um_remove_folder(out, &err), err);
    assert_ok(um_delta_export(base_path, made, format, out, &err), err);
    (void)snprintf(path, sizeof(path), "%s/adapter_config.json", out);
    assert_ok(um_json_load(&config, path, &err), err);
    assert_ok(um_json_get_f64(&setting, config, is_flat ? "sparsity" : "r", path, &err), err);
    assert_string_equal(json_string_value(json_object_get(config, "peft_type")),
                        is_flat ? "SUPERTUNING" : "SHIRA");
    assert_int_equal(json_array_size(json_object_get(config, "modules_to_save")), 1);
    (void)snprintf(path, sizeof(path), "%s/adapter_model.safetensors", out);
    assert_ok(um_safetensors_open(&file, path, &err), err);
    assert_ok(um_delta_open(&delta, made, &err), err);
    for (size_t i = 0; (view = um_folder_tensor(&base, i)); i++) {
        const struct um_delta_entry *entry = um_delta_find(delta, view->name);
        n_entries += entry != NULL;
        if (view->n_dims == 2)
            check_tensor(&file, view, entry, is_flat, is_flat ? 1 - setting : setting);
    }
    assert_int_equal(json_array_size(json_object_get(config, "target_modules")), n_entries);
    assert_non_null(um_safetensors_find(&file, "base_model.model.classifier.weight"));
    assert_int_equal(um_delta_export(base_path, made, format, out, &err), UM_E_USAGE);
    assert_non_null(strstr(err.message, "it is there already"));
    json_decref(config);
    um_delta_free(delta);
    um_safetensors_close(&file);
    um_folder_close(&base);
}

static void single_weights_add_up(void **state)
{
    (void)state;
    check_form("supertuning", true);
    check_form("shira", false);
}

static void refuse(const char *made, const char *format, const char *message)
{
    struct um_error err;
    char out[512];
    (void)snprintf(out, sizeof(out), "%s", in_folder("none"));
    assert_int_equal(um_delta_export(base_path, made, format, out, &err), UM_E_USAGE);
    if (!strstr(err.message, message))
        fail_msg("%s: %s", format, err.message);
    assert_false(um_path_exists(out));
}

static void what_has_no_place_is_refused(void **state)
{
    struct um_error err;
    struct um_folder base;
    (void)state;
    assert_ok(um_folder_open(&base, base_path, &err), err);
    const char *made = make(&base, NULL);
    refuse(made, "peft", "adds no lora, dora or adalora");
    refuse(made, "gguf", "adds no lora or adalora");
    refuse(made, "onnx", "is not one of peft, supertuning, shira, gguf");
    made = make(&base, "embeddings.word_embeddings.weight");
    refuse(made, NULL, "'embeddings.word_embeddings.weight' is not a linear map's weight");
    made = make(&base, "encoder.layer.0.output.LayerNorm.weight");
    refuse(made, "shira", "'encoder.layer.0.output.LayerNorm.weight' is not a linear map's weight");
    um_folder_close(&base);
}

/* ---- GGUF adapters */

/* Attaches `method` to a golden decoder, with random values, and saves the whole as a delta. */
static const char *make_low_rank(struct um_model *model, const char *name, const char *method)
{
    static char path[512], golden[512];
    struct um_random random = {.seed = 3};
    const struct um_model_options options = {.dropout = -1};
    const struct um_addition_options addition = {.addition = um_addition_find(method), .rank = 3,
                                                 .alpha = 6, .seed = 5};
    struct um_error err;
    struct um_delta d = {.method = method, .task = "text", .prefix = "", .task_class = ""};
    char hash[UM_SHA256_TEXT];
    (void)snprintf(golden, sizeof(golden), GOLDEN_DIR "/models/%s/model", name);
    assert_ok(um_model_open(model, golden, &options, &err), err);
    assert_ok(um_model_attach(model, &addition, &err), err);
    d.architecture = json_string_value(json_object_get(model->folder.config, "model_type"));
    d.attached = um_model_attached_text(model);
    d.entries = UM_ARENA_NEW(&d.arena, model->n_params, struct um_delta_entry);
    for (int64_t i = 0; i < model->n_params; i++) {
        struct um_param *p = &model->params[i];
        if (!p->is_attached)
            continue;
        for (int64_t k = 0; k < p->n_elements; k++)
            p->values[k] = (float)um_random_normal(&random);
        d.entries[d.n_entries++] = (struct um_delta_entry){
            .name = p->name, .n_dims = p->n_dims, .dims = {p->rows, p->cols}, .is_whole = true,
            .is_added = true, .n = p->n_elements, .value = p->values};
    }
    um_delta_sort(&d);
    assert_ok(um_delta_hash(hash, &d, &model->folder, &err), err);
    d.base_sha256 = hash;
    (void)snprintf(path, sizeof(path), "%s", in_folder("low_rank.safetensors"));
    assert_ok(um_delta_save(&d, path, &err), err);
    free((void *)(uintptr_t)d.attached);
    um_arena_free(&d.arena);
    return path;
}

static const float *floats_of(const struct um_gguf *gguf, const char *name, const char *end,
                              int64_t rows, int64_t cols)
{
    char full[320];
    (void)snprintf(full, sizeof(full), "%s.%s", name, end);
    const struct um_tensor_view *view = um_gguf_find(gguf, full);
    if (!view)
        fail_msg("no tensor '%s'", full);
    assert_int_equal(view->dtype, UM_F32);
    assert_int_equal(view->dims[0], rows);
    assert_int_equal(view->dims[1], cols);
    return (const float *)(const void *)view->bytes;
}

/* One element of the change as llama.cpp adds it, and as we do. */
static void check_map(const struct um_gguf *gguf, const struct um_gguf_family *family,
                      const struct um_param *p, float alpha, int64_t E)
{
    const struct um_low_rank *l = p->low_rank;
    enum um_gguf_change change;
    char name[UM_GGUF_NAME_BYTES];
    int64_t rank = l->down->rows, outputs = l->up->rows, inputs = l->down->cols;
    assert_true(um_gguf_name_from_folder(name, &change, family, p->name));
    const float *a = floats_of(gguf, name, "lora_a", rank, inputs);
    const float *b = floats_of(gguf, name, "lora_b", outputs, rank);
    for (int64_t r = 0; r < outputs; r++) {
        int64_t half = E / 2, k = r % E;
        int64_t from = change == UM_GGUF_PAIRED ? r - k + (k % 2 ? half : 0) + k / 2 : r;
        for (int64_t c = 0; c < inputs; c++) {
            double theirs = 0, ours = 0;
            for (int64_t i = 0; i < rank; i++) {
                double lambda = l->lambda ? (double)l->lambda->values[i] : 1;
                theirs += (double)b[r * rank + i] * (double)a[i * inputs + c];
                ours += (double)l->up->values[from * rank + i] * lambda *
                        (double)l->down->values[i * inputs + c];
            }
            assert_true(fabs(theirs * (double)alpha / (double)rank - ours * (double)l->scale) <
                        1e-4);
        }
    }
}

static void check_adapter(const char *name, const char *method)
{
    struct um_error err;
    struct um_model model;
    struct um_gguf gguf;
    char out[512];
    const char *made = make_low_rank(&model, name, method);
    (void)snprintf(out, sizeof(out), "%s", in_folder("adapter.gguf"));
    (void)remove(out);
    assert_ok(um_delta_export(model.folder.path, made, "gguf", out, &err), err);
    assert_ok(um_gguf_open(&gguf, out, &err), err);
    const struct um_gguf_family *family = um_gguf_family_of(model.arch->model_types[0]);
    const struct um_gguf_pair *alpha = um_gguf_pair(&gguf, "adapter.lora.alpha");
    const struct um_gguf_pair *type = um_gguf_pair(&gguf, "general.type");
    assert_non_null(alpha);
    assert_true(type && type->n == 7 && memcmp(type->text, "adapter", 7) == 0);
    size_t n = 0;
    for (int64_t i = 0; i < model.n_params; i++) {
        if (!model.params[i].low_rank)
            continue;
        n++;
        check_map(&gguf, family, &model.params[i], (float)alpha->real, model.dims.E);
    }
    assert_true(n > 0);
    assert_int_equal(gguf.n_tensors, 2 * n);
    um_gguf_close(&gguf);
    um_model_close(&model);
}

static void low_rank_changes_go_to_gguf(void **state)
{
    struct um_error err;
    struct um_model model;
    (void)state;
    check_adapter("llama_tied", "lora");
    check_adapter("llama_untied", "adalora");
    check_adapter("gpt2", "lora");
    check_adapter("qwen3", "lora");
    const char *made = make_low_rank(&model, "llama_tied", "dora");
    assert_int_equal(um_delta_export(model.folder.path, made, "gguf", in_folder("none"), &err),
                     UM_E_USAGE);
    assert_non_null(strstr(err.message, "no place for dora's magnitudes"));
    um_model_close(&model);
}

/* ---- over a GGUF base */

static void assert_same_files(const char *a, const char *b)
{
    struct um_error err;
    struct um_map x, y;
    assert_ok(um_map_open(&x, a, &err), err);
    assert_ok(um_map_open(&y, b, &err), err);
    assert_int_equal(x.n_bytes, y.n_bytes);
    assert_memory_equal(x.bytes, y.bytes, x.n_bytes);
    um_map_close(&x);
    um_map_close(&y);
}

/* But for rounding: folding into a map that is turned sums in another order. */
static void assert_same_tensors(const char *a, const char *b)
{
    struct um_error err;
    struct um_gguf x, y;
    assert_ok(um_gguf_open(&x, a, &err), err);
    assert_ok(um_gguf_open(&y, b, &err), err);
    assert_int_equal(x.n_tensors, y.n_tensors);
    for (size_t i = 0; i < x.n_tensors; i++) {
        const struct um_tensor_view *view = um_gguf_find(&y, x.tensors[i].name);
        assert_non_null(view);
        assert_true(view->dtype == UM_F32 && x.tensors[i].n_bytes == view->n_bytes);
        assert_true(relative_difference((const float *)(const void *)x.tensors[i].bytes,
                                        (const float *)(const void *)view->bytes,
                                        view->n_elements) < 1e-6);
    }
    um_gguf_close(&x);
    um_gguf_close(&y);
}

/* A PEFT folder means the same over a model's folder and over its GGUF file, where rows of some
 * maps stand in another order: merged, exported as an adapter, and exported to PEFT again. */
static void check_gguf_base(const char *name, const char *method)
{
    static const char *const outs[] = {"base.gguf", "merged.gguf", "merged_too.gguf", "a.gguf",
                                       "b.gguf"};
    struct um_error err;
    struct um_model model;
    struct um_delta_info info;
    struct um_merge_report report;
    char made[512], peft[512], none[512], base[512], imported[512];
    (void)snprintf(made, sizeof(made), "%s", make_low_rank(&model, name, method));
    (void)snprintf(peft, sizeof(peft), "%s", in_folder("peft"));
    (void)snprintf(none, sizeof(none), "%s", in_folder("none.safetensors"));
    (void)snprintf(base, sizeof(base), "%s", in_folder("base.gguf"));
    (void)snprintf(imported, sizeof(imported), "%s", in_folder("imported.safetensors"));
    for (size_t i = 0; i < UM_COUNT(outs); i++)
        (void)remove(in_folder(outs[i]));
    assert_ok(um_remove_folder(peft, &err), err);
    assert_ok(um_remove_folder(in_folder("again"), &err), err);

    assert_ok(um_delta_export(model.folder.path, made, "peft", peft, &err), err);
    assert_ok(um_delta_diff(&info, model.folder.path, model.folder.path, none, &err), err);
    assert_ok(um_delta_merge(&report, model.folder.path, none, base, NULL, &err), err);
    assert_ok(um_delta_import_peft(&info, peft, base, imported, &err), err);

    assert_ok(um_delta_export(base, imported, "peft", in_folder("again"), &err), err);
    assert_same_files(in_folder("peft/adapter_model.safetensors"),
                      in_folder("again/adapter_model.safetensors"));
    assert_ok(um_delta_merge(&report, model.folder.path, made, in_folder("merged.gguf"), NULL,
                             &err), err);
    assert_ok(um_delta_merge(&report, base, imported, in_folder("merged_too.gguf"), NULL, &err),
              err);
    assert_same_tensors(in_folder("merged.gguf"), in_folder("merged_too.gguf"));
    if (strcmp(method, "dora") != 0) {
        assert_ok(um_delta_export(model.folder.path, made, "gguf", in_folder("a.gguf"), &err), err);
        assert_ok(um_delta_export(base, imported, "gguf", in_folder("b.gguf"), &err), err);
        assert_same_files(in_folder("a.gguf"), in_folder("b.gguf"));
    }
    um_model_close(&model);
}

static void a_gguf_base_has_rows_in_another_order(void **state)
{
    (void)state;
    check_gguf_base("llama_tied", "lora");
    check_gguf_base("llama_untied", "dora");
    check_gguf_base("llama_tied", "adalora");
    check_gguf_base("qwen3", "lora");
    check_gguf_base("gpt2", "lora");
}

/* llama.cpp takes an alpha of 0 for none, and a scale of 1. */
static void an_alpha_of_zero_is_refused(void **state)
{
    struct um_error err;
    struct um_model model;
    struct um_delta_info info;
    json_t *config;
    char path[600];
    (void)state;
    const char *made = make_low_rank(&model, "llama_tied", "lora");
    const char *peft = in_folder("zero"), *zero = in_folder("zero.safetensors");
    assert_ok(um_delta_export(model.folder.path, made, "peft", peft, &err), err);
    (void)snprintf(path, sizeof(path), "%s/adapter_config.json", peft);
    assert_ok(um_json_load(&config, path, &err), err);
    assert_int_equal(json_object_set_new(config, "lora_alpha", json_integer(0)), 0);
    assert_ok(um_json_save(path, config, &err), err);
    assert_ok(um_delta_import_peft(&info, peft, model.folder.path, zero, &err), err);
    assert_fails(um_delta_export(model.folder.path, zero, "gguf", in_folder("none"), &err),
                 UM_E_USAGE, "alpha is 0", err);
    json_decref(config);
    um_model_close(&model);
}

/* ---- PEFT's folders */

/* Puts a setting (its text) into the config of a PEFT folder. */
static void put_setting(const char *peft, const char *key, const char *text)
{
    struct um_error err;
    char path[600];
    json_t *config, *value = json_loads(text, JSON_DECODE_ANY, NULL);
    (void)snprintf(path, sizeof(path), "%s/adapter_config.json", peft);
    assert_ok(um_json_load(&config, path, &err), err);
    assert_int_equal(json_object_set_new(config, key, value), 0);
    assert_ok(um_json_save(path, config, &err), err);
    json_decref(config);
}

/* Exports a made low-rank change; returns the folder. The caller closes the model. */
static const char *export_low_rank(struct um_model *model, const char *name, const char *method)
{
    static char peft[512];
    struct um_error err;
    const char *made = make_low_rank(model, name, method);
    (void)snprintf(peft, sizeof(peft), "%s", in_folder("low_rank"));
    assert_ok(um_remove_folder(peft, &err), err);
    assert_ok(um_delta_export(model->folder.path, made, "peft", peft, &err), err);
    return peft;
}

static void settings_that_change_outputs_are_refused(void **state)
{
    static const char *const settings[][2] = {{"alora_invocation_tokens", "[5, 6]"},
                                              {"kasa_config", "{\"beta\": 1}"},
                                              {"use_bdlora", "{\"nblocks\": 2}"},
                                              {"monteclora_config", "{\"n\": 2}"},
                                              {"rank_pattern", "{\"q_proj\": 2}"}};
    struct um_error err;
    struct um_model model;
    struct um_delta_info info;
    (void)state;
    for (size_t i = 0; i < UM_COUNT(settings); i++) {
        const char *peft = export_low_rank(&model, "llama_tied", "lora");
        put_setting(peft, settings[i][0], settings[i][1]);
        assert_fails(um_delta_import_peft(&info, peft, model.folder.path, in_folder("none"), &err),
                     UM_E_INPUT, settings[i][0], err);
        um_model_close(&model);
    }
}

/* Whether PEFT keeps rank r of three of the change with that number. */
static bool is_kept(size_t change, int64_t r)
{
    static const bool kept[][3] = {{true, false, true}, {false, false, false}, {false, true, false},
                                   {true, true, true}};
    return kept[change % UM_COUNT(kept)][r];
}

/* The value of a tensor [rows, cols] whose ranks that are not kept are zero. */
static float trimmed(const struct um_tensor_view *view, bool is_up, size_t change, int64_t r,
                     int64_t c)
{
    return is_kept(change, is_up ? c : r)
               ? um_to_f32_at(view->bytes, view->dtype, r * view->dims[1] + c) : 0;
}

/* Rewrites an AdaLoRA's folder as PEFT leaves one whose ranks were lowered: those kept only.
 * Tensors of a change follow one another in the file, in the order of its name. */
static void trim(const char *peft, size_t n_changes)
{
    struct um_error err;
    struct um_safetensors file;
    struct um_safetensors_writer w;
    char path[600], trimmed_path[600], pattern[4096] = "{";
    (void)snprintf(path, sizeof(path), "%s/adapter_model.safetensors", peft);
    (void)snprintf(trimmed_path, sizeof(trimmed_path), "%s/trimmed", peft);
    assert_ok(um_safetensors_open(&file, path, &err), err);
    assert_int_equal(file.n_tensors, 3 * n_changes);
    assert_ok(um_safetensors_create(&w, &err), err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t t = 0; t < file.n_tensors; t++) {
            const struct um_tensor_view *view = &file.tensors[t];
            bool is_up = strstr(view->name, ".lora_B") != NULL;
            int64_t dims[2] = {view->dims[0], view->dims[1]}, n_kept = 0;
            for (int64_t r = 0; r < 3; r++)
                n_kept += is_kept(t / 3, r);
            dims[is_up] = n_kept;
            if (pass == 0)
                um_safetensors_declare(&w, view->name, UM_F32, 2, dims);
            for (int64_t i = 0; i < view->n_elements && pass == 1; i++) {
                int64_t r = i / view->dims[1], c = i % view->dims[1];
                float value = um_to_f32_at(view->bytes, view->dtype, i);
                if (is_kept(t / 3, is_up ? c : r))
                    assert_ok(um_safetensors_put(&w, &value, sizeof(value), &err), err);
            }
            if (pass == 0 && strstr(view->name, ".lora_E"))
                (void)snprintf(pattern + strlen(pattern), sizeof(pattern) - strlen(pattern),
                               "%s\"%s\": [%s, %s, %s]", t < 3 ? "" : ", ",
                               view->name + strlen(UM_PEFT_PREFIX),
                               is_kept(t / 3, 0) ? "true" : "false",
                               is_kept(t / 3, 1) ? "true" : "false",
                               is_kept(t / 3, 2) ? "true" : "false");
        }
        if (pass == 0)
            assert_ok(um_safetensors_begin(&w, trimmed_path, &err), err);
    }
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_safetensors_close(&file);
    assert_int_equal(rename(trimmed_path, path), 0);
    (void)snprintf(pattern + strlen(pattern), sizeof(pattern) - strlen(pattern), "}");
    put_setting(peft, "rank_pattern", pattern);
}

/* PEFT saves the ranks in use of an AdaLoRA that has lowered some; here the others are zero. */
static void lowered_ranks_come_back_to_their_places(void **state)
{
    struct um_error err;
    struct um_model model;
    struct um_delta_info info;
    struct um_safetensors before, after;
    char path[600];
    (void)state;
    const char *peft = export_low_rank(&model, "llama_tied", "adalora");
    const char *imported = in_folder("imported.safetensors"), *again = in_folder("again");
    (void)snprintf(path, sizeof(path), "%s/adapter_model.safetensors", peft);
    assert_ok(um_safetensors_open(&before, path, &err), err);
    trim(peft, before.n_tensors / 3);
    assert_ok(um_delta_import_peft(&info, peft, model.folder.path, imported, &err), err);
    assert_ok(um_remove_folder(again, &err), err);
    assert_ok(um_delta_export(model.folder.path, imported, "peft", again, &err), err);
    (void)snprintf(path, sizeof(path), "%s/adapter_model.safetensors", again);
    assert_ok(um_safetensors_open(&after, path, &err), err);
    assert_int_equal(after.n_tensors, before.n_tensors);
    for (size_t t = 0; t < before.n_tensors; t++) {
        const struct um_tensor_view *x = &before.tensors[t], *y = &after.tensors[t];
        bool is_up = strstr(x->name, ".lora_B") != NULL;
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->n_elements, y->n_elements);
        for (int64_t i = 0; i < x->n_elements; i++)
            assert_true(um_to_f32_at(y->bytes, y->dtype, i) ==
                        trimmed(x, is_up, t / 3, i / x->dims[1], i % x->dims[1]));
    }
    um_safetensors_close(&before);
    um_safetensors_close(&after);
    um_model_close(&model);
}

static void rank_patterns_must_fit(void **state)
{
    static const char lambda[] = "model.layers.0.self_attn.q_proj.lora_E";
    static const struct {
        const char *kept, *message;
    } cases[] = {{"[true, true]", "is no list of 3 times true or false"},
                 {"[1, 1, 1]", "is no list of 3 times true or false"},
                 {"3", "is no list of 3 times true or false"},
                 {"[true, false, true]", "does not fit its rank_pattern, which keeps 2"}};
    struct um_error err;
    struct um_model model;
    struct um_delta_info info;
    (void)state;
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        char pattern[256];
        const char *peft = export_low_rank(&model, "llama_tied", "adalora");
        (void)snprintf(pattern, sizeof(pattern), "{\"%s\": %s}", lambda, cases[i].kept);
        put_setting(peft, "rank_pattern", pattern);
        assert_fails(um_delta_import_peft(&info, peft, model.folder.path, in_folder("none"), &err),
                     UM_E_INPUT, cases[i].message, err);
        um_model_close(&model);
    }
}

/* PEFT's name of the task follows the delta's class, wherever its head is. */
static void the_task_is_that_of_the_class(void **state)
{
    static const char *const cases[][2] = {{"", "CAUSAL_LM"},
                                           {"LlamaForCausalLM", "CAUSAL_LM"},
                                           {"LlamaForSequenceClassification", "SEQ_CLS"},
                                           {"LlamaForTokenClassification", "TOKEN_CLS"}};
    struct um_error err;
    struct um_model model;
    struct um_delta *delta;
    json_t *config;
    (void)state;
    const char *made = make_low_rank(&model, "llama_tied", "lora");
    for (size_t i = 0; i < UM_COUNT(cases); i++) {
        const char *classed = in_folder("classed.safetensors"), *out = in_folder("classed");
        assert_ok(um_remove_folder(out, &err), err);
        assert_ok(um_delta_open(&delta, made, &err), err);
        delta->task_class = cases[i][0];
        assert_ok(um_delta_save(delta, classed, &err), err);
        um_delta_free(delta);
        assert_ok(um_delta_export(model.folder.path, classed, "peft", out, &err), err);
        assert_ok(um_json_load(&config, in_folder("classed/adapter_config.json"), &err), err);
        assert_string_equal(json_string_value(json_object_get(config, "task_type")), cases[i][1]);
        json_decref(config);
    }
    um_model_close(&model);
}

struct limited_export {
    const char *model, *delta, *format, *out;
};

static enum um_status export_limited(const void *user, struct um_error *err)
{
    const struct limited_export *e = user;
    return um_delta_export(e->model, e->delta, e->format, e->out, err);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    static const char *const formats[] = {"peft", "gguf"};
    static const rlim_t limits[] = {0, 100};
    struct um_model model;
    (void)state;
    const char *made = make_low_rank(&model, "llama_tied", "lora"), *out = in_folder("full");
    for (size_t i = 0; i < UM_COUNT(formats) * UM_COUNT(limits); i++) {
        const struct limited_export export = {model.folder.path, made, formats[i % 2], out};
        assert_true(limited_fails(export_limited, &export, limits[i / 2]));
        assert_false(um_path_exists(out));
    }
    um_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_gguf_base_has_rows_in_another_order),
                                       cmocka_unit_test(an_alpha_of_zero_is_refused),
                                       cmocka_unit_test(settings_that_change_outputs_are_refused),
                                       cmocka_unit_test(lowered_ranks_come_back_to_their_places),
                                       cmocka_unit_test(rank_patterns_must_fit),
                                       cmocka_unit_test(the_task_is_that_of_the_class),
                                       cmocka_unit_test(a_full_disk_leaves_nothing_behind),
                                       cmocka_unit_test(single_weights_add_up),
                                       cmocka_unit_test(what_has_no_place_is_refused),
                                       cmocka_unit_test(low_rank_changes_go_to_gguf)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
