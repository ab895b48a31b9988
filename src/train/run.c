/* Opening a run: recipe to model, data, method. */
#include "train/run.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "train/names.h"

char *um_run_path(const struct um_run *run, const char *name)
{
    return um_path_join(run->config->out, name);
}

/* The classes' names as the model to start from has them, if it has: its head knows their order. */
static enum um_status read_names(struct um_names *names, const struct um_run *run,
                                 struct um_error *err)
{
    struct um_folder folder = {0};
    enum um_status status = UM_OK;
    if (*run->config->model && um_task_has_classes(run->task)) {
        UM_TRY(um_folder_open(&folder, run->config->model, err));
        UM_TRY(um_names_read(names, folder.config, 0, err));
    }
out:
    um_folder_close(&folder);
    return status;
}

static enum um_status open_train(struct um_run *run, struct um_error *err)
{
    struct um_data_options options = um_data_options_of(run->config, true);
    struct um_names names = {0};
    enum um_status status;
    UM_TRY(read_names(&names, run, err));
    options.names = names.items;
    options.n_names = names.are_told ? names.n : 0;
    UM_TRY(um_dataset_open(&run->train, run->task, &options, err));
    for (int64_t k = 0; k < options.n_names && k < run->train.n_labels; k++)
        run->has_other_classes |= strcmp(names.items[k], run->train.labels[k]) != 0;
out:
    um_names_free(&names);
    return status;
}

static enum um_status open_eval(struct um_run *run, struct um_error *err)
{
    struct um_data_options options = um_data_options_of(run->config, false);
    options.labels = run->train.labels;
    options.n_labels = run->train.n_labels;
    return um_dataset_open(&run->eval, run->task, &options, err);
}

/* The metric that tells the best evaluation. */
static enum um_status choose_metric(struct um_run *run, struct um_error *err)
{
    const struct um_task *task = run->task;
    const char *best = *run->config->eval.best ? run->config->eval.best : task->metrics[0];
    struct um_str names = {0};
    for (int i = 0; i < UM_TASK_METRICS && task->metrics[i]; i++) {
        um_str_add_item(&names, task->metrics[i]);
        if (strcmp(task->metrics[i], best) == 0)
            run->best = um_metric_find(best);
    }
    if (!run->best)
        um_fail(err, UM_E_USAGE, "eval.best: '%s' is not a metric of task '%s'; it has %s", best,
                task->name, names.text ? names.text : "others");
    um_str_free(&names);
    return run->best ? UM_OK : UM_E_USAGE;
}

static enum um_status open_data(struct um_run *run, struct um_error *err)
{
    const struct um_config *c = run->config;
    run->task = um_task_find(c->task);
    if (!run->task) /* choices are checked when they are set, so only "" comes here */
        return um_fail(err, UM_E_USAGE, "task: not given; `unmask help tasks` lists them");
    UM_RETURN_IF(open_train(run, err));
    if (c->data.holdout > 0 && *c->data.eval)
        return um_fail(err, UM_E_USAGE,
                       "data.holdout holds out rows to evaluate on, and data.eval names a "
                       "file of them: give one of the two");
    if (c->data.holdout > 0)
        UM_RETURN_IF(
            um_dataset_hold_out(&run->eval, &run->train, c->data.holdout, c->eval.rows, err));
    else if (*c->data.eval || (run->task->eval && *c->data.path))
        UM_RETURN_IF(open_eval(run, err));
    return choose_metric(run, err);
}

enum um_status um_run_attach(struct um_run *run, struct um_error *err)
{
    const struct um_config *c = run->config;
    const struct um_method *method = um_method_find(c->method.name);
    const struct um_addition *on = um_addition_find(c->method.on);
    const struct um_addition *own = method && method->addition ? um_addition_find(method->addition)
                                                               : on;
    if (on != own && on->kind != UM_ADDITION_NONE)
        return um_fail(err, UM_E_USAGE, "method.on: '%s' cannot go on '%s', it is an addition of "
                       "its own", c->method.name, c->method.on);
    const struct um_addition_options options = {
        .addition = own,
        .rank = own->has_lambda ? c->method.init_rank : c->method.rank,
        .alpha = c->method.alpha,
        .is_rank_stabilised = c->method.rslora,
        .dropout = c->method.dropout,
        .bottleneck = c->method.bottleneck,
        .activation = c->method.activation,
        .targets = c->method.targets.items,
        .n_targets = c->method.targets.n,
        .seed = (uint64_t)c->train.seed};
    return um_model_attach(&run->tm.model, &options, err);
}

static enum um_status open_model(struct um_run *run, struct um_error *err)
{
    const struct um_config *c = run->config;
    struct um_task_model *tm = &run->tm;
    const struct um_model_options options = {
        .heads = um_heads_of(run->task),
        .n_outputs = run->task->is_regression ? 1 : run->train.n_labels,
        .seed = (uint64_t)c->train.seed,
        .dropout = c->train.dropout};
    if (!*c->model)
        return um_fail(err, UM_E_USAGE, "model: not given; name a Hugging Face folder");
    UM_RETURN_IF(um_model_open(&tm->model, c->model, &options, err));
    UM_RETURN_IF(um_run_attach(run, err));
    UM_RETURN_IF(um_task_check_arch(run->task, tm->model.arch, err));
    UM_RETURN_IF(um_tokenizer_open(&tm->tokenizer, c->model, err));
    UM_RETURN_IF(um_task_model_open_chat(tm, run->task, c->data.template, err));
    tm->max_length = um_max_length_of(&tm->model, c);
    UM_RETURN_IF(um_task_model_encode(&run->train_tokens, tm, &run->train, c, err));
    UM_RETURN_IF(um_encoded_leave_out(&run->train_tokens, &run->train, err));
    if (!run->eval.is_borrowed) /* from the training rows */
        um_dataset_drop_texts(&run->train);
    return run->eval.n_rows ? um_evaluator_open(&run->evaluator, tm, &run->eval, c, err) : UM_OK;
}

static enum um_order order_of(const char *name)
{
    for (int i = 0; i < UM_N_ORDERS; i++)
        if (strcmp(um_order_names[i], name) == 0)
            return (enum um_order)i;
    return UM_ORDER_SHUFFLE;
}

void um_run_work_out_steps(struct um_run *run)
{
    const struct um_config *c = run->config;
    int64_t n_batches = um_batches_per_epoch(&run->batches);
    run->steps_per_epoch = (n_batches + c->train.accumulate - 1) / c->train.accumulate;
    run->n_steps = (int64_t)ceil(c->train.epochs * (double)run->steps_per_epoch);
    if (c->train.max_steps > 0)
        run->n_steps = c->train.max_steps;
}

static enum um_status open_steps(struct um_run *run, struct um_error *err)
{
    const struct um_config *c = run->config;
    UM_RETURN_IF(um_batches_open(&run->batches, order_of(c->train.order),
                                 run->train_tokens.n_rows,
                                 c->train.batch, (uint64_t)c->train.seed,
                                 run->train_tokens.lengths, err));
    um_run_work_out_steps(run);
    return UM_OK;
}

int64_t um_run_warmup(const struct um_run *run, int64_t n_steps)
{
    double warmup = run->config->lr_schedule.warmup;
    if (n_steps == 1) /* a warm-up begins at a rate of 0: nothing would be learnt */
        return 0;
    return warmup < 1 ? (int64_t)ceil(warmup * (double)n_steps) : (int64_t)warmup;
}

static enum um_bound bound_of(const char *name)
{
    for (int b = UM_BOUND_RANK1; b < UM_N_BOUNDS; b++)
        if (strcmp(um_bound_name((enum um_bound)b), name) == 0)
            return (enum um_bound)b;
    return UM_BOUND_AUTO;
}

static struct um_tuning_options tuning_options(const struct um_config *c)
{
    return (struct um_tuning_options){
        .method = um_method_find(c->method.name),
        .strategy = um_strategy_find(c->method.strategy), /* "" finds none: the method's own */
        .schedule = um_schedule_find(c->method.schedule),
        .region = um_region_find(c->scope.region),
        .select = {.importance = um_importance_find(c->method.importance),
                   .exp = c->method.exp,
                   .eps = c->method.eps,
                   .bound = bound_of(c->method.bound),
                   .seed = (uint64_t)c->train.seed},
        .budget = c->method.budget,
        .until = c->method.until,
        .every = c->method.every,
        .samples = c->method.samples,
        .n_top = c->scope.layers,
        .is_per_matrix = strcmp(c->method.ranking, "matrix") == 0,
        .keeps_dropped = strcmp(c->method.dropped, "keep") == 0,
        .n_micro = c->train.accumulate,
        .adalora = {.target_rank = c->method.rank,
                    .tinit = c->method.tinit,
                    .tfinal = c->method.tfinal,
                    .every = c->method.delta_t,
                    .beta1 = c->method.beta1,
                    .beta2 = c->method.beta2,
                    .orthogonality = c->method.orthogonality},
        .include = {c->scope.include.items, c->scope.include.n},
        .exclude = {c->scope.exclude.items, c->scope.exclude.n},
        .whole = {c->scope.whole.items, c->scope.whole.n}};
}

/* A learning rate that is left to the method: what is recorded then is what was done. */
static enum um_status settle_rate(struct um_run *run, struct um_error *err)
{
    const struct um_tuning *t = &run->tuning;
    /* an addition has its method's name */
    const struct um_method *on = um_method_find(run->config->method.on);
    double rate = on ? on->rate
                     : um_method_rate(t->options.method, (double)t->budget / (double)t->n_base);
    char text[32];
    if (run->config->optimizer.lr > 0)
        return UM_OK;
    (void)um_snprintf(text, sizeof(text), "%g", rate);
    return um_recipe_set(run->recipe, "optimizer.lr", text, err);
}

enum um_status um_run_open_method(struct um_run *run, struct um_error *err)
{
    const struct um_config *c = run->config;
    struct um_tuning_options options = tuning_options(c);
    run->optimizer = um_optimizer_find(c->optimizer.name);
    run->lr_schedule = um_lr_schedule_find(c->lr_schedule.name);
    run->optimizer_options = (struct um_optimizer_options){
        .beta1 = c->optimizer.beta1,
        .beta2 = c->optimizer.beta2,
        .eps = c->optimizer.eps,
        .momentum = c->optimizer.momentum,
        .weight_decay = c->optimizer.weight_decay,
        .clip = c->optimizer.clip,
        .is_age_per_parameter = strcmp(c->optimizer.bias_correction, "per-parameter") == 0};
    options.is_plan = run->is_plan;
    run->optimizer->columns(options.has_column, &run->optimizer_options);
    UM_RETURN_IF(
        um_tuning_open(&run->tuning, run->tm.model.params, run->tm.model.n_params, &options, err));
    UM_RETURN_IF(settle_rate(run, err));
    run->optimizer_options.lr = c->optimizer.lr;
    if (run->tuning.adalora.allots && c->method.tinit >= run->n_steps - c->method.tfinal)
        return um_fail(err, UM_E_USAGE, "method.tinit %lld and method.tfinal %lld leave none of "
                       "%lld steps to lower ranks in", (long long)c->method.tinit,
                       (long long)c->method.tfinal, (long long)run->n_steps);
    return UM_OK;
}

static enum um_status open_run(struct um_run *run, struct um_error *err)
{
    um_set_threads((int)run->config->threads);
    UM_RETURN_IF(open_data(run, err));
    UM_RETURN_IF(open_model(run, err));
    UM_RETURN_IF(open_steps(run, err));
    UM_RETURN_IF(um_run_open_method(run, err));
    um_memory_trim(); /* of what parsing took */
    run->resident_before = um_memory_rss();
    run->state = (struct um_run_state){.metric_before = (double)NAN,
                                       .metric_best = (double)NAN,
                                       .metric_last = (double)NAN,
                                       .loss_best = (double)NAN,
                                       .evaluated_step = -1};
    return UM_OK;
}

enum um_status um_run_open(struct um_run **run, const struct um_recipe *recipe,
                           const struct um_callbacks *callbacks, struct um_error *err)
{
    enum um_status status;
    *run = UM_NEW(1, struct um_run);
    if (!*run)
        return um_fail_memory(err, "a run", sizeof(**run));
    if (callbacks)
        (*run)->callbacks = *callbacks;
    UM_TRY(um_recipe_clone(&(*run)->recipe, recipe, err));
    (*run)->config = um_recipe_config((*run)->recipe);
    UM_TRY(open_run(*run, err));
    um_run_say_idle(*run, recipe);
out:
    if (status != UM_OK) {
        um_run_free(*run);
        *run = NULL;
    }
    return status;
}

enum um_status um_run_resume_by(struct um_run **run, const struct um_recipe *recipe,
                                const struct um_callbacks *callbacks, struct um_error *err)
{
    UM_RETURN_IF(um_run_open(run, recipe, callbacks, err));
    (*run)->is_resumed = true;
    enum um_status status = um_checkpoint_load_newest(*run, err);
    if (status != UM_OK) {
        um_run_free(*run);
        *run = NULL;
    }
    return status;
}

enum um_status um_run_resume(struct um_run **run, const char *folder,
                             const struct um_callbacks *callbacks, struct um_error *err)
{
    struct um_recipe *recipe = NULL;
    char *path = um_path_join(folder, "recipe.yaml");
    char *summary = um_path_join(folder, "summary.json");
    enum um_status status;
    *run = NULL;
    if (!path || !summary)
        UM_TRY(um_fail_memory(err, folder, strlen(folder)));
    if (!um_path_exists(path))
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot resume '%s': it is not a run (no recipe.yaml)",
                       folder));
    if (um_path_exists(summary))
        UM_TRY(um_fail(err, UM_E_USAGE, "the run '%s' is finished: there is nothing to resume",
                       folder));
    UM_TRY(um_recipe_new(&recipe, err));
    UM_TRY(um_recipe_load(recipe, path, err));
    UM_TRY(um_recipe_set(recipe, "out", folder, err)); /* it may have been moved */
    UM_TRY(um_run_resume_by(run, recipe, callbacks, err));
out:
    um_recipe_free(recipe);
    um_free(summary);
    um_free(path);
    return status;
}

void um_run_free(struct um_run *run)
{
    if (!run)
        return;
    um_log_close(&run->log);
    um_history_close(run);
    if (run->lock)
        (void)fclose(run->lock);
    um_tuning_close(&run->tuning);
    um_batches_close(&run->batches);
    um_encoded_close(&run->train_tokens);
    um_evaluator_close(&run->evaluator);
    um_dataset_close(&run->train);
    um_dataset_close(&run->eval);
    um_task_model_close(&run->tm);
    um_recipe_free(run->recipe);
    um_free(run);
}

/* ---- shapes of steps */

enum um_status um_run_batch(struct um_run *run, const int64_t *rows, int64_t n,
                            struct um_error *err)
{
    bool is_prose = um_style_is_prose(run->task->style); /* then the tokens are the truth */
    return um_task_model_batch(&run->tm, &run->train_tokens, is_prose ? NULL : run->train.rows,
                               rows, n, err);
}

int64_t um_run_step_shape(int64_t *n_losses, struct um_run *run, int64_t step)
{
    int64_t n_batches = um_batches_per_epoch(&run->batches), micro = 0;
    int64_t first = step % run->steps_per_epoch * run->config->train.accumulate;
    *n_losses = 0;
    for (; micro < run->config->train.accumulate && first + micro < n_batches; micro++) {
        int64_t n;
        const int64_t *rows = um_run_rows(&n, run, step, micro);
        for (int64_t i = 0; i < n; i++)
            *n_losses += run->train_tokens.weights[rows[i]];
    }
    return micro;
}

const int64_t *um_run_rows(int64_t *n, struct um_run *run, int64_t step, int64_t micro)
{
    return um_batches_rows(n, &run->batches, step / run->steps_per_epoch,
                           step % run->steps_per_epoch * run->config->train.accumulate + micro);
}
