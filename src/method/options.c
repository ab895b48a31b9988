/* A tuning's options: what is left open is the method's own. */
#include "method/method.h"

static void resolve_importance(struct um_tuning_options *o)
{
    const struct um_method *method = o->method;
    if (o->strategy->is_whole)
        o->select.importance = NULL;
    else if (!o->select.importance)
        o->select.importance = um_importance_find(method->importance ? method->importance : "d3");
}

static void resolve_samples(struct um_tuning_options *o)
{
    const struct um_importance *importance = o->select.importance;
    if (!o->strategy->chooses_once || !importance || importance->source != UM_SOURCE_GRADIENT)
        o->samples = 0;
    else if (o->samples < 0)
        o->samples = o->method->samples;
}

enum um_status um_tuning_options_resolve(struct um_tuning_options *o, struct um_error *err)
{
    if (!o->strategy)
        o->strategy = um_strategy_find(o->method->strategy);
    if (!o->region)
        o->region = um_region_find(o->method->region ? o->method->region : "all");
    if (!o->schedule || o->strategy->chooses_once)
        o->schedule = o->strategy->schedule ? um_schedule_find(o->strategy->schedule) : NULL;
    if (o->every < 1 || o->strategy->chooses_once)
        o->every = o->strategy->every > 0 ? o->strategy->every : 1;
    resolve_importance(o);
    resolve_samples(o);
    o->keeps_dropped = o->keeps_dropped && o->strategy->is_fresh;
    if (o->select.importance && o->select.importance->source == UM_SOURCE_MOVEMENT &&
        !o->strategy->chooses_once)
        return um_fail(err, UM_E_USAGE,
                       "method.importance '%s' is known once, before the first step: it goes with "
                       "method.strategy 'static', not '%s'",
                       o->select.importance->name, o->strategy->name);
    return UM_OK;
}
