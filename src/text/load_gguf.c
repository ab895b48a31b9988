/*
 * Tokenizers from GGUF metadata (gguf_words.h says which keys). Vocabulary, merges and added tokens
 * go straight into the tokenizer; the few settings left go through a small document, as those of
 * vocab.txt do. What a file does not say, as its tokenizer.json would, is left out: which added
 * tokens take the white space around them.
 */
#include <math.h>
#include <string.h>

#include "text/gguf_words.h"
#include "text/load_private.h"
#include "text/tokenizer.h"

#define KEY UM_GGUF_KEY
#define MARK UM_GGUF_MARK

struct source {
    struct um_loader *loader;
    struct um_gguf_words words;
};

/* How a family spells tokens otherwise than the file does: writes at most 3 n + 2 bytes to `out`,
 * returns how many. */
typedef size_t spell_fn(char *out, const char *text, size_t n, enum um_gguf_word_type type);

static size_t spell_as_is(char *out, const char *text, size_t n, enum um_gguf_word_type type)
{
    (void)type;
    memcpy(out, text, n);
    return n;
}

/* Converters write Gemma's runs of blanks as blanks. */
static size_t spell_with_marks(char *out, const char *text, size_t n, enum um_gguf_word_type type)
{
    size_t n_blanks = 0;
    while (n_blanks < n && text[n_blanks] == ' ')
        n_blanks++;
    if (n_blanks < n)
        return spell_as_is(out, text, n, type);
    for (size_t i = 0; i < n; i++)
        memcpy(out + 3 * i, MARK, 3);
    return 3 * n;
}

/* Files put a mark in front of what begins a word, vocab.txt "##" in front of what does not. Tokens
 * in brackets, as "[MASK]", have neither. */
static size_t spell_word_piece(char *out, const char *text, size_t n, enum um_gguf_word_type type)
{
    bool is_bracketed = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (n > 3 && !memcmp(text, MARK, 3))
        return spell_as_is(out, text + 3, n - 3, type);
    if (is_bracketed || type == UM_TOKEN_UNKNOWN || type == UM_TOKEN_CONTROL ||
        type == UM_TOKEN_USER_DEFINED)
        return spell_as_is(out, text, n, type);
    memcpy(out, "##", 2);
    memcpy(out + 2, text, n);
    return n + 2;
}

static enum um_status add_token(const struct source *source, char *text, size_t n, size_t id,
                                struct um_error *err)
{
    struct um_vocab *vocab = &source->loader->tokenizer->vocab;
    int32_t other = um_vocab_find(vocab, text, n);
    text[n] = '\0';
    if (um_utf8_valid(text, n) < n)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': token %zu is not valid UTF-8",
                       source->loader->where, id);
    if (other >= 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': tokens %d and %zu have the same text '%.100s'",
                       source->loader->where, (int)other, id, text);
    return um_vocab_add(vocab, text, n, (int32_t)id)
               ? UM_OK
               : um_fail_memory(err, source->loader->where, n);
}

/* An empty token stays an id without text: no text could become it. */
static enum um_status read_vocab(const struct source *source, spell_fn *spell, struct um_error *err)
{
    const struct um_gguf_pair *tokens = source->words.tokens;
    size_t n_bytes = 0;
    for (size_t i = 0; i < tokens->n; i++)
        n_bytes += 3 * tokens->lengths[i] + 3;
    char *text = um_arena_alloc(source->loader->arena, n_bytes);
    if (!text)
        return um_fail_memory(err, source->loader->where, n_bytes);
    for (size_t i = 0; i < tokens->n; i++) {
        if (!tokens->lengths[i])
            continue;
        size_t n = spell(text, tokens->strings[i], tokens->lengths[i],
                         um_gguf_word_type(&source->words, i));
        UM_RETURN_IF(add_token(source, text, n, i, err));
        text += n + 1;
    }
    return UM_OK;
}

/* Control and unknown tokens are special; user-defined ones are only never cut up. */
static enum um_status read_added(const struct source *source, struct um_error *err)
{
    const struct um_vocab *vocab = &source->loader->tokenizer->vocab;
    struct um_added *added = &source->loader->tokenizer->added;
    size_t n = 0;
    for (size_t i = 0; i < source->words.tokens->n; i++)
        n += um_gguf_word_is_added(&source->words, i);
    added->tokens = UM_ARENA_NEW(source->loader->arena, n, struct um_added_token);
    if (!added->tokens)
        return um_fail_memory(err, source->loader->where, n * sizeof(*added->tokens));
    for (size_t i = 0; i < source->words.tokens->n; i++) {
        if (um_gguf_word_is_added(&source->words, i))
            added->tokens[added->n++] = (struct um_added_token){
                .content = {vocab->entries[i].text, vocab->entries[i].n_bytes},
                .id = (int32_t)i,
                .is_special = um_gguf_word_type(&source->words, i) != UM_TOKEN_USER_DEFINED};
    }
    return um_added_index(source->loader, err);
}

/* Builds all components from a document that json_pack has made, or could not make. */
static enum um_status build(const struct source *source, json_t *json, struct um_error *err)
{
    enum um_status status = json ? um_loader_build(source->loader, json, err)
                                 : um_fail_memory(err, source->loader->where, 0);
    json_decref(json);
    return status;
}

/* Bytes and pieces: the parts that both files of a tokenizer know, and `model`, which becomes
 * theirs. */
static enum um_status build_bpe(struct source *source, json_t *model, struct um_error *err)
{
    const struct um_gguf_words *w = &source->words;
    json_t *json = json_pack("{s:o, s:o, s:o, s:o}", "normalizer", um_gguf_words_normalizer(w),
                             "pre_tokenizer", um_gguf_words_pre_tokenizer(w), "model", model,
                             "decoder", um_gguf_words_decoder(w));
    UM_RETURN_IF(build(source, json, err));
    return um_template_wrap(source->loader, w->starts ? w->bos : -1, w->ends ? w->eos : -1, err);
}

static enum um_status build_bytes(struct source *source, struct um_error *err)
{
    source->loader->merge_texts = source->words.merges;
    UM_RETURN_IF(read_vocab(source, spell_as_is, err));
    return build_bpe(source,
                     json_pack("{s:s, s:b}", "type", "BPE", "ignore_merges",
                               source->words.cut->ignores_merges),
                     err);
}

/* loader->scores: user-defined tokens before all others, what is no text never. */
static enum um_status read_scores(const struct source *source, struct um_error *err)
{
    float *scores = UM_ARENA_NEW(source->loader->arena, source->words.tokens->n, float);
    if (!scores)
        return um_fail_memory(err, source->loader->where,
                              source->words.tokens->n * sizeof(*scores));
    for (size_t i = 0; i < source->words.tokens->n; i++) {
        enum um_gguf_word_type type = um_gguf_word_type(&source->words, i);
        double score = um_gguf_real_at(source->words.scores, i);
        if (isnan(score))
            return um_fail(err, UM_E_INPUT, "cannot read '%s': the score of token %zu is no number",
                           source->loader->where, i);
        scores[i] = type == UM_TOKEN_USER_DEFINED                        ? INFINITY
                    : type == UM_TOKEN_NORMAL || type == UM_TOKEN_UNUSED ? (float)score
                                                                         : -INFINITY;
    }
    source->loader->scores = scores;
    return UM_OK;
}

static enum um_status build_pieces(struct source *source, struct um_error *err)
{
    UM_RETURN_IF(read_scores(source, err));
    UM_RETURN_IF(read_vocab(source, spell_with_marks, err));
    const char *unknown = um_tokenizer_token(source->loader->tokenizer, source->words.unknown);
    return build_bpe(source,
                     json_pack("{s:s, s:b, s:b, s:s*}", "type", "BPE", "byte_fallback", 1,
                               "fuse_unk", 1, "unk_token", unknown),
                     err);
}

static enum um_status build_word_pieces(struct source *source, struct um_error *err)
{
    struct um_bert_options options = {
        .lowers = true, .splits_chinese = true, .cls = source->words.bos, .sep = -1,
        .unknown = source->words.unknown};
    json_t *json;
    UM_RETURN_IF(
        um_gguf_words_bool(&options.lowers, &source->words, KEY "normalizer.lowercase", err));
    options.strips_accents = options.lowers;
    UM_RETURN_IF(um_gguf_words_bool(&options.strips_accents, &source->words,
                                    KEY "normalizer.strip_accents", err));
    UM_RETURN_IF(um_gguf_words_id(&options.cls, &source->words, KEY "cls_token_id", err));
    UM_RETURN_IF(um_gguf_words_id(&options.sep, &source->words, KEY "seperator_token_id", err));
    UM_RETURN_IF(read_vocab(source, spell_word_piece, err));
    if (options.cls < 0)
        UM_RETURN_IF(um_loader_find(&options.cls, source->loader, "[CLS]", "token", err));
    if (options.sep < 0)
        UM_RETURN_IF(um_loader_find(&options.sep, source->loader, "[SEP]", "token", err));
    if (options.unknown < 0)
        UM_RETURN_IF(um_loader_find(&options.unknown, source->loader, "[UNK]", "token", err));
    UM_RETURN_IF(um_bert_document(&json, source->loader, options, err));
    return build(source, json, err);
}

enum um_status um_tokenizer_parse_gguf(struct um_tokenizer *tokenizer, const struct um_gguf *gguf,
                                       const char *where, struct um_error *err)
{
    static enum um_status (*const builders[])(struct source *source, struct um_error *err) = {
        [UM_GGUF_BYTES] = build_bytes,
        [UM_GGUF_PIECES] = build_pieces,
        [UM_GGUF_WORD_PIECES] = build_word_pieces};
    struct um_loader loader = {.tokenizer = tokenizer,
                               .arena = &tokenizer->arena,
                               .where = where,
                               .n_bytes = gguf->map.n_bytes};
    struct source source = {.loader = &loader};
    UM_RETURN_IF(um_gguf_words_read(&source.words, gguf, where, err));
    UM_RETURN_IF(builders[source.words.kind](&source, err));
    return read_added(&source, err);
}
