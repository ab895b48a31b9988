/*
 * A fresh choice of the sparse elements: those that stay keep their state, those that leave are
 * restored or keep their values, and every position that ever was in the set is remembered, so that
 * a run can say how many it touched, and a delta can hold them.
 */
#include <string.h>

#include "optim/trainable_private.h"

/* Index and columns for n elements, all empty; false = no memory. */
static bool open_columns(struct um_entry *fresh, const struct um_trainable *set, int64_t n)
{
    if (n == 0)
        return true;
    fresh->index = UM_NEW(n, int64_t);
    bool has_room = fresh->index;
    for (int c = 0; c < UM_N_COLUMNS && has_room; c++) {
        if (set->has_column[c])
            has_room = (fresh->column[c] = UM_NEW(n, float));
    }
    return has_room;
}

/* Lets element k go: a value held as fp32 is put back; others only lie over the parameter. */
static void drop_element(const struct um_trainable *set, const struct um_entry *entry, int64_t k)
{
    if (set->dropped == UM_DROPPED_RESTORED && entry->param->values)
        entry->param->values[entry->index[k]] = entry->column[UM_COLUMN_START][k];
}

/* The union of the touched positions and the picks; new ones start from their parameter's values.
 */
static bool touch(struct um_entry *entry, const struct um_pick *picks, int64_t n_picks,
                  bool has_values)
{
    const struct um_touched *old = &entry->touched;
    int64_t need = old->n + n_picks, i = 0, k = 0;
    struct um_touched all = {.index = UM_NEW(need, int64_t),
                             .value = has_values ? UM_NEW(need, float) : NULL};
    if (!all.index || (has_values && !all.value)) {
        um_free(all.index);
        um_free(all.value);
        return false;
    }
    for (; i < old->n || k < n_picks; all.n++) {
        bool is_old = k == n_picks || (i < old->n && old->index[i] <= picks[k].index);
        int64_t index = is_old ? old->index[i] : picks[k].index;
        all.index[all.n] = index;
        if (has_values)
            all.value[all.n] = is_old ? old->value[i] : um_param_value(entry->param, index);
        i += is_old;
        k += k < n_picks && picks[k].index == index;
    }
    um_free(old->index);
    um_free(old->value);
    entry->touched = all;
    return true;
}

void um_entry_write_touched(struct um_entry *entry)
{
    const struct um_touched *t = &entry->touched;
    for (int64_t k = 0, i = 0; k < entry->n; k++) {
        while (t->index[i] < entry->index[k])
            i++;
        t->value[i] = entry->column[UM_COLUMN_VALUE][k];
    }
}

static enum um_status replace(struct um_trainable *set, struct um_entry *entry,
                              const struct um_pick *picks, int64_t n, int64_t step,
                              struct um_error *err)
{
    struct um_entry fresh = {.param = entry->param, .n = n};
    if (n > 0 && !touch(entry, picks, n, set->dropped == UM_DROPPED_KEPT))
        return um_fail_memory(err, entry->param->name, (size_t)n * sizeof(float));
    um_entry_publish(entry); /* what lay over the parameter has moved */
    if (!open_columns(&fresh, set, n)) {
        um_entry_free_columns(&fresh);
        return um_fail_memory(err, entry->param->name, (size_t)n * sizeof(float));
    }
    int64_t k = 0;
    for (int64_t at = 0; at < n; at++) {
        for (; k < entry->n && entry->index[k] < picks[at].index; k++)
            drop_element(set, entry, k);
        if (k < entry->n && entry->index[k] == picks[at].index)
            um_entry_copy_element(&fresh, at, entry, k++);
        else
            um_entry_set_element(&fresh, at, &picks[at],
                                 um_param_value(entry->param, picks[at].index), step);
    }
    for (; k < entry->n; k++)
        drop_element(set, entry, k);
    um_entry_free_columns(entry);
    fresh.touched = entry->touched;
    set->n += n - entry->n;
    *entry = fresh;
    um_entry_publish(entry);
    return UM_OK;
}

enum um_status um_trainable_replace(struct um_trainable *set, const struct um_pick *picks,
                                    int64_t n_picks, int64_t step, struct um_error *err)
{
    int64_t i = 0;
    for (size_t e = 0; e < set->n_entries; e++) {
        struct um_entry *entry = &set->entries[e];
        int64_t n = um_picks_of_param(picks + i, n_picks - i, entry->param->index);
        if (!entry->is_whole && (n > 0 || entry->n > 0))
            UM_RETURN_IF(replace(set, entry, picks + i, n, step, err));
        i += n;
    }
    return UM_OK;
}

enum um_status um_trainable_touch(struct um_trainable *set, const struct um_pick *picks,
                                  int64_t n_picks, const void *values, struct um_error *err)
{
    if (n_picks == 0)
        return UM_OK;
    struct um_entry *entry = set->of_param[picks[0].param];
    if (!touch(entry, picks, n_picks, values != NULL))
        return um_fail_memory(err, entry->param->name, (size_t)n_picks * sizeof(float));
    if (values) {
        memcpy(entry->touched.value, values, (size_t)n_picks * sizeof(float));
        for (int64_t k = 0; entry->param->values && k < n_picks; k++)
            entry->param->values[picks[k].index] = entry->touched.value[k];
    }
    um_entry_publish(entry);
    return UM_OK;
}

bool um_entry_has_touched(const struct um_entry *entry, const struct um_pick *picks,
                          int64_t n_picks)
{
    const struct um_touched *t = &entry->touched;
    int64_t k = 0;
    for (int64_t i = 0; i < n_picks; i++) {
        while (k < t->n && t->index[k] < picks[i].index)
            k++;
        if (k == t->n || t->index[k] != picks[i].index)
            return false;
    }
    return true;
}

int64_t um_trainable_touched(const struct um_trainable *set)
{
    int64_t n = 0;
    for (size_t e = 0; e < set->n_entries; e++)
        n += set->entries[e].touched.index ? set->entries[e].touched.n : set->entries[e].n;
    return n;
}
