/* The delta between two checkpoints of one model: values whose bits differ. A tensor of which more
 * than a third differs is stored whole, which takes less room. What the base's file holds beside
 * the model (buffers, heads of other classes) may be missing in the other, and its norms may have
 * their other names there, as in checkpoints that transformers has read and saved again. */
#include <string.h>

#include "delta/attached.h"
#include "delta/head_config.h"

enum { PIECE = 1 << 18 }; /* a whole number of blocks of any type */

struct diff {
    struct um_folder base, tuned;
    struct um_model model; /* the base; n_params 0: of no architecture that we know */
    struct um_delta delta;
    size_t capacity;
    const char *prefix; /* of tuned names over base names */
    float *piece;       /* two pieces of expanded values */
};

static enum um_status add_whole(struct diff *d, const char *name,
                                const struct um_tensor_view *tuned, bool is_added,
                                struct um_error *err)
{
    float *values = um_arena_alloc(&d->delta.arena, (size_t)tuned->n_elements * sizeof(float));
    if (!values)
        return um_fail_memory(err, name, tuned->n_bytes);
    um_to_f32(values, tuned->bytes, tuned->dtype, tuned->n_elements);
    struct um_delta_entry entry = {.name = name, .n_dims = tuned->n_dims, .is_whole = true,
                                   .is_added = is_added, .n = tuned->n_elements,
                                   .value = values};
    memcpy(entry.dims, tuned->dims, sizeof(entry.dims));
    return um_delta_add(&d->delta, &d->capacity, entry, err);
}

/* Tensors of one type; or of others where what is unchanged is still alike: a tuned model saved as
 * F32, or if one is quantised, whose values take more room when they change. */
static bool are_of_like_type(const struct um_tensor_view *base, const struct um_tensor_view *tuned)
{
    return base->dtype == tuned->dtype ||
           (um_dtype_is_weight(base->dtype) && um_dtype_is_weight(tuned->dtype) &&
            (tuned->dtype == UM_F32 || um_dtype_is_quantised(base->dtype) ||
             um_dtype_is_quantised(tuned->dtype)));
}

static enum um_status check_like(const struct diff *d, const struct um_tensor_view *base,
                                 const struct um_tensor_view *tuned, struct um_error *err)
{
    char shapes[2][UM_SHAPE_TEXT];
    if (base->n_dims != tuned->n_dims || memcmp(base->dims, tuned->dims, sizeof(base->dims)) != 0)
        return um_fail(err, UM_E_INPUT,
                       "'%s' and '%s' are not of one model: tensor '%s' is %s, tuned "
                       "%s",
                       d->base.path, d->tuned.path, base->name,
                       um_shape_text(shapes[0], base->dims, base->n_dims),
                       um_shape_text(shapes[1], tuned->dims, tuned->n_dims));
    if (are_of_like_type(base, tuned))
        return UM_OK;
    (void)um_fail(err, UM_E_INPUT,
                  "tensor '%s' is %s in '%s' and %s in '%s': rounding changed nearly "
                  "all of it",
                  base->name, um_dtype_name(base->dtype), d->base.path, um_dtype_name(tuned->dtype),
                  d->tuned.path);
    um_error_hint(err, "compare with the base saved in the tuned model's type");
    return UM_E_INPUT;
}

/* Calls for both tensors' values piece by piece: counts those that differ, and keeps them if there
 * is where to. */
static int64_t find_changes(int64_t *index, float *value, float *pieces[2],
                            const struct um_tensor_view *base, const struct um_tensor_view *tuned)
{
    int64_t n = 0;
    for (int64_t first = 0; first < base->n_elements; first += PIECE) {
        int64_t left = base->n_elements - first, n_piece = left < PIECE ? left : PIECE;
        um_to_f32(pieces[0], base->bytes + um_dtype_size(base->dtype, first), base->dtype, n_piece);
        um_to_f32(pieces[1], tuned->bytes + um_dtype_size(tuned->dtype, first), tuned->dtype,
                  n_piece);
        for (int64_t i = 0; i < n_piece; i++) {
            if (memcmp(&pieces[0][i], &pieces[1][i], sizeof(float)) == 0)
                continue;
            if (index) {
                index[n] = first + i;
                value[n] = pieces[1][i];
            }
            n++;
        }
    }
    return n;
}

static enum um_status compare_tensor(struct diff *d, const struct um_tensor_view *base,
                                     const struct um_tensor_view *tuned, struct um_error *err)
{
    UM_RETURN_IF(check_like(d, base, tuned, err));
    if (base->dtype == tuned->dtype && memcmp(base->bytes, tuned->bytes, base->n_bytes) == 0)
        return UM_OK;
    if (!um_dtype_is_weight(base->dtype))
        return um_fail(err, UM_E_INPUT, "tensor '%s' differs, but is %s, not a weight", base->name,
                       um_dtype_name(base->dtype));
    float *pieces[2] = {d->piece, d->piece + PIECE};
    int64_t n = find_changes(NULL, NULL, pieces, base, tuned);
    if (n == 0)
        return UM_OK;
    if (n > base->n_elements / 3)
        return add_whole(d, base->name, tuned, false, err);
    int64_t *index = um_arena_alloc(&d->delta.arena, (size_t)n * sizeof(*index));
    float *value = um_arena_alloc(&d->delta.arena, (size_t)n * sizeof(*value));
    if (!index || !value)
        return um_fail_memory(err, base->name, (size_t)n * 12);
    (void)find_changes(index, value, pieces, base, tuned);
    const struct um_delta_entry entry = {
        .name = base->name, .n = n, .index = index, .value = value};
    return um_delta_add(&d->delta, &d->capacity, entry, err);
}

/* ---- which tensor stands for which */

/* By its name, or by the other that a norm's has. */
static const struct um_tensor_view *find(const struct um_folder *folder, const char *name)
{
    char other[320];
    const struct um_tensor_view *view = um_folder_find(folder, name);
    if (view || !um_model_other_norm(other, sizeof(other), name))
        return view;
    return um_folder_find(folder, other);
}

/* The base's words, or else its first weight (buffers come and go between versions of
 * transformers). */
static const char *first_weight(const struct diff *d)
{
    const struct um_tensor_view *view;
    if (d->model.n_params)
        return d->model.params[0].name;
    for (size_t t = 0; (view = um_folder_tensor(&d->base, t)); t++)
        if (um_dtype_is_weight(view->dtype))
            return view->name;
    return "";
}

/* What tuned names carry in front of base names: "" or, say, "bert.". */
static const char *find_prefix(struct diff *d)
{
    const char *first = first_weight(d);
    size_t n_first = strlen(first);
    const struct um_tensor_view *view;
    if (um_folder_find(&d->tuned, first))
        return "";
    for (size_t t = 0; (view = um_folder_tensor(&d->tuned, t)); t++) {
        size_t n = strlen(view->name);
        if (n > n_first && view->name[n - n_first - 1] == '.' &&
            strcmp(view->name + n - n_first, first) == 0)
            return um_arena_strndup(&d->delta.arena, view->name, n - n_first);
    }
    return "";
}

/* Whether a tuned model of the base must have the tensor: a parameter, but no pooler, which some
 * heads have no use for. */
static bool is_needed(const struct diff *d, const struct um_tensor_view *view)
{
    const struct um_model *model = &d->model;
    const struct um_param *param = um_model_find_param(model, view->name);
    if (model->n_params == 0)
        return um_dtype_is_weight(view->dtype);
    for (size_t w = 0; param && w < model->arch->n_weights; w++) {
        const struct um_weight *weight = &model->arch->weights[w];
        if ((weight->flags & UM_WEIGHT_HEAD) && !(weight->flags & UM_WEIGHT_TASK) &&
            um_model_param(model, weight->role, -1) == param)
            return false;
    }
    return param != NULL;
}

/* ---- all tensors */

/* A tuned tensor that no base tensor stands for is an added one. */
static enum um_status add_added(struct diff *d, struct um_error *err)
{
    size_t n_prefix = strlen(d->prefix);
    const struct um_tensor_view *view;
    for (size_t t = 0; (view = um_folder_tensor(&d->tuned, t)); t++) {
        const char *bare = view->name;
        if (strncmp(bare, d->prefix, n_prefix) == 0)
            bare += n_prefix;
        if (um_head_is_tied_copy(&d->tuned, view->name) ||
            (!um_head_is_tied_copy(&d->base, view->name) &&
             (find(&d->base, view->name) || find(&d->base, bare))))
            continue;
        if (strcmp(view->name, "lm_head.weight") == 0)
            return um_fail(err, UM_E_INPUT, "'%s' has a vocabulary head of its own, which '%s' "
                           "shares with its table of words: they are not of one model",
                           d->tuned.path, d->base.path);
        if (!um_dtype_is_weight(view->dtype))
            return um_fail(err, UM_E_INPUT, "'%s' has a tensor '%s' of type %s that '%s' lacks",
                           d->tuned.path, view->name, um_dtype_name(view->dtype), d->base.path);
        UM_RETURN_IF(add_whole(d, view->name, view, true, err));
    }
    return UM_OK;
}

static enum um_status compare_all(struct diff *d, struct um_error *err)
{
    struct um_str name = {0};
    enum um_status status = UM_OK;
    d->prefix = find_prefix(d);
    if (!d->prefix)
        return um_fail_memory(err, "a prefix", 0);
    const struct um_tensor_view *base;
    for (size_t t = 0; (base = um_folder_tensor(&d->base, t)); t++) {
        const char *prefixed = um_str_setf(&name, "%s%s", d->prefix, base->name);
        const struct um_tensor_view *tuned = find(&d->tuned, base->name);
        if (name.failed)
            UM_TRY(um_fail_memory(err, base->name, 0));
        if (!tuned)
            tuned = find(&d->tuned, prefixed);
        if (um_head_is_tied_copy(&d->base, base->name) || (!tuned && !is_needed(d, base)))
            continue;
        if (!tuned)
            UM_TRY(um_fail(err, UM_E_INPUT, "'%s' and '%s' are not of one model: the second "
                           "has no tensor '%s'", d->base.path, d->tuned.path, base->name));
        UM_TRY(compare_tensor(d, base, tuned, err));
    }
    UM_TRY(add_added(d, err));
out:
    um_str_free(&name);
    return status;
}

/* A base of no model that we know is compared all the same. A classifier has no vocabulary head. */
static enum um_status open_both(struct diff *d, const char *base, const char *tuned,
                                struct um_error *err)
{
    struct um_model_options options = {.dropout = -1};
    UM_RETURN_IF(um_folder_open(&d->base, base, err));
    UM_RETURN_IF(um_folder_open(&d->tuned, tuned, err));
    const char *class = json_string_value(
        json_array_get(json_object_get(d->tuned.config, "architectures"), 0));
    d->delta.task_class = class ? class : "";
    if ((d->base.gguf != NULL) != (d->tuned.gguf != NULL)) {
        um_fail(err, UM_E_USAGE, "'%s' is a %s and '%s' a %s, whose tensors are laid out otherwise",
                base, d->base.gguf ? "GGUF file" : "folder", tuned,
                d->tuned.gguf ? "GGUF file" : "folder");
        um_error_hint(err, "`unmask merge` writes either form: bring one into the other's first");
        return UM_E_USAGE;
    }
    options.heads = um_head_kind(d->delta.task_class);
    enum um_status status = um_model_open(&d->model, base, &options, err);
    return status == UM_E_INPUT ? UM_OK : status;
}

static enum um_status describe(struct diff *d, struct um_error *err)
{
    struct um_delta *delta = &d->delta;
    const char *type = json_string_value(json_object_get(d->base.config, "model_type"));
    um_delta_sort(delta);
    delta->method = "diff";
    delta->task = "";
    delta->architecture = type ? type : "";
    delta->prefix = d->prefix;
    for (size_t e = 0; e < delta->n_entries; e++)
        delta->budget += delta->entries[e].n;
    return um_head_read_labels(delta, d->tuned.config, err);
}

enum um_status um_delta_diff(struct um_delta_info *info, const char *base, const char *tuned,
                             const char *out, struct um_error *err)
{
    struct diff d = {0};
    enum um_status status;
    UM_TRY(open_both(&d, base, tuned, err));
    d.piece = um_alloc(2 * PIECE * sizeof(float));
    if (!d.piece)
        UM_TRY(um_fail_memory(err, "comparing", 2 * PIECE * sizeof(float)));
    UM_TRY(compare_all(&d, err));
    UM_TRY(describe(&d, err));
    UM_TRY(um_delta_write(&d.delta, &d.base, out, err));
    UM_TRY(um_delta_read_info(info, out, err));
out:
    um_model_close(&d.model);
    um_folder_close(&d.base);
    um_folder_close(&d.tuned);
    um_free(d.piece);
    um_free(d.delta.entries);
    um_arena_free(&d.delta.arena);
    return status;
}
