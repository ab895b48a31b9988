/*
 * Whether what was written means the same model: it is opened as any other, and its settings are
 * compared with the base's. GGUF knows fewer settings than config.json; the rest it takes for
 * given.
 */
#include <math.h>

#include "delta/merge_private.h"

struct setting {
    const char *name;
    double base, merged;
};

/* A window of all that the model can see is none. */
static bool is_windowed(const struct um_dims *dims, int64_t l)
{
    return dims->window < dims->P && um_layer_is_windowed(dims, l);
}

static int64_t count_windowed(const struct um_dims *dims)
{
    int64_t n = 0;
    for (int64_t l = 0; l < dims->L; l++)
        n += is_windowed(dims, l);
    return n;
}

static enum um_status compare(const struct um_merge *m, const struct setting *settings, size_t n,
                              struct um_error *err)
{
    for (size_t i = 0; i < n; i++) {
        double a = settings[i].base, b = settings[i].merged;
        if (fabs(a - b) > 1e-6 * fabs(a)) /* GGUF has fp32 */
            return um_fail(err, UM_E_USAGE,
                           "cannot write '%s': '%s' has %s %g, but a %s of its kind is taken to "
                           "have %g",
                           m->out, m->base.path, settings[i].name, a,
                           m->is_gguf ? "GGUF file" : "folder", b);
    }
    return UM_OK;
}

/* LLaMA 3.1's stretching is said by factors in the one form, by four numbers in the other. */
static enum um_status compare_rope(const struct um_merge *m, const struct um_rope_options *a,
                                   const struct um_rope_options *b, struct um_error *err)
{
    bool is_scaled = a->scaling == UM_ROPE_LINEAR || a->scaling == UM_ROPE_YARN;
    bool is_yarn = a->scaling == UM_ROPE_YARN;
    bool by_factors = a->scaling == UM_ROPE_LLAMA3 || a->factors;
    const struct setting settings[] = {
        {"rope_theta", a->theta, b->theta},
        {"rotary factors", by_factors, b->scaling == UM_ROPE_LLAMA3 || b->factors},
        {"rotary scaling", by_factors ? 0 : a->scaling, by_factors ? 0 : b->scaling},
        {"rotary factor", is_scaled ? a->factor : 0, is_scaled ? b->factor : 0},
        {"original_max_position_embeddings", is_yarn ? a->original : 0, is_yarn ? b->original : 0},
        {"beta_fast", is_yarn ? a->beta_fast : 0, is_yarn ? b->beta_fast : 0},
        {"beta_slow", is_yarn ? a->beta_slow : 0, is_yarn ? b->beta_slow : 0},
        {"attention_factor", a->attention_factor, b->attention_factor},
    };
    return compare(m, settings, UM_COUNT(settings), err);
}

static enum um_status compare_windows(struct um_merge *m, const struct um_dims *a,
                                      const struct um_dims *b, struct um_error *err)
{
    int64_t n_windowed = count_windowed(a);
    if (n_windowed > 0 && b->window == 0) {
        um_merge_note(m,
                      "GGUF says nothing of this model's window of %lld tokens: longer texts are "
                      "attended to in full",
                      (long long)a->window);
        return UM_OK;
    }
    for (int64_t l = 0; l < a->L; l++) {
        const struct setting layer = {"windowed layers other than", is_windowed(a, l),
                                      is_windowed(b, l)};
        UM_RETURN_IF(compare(m, &layer, 1, err));
    }
    double local = a->rope_windowed.theta, local_merged = b->rope_windowed.theta;
    const struct setting settings[] = {
        {"sliding_window", n_windowed ? (double)a->window : 0, n_windowed ? (double)b->window : 0},
        {"rope_local_base_freq", n_windowed ? local : 0, n_windowed ? local_merged : 0},
    };
    return compare(m, settings, UM_COUNT(settings), err);
}

enum um_status um_merge_check_settings(struct um_merge *m, struct um_error *err)
{
    struct um_model merged;
    const struct um_model_options options = {.dropout = -1};
    enum um_status status;
    UM_RETURN_IF(um_model_open(&merged, m->partial, &options, err));
    const struct um_dims *a = &m->model.dims, *b = &merged.dims;
    const struct setting settings[] = {
        {"vocab_size", (double)a->V, (double)b->V},
        {"hidden_size", (double)a->D, (double)b->D},
        {"num_hidden_layers", (double)a->L, (double)b->L},
        {"num_attention_heads", (double)a->H, (double)b->H},
        {"num_key_value_heads", (double)a->K, (double)b->K},
        {"head_dim", (double)a->E, (double)b->E},
        {"intermediate_size", (double)a->F, (double)b->F},
        {"max_position_embeddings", (double)a->P, (double)b->P},
        {"norm eps", a->norm_eps, b->norm_eps},
        {"activation number", a->activation, b->activation},
        {"tie_word_embeddings", a->is_tied, b->is_tied},
        {"embedding scale", a->embed_scale, b->embed_scale},
        {"attention scale", a->attention_scale, b->attention_scale},
        {"attn_logit_softcapping", a->attention_cap, b->attention_cap},
        {"final_logit_softcapping", a->logit_cap, b->logit_cap},
    };
    UM_TRY(compare(m, settings, UM_COUNT(settings), err));
    UM_TRY(compare_rope(m, &a->rope, &b->rope, err));
    UM_TRY(compare_windows(m, a, b, err));
out:
    um_model_close(&merged);
    return status;
}
