/*
 * Single weights of linear maps as a folder of Hugging Face PEFT, in two of its forms: SuperTuning
 * (flat positions) and SHiRA (rows and columns). Both hold what is to be ADDED to a weight, and as
 * many places for each map as a setting says: int(weights * (1 - sparsity)), or r * (inputs +
 * outputs).
 *
 * So that PEFT comes to our values bit for bit: where base + fp32(value - base) is rounded away
 * from the value, the position stands a second time with the rest, which PEFT adds behind it (on a
 * CPU; where another device adds in another order, such a sum is rounded as one with the base is).
 * Places left over add -0, which changes nothing, not even a zero's sign.
 */
#include <math.h>
#include <string.h>

#include "delta/export_private.h"

/* One of PEFT's forms. */
struct form {
    const char *type, *positions, *values; /* peft_type; ends of the tensors' names */
    bool is_flat;
};

struct sparse {
    const struct um_export *x;
    const struct form *form;
    int64_t rank;    /* SHiRA's r */
    double sparsity; /* SuperTuning's */
};

/* What PEFT is to add to the base's value, in turn, to come to `value`: 0 to 2 terms. -1: it
 * cannot. */
static int split(float terms[2], float base, float value)
{
    if (memcmp(&base, &value, sizeof(value)) == 0)
        return 0;
    terms[0] = value - base;
    float sum = base + terms[0];
    if (memcmp(&sum, &value, sizeof(value)) == 0)
        return 1;
    terms[1] = value - sum;
    sum += terms[1];
    return memcmp(&sum, &value, sizeof(value)) == 0 ? 2 : -1;
}

/* Counts the places that an entry takes. */
static enum um_status count(int64_t *n, const struct um_delta_entry *e, const struct um_param *p,
                            struct um_error *err)
{
    float terms[2];
    *n = 0;
    for (int64_t i = 0; i < e->n; i++) {
        int n_terms = split(terms, p->values[e->index[i]], e->value[i]);
        if (n_terms < 0)
            return um_fail(
                err, UM_E_USAGE,
                "'%s': %.9g at %lld is not the base's %.9g plus an fp32 number, which is "
                "all that PEFT can say",
                e->name, (double)e->value[i], (long long)e->index[i],
                (double)p->values[e->index[i]]);
        *n += n_terms;
    }
    return UM_OK;
}

static enum um_status check_entry(const struct um_export *x, const struct um_delta_entry *e,
                                  struct um_error *err)
{
    const struct um_param *p = um_model_find_param(&x->model, e->name);
    const char *why = NULL;
    if (e->is_whole && e->is_added)
        return UM_OK; /* a task head, saved along */
    if (!p || !p->is_map || e->is_whole)
        why = "is not a linear map's weight";
    else if (p->is_turned)
        why = "is stored [inputs, outputs], which PEFT's form does not take";
    else if (!p->values)
        why = "is not fp32 in the base, and PEFT adds in the base's type";
    else if (p->n_elements > INT32_MAX)
        why = "has more weights than 32-bit positions reach";
    if (!why)
        return UM_OK;
    um_fail(err, UM_E_USAGE, "this format has no room for what the delta changes: '%s' %s", e->name,
            why);
    um_error_hint(err,
                  "scope.region=maps keeps training to linear maps; merge writes any delta as a "
                  "model");
    return UM_E_USAGE;
}

static int64_t room_of(const struct sparse *s, const struct um_param *p)
{
    return s->form->is_flat
               ? (int64_t)((double)p->n_elements * (1 - s->sparsity)) /* as in Python */
               : s->rank * (p->rows + p->cols);
}

/* Makes the setting such that `n` places fit the map. */
static enum um_status make_room(struct sparse *s, const struct um_param *p, int64_t n,
                                struct um_error *err)
{
    if (n == 0)
        n = 1; /* PEFT wants one at least */
    if (!s->form->is_flat) {
        int64_t side = p->rows + p->cols, rank = (n + side - 1) / side;
        s->rank = rank > s->rank ? rank : s->rank;
    } else {
        double share = (double)n / (double)p->n_elements;
        s->sparsity = fmin(s->sparsity, fmax(1 - share, 0));
        while (s->sparsity > 0 && room_of(s, p) < n)
            s->sparsity = fmax(nextafter(s->sparsity, 0), 0);
    }
    if (room_of(s, p) >= n && room_of(s, p) <= p->n_elements)
        return UM_OK;
    return um_fail(err, UM_E_USAGE, "'%s': the delta changes more of it than this format can say",
                   p->name);
}

/* Checks everything, and finds the setting that has room for all. */
static enum um_status plan(struct sparse *s, struct um_error *err)
{
    const struct um_export *x = s->x;
    int64_t n, n_maps = 0;
    if (um_model_attached(&x->model))
        return um_fail(err, UM_E_USAGE,
                       "the delta adds parameters to the base; format peft or gguf "
                       "holds them");
    if (x->base.gguf)
        return um_fail(err, UM_E_USAGE,
                       "'%s' is a GGUF file, which PEFT does not load; merge it into "
                       "a folder first",
                       x->base.path);
    for (size_t e = 0; e < x->delta->n_entries; e++) {
        const struct um_delta_entry *entry = &x->delta->entries[e];
        UM_RETURN_IF(check_entry(x, entry, err));
        if (entry->is_whole)
            continue;
        const struct um_param *p = um_model_find_param(&x->model, entry->name);
        UM_RETURN_IF(count(&n, entry, p, err));
        UM_RETURN_IF(make_room(s, p, n, err));
        n_maps++;
    }
    /* What was enough for one map may be too much for a smaller one. */
    for (size_t e = 0; e < x->delta->n_entries; e++)
        if (!x->delta->entries[e].is_whole)
            UM_RETURN_IF(
                make_room(s, um_model_find_param(&x->model, x->delta->entries[e].name), 1, err));
    return n_maps ? UM_OK : um_fail(err, UM_E_USAGE, "the delta changes no single weights");
}

/* ---- tensors */

static void put_position(const struct sparse *s, int32_t *positions, int64_t at, int64_t room,
                         int64_t index, int64_t cols)
{
    if (s->form->is_flat) {
        positions[at] = (int32_t)index;
        return;
    }
    positions[at] = (int32_t)(index / cols);
    positions[room + at] = (int32_t)(index % cols);
}

/* Fills positions (of SHiRA: rows, then columns) and values, `room` of them. */
static void fill(const struct sparse *s, int32_t *positions, float *values, int64_t room,
                 const struct um_delta_entry *e, const struct um_param *p)
{
    float terms[2];
    int64_t at = 0;
    for (int64_t i = 0; i < e->n; i++) {
        int n = split(terms, p->values[e->index[i]], e->value[i]);
        for (int t = 0; t < n; t++, at++) {
            put_position(s, positions, at, room, e->index[i], p->cols);
            values[at] = terms[t];
        }
    }
    for (; at < room; at++) {
        put_position(s, positions, at, room, 0, p->cols);
        values[at] = -0.0F;
    }
}

static enum um_status put_entry(struct um_safetensors_writer *w, const struct sparse *s,
                                const struct um_delta_entry *e, struct um_error *err)
{
    const struct um_param *p = um_model_find_param(&s->x->model, e->name);
    int64_t room = room_of(s, p), n_positions = s->form->is_flat ? room : 2 * room;
    int32_t *positions = UM_NEW(n_positions, int32_t);
    float *values = UM_NEW(room, float);
    enum um_status status = UM_OK;
    if (!positions || !values)
        UM_TRY(um_fail_memory(err, e->name, (size_t)room * 12));
    fill(s, positions, values, room, e, p);
    UM_TRY(um_safetensors_put(w, positions, (size_t)n_positions * sizeof(*positions), err));
    UM_TRY(um_safetensors_put(w, values, (size_t)room * sizeof(*values), err));
out:
    um_free(positions);
    um_free(values);
    return status;
}

static enum um_status declare_entry(struct um_safetensors_writer *w, const struct sparse *s,
                                    const struct um_delta_entry *e, struct um_error *err)
{
    int64_t room = room_of(s, um_model_find_param(&s->x->model, e->name));
    const int64_t pairs[2] = {2, room};
    char *name = um_export_name(s->x->delta, e->name);
    struct um_str text = {0};
    if (!name)
        return um_fail_memory(err, "a name", 0);
    int n = (int)(strrchr(name, '.') - name); /* without ".weight" */
    um_safetensors_declare(w, um_str_setf(&text, "%.*s.%s", n, name, s->form->positions), UM_I32,
                           s->form->is_flat ? 1 : 2, s->form->is_flat ? &room : pairs);
    um_safetensors_declare(w, um_str_setf(&text, "%.*s.%s", n, name, s->form->values), UM_F32, 1,
                           &room);
    enum um_status status = text.failed ? um_fail_memory(err, "a name", 0) : UM_OK;
    um_str_free(&text);
    um_free(name);
    return status;
}

static enum um_status each_tensor(struct um_safetensors_writer *w, const void *user,
                                  bool is_declaring, struct um_error *err)
{
    const struct sparse *s = user;
    const struct um_delta *d = s->x->delta;
    for (size_t e = 0; e < d->n_entries; e++)
        if (!d->entries[e].is_whole)
            UM_RETURN_IF((is_declaring ? declare_entry : put_entry)(w, s, &d->entries[e], err));
    return um_export_whole(w, s->x, is_declaring, err);
}

static enum um_status write_config(const struct sparse *s, struct um_error *err)
{
    const struct um_export *x = s->x;
    json_t *targets = json_array(), *saved = json_array();
    bool is_done = targets && saved;
    for (size_t e = 0; e < x->delta->n_entries; e++)
        is_done = is_done && um_export_add_module(x->delta->entries[e].is_whole ? saved : targets,
                                                  x->delta, x->delta->entries[e].name);
    json_t *config =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:O, s:O}", "peft_type", s->form->type, "task_type",
                  um_export_task(x), "base_model_name_or_path", x->base.path, "inference_mode", 1,
                  "init_weights", 1, "target_modules", targets, "modules_to_save", saved);
    is_done = is_done && config;
    if (is_done && s->form->is_flat) {
        is_done = json_object_set_new(config, "sparsity", json_real(s->sparsity)) == 0 &&
                  json_object_set_new(config, "save_precomputed_indices", json_true()) == 0;
    } else if (is_done) {
        is_done = json_object_set_new(config, "r", json_integer(s->rank)) == 0 &&
                  json_object_set_new(config, "mask_type", json_string("random")) == 0;
    }
    enum um_status status = um_export_save_config(x, is_done ? config : NULL, err);
    json_decref(config);
    json_decref(targets);
    json_decref(saved);
    return status;
}

static enum um_status export_as(const struct um_export *x, const struct form *form,
                                struct um_error *err)
{
    struct sparse s = {.x = x, .form = form, .rank = 1, .sparsity = 1};
    UM_RETURN_IF(plan(&s, err));
    UM_RETURN_IF(um_make_folder(x->out, err));
    UM_RETURN_IF(um_export_save_tensors(x, each_tensor, &s, err));
    return write_config(&s, err);
}

enum um_status um_export_supertuning(const struct um_export *x, struct um_error *err)
{
    static const struct form form = {"SUPERTUNING", "supertuning_indices", "supertuning_values",
                                     true};
    return export_as(x, &form, err);
}

enum um_status um_export_shira(const struct um_export *x, struct um_error *err)
{
    static const struct form form = {"SHIRA", "shira_indices", "shira_weight", false};
    return export_as(x, &form, err);
}
