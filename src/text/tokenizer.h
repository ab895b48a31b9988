/*
 * Tokenizers from memory, for other layers and tests; the rest of a tokenizer's interface is in
 * unmask.h. A tokenizer is read-only once it is parsed.
 */
#ifndef UM_TEXT_TOKENIZER_H
#define UM_TEXT_TOKENIZER_H

#include "base/json.h"
#include "format/gguf.h"

/* An empty tokenizer to parse into; owned (free with um_tokenizer_free, also if parsing fails). */
enum um_status um_tokenizer_new(struct um_tokenizer **tokenizer, struct um_error *err);
/* The content of a tokenizer.json. `where` names it in errors. */
enum um_status um_tokenizer_parse_json(struct um_tokenizer *tokenizer, const char *text, size_t n,
                                       const char *where, struct um_error *err);
/* The content of a vocab.txt, and of tokenizer_config.json (may be NULL) for do_lower_case,
 * strip_accents and tokenize_chinese_chars: a BERT tokenizer. */
enum um_status um_tokenizer_parse_vocab(struct um_tokenizer *tokenizer, const char *text, size_t n,
                                        const json_t *config, const char *where,
                                        struct um_error *err);
/* The tokenizer in a GGUF file's metadata (load_gguf.c says which keys). Borrows nothing. */
enum um_status um_tokenizer_parse_gguf(struct um_tokenizer *tokenizer, const struct um_gguf *gguf,
                                       const char *where, struct um_error *err);

/* A word of a text that is tokenized word by word. */
struct um_word {
    const char *text;
    size_t n;
    int64_t first; /* its first token in the result; -1: it has none, or was cut off */
};
/* One text of so many words, each tokenized as a text of its own (transformers'
 * is_split_into_words), with the template's special tokens around them, as um_tokenizer_encode
 * has them. */
enum um_status um_tokenizer_encode_words(struct um_tokens *tokens,
                                         const struct um_tokenizer *tokenizer,
                                         struct um_word *words, size_t n_words, int64_t max_length,
                                         struct um_error *err);

#endif
