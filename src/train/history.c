/*
 * Where a run unmasked, and when: RUN/unmasked.jsonl, a line for each logged step that unmasked
 * anything, {"step": 12, "new": {"TENSOR": 5, ...}}: values that came since the line before, less
 * those that left. The last step has a line in any case.
 */
#include <string.h>

#include "train/run.h"

#define NAME "unmasked.jsonl"
#define STEPS_MAX (INT64_C(1) << 48)

static enum um_status visit_line(const char *text, size_t n, const char *path,
                                 um_history_fn *visit, void *user, struct um_error *err)
{
    json_t *line, *value;
    const char *tensor;
    int64_t step = 0;
    UM_RETURN_IF(um_json_parse(&line, text, n, path, err));
    enum um_status status = um_json_get_i64(&step, line, "step", path, err);
    json_t *new = json_object_get(line, "new");
    if (status == UM_OK && (step < 0 || step > STEPS_MAX))
        status = um_fail(err, UM_E_INPUT, "cannot read '%s': step %lld", path, (long long)step);
    if (status == UM_OK && json_object_size(new) == 0)
        visit(step, NULL, 0, user);
    json_object_foreach (new, tensor, value)
        if (status == UM_OK)
            visit(step, tensor, json_integer_value(value), user);
    json_decref(line);
    return status;
}

enum um_status um_run_history(const char *folder, um_history_fn *visit, void *user,
                              struct um_error *err)
{
    char *path = um_path_join(folder, NAME), *text = NULL;
    size_t n;
    enum um_status status;
    if (!path)
        return um_fail_memory(err, folder, strlen(folder));
    UM_TRY(um_file_read(&text, &n, path, err));
    for (size_t start = 0, end; start < n; start = end + 1) {
        const char *newline = memchr(text + start, '\n', n - start);
        end = newline ? (size_t)(newline - text) : n;
        UM_TRY(visit_line(text + start, end - start, path, visit, user, err));
    }
out:
    um_free(text);
    um_free(path);
    return status;
}

/* What lines of an earlier life of the run have told. */
static void note_known(int64_t step, const char *tensor, int64_t n, void *user)
{
    struct um_run *run = user;
    (void)step;
    for (size_t e = 0; tensor && e < run->tuning.set.n_entries; e++)
        if (strcmp(run->tuning.set.entries[e].param->name, tensor) == 0)
            run->n_known[e] += n;
}

enum um_status um_history_open(struct um_run *run, struct um_error *err)
{
    const struct um_trainable *set = &run->tuning.set;
    run->n_known = UM_NEW(set->n_entries, int64_t);
    if (!run->n_known)
        return um_fail_memory(err, NAME, set->n_entries * sizeof(*run->n_known));
    for (size_t e = 0; e < set->n_entries; e++)
        run->n_known[e] = set->entries[e].is_whole ? set->entries[e].n : 0;
    UM_RETURN_IF(um_log_open(&run->history, run->config->out, NAME, run->state.step, err));
    return um_run_history(run->config->out, note_known, run, err);
}

enum um_status um_history_put(struct um_run *run, struct um_error *err)
{
    const struct um_trainable *set = &run->tuning.set;
    struct um_str line = {0};
    bool is_new = false, is_last = run->state.step == run->n_steps || run->state.is_stopped;
    enum um_status status = UM_OK;
    if (!run->history.file)
        return UM_OK;
    um_str_addf(&line, "{\"step\": %lld, \"new\": {", (long long)run->state.step);
    for (size_t e = 0; e < set->n_entries; e++) {
        int64_t n = set->entries[e].n - run->n_known[e];
        if (n == 0)
            continue;
        um_str_addf(&line, "%s\"%s\": %lld", is_new ? ", " : "", set->entries[e].param->name,
                    (long long)n);
        run->n_known[e] = set->entries[e].n;
        is_new = true;
    }
    um_str_add(&line, "}}\n");
    if (is_new || is_last)
        status = um_log_put(&run->history, &line, err);
    um_str_free(&line);
    return status;
}

void um_history_close(struct um_run *run)
{
    um_log_close(&run->history);
    um_free(run->n_known);
    run->n_known = NULL;
}
