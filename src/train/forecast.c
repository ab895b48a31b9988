/* Opening a run to plan it only: without data, without a tokenizer, and of the model with no more
 * than its config.json. */
#include <string.h>

#include "base/cpu.h"
#include "train/run.h"

/* Steps of a run whose data is not known: more, and the largest selection of one gets smaller. */
enum { STEPS_ASSUMED = 1000, CLASSES_ASSUMED = 2 };

static enum um_status open_task(struct um_run *run, struct um_error *err)
{
    const char *name = run->config->task;
    const struct um_arch *arch = run->tm.model.arch;
    run->task = um_task_find(*name || !arch->is_decoder ? name : "text");
    if (!run->task)
        return um_fail(err, UM_E_USAGE, "task: not given; `unmask help tasks` lists them");
    return um_task_check_arch(run->task, arch, err);
}

/* Outputs of the task head, before the model is there that tells whether it can have one. */
static int64_t n_outputs(const struct um_task *task)
{
    int64_t n = um_task_n_labels(task);
    return task->is_regression ? 1 : n > 0 ? n : CLASSES_ASSUMED;
}

static enum um_status open_shape(struct um_run *run, const char *dtype, struct um_error *err)
{
    const struct um_config *c = run->config;
    struct um_task_model *tm = &run->tm;
    const struct um_task *task = um_task_find(c->task);
    const struct um_model_options options = {.heads = task ? um_heads_of(task) : UM_HEADS_STORED,
                                             .n_outputs = task ? n_outputs(task) : 0,
                                             .seed = (uint64_t)c->train.seed,
                                             .dropout = c->train.dropout,
                                             .is_plan = true,
                                             .dtype = dtype};
    if (!*c->model)
        return um_fail(err, UM_E_USAGE, "model: not given; name a folder or a config.json");
    um_set_threads((int)c->threads);
    UM_RETURN_IF(um_model_open(&tm->model, c->model, &options, err));
    UM_RETURN_IF(um_run_attach(run, err));
    UM_RETURN_IF(open_task(run, err));
    tm->max_length = um_max_length_of(&tm->model, c);
    run->n_steps = c->train.max_steps > 0 ? c->train.max_steps : STEPS_ASSUMED;
    UM_RETURN_IF(um_run_open_method(run, err));
    run->resident_before = um_memory_rss();
    return UM_OK;
}

enum um_status um_run_open_plan(struct um_run **run, const struct um_recipe *recipe,
                                const char *dtype, struct um_error *err)
{
    enum um_status status;
    *run = UM_NEW(1, struct um_run);
    if (!*run)
        return um_fail_memory(err, "a run", sizeof(**run));
    (*run)->is_plan = true;
    UM_TRY(um_recipe_clone(&(*run)->recipe, recipe, err));
    (*run)->config = um_recipe_config((*run)->recipe);
    UM_TRY(open_shape(*run, dtype, err));
out:
    if (status != UM_OK) {
        um_run_free(*run);
        *run = NULL;
    }
    return status;
}

enum um_status um_run_plan_batch(struct um_run *run, struct um_error *err)
{
    int64_t n_rows = run->config->train.batch, n = run->tm.max_length;
    int32_t *ids = UM_NEW(n, int32_t), *words = UM_NEW(n, int32_t);
    uint8_t *learnt = UM_NEW(n, uint8_t);
    enum um_status status;
    if (!ids || !words || !learnt)
        UM_TRY(um_fail_memory(err, "a batch", (size_t)n * sizeof(*ids)));
    memset(learnt, 1, (size_t)n);
    UM_TRY(um_batch_begin(&run->tm.batch, n_rows, n_rows * n, err));
    for (int64_t i = 0; i < n_rows; i++) {
        if (run->task->style == UM_STYLE_PAIR)
            um_batch_add(&run->tm.batch, ids, NULL, n, 0, 0);
        else if (run->task->style == UM_STYLE_WORDS)
            um_batch_add_words(&run->tm.batch, ids, NULL, words, n, NULL); /* each token a word */
        else
            um_batch_add_tokens(&run->tm.batch, ids, learnt, n);
    }
out:
    um_free(ids);
    um_free(words);
    um_free(learnt);
    return status;
}
