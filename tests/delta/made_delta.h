/* A random delta over a model, for tests: every third tensor sparse, every seventh whole, and a
 * fresh head where an encoder has none. Values are representable in the tensor's own type (of a
 * quantised one: F16). */
#ifndef UM_TESTS_MADE_DELTA_H
#define UM_TESTS_MADE_DELTA_H

#include "folder.h"

#include "base/philox.h"
#include "delta/delta.h"

static const char *const made_labels[] = {"no", "\"y\xc3\xa9s\"", "maybe"};

/* A value of the tensor's type that differs from the base's. */
static float other_value(struct um_random *random, const struct um_tensor_view *view, int64_t i)
{
    enum um_dtype dtype = um_dtype_is_quantised(view->dtype) ? UM_F16 : view->dtype;
    float base = um_to_f32_at(view->bytes, view->dtype, i), value;
    do {
        unsigned char stored[4];
        value = (float)um_random_normal(random);
        um_from_f32(stored, &value, dtype, 1);
        um_to_f32(&value, stored, dtype, 1);
    } while (memcmp(&value, &base, sizeof(base)) == 0);
    return value;
}

static inline void make_sparse(struct um_delta *d, struct um_random *random,
                        const struct um_tensor_view *view)
{
    struct um_delta_entry *e = &d->entries[d->n_entries++];
    int64_t *index = UM_ARENA_NEW(&d->arena, view->n_elements, int64_t);
    float *value = UM_ARENA_NEW(&d->arena, view->n_elements, float);
    assert_non_null(index);
    assert_non_null(value);
    *e = (struct um_delta_entry){.name = view->name, .index = index, .value = value};
    for (int64_t i = 0; i < view->n_elements; i++) {
        bool is_end = i == 0 || i == view->n_elements - 1;
        if ((!is_end && um_random_below(random, 10)) || e->n >= view->n_elements / 3)
            continue;
        index[e->n] = i;
        value[e->n++] = other_value(random, view, i);
    }
    if (e->n == 0)
        d->n_entries--;
}

static inline void make_whole(struct um_delta *d, struct um_random *random,
                       const struct um_tensor_view *view)
{
    struct um_delta_entry *e = &d->entries[d->n_entries++];
    float *value = UM_ARENA_NEW(&d->arena, view->n_elements, float);
    assert_non_null(value);
    *e = (struct um_delta_entry){.name = view->name, .n_dims = view->n_dims, .is_whole = true,
                                 .n = view->n_elements, .value = value};
    memcpy(e->dims, view->dims, sizeof(e->dims));
    for (int64_t i = 0; i < view->n_elements; i++)
        value[i] = other_value(random, view, i);
}

static inline void make_added(struct um_delta *d, struct um_random *random, const char *name,
                              int n_dims, int64_t rows, int64_t cols)
{
    struct um_delta_entry *e = &d->entries[d->n_entries++];
    int64_t n = rows * (n_dims > 1 ? cols : 1);
    float *value = UM_ARENA_NEW(&d->arena, n, float);
    assert_non_null(value);
    *e = (struct um_delta_entry){.name = name, .n_dims = n_dims, .dims = {rows, cols},
                                 .is_whole = true, .is_added = true, .n = n, .value = value};
    for (int64_t i = 0; i < n; i++)
        value[i] = (float)um_random_normal(random);
}

/* Freed by um_arena_free(&d->arena). Borrows the folder's names. */
static inline void make_delta(struct um_delta *d, const struct um_folder *base, uint64_t seed)
{
    struct um_random random = {.seed = seed};
    struct um_error err;
    const struct um_tensor_view *pooled = um_folder_find(base, "pooler.dense.bias"), *view;
    bool has_head = !pooled || um_folder_find(base, "classifier.weight");
    char *hash;
    size_t n = 0;
    while (um_folder_tensor(base, n))
        n++;
    n += 2;
    *d = (struct um_delta){.method = "id3", .task = "made", .budget = 1234,
                           .architecture = json_string_value(json_object_get(base->config,
                                                                             "model_type")),
                           .prefix = has_head ? "" : "bert.",
                           .task_class = "BertForSequenceClassification"};
    d->entries = UM_ARENA_NEW(&d->arena, n, struct um_delta_entry);
    d->labels = UM_ARENA_NEW(&d->arena, 3, const char *);
    hash = um_arena_alloc(&d->arena, UM_SHA256_TEXT);
    assert_true(d->entries && d->labels && hash);
    memcpy((void *)d->labels, made_labels, sizeof(made_labels));
    d->n_labels = 3;
    for (n = 0; (view = um_folder_tensor(base, n)); n++) {
        if (n % 7 == 6)
            make_whole(d, &random, view);
        else if (n % 3 == 0)
            make_sparse(d, &random, view);
    }
    if (!has_head) {
        int64_t features = pooled->n_elements;
        make_added(d, &random, "classifier.weight", 2, 3, features);
        make_added(d, &random, "classifier.bias", 1, 3, 0);
    }
    um_delta_sort(d);
    assert_ok(um_delta_hash(hash, d, base, &err), err);
    d->base_sha256 = hash;
}

static inline void assert_same_entries(const struct um_delta *a, const struct um_delta *b)
{
    assert_int_equal(a->n_entries, b->n_entries);
    for (size_t i = 0; i < a->n_entries; i++) {
        const struct um_delta_entry *x = &a->entries[i], *y = &b->entries[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->n, y->n);
        assert_int_equal(x->is_whole, y->is_whole);
        assert_int_equal(x->is_added, y->is_added);
        assert_memory_equal(x->value, y->value, (size_t)x->n * sizeof(float));
        if (!x->is_whole)
            assert_memory_equal(x->index, y->index, (size_t)x->n * sizeof(int64_t));
    }
}

#endif
