/* The list of models. */
#include "text/model_private.h"

static const struct um_kind *const kinds[] = {&um_model_wordpiece};

const struct um_family um_models = {.name = "model", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
