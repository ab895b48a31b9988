/* Gathering prompts. */
#include "train/prompts.h"

#include <string.h>

enum um_status um_prompts_add(struct um_prompts *p, const int32_t *ids, size_t n,
                              struct um_error *err)
{
    if (!um_grow(&p->ids, &p->ids_capacity, p->n_ids + n, sizeof(*p->ids)) ||
        !um_grow(&p->ends, &p->ends_capacity, (size_t)p->n + 1, sizeof(*p->ends)))
        return um_fail_memory(err, "prompts", (p->n_ids + n) * sizeof(*p->ids));
    if (n)
        memcpy(p->ids + p->n_ids, ids, n * sizeof(*ids));
    p->n_ids += n;
    p->ends[p->n++] = (int64_t)p->n_ids;
    return UM_OK;
}

enum um_status um_prompts_end(struct um_prompts *p, struct um_error *err)
{
    um_free(p->items);
    p->items = UM_NEW(p->n, struct um_prompt);
    if (!p->items)
        return um_fail_memory(err, "prompts", (size_t)p->n * sizeof(*p->items));
    for (int64_t i = 0, start = 0; i < p->n; start = p->ends[i++])
        p->items[i] = (struct um_prompt){p->ids + start, p->ends[i] - start};
    return UM_OK;
}

void um_prompts_free(struct um_prompts *p)
{
    um_free(p->items);
    um_free(p->ids);
    um_free(p->ends);
    *p = (struct um_prompts){0};
}
