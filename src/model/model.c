/* Loading: config keys to dimensions, table rows to parameters, all checked against each other. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"

/* Of a weight, so that sums over all of them in bytes are far from overflow. */
#define ELEMENTS_MAX (INT64_C(1) << 40)

static const struct {
    const char *name;
    enum um_activation kind;
} activations[] = {
    {"gelu", UM_ACT_GELU},           {"gelu_new", UM_ACT_GELU_TANH},
    {"gelu_fast", UM_ACT_GELU_TANH}, {"gelu_pytorch_tanh", UM_ACT_GELU_TANH},
    {"silu", UM_ACT_SILU},           {"swish", UM_ACT_SILU},
    {"relu", UM_ACT_RELU},           {"tanh", UM_ACT_TANH},
};

enum um_status um_activation_from_name(enum um_activation *out, const char *name,
                                       const char *where, struct um_error *err)
{
    struct um_str known = {0};
    for (size_t i = 0; i < UM_COUNT(activations); i++) {
        if (strcmp(activations[i].name, name) == 0) {
            *out = activations[i].kind;
            um_str_free(&known);
            return UM_OK;
        }
        um_str_add_item(&known, activations[i].name);
    }
    enum um_status status = um_fail(err, UM_E_INPUT, "%s: activation '%s' is not one of %s", where,
                                    name, known.text ? known.text : "");
    um_str_free(&known);
    return status;
}

static enum um_status find_arch(const struct um_arch **arch, const json_t *config,
                                const char *where, struct um_error *err)
{
    const char *type = NULL;
    struct um_str known = {0};
    UM_RETURN_IF(um_json_get_str(&type, config, "model_type", where, err));
    *arch = um_arch_find(type);
    if (*arch)
        return UM_OK;
    for (size_t a = 0; a < um_n_archs; a++)
        for (const char *const *t = um_archs[a]->model_types; *t; t++)
            um_str_add_item(&known, *t);
    enum um_status status =
        um_fail(err, UM_E_INPUT, "cannot load '%s': model_type is '%s', known are: %s", where,
                type ? type : "(missing)", known.text ? known.text : "");
    um_str_free(&known);
    return status;
}

static enum um_status read_key(struct um_dims *dims, const struct um_config_key *key,
                               const json_t *config, const char *where, struct um_error *err)
{
    char *member = (char *)dims + key->offset;
    if (key->need == UM_KEY_REQUIRED && !json_object_get(config, key->name))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' is missing", where, key->name);
    if (key->need == UM_KEY_OFF_BY_NULL && json_is_null(json_object_get(config, key->name))) {
        memset(member, 0, key->is_real ? sizeof(double) : sizeof(int64_t));
        return UM_OK;
    }
    if (key->is_real) {
        double value;
        memcpy(&value, member, sizeof(value));
        UM_RETURN_IF(um_json_get_f64(&value, config, key->name, where, err));
        memcpy(member, &value, sizeof(value));
        return UM_OK;
    }
    int64_t value;
    memcpy(&value, member, sizeof(value));
    UM_RETURN_IF(um_json_get_i64(&value, config, key->name, where, err));
    memcpy(member, &value, sizeof(value));
    if (value < (key->need == UM_KEY_REQUIRED ? 1 : 0) || value > INT32_MAX)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' is %lld", where, key->name,
                       (long long)value);
    return UM_OK;
}

/* Heads: those of keys and values are as many as the others, of size D / H, if nothing is said. */
static enum um_status check_heads(struct um_dims *dims, const char *where, struct um_error *err)
{
    if (dims->K == 0)
        dims->K = dims->H;
    if (dims->L > UM_LAYERS_MAX || dims->H % dims->K != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': %lld heads do not divide by %lld key-value heads (or "
                       "there are more than %d layers)",
                       where, (long long)dims->H, (long long)dims->K, UM_LAYERS_MAX);
    if (dims->E == 0 && dims->D % dims->H != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': %lld features do not divide by %lld heads", where,
                       (long long)dims->D, (long long)dims->H);
    if (dims->E == 0)
        dims->E = dims->D / dims->H;
    if (dims->H * dims->E > INT32_MAX)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': %lld heads of %lld features", where,
                       (long long)dims->H, (long long)dims->E);
    return UM_OK;
}

static enum um_status read_config(struct um_model *model, const char *where, struct um_error *err)
{
    const json_t *config = model->folder.config;
    const char *activation = NULL;
    UM_RETURN_IF(find_arch(&model->arch, config, where, err));
    const struct um_arch *arch = model->arch;
    struct um_dims *dims = &model->dims;
    *dims = arch->defaults;
    dims->head_dropout = -1;
    for (size_t k = 0; k < arch->n_keys; k++)
        UM_RETURN_IF(read_key(dims, &arch->keys[k], config, where, err));
    UM_RETURN_IF(um_json_get_str(&activation, config, arch->activation_key, where, err));
    if (activation)
        UM_RETURN_IF(um_activation_from_name(&dims->activation, activation, where, err));
    UM_RETURN_IF(um_json_get_bool(&dims->is_tied, config, "tie_word_embeddings", where, err));
    UM_RETURN_IF(check_heads(dims, where, err));
    if (dims->dropout < 0 || dims->dropout >= 1 || dims->attention_dropout < 0 ||
        dims->attention_dropout >= 1 || dims->head_dropout >= 1 || dims->embed_dropout < 0 ||
        dims->embed_dropout >= 1)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': a dropout outside [0, 1)", where);
    if (dims->head_dropout < 0)
        dims->head_dropout = dims->dropout;
    return arch->check ? arch->check(dims, config, where, err) : UM_OK;
}

static int64_t dim_of(const struct um_dims *dims, char letter)
{
    const struct {
        char letter;
        int64_t n;
    } table[] = {{'V', dims->V}, {'D', dims->D}, {'F', dims->F}, {'P', dims->P},
                 {'Y', dims->Y}, {'O', dims->O}, {'E', dims->E}, {'Q', dims->H * dims->E},
                 {'K', dims->K * dims->E}, {'3', 3 * dims->D}, {'1', 1}};
    for (size_t i = 0; i < UM_COUNT(table); i++)
        if (table[i].letter == letter)
            return table[i].n;
    return 0;
}

bool um_model_other_norm(char *other, size_t size, const char *name)
{
    static const char *const names[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                           {"LayerNorm.bias", "LayerNorm.beta"}};
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        for (size_t k = 0; k < 2; k++) {
            size_t n = um_length_before(name, names[i][k]);
            if (!n || n + strlen(names[i][1 - k]) >= size)
                continue;
            (void)snprintf(other, size, "%.*s%s", (int)n, name, names[i][1 - k]);
            return true;
        }
    }
    return false;
}

enum { NAME_BYTES = 256 };

/* A norm's weight or bias under its other name. */
static const struct um_tensor_view *find_old_norm(const struct um_model *model, const char *name)
{
    char old[NAME_BYTES], full[NAME_BYTES + 64];
    if (!um_model_other_norm(old, sizeof(old), name))
        return NULL;
    (void)snprintf(full, sizeof(full), "%s%s", model->arch->prefix, old);
    const struct um_tensor_view *tensor = um_folder_find(&model->folder, full);
    return tensor ? tensor : um_folder_find(&model->folder, old);
}

/* The tensor of a weight: by its bare name, or with the architecture's prefix. */
static const struct um_tensor_view *find_tensor(const struct um_model *model, const char *name)
{
    char full[NAME_BYTES + 64];
    (void)snprintf(full, sizeof(full), "%s%s", model->arch->prefix, name);
    const struct um_tensor_view *tensor = um_folder_find(&model->folder, full);
    if (!tensor)
        tensor = um_folder_find(&model->folder, name);
    return tensor ? tensor : find_old_norm(model, name);
}

static enum um_status fail_shape(const struct um_model *model, const struct um_tensor_view *tensor,
                                 const struct um_param *param, struct um_error *err)
{
    char found[UM_SHAPE_TEXT], expected[UM_SHAPE_TEXT];
    const int64_t dims[] = {param->rows, param->cols};
    return um_fail(err, UM_E_INPUT, "cannot load '%s': tensor '%s' is %s, config.json says %s",
                   model->folder.path, tensor->name,
                   um_shape_text(found, tensor->dims, tensor->n_dims),
                   um_shape_text(expected, dims, param->n_dims));
}

/* Points a parameter at its tensor; fp32 in place where it is aligned, else copied. */
static enum um_status bind(struct um_model *model, struct um_param *param,
                           const struct um_tensor_view *tensor, struct um_error *err)
{
    bool fits = tensor->n_dims == param->n_dims && tensor->dims[0] == param->rows &&
                (tensor->n_dims < 2 || tensor->dims[1] == param->cols);
    if (!fits)
        return fail_shape(model, tensor, param, err);
    if (!um_dtype_is_weight(tensor->dtype))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' is %s, expected F32, F16 or BF16",
                       model->folder.path, tensor->name, um_dtype_name(tensor->dtype));
    if (param->cols % um_dtype_block(tensor->dtype) != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor '%s' is %s with rows of %lld elements, expected a "
                       "multiple of %lld",
                       model->folder.path, tensor->name, um_dtype_name(tensor->dtype),
                       (long long)param->cols, (long long)um_dtype_block(tensor->dtype));
    param->name = tensor->name;
    param->dtype = tensor->dtype;
    param->stored = tensor->bytes;
    if (tensor->dtype != UM_F32)
        return UM_OK;
    if ((uintptr_t)tensor->bytes % sizeof(float) == 0) {
        param->values = (float *)(void *)tensor->bytes;
        return UM_OK;
    }
    param->values = UM_ARENA_NEW(&model->arena, param->n_elements, float);
    if (!param->values)
        return um_fail_memory(err, tensor->name, tensor->n_bytes);
    memcpy(param->values, tensor->bytes, tensor->n_bytes);
    return UM_OK;
}

/* A fresh weight: matrices normal with the config's deviation, biases zero, as transformers
 * does. */
static enum um_status make_fresh(struct um_model *model, struct um_param *param, const char *name,
                                 uint64_t seed, struct um_error *err)
{
    struct um_random random = {.seed = seed, .stream = (uint64_t)param->index + 1};
    param->is_added = true;
    param->dtype = UM_F32;
    param->name = um_arena_strdup(&model->arena, name);
    param->values = UM_ARENA_NEW(&model->arena, param->n_elements, float);
    if (!param->name || !param->values)
        return um_fail_memory(err, name, (size_t)param->n_elements * sizeof(float));
    for (int64_t i = 0; param->n_dims == 2 && i < param->n_elements; i++)
        param->values[i] = (float)(um_random_normal(&random) * model->dims.init_std);
    return UM_OK;
}

/* Whether the model does without a vocabulary head: classifiers that transformers saved have
 * none. */
static bool lacks_vocabulary(const struct um_model *model, const struct um_tensor_view *tensor,
                             enum um_heads heads)
{
    bool is_missing = !tensor && !model->dims.is_tied && !model->is_shape;
    return heads == UM_HEADS_TASK || heads == UM_HEADS_TAGS ||
           (heads == UM_HEADS_STORED && model->dims.O > 0 && is_missing);
}

/* A weight's name in a layer (the table's only conversion is the layer's %d); -1: outside of
 * them. */
static void write_name(char name[NAME_BYTES], const struct um_weight *weight, int64_t layer)
{
    const char *place = layer < 0 ? NULL : strstr(weight->name, "%d");
    if (place)
        (void)snprintf(name, NAME_BYTES, "%.*s%lld%s", (int)(place - weight->name), weight->name,
                       (long long)layer, place + 2);
    else
        (void)snprintf(name, NAME_BYTES, "%s", weight->name);
}

/* What the table and the config say of a parameter. */
static enum um_status describe(struct um_param *param, const struct um_model *model,
                               const struct um_weight *weight, int64_t layer, const char *name,
                               struct um_error *err)
{
    bool is_turned = weight->flags & UM_WEIGHT_TURNED, is_gguf = model->folder.gguf;
    int64_t rows = dim_of(&model->dims, weight->rows), cols = dim_of(&model->dims, weight->cols);
    if (cols && rows > ELEMENTS_MAX / cols)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': '%s' would be %lld rows of %lld elements",
                       model->folder.config_path, name, (long long)rows, (long long)cols);
    *param = (struct um_param){.index = (int)model->n_params,
                               .rows = is_turned && is_gguf ? cols : rows,
                               .cols = is_turned && is_gguf ? rows : cols,
                               .n_dims = weight->cols == '1' ? 1 : 2,
                               .n_elements = rows * cols,
                               .is_task_head = weight->flags & UM_WEIGHT_TASK,
                               .is_map = weight->cols != '1' &&
                                         !strchr("VPY", weight->rows), /* no table */
                               .is_turned = is_turned && !is_gguf,
                               .layer = (int)layer};
    return UM_OK;
}

/* Points a parameter at its tensor, or makes it afresh if it may be. */
static enum um_status fill(struct um_model *model, struct um_param *param,
                           const struct um_weight *weight, const struct um_tensor_view *tensor,
                           const char *name, uint64_t seed, struct um_error *err)
{
    char full[NAME_BYTES + 64];
    bool is_head = weight->flags & UM_WEIGHT_HEAD, is_of_task = weight->flags & UM_WEIGHT_TASK;
    if (tensor)
        return bind(model, param, tensor, err);
    (void)snprintf(full, sizeof(full), "%s%s", is_of_task ? "" : model->arch->prefix, name);
    if (model
            ->is_shape) /* heads of a task are fresh; what belongs to the base (poolers) is there */
        return um_model_plan_param(model, param, full, is_head && is_of_task, err);
    return is_head ? make_fresh(model, param, full, seed, err)
                   : um_fail(err, UM_E_INPUT, "cannot load '%s': tensor '%s' is missing",
                             model->folder.path, name);
}

static enum um_status add_param(struct um_model *model, const struct um_weight *weight,
                                int64_t layer, const struct um_model_options *options,
                                struct um_error *err)
{
    char name[NAME_BYTES];
    struct um_param *param = &model->params[model->n_params];
    struct um_param **place = &model->by_role[(layer < 0 ? model->dims.L : layer) *
                                                  model->arch->n_roles + weight->role];
    write_name(name, weight, layer);
    UM_RETURN_IF(describe(param, model, weight, layer, name, err));
    if (param->n_elements == 0 || (model->is_tagger && (weight->flags & UM_WEIGHT_SEQUENCE)))
        return UM_OK; /* no such head is wanted */
    const struct um_tensor_view *tensor = find_tensor(model, name);
    if ((weight->flags & UM_WEIGHT_HEAD) && tensor && tensor->dims[0] != param->rows)
        tensor = NULL; /* another task's */
    if (!tensor && (weight->flags & UM_WEIGHT_OPTIONAL) &&
        !(model->is_shape && um_model_plan_has(model, name)))
        return UM_OK;
    if (weight->flags & UM_WEIGHT_VOCABULARY) {
        if (lacks_vocabulary(model, tensor, options->heads))
            return UM_OK;
        if (model->dims.is_tied) {
            *place = um_model_param(model, model->arch->words, -1);
            (*place)->is_head = true;
            return UM_OK;
        }
        param->is_head = true;
    }
    UM_RETURN_IF(fill(model, param, weight, tensor, name, options->seed, err));
    *place = param;
    model->n_params++;
    return UM_OK;
}

static bool is_of_layer(const struct um_weight *weight)
{
    return strstr(weight->name, "%d") != NULL;
}

static enum um_status add_params(struct um_model *model, const struct um_model_options *options,
                                 struct um_error *err)
{
    const struct um_arch *arch = model->arch;
    size_t n_max = arch->n_weights * (size_t)(model->dims.L + 1);
    model->params = UM_ARENA_NEW(&model->arena, n_max, struct um_param);
    model->by_role = UM_ARENA_NEW(&model->arena, (model->dims.L + 1) * arch->n_roles,
                                  struct um_param *);
    if (!model->params || !model->by_role)
        return um_fail_memory(err, model->folder.path, n_max * sizeof(struct um_param));
    size_t w = 0;
    for (; w < arch->n_weights && !is_of_layer(&arch->weights[w]); w++)
        UM_RETURN_IF(add_param(model, &arch->weights[w], -1, options, err));
    size_t end = w;
    while (end < arch->n_weights && is_of_layer(&arch->weights[end]))
        end++;
    for (int64_t layer = 0; layer < model->dims.L; layer++)
        for (size_t k = w; k < end; k++)
            UM_RETURN_IF(add_param(model, &arch->weights[k], layer, options, err));
    for (w = end; w < arch->n_weights; w++)
        UM_RETURN_IF(add_param(model, &arch->weights[w], -1, options, err));
    return UM_OK;
}

/* Outputs of the head in the file: rows of its last weight, 0 if there is none. */
static int64_t stored_outputs(const struct um_model *model)
{
    for (size_t w = 0; w < model->arch->n_weights; w++) {
        const struct um_weight *weight = &model->arch->weights[w];
        if (weight->rows != 'O' || weight->cols == '1')
            continue;
        const struct um_tensor_view *t = find_tensor(model, weight->name);
        if (t && t->n_dims == 2)
            return t->dims[0];
    }
    return 0;
}

/* LLaMA 3.1's stretched rotary frequencies, as GGUF files have them: what to divide each by. */
static enum um_status read_factors(struct um_model *model, struct um_error *err)
{
    const struct um_tensor_view *factors = um_folder_find(&model->folder, "rope_freqs.weight");
    if (!factors || !model->folder.gguf)
        return UM_OK;
    if (factors->dtype != UM_F32 || factors->n_elements != model->dims.E / 2)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': tensor 'rope_freqs.weight' is not %lld F32 numbers",
                       model->folder.path, (long long)model->dims.E / 2);
    float *copy = UM_ARENA_NEW(&model->arena, factors->n_elements, float);
    if (!copy)
        return um_fail_memory(err, factors->name, factors->n_bytes);
    memcpy(copy, factors->bytes, factors->n_bytes);
    model->dims.rope.factors = copy;
    return UM_OK;
}

static void add_end(struct um_model *model, const json_t *id)
{
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value >= model->dims.V)
        return;
    for (int i = 0; i < model->n_ends; i++)
        if (model->end_ids[i] == (int32_t)value)
            return;
    if (model->n_ends < UM_ENDS_MAX)
        model->end_ids[model->n_ends++] = (int32_t)value;
}

/* "eos_token_id": a number, a list of them, or null. */
static void add_ends(struct um_model *model, const json_t *config)
{
    const json_t *ids = json_object_get(config, "eos_token_id");
    for (size_t i = 0; i < json_array_size(ids); i++)
        add_end(model, json_array_get(ids, i));
    add_end(model, ids);
}

/* Whether a folder is of a class that tags tokens, as transformers saved it. */
static bool is_saved_tagger(const struct um_model *model)
{
    const json_t *classes = json_object_get(model->folder.config, "architectures");
    const char *class = json_string_value(json_array_get(classes, 0));
    return class && strstr(class, "ForTokenClassification");
}

/* Outputs of the task head, and whether that is over tokens; none where the architecture has no
 * such head. */
static void settle_head(struct um_model *model, const struct um_model_options *o)
{
    bool is_tagger =
        o->heads == UM_HEADS_TAGS || (o->heads == UM_HEADS_STORED && is_saved_tagger(model));
    model->is_tagger = is_tagger && model->arch->tag;
    model->dims.O = o->n_outputs ? o->n_outputs : stored_outputs(model);
    if (o->heads == UM_HEADS_VOCABULARY || is_tagger != model->is_tagger)
        model->dims.O = 0;
}

enum um_status um_model_open(struct um_model *model, const char *path,
                             const struct um_model_options *options, struct um_error *err)
{
    *model = (struct um_model){0};
    enum um_status status;
    UM_TRY(options->is_plan ? um_folder_open_config(&model->folder, path, err)
                            : um_folder_open(&model->folder, path, err));
    UM_TRY(read_config(model, model->folder.config_path, err));
    model->is_shape = !model->folder.gguf && model->folder.n_shards == 0;
    if (model->is_shape)
        UM_TRY(um_model_plan_dtype(model, options->dtype, err));
    UM_TRY(read_factors(model, err));
    settle_head(model, options);
    if (options->dropout >= 0)
        model->dims.dropout = model->dims.attention_dropout = model->dims.head_dropout =
            model->dims.embed_dropout = options->dropout;
    UM_TRY(add_params(model, options, err));
    add_ends(model, model->folder.config);
    add_ends(model, model->folder.generation);
    const char *first = model->params[0].name;
    model->has_prefix = strncmp(first, model->arch->prefix, strlen(model->arch->prefix)) == 0;
out:
    if (status != UM_OK)
        um_model_close(model);
    return status;
}

void um_model_close(struct um_model *model)
{
    um_folder_close(&model->folder);
    um_arena_free(&model->arena);
    *model = (struct um_model){0};
}

struct um_param *um_model_find_param(const struct um_model *model, const char *name)
{
    for (int64_t p = 0; p < model->n_params; p++)
        if (strcmp(model->params[p].name, name) == 0)
            return &model->params[p];
    return NULL;
}

struct um_param *um_model_param(const struct um_model *model, int role, int64_t layer)
{
    return model->by_role[(layer < 0 ? model->dims.L : layer) * model->arch->n_roles + role];
}

struct um_param *um_model_vocabulary(const struct um_model *model)
{
    return model->arch->is_decoder ? um_model_param(model, model->arch->vocabulary, -1) : NULL;
}

int64_t um_model_n_elements(const struct um_model *model, bool with_added)
{
    int64_t n = 0;
    for (int64_t p = 0; p < model->n_params; p++)
        if (with_added || !model->params[p].is_added)
            n += model->params[p].n_elements;
    return n;
}
