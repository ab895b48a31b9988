/* What GGUF files' names of pre-tokenizers stand for, and numbers that both directions need. */
#ifndef UM_TEXT_GGUF_VOCABULARY_PRIVATE_H
#define UM_TEXT_GGUF_VOCABULARY_PRIVATE_H

#include "text/gguf_vocabulary.h"

/* tokenizer.ggml.token_type */
enum {
    UM_TOKEN_NORMAL = 1,
    UM_TOKEN_UNKNOWN,
    UM_TOKEN_CONTROL,
    UM_TOKEN_USER_DEFINED,
    UM_TOKEN_UNUSED,
    UM_TOKEN_BYTE
};

struct um_pre_tokenizer_name {
    const char *name;    /* tokenizer.ggml.pre */
    const char *pattern; /* of "Split"; NULL: GPT-2's, which is a part of "ByteLevel" */
    bool digits_apart;   /* "Digits" first, each by itself */
    bool composes;       /* normalizer "NFC" */
    bool ignores_merges;
    bool starts;         /* a text begins with the token for that, unless the file says otherwise */
};

extern const struct um_pre_tokenizer_name um_pre_tokenizer_names[];
extern const size_t um_n_pre_tokenizer_names;

#endif
