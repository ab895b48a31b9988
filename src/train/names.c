/* Names of a model's classes, from its config. */
#include "train/names.h"

#include <string.h>

enum { NUMBERED_BYTES = 32 };

/* What transformers calls a class that has no name. */
static const char *numbered(char out[NUMBERED_BYTES], int64_t k)
{
    (void)snprintf(out, NUMBERED_BYTES, "LABEL_%lld", (long long)k);
    return out;
}

static bool are_names(char *const *names, int64_t n)
{
    char generic[NUMBERED_BYTES];
    for (int64_t k = 0; k < n; k++)
        if (strcmp(names[k], numbered(generic, k)) != 0)
            return true;
    return false;
}

enum um_status um_names_read(struct um_names *names, const json_t *config, int64_t n_classes,
                             struct um_error *err)
{
    const json_t *id2label = json_object_get(config, "id2label");
    int64_t n = n_classes > 0 ? n_classes : (int64_t)json_object_size(id2label);
    *names = (struct um_names){.items = UM_NEW(n + 1, char *)};
    for (int64_t k = 0; names->items && k < n; k++) {
        char key[32], generic[NUMBERED_BYTES];
        (void)snprintf(key, sizeof(key), "%lld", (long long)k);
        const char *name = json_string_value(json_object_get(id2label, key));
        names->items[k] = um_strdup(name ? name : numbered(generic, k));
        names->n = k + 1;
        if (!names->items[k])
            return um_fail_memory(err, "labels", 0);
    }
    if (!names->items)
        return um_fail_memory(err, "labels", (size_t)n * sizeof(*names->items));
    names->are_told = are_names(names->items, n);
    return UM_OK;
}

enum um_status um_names_set(struct um_names *names, const char *const *from, size_t n,
                            struct um_error *err)
{
    for (size_t k = 0; k < n && (int64_t)k < names->n; k++) {
        char *name = um_strdup(from[k]);
        if (!name)
            return um_fail_memory(err, "labels", strlen(from[k]));
        um_free(names->items[k]);
        names->items[k] = name;
    }
    names->are_told = are_names(names->items, names->n);
    return UM_OK;
}

void um_names_free(struct um_names *names)
{
    for (int64_t k = 0; k < names->n; k++)
        um_free(names->items[k]);
    um_free(names->items);
    *names = (struct um_names){0};
}
