/* Additions: the family, attaching, first values, and their text. */
#include "model/addition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

const struct um_addition um_additions[] = {
    {.name = "base", .summary = "the model's own parameters: nothing is added"},
    {.name = "lora", .summary = "low-rank changes of maps (Hu et al. 2022)",
     .kind = UM_ADDITION_LOW_RANK},
    {.name = "dora", .summary = "LoRA with the lengths of rows apart (Liu et al. 2024)",
     .kind = UM_ADDITION_LOW_RANK, .has_magnitude = true},
    {.name = "adalora", .summary = "LoRA as a singular value decomposition (Zhang et al. 2023)",
     .kind = UM_ADDITION_LOW_RANK, .has_lambda = true},
    {.name = "houlsby", .summary = "bottleneck adapters behind attention and feed-forward layers "
                                   "(Houlsby et al. 2019)",
     .kind = UM_ADDITION_ADAPTER, .sites = {true, true}, .activation = UM_ACT_SILU},
    {.name = "pfeiffer", .summary = "bottleneck adapters behind feed-forward layers (Pfeiffer et "
                                    "al. 2021)",
     .kind = UM_ADDITION_ADAPTER, .sites = {[UM_SITE_FEED_FORWARD] = true}, .sees_joined = true,
     .activation = UM_ACT_RELU},
};
const size_t um_n_additions = UM_COUNT(um_additions);

const struct um_addition *um_addition_find(const char *name)
{
    return um_find_row(um_additions, um_n_additions, sizeof(*um_additions), name);
}

/* How an attached parameter starts. */
enum start {
    START_ZERO,
    START_KAIMING, /* uniform within 1 / sqrt(inputs): PyTorch's kaiming_uniform_ with a = sqrt(5)
                    */
    START_NORMAL,  /* deviation 0.02 */
    START_LENGTHS, /* of the rows of `weight` */
};

struct origin {
    enum start start;
    const struct um_param *weight;
    const float *lengths; /* in the model's arena: the weight may train, too */
};

struct um_attached {
    struct um_addition_options options; /* texts in the model's arena */
    int64_t first;                      /* place of the first attached parameter */
    struct origin *origins;             /* of each from there on */
};

/* ---- first values */

/* Of each output's row of the weight as it is now; *out is in the model's arena. */
static enum um_status measure(const float **out, struct um_model *model,
                              const struct um_param *weight, int64_t n_outputs,
                              struct um_error *err)
{
    struct um_param plain = *weight;
    plain.low_rank = NULL;
    int64_t n = um_low_rank_scratch(&plain);
    float *scratch = UM_NEW(n, float), *lengths = UM_ARENA_NEW(&model->arena, n_outputs, float);
    if (scratch && lengths)
        um_low_rank_norms(lengths, &plain, scratch);
    *out = lengths;
    bool is_done = scratch && lengths;
    um_free(scratch);
    return is_done ? UM_OK : um_fail_memory(err, weight->name, (size_t)n * sizeof(float));
}

void um_model_first_values(float *out, const struct um_model *model, const struct um_param *param)
{
    const struct um_attached *a = model->attached;
    const struct origin *origin = &a->origins[param->index - a->first];
    struct um_random random = {.seed = a->options.seed, .stream = (uint64_t)param->index + 1};
    double bound = 1 / sqrt((double)param->cols);
    switch (origin->start) {
    case START_ZERO:
        memset(out, 0, (size_t)param->n_elements * sizeof(float));
        break;
    case START_KAIMING:
        for (int64_t i = 0; i < param->n_elements; i++)
            out[i] = (float)((2 * um_random_unit(&random) - 1) * bound);
        break;
    case START_NORMAL:
        for (int64_t i = 0; i < param->n_elements; i++)
            out[i] = (float)(0.02 * um_random_normal(&random));
        break;
    case START_LENGTHS:
        memcpy(out, origin->lengths, (size_t)param->n_elements * sizeof(float));
        break;
    }
}

/* ---- targets */

/* A pattern fits a name, the name without ".weight", or what stands behind a dot of that. */
static bool is_target(const char *pattern, const char *name)
{
    char module[300];
    size_t n = um_length_before(name, ".weight");
    (void)snprintf(module, sizeof(module), "%.*s", (int)(n ? n : strlen(name)), name);
    size_t n_outer = um_length_before(module, pattern);
    return um_glob(pattern, name) || um_glob(pattern, module) ||
           (n_outer && module[n_outer - 1] == '.');
}

/* Of n names, marks those that a target fits. Each target must fit one. */
static enum um_status mark_targets(bool *is_marked, const char *const *names, size_t n,
                                   const struct um_addition_options *o, const char *what,
                                   struct um_error *err)
{
    for (size_t t = 0; t < o->n_targets; t++) {
        bool fits = false;
        for (size_t i = 0; i < n; i++) {
            bool is_hit = is_target(o->targets[t], names[i]);
            is_marked[i] = is_marked[i] || is_hit;
            fits = fits || is_hit;
        }
        if (fits)
            continue;
        const char *near = um_nearest(o->targets[t], names, n);
        um_fail(err, UM_E_USAGE, "method.targets: '%s' fits no %s; one is '%s'", o->targets[t],
                what, near ? near : n ? names[n / 2] : "(none)");
        um_error_hint(err, "`unmask inspect --model DIR` lists all names; `*` stands for any text");
        return UM_E_USAGE;
    }
    return UM_OK;
}

/* ---- adding */

static enum um_status grow_table(struct um_model *model, int64_t n_more, struct um_error *err)
{
    int64_t n_places = (model->dims.L + 1) * model->arch->n_roles;
    struct um_param *old = model->params;
    model->params = UM_ARENA_NEW(&model->arena, model->n_params + n_more, struct um_param);
    model->attached->origins = UM_ARENA_NEW(&model->arena, n_more, struct origin);
    if (!model->params || !model->attached->origins) {
        model->params = old;
        return um_fail_memory(err, "added parameters", (size_t)n_more * sizeof(*old));
    }
    memcpy(model->params, old, (size_t)model->n_params * sizeof(*old));
    for (int64_t i = 0; i < n_places; i++)
        if (model->by_role[i])
            model->by_role[i] = model->params + (model->by_role[i] - old);
    model->attached->first = model->n_params;
    return UM_OK;
}

/* What parameters are attached to: a module's name, and the layer it is of. */
struct place {
    const char *module;
    int layer;
};

/* A parameter MODULE + SUFFIX; a vector has no columns. */
static enum um_status add(struct um_param **out, struct um_model *model, struct place place,
                          const char *suffix, int64_t rows, int64_t cols, struct origin origin,
                          struct um_error *err)
{
    char name[320];
    struct um_param *param = &model->params[model->n_params];
    (void)snprintf(name, sizeof(name), "%s%s", place.module, suffix);
    *param = (struct um_param){.index = (int)model->n_params, .rows = rows,
                               .cols = cols ? cols : 1, .n_dims = cols ? 2 : 1, .dtype = UM_F32,
                               .layer = place.layer, .is_added = true, .is_attached = true};
    param->n_elements = param->rows * param->cols;
    param->name = um_arena_strdup(&model->arena, name);
    param->is_planned_f32 = model->is_shape;
    if (!model->is_shape)
        param->values = UM_ARENA_NEW(&model->arena, param->n_elements, float);
    if (!param->name || (!param->values && !model->is_shape))
        return um_fail_memory(err, name, (size_t)param->n_elements * sizeof(float));
    if (origin.start == START_LENGTHS && !model->is_shape)
        UM_RETURN_IF(measure(&origin.lengths, model, origin.weight, rows, err));
    model->attached->origins[param->index - model->attached->first] = origin;
    model->n_params++;
    *out = param;
    if (!model->is_shape)
        um_model_first_values(param->values, model, param);
    return UM_OK;
}

static enum um_status attach_pair(struct um_model *model, struct um_param *weight,
                                  struct um_error *err)
{
    const struct um_addition_options *o = &model->attached->options;
    const struct um_addition *a = o->addition;
    int64_t n_out = um_map_outputs(weight), n_in = weight->n_elements / n_out;
    double rank = (double)o->rank;
    char module[300];
    (void)snprintf(module, sizeof(module), "%.*s",
                   (int)um_length_before(weight->name, ".weight"), weight->name);
    const struct place place = {module, weight->layer};
    struct um_low_rank *l = UM_ARENA_NEW(&model->arena, 1, struct um_low_rank);
    if (!l)
        return um_fail_memory(err, weight->name, sizeof(*l));
    const struct origin down = {.start = a->has_lambda ? START_NORMAL : START_KAIMING};
    const struct origin up = {.start = a->has_lambda ? START_NORMAL : START_ZERO};
    const struct origin length = {.start = START_LENGTHS, .weight = weight};
    /* AdaLoRA's vectors are parameters of PEFT's own, without ".weight". */
    UM_RETURN_IF(add(&l->down, model, place, a->has_lambda ? ".lora_A" : ".lora_A.weight", o->rank,
                     n_in, down, err));
    UM_RETURN_IF(add(&l->up, model, place, a->has_lambda ? ".lora_B" : ".lora_B.weight", n_out,
                     o->rank, up, err));
    if (a->has_lambda)
        UM_RETURN_IF(add(&l->lambda, model, place, ".lora_E", o->rank, 1, (struct origin){0},
                         err));
    if (a->has_magnitude)
        UM_RETURN_IF(add(&l->magnitude, model, place, ".lora_magnitude_vector", n_out, 0, length,
                         err));
    l->scale = (float)(o->alpha / (a->has_lambda            ? rank + 1e-5
                                   : o->is_rank_stabilised ? sqrt(rank)
                                                           : rank));
    l->dropout = (float)o->dropout;
    weight->low_rank = l;
    return UM_OK;
}

static bool can_take_pair(const struct um_param *param)
{
    return param->is_map && !param->is_head && um_length_before(param->name, ".weight");
}

static enum um_status attach_pairs(struct um_model *model, struct um_error *err)
{
    const struct um_addition_options *o = &model->attached->options;
    int64_t n_base = model->n_params, n = 0, n_marked = 0;
    const char **names = UM_NEW(n_base, const char *);
    int64_t *places = UM_NEW(n_base, int64_t);
    bool *is_marked = UM_NEW(n_base, bool);
    enum um_status status;
    if (!names || !places || !is_marked)
        UM_TRY(um_fail_memory(err, "targets", (size_t)n_base * sizeof(*names)));
    for (int64_t p = 0; p < n_base; p++) {
        if (!can_take_pair(&model->params[p]))
            continue;
        names[n] = model->params[p].name;
        places[n++] = p;
    }
    UM_TRY(mark_targets(is_marked, names, (size_t)n, o, "linear map", err));
    for (int64_t i = 0; i < n; i++)
        n_marked += is_marked[i];
    UM_TRY(grow_table(model, n_marked * (2 + o->addition->has_lambda + o->addition->has_magnitude),
                      err));
    for (int64_t i = 0; i < n; i++)
        if (is_marked[i])
            UM_TRY(attach_pair(model, &model->params[places[i]], err));
out:
    um_free(names);
    um_free(places);
    um_free(is_marked);
    return status;
}

/* `site` is number `at` of the model's sites. */
static enum um_status attach_adapter(struct um_model *model, int64_t at, const char *site,
                                     struct um_error *err)
{
    const struct um_addition_options *o = &model->attached->options;
    int64_t D = model->dims.D, F = o->bottleneck ? o->bottleneck : D / 16 > 0 ? D / 16 : 1;
    struct um_adapter *a = UM_ARENA_NEW(&model->arena, 1, struct um_adapter);
    const struct origin normal = {.start = START_NORMAL}, zero = {.start = START_ZERO};
    const struct place place = {site, (int)(at / UM_N_SITES)};
    if (!a)
        return um_fail_memory(err, site, sizeof(*a));
    UM_RETURN_IF(add(&a->down, model, place, ".down.weight", F, D, normal, err));
    UM_RETURN_IF(add(&a->down_bias, model, place, ".down.bias", F, 0, zero, err));
    UM_RETURN_IF(add(&a->up, model, place, ".up.weight", D, F, normal, err));
    UM_RETURN_IF(add(&a->up_bias, model, place, ".up.bias", D, 0, zero, err));
    a->sees_joined = o->addition->sees_joined;
    a->dropout = (float)o->dropout;
    a->activation = o->addition->activation;
    model->adapters[at] = a;
    return o->activation && *o->activation
               ? um_activation_from_name(&a->activation, o->activation, "method.activation", err)
               : UM_OK;
}

static enum um_status attach_adapters(struct um_model *model, struct um_error *err)
{
    enum { NAME_BYTES = 64, N_PARTS = 4 };
    const struct um_addition_options *o = &model->attached->options;
    int64_t n = model->dims.L * UM_N_SITES, n_marked = 0;
    char(*texts)[NAME_BYTES] = um_calloc((size_t)n, NAME_BYTES);
    const char **names = UM_NEW(n, const char *);
    bool *is_marked = UM_NEW(n, bool);
    enum um_status status;
    model->adapters = UM_ARENA_NEW(&model->arena, n, struct um_adapter *);
    if (!texts || !names || !is_marked || !model->adapters)
        UM_TRY(um_fail_memory(err, "adapters", (size_t)n * NAME_BYTES));
    for (int64_t i = 0; i < n; i++) {
        enum um_site site = (enum um_site)(i % UM_N_SITES);
        (void)snprintf(texts[i], NAME_BYTES, "adapters.%lld.%s", (long long)(i / UM_N_SITES),
                       um_site_name(site));
        names[i] = texts[i];
        is_marked[i] = o->n_targets == 0 && o->addition->sites[site];
    }
    UM_TRY(mark_targets(is_marked, names, (size_t)n, o, "site of an adapter", err));
    for (int64_t i = 0; i < n; i++)
        n_marked += is_marked[i];
    UM_TRY(grow_table(model, n_marked * N_PARTS, err));
    for (int64_t i = 0; i < n; i++)
        if (is_marked[i])
            UM_TRY(attach_adapter(model, i, names[i], err));
out:
    um_free(texts);
    um_free(names);
    um_free(is_marked);
    return status;
}

/* The options with texts of the model's own, and its default targets. */
static enum um_status keep_options(struct um_model *model, const struct um_addition_options *o,
                                   struct um_error *err)
{
    const char *const *defaults = model->arch->targets;
    size_t n = o->n_targets;
    bool is_default = n == 0 && o->addition->kind == UM_ADDITION_LOW_RANK;
    while (is_default && defaults[n])
        n++;
    struct um_attached *a = UM_ARENA_NEW(&model->arena, 1, struct um_attached);
    char **targets = UM_ARENA_NEW(&model->arena, n + 1, char *);
    if (!a || !targets)
        return um_fail_memory(err, "targets", n * sizeof(char *));
    a->options = *o;
    a->options.targets = targets;
    a->options.n_targets = n;
    a->options.activation = um_arena_strdup(&model->arena, o->activation ? o->activation : "");
    for (size_t i = 0; i < n; i++) {
        targets[i] = um_arena_strdup(&model->arena, is_default ? defaults[i] : o->targets[i]);
        if (!targets[i])
            return um_fail_memory(err, "targets", 0);
    }
    if (!a->options.activation)
        return um_fail_memory(err, "targets", 0);
    model->attached = a;
    return UM_OK;
}

enum um_status um_model_attach(struct um_model *model, const struct um_addition_options *o,
                               struct um_error *err)
{
    enum { RANK_MAX = 4096, BOTTLENECK_MAX = 1 << 16 };
    if (!o->addition || o->addition->kind == UM_ADDITION_NONE)
        return UM_OK;
    bool is_pair = o->addition->kind == UM_ADDITION_LOW_RANK;
    if (is_pair && (o->rank < 1 || o->rank > RANK_MAX))
        return um_fail(err, UM_E_USAGE, "method.rank is %lld, expected 1 to %d",
                       (long long)o->rank, RANK_MAX);
    if (o->bottleneck < 0 || o->bottleneck > BOTTLENECK_MAX)
        return um_fail(err, UM_E_USAGE, "method.bottleneck is %lld, expected 1 to %d",
                       (long long)o->bottleneck, BOTTLENECK_MAX);
    if (!(o->dropout >= 0 && o->dropout < 1) || !isfinite(o->alpha))
        return um_fail(err, UM_E_USAGE, "method.dropout is %g, method.alpha %g: out of range",
                       o->dropout, o->alpha);
    UM_RETURN_IF(keep_options(model, o, err));
    return is_pair ? attach_pairs(model, err) : attach_adapters(model, err);
}

const struct um_addition_options *um_model_attached(const struct um_model *model)
{
    return model->attached ? &model->attached->options : NULL;
}

/* ---- as text */

char *um_model_attached_text(const struct um_model *model)
{
    if (!model->attached)
        return calloc(1, 1);
    const struct um_addition_options *o = &model->attached->options;
    json_t *targets = json_array();
    for (size_t i = 0; i < o->n_targets; i++)
        (void)json_array_append_new(targets, json_string(o->targets[i]));
    json_t *json = json_pack("{s:s, s:I, s:f, s:b, s:f, s:I, s:s, s:o}", "kind", o->addition->name,
                             "rank", (json_int_t)o->rank, "alpha", o->alpha, "rslora",
                             o->is_rank_stabilised ? 1 : 0, "dropout", o->dropout, "bottleneck",
                             (json_int_t)o->bottleneck, "activation", o->activation, "targets",
                             targets);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    return text;
}

static enum um_status read_targets(char ***targets, size_t *n, const json_t *json,
                                   const char *where, struct um_error *err)
{
    const json_t *list = json_object_get(json, "targets");
    *n = json_array_size(list);
    *targets = UM_NEW(*n + 1, char *);
    if (!*targets)
        return um_fail_memory(err, where, *n * sizeof(char *));
    for (size_t i = 0; i < *n; i++) {
        const char *target = json_string_value(json_array_get(list, i));
        if (!target)
            return um_fail(err, UM_E_INPUT, "cannot load '%s': a target is not a text", where);
        (*targets)[i] = um_strdup(target);
        if (!(*targets)[i])
            return um_fail_memory(err, where, strlen(target));
    }
    return UM_OK;
}

enum um_status um_model_attach_text(struct um_model *model, const char *text, const char *where,
                                    struct um_error *err)
{
    struct um_addition_options o = {0};
    json_t *json = NULL;
    const char *kind = "";
    char **targets = NULL;
    enum um_status status;
    if (!*text)
        return UM_OK;
    UM_TRY(um_json_parse(&json, text, strlen(text), where, err));
    UM_TRY(um_json_get_str(&kind, json, "kind", where, err));
    UM_TRY(um_json_get_i64(&o.rank, json, "rank", where, err));
    UM_TRY(um_json_get_f64(&o.alpha, json, "alpha", where, err));
    UM_TRY(um_json_get_bool(&o.is_rank_stabilised, json, "rslora", where, err));
    UM_TRY(um_json_get_f64(&o.dropout, json, "dropout", where, err));
    UM_TRY(um_json_get_i64(&o.bottleneck, json, "bottleneck", where, err));
    UM_TRY(um_json_get_str(&o.activation, json, "activation", where, err));
    UM_TRY(read_targets(&targets, &o.n_targets, json, where, err));
    o.targets = targets;
    o.addition = um_addition_find(kind);
    if (!o.addition)
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot load '%s': it adds '%s', which is not known", where,
                       kind));
    status = um_model_attach(model, &o, err);
    if (status == UM_E_USAGE)
        status = UM_E_INPUT; /* a file said so */
out:
    for (size_t i = 0; targets && i < o.n_targets; i++)
        um_free(targets[i]);
    um_free(targets);
    json_decref(json);
    return status;
}
