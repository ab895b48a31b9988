/* Qwen2 and 2.5 (biases of query, key and value) and Qwen3 (norms of query and key heads
 * instead). */
#include "model/decoder.h"

static const struct um_config_key keys[] = {
    UM_DECODER_KEYS,
    {"sliding_window", offsetof(struct um_dims, window), false, UM_KEY_OFF_BY_NULL},
};

#define FEED_NORM_ROW                                                                              \
    {UM_DECODER_FEED_NORM, UM_DECODER_LAYER "post_attention_layernorm.weight", 'D', '1', 0}

static const struct um_weight qwen2_weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    {UM_DECODER_QUERY + 1, UM_DECODER_ATTENTION "q_proj.bias", 'Q', '1', 0},
    {UM_DECODER_KEY + 1, UM_DECODER_ATTENTION "k_proj.bias", 'K', '1', 0},
    {UM_DECODER_VALUE + 1, UM_DECODER_ATTENTION "v_proj.bias", 'K', '1', 0},
    FEED_NORM_ROW,
    UM_DECODER_LAST_ROWS,
};

static const struct um_weight qwen3_weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    UM_DECODER_BIAS_ROWS,
    UM_DECODER_HEAD_NORM_ROWS,
    FEED_NORM_ROW,
    UM_DECODER_LAST_ROWS,
};

/* A window is used only if use_sliding_window is on, in layers from max_window_layers on. */
static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    bool has_window = false;
    int64_t n_full = dims->L;
    UM_RETURN_IF(um_json_get_bool(&has_window, config, "use_sliding_window", where, err));
    UM_RETURN_IF(um_json_get_i64(&n_full, config, "max_window_layers", where, err));
    if (!has_window)
        dims->window = 0;
    UM_RETURN_IF(um_decoder_read_windows(dims, config, 0, where, err));
    for (int64_t l = 0; l < n_full && l < dims->L && !json_object_get(config, "layer_types"); l++)
        dims->windowed[l / 64] &= ~((uint64_t)1 << (l % 64));
    return um_decoder_read_rope(&dims->rope, config, NULL, where, err);
}

static const char *const qwen2_types[] = {"qwen2", NULL};
static const char *const qwen3_types[] = {"qwen3", NULL};

#define SHARED                                                                                     \
    .prefix = "model.", .keys = keys, .n_keys = UM_COUNT(keys), .activation_key = "hidden_act",    \
    .defaults = {.norm_eps = 1e-6, .init_std = 0.02, .activation = UM_ACT_SILU, .window = 4096},   \
    .check = check, .n_roles = UM_DECODER_ROLES, .is_decoder = true, .words = UM_DECODER_WORDS,    \
    .vocabulary = UM_DECODER_HEAD, .targets = um_decoder_targets, .hidden = um_decoder_hidden,     \
    .head = um_decoder_score

const struct um_arch um_arch_qwen2 = {.name = "qwen2",
                                      .summary = "Qwen 2 and 2.5",
                                      .model_types = qwen2_types,
                                      .task_class = "Qwen2ForSequenceClassification",
                                      .text_class = "Qwen2ForCausalLM",
                                      .weights = qwen2_weights,
                                      .n_weights = UM_COUNT(qwen2_weights),
                                      SHARED};
const struct um_arch um_arch_qwen3 = {.name = "qwen3",
                                      .summary = "Qwen 3, dense",
                                      .model_types = qwen3_types,
                                      .task_class = "Qwen3ForSequenceClassification",
                                      .text_class = "Qwen3ForCausalLM",
                                      .weights = qwen3_weights,
                                      .n_weights = UM_COUNT(qwen3_weights),
                                      SHARED};
