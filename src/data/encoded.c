/* Encoding rows in parallel: chunks of rows into buffers of their own, then joined in order. */
#include "data/encoded.h"

#include <string.h>

#include "data/words.h"
#include "text/tokenizer.h"

/* What a chunk of rows comes to. */
struct chunk {
    int32_t *ids;
    uint8_t *types;
    int32_t *words;   /* of style WORDS */
    int64_t *lengths; /* of the rows it makes */
    size_t n, n_rows, ids_capacity, types_capacity, words_capacity, lengths_capacity;
    int64_t n_truncated, n_left_out;
};

/* One thread's tools. */
struct worker {
    const struct um_dataset *data;
    const struct um_encode_options *options;
    struct um_tokens tokens;
    struct um_word *words; /* of a row */
    size_t words_capacity;
    struct um_prose prose;
    struct um_marked marked;
};

/* Appends what a row comes to. */
typedef enum um_status encode_fn(struct chunk *chunk, struct worker *worker,
                                 const struct um_row *row, struct um_error *err);

enum { CHUNK_ROWS = 256 };

enum um_status um_check_ids(const struct um_tokenizer *tokenizer, const int32_t *ids, size_t n,
                            int64_t n_vocabulary, struct um_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= n_vocabulary)
            return um_fail(err, UM_E_INPUT,
                           "the tokenizer gives id %d ('%s'), but the model knows %lld: they do "
                           "not belong together",
                           ids[i], um_tokenizer_token(tokenizer, ids[i]), (long long)n_vocabulary);
    return UM_OK;
}

/* Appends a row of n tokens, the types still to be written. */
static enum um_status add_row(struct chunk *c, const struct um_encode_options *o,
                              const int32_t *ids, size_t n, struct um_error *err)
{
    UM_RETURN_IF(um_check_ids(o->tokenizer, ids, n, o->n_vocabulary, err));
    if (!um_grow(&c->ids, &c->ids_capacity, c->n + n, sizeof(*c->ids)) ||
        !um_grow(&c->types, &c->types_capacity, c->n + n, sizeof(*c->types)) ||
        !um_grow(&c->lengths, &c->lengths_capacity, c->n_rows + 1, sizeof(*c->lengths)))
        return um_fail_memory(err, "encoded rows", c->n * sizeof(*c->ids));
    memcpy(c->ids + c->n, ids, n * sizeof(*ids));
    c->lengths[c->n_rows++] = (int64_t)n;
    c->n += n;
    return UM_OK;
}

static enum um_status fail_empty(const struct worker *w, const struct um_row *r,
                                 struct um_error *err)
{
    return um_fail(err, UM_E_INPUT, "%s:%lld: the text has no tokens", w->data->table.path,
                   (long long)r->line);
}

/* What the tokenizer made of a text, as a row. */
static enum um_status add_tokens(struct chunk *c, const struct worker *w, struct um_error *err)
{
    const struct um_encode_options *o = w->options;
    const struct um_tokens *tokens = &w->tokens;
    UM_RETURN_IF(add_row(c, o, tokens->ids, tokens->n, err));
    for (size_t i = 0; i < tokens->n; i++) {
        int32_t type = tokens->types[i];
        if (type < 0 || type > UINT8_MAX || (o->n_types && type >= o->n_types))
            return um_fail(err, UM_E_INPUT, "the tokenizer gives segment %d, but the model knows "
                           "%lld: they do not belong together", type, (long long)o->n_types);
        c->types[c->n - tokens->n + i] = (uint8_t)type;
    }
    c->n_truncated += tokens->n_truncated > 0;
    return UM_OK;
}

static enum um_status encode_pair(struct chunk *c, struct worker *w, const struct um_row *r,
                                  struct um_error *err)
{
    const struct um_encode_options *o = w->options;
    UM_RETURN_IF(um_tokenizer_encode(&w->tokens, o->tokenizer, r->text, r->n_text, r->pair,
                                     r->n_pair, true, o->max_length, err));
    return w->tokens.n ? add_tokens(c, w, err) : fail_empty(w, r, err);
}

static enum um_status split_words(struct worker *w, const struct um_row *r, struct um_error *err)
{
    struct um_words words = um_words(r->text, r->n_text, r->is_list);
    if (!um_grow(&w->words, &w->words_capacity, (size_t)r->n_words, sizeof(*w->words)))
        return um_fail_memory(err, "words", (size_t)r->n_words * sizeof(*w->words));
    for (int64_t k = 0; k < r->n_words; k++)
        (void)um_words_next(&w->words[k].text, &w->words[k].n, &words);
    return UM_OK;
}

/* A row whose words are tagged by their first tokens. */
static enum um_status encode_words(struct chunk *c, struct worker *w, const struct um_row *r,
                                   struct um_error *err)
{
    const struct um_encode_options *o = w->options;
    size_t start = c->n;
    UM_RETURN_IF(split_words(w, r, err));
    UM_RETURN_IF(um_tokenizer_encode_words(&w->tokens, o->tokenizer, w->words, (size_t)r->n_words,
                                           o->max_length, err));
    UM_RETURN_IF(w->tokens.n ? add_tokens(c, w, err) : fail_empty(w, r, err));
    if (!um_grow(&c->words, &c->words_capacity, c->n, sizeof(*c->words)))
        return um_fail_memory(err, "encoded rows", c->n * sizeof(*c->words));
    for (size_t i = start; i < c->n; i++)
        c->words[i] = -1;
    for (int64_t k = 0; k < r->n_words; k++)
        if (w->words[k].first >= 0)
            c->words[start + (size_t)w->words[k].first] = (int32_t)k;
    return UM_OK;
}

/* Adds tokens first..end-1 of what was marked, unless there is nothing to predict among them. */
static enum um_status add_marked(struct chunk *c, const struct worker *w, size_t first, size_t end,
                                 struct um_error *err)
{
    const struct um_marked *m = &w->marked;
    bool is_learnt = false;
    for (size_t i = first + 1; i < end; i++)
        is_learnt = is_learnt || m->learnt[i];
    if (!is_learnt) {
        c->n_left_out++;
        return UM_OK;
    }
    UM_RETURN_IF(add_row(c, w->options, m->ids + first, end - first, err));
    uint8_t *marks = c->types + c->n - (end - first);
    for (size_t i = first; i < end; i++)
        marks[i - first] = m->learnt[i] ? UM_MARK_LEARNT : 0;
    marks[0] = UM_MARK_START;
    return UM_OK;
}

static enum um_status encode_prose(struct chunk *c, struct worker *w, const struct um_row *r,
                                   struct um_error *err)
{
    const struct um_encode_options *o = w->options;
    size_t most = (size_t)o->max_length, n;
    if (w->data->task->skips_empty && r->n_completion == 0) {
        c->n_left_out++;
        return UM_OK;
    }
    UM_RETURN_IF(um_prose_render(&w->prose, r, &o->prose, false, w->data->table.path, err));
    UM_RETURN_IF(um_prose_encode(&w->marked, &w->prose, o->tokenizer, o->prose.end_id, err));
    n = w->marked.n;
    if (o->prose.style != UM_STYLE_PLAIN) {
        size_t n_rows = c->n_rows;
        UM_RETURN_IF(add_marked(c, w, 0, n < most ? n : most, err));
        c->n_truncated += n > most && c->n_rows > n_rows; /* else it was left out */
        return UM_OK;
    }
    /* A document goes on in the next row; a last token alone has nothing before it. */
    for (size_t i = 0; i < n && (i == 0 || n - i > 1); i += most)
        UM_RETURN_IF(add_marked(c, w, i, n - i < most ? n : i + most, err));
    return UM_OK;
}

static enum um_status encode_chunk(struct chunk *c, const struct um_dataset *data,
                                   const struct um_encode_options *o, int64_t first,
                                   struct um_error *err)
{
    struct worker w = {.data = data, .options = o};
    enum um_status status = UM_OK;
    int64_t last = first + CHUNK_ROWS < data->n_rows ? first + CHUNK_ROWS : data->n_rows;
    encode_fn *encode = o->prose.style == UM_STYLE_PAIR    ? encode_pair
                        : o->prose.style == UM_STYLE_WORDS ? encode_words
                                                           : encode_prose;
    for (int64_t row = first; row < last && status == UM_OK; row++)
        status = encode(c, &w, &data->rows[row], err);
    um_free(w.words);
    um_tokens_free(&w.tokens);
    um_prose_free(&w.prose);
    um_marked_free(&w.marked);
    return status;
}

static void free_chunks(struct chunk *chunks, int64_t n_chunks)
{
    for (int64_t c = 0; chunks && c < n_chunks; c++) {
        um_free(chunks[c].ids);
        um_free(chunks[c].types);
        um_free(chunks[c].words);
        um_free(chunks[c].lengths);
    }
    um_free(chunks);
}

static enum um_status room(struct um_encoded *out, size_t n_rows, size_t n, bool has_words,
                           struct um_error *err)
{
    out->words = has_words ? um_alloc(n * sizeof(*out->words)) : NULL;
    out->ids = um_alloc(n * sizeof(*out->ids));
    out->types = um_alloc(n);
    out->offsets = UM_NEW(n_rows + 1, int64_t);
    out->lengths = UM_NEW(n_rows, int64_t);
    out->weights = UM_NEW(n_rows, int64_t);
    return out->ids && out->types && out->offsets && out->lengths && out->weights &&
                   (out->words || !has_words)
               ? UM_OK
               : um_fail_memory(err, "encoded rows", n * sizeof(*out->ids));
}

/* Takes a row of a chunk: on its own, or behind the last one. */
static void take_row(struct um_encoded *out, int64_t length, int64_t max_length, bool packs)
{
    int64_t last = out->n_rows - 1;
    if (packs && last >= 0 && out->lengths[last] + length <= max_length) {
        out->lengths[last] += length;
    } else {
        out->lengths[++last] = length;
        out->n_rows++;
    }
    out->offsets[last + 1] = out->offsets[last] + out->lengths[last];
}

static enum um_status join(struct um_encoded *out, const struct chunk *chunks, int64_t n_chunks,
                           const struct um_encode_options *o, struct um_error *err)
{
    size_t n = 0, n_rows = 0;
    enum um_style style = o->prose.style;
    for (int64_t c = 0; c < n_chunks; c++) {
        n += chunks[c].n;
        n_rows += chunks[c].n_rows;
    }
    UM_RETURN_IF(room(out, n_rows, n, style == UM_STYLE_WORDS, err));
    for (int64_t c = 0, at = 0; c < n_chunks; at += (int64_t)chunks[c++].n) {
        const struct chunk *chunk = &chunks[c];
        if (chunk->n) {
            memcpy(out->ids + at, chunk->ids, chunk->n * sizeof(*out->ids));
            memcpy(out->types + at, chunk->types, chunk->n);
            if (out->words)
                memcpy(out->words + at, chunk->words, chunk->n * sizeof(*out->words));
        }
        for (size_t r = 0; r < chunk->n_rows; r++)
            take_row(out, chunk->lengths[r], o->max_length, o->packs);
        out->n_truncated += chunk->n_truncated;
        out->n_left_out += chunk->n_left_out;
    }
    for (int64_t r = 0; r < out->n_rows; r++) {
        out->weights[r] = style == UM_STYLE_PAIR;
        for (int64_t i = out->offsets[r]; style != UM_STYLE_PAIR && i < out->offsets[r + 1]; i++)
            out->weights[r] += out->words ? out->words[i] >= 0 : out->types[i] == UM_MARK_LEARNT;
    }
    return UM_OK;
}

enum um_status um_encoded_open(struct um_encoded *encoded, const struct um_dataset *data,
                               const struct um_encode_options *o, struct um_error *err)
{
    int64_t n_chunks = (data->n_rows + CHUNK_ROWS - 1) / CHUNK_ROWS, failed = n_chunks;
    struct chunk *chunks = UM_NEW(n_chunks, struct chunk);
    enum um_status status = UM_OK;
    *encoded = (struct um_encoded){0};
    if (!chunks)
        UM_TRY(um_fail_memory(err, "encoded rows", (size_t)n_chunks * sizeof(*chunks)));
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = 0; c < n_chunks; c++) {
        struct um_error fault;
        enum um_status s = encode_chunk(&chunks[c], data, o, c * CHUNK_ROWS, &fault);
#pragma omp critical
        if (s != UM_OK && c < failed) { /* the first chunk at fault, whichever came first */
            failed = c;
            status = s;
            if (err)
                *err = fault;
        }
    }
    if (status == UM_OK)
        status = join(encoded, chunks, n_chunks, o, err);
    if (status == UM_OK && encoded->n_rows == 0)
        status = um_fail(err, UM_E_INPUT,
                         "'%s': no row has anything to learn within %lld tokens", data->table.path,
                         (long long)o->max_length);
out:
    free_chunks(chunks, n_chunks);
    if (status != UM_OK)
        um_encoded_close(encoded);
    return status;
}

static void move_row(struct um_encoded *e, int64_t to, int64_t from)
{
    size_t n = (size_t)e->lengths[from];
    int64_t at = e->offsets[from], start = e->offsets[to];
    memmove(e->ids + start, e->ids + at, n * sizeof(*e->ids));
    memmove(e->types + start, e->types + at, n * sizeof(*e->types));
    memmove(e->words + start, e->words + at, n * sizeof(*e->words));
    e->lengths[to] = e->lengths[from];
    e->weights[to] = e->weights[from];
    e->offsets[to + 1] = start + e->lengths[to];
}

enum um_status um_encoded_leave_out(struct um_encoded *e, struct um_dataset *data,
                                    struct um_error *err)
{
    int64_t n = 0;
    for (int64_t row = 0; e->words && row < e->n_rows; row++) {
        if (e->weights[row] == 0)
            continue;
        move_row(e, n, row);
        data->rows[n++] = data->rows[row];
    }
    if (!e->words || n == e->n_rows)
        return UM_OK;
    e->n_left_out += e->n_rows - n;
    data->n_rows = e->n_rows = n;
    return n ? UM_OK
             : um_fail(err, UM_E_INPUT, "'%s': the model sees no word of any row",
                       data->table.path);
}

int64_t um_encoded_bytes(const struct um_encoded *encoded)
{
    int64_t n_rows = encoded->n_rows, n_tokens = n_rows ? encoded->offsets[n_rows] : 0;
    size_t word = encoded->words ? sizeof(*encoded->words) : 0;
    return n_tokens * (int64_t)(sizeof(*encoded->ids) + sizeof(*encoded->types) + word) +
           n_rows * (int64_t)(sizeof(*encoded->offsets) + sizeof(*encoded->lengths) +
                              sizeof(*encoded->weights));
}

void um_encoded_close(struct um_encoded *encoded)
{
    um_free(encoded->ids);
    um_free(encoded->types);
    um_free(encoded->words);
    um_free(encoded->offsets);
    um_free(encoded->lengths);
    um_free(encoded->weights);
    *encoded = (struct um_encoded){0};
}
