/*
 * Checkpoints: RUN/checkpoints/step-NNNNNNNN.safetensors, each written aside and renamed. One file
 * holds all that a resumed run needs: for every entry of the trainable set NAME.index (sparse ones)
 * and its columns NAME.value, .first, .second, .born, .sensitivity, .uncertainty; where elements
 * can leave the set, NAME.touched (positions that ever were in it) and, if the dropped keep their
 * values, NAME.touched_value; in the metadata the state's numbers. Orders of rows, dropout and
 * random choices are functions of seed and step, so there is no other random state.
 */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/run.h"

static const char *const column_names[UM_N_COLUMNS] = {
    [UM_COLUMN_VALUE] = "value", [UM_COLUMN_FIRST] = "first", [UM_COLUMN_SECOND] = "second",
    [UM_COLUMN_SENSITIVITY] = "sensitivity", [UM_COLUMN_UNCERTAINTY] = "uncertainty",
    [UM_COLUMN_BORN] = "born"}; /* gradients are made anew */

/* "NAME.index" and the like into `out`. */
static const char *part(struct um_str *out, const char *name, const char *suffix)
{
    return um_str_setf(out, "%s.%s", name, suffix);
}

/* A column's numbers, also where they are the parameter's own memory. */
static float *column_of(const struct um_entry *entry, int c)
{
    return c == UM_COLUMN_VALUE ? um_entry_values(entry) : entry->column[c];
}

/* ---- state as JSON */

static char *state_text(const struct um_run_state *s, const char *data, const char *base)
{
    json_t *json = json_pack(
        "{s:I, s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:[I, I, I, I], s:s, s:s}", "step",
        (json_int_t)s->step, "seconds", s->seconds, "metric_before", um_json_real(s->metric_before),
        "metric_best", um_json_real(s->metric_best), "metric_last", um_json_real(s->metric_last),
        "loss_best", um_json_real(s->loss_best), "best_step", (json_int_t)s->best_step, "n_stale",
        (json_int_t)s->n_stale, "evaluated_step", (json_int_t)s->evaluated_step, "n_updates",
        (json_int_t)s->n_updates, "is_stopped", s->is_stopped ? 1 : 0, "kept",
        (json_int_t)s->kept.n_changed, (json_int_t)s->kept.n_broken, (json_int_t)s->kept.n_unmasked,
        (json_int_t)s->kept.n_touched, "data", data, "base", base);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    return text;
}

/* Refuses to go on on other rows or another base than the run began with: it would be neither the
 * old run nor a new one. Checkpoints of old do not tell the base. */
static enum um_status check_ground(struct um_run *run, const json_t *json, const char *path,
                                   struct um_error *err)
{
    const char *data = "", *base = "", *now = "";
    UM_RETURN_IF(um_json_get_str(&data, json, "data", path, err));
    UM_RETURN_IF(um_json_get_str(&base, json, "base", path, err));
    if (*base)
        UM_RETURN_IF(um_run_base_digest(&now, run, err));
    bool is_other_data = *data && strcmp(data, um_run_data_digest(run)) != 0;
    if (!is_other_data && strcmp(base, now) == 0)
        return UM_OK;
    um_fail(err, UM_E_INPUT, "cannot go on with '%s': '%s' is not what the run began with",
            run->config->out, is_other_data ? run->train.table.path : run->config->model);
    um_error_hint(err, "put the %s back as it was, or begin a new run",
                  is_other_data ? "training data" : "model");
    return UM_E_INPUT;
}

static enum um_status read_state(struct um_run_state *s, struct um_run *run, const char *text,
                                 const char *path, struct um_error *err)
{
    json_t *json = NULL;
    enum um_status status;
    if (!text)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': it has no state", path);
    UM_TRY(um_json_parse(&json, text, strlen(text), path, err));
    UM_TRY(um_json_get_i64(&s->step, json, "step", path, err));
    UM_TRY(um_json_get_f64(&s->seconds, json, "seconds", path, err));
    UM_TRY(um_json_get_f64(&s->metric_before, json, "metric_before", path, err));
    UM_TRY(um_json_get_f64(&s->metric_best, json, "metric_best", path, err));
    UM_TRY(um_json_get_f64(&s->metric_last, json, "metric_last", path, err));
    UM_TRY(um_json_get_f64(&s->loss_best, json, "loss_best", path, err));
    UM_TRY(um_json_get_i64(&s->best_step, json, "best_step", path, err));
    UM_TRY(um_json_get_i64(&s->n_stale, json, "n_stale", path, err));
    UM_TRY(um_json_get_i64(&s->evaluated_step, json, "evaluated_step", path, err));
    UM_TRY(um_json_get_i64(&s->n_updates, json, "n_updates", path, err));
    UM_TRY(um_json_get_bool(&s->is_stopped, json, "is_stopped", path, err));
    UM_TRY(check_ground(run, json, path, err));
    int64_t *kept[] = {&s->kept.n_changed, &s->kept.n_broken, &s->kept.n_unmasked,
                       &s->kept.n_touched};
    for (size_t i = 0; i < UM_COUNT(kept); i++) /* what is not there counts as 0 */
        *kept[i] = json_integer_value(json_array_get(json_object_get(json, "kept"), i));
out:
    json_decref(json);
    return status;
}

/* ---- saving */

static enum um_status each_touched(struct um_safetensors_writer *w, const struct um_entry *entry,
                                   bool is_declaring, struct um_str *name, struct um_error *err)
{
    const struct um_touched *t = &entry->touched;
    const char *own = entry->param->name;
    if (!t->index)
        return UM_OK;
    if (is_declaring) {
        um_safetensors_declare(w, part(name, own, "touched"), UM_I64, 1, &t->n);
        if (t->value)
            um_safetensors_declare(w, part(name, own, "touched_value"), UM_F32, 1, &t->n);
        return UM_OK;
    }
    UM_RETURN_IF(um_safetensors_put(w, t->index, (size_t)t->n * 8, err));
    return t->value ? um_safetensors_put(w, t->value, (size_t)t->n * 4, err) : UM_OK;
}

/* Calls declare or put for every tensor of the checkpoint, in one order. */
static enum um_status each_tensor(struct um_safetensors_writer *w, const struct um_run *run,
                                  bool is_declaring, struct um_str *name, struct um_error *err)
{
    const struct um_trainable *set = &run->tuning.set;
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_entry *entry = &set->entries[e];
        if (!entry->is_whole && is_declaring)
            um_safetensors_declare(w, part(name, entry->param->name, "index"), UM_I64, 1,
                                   &entry->n);
        else if (!entry->is_whole)
            UM_RETURN_IF(um_safetensors_put(w, entry->index, (size_t)entry->n * 8, err));
    }
    for (size_t e = 0; e < set->n_entries; e++)
        UM_RETURN_IF(each_touched(w, &set->entries[e], is_declaring, name, err));
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_entry *entry = &set->entries[e];
        for (int c = 0; c < UM_N_COLUMNS; c++) {
            const float *values = column_names[c] ? column_of(entry, c) : NULL;
            if (!values)
                continue;
            if (is_declaring)
                um_safetensors_declare(w, part(name, entry->param->name, column_names[c]), UM_F32,
                                       1, &entry->n);
            else
                UM_RETURN_IF(um_safetensors_put(w, values, (size_t)entry->n * 4, err));
        }
    }
    return UM_OK;
}

/* Numbers of the steps that have checkpoints, newest first. Returns how many (at most n_max). */
static size_t list_steps(int64_t *steps, size_t n_max, const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        long long step;
        char tail[16];
        if (sscanf(entry->d_name, "step-%lld.%15s", &step, tail) != 2 ||
            strcmp(tail, "safetensors") != 0 || (n == n_max && step < steps[n - 1]))
            continue;
        size_t at = n < n_max ? n++ : n - 1; /* the oldest gives way */
        for (; at > 0 && steps[at - 1] < step; at--)
            steps[at] = steps[at - 1];
        steps[at] = step;
    }
    if (dir)
        (void)closedir(dir);
    return n;
}

enum { CHECKPOINTS_MAX = 1024 };

static char *checkpoint_path(const char *folder, int64_t step)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "step-%08lld.safetensors", (long long)step);
    return um_path_join(folder, name);
}

/* Removes all but the newest `keep`. What cannot be removed stays; that loses nothing. */
static void remove_old(const char *folder, int64_t keep)
{
    int64_t steps[CHECKPOINTS_MAX];
    size_t n = list_steps(steps, CHECKPOINTS_MAX, folder);
    for (size_t i = keep > 1 ? (size_t)keep : 1; i < n; i++) {
        char *path = checkpoint_path(folder, steps[i]);
        if (path)
            (void)remove(path);
        um_free(path);
    }
}

enum um_status um_checkpoint_save(struct um_run *run, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    struct um_str name = {0};
    char *folder = um_run_path(run, "checkpoints");
    char *path = folder ? checkpoint_path(folder, run->state.step) : NULL;
    char *state = NULL;
    const char *base;
    enum um_status status;
    UM_TRY(um_run_check_values(run, err));
    UM_TRY(um_run_base_digest(&base, run, err));
    state = state_text(&run->state, um_run_data_digest(run), base);
    if (!path || !state)
        UM_TRY(um_fail_memory(err, "a checkpoint", 0));
    UM_TRY(um_make_folder(folder, err));
    UM_TRY(um_safetensors_create(&w, err));
    um_safetensors_declare_metadata(&w, "format", "unmask.checkpoint");
    um_safetensors_declare_metadata(&w, "state", state);
    UM_TRY(each_tensor(&w, run, true, &name, err));
    if (name.failed)
        UM_TRY(um_fail_memory(err, "a checkpoint's names", 0));
    UM_TRY(um_safetensors_begin(&w, path, err));
    UM_TRY(each_tensor(&w, run, false, &name, err));
    UM_TRY(um_safetensors_commit(&w, err));
    remove_old(folder, run->config->checkpoint.keep);
out:
    um_safetensors_abandon(&w);
    um_str_free(&name);
    free(state);
    um_free(folder);
    um_free(path);
    return status;
}

/* ---- loading */

static enum um_status find(const struct um_tensor_view **view, const struct um_safetensors *st,
                           const char *name, enum um_dtype dtype, int64_t n, const char *path,
                           struct um_error *err)
{
    *view = um_safetensors_find(st, name);
    if (!*view || (*view)->dtype != dtype || (n >= 0 && (*view)->n_elements != n))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' is missing or of another size",
                       path, name);
    return UM_OK;
}

/* A tensor of ascending positions of an entry's parameter as picks (owned). */
static enum um_status read_positions(struct um_pick **picks, const struct um_entry *entry,
                                     const struct um_tensor_view *view, const char *path,
                                     struct um_error *err)
{
    int64_t n = view->n_elements;
    *picks = UM_NEW(n, struct um_pick);
    if (!*picks)
        return um_fail_memory(err, path, (size_t)n * sizeof(**picks));
    for (int64_t i = 0; i < n; i++) {
        struct um_pick *pick = &(*picks)[i];
        pick->param = entry->param->index;
        memcpy(&pick->index, view->bytes + 8 * i, sizeof(pick->index));
        if (pick->index < 0 || pick->index >= entry->param->n_elements ||
            (i > 0 && pick->index <= pick[-1].index))
            return um_fail(err, UM_E_INPUT, "cannot load '%s': positions of '%s' do not ascend",
                           path, entry->param->name);
    }
    return UM_OK;
}

/* The positions of a sparse entry and those it touched; columns follow. */
static enum um_status load_positions(struct um_run *run, struct um_entry *entry,
                                     const struct um_safetensors *st, struct um_str *name,
                                     const char *path, struct um_error *err)
{
    const struct um_tensor_view *view, *values = NULL;
    struct um_pick *picks = NULL, *touched = NULL;
    const char *own = entry->param->name;
    enum um_status status;
    UM_TRY(find(&view, st, part(name, own, "index"), UM_I64, -1, path, err));
    UM_TRY(read_positions(&picks, entry, view, path, err));
    int64_t n = view->n_elements;
    bool is_expected = run->tuning.set.dropped != UM_DROPPED_NONE && n > 0;
    if (um_safetensors_find(st, part(name, own, "touched")) || is_expected) {
        UM_TRY(find(&view, st, part(name, own, "touched"), UM_I64, -1, path, err));
        UM_TRY(read_positions(&touched, entry, view, path, err));
        int64_t n_touched = view->n_elements;
        if (run->tuning.set.dropped == UM_DROPPED_KEPT)
            UM_TRY(find(&values, st, part(name, own, "touched_value"), UM_F32, n_touched, path,
                        err));
        UM_TRY(um_trainable_touch(&run->tuning.set, touched, n_touched,
                                  values ? values->bytes : NULL, err));
        if (!um_entry_has_touched(entry, picks, n))
            UM_TRY(um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' misses positions of '%s.index'",
                           path, part(name, own, "touched"), own));
    }
    UM_TRY(um_trainable_insert(&run->tuning.set, picks, n, 0, err));
out:
    um_free(picks);
    um_free(touched);
    return status;
}

static enum um_status load_entry(struct um_run *run, struct um_entry *entry,
                                 const struct um_safetensors *st, struct um_str *name,
                                 const char *path, struct um_error *err)
{
    const struct um_tensor_view *view;
    const char *own = entry->param->name;
    if (!entry->is_whole)
        UM_RETURN_IF(load_positions(run, entry, st, name, path, err));
    for (int c = 0; c < UM_N_COLUMNS; c++) {
        float *values = column_of(entry, c);
        if (!column_names[c] || !values || entry->n == 0)
            continue;
        UM_RETURN_IF(find(&view, st, part(name, own, column_names[c]), UM_F32, entry->n, path,
                          err));
        memcpy(values, view->bytes, view->n_bytes);
    }
    um_entry_publish(entry);
    return UM_OK;
}

static enum um_status load(struct um_run *run, const struct um_safetensors *st, const char *path,
                           struct um_error *err)
{
    struct um_str name = {0};
    struct um_run_state state = run->state; /* as opened: what a checkpoint does not say */
    enum um_status status;
    UM_TRY(read_state(&state, run, um_safetensors_metadata(st, "state"), path, err));
    if (state.step < 0 || state.step > run->n_steps || state.n_updates < 0 || state.n_stale < 0)
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot load '%s': step %lld of %lld, %lld updates", path,
                       (long long)state.step, (long long)run->n_steps, (long long)state.n_updates));
    for (size_t e = 0; e < run->tuning.set.n_entries; e++)
        UM_TRY(load_entry(run, &run->tuning.set.entries[e], st, &name, path, err));
    run->state = state;
    run->tuning.n_updates = state.n_updates;
out:
    um_str_free(&name);
    return status;
}

/* Loads one; *is_broken: it is no whole file, so nothing of it was. */
static enum um_status load_step(bool *is_broken, struct um_run *run, const char *folder,
                                int64_t step, struct um_error *err)
{
    struct um_safetensors st;
    char *path = checkpoint_path(folder, step);
    if (!path)
        return um_fail_memory(err, folder, strlen(folder));
    enum um_status status = um_safetensors_open(&st, path, err);
    *is_broken = status == UM_E_INPUT;
    if (status == UM_OK) {
        status = load(run, &st, path, err);
        um_safetensors_close(&st);
    }
    um_free(path);
    return status;
}

enum um_status um_checkpoint_load_newest(struct um_run *run, struct um_error *err)
{
    int64_t steps[CHECKPOINTS_MAX];
    char *folder = um_run_path(run, "checkpoints");
    enum um_status status = UM_OK;
    struct um_error own;
    bool is_broken = true;
    err = err ? err : &own; /* what is wrong with one is told */
    if (!folder)
        return um_fail_memory(err, "a path", 0);
    size_t n = list_steps(steps, CHECKPOINTS_MAX, folder);
    for (size_t i = 0; i < n && is_broken; i++) {
        status = load_step(&is_broken, run, folder, steps[i], err);
        if (is_broken && i + 1 < n)
            um_say(&run->callbacks, "%s: going back to step %lld", err->message,
                   (long long)steps[i + 1]);
    }
    run->is_loaded = status == UM_OK && n > 0;
    if (run->is_loaded)
        um_say(&run->callbacks, "continuing from step %lld", (long long)run->state.step);
    else if (status == UM_OK)
        um_say(&run->callbacks, "no checkpoint yet: starting anew");
    um_free(folder);
    return status;
}
