/*
 * Between tokenizer.json and the vocabulary in a GGUF file's metadata ("tokenizer.ggml.*"; ggml's
 * docs/gguf.md): byte-level BPE is its model "gpt2", with merges and the name of a pre-tokenizer;
 * BPE with byte fallback, as SentencePiece has it, is "llama", with a score for each token.
 */
#ifndef UM_TEXT_GGUF_VOCABULARY_H
#define UM_TEXT_GGUF_VOCABULARY_H

#include "text/gguf_words.h"

/*
 * Writes what `folder` has of a tokenizer as pairs: tokens (as many as the table of words has rows;
 * those without text are filled up), types, merges or scores, pre-tokenizer, ids of special tokens,
 * whether texts begin or end with them, chat template. Without tokenizer.json *is_there is false,
 * and the model of the vocabulary is "no_vocab". UM_E_USAGE: a tokenizer that GGUF has no name for.
 */
enum um_status um_vocabulary_declare(struct um_gguf_writer *w, bool *is_there, const char *folder,
                                     const json_t *model_config, int64_t n_words,
                                     struct um_error *err);

/*
 * tokenizer.json and tokenizer_config.json of a GGUF file's vocabulary. Owned (free with
 * json_decref). A vocabulary that cannot be said gives NULL for both, and *reason a text (static)
 * that says why. UM_E_INPUT: a broken one.
 */
enum um_status um_vocabulary_from_gguf(json_t **tokenizer, json_t **config, const char **reason,
                                       const struct um_gguf *gguf, const char *path,
                                       struct um_error *err);

#endif
