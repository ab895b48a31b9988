/* Encoding rows in parallel: chunks of rows into buffers of their own, then joined in order. */
#include "data/encoded.h"

#include <string.h>

struct chunk {
    int32_t *ids;
    uint8_t *types;
    size_t n, ids_capacity, types_capacity;
};

enum { CHUNK_ROWS = 256 };

struct job {
    const struct um_tokenizer *tokenizer;
    const struct um_row *rows;
    int64_t n_rows, max_length, n_vocabulary;
    struct um_encoded *out;
};

static enum um_status add_row(struct chunk *c, struct um_tokens *tokens, const struct job *job,
                              int64_t row, struct um_error *err)
{
    const struct um_row *r = &job->rows[row];
    UM_RETURN_IF(um_tokenizer_encode(tokens, job->tokenizer, r->text, r->n_text, r->pair,
                                     r->n_pair, true, job->max_length, err));
    if (!um_grow(&c->ids, &c->ids_capacity, c->n + tokens->n, sizeof(*c->ids)) ||
        !um_grow(&c->types, &c->types_capacity, c->n + tokens->n, sizeof(*c->types)))
        return um_fail_memory(err, "encoded rows", c->n * sizeof(*c->ids));
    for (size_t i = 0; i < tokens->n; i++) {
        if (tokens->ids[i] >= job->n_vocabulary)
            return um_fail(err, UM_E_INPUT,
                           "the tokenizer gives id %d ('%s'), but the model knows %lld: they do "
                           "not belong together",
                           tokens->ids[i], um_tokenizer_token(job->tokenizer, tokens->ids[i]),
                           (long long)job->n_vocabulary);
        c->ids[c->n + i] = tokens->ids[i];
        c->types[c->n + i] = (uint8_t)tokens->types[i];
    }
    c->n += tokens->n;
    job->out->lengths[row] = tokens->n_truncated ? -(int64_t)tokens->n : (int64_t)tokens->n;
    return UM_OK;
}

static enum um_status encode_chunk(struct chunk *c, const struct job *job, int64_t first,
                                   struct um_error *err)
{
    struct um_tokens tokens = {0};
    enum um_status status = UM_OK;
    int64_t last = first + CHUNK_ROWS < job->n_rows ? first + CHUNK_ROWS : job->n_rows;
    for (int64_t row = first; row < last && status == UM_OK; row++)
        status = add_row(c, &tokens, job, row, err);
    um_tokens_free(&tokens);
    return status;
}

/* Lengths were marked by their sign where a row was cut. */
static enum um_status join(struct um_encoded *out, const struct chunk *chunks, int64_t n_chunks,
                           struct um_error *err)
{
    size_t n = 0;
    for (int64_t c = 0; c < n_chunks; c++)
        n += chunks[c].n;
    out->ids = um_alloc(n * sizeof(*out->ids));
    out->types = um_alloc(n);
    if (!out->ids || !out->types)
        return um_fail_memory(err, "encoded rows", n * sizeof(*out->ids));
    n = 0;
    for (int64_t c = 0; c < n_chunks; c++) {
        if (chunks[c].n) {
            memcpy(out->ids + n, chunks[c].ids, chunks[c].n * sizeof(*out->ids));
            memcpy(out->types + n, chunks[c].types, chunks[c].n);
        }
        n += chunks[c].n;
    }
    for (int64_t i = 0; i < out->n_rows; i++) {
        out->n_truncated += out->lengths[i] < 0;
        out->lengths[i] = out->lengths[i] < 0 ? -out->lengths[i] : out->lengths[i];
        out->offsets[i + 1] = out->offsets[i] + out->lengths[i];
    }
    return UM_OK;
}

enum um_status um_encoded_open(struct um_encoded *encoded, const struct um_tokenizer *tokenizer,
                               const struct um_row *rows, int64_t n_rows, int64_t max_length,
                               int64_t n_vocabulary, struct um_error *err)
{
    int64_t n_chunks = (n_rows + CHUNK_ROWS - 1) / CHUNK_ROWS, failed = n_chunks;
    struct chunk *chunks = UM_NEW(n_chunks, struct chunk);
    enum um_status status = UM_OK;
    *encoded = (struct um_encoded){.n_rows = n_rows,
                                   .offsets = UM_NEW(n_rows + 1, int64_t),
                                   .lengths = UM_NEW(n_rows, int64_t)};
    struct job job = {tokenizer, rows, n_rows, max_length, n_vocabulary, encoded};
    if (!chunks || !encoded->offsets || !encoded->lengths)
        UM_TRY(um_fail_memory(err, "encoded rows", (size_t)n_rows * 16));
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = 0; c < n_chunks; c++) {
        struct um_error fault;
        enum um_status s = encode_chunk(&chunks[c], &job, c * CHUNK_ROWS, &fault);
#pragma omp critical
        if (s != UM_OK && c < failed) { /* the first chunk at fault, whichever came first */
            failed = c;
            status = s;
            if (err)
                *err = fault;
        }
    }
    if (status == UM_OK)
        status = join(encoded, chunks, n_chunks, err);
out:
    for (int64_t c = 0; chunks && c < n_chunks; c++) {
        um_free(chunks[c].ids);
        um_free(chunks[c].types);
    }
    um_free(chunks);
    if (status != UM_OK)
        um_encoded_close(encoded);
    return status;
}

void um_encoded_close(struct um_encoded *encoded)
{
    um_free(encoded->ids);
    um_free(encoded->types);
    um_free(encoded->offsets);
    um_free(encoded->lengths);
    *encoded = (struct um_encoded){0};
}
