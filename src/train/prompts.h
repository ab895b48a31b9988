/* Prompts in tokens, gathered one by one into one block of memory. */
#ifndef UM_TRAIN_PROMPTS_H
#define UM_TRAIN_PROMPTS_H

#include "train/generate.h"

struct um_prompts {
    struct um_prompt *items; /* n, once all are there (um_prompts_end) */
    int64_t n;
    int32_t *ids;  /* end to end */
    int64_t *ends; /* n: where prompt i ends */
    size_t n_ids, ids_capacity, ends_capacity;
};

enum um_status um_prompts_add(struct um_prompts *prompts, const int32_t *ids, size_t n,
                              struct um_error *err);
/* Makes items[0..n), which borrow the ids. */
enum um_status um_prompts_end(struct um_prompts *prompts, struct um_error *err);
void um_prompts_free(struct um_prompts *prompts);

#endif
