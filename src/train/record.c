/* The run folder: resolved recipe, metrics.jsonl, the delta, and the verified summary. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "train/run.h"

/* ---- the folder and metrics.jsonl */

static enum um_status refuse_old_run(const struct um_run *run, struct um_error *err)
{
    char *recipe = um_run_path(run, "recipe.yaml");
    enum um_status status = UM_OK;
    if (recipe && um_path_exists(recipe)) {
        status =
            um_fail(err, UM_E_USAGE, "out: '%s' holds a run already, which is not written over",
                    run->config->out);
        um_error_hint(err, "name another folder, or continue it with --resume '%s'",
                      run->config->out);
    }
    um_free(recipe);
    return status;
}

/* One process at a time may work on a run. */
static enum um_status lock(struct um_run *run, struct um_error *err)
{
    char *path = um_run_path(run, "lock");
    enum um_status status = path ? um_lock_take(&run->lock, path, false, err)
                                 : um_fail_memory(err, run->config->out, 0);
    um_free(path);
    if (status == UM_OK && !run->lock)
        return um_fail(err, UM_E_USAGE, "another process is working on the run '%s'",
                       run->config->out);
    return status;
}

enum um_status um_record_begin(struct um_run *run, struct um_error *err)
{
    char *recipe = NULL;
    struct um_recipe *recorded = NULL;
    const char *digest;
    int64_t last_step = run->is_loaded ? run->state.step : -1;
    enum um_status status;
    if (run->is_in_memory)
        return UM_OK;
    if (!*run->config->out)
        return um_fail(err, UM_E_USAGE, "out: not given; name a folder for the run");
    if (!run->is_resumed)
        UM_RETURN_IF(refuse_old_run(run, err));
    UM_TRY(um_make_folder(run->config->out, err));
    UM_TRY(lock(run, err));
    recipe = um_run_path(run, "recipe.yaml");
    if (!recipe)
        UM_TRY(um_fail_memory(err, run->config->out, 0));
    UM_TRY(um_recipe_clone(&recorded, run->recipe, err));
    UM_TRY(um_recipe_root_paths(recorded, err));
    UM_TRY(um_recipe_save(recorded, recipe, err));
    UM_TRY(um_run_base_digest(&digest, run, err)); /* as it is now, before hours of training */
    UM_TRY(um_log_open(&run->log, run->config->out, "metrics.jsonl", last_step, err));
    UM_TRY(um_history_open(run, err));
out:
    um_recipe_free(recorded);
    um_free(recipe);
    return status;
}

/* A number as JSON has it: null where it is none. */
static void add_number(struct um_str *line, const char *key, double value)
{
    if (isfinite(value))
        um_str_addf(line, ", \"%s\": %.9g", key, value);
    else
        um_str_addf(line, ", \"%s\": null", key);
}

enum um_status um_record_step(struct um_run *run, const struct um_progress *p,
                              struct um_error *err)
{
    struct um_str line = {0};
    um_str_addf(&line, "{\"step\": %lld", (long long)p->step);
    add_number(&line, "epoch", p->epoch);
    add_number(&line, "loss", p->loss);
    add_number(&line, "lr", p->lr);
    add_number(&line, "grad_norm", p->grad_norm);
    um_str_addf(&line, ", \"unmasked\": %lld, \"touched\": %lld, \"updates\": %lld",
                (long long)p->n_unmasked, (long long)p->n_touched, (long long)p->n_updates);
    um_str_addf(&line, ", \"scored\": %lld, \"selection\": \"%s\"", (long long)p->n_scored,
                p->selection);
    um_str_addf(&line, ", \"tokens\": %lld", (long long)p->n_tokens);
    add_number(&line, "tokens_per_second", p->tokens_per_second);
    add_number(&line, "rss_mib", (double)p->rss_bytes / 1048576);
    add_number(&line, "seconds", p->seconds);
    um_str_add(&line, "}\n");
    enum um_status status = um_log_put(&run->log, &line, err);
    um_str_free(&line);
    return status;
}

enum um_status um_record_evaluation(struct um_run *run, const struct um_evaluation *e,
                                    struct um_error *err)
{
    struct um_str line = {0};
    um_str_addf(&line, "{\"step\": %lld, \"split\": \"dev\"", (long long)run->state.step);
    add_number(&line, "loss", e->loss);
    for (size_t i = 0; i < e->n_metrics; i++)
        add_number(&line, e->metrics[i].name, e->metrics[i].value);
    um_str_add(&line, "}\n");
    enum um_status status = um_log_put(&run->log, &line, err);
    um_str_free(&line);
    return status;
}

/* ---- the delta */

/* The trainable set as a delta's entries (borrowed), by name. What is attached to the base goes in
 * as a whole, however little of it was to change: the base does not have it. */
static enum um_status make_entries(struct um_delta *d, const struct um_run *run,
                                   struct um_error *err)
{
    const struct um_trainable *set = &run->tuning.set;
    const struct um_model *model = &run->tm.model;
    size_t n_most = set->n_entries + (size_t)model->n_params;
    d->entries = UM_ARENA_NEW(&d->arena, n_most, struct um_delta_entry);
    if (!d->entries)
        return um_fail_memory(err, "a delta", n_most * sizeof(*d->entries));
    for (int64_t i = 0; i < model->n_params; i++) {
        const struct um_param *p = &model->params[i];
        if (p->is_attached)
            d->entries[d->n_entries++] = (struct um_delta_entry){.name = p->name,
                                                                 .n_dims = p->n_dims,
                                                                 .dims = {p->rows, p->cols},
                                                                 .is_whole = true,
                                                                 .is_added = true,
                                                                 .n = p->n_elements,
                                                                 .value = p->values};
    }
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_entry *entry = &set->entries[e];
        const struct um_laid laid = um_entry_laid(entry);
        const struct um_param *p = entry->param;
        if (laid.n == 0 || p->is_attached)
            continue;
        d->entries[d->n_entries++] = (struct um_delta_entry){.name = p->name,
                                                             .n_dims = p->n_dims,
                                                             .dims = {p->rows, p->cols},
                                                             .is_whole = entry->is_whole,
                                                             .is_added = p->is_added,
                                                             .n = laid.n,
                                                             .index = laid.index,
                                                             .value = laid.value};
    }
    um_delta_sort(d);
    return UM_OK;
}

/* ---- the delta against the base */

/* Counts elements whose bits differ from the base's, and those that were not allowed to. A masked
 * element of a parameter that is kept as it is stored is what the base has by construction. */
static void compare_rows(int64_t *n_changed, int64_t *n_broken, const struct um_run *run,
                         const struct um_param *param, const float *base, int64_t first, int64_t n)
{
    const struct um_entry *entry = run->tuning.set.of_param[param->index];
    bool is_sparse = entry && !entry->is_whole;
    const struct um_laid laid = is_sparse ? um_entry_laid(entry) : (struct um_laid){0};
    int64_t next = um_laid_from(&laid, first);
    for (int64_t i = first; i < first + n; i++) {
        bool is_next = next < laid.n && laid.index[next] == i;
        bool is_in = is_next || (entry && entry->is_whole);
        float now = is_next ? laid.value[next++] : param->values[i];
        bool is_changed = memcmp(&base[i - first], &now, sizeof(now)) != 0;
        *n_changed += is_changed;
        *n_broken += is_changed && !is_in;
    }
}

/* The same for elements of 16 bits and fewer, which only an overlay can change. */
static void compare_overlay(int64_t *n_changed, const struct um_run *run,
                            const struct um_param *param, const struct um_tensor_view *stored)
{
    const struct um_entry *entry = run->tuning.set.of_param[param->index];
    const struct um_laid laid = entry ? um_entry_laid(entry) : (struct um_laid){0};
    for (int64_t k = 0; k < laid.n; k++) {
        float base = um_to_f32_at(stored->bytes, stored->dtype, laid.index[k]);
        *n_changed += memcmp(&base, &laid.value[k], sizeof(base)) != 0;
    }
}

/* Both sides are let go of piece by piece: the check needs no memory that training did not. */
static bool is_stored_alike(const struct um_param *param, const struct um_tensor_view *stored)
{
    enum { PIECE_BYTES = 4 << 20 };
    bool is_same = true;
    for (size_t at = 0; at < stored->n_bytes; at += PIECE_BYTES) {
        size_t left = stored->n_bytes - at, n = left < PIECE_BYTES ? left : PIECE_BYTES;
        is_same = is_same && memcmp(param->stored + at, stored->bytes + at, n) == 0;
        um_map_forget(stored->bytes + at, n);
        um_map_forget(param->stored + at, n); /* nobody writes to what is not fp32 */
    }
    return is_same;
}

static enum um_status compare_with_base(int64_t *n_changed, int64_t *n_broken,
                                        const struct um_run *run, const struct um_param *param,
                                        const struct um_tensor_view *stored, struct um_error *err)
{
    enum { PIECE = 1 << 18 }; /* a whole number of blocks of any type */
    if (!param->values) {
        *n_broken += is_stored_alike(param, stored) ? 0 : param->n_elements;
        compare_overlay(n_changed, run, param, stored);
        return UM_OK;
    }
    float *base = UM_NEW(PIECE, float);
    if (!base)
        return um_fail_memory(err, param->name, PIECE * sizeof(float));
    for (int64_t first = 0; first < param->n_elements; first += PIECE) {
        int64_t n = param->n_elements - first < PIECE ? param->n_elements - first : PIECE;
        const unsigned char *bytes = stored->bytes + um_dtype_size(stored->dtype, first);
        um_to_f32(base, bytes, stored->dtype, n);
        compare_rows(n_changed, n_broken, run, param, base, first, n);
        um_map_forget(bytes, um_dtype_size(stored->dtype, n)); /* not in memory twice */
    }
    um_free(base);
    return UM_OK;
}

/* An attached parameter against the values that it started with. */
static enum um_status compare_with_first(int64_t *n_changed, int64_t *n_broken,
                                         const struct um_run *run, const struct um_param *param,
                                         struct um_error *err)
{
    float *first = UM_NEW(param->n_elements, float);
    if (!first)
        return um_fail_memory(err, param->name, (size_t)param->n_elements * sizeof(float));
    um_model_first_values(first, &run->tm.model, param);
    compare_rows(n_changed, n_broken, run, param, first, 0, param->n_elements);
    um_free(first);
    return UM_OK;
}

static enum um_status count_kept(struct um_kept *kept, const struct um_run *run,
                                 struct um_error *err)
{
    struct um_folder base;
    enum um_status status = UM_OK;
    *kept = (struct um_kept){.n_unmasked = run->tuning.set.n,
                             .n_touched = um_trainable_touched(&run->tuning.set)};
    UM_RETURN_IF(um_folder_open(&base, run->config->model, err));
    for (int64_t p = 0; p < run->tm.model.n_params; p++) {
        const struct um_param *param = &run->tm.model.params[p];
        const struct um_tensor_view *stored = um_folder_find(&base, param->name);
        if (param->is_attached)
            UM_TRY(compare_with_first(&kept->n_changed, &kept->n_broken, run, param, err));
        else if (param->is_added)
            kept->n_changed += param->n_elements;
        else if (stored && stored->n_elements == param->n_elements)
            UM_TRY(compare_with_base(&kept->n_changed, &kept->n_broken, run, param, stored, err));
        else
            UM_TRY(um_fail(err, UM_E_INPUT, "'%s' changed while the run was going on: no '%s'",
                           run->config->model, param->name));
    }
out:
    um_folder_close(&base);
    return status;
}

static enum um_status save_delta(const struct um_run *run, struct um_error *err)
{
    const struct um_model *model = &run->tm.model;
    struct um_folder base = {0};
    struct um_delta d = {
        .method = run->tuning.options.method->name,
        .task = run->task->name,
        .template = run->config->data.template,
        .architecture = json_string_value(json_object_get(model->folder.config, "model_type")),
        .prefix = model->has_prefix ? "" : model->arch->prefix,
        .task_class = um_task_class_of(run->task, model->arch),
        .budget = run->tuning.budget,
        .labels = (const char **)run->train.labels,
        .n_labels = (size_t)run->train.n_labels};
    char *path = um_run_path(run, "delta.safetensors");
    char *attached = um_model_attached_text(model);
    enum um_status status = UM_OK;
    if (!path || !attached)
        UM_TRY(um_fail_memory(err, "a path", 0));
    d.attached = attached;
    UM_TRY(make_entries(&d, run, err));
    UM_TRY(um_folder_open(&base, run->config->model, err)); /* as it is on disk, not as changed */
    UM_TRY(um_delta_write(&d, &base, path, err));
out:
    um_folder_close(&base);
    um_arena_free(&d.arena);
    free(attached);
    um_free(path);
    return status;
}

enum um_status um_record_delta(struct um_run *run, struct um_error *err)
{
    UM_RETURN_IF(um_run_check_values(run, err));
    if (!run->is_in_memory)
        UM_RETURN_IF(save_delta(run, err));
    return count_kept(&run->state.kept, run, err);
}

/* ---- the summary */

static int64_t file_bytes(const char *path)
{
    struct um_map map;
    int64_t bytes = 0;
    if (path && um_map_open(&map, path, NULL) == UM_OK) {
        bytes = (int64_t)map.n_bytes;
        um_map_close(&map);
    }
    return bytes;
}

static enum um_status save_summary(const struct um_summary *s, const struct um_run *run,
                                   struct um_error *err)
{
    const struct um_tuning_options *o = &run->tuning.options;
    json_t *names = json_array();
    for (int64_t p = 0; p < run->tm.model.n_params; p++)
        (void)json_array_append_new(names, json_string(run->tm.model.params[p].name));
    json_t *json = json_pack(
        "{s:s, s:s, s:s?, s:s?, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:s, s:o, s:o, "
        "s:o,"
        " s:o, s:I, s:f, s:f, s:I, s:I, s:s, s:i, s:o}",
        "method", run->tuning.options.method->name, "strategy", o->strategy->name, "importance",
        o->select.importance ? o->select.importance->name : NULL, "schedule",
        o->schedule ? o->schedule->name : NULL, "region", o->region->name, "task", run->task->name,
        "steps", (json_int_t)s->n_steps, "budget", (json_int_t)s->budget, "changed",
        (json_int_t)s->n_changed, "unmasked", (json_int_t)s->n_unmasked, "touched",
        (json_int_t)s->n_touched, "updates", (json_int_t)s->n_updates, "is_within_budget",
        s->is_within_budget ? 1 : 0, "is_base_intact", s->is_base_intact ? 1 : 0, "metric",
        s->metric, "metric_before", um_json_real(s->metric_before), "metric_best",
        um_json_real(s->metric_best), "metric_last", um_json_real(s->metric_last), "loss_best",
        um_json_real(s->loss_best), "best_step", (json_int_t)s->best_step, "seconds", s->seconds,
        "peak_rss_mib", (double)s->peak_rss_bytes / 1048576, "delta_bytes",
        (json_int_t)s->delta_bytes, "model_bytes", (json_int_t)s->model_bytes, "cpu",
        um_cpu_level_name(um_kernels()->level), "threads", um_threads(), "parameters", names);
    enum um_status status = um_json_save_in(run->config->out, "summary.json", json, err);
    json_decref(json);
    return status;
}

/* Where dropped elements keep their values, the budget bounds those that train at a time. */
static bool is_within_budget(const struct um_run *run)
{
    const struct um_kept *kept = &run->state.kept;
    int64_t budget = run->tuning.budget;
    bool are_kept = run->tuning.set.dropped == UM_DROPPED_KEPT;
    return kept->n_changed <= (are_kept ? kept->n_touched : budget) && kept->n_unmasked <= budget;
}

static bool is_worse_than_before(const struct um_run *run)
{
    double before = run->state.metric_before, best = run->state.metric_best;
    return !isnan(best) && um_metric_is_better(run->best, before, best);
}

enum um_status um_record_summary(struct um_summary *summary, struct um_run *run,
                                 struct um_error *err)
{
    const struct um_kept *kept = &run->state.kept;
    char *delta = um_run_path(run, "delta.safetensors");
    *summary = (struct um_summary){.n_steps = run->state.step,
                                   .budget = run->tuning.budget,
                                   .n_changed = kept->n_changed,
                                   .n_unmasked = kept->n_unmasked,
                                   .n_touched = kept->n_touched,
                                   .n_updates = run->state.n_updates,
                                   .is_within_budget = is_within_budget(run),
                                   .is_base_intact = kept->n_broken == 0,
                                   .metric = run->best->name,
                                   .metric_before = run->state.metric_before,
                                   .metric_best = run->state.metric_best,
                                   .metric_last = run->state.metric_last,
                                   .is_worse_than_before = is_worse_than_before(run),
                                   .loss_best = run->state.loss_best,
                                   .best_step = run->state.best_step,
                                   .seconds = run->state.seconds,
                                   .peak_rss_bytes = um_memory_rss_peak(),
                                   .delta_bytes = file_bytes(delta),
                                   .model_bytes = um_folder_bytes(&run->tm.model.folder)};
    um_free(delta);
    return run->is_in_memory ? UM_OK : save_summary(summary, run, err);
}
