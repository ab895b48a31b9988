/* A data set in tokens: all rows' ids end to end, encoded by all threads. */
#ifndef UM_DATA_ENCODED_H
#define UM_DATA_ENCODED_H

#include "data/prose.h"

/* What is said of a token. */
enum um_mark {
    UM_MARK_LEARNT = 1, /* style other than PAIR: it is to be predicted */
    UM_MARK_START = 2,  /* it starts a sequence of its own within the row */
};

struct um_encoded {
    int32_t *ids;
    uint8_t *types;    /* segment numbers, or marks */
    int64_t *offsets;  /* n_rows + 1 */
    int32_t *words; /* style WORDS: the word of the row that a token begins; -1: none. Else NULL */
    int64_t *lengths;  /* n_rows */
    int64_t *weights;  /* n_rows: losses of the row: 1, or its words or predicted tokens */
    int64_t n_rows;
    int64_t n_truncated; /* rows cut to fit, not left out */
    int64_t n_left_out;  /* rows with nothing to learn within max_length */
};

struct um_encode_options {
    const struct um_tokenizer *tokenizer; /* borrows */
    int64_t max_length;   /* of a row in tokens */
    int64_t n_vocabulary; /* ids must be below */
    int64_t n_types;      /* segment numbers must be below, if the model has any: else 0 */
    struct um_prose_options prose;
    bool packs;           /* several short rows become one, as sequences of their own */
};

/* UM_E_INPUT if a tokenizer's id is none of the model's. */
enum um_status um_check_ids(const struct um_tokenizer *tokenizer, const int32_t *ids, size_t n,
                            int64_t n_vocabulary, struct um_error *err);
/*
 * Encodes every row of a data set, cut to max_length tokens. A document (style PLAIN) is cut into
 * as many rows as it takes; prose of other styles with nothing left to learn is left out. So row i
 * of the result is row i of the data set for styles PAIR and WORDS only.
 */
enum um_status um_encoded_open(struct um_encoded *encoded, const struct um_dataset *data,
                               const struct um_encode_options *options, struct um_error *err);
/* Takes rows of words out of both of which no word begins a token: nothing is learnt of them.
 * UM_E_INPUT if none is left. */
enum um_status um_encoded_leave_out(struct um_encoded *encoded, struct um_dataset *data,
                                    struct um_error *err);
int64_t um_encoded_bytes(const struct um_encoded *encoded); /* of memory */
void um_encoded_close(struct um_encoded *encoded);

#endif
