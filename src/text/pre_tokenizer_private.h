/* Pre-tokenizers that have a file of their own. */
#ifndef UM_TEXT_PRE_TOKENIZER_PRIVATE_H
#define UM_TEXT_PRE_TOKENIZER_PRIVATE_H

#include "text/pipeline_private.h"

extern const struct um_kind um_pre_tokenizer_bert, um_pre_tokenizer_byte_level,
    um_pre_tokenizer_metaspace;

#endif
