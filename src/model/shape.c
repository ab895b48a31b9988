/* Models known by their config.json alone: parameters without values, for plans. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/model.h"

/* transformers' names of types beside our own. */
static const struct {
    const char *name;
    enum um_dtype dtype;
} torch_names[] = {{"float32", UM_F32}, {"float16", UM_F16}, {"bfloat16", UM_BF16}};

static bool find_dtype(enum um_dtype *dtype, const char *name)
{
    for (size_t i = 0; i < UM_COUNT(torch_names); i++) {
        if (strcmp(torch_names[i].name, name) == 0) {
            *dtype = torch_names[i].dtype;
            return true;
        }
    }
    for (int d = 0; d < UM_N_DTYPES; d++) {
        if (um_dtype_is_weight((enum um_dtype)d) &&
            strcasecmp(um_dtype_name((enum um_dtype)d), name) == 0) {
            *dtype = (enum um_dtype)d;
            return true;
        }
    }
    return false;
}

enum um_status um_model_plan_dtype(struct um_model *model, const char *name, struct um_error *err)
{
    const char *where = model->folder.config_path, *key = "dtype";
    bool is_given = name && *name;
    if (!is_given && !json_object_get(model->folder.config, key))
        key = "torch_dtype";
    if (!is_given)
        UM_RETURN_IF(um_json_get_str(&name, model->folder.config, key, where, err));
    if (name && *name && find_dtype(&model->planned_dtype, name))
        return UM_OK;
    if (name && *name)
        um_fail(err, is_given ? UM_E_USAGE : UM_E_INPUT,
                "%s: the type of the weights is '%s', expected F32, F16, BF16 or one of GGUF's, "
                "such as Q4_K",
                where, name);
    else
        um_fail(err, UM_E_INPUT,
                "cannot plan for '%s': neither 'dtype' nor 'torch_dtype' says how weights are "
                "stored",
                where);
    um_error_hint(err, "--dtype bf16 and the like say it in its place");
    return is_given ? UM_E_USAGE : UM_E_INPUT;
}

/* Settings that say whether a layer's optional weights are there. */
static const struct {
    const char *part, *key;
} optional_parts[] = {{"self_attn.", "attention_bias"}, {"mlp.", "mlp_bias"}};

bool um_model_plan_has(const struct um_model *model, const char *name)
{
    for (size_t i = 0; i < UM_COUNT(optional_parts); i++)
        if (strstr(name, optional_parts[i].part))
            return json_is_true(json_object_get(model->folder.config, optional_parts[i].key));
    return false;
}

enum um_status um_model_plan_param(struct um_model *model, struct um_param *param,
                                   const char *name, bool is_added, struct um_error *err)
{
    bool is_vector = param->n_dims == 1;
    param->is_added = is_added;
    param->dtype = model->planned_dtype;
    if (is_added || (is_vector && um_dtype_is_quantised(param->dtype)))
        param->dtype = UM_F32; /* as GGUF files have vectors */
    param->is_planned_f32 = param->dtype == UM_F32;
    param->name = um_arena_strdup(&model->arena, name);
    if (!param->name)
        return um_fail_memory(err, name, strlen(name));
    int64_t block = um_dtype_block(param->dtype);
    if (param->cols % block != 0)
        return um_fail(
            err, UM_E_USAGE,
            "dtype: '%s' has rows of %lld elements, which %s, in blocks of %lld, cannot hold", name,
            (long long)param->cols, um_dtype_name(param->dtype), (long long)block);
    return UM_OK;
}
