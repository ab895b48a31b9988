/* The table of regions: what of a model a method is about. Told by kind and place, not by name, so
 * that they mean the same for every architecture. */

#include "method/method.h"

static bool is_any(const struct um_param *param, const struct um_region_context *context)
{
    (void)param;
    (void)context;
    return true;
}

static bool is_vector(const struct um_param *param, const struct um_region_context *context)
{
    (void)context;
    return param->n_dims == 1;
}

static bool is_bias(const struct um_param *param, const struct um_region_context *context)
{
    return is_vector(param, context) && um_length_before(param->name, "bias");
}

static bool is_matrix(const struct um_param *param, const struct um_region_context *context)
{
    return !is_vector(param, context);
}

static bool is_map(const struct um_param *param, const struct um_region_context *context)
{
    (void)context;
    return param->is_map;
}

static bool is_head(const struct um_param *param, const struct um_region_context *context)
{
    return context->has_task_head ? param->is_task_head : param->is_head;
}

static bool is_on_top(const struct um_param *param, const struct um_region_context *context)
{
    if (param->layer >= 0)
        return param->layer >= context->n_layers - context->n_top;
    return is_head(param, context);
}

const struct um_region um_regions[] = {
    {.name = "all", .summary = "every parameter", .has = is_any},
    {.name = "biases", .summary = "biases", .has = is_bias},
    {.name = "vectors", .summary = "biases and the weights of norms", .has = is_vector},
    {.name = "matrices", .summary = "all but those", .has = is_matrix},
    {.name = "maps",
     .summary = "of those, linear maps inside the layers: no table of words, no vocabulary's head",
     .has = is_map},
    {.name = "top-layers",
     .summary = "the last scope.layers layers, and the head",
     .has = is_on_top,
     .counts_layers = true},
    {.name = "head",
     .summary = "the task's head, or the vocabulary's of a model that has no other",
     .has = is_head},
};
const size_t um_n_regions = UM_COUNT(um_regions);

const struct um_region *um_region_find(const char *name)
{
    return um_find_row(um_regions, um_n_regions, sizeof(*um_regions), name);
}
