/* Encoding: the pipeline from text to ids, truncation, the template; and looking tokens up. */
#include <stdatomic.h>
#include <string.h>

#include "text/pipeline_private.h"
#include "text/tokenizer.h"

enum um_status um_tokenizer_new(struct um_tokenizer **tokenizer, struct um_error *err)
{
    static atomic_uint_fast64_t last_serial;
    *tokenizer = UM_NEW(1, struct um_tokenizer);
    if (!*tokenizer)
        return um_fail_memory(err, "a tokenizer", sizeof(**tokenizer));
    (*tokenizer)->serial = atomic_fetch_add(&last_serial, 1) + 1;
    return UM_OK;
}

void um_tokenizer_free(struct um_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    um_vocab_free(&tokenizer->vocab);
    um_added_free(&tokenizer->added);
    um_trie_free(&tokenizer->model_trie);
    um_regex_free_all(tokenizer->regexes);
    um_arena_free(&tokenizer->arena);
    um_free(tokenizer);
}

void um_tokens_free(struct um_tokens *tokens)
{
    if (!tokens)
        return;
    um_free(tokens->ids);
    um_free(tokens->types);
    if (tokens->scratch)
        um_scratch_free(tokens->scratch);
    um_free(tokens->scratch);
    *tokens = (struct um_tokens){0};
}

int64_t um_tokenizer_size(const struct um_tokenizer *t)
{
    int64_t size = (int64_t)t->vocab.n_entries;
    for (size_t i = 0; i < t->added.n; i++) {
        if (t->added.tokens[i].id >= size)
            size = (int64_t)t->added.tokens[i].id + 1;
    }
    return size;
}

const char *um_tokenizer_token(const struct um_tokenizer *t, int32_t id)
{
    const struct um_added_token *added = um_added_by_id(&t->added, id);
    if (added)
        return added->content.text;
    return id >= 0 && (size_t)id < t->vocab.n_entries ? t->vocab.entries[id].text : NULL;
}

int32_t um_tokenizer_find(const struct um_tokenizer *t, const char *token)
{
    size_t n = strlen(token);
    const struct um_added_token *added = um_added_by_text(&t->added, token, n);
    return added ? added->id : um_vocab_find(&t->vocab, token, n);
}

/* scratch->text[start..end), which holds no added token, to ids. */
static enum um_status encode_stretch(const struct um_tokenizer *t, struct um_scratch *s,
                                     size_t start, size_t end, bool is_first, struct um_error *err)
{
    s->pieces.n = s->spare_pieces.n = 0;
    if (start == end)
        return UM_OK;
    UM_RETURN_IF(um_pieces_add(&s->pieces, start, end, is_first, err));
    UM_RETURN_IF(um_component_run(&t->pre_tokenizer, s, err));
    return um_component_run(&t->model, s, err);
}

/* Text between two added tokens: normalised, then cut at those that are looked for behind the
 * normalizer. A pre-tokenizer may rewrite scratch->text, so the next stretch comes from a copy. */
static enum um_status encode_gap(const struct um_tokenizer *t, struct um_scratch *s,
                                 const char *text, size_t n, bool is_first, struct um_error *err)
{
    const struct um_trie *set = &t->added.normalized;
    const struct um_added_token *token;
    size_t from = 0, start, end;
    if (!n)
        return UM_OK;
    um_str_clear(&s->text);
    um_str_clear(&s->spare);
    um_str_add_n(&s->text, text, n);
    UM_RETURN_IF(um_scratch_check(s, err));
    UM_RETURN_IF(um_component_run(&t->normalizer, s, err));
    if (!um_added_find(&start, &end, &t->added, set, s->text.text, s->text.length, 0))
        return encode_stretch(t, s, 0, s->text.length, is_first, err);
    um_str_clear(&s->normalized);
    um_str_add_n(&s->normalized, s->text.text, s->text.length);
    if (s->normalized.failed)
        return um_fail_memory(err, "tokenizing", s->text.length);
    const char *whole = s->normalized.text;
    size_t n_whole = s->normalized.length;
    while ((token = um_added_find(&start, &end, &t->added, set, whole, n_whole, from))) {
        um_str_clear(&s->text);
        um_str_add_n(&s->text, whole + from, start - from);
        UM_RETURN_IF(um_scratch_check(s, err));
        UM_RETURN_IF(encode_stretch(t, s, 0, start - from, is_first && from == 0, err));
        UM_RETURN_IF(um_ids_add(s->out, token->id, err));
        from = end;
    }
    um_str_clear(&s->text);
    um_str_add_n(&s->text, whole + from, n_whole - from);
    UM_RETURN_IF(um_scratch_check(s, err));
    return encode_stretch(t, s, 0, n_whole - from, is_first && from == 0, err);
}

/* One text behind what scratch->ids[which] holds, without special tokens. */
static enum um_status add_text(const struct um_tokenizer *t, struct um_scratch *s, size_t which,
                               const char *text, size_t n, struct um_error *err)
{
    const struct um_added_token *token;
    size_t from = 0, start, end, n_valid = um_utf8_valid(text, n);
    s->out = &s->ids[which];
    if (n_valid < n)
        return um_fail(err, UM_E_INPUT, "cannot tokenize: byte %zu of the text is not valid UTF-8",
                       n_valid);
    while ((token = um_added_find(&start, &end, &t->added, &t->added.raw, text, n, from))) {
        UM_RETURN_IF(encode_gap(t, s, text + from, start - from, from == 0, err));
        UM_RETURN_IF(um_ids_add(s->out, token->id, err));
        from = end;
    }
    return encode_gap(t, s, text + from, n - from, from == 0, err);
}

static enum um_status encode_text(const struct um_tokenizer *t, struct um_scratch *s, size_t which,
                                  const char *text, size_t n, struct um_error *err)
{
    s->ids[which].n = 0;
    return add_text(t, s, which, text, n, err);
}

/* "Longest first" as the reference computes it: the shorter text is cut only when half the room is
 * not enough for it. */
static void truncate_pair(size_t *n_first, size_t *n_second, size_t room)
{
    size_t n1 = *n_first, n2 = *n_second;
    if (n1 + n2 <= room)
        return;
    bool is_swapped = n1 > n2;
    if (is_swapped) {
        n1 = *n_second;
        n2 = *n_first;
    }
    if (n1 > room)
        n2 = n1;
    else
        n2 = n1 > room - n1 ? n1 : room - n1;
    if (n1 + n2 > room) {
        n1 = room / 2;
        n2 = n1 + room % 2;
    }
    *n_first = is_swapped ? n2 : n1;
    *n_second = is_swapped ? n1 : n2;
}

static enum um_status reserve(struct um_tokens *tokens, size_t n, struct um_error *err)
{
    size_t capacity = tokens->capacity;
    if (n <= capacity)
        return UM_OK;
    /* Both arrays grow to the same capacity, which is taken over only when both have. */
    if (!um_grow(&tokens->ids, &capacity, n, sizeof(*tokens->ids)))
        return um_fail_memory(err, "tokens", n * sizeof(*tokens->ids));
    int32_t *types = um_realloc(tokens->types, capacity * sizeof(*types));
    if (!types)
        return um_fail_memory(err, "tokens", capacity * sizeof(*types));
    tokens->types = types;
    tokens->capacity = capacity;
    return UM_OK;
}

static void append(struct um_tokens *tokens, const int32_t *ids, size_t n, int32_t type)
{
    if (n)
        memcpy(tokens->ids + tokens->n, ids, n * sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        tokens->types[tokens->n + i] = type;
    tokens->n += n;
}

/* How often the template holds each text: 1 almost always, but a file may say otherwise. */
static size_t count_output(const struct um_template *template, const size_t n[2], bool special)
{
    size_t total = 0;
    for (size_t i = 0; i < template->n; i++) {
        int sequence = template->items[i].sequence;
        total += sequence >= 0 ? n[sequence] : special;
    }
    return total;
}

static enum um_status put_together(struct um_tokens *tokens, const struct um_template *template,
                                   const struct um_scratch *s, const size_t n[2], bool special,
                                   struct um_error *err)
{
    UM_RETURN_IF(reserve(tokens, count_output(template, n, special), err));
    for (size_t i = 0; i < template->n; i++) {
        const struct um_template_item *item = &template->items[i];
        if (item->sequence >= 0)
            append(tokens, s->ids[item->sequence].items, n[item->sequence], item->type);
        else if (special)
            append(tokens, &item->id, 1, item->type);
    }
    return UM_OK;
}

/* Empties the tokens, and makes their scratch memory ready for a tokenizer. */
static enum um_status begin(struct um_scratch **scratch, struct um_tokens *tokens,
                            const struct um_tokenizer *tokenizer, size_t n_special,
                            int64_t max_length, struct um_error *err)
{
    tokens->n = tokens->n_truncated = 0;
    if (max_length < 0 || (max_length > 0 && (size_t)max_length < n_special))
        return um_fail(err, UM_E_USAGE,
                       "cannot tokenize: max_length is %lld, expected at least %zu "
                       "for the special tokens",
                       (long long)max_length, n_special);
    if (!tokens->scratch)
        tokens->scratch = UM_NEW(1, struct um_scratch);
    *scratch = tokens->scratch;
    if (!*scratch)
        return um_fail_memory(err, "tokens", sizeof(**scratch));
    um_scratch_adopt(*scratch, tokenizer);
    return UM_OK;
}

enum um_status um_tokenizer_encode(struct um_tokens *tokens, const struct um_tokenizer *tokenizer,
                                   const char *text, size_t n_text, const char *pair, size_t n_pair,
                                   bool special, int64_t max_length, struct um_error *err)
{
    const struct um_template *template = pair ? &tokenizer->pair : &tokenizer->single;
    size_t n_special = special ? template->n_special : 0, n[2];
    struct um_scratch *s;
    UM_RETURN_IF(begin(&s, tokens, tokenizer, n_special, max_length, err));
    UM_RETURN_IF(encode_text(tokenizer, s, 0, text, n_text, err));
    UM_RETURN_IF(encode_text(tokenizer, s, 1, pair ? pair : "", pair ? n_pair : 0, err));
    n[0] = s->ids[0].n;
    n[1] = s->ids[1].n;
    if (max_length && pair)
        truncate_pair(&n[0], &n[1], (size_t)max_length - n_special);
    else if (max_length && n[0] > (size_t)max_length - n_special)
        n[0] = (size_t)max_length - n_special;
    tokens->n_truncated = s->ids[0].n + s->ids[1].n - n[0] - n[1];
    return put_together(tokens, template, s, n, special, err);
}

/* Tokens that a template puts before the text; -1: it has no place for one. */
static int64_t n_before_text(const struct um_template *template)
{
    for (size_t i = 0; i < template->n; i++)
        if (template->items[i].sequence == 0)
            return (int64_t)i;
    return -1;
}

enum um_status um_tokenizer_encode_words(struct um_tokens *tokens,
                                         const struct um_tokenizer *tokenizer,
                                         struct um_word *words, size_t n_words, int64_t max_length,
                                         struct um_error *err)
{
    const struct um_template *template = &tokenizer->single;
    int64_t before = n_before_text(template);
    struct um_scratch *s;
    UM_RETURN_IF(begin(&s, tokens, tokenizer, template->n_special, max_length, err));
    struct um_ids *ids = &s->ids[0];
    size_t most = max_length ? (size_t)max_length - template->n_special : SIZE_MAX;
    ids->n = 0;
    for (size_t w = 0; w < n_words; w++) {
        size_t start = ids->n;
        UM_RETURN_IF(add_text(tokenizer, s, 0, words[w].text, words[w].n, err));
        bool is_there = before >= 0 && ids->n > start && start < most;
        words[w].first = is_there ? before + (int64_t)start : -1;
    }
    const size_t n[2] = {ids->n < most ? ids->n : most, 0};
    tokens->n_truncated = ids->n - n[0];
    return put_together(tokens, template, s, n, true, err);
}
