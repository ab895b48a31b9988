/* From logits to a token. */
#include "train/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* Tokens e^40 times less likely than the best need not be sorted to never come up. */
#define NEVER (-40.0)

struct um_likely {
    float logit; /* over the temperature, less the greatest */
    int32_t id;
};

enum um_status um_sampler_open(struct um_sampler *s, int64_t n_vocabulary,
                               const struct um_generate_options *options, struct um_error *err)
{
    *s = (struct um_sampler){.options = options,
                             .n_vocabulary = n_vocabulary,
                             .order = UM_NEW(n_vocabulary, struct um_likely),
                             .is_seen = UM_NEW(n_vocabulary, unsigned char)};
    if (s->order && s->is_seen)
        return UM_OK;
    um_sampler_close(s);
    return um_fail_memory(err, "sampling", (size_t)n_vocabulary * sizeof(struct um_likely));
}

void um_sampler_close(struct um_sampler *s)
{
    um_free(s->order);
    um_free(s->is_seen);
    *s = (struct um_sampler){0};
}

/* Positive logits are divided by the penalty, negative ones multiplied; each token once. */
static void penalise(struct um_sampler *s, float *logits, const int32_t *seen, int64_t n)
{
    float penalty = (float)s->options->repetition_penalty;
    memset(s->is_seen, 0, (size_t)s->n_vocabulary);
    for (int64_t i = 0; i < n; i++) {
        float *logit = &logits[seen[i]];
        if (!s->is_seen[seen[i]])
            *logit = *logit < 0 ? *logit * penalty : *logit / penalty;
        s->is_seen[seen[i]] = 1;
    }
}

static int32_t greatest(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

static int likelier_first(const void *a, const void *b)
{
    const struct um_likely *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

int32_t um_sampler_next(struct um_sampler *s, float *logits, const int32_t *seen, int64_t n_seen,
                        struct um_random *random)
{
    const struct um_generate_options *o = s->options;
    int64_t n = 0;
    if (o->repetition_penalty > 0 && o->repetition_penalty != 1)
        penalise(s, logits, seen, n_seen);
    if (o->temperature == 0)
        return greatest(logits, s->n_vocabulary);
    float best = logits[greatest(logits, s->n_vocabulary)];
    for (int64_t i = 0; i < s->n_vocabulary; i++) {
        double below = (double)(logits[i] - best) / o->temperature;
        if (below > NEVER)
            s->order[n++] = (struct um_likely){(float)below, (int32_t)i};
    }
    qsort(s->order, (size_t)n, sizeof(*s->order), likelier_first);
    if (o->top_k > 0 && o->top_k < n)
        n = o->top_k;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)s->order[i].logit);
    /* Kept: those before which less than top_p of the whole stands; the first always. */
    double kept = 0;
    int64_t k = 0;
    for (; k < n && (k == 0 || o->top_p <= 0 || kept < o->top_p * sum); k++)
        kept += exp((double)s->order[k].logit);
    double left = um_random_unit(random) * kept;
    for (int64_t i = 0; i < k; i++) {
        left -= exp((double)s->order[i].logit);
        if (left < 0)
            return s->order[i].id;
    }
    return s->order[k - 1].id;
}
