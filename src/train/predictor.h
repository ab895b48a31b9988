/* What a predictor is made of: for the files that put it to use. */
#ifndef UM_TRAIN_PREDICTOR_H
#define UM_TRAIN_PREDICTOR_H

#include "train/run.h"

struct um_predictor {
    struct um_task_model tm;
    struct um_delta *delta;      /* NULL: the model's own head */
    char **labels;               /* of the model's config, if there is no delta */
    int64_t n_labels;
};

/* Makes room for activations, if there is not enough. */
enum um_status um_predictor_reserve(struct um_predictor *predictor, size_t bytes,
                                    struct um_error *err);

#endif
