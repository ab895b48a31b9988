/* The trainable set: columns of state kept in step with the positions. */
#include "optim/trainable.h"

#include <assert.h>
#include <string.h>

static enum um_status open_whole(struct um_trainable *set, struct um_entry *entry,
                                 struct um_error *err)
{
    struct um_param *param = entry->param;
    entry->n = param->n_elements;
    for (int c = 0; c < UM_N_COLUMNS; c++) {
        if (!set->has_column[c] || c == UM_COLUMN_VALUE || c == UM_COLUMN_BORN)
            continue;
        entry->column[c] = UM_NEW(entry->n, float);
        if (!entry->column[c])
            return um_fail_memory(err, param->name, (size_t)entry->n * sizeof(float));
    }
    if (!param->values) { /* 16-bit: trained as a whole, it is held as fp32 from now on */
        float *values = UM_ARENA_NEW(&set->arena, entry->n, float);
        if (!values)
            return um_fail_memory(err, param->name, (size_t)entry->n * sizeof(float));
        um_param_read(param, 0, param->rows, values);
        param->values = values;
    }
    set->n += entry->n;
    set->n_whole += entry->n;
    return UM_OK;
}

/* Entries without any state. */
static enum um_status open_entries(struct um_trainable *set, int64_t n_params,
                                   struct um_param *const *scope, const bool *is_whole,
                                   size_t n_scope, struct um_error *err)
{
    *set = (struct um_trainable){.n_entries = n_scope};
    set->entries = UM_NEW(n_scope, struct um_entry);
    set->of_param = UM_NEW(n_params, struct um_entry *);
    if (!set->entries || !set->of_param) {
        um_trainable_close(set);
        return um_fail_memory(err, "the trainable set", n_scope * sizeof(struct um_entry));
    }
    for (size_t i = 0; i < n_scope; i++) {
        set->entries[i] = (struct um_entry){.param = scope[i], .is_whole = is_whole[i]};
        set->of_param[scope[i]->index] = &set->entries[i];
    }
    return UM_OK;
}

enum um_status um_trainable_open_plan(struct um_trainable *set, int64_t n_params,
                                      struct um_param *const *scope, const bool *is_whole,
                                      size_t n_scope, struct um_error *err)
{
    UM_RETURN_IF(open_entries(set, n_params, scope, is_whole, n_scope, err));
    for (size_t i = 0; i < n_scope; i++) {
        if (!is_whole[i])
            continue;
        scope[i]->is_planned_f32 = true; /* as open_whole would have it */
        set->n += scope[i]->n_elements;
        set->n_whole += scope[i]->n_elements;
    }
    return UM_OK;
}

enum um_status um_trainable_open(struct um_trainable *set, int64_t n_params,
                                 struct um_param *const *scope, const bool *is_whole,
                                 size_t n_scope, const bool has_column[UM_N_COLUMNS],
                                 struct um_error *err)
{
    UM_RETURN_IF(open_entries(set, n_params, scope, is_whole, n_scope, err));
    memcpy(set->has_column, has_column, sizeof(set->has_column));
    for (size_t i = 0; i < n_scope; i++) {
        struct um_entry *entry = &set->entries[i];
        enum um_status status = entry->is_whole ? open_whole(set, entry, err) : UM_OK;
        if (status != UM_OK) {
            um_trainable_close(set);
            return status;
        }
    }
    return UM_OK;
}

void um_trainable_close(struct um_trainable *set)
{
    for (size_t i = 0; set->entries && i < set->n_entries; i++) {
        um_free(set->entries[i].index);
        for (int c = 0; c < UM_N_COLUMNS; c++)
            um_free(set->entries[i].column[c]);
    }
    um_free(set->entries);
    um_free(set->of_param);
    um_arena_free(&set->arena);
    *set = (struct um_trainable){0};
}

/* Room for n_new more elements in the index and every column of a sparse entry. */
static bool grow_entry(const struct um_trainable *set, struct um_entry *entry, int64_t n_new)
{
    size_t need = (size_t)(entry->n + n_new);
    int64_t *index = um_realloc(entry->index, need * sizeof(int64_t));
    if (!index)
        return false;
    entry->index = index;
    for (int c = 0; c < UM_N_COLUMNS; c++) {
        if (!set->has_column[c])
            continue;
        float *column = um_realloc(entry->column[c], need * sizeof(float));
        if (!column)
            return false;
        entry->column[c] = column;
    }
    return true;
}

static void set_element(struct um_entry *entry, int64_t at, const struct um_pick *pick,
                        int64_t step)
{
    entry->index[at] = pick->index;
    const float start[UM_N_COLUMNS] = {
        [UM_COLUMN_VALUE] = um_param_stored(entry->param, pick->index),
        [UM_COLUMN_GRAD] = pick->grad,
        [UM_COLUMN_BORN] = (float)step};
    for (int c = 0; c < UM_N_COLUMNS; c++)
        if (entry->column[c])
            entry->column[c][at] = start[c];
}

static void move_element(struct um_entry *entry, int64_t to, int64_t from)
{
    entry->index[to] = entry->index[from];
    for (int c = 0; c < UM_N_COLUMNS; c++)
        if (entry->column[c])
            entry->column[c][to] = entry->column[c][from];
}

/* Merges sorted picks into the sorted entry, from the back, in place. */
static void merge_picks(struct um_entry *entry, const struct um_pick *picks, int64_t n_picks,
                        int64_t step)
{
    int64_t old = entry->n - 1, fresh = n_picks - 1;
    for (int64_t to = entry->n + n_picks - 1; fresh >= 0; to--) {
        assert(old < 0 || entry->index[old] != picks[fresh].index);
        if (old >= 0 && entry->index[old] > picks[fresh].index)
            move_element(entry, to, old--);
        else
            set_element(entry, to, &picks[fresh--], step);
    }
    entry->n += n_picks;
}

enum um_status um_trainable_insert(struct um_trainable *set, const struct um_pick *picks,
                                   int64_t n_picks, int64_t step, struct um_error *err)
{
    for (int64_t i = 0, end; i < n_picks; i = end) {
        end = i + 1;
        while (end < n_picks && picks[end].param == picks[i].param)
            end++;
        struct um_entry *entry = set->of_param[picks[i].param];
        if (!grow_entry(set, entry, end - i))
            return um_fail_memory(err, entry->param->name, (size_t)(end - i) * sizeof(float));
        merge_picks(entry, picks + i, end - i, step);
        set->n += end - i;
    }
    return UM_OK;
}

int64_t um_entry_from(const struct um_entry *entry, int64_t index)
{
    int64_t low = 0, high = entry->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (entry->index[middle] < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool um_entry_has(const struct um_entry *entry, int64_t index)
{
    if (entry->is_whole)
        return true;
    int64_t at = um_entry_from(entry, index);
    return at < entry->n && entry->index[at] == index;
}

float *um_entry_values(const struct um_entry *entry)
{
    return entry->is_whole ? entry->param->values : entry->column[UM_COLUMN_VALUE];
}

void um_entry_publish(struct um_entry *entry)
{
    struct um_param *param = entry->param;
    if (entry->is_whole)
        return;
    if (!param->values) {
        param->overlay_index = entry->index;
        param->overlay_value = entry->column[UM_COLUMN_VALUE];
        param->n_overlay = entry->n;
        return;
    }
    for (int64_t i = 0; i < entry->n; i++)
        param->values[entry->index[i]] = entry->column[UM_COLUMN_VALUE][i];
}
