/*
 * Tokenizers from GGUF metadata. The keys, all beginning with "tokenizer.ggml." (ggml's
 * docs/gguf.md; defaults as in llama.cpp's src/llama-vocab.cpp):
 *
 *   model            "gpt2" (byte-level BPE), "llama" (SentencePiece's BPE), "bert" (WordPiece)
 *   tokens           the texts, by id;   token_type  a number for each (enum token_type)
 *   merges, pre      of gpt2: "left right", first to be merged first; a name (gguf_cut.c)
 *   scores           of llama: a number for each token (bpe_scores.c)
 *   bos_token_id, eos_token_id, unknown_token_id, cls_token_id, seperator_token_id (so spelt)
 *   add_bos_token, add_eos_token, add_space_prefix
 *   normalizer.lowercase, normalizer.strip_accents  of bert
 *
 * Vocabulary, merges and added tokens go straight into the tokenizer; the few settings left go
 * through a small document, as those of vocab.txt do. What a file does not say, as its
 * tokenizer.json would, is left out: which added tokens take the white space around them.
 */
#include <math.h>
#include <string.h>

#include "text/load_private.h"
#include "text/tokenizer.h"

#define KEY "tokenizer.ggml."

enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct source {
    struct um_loader *loader;
    const struct um_gguf *gguf;
    const struct um_gguf_pair *tokens, *types, *scores; /* arrays of one length; NULL: not there */
    int32_t bos, eos, unknown;                          /* -1: none */
};

static enum um_status fail_key(const struct source *source, const char *key, const char *expected,
                               struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot read '%s': %s is %s, expected %s",
                   source->loader->where, key,
                   um_gguf_pair(source->gguf, key) ? "something else" : "missing", expected);
}

static bool is_number(enum um_gguf_type type)
{
    return type != UM_GGUF_STRING && type != UM_GGUF_ARRAY && type != UM_GGUF_BOOL;
}

/* An array of texts or numbers, NULL if it is not there. */
static enum um_status get_array(const struct um_gguf_pair **array, const struct source *source,
                                const char *key, bool of_texts, struct um_error *err)
{
    *array = um_gguf_pair(source->gguf, key);
    if (!*array)
        return UM_OK;
    if ((*array)->type != UM_GGUF_ARRAY ||
        (of_texts ? (*array)->element != UM_GGUF_STRING : !is_number((*array)->element)))
        return fail_key(source, key, of_texts ? "an array of texts" : "an array of numbers", err);
    return UM_OK;
}

/* An array with a number for each token. */
static enum um_status get_per_token(const struct um_gguf_pair **array, const struct source *source,
                                    const char *key, struct um_error *err)
{
    UM_RETURN_IF(get_array(array, source, key, false, err));
    if (*array && (*array)->n != source->tokens->n)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': %s has %zu elements, expected one for each of the %zu "
                       "tokens",
                       source->loader->where, key, (*array)->n, source->tokens->n);
    return UM_OK;
}

/* Each of these writes *value only if the key is there. */
static enum um_status get_bool(bool *value, const struct source *source, const char *key,
                               struct um_error *err)
{
    const struct um_gguf_pair *pair = um_gguf_pair(source->gguf, key);
    if (!pair)
        return UM_OK;
    if (pair->type != UM_GGUF_BOOL)
        return fail_key(source, key, "true or false", err);
    *value = pair->integer != 0;
    return UM_OK;
}

static enum um_status get_id(int32_t *id, const struct source *source, const char *key,
                             struct um_error *err)
{
    const struct um_gguf_pair *pair = um_gguf_pair(source->gguf, key);
    if (!pair)
        return UM_OK;
    if (!is_number(pair->type) || pair->type == UM_GGUF_F32 || pair->type == UM_GGUF_F64)
        return fail_key(source, key, "a token's id", err);
    if (pair->integer < 0 || (uint64_t)pair->integer >= source->tokens->n)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': %s is %lld, expected an id below %zu",
                       source->loader->where, key, (long long)pair->integer, source->tokens->n);
    *id = (int32_t)pair->integer;
    return UM_OK;
}

/* Files without types name three tokens that are no text. */
static enum token_type type_of(const struct source *source, size_t id)
{
    int64_t i = (int64_t)id;
    if (!source->types)
        return i == source->unknown                   ? UNKNOWN
               : i == source->bos || i == source->eos ? CONTROL
                                                      : NORMAL;
    int64_t type = um_gguf_integer_at(source->types, id);
    return type >= NORMAL && type <= BYTE ? (enum token_type)type : NORMAL;
}

/* How a family spells tokens otherwise than the file does: writes at most 3 n + 2 bytes to `out`,
 * returns how many. */
typedef size_t spell_fn(char *out, const char *text, size_t n, enum token_type type);

static size_t spell_as_is(char *out, const char *text, size_t n, enum token_type type)
{
    (void)type;
    memcpy(out, text, n);
    return n;
}

#define MARK "\xe2\x96\x81" /* U+2581, SentencePiece's visible blank */

/* Converters write Gemma's runs of blanks as blanks. */
static size_t spell_with_marks(char *out, const char *text, size_t n, enum token_type type)
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
static size_t spell_word_piece(char *out, const char *text, size_t n, enum token_type type)
{
    bool is_bracketed = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (n > 3 && !memcmp(text, MARK, 3))
        return spell_as_is(out, text + 3, n - 3, type);
    if (is_bracketed || type == UNKNOWN || type == CONTROL || type == USER_DEFINED)
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
    const struct um_gguf_pair *tokens = source->tokens;
    size_t n_bytes = 0;
    for (size_t i = 0; i < tokens->n; i++)
        n_bytes += 3 * tokens->lengths[i] + 3;
    char *text = um_arena_alloc(source->loader->arena, n_bytes);
    if (!text)
        return um_fail_memory(err, source->loader->where, n_bytes);
    for (size_t i = 0; i < tokens->n; i++) {
        if (!tokens->lengths[i])
            continue;
        size_t n = spell(text, tokens->strings[i], tokens->lengths[i], type_of(source, i));
        UM_RETURN_IF(add_token(source, text, n, i, err));
        text += n + 1;
    }
    return UM_OK;
}

static bool is_added(const struct source *source, size_t id)
{
    enum token_type type = type_of(source, id);
    return source->tokens->lengths[id] &&
           (type == UNKNOWN || type == CONTROL || type == USER_DEFINED);
}

/* Control and unknown tokens are special; user-defined ones are only never cut up. */
static enum um_status read_added(const struct source *source, struct um_error *err)
{
    const struct um_vocab *vocab = &source->loader->tokenizer->vocab;
    struct um_added *added = &source->loader->tokenizer->added;
    size_t n = 0;
    for (size_t i = 0; i < source->tokens->n; i++)
        n += is_added(source, i);
    added->tokens = UM_ARENA_NEW(source->loader->arena, n, struct um_added_token);
    if (!added->tokens)
        return um_fail_memory(err, source->loader->where, n * sizeof(*added->tokens));
    for (size_t i = 0; i < source->tokens->n; i++) {
        if (is_added(source, i))
            added->tokens[added->n++] = (struct um_added_token){
                .content = {vocab->entries[i].text, vocab->entries[i].n_bytes},
                .id = (int32_t)i,
                .is_special = type_of(source, i) != USER_DEFINED};
    }
    return um_added_index(source->loader, err);
}

/* What begins and ends a text. A file that only by default begins texts may have no token for it.
 */
static enum um_status make_template(const struct source *source, bool starts, struct um_error *err)
{
    bool ends = false, must_start = false;
    starts = starts && source->bos >= 0;
    UM_RETURN_IF(get_bool(&must_start, source, KEY "add_bos_token", err));
    if (um_gguf_pair(source->gguf, KEY "add_bos_token"))
        starts = must_start;
    UM_RETURN_IF(get_bool(&ends, source, KEY "add_eos_token", err));
    if (starts && source->bos < 0)
        return fail_key(source, KEY "bos_token_id", "an id, as add_bos_token is true", err);
    if (ends && source->eos < 0)
        return fail_key(source, KEY "eos_token_id", "an id, as add_eos_token is true", err);
    return um_template_wrap(source->loader, starts ? source->bos : -1, ends ? source->eos : -1,
                            err);
}

/* Builds all components from a document that json_pack has made, or could not make. */
static enum um_status build(const struct source *source, json_t *json, struct um_error *err)
{
    enum um_status status = json ? um_loader_build(source->loader, json, err)
                                 : um_fail_memory(err, source->loader->where, 0);
    json_decref(json);
    return status;
}

static enum um_status get_cut(const struct um_gguf_cut **cut, const struct source *source,
                              struct um_error *err)
{
    const struct um_gguf_pair *pre = um_gguf_pair(source->gguf, KEY "pre");
    if (pre && pre->type != UM_GGUF_STRING)
        return fail_key(source, KEY "pre", "a name", err);
    return um_gguf_cut_find(cut, pre ? pre->text : "default", pre ? pre->n : strlen("default"),
                            source->loader->where, err);
}

static json_t *byte_level_document(const struct um_gguf_cut *cut, bool adds_blank)
{
    json_t *form = cut->composes ? json_pack("{s:s}", "type", "NFC") : json_null();
    json_t *first = json_null();
    if (cut->digits_apart)
        first = json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1);
    else if (cut->pattern)
        first = json_pack("{s:s, s:{s:s}, s:s}", "type", "Split", "pattern", "Regex", cut->pattern,
                          "behavior", "Isolated");
    return json_pack("{s:o, s:{s:s, s:[o, {s:s, s:b, s:b}]}, s:{s:s, s:b}, s:{s:s}}", "normalizer",
                     form, "pre_tokenizer", "type", "Sequence", "pretokenizers", first, "type",
                     "ByteLevel", "add_prefix_space", adds_blank, "use_regex", !cut->pattern,
                     "model", "type", "BPE", "ignore_merges", cut->ignores_merges, "decoder",
                     "type", "ByteLevel");
}

static enum um_status build_byte_level(struct source *source, struct um_error *err)
{
    const struct um_gguf_cut *cut;
    bool adds_blank = false;
    UM_RETURN_IF(get_cut(&cut, source, err));
    UM_RETURN_IF(get_bool(&adds_blank, source, KEY "add_space_prefix", err));
    UM_RETURN_IF(get_array(&source->loader->merge_texts, source, KEY "merges", true, err));
    if (!source->loader->merge_texts)
        return fail_key(source, KEY "merges", "an array of texts", err);
    UM_RETURN_IF(read_vocab(source, spell_as_is, err));
    UM_RETURN_IF(build(source, byte_level_document(cut, adds_blank), err));
    return make_template(source, cut->starts, err);
}

/* loader->scores: user-defined tokens before all others, what is no text never. */
static enum um_status read_scores(const struct source *source, struct um_error *err)
{
    if (!source->scores)
        return fail_key(source, KEY "scores", "an array of numbers", err);
    float *scores = UM_ARENA_NEW(source->loader->arena, source->tokens->n, float);
    if (!scores)
        return um_fail_memory(err, source->loader->where, source->tokens->n * sizeof(*scores));
    for (size_t i = 0; i < source->tokens->n; i++) {
        enum token_type type = type_of(source, i);
        double score = um_gguf_real_at(source->scores, i);
        if (isnan(score))
            return um_fail(err, UM_E_INPUT, "cannot read '%s': the score of token %zu is no number",
                           source->loader->where, i);
        scores[i] = type == USER_DEFINED               ? INFINITY
                    : type == NORMAL || type == UNUSED ? (float)score
                                                       : -INFINITY;
    }
    source->loader->scores = scores;
    return UM_OK;
}

static json_t *sentence_piece_document(const struct source *source, bool adds_blank)
{
    const char *unknown = um_tokenizer_token(source->loader->tokenizer, source->unknown);
    json_t *marks = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ",
                              "content", MARK);
    json_t *blanks = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", MARK,
                               "content", " ");
    json_t *normalizers =
        adds_blank ? json_pack("[{s:s, s:s}, o]", "type", "Prepend", "prepend", MARK, marks)
                   : json_pack("[o]", marks);
    return json_pack("{s:{s:s, s:o}, s:{s:s, s:b, s:b, s:s*}, "
                     "s:{s:s, s:[o, {s:s}, {s:s}, {s:s, s:s, s:i}]}}",
                     "normalizer", "type", "Sequence", "normalizers", normalizers, "model", "type",
                     "BPE", "byte_fallback", 1, "fuse_unk", 1, "unk_token", unknown, "decoder",
                     "type", "Sequence", "decoders", blanks, "type", "ByteFallback", "type", "Fuse",
                     "type", "Strip", "content", " ", "start", (int)adds_blank);
}

static enum um_status build_sentence_piece(struct source *source, struct um_error *err)
{
    bool adds_blank = true;
    UM_RETURN_IF(get_bool(&adds_blank, source, KEY "add_space_prefix", err));
    UM_RETURN_IF(read_scores(source, err));
    UM_RETURN_IF(read_vocab(source, spell_with_marks, err));
    UM_RETURN_IF(build(source, sentence_piece_document(source, adds_blank), err));
    return make_template(source, true, err);
}

static enum um_status build_word_piece(struct source *source, struct um_error *err)
{
    struct um_bert_options options = {
        .lowers = true, .splits_chinese = true, .cls = source->bos, .sep = -1, .unknown = -1};
    json_t *json;
    UM_RETURN_IF(get_bool(&options.lowers, source, KEY "normalizer.lowercase", err));
    options.strips_accents = options.lowers;
    UM_RETURN_IF(get_bool(&options.strips_accents, source, KEY "normalizer.strip_accents", err));
    UM_RETURN_IF(get_id(&options.cls, source, KEY "cls_token_id", err));
    UM_RETURN_IF(get_id(&options.sep, source, KEY "seperator_token_id", err));
    options.unknown = source->unknown;
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

static const struct model {
    const char *name;
    int32_t bos, eos, unknown; /* unless the file says otherwise */
    enum um_status (*build)(struct source *source, struct um_error *err);
} models[] = {
    {"gpt2", -1, -1, -1, build_byte_level},
    {"llama", 1, 2, 0, build_sentence_piece},
    {"bert", -1, -1, -1, build_word_piece},
};

static enum um_status find_model(const struct model **model, const struct source *source,
                                 struct um_error *err)
{
    const struct um_gguf_pair *name = um_gguf_pair(source->gguf, KEY "model");
    if (!name) {
        (void)um_fail(err, UM_E_INPUT,
                      "cannot open the tokenizer of '%s': the file holds none (" KEY
                      "model is missing)",
                      source->loader->where);
        um_error_hint(err, "convert the model again, with its tokenizer beside it");
        return UM_E_INPUT;
    }
    if (name->type != UM_GGUF_STRING)
        return fail_key(source, KEY "model", "a name", err);
    for (size_t i = 0; i < UM_COUNT(models); i++) {
        *model = &models[i];
        if (strlen(models[i].name) == name->n && !memcmp(models[i].name, name->text, name->n))
            return UM_OK;
    }
    return um_fail(err, UM_E_INPUT,
                   "cannot read '%s': unknown " KEY "model '%.*s'; known are: gpt2, llama, bert",
                   source->loader->where, name->n < 100 ? (int)name->n : 100, name->text);
}

/* The arrays and ids that all models have. */
static enum um_status read_common(struct source *source, const struct model *model,
                                  struct um_error *err)
{
    UM_RETURN_IF(get_array(&source->tokens, source, KEY "tokens", true, err));
    if (!source->tokens || !source->tokens->n || source->tokens->n >= INT32_MAX)
        return fail_key(source, KEY "tokens", "an array of texts", err);
    UM_RETURN_IF(get_per_token(&source->types, source, KEY "token_type", err));
    UM_RETURN_IF(get_per_token(&source->scores, source, KEY "scores", err));
    source->bos = (size_t)model->bos < source->tokens->n ? model->bos : -1;
    source->eos = (size_t)model->eos < source->tokens->n ? model->eos : -1;
    source->unknown = model->unknown;
    UM_RETURN_IF(get_id(&source->bos, source, KEY "bos_token_id", err));
    UM_RETURN_IF(get_id(&source->eos, source, KEY "eos_token_id", err));
    return get_id(&source->unknown, source, KEY "unknown_token_id", err);
}

enum um_status um_tokenizer_parse_gguf(struct um_tokenizer *tokenizer, const struct um_gguf *gguf,
                                       const char *where, struct um_error *err)
{
    struct um_loader loader = {.tokenizer = tokenizer,
                               .arena = &tokenizer->arena,
                               .where = where,
                               .n_bytes = gguf->map.n_bytes};
    struct source source = {.loader = &loader, .gguf = gguf};
    const struct model *model;
    UM_RETURN_IF(find_model(&model, &source, err));
    UM_RETURN_IF(read_common(&source, model, err));
    UM_RETURN_IF(model->build(&source, err));
    return read_added(&source, err);
}
