/*
 * The tokenizer.json pipeline (Hugging Face `tokenizers`):
 *
 *   added tokens are cut out of the text -> what lies between is normalised -> cut into pieces
 *   (pre-tokenized) -> turned into ids by the model -> put into a template with special tokens
 *
 * Every part is a `struct um_kind`: the "type" by which JSON names it, a function that reads its
 * options and one that runs it over the scratch memory. A family is a list of kinds. All a run
 * works on is the scratch, which belongs to the caller's um_tokens, so that one tokenizer serves
 * many threads.
 */
#ifndef UM_TEXT_PIPELINE_PRIVATE_H
#define UM_TEXT_PIPELINE_PRIVATE_H

#include "base/json.h"
#include "format/gguf.h"
#include "text/regex.h"
#include "text/scan.h"
#include "text/trie.h"
#include "text/unicode.h"
#include "text/vocab.h"

struct um_ids {
    int32_t *items; /* owned */
    size_t n, capacity;
};

/* A stretch of scratch->text that is tokenized by itself. */
struct um_piece {
    size_t start, end;
    bool is_first; /* begins where the whole text begins */
};

struct um_pieces {
    struct um_piece *items; /* owned */
    size_t n, capacity;
};

/* What a pattern matches in a text, or a gap between two matches. */
struct um_match {
    size_t start, end;
    bool is_match;
};

struct um_matches {
    struct um_match *items; /* owned */
    size_t n, capacity;
};

/* Working memory of an encoding or a decoding. Nothing in it is freed between calls. */
struct um_scratch {
    uint64_t serial;           /* of the tokenizer that `model` is for */
    struct um_str text, spare; /* a step that rewrites text writes `spare` and swaps them */
    struct um_pieces pieces, spare_pieces;
    struct um_matches matches; /* of a pattern; with the gaps they cover what was searched */
    struct um_ids ids[2];      /* of the text and of its pair, before the template */
    struct um_ids *out;        /* the one of them that the model appends to */
    struct um_code_points code_points;
    struct um_str normalized; /* of a text that is cut at added tokens behind the normalizer */
    struct um_str run[2];     /* within a step */
    struct um_regex_scratch regex;
    void *model; /* what the model keeps between calls; owned, or NULL */
    void (*free_model)(void *model);
};

/* Where a tokenizer is read from. */
struct um_loader {
    struct um_tokenizer *tokenizer;
    struct um_arena *arena;          /* the tokenizer's */
    const char *where;               /* the file's name, for errors */
    const char *text;                /* the whole file */
    size_t n_bytes;                  /* of it: no id and no table can sensibly be larger */
    struct um_stretch vocab, merges; /* model.vocab and model.merges */
    /* Of a file that is not JSON, whose vocabulary is in place: the merges as an array of texts
     * ("left right"), or what they follow from, a score for each id (-INFINITY: no merge). */
    const struct um_gguf_pair *merge_texts;
    const float *scores;
};

typedef enum um_status um_parse_fn(const void **options, struct um_loader *loader,
                                   const json_t *json, struct um_error *err);
/* Runs over the scratch. A normalizer rewrites text; a pre-tokenizer cuts pieces (or rewrites text
 * too); a model appends the ids of the pieces; a decoder rewrites the pieces of the tokens. */
typedef enum um_status um_run_fn(struct um_scratch *scratch, const void *options,
                                 struct um_error *err);

struct um_kind {
    const char *type, *summary;
    um_parse_fn *parse; /* NULL: it has no options */
    um_run_fn *run;     /* NULL: it changes nothing */
};

struct um_component {
    const struct um_kind *kind; /* NULL: none, does nothing */
    const void *options;        /* in the tokenizer's arena */
};

struct um_family {
    const char *name; /* its key in tokenizer.json */
    const struct um_kind *const *kinds;
    size_t n_kinds;
};

extern const struct um_family um_normalizers, um_pre_tokenizers, um_models, um_post_processors,
    um_decoders;

/* Reads {"type": ..., options} of a family; null and a missing value give the empty component. */
enum um_status um_component_parse(struct um_component *component, const struct um_family *family,
                                  struct um_loader *loader, const json_t *json,
                                  struct um_error *err);
static inline enum um_status um_component_run(const struct um_component *component,
                                              struct um_scratch *scratch, struct um_error *err)
{
    return component->kind && component->kind->run
               ? component->kind->run(scratch, component->options, err)
               : UM_OK;
}

/* Several components of a family one after another: "Sequence" in three families. */
enum um_status um_sequence_parse(const void **options, const struct um_family *family,
                                 const char *key, struct um_loader *loader, const json_t *json,
                                 struct um_error *err);
enum um_status um_sequence_run(struct um_scratch *scratch, const void *options,
                               struct um_error *err);

/* A zeroed options struct in the arena, also put into *options; NULL (UM_E_RUNTIME) = no memory. */
void *um_options_new(const void **options, struct um_loader *loader, size_t bytes,
                     struct um_error *err);
/* A string option with its length; must be there. */
struct um_text_option {
    const char *text;
    size_t n;
};
enum um_status um_text_option_parse(struct um_text_option *option, struct um_loader *loader,
                                    const json_t *json, const char *key, struct um_error *err);

/* Makes it ready for a tokenizer: forgets what another one's model kept. */
void um_scratch_adopt(struct um_scratch *scratch, const struct um_tokenizer *tokenizer);
void um_scratch_free(struct um_scratch *scratch); /* what it holds, not itself */
/* Whether all text could be stored: the end of every step that writes text. */
enum um_status um_scratch_check(const struct um_scratch *scratch, struct um_error *err);
/* text := spare. */
void um_scratch_swap_text(struct um_scratch *scratch);
/* Ends a rewriting of text into spare: both of these. */
enum um_status um_scratch_rewritten(struct um_scratch *scratch, struct um_error *err);
void um_scratch_swap_pieces(struct um_scratch *scratch);
enum um_status um_pieces_add(struct um_pieces *pieces, size_t start, size_t end, bool is_first,
                             struct um_error *err);
enum um_status um_ids_add(struct um_ids *ids, int32_t id, struct um_error *err);

/* What becomes of the text that a pattern matches. */
enum um_split_behavior {
    UM_SPLIT_REMOVED,
    UM_SPLIT_ISOLATED,
    UM_SPLIT_MERGED_WITH_PREVIOUS,
    UM_SPLIT_MERGED_WITH_NEXT,
    UM_SPLIT_CONTIGUOUS,
};
enum um_status um_split_behavior_parse(enum um_split_behavior *behavior, struct um_loader *loader,
                                       const json_t *json, struct um_error *err);
/* Cuts one piece by scratch->matches (which cover it without gaps), onto spare_pieces. */
enum um_status um_split_piece(struct um_scratch *scratch, struct um_piece piece,
                              enum um_split_behavior behavior, struct um_error *err);
/* Puts a text in front of every piece that does not begin with it, or of the first one only. */
enum um_status um_prefix_pieces(struct um_scratch *scratch, const char *prefix, size_t n_prefix,
                                bool only_first, struct um_error *err);
/* Cuts all pieces at single characters that `is_delimiter`. */
typedef bool um_char_fn(uint32_t c);
enum um_status um_split_by_char(struct um_scratch *scratch, um_char_fn *is_delimiter,
                                enum um_split_behavior behavior, struct um_error *err);

/* {"String": ...} or {"Regex": ...}. */
struct um_pattern {
    struct um_text_option string; /* used if regex is NULL */
    const struct um_regex *regex;
};
enum um_status um_pattern_parse(struct um_pattern *pattern, struct um_loader *loader,
                                const json_t *json, struct um_error *err);
/* Fills scratch->matches with the matches and the gaps between them, in text[start..end). */
enum um_status um_pattern_find(struct um_scratch *scratch, const struct um_pattern *pattern,
                               size_t start, size_t end, struct um_error *err);

/* "Replace", normalizer and decoder. */
struct um_replace {
    struct um_pattern pattern;
    struct um_text_option content;
};
enum um_status um_replace_parse(const void **options, struct um_loader *loader, const json_t *json,
                                struct um_error *err);
/* Appends text[start..end), replaced, to spare. */
enum um_status um_replace_put(struct um_scratch *scratch, const struct um_replace *replace,
                              size_t start, size_t end, struct um_error *err);

struct um_added_token {
    struct um_text_option content;
    int32_t id;
    bool is_special, is_single_word, strips_left, strips_right, is_normalized;
};

struct um_added {
    struct um_added_token *tokens;       /* in the arena */
    const struct um_added_token **by_id; /* sorted; in the arena */
    size_t n;
    /* Contents to index + 1: all of them, those looked for in text as it is, and, normalised, those
     * looked for behind the normalizer. */
    struct um_trie all, raw, normalized;
};

enum um_status um_added_parse(struct um_loader *loader, const json_t *json, struct um_error *err);
/* Makes tokens[0..n), filled in by the caller, ready to be looked up; parsing does it too. */
enum um_status um_added_index(struct um_loader *loader, struct um_error *err);
void um_added_free(struct um_added *added);
/* The next added token at or behind `from`, where the last one ended; [*start, *end) includes the
 * white space that it strips. NULL if there is none. */
const struct um_added_token *um_added_find(size_t *start, size_t *end, const struct um_added *added,
                                           const struct um_trie *set, const char *text, size_t n,
                                           size_t from);
/* NULL if the id, or the text, is not an added token's. */
const struct um_added_token *um_added_by_id(const struct um_added *added, int32_t id);
const struct um_added_token *um_added_by_text(const struct um_added *added, const char *text,
                                              size_t n);

struct um_template_item {
    int sequence; /* 0: the text, 1: its pair, -1: a special token */
    int32_t id, type;
};
struct um_template {
    struct um_template_item *items; /* in the arena */
    size_t n, n_special;
};

struct um_tokenizer {
    struct um_arena arena;
    uint64_t serial; /* unlike that of any other tokenizer of the process */
    struct um_vocab vocab;
    struct um_added added;
    struct um_component normalizer, pre_tokenizer, model, post_processor, decoder;
    struct um_template single, pair;
    struct um_regex *regexes;
    struct um_trie model_trie; /* for a model that walks over its vocabulary */
};

/* Fills the vocabulary from model.vocab of the file. */
enum um_status um_loader_read_vocab(struct um_loader *loader, struct um_error *err);
/* The id of a token that the file says is there; UM_E_INPUT naming `what` if it is not. */
enum um_status um_loader_find(int32_t *id, struct um_loader *loader, const char *token,
                              const char *what, struct um_error *err);
/* The template of a tokenizer without post-processor: the text, then its pair. */
enum um_status um_template_default(struct um_loader *loader, struct um_error *err);
/* Each text with a token before and one behind it; -1: none. */
enum um_status um_template_wrap(struct um_loader *loader, int32_t before, int32_t behind,
                                struct um_error *err);

#endif
