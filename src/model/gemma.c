/*
 * Gemma 1, 2 and 3 (text): embeddings scaled by sqrt(D), norms by 1 + w, tied head. Gemma 2 and 3
 * norm what attention and feed-forward layers give, too, and alternate windowed and full layers;
 * Gemma 2 caps scores and logits; Gemma 3 norms heads and has rotary settings for either layer.
 */
#include "model/decoder.h"

#include <math.h>

static const struct um_config_key keys[] = {
    UM_DECODER_KEYS,
    {"sliding_window", offsetof(struct um_dims, window), false, UM_KEY_OFF_BY_NULL},
    {"attn_logit_softcapping", offsetof(struct um_dims, attention_cap), true, UM_KEY_OFF_BY_NULL},
    {"final_logit_softcapping", offsetof(struct um_dims, logit_cap), true, UM_KEY_OFF_BY_NULL},
};
enum { N_GEMMA_KEYS = UM_COUNT(keys) - 3 };

static const struct um_weight gemma_weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    UM_DECODER_BIAS_ROWS,
    {UM_DECODER_FEED_NORM, UM_DECODER_LAYER "post_attention_layernorm.weight", 'D', '1', 0},
    UM_DECODER_LAST_ROWS,
};

#define FOUR_NORMS_ROWS                                                                            \
    {UM_DECODER_ATTENTION_NORM, UM_DECODER_LAYER "post_attention_layernorm.weight", 'D', '1', 0},  \
    {UM_DECODER_FEED_NORM, UM_DECODER_LAYER "pre_feedforward_layernorm.weight", 'D', '1', 0},      \
    {UM_DECODER_OUTPUT_NORM, UM_DECODER_LAYER "post_feedforward_layernorm.weight", 'D', '1', 0}

static const struct um_weight gemma2_weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    UM_DECODER_BIAS_ROWS,
    FOUR_NORMS_ROWS,
    UM_DECODER_LAST_ROWS,
};

static const struct um_weight gemma3_weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    UM_DECODER_BIAS_ROWS,
    UM_DECODER_HEAD_NORM_ROWS,
    FOUR_NORMS_ROWS,
    UM_DECODER_LAST_ROWS,
};

static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    bool is_gguf = false, sees_all = false;
    UM_RETURN_IF(um_json_get_bool(&is_gguf, config, "is_gguf", where, err));
    UM_RETURN_IF(um_json_get_bool(&sees_all, config, "use_bidirectional_attention", where, err));
    if (sees_all)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': use_bidirectional_attention is not supported", where);
    dims->embed_scale = sqrt((double)dims->D);
    dims->norm_adds_one = !is_gguf; /* there it has been added */
    return um_decoder_read_rope(&dims->rope, config, NULL, where, err);
}

/* Scores are divided by the root of query_pre_attn_scalar. */
static enum um_status check_two_kinds(struct um_dims *dims, const json_t *config, const char *where,
                                      int64_t pattern, struct um_error *err)
{
    double size = 256;
    UM_RETURN_IF(um_json_get_f64(&size, config, "query_pre_attn_scalar", where, err));
    if (!(size > 0))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': query_pre_attn_scalar is %g", where,
                       size);
    dims->attention_scale = 1 / sqrt(size);
    return um_decoder_read_windows(dims, config, pattern, where, err);
}

static enum um_status check_gemma2(struct um_dims *dims, const json_t *config, const char *where,
                                   struct um_error *err)
{
    UM_RETURN_IF(check_two_kinds(dims, config, where, 2, err));
    return check(dims, config, where, err);
}

static enum um_status check_gemma3(struct um_dims *dims, const json_t *config, const char *where,
                                   struct um_error *err)
{
    int64_t pattern = 6;
    UM_RETURN_IF(um_json_get_i64(&pattern, config, "sliding_window_pattern", where, err));
    UM_RETURN_IF(check_two_kinds(dims, config, where, pattern < 1 ? 1 : pattern, err));
    UM_RETURN_IF(check(dims, config, where, err));
    dims->rope = (struct um_rope_options){.theta = 1e6};
    UM_RETURN_IF(um_decoder_read_rope(&dims->rope, config, "full_attention", where, err));
    dims->rope_windowed.theta = 1e4;
    UM_RETURN_IF(um_json_get_f64(&dims->rope_windowed.theta, config, "rope_local_base_freq", where,
                                 err));
    return um_decoder_read_rope(&dims->rope_windowed, config, "sliding_attention", where, err);
}

static const char *const gemma_types[] = {"gemma", NULL};
static const char *const gemma2_types[] = {"gemma2", NULL};
static const char *const gemma3_types[] = {"gemma3_text", NULL};

#define DEFAULTS                                                                                   \
    .norm_eps = 1e-6, .init_std = 0.02, .activation = UM_ACT_GELU_TANH, .is_tied = true
#define SHARED                                                                                     \
    .prefix = "model.", .keys = keys, .activation_key = "hidden_activation",                       \
    .n_roles = UM_DECODER_ROLES, .is_decoder = true, .words = UM_DECODER_WORDS,                    \
    .vocabulary = UM_DECODER_HEAD, .targets = um_decoder_targets, .hidden = um_decoder_hidden,     \
    .head = um_decoder_score

const struct um_arch um_arch_gemma = {.name = "gemma",
                                      .summary = "Gemma 1",
                                      .model_types = gemma_types,
                                      .task_class = "GemmaForSequenceClassification",
                                      .text_class = "GemmaForCausalLM",
                                      .n_keys = N_GEMMA_KEYS,
                                      .defaults = {DEFAULTS},
                                      .check = check,
                                      .weights = gemma_weights,
                                      .n_weights = UM_COUNT(gemma_weights),
                                      SHARED};
const struct um_arch um_arch_gemma2 = {.name = "gemma2",
                                       .summary = "Gemma 2",
                                       .model_types = gemma2_types,
                                       .task_class = "Gemma2ForSequenceClassification",
                                       .text_class = "Gemma2ForCausalLM",
                                       .n_keys = UM_COUNT(keys),
                                       .defaults = {DEFAULTS, .window = 4096, .attention_cap = 50,
                                                    .logit_cap = 30},
                                       .check = check_gemma2,
                                       .weights = gemma2_weights,
                                       .n_weights = UM_COUNT(gemma2_weights),
                                       SHARED};
const struct um_arch um_arch_gemma3 = {.name = "gemma3",
                                       .summary = "Gemma 3, text",
                                       .model_types = gemma3_types,
                                       .task_class = "Gemma3TextForSequenceClassification",
                                       .text_class = "Gemma3ForCausalLM",
                                       .n_keys = UM_COUNT(keys),
                                       .defaults = {DEFAULTS, .window = 4096},
                                       .check = check_gemma3,
                                       .weights = gemma3_weights,
                                       .n_weights = UM_COUNT(gemma3_weights),
                                       SHARED};
