/*
 * Byte-pair encoding (Sennrich et al., ACL 2016): a word starts as its characters; the adjacent
 * pair of lowest rank is merged, leftmost first, until no pair of the list of merges is left.
 *
 * Symbols form a linked list over an array; candidate pairs lie in a binary heap by (rank,
 * position), so a word of n characters takes O(n log n): some tokenizers treat a whole text as one
 * word. Words that came before are answered from a cache. The reference's options are all here but
 * dropout, which is for training.
 */
#include <string.h>

#include "text/bpe_private.h"
#include "text/model_private.h"

enum { UNKNOWN_NONE = -1 };

static enum um_status get_text(struct um_text_option *option, struct um_loader *loader,
                               const json_t *json, const char *key, struct um_error *err)
{
    *option = (struct um_text_option){"", 0};
    const json_t *value = json_object_get(json, key);
    return value && !json_is_null(value) ? um_text_option_parse(option, loader, json, key, err)
                                         : UM_OK;
}

static enum um_status parse_options(struct um_bpe *bpe, struct um_loader *loader,
                                    const json_t *json, struct um_error *err)
{
    double dropout = 0;
    bool falls_back = false;
    const char *unknown = NULL, *where = loader->where;
    UM_RETURN_IF(get_text(&bpe->prefix, loader, json, "continuing_subword_prefix", err));
    UM_RETURN_IF(get_text(&bpe->suffix, loader, json, "end_of_word_suffix", err));
    UM_RETURN_IF(um_json_get_bool(&bpe->fuses_unknown, json, "fuse_unk", where, err));
    UM_RETURN_IF(um_json_get_bool(&falls_back, json, "byte_fallback", where, err));
    UM_RETURN_IF(um_json_get_bool(&bpe->ignores_merges, json, "ignore_merges", where, err));
    UM_RETURN_IF(um_json_get_f64(&dropout, json, "dropout", where, err));
    UM_RETURN_IF(um_json_get_str(&unknown, json, "unk_token", where, err));
    if (dropout > 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': BPE with dropout is not supported, "
                       "expected \"dropout\": null",
                       where);
    bpe->vocab = &loader->tokenizer->vocab;
    bpe->unknown = UNKNOWN_NONE;
    if (unknown)
        UM_RETURN_IF(um_loader_find(&bpe->unknown, loader, unknown, "unk_token", err));
    memset(bpe->bytes, 0xff, sizeof(bpe->bytes));
    if (falls_back)
        um_model_find_bytes(bpe->bytes, bpe->vocab);
    return UM_OK;
}

static enum um_status parse(const void **options, struct um_loader *loader, const json_t *json,
                            struct um_error *err)
{
    struct um_bpe *bpe = um_options_new(options, loader, sizeof(*bpe), err);
    if (!bpe)
        return UM_E_RUNTIME;
    UM_RETURN_IF(um_loader_read_vocab(loader, err));
    UM_RETURN_IF(parse_options(bpe, loader, json, err));
    return um_bpe_read_merges(bpe, loader, err);
}

/* The id of a character as part of a word, with the prefix and suffix that its place asks for. */
static int32_t find_char(const struct um_bpe *bpe, const char *text, size_t n, bool is_first,
                         bool is_last)
{
    const struct um_text_option none = {"", 0};
    struct um_text_option prefix = is_first ? none : bpe->prefix;
    if (!is_last || !bpe->suffix.n) {
        uint64_t hash = um_vocab_hash(UM_VOCAB_HASH_START, prefix.text, prefix.n);
        return um_vocab_find_hashed(bpe->vocab, um_vocab_hash(hash, text, n), prefix.text, prefix.n,
                                    text, n);
    }
    char joined[UM_BPE_AFFIX_MAX * 2 + 4];
    memcpy(joined, prefix.text, prefix.n);
    memcpy(joined + prefix.n, text, n);
    memcpy(joined + prefix.n + n, bpe->suffix.text, bpe->suffix.n);
    return um_vocab_find(bpe->vocab, joined, prefix.n + n + bpe->suffix.n);
}

/* The word's characters as ids. An unknown one is its bytes, the unknown token (one for a run of
 * them if fused), or nothing. As in the reference, an unknown token is put down when the next known
 * character comes, so bytes may overtake it. */
static enum um_status put_chars(struct um_ids *out, const struct um_bpe *bpe, const char *word,
                                size_t n, struct um_error *err)
{
    bool is_pending = false, is_done;
    for (size_t i = 0, length; i < n; i += length) {
        length = um_utf8_length(word[i]);
        int32_t id = find_char(bpe, word + i, length, i == 0, i + length == n);
        if (id >= 0) {
            if (is_pending)
                UM_RETURN_IF(um_ids_add(out, bpe->unknown, err));
            is_pending = false;
            UM_RETURN_IF(um_ids_add(out, id, err));
            continue;
        }
        UM_RETURN_IF(um_model_put_bytes(out, &is_done, bpe->bytes, word + i, length, err));
        if (is_done || bpe->unknown == UNKNOWN_NONE)
            continue;
        if (is_pending && !bpe->fuses_unknown)
            UM_RETURN_IF(um_ids_add(out, bpe->unknown, err));
        is_pending = true;
    }
    return is_pending ? um_ids_add(out, bpe->unknown, err) : UM_OK;
}

static enum um_status encode_word(struct um_scratch *s, const void *model, const char *word,
                                  size_t n, struct um_error *err)
{
    const struct um_bpe *bpe = model;
    if (bpe->ignores_merges) {
        int32_t id = um_vocab_find(bpe->vocab, word, n);
        if (id >= 0)
            return um_ids_add(s->out, id, err);
    }
    size_t before = s->out->n;
    UM_RETURN_IF(put_chars(s->out, bpe, word, n, err));
    return um_bpe_merge(s->out, before, bpe, s->model, err);
}

static void free_scratch(void *pointer)
{
    struct um_bpe_scratch *scratch = pointer;
    if (!scratch)
        return;
    um_free(scratch->symbols);
    um_free(scratch->heap);
    um_word_cache_free(&scratch->cache);
    um_free(scratch);
}

static enum um_status run(struct um_scratch *s, const void *options, struct um_error *err)
{
    if (!s->model) {
        s->model = UM_NEW(1, struct um_bpe_scratch);
        s->free_model = free_scratch;
        if (!s->model)
            return um_fail_memory(err, "tokenizing", sizeof(struct um_bpe_scratch));
    }
    struct um_bpe_scratch *scratch = s->model;
    return um_model_run_cached(s, options, encode_word, &scratch->cache, err);
}

const struct um_kind um_model_bpe = {
    .type = "BPE", .summary = "byte-pair encoding", .parse = parse, .run = run};
