/* What a predictor is made of: for the files that put it to use. */
#ifndef UM_TRAIN_PREDICTOR_H
#define UM_TRAIN_PREDICTOR_H

#include "train/names.h"
#include "train/run.h"

struct um_predictor {
    struct um_task_model tm;
    struct um_delta *delta;      /* NULL: the model's own head */
    struct um_names names;       /* of classes: the delta's, else the model's */
};

/* UM_E_USAGE: the model cannot go on with texts. */
enum um_status um_predictor_check_words(const struct um_predictor *predictor, struct um_error *err);

#endif
