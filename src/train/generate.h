/*
 * Going on with texts: several at a time share each pass over the weights; when one ends, the next
 * takes its slot.
 */
#ifndef UM_TRAIN_GENERATE_H
#define UM_TRAIN_GENERATE_H

#include "train/engine.h"

/* A prompt in tokens (borrows). */
struct um_prompt {
    const int32_t *ids;
    int64_t n;
};

/* Text `index` is finished. Returning false ends the whole job with UM_E_INTERRUPTED. */
typedef bool um_finished_fn(int64_t index, const struct um_generation *generation, void *user);

struct um_generate_job {
    struct um_engine *engine;
    const struct um_tokenizer *tokenizer;
    const struct um_prompt *prompts; /* n */
    int64_t n;
    const struct um_generate_options *options;
    const char *end_text;     /* ends a text as the options' stops do; NULL: none */
    um_text_fn *visit;        /* may be NULL */
    um_finished_fn *finished; /* may be NULL */
    void *user;
};

/* Fills out[0..n) (free each with um_generation_free, also after a failure). */
enum um_status um_generate(struct um_generation *out, const struct um_generate_job *job,
                           struct um_error *err);

/* What a job takes of memory, found without taking it. */
struct um_generate_need {
    size_t pool_bytes; /* activations: what the engine's pool must hold */
    size_t held_bytes; /* keys, values and logits beside them */
};
enum um_status um_generate_plan(struct um_generate_need *need, const struct um_generate_job *job,
                                struct um_error *err);

#endif
