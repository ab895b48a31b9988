/* The list of models; the one that needs no file of its own; bytes as tokens. */
#include "text/model_private.h"

#include <stdio.h>
#include <string.h>

void um_model_find_bytes(int32_t ids[256], const struct um_vocab *vocab)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char token[8];
        int n = snprintf(token, sizeof(token), "<0x%02X>", byte);
        ids[byte] = um_vocab_find(vocab, token, (size_t)n);
    }
}

enum um_status um_model_put_bytes(struct um_ids *out, bool *is_done, const int32_t ids[256],
                                  const char *text, size_t n, struct um_error *err)
{
    *is_done = true;
    for (size_t i = 0; i < n; i++)
        *is_done = *is_done && ids[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; *is_done && i < n; i++)
        UM_RETURN_IF(um_ids_add(out, ids[(unsigned char)text[i]], err));
    return UM_OK;
}

/* One piece that the cache does not know. */
static enum um_status encode_new(struct um_scratch *s, const void *model, um_encode_fn *encode,
                                 struct um_word_cache *cache, uint64_t hash, struct um_piece piece,
                                 struct um_error *err)
{
    const char *text = s->text.text + piece.start;
    size_t n = piece.end - piece.start, before = s->out->n;
    UM_RETURN_IF(encode(s, model, text, n, err));
    const int32_t *ids = s->out->items ? s->out->items + before : NULL;
    if (!um_word_cache_add(cache, hash, text, n, ids, s->out->n - before))
        return um_fail_memory(err, "tokenizing", n);
    return UM_OK;
}

enum um_status um_model_run_cached(struct um_scratch *s, const void *model, um_encode_fn *encode,
                                   struct um_word_cache *cache, struct um_error *err)
{
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        const char *text = s->text.text + piece.start;
        uint64_t hash = um_word_hash(text, piece.end - piece.start);
        const struct um_word *word = um_word_cache_find(cache, hash, text, piece.end - piece.start);
        for (uint32_t k = 0; word && k < word->n_ids; k++)
            UM_RETURN_IF(um_ids_add(s->out, cache->ids[word->ids + k], err));
        if (!word)
            UM_RETURN_IF(encode_new(s, model, encode, cache, hash, piece, err));
    }
    return UM_OK;
}

struct word_level {
    const struct um_vocab *vocab;
    int32_t unknown;
};

static enum um_status parse_word_level(const void **options, struct um_loader *loader,
                                       const json_t *json, struct um_error *err)
{
    struct word_level *model = um_options_new(options, loader, sizeof(*model), err);
    const char *unknown = "<unk>";
    if (!model)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_json_get_str(&unknown, json, "unk_token", loader->where, err));
    UM_RETURN_IF(um_loader_read_vocab(loader, err));
    model->vocab = &loader->tokenizer->vocab;
    return um_loader_find(&model->unknown, loader, unknown, "unk_token", err);
}

static enum um_status run_word_level(struct um_scratch *s, const void *options,
                                     struct um_error *err)
{
    const struct word_level *model = options;
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct um_piece piece = s->pieces.items[i];
        int32_t id =
            um_vocab_find(model->vocab, s->text.text + piece.start, piece.end - piece.start);
        UM_RETURN_IF(um_ids_add(s->out, id >= 0 ? id : model->unknown, err));
    }
    return UM_OK;
}

const struct um_kind um_model_word_level = {.type = "WordLevel",
                                            .summary = "one token for each known word",
                                            .parse = parse_word_level,
                                            .run = run_word_level};

static const struct um_kind *const kinds[] = {&um_model_wordpiece, &um_model_bpe, &um_model_unigram,
                                              &um_model_word_level};

const struct um_family um_models = {.name = "model", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
