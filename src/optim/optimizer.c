/* AdamW and SGD on sparse state, and the clipping norm. */
#include "optim/optimizer.h"

#include <math.h>

#include "tensor/kernels.h"

static void adamw_columns(bool has_column[UM_N_COLUMNS], const struct um_optimizer_options *options)
{
    has_column[UM_COLUMN_FIRST] = has_column[UM_COLUMN_SECOND] = true;
    if (options->is_age_per_parameter)
        has_column[UM_COLUMN_BORN] = true;
}

/* Elements of a chunk share an age: all of an entry, or one element. */
static void adamw_chunk(struct um_entry *entry, int64_t first, int64_t n,
                        const struct um_optimizer_options *o, double lr, double g_scale,
                        int64_t age)
{
    double correction1 = 1 - pow(o->beta1, (double)age),
           correction2 = 1 - pow(o->beta2, (double)age);
    um_kernels()->adamw(um_entry_values(entry) + first, entry->column[UM_COLUMN_FIRST] + first,
                        entry->column[UM_COLUMN_SECOND] + first,
                        entry->column[UM_COLUMN_GRAD] + first, n, (float)g_scale,
                        (float)(1 - o->beta1), (float)o->beta2, (float)(1 - o->beta2),
                        (float)(lr / correction1), (float)(1 / sqrt(correction2)), (float)o->eps,
                        (float)(1 - lr * o->weight_decay));
}

static void adamw_update(struct um_entry *entry, const struct um_optimizer_options *o, double lr,
                         double g_scale, int64_t step)
{
    enum { CHUNK = 1 << 16 };
    const float *born = entry->column[UM_COLUMN_BORN];
    if (o->is_age_per_parameter && born) {
        for (int64_t i = 0; i < entry->n; i++)
            adamw_chunk(entry, i, 1, o, lr, g_scale, step + 1 - (int64_t)born[i]);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < entry->n; i += CHUNK)
        adamw_chunk(entry, i, entry->n - i < CHUNK ? entry->n - i : CHUNK, o, lr, g_scale,
                    step + 1);
}

static void sgd_columns(bool has_column[UM_N_COLUMNS], const struct um_optimizer_options *options)
{
    if (options->momentum > 0)
        has_column[UM_COLUMN_FIRST] = true;
}

static void sgd_update(struct um_entry *entry, const struct um_optimizer_options *o, double lr,
                       double g_scale, int64_t step)
{
    (void)step;
    float *w = um_entry_values(entry), *m = entry->column[UM_COLUMN_FIRST];
    const float *g = entry->column[UM_COLUMN_GRAD];
    float rate = (float)lr, momentum = (float)o->momentum, scale = (float)g_scale;
    float decay = (float)(1 - lr * o->weight_decay);
    for (int64_t i = 0; i < entry->n; i++) {
        float d = g[i] * scale;
        if (m)
            d = m[i] = momentum * m[i] + d;
        w[i] = w[i] * decay - rate * d;
    }
}

const struct um_optimizer um_optimizers[] = {
    {.name = "adamw",
     .summary = "AdamW: decoupled weight decay",
     .has_moments = true,
     .columns = adamw_columns,
     .update = adamw_update},
    {.name = "sgd",
     .summary = "SGD, with momentum if optimizer.momentum is set",
     .has_momentum = true,
     .columns = sgd_columns,
     .update = sgd_update},
};
const size_t um_n_optimizers = UM_COUNT(um_optimizers);

const struct um_optimizer *um_optimizer_find(const char *name)
{
    return um_find_row(um_optimizers, um_n_optimizers, sizeof(*um_optimizers), name);
}

double um_grad_norm(const struct um_trainable *set)
{
    enum { CHUNK = 1 << 14 };
    double sum = 0;
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_entry *entry = &set->entries[e];
        for (int64_t i = 0; i < entry->n; i += CHUNK)
            sum += um_kernels()->sum_squares_f64(entry->column[UM_COLUMN_GRAD] + i,
                                                 entry->n - i < CHUNK ? entry->n - i : CHUNK);
    }
    return sqrt(sum);
}

double um_clip_scale(const struct um_optimizer_options *options, double norm)
{
    bool clips = options->clip > 0 && norm > options->clip;
    return clips ? options->clip / (norm + 1e-6) : 1; /* as torch.nn.utils.clip_grad_norm_ */
}

void um_optimizer_step(const struct um_optimizer *optimizer, struct um_trainable *set,
                       const struct um_optimizer_options *options, double norm, double lr,
                       int64_t step)
{
    double g_scale = um_clip_scale(options, norm);
    for (size_t e = 0; e < set->n_entries; e++) {
        if (set->entries[e].n == 0)
            continue;
        optimizer->update(&set->entries[e], options, lr, g_scale, step);
        um_entry_publish(&set->entries[e]);
    }
}
