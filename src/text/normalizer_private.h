/* Normalizers that have a file of their own. */
#ifndef UM_TEXT_NORMALIZER_PRIVATE_H
#define UM_TEXT_NORMALIZER_PRIVATE_H

#include "text/pipeline_private.h"

extern const struct um_kind um_normalizer_bert, um_normalizer_precompiled;

#endif
