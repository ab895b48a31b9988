/* The options of Metaspace, which the pre-tokenizer and the decoder share. */
#ifndef UM_TEXT_METASPACE_PRIVATE_H
#define UM_TEXT_METASPACE_PRIVATE_H

#include "text/pipeline_private.h"

enum um_prepend { UM_PREPEND_ALWAYS, UM_PREPEND_FIRST, UM_PREPEND_NEVER };

struct um_metaspace {
    struct um_pattern mark; /* a string */
    enum um_prepend prepend;
    bool splits;
};

enum um_status um_metaspace_parse(const void **options, struct um_loader *loader,
                                  const json_t *json, struct um_error *err);

#endif
