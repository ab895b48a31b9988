/* Orders of rows: Fisher-Yates from a counter-based generator, and grouping by length. */
#include "data/batches.h"

#include "base/mem.h"
#include "base/philox.h"

enum { GROUP_BATCHES = 50 }; /* batches whose rows are sorted together, as in transformers */

const char *const um_order_names[UM_N_ORDERS] = {"shuffle", "sequential", "grouped"};

enum um_status um_batches_open(struct um_batches *batches, enum um_order order, int64_t n_rows,
                               int64_t batch, uint64_t seed, const int64_t *lengths,
                               struct um_error *err)
{
    *batches = (struct um_batches){.order = order, .n_rows = n_rows, .batch = batch,
                                   .seed = seed, .lengths = lengths, .epoch = -1};
    batches->permutation = UM_NEW(2 * n_rows, int64_t); /* the second half is for sorting */
    return batches->permutation ? UM_OK
                                : um_fail_memory(err, "the order of rows", (size_t)n_rows * 16);
}

void um_batches_close(struct um_batches *batches)
{
    um_free(batches->permutation);
    *batches = (struct um_batches){0};
}

int64_t um_batches_per_epoch(const struct um_batches *b)
{
    return (b->n_rows + b->batch - 1) / b->batch;
}

static void shuffle(int64_t *items, int64_t n, struct um_random *random)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)um_random_below(random, (uint64_t)i + 1), swap = items[i];
        items[i] = items[j];
        items[j] = swap;
    }
}

/* Sorts rows by length, longest first; equal lengths stay in order (merge sort, bottom up). */
static void sort_by_length(int64_t *rows, int64_t n, const int64_t *lengths, int64_t *scratch)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t low = 0; low < n; low += 2 * width) {
            int64_t middle = low + width < n ? low + width : n;
            int64_t high = low + 2 * width < n ? low + 2 * width : n;
            for (int64_t a = low, b = middle, k = low; k < high; k++) {
                bool takes_a = a < middle && (b >= high || lengths[rows[a]] >= lengths[rows[b]]);
                scratch[k] = takes_a ? rows[a++] : rows[b++];
            }
        }
        for (int64_t i = 0; i < n; i++)
            rows[i] = scratch[i];
    }
}

/* Full batches of like length in random order; a smaller last batch stays last. */
static void group(struct um_batches *b, struct um_random *random, int64_t *scratch)
{
    int64_t *rows = b->permutation, span = b->batch * GROUP_BATCHES;
    for (int64_t start = 0; start < b->n_rows; start += span)
        sort_by_length(rows + start, b->n_rows - start < span ? b->n_rows - start : span,
                       b->lengths, scratch);
    int64_t n_full = b->n_rows / b->batch, longest = 0;
    for (int64_t i = n_full - 1; i > 0; i--) {
        int64_t j = (int64_t)um_random_below(random, (uint64_t)i + 1);
        for (int64_t k = 0; k < b->batch; k++) {
            int64_t swap = rows[i * b->batch + k];
            rows[i * b->batch + k] = rows[j * b->batch + k];
            rows[j * b->batch + k] = swap;
        }
    }
    for (int64_t i = 1; i < n_full; i++)
        if (b->lengths[rows[i * b->batch]] > b->lengths[rows[longest * b->batch]])
            longest = i;
    for (int64_t k = 0; n_full && k < b->batch; k++) { /* the longest shows the peak at once */
        int64_t swap = rows[k];
        rows[k] = rows[longest * b->batch + k];
        rows[longest * b->batch + k] = swap;
    }
}

static void permute(struct um_batches *b, int64_t epoch)
{
    struct um_random random = {.seed = b->seed, .stream = ((uint64_t)epoch << 8) + 1};
    for (int64_t i = 0; i < b->n_rows; i++)
        b->permutation[i] = i;
    if (b->order != UM_ORDER_SEQUENTIAL)
        shuffle(b->permutation, b->n_rows, &random);
    if (b->order == UM_ORDER_GROUPED)
        group(b, &random, b->permutation + b->n_rows);
    b->epoch = epoch;
}

const int64_t *um_batches_rows(int64_t *n, struct um_batches *b, int64_t epoch, int64_t index)
{
    if (b->epoch != epoch)
        permute(b, epoch);
    int64_t start = index * b->batch, left = b->n_rows - start;
    *n = left < b->batch ? left : b->batch;
    return b->permutation + start;
}
