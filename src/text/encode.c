/* Encoding: added tokens, normalization, words, ids, truncation, template. */
#include <string.h>

#include "base/file.h"
#include "text/tokenizer.h"

/* Working memory of one um_tokens: reused from call to call. */
struct um_tokens_scratch {
    struct um_str buffers[2]; /* of normalization */
    struct um_slices slices[2]; /* of pre-tokenization */
    struct um_tokens parts[2];  /* ids of the text and its pair */
};

enum um_status um_tokenizer_open(struct um_tokenizer **tokenizer, const char *folder,
                                 struct um_error *err)
{
    char *json = um_path_join(folder, "tokenizer.json"), *vocab = um_path_join(folder, "vocab.txt");
    enum um_status status;
    *tokenizer = UM_NEW(1, struct um_tokenizer);
    if (!*tokenizer || !json || !vocab)
        UM_TRY(um_fail_memory(err, folder, sizeof(**tokenizer)));
    if (um_path_exists(json))
        UM_TRY(um_tokenizer_load_json(*tokenizer, json, err));
    else if (um_path_exists(vocab))
        UM_TRY(um_tokenizer_load_vocab(*tokenizer, folder, vocab, err));
    else
        UM_TRY(um_fail(err, UM_E_INPUT, "cannot open the tokenizer of '%s': neither "
                       "tokenizer.json nor vocab.txt is there", folder));
out:
    um_free(json);
    um_free(vocab);
    if (status != UM_OK) {
        um_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}

void um_tokenizer_free(struct um_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    um_arena_free(&tokenizer->arena);
    um_free(tokenizer);
}

int64_t um_tokenizer_size(const struct um_tokenizer *t)
{
    int64_t n = t->vocabulary.n;
    for (size_t i = 0; i < t->n_added; i++)
        n = t->added[i].id >= n ? t->added[i].id + 1 : n;
    return n;
}

const char *um_tokenizer_token(const struct um_tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == id)
            return t->added[i].text;
    return id >= 0 && id < t->vocabulary.n ? t->vocabulary.texts[id] : NULL;
}

int32_t um_tokenizer_find(const struct um_tokenizer *t, const char *token)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (strcmp(t->added[i].text, token) == 0)
            return t->added[i].id;
    return um_vocabulary_find(&t->vocabulary, token, strlen(token));
}

bool um_tokens_add(struct um_tokens *tokens, int32_t id, int32_t type)
{
    if (tokens->n == tokens->capacity) {
        size_t capacity = tokens->capacity, again = capacity;
        if (!um_grow(&tokens->ids, &capacity, tokens->n + 1, sizeof(*tokens->ids)) ||
            !um_grow(&tokens->types, &again, tokens->n + 1, sizeof(*tokens->types)))
            return false;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->n] = id;
    tokens->types[tokens->n++] = type;
    return true;
}

void um_tokens_free(struct um_tokens *tokens)
{
    struct um_tokens_scratch *s = tokens->scratch;
    um_free(tokens->ids);
    um_free(tokens->types);
    for (int i = 0; s && i < 2; i++) {
        um_str_free(&s->buffers[i]);
        um_free(s->slices[i].items);
        um_tokens_free(&s->parts[i]);
    }
    um_free(s);
    *tokens = (struct um_tokens){0};
}

static bool is_word_at(const char *text, size_t n, size_t at)
{
    size_t length;
    if (at >= n)
        return false;
    uint32_t code = um_codepoint(text + at, n - at, &length);
    return code == '_' || (!um_is_space(code) && !um_is_punctuation(code));
}

static bool is_word_before(const char *text, size_t at)
{
    if (at == 0)
        return false;
    size_t start = at - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    return is_word_at(text, at, start);
}

/* The added token that starts at text[at], or NULL. */
static const struct um_added *added_at(const struct um_tokenizer *t, const char *text, size_t n,
                                       size_t at, bool is_normalized)
{
    for (size_t i = 0; i < t->n_added; i++) {
        const struct um_added *a = &t->added[i];
        if (a->text[0] != text[at] || a->is_normalized != is_normalized || a->n > n - at ||
            memcmp(a->text, text + at, a->n) != 0)
            continue;
        if (a->single_word && (is_word_before(text, at) || is_word_at(text, n, at + a->n)))
            continue;
        return a;
    }
    return NULL;
}

/* Words of a normalised stretch, to ids. */
static bool encode_words(const struct um_tokenizer *t, struct um_tokens_scratch *s,
                         struct um_tokens *out, const char *text, size_t n)
{
    struct um_slices *from = &s->slices[0], *to = &s->slices[1];
    from->n = 0;
    if (n && !um_slices_add(from, 0, n))
        return false;
    for (size_t p = 0; p < t->n_pretokenizers; p++) {
        const struct um_step *step = &t->pretokenizers[p];
        to->n = 0;
        for (size_t i = 0; i < from->n; i++)
            if (!step->pretokenizer->run(step, to, text, from->items[i]))
                return false;
        struct um_slices *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < from->n; i++)
        if (!um_wordpiece_run(t, out, text + from->items[i].start, from->items[i].n))
            return false;
    return true;
}

static bool encode_stretch(const struct um_tokenizer *t, struct um_tokens_scratch *s,
                           struct um_tokens *out, const char *text, size_t n, bool is_normalized);

/* Normalises a stretch between added tokens, and looks for those that are normalised too. */
static bool encode_raw(const struct um_tokenizer *t, struct um_tokens_scratch *s,
                       struct um_tokens *out, const char *text, size_t n)
{
    for (size_t k = 0; k < t->n_normalizers; k++) {
        struct um_str *to = &s->buffers[k % 2];
        um_str_clear(to);
        t->normalizers[k].normalizer->run(&t->normalizers[k], to, text, n);
        if (to->failed)
            return false;
        text = to->text ? to->text : "";
        n = to->length;
    }
    return encode_stretch(t, s, out, text, n, true);
}

static bool encode_stretch(const struct um_tokenizer *t, struct um_tokens_scratch *s,
                           struct um_tokens *out, const char *text, size_t n, bool is_normalized)
{
    size_t start = 0;
    for (size_t at = 0; at <= n; at++) {
        const struct um_added *a =
            at < n && t->n_added ? added_at(t, text, n, at, is_normalized) : NULL;
        if (!a && at < n)
            continue;
        size_t end = at, next = a ? at + a->n : at;
        while (a && a->lstrip && end > start && um_is_space((unsigned char)text[end - 1]))
            end--;
        while (a && a->rstrip && next < n && um_is_space((unsigned char)text[next]))
            next++;
        bool is_done = end == start ||
                       (is_normalized ? encode_words(t, s, out, text + start, end - start)
                                      : encode_raw(t, s, out, text + start, end - start));
        if (!is_done || (a && !um_tokens_add(out, a->id, 0)))
            return false;
        start = next;
        at = a ? next - 1 : at;
    }
    return true;
}

/* How much of each part is kept: "longest first", as Hugging Face's truncate_encodings. */
static void truncate(size_t n[2], bool has_pair, size_t room)
{
    if (n[0] + n[1] <= room)
        return;
    if (!has_pair) {
        n[0] = room;
        return;
    }
    int small = n[0] <= n[1] ? 0 : 1, large = 1 - small;
    size_t a = n[small], b = a > room ? a : (room - a > a ? room - a : a);
    if (a + b > room) {
        a = room / 2;
        b = a + room % 2;
    }
    n[small] = a < n[small] ? a : n[small];
    n[large] = b < n[large] ? b : n[large];
}

static enum um_status fail_text(const char *text, size_t n, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "cannot encode a text of %zu bytes: invalid UTF-8 at byte %zu",
                   n, um_utf8_valid(text, n));
}

enum um_status um_tokenizer_encode(struct um_tokens *tokens, const struct um_tokenizer *t,
                                   const char *text, size_t n_text, const char *pair,
                                   size_t n_pair, bool special, int64_t max_length,
                                   struct um_error *err)
{
    if (um_utf8_valid(text, n_text) != n_text)
        return fail_text(text, n_text, err);
    if (pair && um_utf8_valid(pair, n_pair) != n_pair)
        return fail_text(pair, n_pair, err);
    if (!tokens->scratch)
        tokens->scratch = UM_NEW(1, struct um_tokens_scratch);
    struct um_tokens_scratch *s = tokens->scratch;
    if (!s)
        return um_fail_memory(err, "encoding", sizeof(*s));
    s->parts[0].n = s->parts[1].n = tokens->n = tokens->n_truncated = 0;
    if (!encode_stretch(t, s, &s->parts[0], text, n_text, false) ||
        (pair && !encode_stretch(t, s, &s->parts[1], pair, n_pair, false)))
        return um_fail_memory(err, "encoding", n_text + n_pair);
    const struct um_template *template = pair ? &t->pair : &t->single;
    size_t n[2] = {s->parts[0].n, s->parts[1].n};
    int64_t room = max_length - (special ? template->n_special : 0);
    if (max_length > 0)
        truncate(n, pair != NULL, room > 0 ? (size_t)room : 0);
    tokens->n_truncated = s->parts[0].n + s->parts[1].n - n[0] - n[1];
    bool is_done = true;
    for (size_t i = 0; i < template->n; i++) {
        const struct um_template_item *item = &template->items[i];
        if (item->sequence < 0 && special)
            is_done = is_done && um_tokens_add(tokens, item->id, item->type);
        for (size_t k = 0; item->sequence >= 0 && k < n[item->sequence]; k++)
            is_done = is_done &&
                      um_tokens_add(tokens, s->parts[item->sequence].ids[k], item->type);
    }
    return is_done ? UM_OK : um_fail_memory(err, "encoding", tokens->n * sizeof(int32_t));
}
