/* Models, each in a file of its own. */
#ifndef UM_TEXT_MODEL_PRIVATE_H
#define UM_TEXT_MODEL_PRIVATE_H

#include "text/pipeline_private.h"
#include "text/word_cache.h"

extern const struct um_kind um_model_wordpiece, um_model_bpe, um_model_word_level, um_model_unigram;

/* The ids of the tokens <0x00> to <0xFF>; -1 for those that are missing. */
void um_model_find_bytes(int32_t ids[256], const struct um_vocab *vocab);
/* Appends the bytes of text as such tokens; *is_done is false if one of them is missing. */
enum um_status um_model_put_bytes(struct um_ids *out, bool *is_done, const int32_t ids[256],
                                  const char *text, size_t n, struct um_error *err);

/* Encodes all pieces by `encode`, except those that the cache knows. */
typedef enum um_status um_encode_fn(struct um_scratch *scratch, const void *model, const char *text,
                                    size_t n, struct um_error *err);
enum um_status um_model_run_cached(struct um_scratch *scratch, const void *model,
                                   um_encode_fn *encode, struct um_word_cache *cache,
                                   struct um_error *err);

#endif
