/*
 * What a run stands on, in short: the rows that it trains on and the base that it changes. A
 * checkpoint holds both, so that a run does not go on on others unnoticed.
 *
 * Of the base only a sample is read, so that a model of many gigabytes costs no time: of each
 * tensor that the model has, name, type, size, and pieces of its bytes, small tensors whole. That
 * tells another model, another training of it, and even a merged sparse delta (of its changes some
 * hit one of a model's hundreds of thousands of sampled values). What it can miss is a change of a
 * few values, or of settings in config.json; a delta holds the full hash of the tensors that it
 * touches (delta/delta.h).
 */
#include <string.h>

#include "train/run.h"

const char *um_run_data_digest(struct um_run *run)
{
    const struct um_encoded *tokens = &run->train_tokens;
    unsigned char digest[UM_SHA256_BYTES];
    struct um_sha256 h;
    if (*run->data_digest)
        return run->data_digest;
    um_sha256_begin(&h);
    um_sha256_add(&h, tokens->offsets, (size_t)(tokens->n_rows + 1) * sizeof(*tokens->offsets));
    size_t n = (size_t)tokens->offsets[tokens->n_rows];
    um_sha256_add(&h, tokens->ids, n * sizeof(*tokens->ids));
    um_sha256_add(&h, tokens->types, n * sizeof(*tokens->types)); /* what is learnt */
    if (tokens->words)
        um_sha256_add(&h, tokens->words, n * sizeof(*tokens->words));
    for (int64_t i = 0; i < run->train.n_rows; i++) {
        const struct um_row *row = &run->train.rows[i];
        um_sha256_add(&h, &row->label, sizeof(row->label));
        um_sha256_add(&h, &row->target, sizeof(row->target));
        if (row->tags)
            um_sha256_add(&h, row->tags, (size_t)row->n_words * sizeof(*row->tags));
    }
    um_sha256_end(digest, &h);
    um_sha256_text(run->data_digest, digest);
    return run->data_digest;
}

static void add_tensor(struct um_sha256 *h, const struct um_tensor_view *tensor)
{
    enum { N_PIECES = 4, PIECE_BYTES = 4096 };
    const char *dtype = um_dtype_name(tensor->dtype);
    size_t n = tensor->n_bytes;
    um_sha256_add(h, tensor->name, strlen(tensor->name) + 1);
    um_sha256_add(h, dtype, strlen(dtype) + 1);
    um_sha256_add(h, &n, sizeof(n));
    if (n <= (size_t)N_PIECES * PIECE_BYTES) {
        um_sha256_add(h, tensor->bytes, n);
        return;
    }
    for (size_t i = 0; i < N_PIECES; i++) /* from the first bytes to the last ones */
        um_sha256_add(h, tensor->bytes + (n - PIECE_BYTES) / (N_PIECES - 1) * i, PIECE_BYTES);
}

/* Of the files: in memory the weights may have been trained already. */
enum um_status um_run_base_digest(const char **out, struct um_run *run, struct um_error *err)
{
    unsigned char digest[UM_SHA256_BYTES];
    struct um_sha256 h;
    struct um_folder base;
    *out = run->base_digest;
    if (*run->base_digest)
        return UM_OK;
    UM_RETURN_IF(um_folder_open(&base, run->config->model, err));
    um_sha256_begin(&h);
    for (int64_t p = 0; p < run->tm.model.n_params; p++) {
        const struct um_tensor_view *tensor = um_folder_find(&base, run->tm.model.params[p].name);
        if (tensor)
            add_tensor(&h, tensor);
    }
    um_sha256_end(digest, &h);
    um_sha256_text(run->base_digest, digest);
    um_folder_close(&base);
    return UM_OK;
}
