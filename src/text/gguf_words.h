/*
 * What a GGUF file's metadata says of its tokenizer. The keys, all beginning with "tokenizer.ggml."
 * (ggml's docs/gguf.md; defaults as in llama.cpp's src/llama-vocab.cpp):
 *
 *   model            "gpt2" (byte-level BPE), "llama" (SentencePiece's BPE), "bert" (WordPiece)
 *   tokens           the texts, by id;   token_type  a number for each (enum um_gguf_word_type)
 *   merges, pre      of gpt2: "left right", first to be merged first; a name (gguf_cut.c)
 *   scores           of llama: a number for each token (bpe_scores.c)
 *   bos_token_id, eos_token_id, unknown_token_id, cls_token_id, seperator_token_id (so spelt)
 *   add_bos_token, add_eos_token, add_space_prefix
 *   normalizer.lowercase, normalizer.strip_accents  of bert
 */
#ifndef UM_TEXT_GGUF_WORDS_H
#define UM_TEXT_GGUF_WORDS_H

#include "base/json.h"
#include "format/gguf.h"

#define UM_GGUF_KEY "tokenizer.ggml."
#define UM_GGUF_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's visible blank */

/* How a byte-level vocabulary of a GGUF file cuts text before it is merged; chosen by the name in
 * tokenizer.ggml.pre. */
struct um_gguf_cut {
    const char *pattern; /* NULL: GPT-2's, which is a part of the component "ByteLevel" */
    bool digits_apart;   /* each numeric character by itself first */
    bool composes;       /* normal form C */
    bool ignores_merges; /* a piece that is a token as a whole is not looked at further */
    bool starts;         /* a text begins with the token for that unless the file says otherwise */
};
/* UM_E_INPUT if no cut has that name; the message lists those that are known. */
enum um_status um_gguf_cut_find(const struct um_gguf_cut **cut, const char *name, size_t n,
                                const char *where, struct um_error *err);

enum um_gguf_kind { UM_GGUF_BYTES, UM_GGUF_PIECES, UM_GGUF_WORD_PIECES };

/* tokenizer.ggml.token_type */
enum um_gguf_word_type {
    UM_TOKEN_NORMAL = 1,
    UM_TOKEN_UNKNOWN,
    UM_TOKEN_CONTROL,
    UM_TOKEN_USER_DEFINED,
    UM_TOKEN_UNUSED,
    UM_TOKEN_BYTE
};

/* Bytes of the longest piece that may be merged to. Gemma's longest has 93; a bound keeps the work,
 * quadratic in the length, within what a file of that size can ask for. */
enum { UM_PIECE_BYTES_MAX = 256 };

/* Borrows the file. */
struct um_gguf_words {
    const struct um_gguf *gguf;
    const char *where; /* the file's name, for messages */
    enum um_gguf_kind kind;
    const struct um_gguf_pair *tokens;
    const struct um_gguf_pair *types, *scores; /* a number for each token; NULL: not there */
    const struct um_gguf_pair *merges;         /* of bytes, else NULL */
    const struct um_gguf_cut *cut;             /* of bytes, else NULL */
    int32_t bos, eos, unknown;                 /* ids; -1: none */
    bool starts, ends; /* texts begin with bos, end with eos, which are there then */
    bool adds_blank;   /* in front of a text */
};

/* UM_E_INPUT: a key is missing or of the wrong kind, an id is not of a token, names are unknown. */
enum um_status um_gguf_words_read(struct um_gguf_words *words, const struct um_gguf *gguf,
                                  const char *where, struct um_error *err);
/* Each of these writes *value only if the key is there. */
enum um_status um_gguf_words_bool(bool *value, const struct um_gguf_words *words, const char *key,
                                  struct um_error *err);
enum um_status um_gguf_words_id(int32_t *value, const struct um_gguf_words *words, const char *key,
                                struct um_error *err);

enum um_gguf_word_type um_gguf_word_type(const struct um_gguf_words *words, size_t id);
/* Found in texts before they are cut: control, unknown and user-defined tokens with a text. */
bool um_gguf_word_is_added(const struct um_gguf_words *words, size_t id);

/* Parts of the tokenizer.json that bytes or pieces would have. Owned (free with json_decref), NULL
 * when out of memory. */
json_t *um_gguf_words_normalizer(const struct um_gguf_words *words);
json_t *um_gguf_words_pre_tokenizer(const struct um_gguf_words *words);
json_t *um_gguf_words_decoder(const struct um_gguf_words *words);

#endif
