/*
 * The generation loop: prompts into slots, tokens out of logits, text out of tokens. What all
 * prompts begin with (instructions, examples) is gone through once and copied from a slot of its
 * own.
 */
#include "train/generate.h"

#include <string.h>

#include "base/cpu.h"
#include "train/sampler.h"

enum {
    PASS_TOKENS = 2048, /* of prompts in one pass, but for a single longer one */
    SHARED_MIN = 8,     /* tokens at a beginning that are worth a slot */
};

/* One text being written. */
struct writing {
    int64_t index;              /* of the prompt; -1: the slot is free */
    struct um_decoder *decoder;
    struct um_str text;         /* new text so far */
    size_t n_shown;             /* of it, handed to the visitor */
    int32_t *ids;               /* prompt and new tokens */
    int64_t n_ids, n_prompt, n_max;
    size_t ids_capacity;
    struct um_random random;
    double prompt_seconds, seconds;
    bool is_over;
    enum um_stop stop;
};

struct generator {
    const struct um_generate_job *job;
    const struct um_generate_options *options;
    struct um_generation *out;
    struct um_sampler sampler;
    struct um_cache cache;
    struct um_batch batch;
    struct um_step step; /* going on, recorded */
    struct writing *slots;
    int32_t *rows;    /* slots of the batch's sequences */
    float *logits;    /* [n_slots, V] */
    int64_t n_slots, n_begun, n_active;
    int64_t n_shared; /* tokens that all prompts begin with, in slot n_slots of the cache */
    size_t n_stops, longest_stop;
};

/* Texts that end a text: the options', and the job's. */
static const char *stop_at(const struct generator *g, size_t i)
{
    return i < g->options->n_stops ? g->options->stops[i] : g->job->end_text;
}

void um_generation_free(struct um_generation *generation)
{
    if (!generation)
        return;
    um_free(generation->text);
    um_free(generation->ids);
    *generation = (struct um_generation){0};
}

/* Tokens that a text may come to: the prompt and what is new. */
static int64_t tokens_of(const struct generator *g, const struct um_prompt *prompt)
{
    int64_t most = g->job->engine->model->dims.P, new = g->options->max_new_tokens;
    return new > 0 && prompt->n + new < most ? prompt->n + new : most;
}

static enum um_status check_prompts(int64_t *capacity, const struct generator *g,
                                    struct um_error *err)
{
    int64_t most = g->job->engine->model->dims.P;
    *capacity = 1;
    for (int64_t i = 0; i < g->job->n; i++) {
        const struct um_prompt *prompt = &g->job->prompts[i];
        if (prompt->n < 1 || prompt->n >= most)
            return um_fail(err, UM_E_INPUT,
                           "prompt %lld has %lld tokens; the model takes 1 to %lld, so that one "
                           "can follow",
                           (long long)i + 1, (long long)prompt->n, (long long)most - 1);
        int64_t n = tokens_of(g, prompt);
        *capacity = n > *capacity ? n : *capacity;
    }
    return UM_OK;
}

/* How many tokens all prompts begin with; each keeps one at least for itself, whose logits it
 * needs. */
static int64_t count_shared(const struct um_generate_job *job)
{
    const struct um_prompt *first = &job->prompts[0];
    int64_t n = first->n - 1;
    for (int64_t i = 1; i < job->n; i++) {
        const struct um_prompt *prompt = &job->prompts[i];
        n = prompt->n - 1 < n ? prompt->n - 1 : n;
        for (int64_t t = 0; t < n; t++)
            if (prompt->ids[t] != first->ids[t])
                n = t;
    }
    return job->n > 1 && n >= SHARED_MIN ? n : 0;
}

/* `is_dry`: only what a plan is made of, without the memory to generate. */
static enum um_status open_generator(struct generator *g, bool is_dry, struct um_error *err)
{
    const struct um_dims *dims = &g->job->engine->model->dims;
    int64_t capacity, batch = g->options->batch > 0 ? g->options->batch : 8;
    g->n_slots = batch < g->job->n ? batch : g->job->n;
    g->n_stops = g->options->n_stops + (g->job->end_text != NULL);
    for (size_t i = 0; i < g->n_stops; i++) {
        size_t n = strlen(stop_at(g, i));
        g->longest_stop = n > g->longest_stop ? n : g->longest_stop;
    }
    UM_RETURN_IF(check_prompts(&capacity, g, err));
    g->n_shared = count_shared(g->job);
    UM_RETURN_IF(um_cache_open(&g->cache, dims->L, g->n_slots + (g->n_shared > 0),
                               dims->K * dims->E, capacity, is_dry, err));
    g->rows = UM_NEW(g->n_slots, int32_t);
    if (!g->rows)
        return um_fail_memory(err, "generation", (size_t)g->n_slots * sizeof(*g->rows));
    if (is_dry)
        return UM_OK;
    UM_RETURN_IF(um_sampler_open(&g->sampler, dims->V, g->options, err));
    g->slots = UM_NEW(g->n_slots, struct writing);
    g->logits = UM_NEW(g->n_slots * dims->V, float);
    if (!g->slots || !g->logits)
        return um_fail_memory(err, "generation", (size_t)(g->n_slots * dims->V) * sizeof(float));
    for (int64_t s = 0; s < g->n_slots; s++)
        g->slots[s].index = -1;
    return UM_OK;
}

static void close_generator(struct generator *g)
{
    for (int64_t s = 0; g->slots && s < g->n_slots; s++) {
        um_decoder_free(g->slots[s].decoder);
        um_str_free(&g->slots[s].text);
        um_free(g->slots[s].ids);
    }
    um_sampler_close(&g->sampler);
    um_step_close(&g->step);
    um_cache_close(&g->cache);
    um_batch_free(&g->batch);
    um_free(g->slots);
    um_free(g->rows);
    um_free(g->logits);
}

/* ---- text */

static bool is_end(const struct um_model *model, int32_t id)
{
    for (int i = 0; i < model->n_ends; i++)
        if (model->end_ids[i] == id)
            return true;
    return false;
}

/* The first place, at or behind `from`, where a stop text stands; the text's length if none
 * does. */
static size_t find_stop(const struct generator *g, const struct um_str *text, size_t from)
{
    size_t first = text->length;
    for (size_t i = 0; i < g->n_stops && text->text; i++) {
        const char *stop = stop_at(g, i);
        const char *place = *stop ? strstr(text->text + from, stop) : NULL;
        if (place && (size_t)(place - text->text) < first)
            first = (size_t)(place - text->text);
    }
    return first;
}

/* How much of the text's end may be the beginning of a stop text, and is held back. */
static size_t begun_stop(const struct generator *g, const struct um_str *text)
{
    size_t most = g->longest_stop < text->length ? g->longest_stop : text->length;
    for (size_t n = most; n > 0; n--)
        for (size_t i = 0; i < g->n_stops; i++)
            if (strlen(stop_at(g, i)) > n &&
                memcmp(text->text + text->length - n, stop_at(g, i), n) == 0)
                return n;
    return 0;
}

static void show(const struct generator *g, struct writing *w, size_t end)
{
    if (end > w->n_shown && g->job->visit &&
        !g->job->visit(w->index, w->text.text + w->n_shown, end - w->n_shown, g->job->user)) {
        w->is_over = true;
        w->stop = UM_STOP_CALLER;
    }
    w->n_shown = end > w->n_shown ? end : w->n_shown;
}

static enum um_status add_text(struct generator *g, struct writing *w, const char *piece, size_t n,
                               bool is_last, struct um_error *err)
{
    size_t from = w->text.length > g->longest_stop ? w->text.length - g->longest_stop : 0;
    um_str_add_n(&w->text, piece, n);
    if (w->text.failed)
        return um_fail_memory(err, "text", w->text.length);
    size_t stop = find_stop(g, &w->text, from);
    if (stop < w->text.length) {
        w->text.length = stop;
        w->text.text[stop] = '\0';
        w->is_over = true;
        w->stop = UM_STOP_TEXT;
    }
    size_t held = w->is_over || is_last ? 0 : begun_stop(g, &w->text);
    show(g, w, w->text.length - held);
    return UM_OK;
}

/* Takes the next token of a text. */
static enum um_status take_token(struct generator *g, struct writing *w, float *logits,
                                 struct um_error *err)
{
    const char *piece;
    size_t n_piece;
    int32_t id = um_sampler_next(&g->sampler, logits, w->ids, w->n_ids, &w->random);
    w->ids[w->n_ids++] = id;
    if (is_end(g->job->engine->model, id)) {
        w->is_over = true;
        w->stop = UM_STOP_END;
        return UM_OK;
    }
    UM_RETURN_IF(um_decoder_put(&piece, &n_piece, w->decoder, &id, 1, err));
    UM_RETURN_IF(add_text(g, w, piece, n_piece, false, err));
    if (!w->is_over && w->n_ids >= w->n_max) {
        w->is_over = true;
        w->stop = UM_STOP_LENGTH;
    }
    return UM_OK;
}

/* ---- slots */

static enum um_status begin_text(struct generator *g, struct writing *w, int64_t index,
                                 struct um_error *err)
{
    const struct um_prompt *prompt = &g->job->prompts[index];
    int64_t n_max = tokens_of(g, prompt);
    um_decoder_free(w->decoder);
    w->decoder = NULL;
    UM_RETURN_IF(um_decoder_new(&w->decoder, g->job->tokenizer, true, err));
    if (!um_grow(&w->ids, &w->ids_capacity, (size_t)n_max + 1, sizeof(*w->ids)))
        return um_fail_memory(err, "tokens", (size_t)n_max * sizeof(*w->ids));
    memcpy(w->ids, prompt->ids, (size_t)prompt->n * sizeof(*w->ids));
    um_str_clear(&w->text);
    w->index = index;
    w->n_ids = w->n_prompt = prompt->n;
    w->n_max = n_max;
    w->n_shown = 0;
    w->is_over = false;
    w->prompt_seconds = w->seconds = 0;
    w->random = (struct um_random){.seed = g->options->seed, .stream = (uint64_t)index};
    if (g->n_shared)
        um_cache_copy(&g->cache, w - g->slots, g->n_slots);
    else
        g->cache.lengths[w - g->slots] = 0;
    g->n_active++;
    return UM_OK;
}

/* Hands a finished text over and frees its slot. */
static enum um_status end_text(struct generator *g, struct writing *w, struct um_error *err)
{
    struct um_generation *out = &g->out[w->index];
    const char *piece;
    size_t n_piece;
    UM_RETURN_IF(um_decoder_end(&piece, &n_piece, w->decoder, err));
    if (w->stop == UM_STOP_END || w->stop == UM_STOP_LENGTH)
        UM_RETURN_IF(add_text(g, w, piece, n_piece, true, err));
    *out = (struct um_generation){.n_text = w->text.length,
                                  .n_ids = w->n_ids - w->n_prompt,
                                  .n_prompt = w->n_prompt,
                                  .stop = w->stop,
                                  .prompt_seconds = w->prompt_seconds,
                                  .seconds = w->seconds};
    out->text = um_strndup(w->text.text ? w->text.text : "", w->text.length);
    out->ids = UM_NEW(out->n_ids, int32_t);
    if (!out->text || !out->ids)
        return um_fail_memory(err, "a text", w->text.length);
    memcpy(out->ids, w->ids + w->n_prompt, (size_t)out->n_ids * sizeof(*out->ids));
    bool goes_on = !g->job->finished || g->job->finished(w->index, out, g->job->user);
    w->index = -1;
    g->n_active--;
    return goes_on ? UM_OK : um_fail(err, UM_E_INTERRUPTED, "stopped by the caller");
}

/* One pass: the slots in g->rows, each with the tokens that the cache does not have yet. */
static enum um_status pass(struct generator *g, int64_t n_rows, bool is_prompt,
                           struct um_error *err)
{
    int64_t n_tokens = 0, V = g->sampler.n_vocabulary;
    double start = um_seconds();
    for (int64_t r = 0; r < n_rows; r++)
        n_tokens += g->slots[g->rows[r]].n_ids - g->cache.lengths[g->rows[r]];
    UM_RETURN_IF(um_batch_begin(&g->batch, n_rows, n_tokens, err));
    for (int64_t r = 0; r < n_rows; r++) {
        const struct writing *w = &g->slots[g->rows[r]];
        int64_t past = g->cache.lengths[g->rows[r]];
        um_batch_add(&g->batch, w->ids + past, NULL, w->n_ids - past, 0, 0);
    }
    struct um_engine *engine = g->job->engine;
    UM_RETURN_IF(is_prompt
                     ? um_engine_go_on(g->logits, engine, &g->batch, &g->cache, g->rows, err)
                     : um_engine_step(g->logits, &g->step, engine, &g->batch, &g->cache, g->rows,
                                      err));
    if (!um_kernels()->is_finite(g->logits, n_rows * V))
        return um_engine_fail(engine, "the model's outputs are not finite", err);
    for (int64_t r = 0; r < n_rows; r++)
        UM_RETURN_IF(take_token(g, &g->slots[g->rows[r]], g->logits + r * V, err));
    double seconds = um_seconds() - start;
    for (int64_t r = 0; r < n_rows; r++) {
        struct writing *w = &g->slots[g->rows[r]];
        *(is_prompt ? &w->prompt_seconds : &w->seconds) += seconds / (double)n_rows;
        if (w->is_over)
            UM_RETURN_IF(end_text(g, w, err));
    }
    return UM_OK;
}

/* Prompts into free slots, as far as one pass of reasonable size takes them. */
static enum um_status begin_texts(struct generator *g, struct um_error *err)
{
    int64_t n_rows = 0, n_tokens = 0;
    for (int64_t s = 0; s < g->n_slots && g->n_begun < g->job->n; s++) {
        if (g->slots[s].index >= 0)
            continue;
        n_tokens += g->job->prompts[g->n_begun].n - g->n_shared;
        if (n_rows && n_tokens > PASS_TOKENS)
            break;
        UM_RETURN_IF(begin_text(g, &g->slots[s], g->n_begun++, err));
        g->rows[n_rows++] = (int32_t)s;
    }
    return n_rows ? pass(g, n_rows, true, err) : UM_OK;
}

/* Goes through what all prompts begin with. */
static enum um_status share(struct generator *g, struct um_error *err)
{
    const int32_t slot = (int32_t)g->n_slots;
    if (g->n_shared == 0)
        return UM_OK;
    UM_RETURN_IF(um_batch_begin(&g->batch, 1, g->n_shared, err));
    um_batch_add(&g->batch, g->job->prompts[0].ids, NULL, g->n_shared, 0, 0);
    return um_engine_go_on(g->logits, g->job->engine, &g->batch, &g->cache, &slot, err);
}

static enum um_status run(struct generator *g, struct um_error *err)
{
    UM_RETURN_IF(share(g, err));
    while (g->n_begun < g->job->n || g->n_active) {
        int64_t n_rows = 0;
        if (g->n_active < g->n_slots && g->n_begun < g->job->n) {
            UM_RETURN_IF(begin_texts(g, err));
            continue;
        }
        for (int64_t s = 0; s < g->n_slots; s++)
            if (g->slots[s].index >= 0)
                g->rows[n_rows++] = (int32_t)s;
        UM_RETURN_IF(pass(g, n_rows, false, err));
    }
    return UM_OK;
}

/* Walks a pass of so many rows of so many tokens each; `ids` are any. */
static enum um_status walk(struct generator *g, struct um_engine *dry, const int32_t *ids,
                           int64_t n_rows, int64_t n_each, struct um_error *err)
{
    UM_RETURN_IF(um_batch_begin(&g->batch, n_rows, n_rows * n_each, err));
    for (int64_t r = 0; r < n_rows; r++)
        um_batch_add(&g->batch, ids, NULL, n_each, 0, 0);
    return um_engine_go_on(NULL, dry, &g->batch, &g->cache, g->rows, err);
}

/* Activations of the largest pass, by walking through on a dry pool: what all prompts begin with;
 * as many prompts, and as many tokens of them, as one pass may take; a token of each text. */
static enum um_status measure(size_t *bytes, struct generator *g, struct um_error *err)
{
    struct um_engine dry;
    int64_t longest = 0, n_rows = g->n_slots;
    int32_t *zeros = NULL;
    enum um_status status;
    for (int64_t i = 0; i < g->job->n; i++)
        longest = g->job->prompts[i].n > longest ? g->job->prompts[i].n : longest;
    UM_RETURN_IF(um_engine_open_dry(&dry, g->job->engine->model, err));
    zeros = UM_NEW(longest, int32_t);
    if (!zeros)
        UM_TRY(um_fail_memory(err, "prompts", (size_t)longest * sizeof(*zeros)));
    for (int32_t s = 0; s < n_rows; s++)
        g->rows[s] = s;
    longest -= g->n_shared;
    int64_t n_tokens = longest > PASS_TOKENS ? longest : PASS_TOKENS,
            n_each = n_tokens / n_rows + 1;
    UM_TRY(walk(g, &dry, zeros, n_rows, n_each < longest ? n_each : longest, err));
    UM_TRY(walk(g, &dry, zeros, 1, longest, err));
    UM_TRY(walk(g, &dry, zeros, n_rows, 1, err));
    if (g->n_shared)
        UM_TRY(walk(g, &dry, zeros, 1, g->n_shared, err));
    *bytes = dry.pool.peak_bytes;
out:
    um_free(zeros);
    um_engine_close(&dry);
    return status;
}

/* Room for the largest pass in the engine's pool. */
static enum um_status reserve(struct generator *g, struct um_error *err)
{
    size_t bytes;
    UM_RETURN_IF(measure(&bytes, g, err));
    return um_engine_reserve(g->job->engine, bytes, err);
}

enum um_status um_generate_plan(struct um_generate_need *need, const struct um_generate_job *job,
                                struct um_error *err)
{
    struct generator g = {.job = job, .options = job->options};
    enum um_status status;
    *need = (struct um_generate_need){0};
    UM_TRY(open_generator(&g, true, err));
    UM_TRY(measure(&need->pool_bytes, &g, err));
    need->held_bytes = um_cache_bytes(&g.cache) +
                       (size_t)(g.n_slots * job->engine->model->dims.V) * sizeof(*g.logits);
out:
    close_generator(&g);
    return status;
}

enum um_status um_generate(struct um_generation *out, const struct um_generate_job *job,
                           struct um_error *err)
{
    struct generator g = {.job = job, .options = job->options, .out = out};
    enum um_status status;
    for (int64_t i = 0; i < job->n; i++)
        out[i] = (struct um_generation){0};
    UM_TRY(open_generator(&g, false, err));
    UM_TRY(reserve(&g, err));
    UM_TRY(run(&g, err));
out:
    close_generator(&g);
    return status;
}
