/*
 * Settings that something else makes idle: each group of keys with what it is for. Told of what was
 * set on its own, as on a command line; a recipe's file may hold settings for several methods.
 */
#include "train/run.h"

static const struct um_importance *importance_of(const struct um_run *run)
{
    return run->tuning.options.select.importance;
}

static const struct um_addition *addition_of(const struct um_run *run)
{
    const struct um_addition_options *attached = um_model_attached(&run->tm.model);
    return attached ? attached->addition : &um_additions[0];
}

static bool chooses(const struct um_run *run)
{
    return !run->tuning.options.strategy->is_whole;
}

static bool chooses_again(const struct um_run *run)
{
    return chooses(run) && !run->tuning.options.strategy->chooses_once;
}

static bool replaces(const struct um_run *run)
{
    return run->tuning.options.strategy->is_fresh;
}

static bool chooses_once_by_gradient(const struct um_run *run)
{
    return run->tuning.options.strategy->chooses_once &&
           importance_of(run)->source == UM_SOURCE_GRADIENT;
}

static bool weighs_size(const struct um_run *run)
{
    return chooses(run) && importance_of(run)->uses_size;
}

static bool has_trial(const struct um_run *run)
{
    return chooses(run) && importance_of(run)->source == UM_SOURCE_MOVEMENT;
}

static bool has_addition(const struct um_run *run)
{
    return addition_of(run)->kind != UM_ADDITION_NONE;
}

static bool has_low_rank(const struct um_run *run)
{
    return addition_of(run)->kind == UM_ADDITION_LOW_RANK;
}

static bool allots_ranks(const struct um_run *run)
{
    return addition_of(run)->has_lambda;
}

static bool has_adapters(const struct um_run *run)
{
    return addition_of(run)->kind == UM_ADDITION_ADAPTER;
}

static bool counts_layers(const struct um_run *run)
{
    return run->tuning.options.region->counts_layers;
}

static bool has_momentum(const struct um_run *run)
{
    return run->optimizer->has_momentum;
}

static bool has_moments(const struct um_run *run)
{
    return run->optimizer->has_moments;
}

static bool goes_on_with_texts(const struct um_run *run)
{
    return um_style_is_prose(run->task->style);
}

static bool has_answers(const struct um_run *run)
{
    return run->task->answer != UM_ANSWER_NONE;
}

static bool evaluates(const struct um_run *run)
{
    return run->eval.n_rows > 0;
}

static bool evaluates_on_the_way(const struct um_run *run)
{
    return evaluates(run) && run->config->eval.every > 0;
}

static bool counts_epochs(const struct um_run *run)
{
    return run->config->train.max_steps == 0;
}

enum { KEYS_MAX = 7 };

static const struct {
    bool (*is_met)(const struct um_run *run);
    const char *what;
    const char *keys[KEYS_MAX + 1];
} purposes[] = {
    {chooses,
     "methods that choose what trains",
     {"method.budget", "method.importance", "method.ranking"}},
    {chooses_again,
     "strategies that choose more than once (increment, repeat)",
     {"method.schedule", "method.until", "method.every"}},
    {replaces, "strategies that choose anew (repeat)", {"method.dropped"}},
    {chooses_once_by_gradient, "a static choice by gradients", {"method.samples"}},
    {weighs_size, "importances by gradient and weight (d3)", {"method.exp", "method.eps"}},
    {has_trial, "importance 'movement' (lt-sft)", {"method.trial", "method.trial_lr"}},
    {has_addition, "what is put beside the model", {"method.dropout", "method.targets"}},
    {has_low_rank,
     "low-rank changes (lora, dora, adalora)",
     {"method.rank", "method.alpha", "method.rslora"}},
    {allots_ranks,
     "adalora",
     {"method.init_rank", "method.tinit", "method.tfinal", "method.delta_t", "method.beta1",
      "method.beta2", "method.orthogonality"}},
    {has_adapters, "adapters (houlsby, pfeiffer)", {"method.bottleneck", "method.activation"}},
    {counts_layers, "region 'top-layers'", {"scope.layers"}},
    {has_momentum, "optimizers with momentum (sgd)", {"optimizer.momentum"}},
    {has_moments,
     "optimizers with two moments (adamw)",
     {"optimizer.beta1", "optimizer.beta2", "optimizer.eps", "optimizer.bias_correction"}},
    {goes_on_with_texts, "tasks that go on with texts", {"data.pack", "data.loss"}},
    {has_answers, "tasks that are scored by answers", {"eval.max_new_tokens"}},
    {evaluates,
     "runs with rows to evaluate on",
     {"eval.every", "eval.best", "eval.before", "eval.rows", "eval.batch"}},
    {evaluates_on_the_way, "runs that evaluate on their way (eval.every)", {"eval.patience"}},
    {counts_epochs, "runs without train.max_steps", {"train.epochs"}},
};

void um_run_say_idle(const struct um_run *run, const struct um_recipe *recipe)
{
    for (size_t i = 0; i < UM_COUNT(purposes); i++) {
        const char *const *key = purposes[i].keys;
        for (; *key && !purposes[i].is_met(run); key++)
            if (um_recipe_asks(recipe, *key))
                um_say(&run->callbacks, "%s has no effect: it is for %s", *key, purposes[i].what);
    }
}
