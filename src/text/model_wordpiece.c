/*
 * WordPiece: a word is cut into the longest piece of the vocabulary at its start, then the longest
 * with the continuing prefix ("##") behind it, and so on; if that fails anywhere, or the word is
 * too long, the whole word is the unknown token.
 */
#include <string.h>

#include "text/model_private.h"

struct wordpiece {
    const struct um_vocab *vocab;
    struct um_text_option prefix;
    uint64_t prefix_hash;
    int32_t unknown;
    size_t max_chars;
};

enum { LONGEST_PIECE = 512 }; /* bytes of the longest token that a vocabulary may have */

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct wordpiece *model = um_options_new(options, loader, sizeof(*model), err);
    const char *prefix = "##", *unknown = "[UNK]";
    int64_t max_chars = 100;
    if (!model)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_json_get_str(&prefix, json, "continuing_subword_prefix", loader->where, err));
    UM_RETURN_IF(um_json_get_str(&unknown, json, "unk_token", loader->where, err));
    UM_RETURN_IF(um_json_get_i64(&max_chars, json, "max_input_chars_per_word", loader->where, err));
    if (max_chars < 0)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': max_input_chars_per_word is %lld",
                       loader->where, (long long)max_chars);
    UM_RETURN_IF(um_loader_read_vocab(loader, err));
    if (loader->tokenizer->vocab.longest > LONGEST_PIECE)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': a WordPiece token has %zu bytes, expected at most %d",
                       loader->where, loader->tokenizer->vocab.longest, LONGEST_PIECE);
    model->vocab = &loader->tokenizer->vocab;
    model->max_chars = (size_t)max_chars;
    model->prefix.n = strlen(prefix);
    model->prefix.text = um_arena_strdup(loader->arena, prefix);
    if (!model->prefix.text)
        return um_fail_memory(err, loader->where, model->prefix.n);
    model->prefix_hash = um_vocab_hash(UM_VOCAB_HASH_START, prefix, model->prefix.n);
    return um_loader_find(&model->unknown, loader, unknown, "unk_token", err);
}

/* The longest piece at the start of text[0..n): its id and bytes, or -1. All prefixes are hashed in
 * one pass; then the longest is tried first. A token is whole code points, so a match ends at one.
 */
static int32_t find_longest(size_t *n_piece, const struct wordpiece *model, const char *text,
                            size_t n, bool is_first)
{
    uint64_t hashes[LONGEST_PIECE + 1];
    struct um_text_option prefix = is_first ? (struct um_text_option){"", 0} : model->prefix;
    if (n > model->vocab->longest)
        n = model->vocab->longest;
    hashes[0] = is_first ? UM_VOCAB_HASH_START : model->prefix_hash;
    for (size_t i = 0; i < n; i++)
        hashes[i + 1] = um_vocab_hash_byte(hashes[i], text[i]);
    for (; n > 0; n--) {
        int32_t id = um_vocab_find_hashed(model->vocab, hashes[n], prefix.text, prefix.n, text, n);
        if (id >= 0) {
            *n_piece = n;
            return id;
        }
    }
    return -1;
}

static enum um_status encode_word(struct um_ids *out, const struct wordpiece *model,
                                  const char *word, size_t n, struct um_error *err)
{
    size_t n_before = out->n, n_piece = 0;
    bool is_known = n <= model->max_chars || um_utf8_count(word, n) <= model->max_chars;
    for (size_t i = 0; is_known && i < n; i += n_piece) {
        int32_t id = find_longest(&n_piece, model, word + i, n - i, i == 0);
        is_known = id >= 0;
        if (is_known)
            UM_RETURN_IF(um_ids_add(out, id, err));
    }
    if (is_known)
        return UM_OK;
    out->n = n_before;
    return um_ids_add(out, model->unknown, err);
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        UM_RETURN_IF(
            encode_word(s->out, options, s->text.text + piece.start, piece.end - piece.start, err));
    }
    return UM_OK;
}

const struct um_kind um_model_wordpiece = {
    .type = "WordPiece", .summary = "longest match first (BERT)", .parse = parse, .run = run};
