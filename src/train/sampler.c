/* From logits to a token. The likeliest come from a heap: few are asked for, so nothing is sorted.
 */
#include "train/sampler.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* Tokens e^40 times less likely than the best never come up. */
#define NEVER (-40.0F)

enum um_status um_sampler_open(struct um_sampler *s, int64_t n_vocabulary,
                               const struct um_generate_options *options, struct um_error *err)
{
    *s = (struct um_sampler){.options = options,
                             .n_vocabulary = n_vocabulary,
                             .tokens = UM_NEW(n_vocabulary, struct um_likely),
                             .is_seen = UM_NEW(n_vocabulary, unsigned char)};
    if (s->tokens && s->is_seen)
        return UM_OK;
    um_sampler_close(s);
    return um_fail_memory(err, "sampling", (size_t)n_vocabulary * sizeof(struct um_likely));
}

void um_sampler_close(struct um_sampler *s)
{
    um_free(s->tokens);
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

/* ---- a heap: no token is likelier than the one at half its place */

static bool is_likelier(struct um_likely a, struct um_likely b)
{
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

static void sink(struct um_likely *heap, int64_t n, int64_t at)
{
    struct um_likely token = heap[at];
    for (int64_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && is_likelier(heap[child + 1], heap[child]))
            child++;
        if (!is_likelier(heap[child], token))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = token;
}

/* Takes the likeliest of n, which then stands behind the other n - 1. */
static float take_likeliest(struct um_likely *heap, int64_t n)
{
    struct um_likely best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sink(heap, n - 1, 0);
    return best.weight;
}

static double sum_weights(const struct um_likely *tokens, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)tokens[i].weight;
    return sum;
}

/* The number of n tokens that top_k and top_p keep; they stand at the end, the likeliest last. */
static int64_t keep_likeliest(struct um_likely *tokens, int64_t n,
                              const struct um_generate_options *o)
{
    int64_t n_taken = 0, n_kept = 0, limit = o->top_k > 0 && o->top_k < n ? o->top_k : n;
    if (limit == n && o->top_p <= 0)
        return n;
    for (int64_t i = n / 2; i-- > 0;)
        sink(tokens, n, i);
    if (limit < n)
        for (; n_taken < limit; n_taken++)
            (void)take_likeliest(tokens, n - n_taken);
    if (o->top_p <= 0)
        return limit;
    /* Kept: those before which less than top_p of the whole stands; the first always. */
    double reached = 0, share = o->top_p * sum_weights(tokens + n - limit, limit);
    for (; n_kept < limit && (n_kept == 0 || reached < share); n_kept++) {
        if (n_kept == n_taken)
            (void)take_likeliest(tokens, n - n_taken++);
        reached += (double)tokens[n - 1 - n_kept].weight;
    }
    return n_kept;
}

void um_sampler_weigh(struct um_sampler *s, float *logits, const int32_t *seen, int64_t n_seen)
{
    const struct um_generate_options *o = s->options;
    int64_t n = 0;
    if (o->repetition_penalty > 0 && o->repetition_penalty != 1)
        penalise(s, logits, seen, n_seen);
    int32_t best = greatest(logits, s->n_vocabulary);
    if (o->temperature <= 0) {
        s->tokens[n++] = (struct um_likely){1, best};
    } else {
        float most = logits[best], scale = (float)(1 / o->temperature);
        for (int64_t i = 0; i < s->n_vocabulary; i++) {
            float below = (logits[i] - most) * scale;
            if (below > NEVER)
                s->tokens[n++] = (struct um_likely){expf(below), (int32_t)i};
        }
    }
    if (n == 0) /* logits that are no numbers */
        s->tokens[n++] = (struct um_likely){1, best};
    s->n_choices = keep_likeliest(s->tokens, n, o);
    s->choices = s->tokens + n - s->n_choices;
}

int32_t um_sampler_next(struct um_sampler *s, float *logits, const int32_t *seen, int64_t n_seen,
                        struct um_random *random)
{
    um_sampler_weigh(s, logits, seen, n_seen);
    int64_t i = s->n_choices - 1;
    if (i == 0)
        return s->choices[0].id;
    double left = um_random_unit(random) * sum_weights(s->choices, s->n_choices);
    for (; i > 0; i--) {
        left -= (double)s->choices[i].weight;
        if (left < 0)
            break;
    }
    return s->choices[i].id;
}
