/*
 * The tokenizer.json pipeline (Hugging Face `tokenizers`): added tokens are cut out of the text,
 * what lies between is normalised, cut into words (pre-tokenized), turned into ids by the model, and
 * put into the template with the special tokens. Each stage is a family of const descriptors by the
 * JSON's "type"; a part that is not in its family's list is an error that names it.
 *
 * A loaded tokenizer is read-only: threads may encode with one, each with its own um_tokens.
 */
#ifndef UM_TEXT_TOKENIZER_H
#define UM_TEXT_TOKENIZER_H

#include "base/json.h"

/* A run of bytes in a text. */
struct um_slice {
    size_t start, n;
};
struct um_slices {
    struct um_slice *items;
    size_t n, capacity;
};

/* One step of normalization: writes the new form of text[0..n) to `out` (empty before). */
struct um_step;
struct um_normalizer_type {
    const char *type;
    /* Reads the step's settings from its JSON into step->state (from the arena). May be NULL. */
    enum um_status (*parse)(struct um_step *step, const json_t *json, struct um_arena *arena,
                            const char *where, struct um_error *err);
    void (*run)(const struct um_step *step, struct um_str *out, const char *text, size_t n);
};

/* One step of pre-tokenization: cuts text[slice] and appends the pieces to `out`; `text` is only
 * read. */
struct um_pretokenizer_type {
    const char *type;
    enum um_status (*parse)(struct um_step *step, const json_t *json, struct um_arena *arena,
                            const char *where, struct um_error *err);
    bool (*run)(const struct um_step *step, struct um_slices *out, const char *text,
                struct um_slice slice); /* false: out of memory */
};

struct um_step {
    const struct um_normalizer_type *normalizer; /* one of the two */
    const struct um_pretokenizer_type *pretokenizer;
    const void *state;
};

/* Ids by text: open addressing over the arena's texts. */
struct um_vocabulary {
    const char **texts;   /* by id; NULL where there is none */
    uint32_t *lengths;    /* by id */
    int64_t n;            /* greatest id + 1 */
    int32_t *slots;       /* a power of two; id + 1, or 0 */
    uint64_t mask;
};
int32_t um_vocabulary_find(const struct um_vocabulary *v, const char *text, size_t n); /* or -1 */
/* From {text: id}. Ids must be 0..INT32_MAX/2, each once. */
enum um_status um_vocabulary_build(struct um_vocabulary *v, const json_t *object,
                                   struct um_arena *arena, const char *where,
                                   struct um_error *err);

/* A token that is cut out of the text before anything else. */
struct um_added {
    const char *text;
    size_t n;
    int32_t id;
    bool is_special, single_word, lstrip, rstrip, is_normalized;
};

/* One element of a template. */
struct um_template_item {
    int sequence;       /* 0 or 1: the text or its pair; -1: a special token */
    int32_t id, type;
};
struct um_template {
    struct um_template_item *items;
    size_t n;
    int64_t n_special;
};

struct um_wordpiece {
    const char *prefix;
    size_t n_prefix;
    int64_t max_chars;
    int32_t unknown;
};

struct um_tokenizer {
    struct um_arena arena;
    struct um_step *normalizers, *pretokenizers;
    size_t n_normalizers, n_pretokenizers;
    struct um_vocabulary vocabulary;
    struct um_wordpiece wordpiece;
    struct um_added *added;       /* longest first within a first byte */
    size_t n_added;
    struct um_template single, pair;
};

extern const struct um_normalizer_type *const um_normalizer_types[];
extern const size_t um_n_normalizer_types;
extern const struct um_pretokenizer_type *const um_pretokenizer_types[];
extern const size_t um_n_pretokenizer_types;

/* Appends a slice; false: out of memory. */
bool um_slices_add(struct um_slices *slices, size_t start, size_t n);

/* Appends the ids of one word. false: out of memory. */
bool um_wordpiece_run(const struct um_tokenizer *tokenizer, struct um_tokens *out,
                      const char *word, size_t n);
bool um_tokens_add(struct um_tokens *tokens, int32_t id, int32_t type);

/* Parts of loading (each in its own file). */
enum um_status um_tokenizer_load_json(struct um_tokenizer *t, const char *path,
                                      struct um_error *err);
enum um_status um_tokenizer_load_vocab(struct um_tokenizer *t, const char *folder,
                                       const char *path, struct um_error *err);

/* Code points: decodes the one at text (n > 0 bytes left); invalid bytes give 0xFFFD and length 1. */
uint32_t um_codepoint(const char *text, size_t n, size_t *length);
void um_add_codepoint(struct um_str *out, uint32_t code);
bool um_is_space(uint32_t code);       /* Unicode White_Space */
bool um_is_punctuation(uint32_t code); /* ASCII punctuation, and categories P* */

#endif
