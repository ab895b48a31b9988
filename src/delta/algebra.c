/*
 * The algebra of deltas of one base: base + sum of factor * (delta - base), position by position,
 * and what two deltas have in common. A delta holds new values, so the base is needed; where one
 * delta alone touches a position with a factor of 1, its value is taken as it is, bit for bit. A
 * parameter that the base does not have (a task head, a low-rank pair) is no difference: it is
 * taken as it is.
 */
#include "delta/delta.h"

#include <string.h>

struct combination {
    struct um_folder base;
    struct um_delta **deltas;       /* n; owned */
    const struct um_delta_term *terms;
    size_t n;
    enum um_conflict on_conflict, heads;
    const struct um_delta_entry **parts; /* of the tensor at hand, by delta; NULL: not touched */
    int64_t *cursors;               /* into the parts' positions */
    double *values, *factors;       /* of those that touch the position at hand */
    const struct um_delta *head; /* whose task head the result has; NULL: none has one */
    struct um_delta result;
    size_t entries_capacity;
};

static float moved(double base, double value, double factor)
{
    return (float)(factor == 1 ? value : base + factor * (value - base));
}

static enum um_status fail_conflict(const char *name, int64_t at, struct um_error *err)
{
    um_fail(err, UM_E_INPUT, "the deltas differ in what they make of '%s' at position %lld", name,
            (long long)at);
    um_error_hint(err, "--on-conflict first, last, mean or sum says what is to become of that");
    return UM_E_INPUT;
}

/* The value at a position that n_at deltas touch (c->values, c->factors, in the order of terms). */
static enum um_status resolve(float *out, const struct combination *c, double base, size_t n_at,
                              const char *name, int64_t at, struct um_error *err)
{
    double sum = 0;
    *out = moved(base, c->values[0], c->factors[0]);
    switch (n_at > 1 ? c->on_conflict : UM_CONFLICT_FIRST) {
    case UM_CONFLICT_FIRST:
        return UM_OK;
    case UM_CONFLICT_LAST:
        *out = moved(base, c->values[n_at - 1], c->factors[n_at - 1]);
        return UM_OK;
    case UM_CONFLICT_ERROR:
        for (size_t k = 1; k < n_at; k++)
            if (moved(base, c->values[k], c->factors[k]) != *out)
                return fail_conflict(name, at, err);
        return UM_OK;
    case UM_CONFLICT_SUM:
    case UM_CONFLICT_MEAN:
        break;
    }
    for (size_t k = 0; k < n_at; k++)
        sum += c->factors[k] * (c->values[k] - base);
    *out = (float)(base + sum / (c->on_conflict == UM_CONFLICT_MEAN ? (double)n_at : 1));
    return UM_OK;
}

/* The first position from `from` on that a part touches; INT64_MAX if none does. */
static int64_t next_position(struct combination *c, int64_t from)
{
    int64_t next = INT64_MAX;
    for (size_t k = 0; k < c->n; k++) {
        const struct um_delta_entry *e = c->parts[k];
        int64_t at = INT64_MAX;
        if (!e)
            continue;
        if (e->is_whole)
            at = from < e->n ? from : INT64_MAX;
        else if (c->cursors[k] < e->n)
            at = e->index[c->cursors[k]];
        next = at < next ? at : next;
    }
    return next;
}

/* Gathers what touches a position, and steps over it. Returns how many do. */
static size_t gather(struct combination *c, int64_t at)
{
    size_t n_at = 0;
    for (size_t k = 0; k < c->n; k++) {
        const struct um_delta_entry *e = c->parts[k];
        int64_t place = at;
        if (!e)
            continue;
        if (!e->is_whole) {
            if (c->cursors[k] == e->n || e->index[c->cursors[k]] != at)
                continue;
            place = c->cursors[k]++;
        }
        c->values[n_at] = (double)e->value[place];
        c->factors[n_at++] = c->terms[k].factor;
    }
    return n_at;
}

/* One tensor of the base: whole if one of the parts is, else the positions whose bits change. */
static enum um_status combine_tensor(struct combination *c, const struct um_tensor_view *view,
                                     struct um_error *err)
{
    struct um_delta_entry entry = {.name = view->name};
    int64_t most = 0;
    for (size_t k = 0; k < c->n; k++) {
        c->cursors[k] = 0;
        most += c->parts[k] ? c->parts[k]->n : 0;
        entry.is_whole = entry.is_whole || (c->parts[k] && c->parts[k]->is_whole);
    }
    if (entry.is_whole) {
        most = view->n_elements;
        entry.n_dims = view->n_dims;
        memcpy(entry.dims, view->dims, sizeof(entry.dims));
    }
    float *value = UM_ARENA_NEW(&c->result.arena, most, float);
    int64_t *index = entry.is_whole ? NULL : UM_ARENA_NEW(&c->result.arena, most, int64_t);
    if (!value || (!entry.is_whole && !index))
        return um_fail_memory(err, view->name, (size_t)most * 12);
    for (int64_t at = next_position(c, 0); at < view->n_elements; at = next_position(c, at + 1)) {
        float base = um_to_f32_at(view->bytes, view->dtype, at), now;
        size_t n_at = gather(c, at);
        UM_RETURN_IF(resolve(&now, c, (double)base, n_at, view->name, at, err));
        if (index && memcmp(&now, &base, sizeof(now)) == 0)
            continue;
        if (index)
            index[entry.n] = at;
        value[entry.n++] = now;
    }
    entry.index = index;
    entry.value = value;
    return entry.n ? um_delta_add(&c->result, &c->entries_capacity, entry, err) : UM_OK;
}

static enum um_status fail_added(const char *name, struct um_error *err)
{
    um_fail(err, UM_E_INPUT, "the deltas have an added parameter '%s' of different values, which "
            "cannot be added up", name);
    um_error_hint(err, "--heads first, last or mean says what is to become of it");
    return UM_E_INPUT;
}

/* The mean of an added parameter over the deltas that have it. */
static enum um_status mean_added(struct um_delta_entry *mean, struct combination *c,
                                 struct um_error *err)
{
    float *value = UM_ARENA_NEW(&c->result.arena, mean->n, float);
    if (!value)
        return um_fail_memory(err, mean->name, (size_t)mean->n * sizeof(float));
    for (int64_t i = 0; i < mean->n; i++) {
        double sum = 0;
        size_t n = 0;
        for (size_t k = 0; k < c->n; k++)
            if (c->parts[k]) {
                sum += (double)c->parts[k]->value[i];
                n++;
            }
        value[i] = (float)(sum / (double)n);
    }
    mean->value = value;
    return UM_OK;
}

/* Rows of heads are classes, which the deltas must number alike. */
static enum um_status check_classes(const struct combination *c, const char *name,
                                    struct um_error *err)
{
    const struct um_delta *first = NULL;
    for (size_t k = 0; k < c->n; k++) {
        const struct um_delta *d = c->deltas[k];
        if (!c->parts[k])
            continue;
        first = first ? first : d;
        bool are_same = d->n_labels == first->n_labels;
        for (size_t i = 0; are_same && i < d->n_labels; i++)
            are_same = strcmp(d->labels[i], first->labels[i]) == 0;
        if (!are_same)
            return um_fail(err, UM_E_INPUT,
                           "the mean of '%s' means nothing: '%s' has other classes "
                           "than the deltas before it, or numbers them otherwise",
                           name, c->terms[k].delta);
    }
    return UM_OK;
}

/* A parameter that the base lacks is no difference: where deltas have others, the rule for heads
 * says whose is taken. */
static enum um_status combine_added(struct combination *c, const char *name, struct um_error *err)
{
    struct um_delta_entry chosen = {0};
    bool is_one = true;
    for (size_t k = 0; k < c->n; k++) {
        const struct um_delta_entry *e = c->parts[k];
        if (!e)
            continue;
        if (chosen.name && e->n != chosen.n)
            return um_fail(err, UM_E_INPUT, "the deltas have an added parameter '%s' of different "
                           "sizes: tasks of different classes do not combine", name);
        is_one = is_one && (!chosen.name ||
                            !memcmp(e->value, chosen.value, (size_t)e->n * sizeof(float)));
        if (!chosen.name || c->heads == UM_CONFLICT_LAST) {
            chosen = *e;
            c->head = c->deltas[k];
        }
    }
    if (!is_one && c->heads == UM_CONFLICT_MEAN) {
        UM_RETURN_IF(check_classes(c, name, err));
        UM_RETURN_IF(mean_added(&chosen, c, err));
    } else if (!is_one && c->heads != UM_CONFLICT_FIRST && c->heads != UM_CONFLICT_LAST) {
        return fail_added(name, err);
    }
    return um_delta_add(&c->result, &c->entries_capacity, chosen, err);
}

static enum um_status combine_name(struct combination *c, const char *name, struct um_error *err)
{
    bool is_added = false;
    for (size_t k = 0; k < c->n; k++) {
        c->parts[k] = um_delta_find(c->deltas[k], name);
        is_added = is_added || (c->parts[k] && c->parts[k]->is_added);
    }
    return is_added ? combine_added(c, name, err)
                    : combine_tensor(c, um_folder_find(&c->base, name), err);
}

/* All names that some delta has, each once, in order: the least one behind the last. */
static const char *next_name(const struct combination *c, const char *last)
{
    const char *next = NULL;
    for (size_t k = 0; k < c->n; k++) {
        for (size_t e = 0; e < c->deltas[k]->n_entries; e++) {
            const char *name = c->deltas[k]->entries[e].name;
            if (last && strcmp(name, last) <= 0)
                continue;
            if (!next || strcmp(name, next) < 0)
                next = name;
            break;
        }
    }
    return next;
}

static enum um_status open_all(struct combination *c, const char *model, struct um_error *err)
{
    c->deltas = UM_NEW(c->n, struct um_delta *);
    c->parts = UM_NEW(c->n, const struct um_delta_entry *);
    c->cursors = UM_NEW(c->n, int64_t);
    c->values = UM_NEW(c->n, double);
    c->factors = UM_NEW(c->n, double);
    if (!c->deltas || !c->parts || !c->cursors || !c->values || !c->factors)
        return um_fail_memory(err, "a list of deltas", c->n * sizeof(*c->deltas));
    UM_RETURN_IF(um_folder_open(&c->base, model, err));
    for (size_t k = 0; k < c->n; k++) {
        UM_RETURN_IF(um_delta_open(&c->deltas[k], c->terms[k].delta, err));
        enum um_status status = um_delta_check(c->deltas[k], &c->base, err);
        if (status != UM_OK) {
            um_error_prefix(err, "'%s'", c->terms[k].delta);
            return status;
        }
        if (*c->deltas[k]->attached)
            return um_fail(err, UM_E_USAGE, "'%s' attaches parameters to the base, whose sums mean "
                           "nothing; merge it, and take the difference by `unmask delta diff`",
                           c->terms[k].delta);
    }
    return UM_OK;
}

static void close_all(struct combination *c)
{
    for (size_t k = 0; c->deltas && k < c->n; k++)
        um_delta_free(c->deltas[k]);
    um_free(c->deltas);
    um_free(c->parts);
    um_free(c->cursors);
    um_free(c->values);
    um_free(c->factors);
    um_free(c->result.entries);
    um_arena_free(&c->result.arena);
    um_folder_close(&c->base);
}

/* Task, labels and names are those of the delta that the head came from; without any, of the first
 * that has a task. */
static void take_metadata(struct combination *c)
{
    const struct um_delta *from = c->deltas[0];
    for (size_t k = c->n; k-- > 0;)
        if (*c->deltas[k]->task)
            from = c->deltas[k];
    if (c->head)
        from = c->head;
    c->result.method = "combined";
    c->result.task = from->task;
    c->result.template = from->template;
    c->result.architecture = from->architecture;
    c->result.prefix = from->prefix;
    c->result.task_class = from->task_class;
    c->result.problem_type = from->problem_type;
    c->result.labels = from->labels;
    c->result.n_labels = from->n_labels;
    for (size_t e = 0; e < c->result.n_entries; e++)
        c->result.budget += c->result.entries[e].n;
}

enum um_status um_delta_combine(struct um_delta_info *info, const char *model,
                                const struct um_delta_term *terms, size_t n_terms,
                                enum um_conflict on_conflict, enum um_conflict heads,
                                const char *out, struct um_error *err)
{
    struct combination c = {
        .terms = terms, .n = n_terms, .on_conflict = on_conflict, .heads = heads};
    enum um_status status;
    if (n_terms == 0)
        return um_fail(err, UM_E_USAGE, "no delta to combine");
    UM_TRY(open_all(&c, model, err));
    for (const char *name = NULL; (name = next_name(&c, name));)
        UM_TRY(combine_name(&c, name, err));
    take_metadata(&c);
    UM_TRY(um_delta_write(&c.result, &c.base, out, err));
    UM_TRY(um_delta_read_info(info, out, err));
out:
    close_all(&c);
    return status;
}

/* ---- what two deltas have in common */

static struct um_delta_overlap overlap_of(const struct um_delta_entry *a,
                                          const struct um_delta_entry *b)
{
    struct um_delta_overlap o = {.n_first = a ? a->n : 0, .n_second = b ? b->n : 0};
    int64_t i = 0, k = 0;
    while (a && b && i < a->n && k < b->n) {
        int64_t at = a->is_whole ? i : a->index[i], other = b->is_whole ? k : b->index[k];
        if (at == other) {
            o.n_both++;
            o.n_same += memcmp(&a->value[i], &b->value[k], sizeof(float)) == 0;
        }
        i += at <= other;
        k += other <= at;
    }
    return o;
}

void um_delta_compare(struct um_delta_overlap *total, const struct um_delta *first,
                                const struct um_delta *second, um_overlap_fn *visit, void *user)
{
    size_t i = 0, k = 0;
    *total = (struct um_delta_overlap){0};
    while (i < first->n_entries || k < second->n_entries) {
        const struct um_delta_entry *a = i < first->n_entries ? &first->entries[i] : NULL;
        const struct um_delta_entry *b = k < second->n_entries ? &second->entries[k] : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);
        struct um_delta_overlap o = overlap_of(order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        i += order <= 0;
        k += order >= 0;
        total->n_first += o.n_first;
        total->n_second += o.n_second;
        total->n_both += o.n_both;
        total->n_same += o.n_same;
        if (visit)
            visit(order <= 0 ? a->name : b->name, &o, user);
    }
}
