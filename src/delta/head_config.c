/* The head in config.json, as transformers has it. */
#include "delta/head_config.h"

#include <stdio.h>
#include <string.h>

#include "model/model.h"

bool um_head_is_tied_copy(const struct um_folder *folder, const char *name)
{
    const json_t *is_tied = json_object_get(folder->config, "tie_word_embeddings");
    const struct um_arch *arch =
        um_arch_find(json_string_value(json_object_get(folder->config, "model_type")));
    bool by_default = arch && arch->defaults.is_tied;
    return strcmp(name, "lm_head.weight") == 0 &&
           (json_is_boolean(is_tied) ? json_is_true(is_tied) : by_default);
}

enum um_heads um_head_kind(const char *task_class)
{
    return strstr(task_class, "ForSequenceClassification") ? UM_HEADS_TASK
           : strstr(task_class, "ForTokenClassification")  ? UM_HEADS_TAGS
                                                           : UM_HEADS_STORED;
}

bool um_head_is_classifier(const char *task_class)
{
    return um_head_kind(task_class) != UM_HEADS_STORED;
}

bool um_head_is_last(const char *name, int n_dims)
{
    return n_dims == 2 &&
           (strcmp(name, "classifier.weight") == 0 || strcmp(name, "score.weight") == 0);
}

int64_t um_delta_outputs(const struct um_delta *d)
{
    for (size_t e = 0; e < d->n_entries; e++)
        if (d->entries[e].is_whole && um_head_is_last(d->entries[e].name, d->entries[e].n_dims))
            return d->entries[e].dims[0];
    return 0;
}

/* One of those that transformers knows, or "". */
static const char *read_problem_type(const json_t *config)
{
    static const char *const known[] = {"regression", "single_label_classification",
                                        "multi_label_classification"};
    const char *type = json_string_value(json_object_get(config, "problem_type"));
    for (size_t i = 0; type && i < UM_COUNT(known); i++)
        if (strcmp(known[i], type) == 0)
            return known[i];
    return "";
}

/* In order of their numbers. Without any, transformers takes two classes of its own naming. */
enum um_status um_head_read_labels(struct um_delta *d, const json_t *config, struct um_error *err)
{
    static const char *const standard[] = {"LABEL_0", "LABEL_1"};
    const json_t *names = json_object_get(config, "id2label");
    if (!um_head_is_classifier(d->task_class))
        return UM_OK;
    d->problem_type = read_problem_type(config);
    size_t n = names ? json_object_size(names) : UM_COUNT(standard);
    d->labels = UM_ARENA_NEW(&d->arena, n + 1, const char *);
    if (!d->labels)
        return um_fail_memory(err, "labels", n * sizeof(char *));
    for (size_t k = 0; n > 1 && k < n; k++) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%zu", k);
        const char *label = names ? json_string_value(json_object_get(names, number)) : standard[k];
        if (!label)
            return um_fail(err, UM_E_INPUT,
                           "the tuned model's config.json: id2label has no "
                           "text for class %zu",
                           k);
        d->labels[d->n_labels++] = label;
    }
    return UM_OK;
}

bool um_head_write_labels(json_t *config, const struct um_delta *d)
{
    const char *type = *d->problem_type ? d->problem_type
                       : d->n_labels    ? "single_label_classification"
                                        : "regression";
    if (!um_head_is_classifier(d->task_class))
        return true;
    json_t *names = json_object(), *ids = json_object();
    bool is_done = names && ids;
    for (size_t k = 0; is_done && k < d->n_labels; k++) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%zu", k);
        is_done = json_object_set_new(names, number, json_string(d->labels[k])) == 0 &&
                  json_object_set_new(ids, d->labels[k], json_integer((json_int_t)k)) == 0;
    }
    if (is_done && d->n_labels == 0) /* one output */
        is_done = json_object_set_new(names, "0", json_string("LABEL_0")) == 0 &&
                  json_object_set_new(ids, "LABEL_0", json_integer(0)) == 0;
    is_done = is_done && json_object_set(config, "id2label", names) == 0 &&
              json_object_set(config, "label2id", ids) == 0;
    if (is_done && um_head_kind(d->task_class) == UM_HEADS_TASK)
        is_done = json_object_set_new(config, "problem_type", json_string(type)) == 0;
    json_decref(names);
    json_decref(ids);
    return is_done;
}
