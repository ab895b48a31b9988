/* A data set in tokens: all rows' ids end to end, encoded by all threads. */
#ifndef UM_DATA_ENCODED_H
#define UM_DATA_ENCODED_H

#include "data/task.h"
#include "unmask.h"

struct um_encoded {
    int32_t *ids;
    uint8_t *types;
    int64_t *offsets;  /* n_rows + 1 */
    int64_t *lengths;  /* n_rows */
    int64_t n_rows, n_truncated; /* rows cut to fit */
};

/* Encodes every row, cut to max_length tokens. Ids must be below n_vocabulary. */
enum um_status um_encoded_open(struct um_encoded *encoded, const struct um_tokenizer *tokenizer,
                               const struct um_row *rows, int64_t n_rows, int64_t max_length,
                               int64_t n_vocabulary, struct um_error *err);
void um_encoded_close(struct um_encoded *encoded);

#endif
