/* What the readers of tokenizer.json, vocab.txt and GGUF share. */
#ifndef UM_TEXT_LOAD_PRIVATE_H
#define UM_TEXT_LOAD_PRIVATE_H

#include "text/pipeline_private.h"

/* All components and the templates from a document like tokenizer.json, without the added tokens.
 * model.vocab and model.merges come from the loader. */
enum um_status um_loader_build(struct um_loader *loader, json_t *json, struct um_error *err);

struct um_bert_options {
    bool lowers, strips_accents, splits_chinese;
    int32_t cls, sep, unknown;
};
/* The document that a BERT tokenizer would have as tokenizer.json; its vocabulary is in place.
 * Owned (free with json_decref). */
enum um_status um_bert_document(json_t **json, const struct um_loader *loader,
                                struct um_bert_options options, struct um_error *err);

#endif
