/* Added tokens: read from tokenizer.json, found in text by a trie, leftmost and longest first. */
#include <stdlib.h>
#include <string.h>

#include "text/pipeline_private.h"

/* Longer ones there are none of; and where a text only begins as one does, all of it is tried again
 * from the next byte on. */
enum { CONTENT_BYTES_MAX = 4096 };

static enum um_status insert(struct um_trie *trie, const char *text, size_t n, uint32_t value,
                             struct um_error *err)
{
    return um_trie_insert(trie, text, n, value) ? UM_OK : um_fail_memory(err, "added tokens", n);
}

/* The content as it looks in normalised text. */
static enum um_status insert_normalized(struct um_loader *loader, struct um_scratch *scratch,
                                        const struct um_added_token *token, uint32_t index,
                                        struct um_error *err)
{
    struct um_tokenizer *t = loader->tokenizer;
    um_str_clear(&scratch->text);
    um_str_add_n(&scratch->text, token->content.text, token->content.n);
    UM_RETURN_IF(um_scratch_check(scratch, err));
    UM_RETURN_IF(um_component_run(&t->normalizer, scratch, err));
    if (!scratch->text.length)
        return UM_OK;
    return insert(&t->added.normalized, scratch->text.text, scratch->text.length, index, err);
}

/* The model's own id for the content comes first, as in the reference. */
static enum um_status parse_token(struct um_added_token *token, struct um_loader *loader,
                                  const json_t *json, struct um_error *err)
{
    const char *where = loader->where;
    int64_t id = -1;
    UM_RETURN_IF(um_text_option_parse(&token->content, loader, json, "content", err));
    if (token->content.n > CONTENT_BYTES_MAX)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': an added token of %zu bytes", where,
                       (size_t)token->content.n);
    UM_RETURN_IF(um_json_get_i64(&id, json, "id", where, err));
    UM_RETURN_IF(um_json_get_bool(&token->is_special, json, "special", where, err));
    UM_RETURN_IF(um_json_get_bool(&token->is_single_word, json, "single_word", where, err));
    UM_RETURN_IF(um_json_get_bool(&token->strips_left, json, "lstrip", where, err));
    UM_RETURN_IF(um_json_get_bool(&token->strips_right, json, "rstrip", where, err));
    token->is_normalized = !token->is_special;
    UM_RETURN_IF(um_json_get_bool(&token->is_normalized, json, "normalized", where, err));
    token->id = um_vocab_find(&loader->tokenizer->vocab, token->content.text, token->content.n);
    if (token->id < 0 && (id < 0 || id >= INT32_MAX))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': added token '%.100s' has the id %lld",
                       where, token->content.text, (long long)id);
    if (token->id < 0)
        token->id = (int32_t)id;
    return UM_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct um_added_token *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static enum um_status sort_by_id(struct um_loader *loader, struct um_added *added,
                                 struct um_error *err)
{
    added->by_id = UM_ARENA_NEW(loader->arena, added->n, const struct um_added_token *);
    if (!added->by_id)
        return um_fail_memory(err, loader->where, added->n * sizeof(*added->by_id));
    for (size_t i = 0; i < added->n; i++)
        added->by_id[i] = &added->tokens[i];
    qsort(added->by_id, added->n, sizeof(*added->by_id), compare_ids);
    return UM_OK;
}

/* Fills the tries, from the last token to the first: of equal contents the first one counts. */
static enum um_status fill_tries(struct um_loader *loader, struct um_added *added,
                                 struct um_error *err)
{
    struct um_scratch scratch = {0};
    enum um_status status = UM_OK;
    um_scratch_adopt(&scratch, loader->tokenizer);
    for (size_t i = added->n; i-- > 0;) {
        const struct um_added_token *token = &added->tokens[i];
        uint32_t value = (uint32_t)i + 1;
        if (!token->content.n)
            continue;
        UM_TRY(insert(&added->all, token->content.text, token->content.n, value, err));
        if (token->is_normalized)
            UM_TRY(insert_normalized(loader, &scratch, token, value, err));
        else
            UM_TRY(insert(&added->raw, token->content.text, token->content.n, value, err));
    }
out:
    um_scratch_free(&scratch);
    return status;
}

enum um_status um_added_parse(struct um_loader *loader, const json_t *json, struct um_error *err)
{
    struct um_added *added = &loader->tokenizer->added;
    size_t n = json_array_size(json);
    added->tokens = UM_ARENA_NEW(loader->arena, n, struct um_added_token);
    if (!added->tokens)
        return um_fail_memory(err, loader->where, n * sizeof(*added->tokens));
    for (; added->n < n; added->n++)
        UM_RETURN_IF(
            parse_token(&added->tokens[added->n], loader, json_array_get(json, added->n), err));
    return um_added_index(loader, err);
}

enum um_status um_added_index(struct um_loader *loader, struct um_error *err)
{
    struct um_added *added = &loader->tokenizer->added;
    UM_RETURN_IF(sort_by_id(loader, added, err));
    return fill_tries(loader, added, err);
}

void um_added_free(struct um_added *added)
{
    um_trie_free(&added->all);
    um_trie_free(&added->raw);
    um_trie_free(&added->normalized);
}

/* The longest content at text[at], as the index + 1 of its token; 0 if there is none. */
static uint32_t match_at(size_t *end, const struct um_trie *set, const char *text, size_t n,
                         size_t at)
{
    uint32_t best = 0, node = um_trie_root(set, text[at]);
    while (node) {
        at++;
        if (set->nodes[node].value) {
            best = set->nodes[node].value;
            *end = at;
        }
        node = at < n ? um_trie_step(set, node, text[at]) : 0;
    }
    return best;
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    size_t length;
    bool is_behind_word =
        start > 0 && um_is_word(um_utf8_decode(&length, text + um_utf8_before(text, start)));
    bool is_before_word = end < n && um_is_word(um_utf8_decode(&length, text + end));
    return !is_behind_word && !is_before_word;
}

/* Extends [start, end) over white space as the token asks, not before `from`. */
static void strip_around(size_t *start, size_t *end, const struct um_added_token *token,
                         const char *text, size_t n, size_t from)
{
    size_t length;
    while (token->strips_left && *start > from) {
        size_t before = um_utf8_before(text, *start);
        if (!um_is_space(um_utf8_decode(&length, text + before)))
            break;
        *start = before;
    }
    while (token->strips_right && *end < n && um_is_space(um_utf8_decode(&length, text + *end)))
        *end += length;
}

const struct um_added_token *um_added_find(size_t *start, size_t *end, const struct um_added *added,
                                           const struct um_trie *set, const char *text, size_t n,
                                           size_t from)
{
    if (!set->n)
        return NULL;
    for (size_t i = from; i < n; i++) {
        uint32_t index = um_trie_root(set, text[i]) ? match_at(end, set, text, n, i) : 0;
        if (!index)
            continue;
        const struct um_added_token *token = &added->tokens[index - 1];
        if (token->is_single_word && !stands_alone(text, n, i, *end)) {
            i = *end - 1; /* the search goes on behind a match that does not count */
            continue;
        }
        *start = i;
        strip_around(start, end, token, text, n, from);
        return token;
    }
    return NULL;
}

const struct um_added_token *um_added_by_id(const struct um_added *added, int32_t id)
{
    struct um_added_token wanted = {.id = id};
    const struct um_added_token *key = &wanted, *const *found = NULL;
    if (added->n)
        found = bsearch(&key, added->by_id, added->n, sizeof(*added->by_id), compare_ids);
    return found ? *found : NULL;
}

const struct um_added_token *um_added_by_text(const struct um_added *added, const char *text,
                                              size_t n)
{
    if (!n || !added->all.n)
        return NULL;
    size_t end = 0;
    uint32_t value = match_at(&end, &added->all, text, n, 0);
    return value && end == n ? &added->tokens[value - 1] : NULL;
}
