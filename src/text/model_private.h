/* Models, each in a file of its own. */
#ifndef UM_TEXT_MODEL_PRIVATE_H
#define UM_TEXT_MODEL_PRIVATE_H

#include "text/pipeline_private.h"

extern const struct um_kind um_model_wordpiece;

#endif
