/* The names of a model's classes: those of its config (id2label), or of a delta. */
#ifndef UM_TRAIN_NAMES_H
#define UM_TRAIN_NAMES_H

#include "base/json.h"

struct um_names {
    char **items; /* n; owned */
    int64_t n;
    bool are_told; /* else they are "LABEL_0", "LABEL_1", ..., which tell nothing */
};

/* n_classes 0: as many as the config names. Owned, also after a failure (free with
 * um_names_free). */
enum um_status um_names_read(struct um_names *names, const json_t *config, int64_t n_classes,
                             struct um_error *err);
/* Puts other names in the place of the first n. */
enum um_status um_names_set(struct um_names *names, const char *const *from, size_t n,
                            struct um_error *err);
void um_names_free(struct um_names *names);

#endif
