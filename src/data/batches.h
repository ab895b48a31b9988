/*
 * The order of rows: which rows make up batch number i of epoch e. A pure function of (options,
 * lengths, epoch), so that resuming needs no more than the step's number.
 */
#ifndef UM_DATA_BATCHES_H
#define UM_DATA_BATCHES_H

#include "base/error.h"
#include "unmask.h"

enum um_order {
    UM_ORDER_SHUFFLE,    /* a fresh permutation every epoch */
    UM_ORDER_SEQUENTIAL, /* batch i is rows i*b..i*b+b-1 */
    UM_ORDER_GROUPED,    /* shuffled, rows of like length together, the longest batch first */
    UM_N_ORDERS
};
extern const char *const um_order_names[UM_N_ORDERS];

struct um_batches {
    enum um_order order;
    int64_t n_rows, batch;
    uint64_t seed;
    const int64_t *lengths; /* tokens of each row (borrows) */
    int64_t epoch;          /* of the permutation below; -1 = none yet */
    int64_t *permutation;   /* n_rows, and as much scratch; owned */
};

enum um_status um_batches_open(struct um_batches *batches, enum um_order order, int64_t n_rows,
                               int64_t batch, uint64_t seed, const int64_t *lengths,
                               struct um_error *err);
void um_batches_close(struct um_batches *batches);
int64_t um_batches_per_epoch(const struct um_batches *batches);
/* The rows of a batch (borrows until the next call) and how many: the last may be smaller. */
const int64_t *um_batches_rows(int64_t *n, struct um_batches *batches, int64_t epoch,
                               int64_t index);

#endif
