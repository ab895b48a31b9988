/* Scope and budget: which parameters may change, which train whole, and how many in all. */
#include "method/scope.h"

#include <math.h>
#include <string.h>

static bool matches_any(const struct um_patterns *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (um_glob(patterns->items[i], name))
            return true;
    return false;
}

static bool matches_a_parameter(const char *pattern, const struct um_param *params,
                                int64_t n_params)
{
    int64_t p = 0;
    while (p < n_params && !um_glob(pattern, params[p].name))
        p++;
    return p < n_params;
}

/* What a pattern was meant as that is a part of names: "encoder.layer.0.*" for
 * "encoder.layer.0". */
static bool find_whole(struct um_str *whole, const char *pattern, const struct um_param *params,
                       int64_t n_params)
{
    static const char *const around[][2] = {{"", ".*"}, {"*.", ""}, {"*.", ".*"}};
    for (size_t i = 0; i < UM_COUNT(around); i++)
        if (matches_a_parameter(um_str_setf(whole, "%s%s%s", around[i][0], pattern, around[i][1]),
                                params, n_params))
            return true;
    return false;
}

/* The message tells the pattern that was meant, or the nearest parameter. */
static enum um_status fail_pattern(const char *pattern, const char *key,
                                   const struct um_param *params, int64_t n_params,
                                   struct um_error *err)
{
    struct um_str whole = {0};
    const char **names = UM_NEW(n_params, const char *);
    for (int64_t p = 0; names && p < n_params; p++)
        names[p] = params[p].name;
    const char *near = names ? um_nearest(pattern, names, (size_t)n_params) : NULL;
    if (find_whole(&whole, pattern, params, n_params))
        um_fail(err, UM_E_USAGE, "%s: pattern '%s' matches no parameter; did you mean '%s'?", key,
                pattern, whole.text);
    else
        um_fail(err, UM_E_USAGE, "%s: pattern '%s' matches no parameter; the nearest is '%s'", key,
                pattern, near ? near : params[n_params / 2].name);
    um_error_hint(err, "`unmask inspect --model DIR` lists all names; `*` stands for any text");
    um_free(names);
    um_str_free(&whole);
    return UM_E_USAGE;
}

/* Every pattern must match something. */
static enum um_status check_patterns(const struct um_patterns *patterns, const char *key,
                                     const struct um_param *params, int64_t n_params,
                                     struct um_error *err)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (!matches_a_parameter(patterns->items[i], params, n_params))
            return fail_pattern(patterns->items[i], key, params, n_params, err);
    return UM_OK;
}

static bool is_fresh_head(const struct um_param *param)
{
    return param->is_added && !param->is_attached;
}

/* A fresh head trains whatever is excluded; a pattern that is of no more than it has no effect. */
static enum um_status check_excluded(const struct um_patterns *exclude,
                                     const struct um_param *params, int64_t n_params,
                                     struct um_error *err)
{
    for (size_t i = 0; i < exclude->n; i++) {
        int64_t p = 0;
        while (p < n_params &&
               (is_fresh_head(&params[p]) || !um_glob(exclude->items[i], params[p].name)))
            p++;
        if (p == n_params)
            return um_fail(err, UM_E_USAGE,
                           "scope.exclude: '%s' matches only the fresh head, which "
                           "trains in any case",
                           exclude->items[i]);
    }
    return UM_OK;
}

static struct um_region_context context_of(const struct um_param *params, int64_t n_params,
                                         const struct um_tuning_options *options)
{
    struct um_region_context context = {.n_top = options->n_top > 1 ? (int)options->n_top : 1};
    for (int64_t p = 0; p < n_params; p++) {
        context.n_layers = params[p].layer >= context.n_layers ? params[p].layer + 1
                                                               : context.n_layers;
        context.has_task_head |= params[p].is_task_head;
    }
    return context;
}

static bool is_in_scope(const struct um_param *param, const struct um_region_context *context,
                        const struct um_tuning_options *options)
{
    return options->region->has(param, context) &&
           (options->include.n == 0 || matches_any(&options->include, param->name)) &&
           !matches_any(&options->exclude, param->name);
}

enum um_status um_scope_work_out(struct um_scope *scope, struct um_param *params,
                                 int64_t n_params, const struct um_tuning_options *options,
                                 struct um_error *err)
{
    *scope = (struct um_scope){.params = UM_NEW(n_params, struct um_param *),
                               .is_whole = UM_NEW(n_params, bool)};
    if (!scope->params || !scope->is_whole)
        return um_fail_memory(err, "the scope", (size_t)n_params * sizeof(struct um_param *));
    UM_RETURN_IF(check_patterns(&options->include, "scope.include", params, n_params, err));
    UM_RETURN_IF(check_patterns(&options->exclude, "scope.exclude", params, n_params, err));
    UM_RETURN_IF(check_patterns(&options->whole, "scope.whole", params, n_params, err));
    UM_RETURN_IF(check_excluded(&options->exclude, params, n_params, err));
    const struct um_region_context context = context_of(params, n_params, options);
    int64_t n_attached_in = 0;
    for (int64_t p = 0; p < n_params; p++)
        scope->n_attached += params[p].is_attached ? params[p].n_elements : 0;
    for (int64_t p = 0; p < n_params; p++) {
        struct um_param *param = &params[p];
        /* Beside an addition the task's head trains also where the model came with it, as in
         * PEFT. */
        bool is_head = is_fresh_head(param) ||
                       (scope->n_attached > 0 && param->is_task_head && !param->is_head);
        bool is_whole = is_head || matches_any(&options->whole, param->name);
        /* Beside an addition, the model itself stays as it is. */
        bool is_in = is_whole || ((scope->n_attached == 0 || param->is_attached) &&
                                  is_in_scope(param, &context, options));
        param->wants_grad = is_in;
        scope->n_base += param->is_added ? 0 : param->n_elements;
        if (!is_in)
            continue;
        is_whole = is_whole || options->strategy->is_whole;
        scope->params[scope->n] = param;
        scope->is_whole[scope->n++] = is_whole;
        scope->n_elements += param->n_elements;
        n_attached_in += param->is_attached ? param->n_elements : 0;
        scope->n_whole += is_whole ? param->n_elements : 0;
    }
    if (scope->n_elements == 0)
        return um_fail(err, UM_E_USAGE, "scope: nothing is left to train of region '%s'",
                       options->region->name);
    if (scope->n_attached > 0 && n_attached_in == 0)
        return um_fail(err, UM_E_USAGE,
                       "scope: region '%s', include and exclude leave nothing to train of what is "
                       "added to the model",
                       options->region->name);
    return UM_OK;
}

void um_scope_free(struct um_scope *scope)
{
    um_free(scope->params);
    um_free(scope->is_whole);
    *scope = (struct um_scope){0};
}

/* Bytes of delta for one value: an I64 index and an F32, or the F32 alone. */
enum { SPARSE_BYTES = 12, WHOLE_BYTES = 4 };

static const struct {
    const char *suffix;
    double bytes;
} byte_units[] = {{"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"kB", 1e3},
                  {"KB", 1e3},   {"MB", 1e6},      {"GB", 1e9},         {"B", 1}};

enum um_status um_budget_parse(int64_t *budget, const char *text, int64_t n_base, int64_t n_whole,
                               struct um_error *err)
{
    char *unit;
    double number = um_strtod(text, &unit);
    bool is_number = unit != text && isfinite(number);
    while (*unit == ' ')
        unit++;
    double count = -1;
    if (is_number && *unit == '\0' && number == floor(number))
        count = number;
    else if (is_number && strcmp(unit, "%") == 0)
        count = floor(number / 100 * (double)n_base * (1 + 0x1p-50)); /* 29 % of 100 is 29 */
    for (size_t i = 0; is_number && i < UM_COUNT(byte_units); i++)
        if (strcmp(unit, byte_units[i].suffix) == 0)
            count = (double)n_whole +
                    floor((number * byte_units[i].bytes - WHOLE_BYTES * (double)n_whole) /
                          SPARSE_BYTES);
    if (count < 1 || count > 9e15)
        return um_fail(err, UM_E_USAGE,
                       "method.budget is '%s', expected a count above zero (320000), a share of "
                       "the base model's parameters (0.17%%), or bytes of delta (2MB)",
                       text);
    *budget = (int64_t)count;
    return UM_OK;
}

enum um_status um_budget_work_out(int64_t *budget, const struct um_scope *scope,
                               const struct um_tuning_options *options, struct um_error *err)
{
    if (options->strategy->is_whole) {
        *budget = scope->n_elements;
        return UM_OK;
    }
    size_t n = strlen(options->budget);
    if (scope->n_attached && n > 0 && options->budget[n - 1] == 'B') /* a unit of bytes */
        return um_fail(err, UM_E_USAGE,
                       "method.budget '%s' is bytes of delta, but what is put beside the model is "
                       "stored whole: give a count, or a share of it (50%%)",
                       options->budget);
    int64_t n_all = scope->n_attached ? scope->n_attached : scope->n_base; /* that shares are of */
    UM_RETURN_IF(um_budget_parse(budget, options->budget, n_all, scope->n_whole, err));
    if (*budget > scope->n_elements)
        return um_fail(err, UM_E_USAGE,
                       "method.budget '%s' is %lld parameters, but the scope has only %lld",
                       options->budget, (long long)*budget, (long long)scope->n_elements);
    if (*budget < scope->n_whole)
        return um_fail(err, UM_E_USAGE,
                       "method.budget '%s' is %lld parameters, but %lld train whole (a fresh task "
                       "head, or scope.whole): give at least that many",
                       options->budget, (long long)*budget, (long long)scope->n_whole);
    return UM_OK;
}
