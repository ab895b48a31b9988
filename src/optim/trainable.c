/* The trainable set: columns of state kept in step with the positions. */
#include "optim/trainable_private.h"

#include <assert.h>
#include <string.h>

#include "base/sorted.h"

const bool um_column_is_of_whole[UM_N_COLUMNS] = {
    [UM_COLUMN_GRAD] = true,
    [UM_COLUMN_FIRST] = true,
    [UM_COLUMN_SECOND] = true,
    [UM_COLUMN_SENSITIVITY] = true,
    [UM_COLUMN_UNCERTAINTY] = true};

static enum um_status open_whole(struct um_trainable *set, struct um_entry *entry,
                                 struct um_error *err)
{
    struct um_param *param = entry->param;
    entry->n = param->n_elements;
    for (int c = 0; c < UM_N_COLUMNS; c++) {
        if (!set->has_column[c] || !um_column_is_of_whole[c])
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

void um_entry_free_columns(struct um_entry *entry)
{
    um_free(entry->index);
    for (int c = 0; c < UM_N_COLUMNS; c++)
        um_free(entry->column[c]);
}

void um_trainable_close(struct um_trainable *set)
{
    for (size_t i = 0; set->entries && i < set->n_entries; i++) {
        um_entry_free_columns(&set->entries[i]);
        um_free(set->entries[i].touched.index);
        um_free(set->entries[i].touched.value);
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

void um_entry_set_element(struct um_entry *entry, int64_t at, const struct um_pick *pick,
                          float value, int64_t step)
{
    entry->index[at] = pick->index;
    const float start[UM_N_COLUMNS] = {[UM_COLUMN_VALUE] = value,
                                       [UM_COLUMN_GRAD] = pick->grad,
                                       [UM_COLUMN_BORN] = (float)step,
                                       [UM_COLUMN_START] = value};
    for (int c = 0; c < UM_N_COLUMNS; c++)
        if (entry->column[c])
            entry->column[c][at] = start[c];
}

void um_entry_copy_element(struct um_entry *to, int64_t at, const struct um_entry *from, int64_t k)
{
    to->index[at] = from->index[k];
    for (int c = 0; c < UM_N_COLUMNS; c++)
        if (to->column[c])
            to->column[c][at] = from->column[c][k];
}

/* Merges sorted picks into the sorted entry, from the back, in place. */
static void merge_picks(struct um_entry *entry, const struct um_pick *picks, int64_t n_picks,
                        int64_t step)
{
    int64_t old = entry->n - 1, fresh = n_picks - 1;
    for (int64_t to = entry->n + n_picks - 1; fresh >= 0; to--) {
        assert(old < 0 || entry->index[old] != picks[fresh].index);
        if (old >= 0 && entry->index[old] > picks[fresh].index) {
            um_entry_copy_element(entry, to, entry, old--);
            continue;
        }
        const struct um_pick *pick = &picks[fresh--];
        um_entry_set_element(entry, to, pick, um_param_stored(entry->param, pick->index), step);
    }
    entry->n += n_picks;
}

int64_t um_picks_of_param(const struct um_pick *picks, int64_t n_picks, int param)
{
    int64_t n = 0;
    while (n < n_picks && picks[n].param == param)
        n++;
    return n;
}

enum um_status um_trainable_insert(struct um_trainable *set, const struct um_pick *picks,
                                   int64_t n_picks, int64_t step, struct um_error *err)
{
    for (int64_t i = 0, n; i < n_picks; i += n) {
        n = um_picks_of_param(picks + i, n_picks - i, picks[i].param);
        struct um_entry *entry = set->of_param[picks[i].param];
        if (!grow_entry(set, entry, n))
            return um_fail_memory(err, entry->param->name, (size_t)n * sizeof(float));
        merge_picks(entry, picks + i, n, step);
        set->n += n;
        um_entry_publish(entry); /* what lay over the parameter has moved */
    }
    return UM_OK;
}

int64_t um_laid_from(const struct um_laid *laid, int64_t index)
{
    return um_place_from(laid->index, laid->n, index);
}

int64_t um_entry_from(const struct um_entry *entry, int64_t index)
{
    return um_place_from(entry->index, entry->n, index);
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

struct um_laid um_entry_laid(const struct um_entry *entry)
{
    const struct um_touched *t = &entry->touched;
    return t->value ? (struct um_laid){t->n, t->index, t->value}
                    : (struct um_laid){entry->n, entry->index, um_entry_values(entry)};
}

void um_entry_publish(struct um_entry *entry)
{
    struct um_param *param = entry->param;
    if (entry->is_whole)
        return;
    if (entry->touched.value)
        um_entry_write_touched(entry);
    if (!param->values) {
        struct um_laid laid = um_entry_laid(entry);
        param->overlay_index = laid.index;
        param->overlay_value = laid.value;
        param->n_overlay = laid.n;
        return;
    }
    for (int64_t i = 0; i < entry->n; i++)
        param->values[entry->index[i]] = entry->column[UM_COLUMN_VALUE][i];
}
