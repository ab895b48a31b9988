/*
 * LLaMA 1, 2, 3.x (Touvron et al. 2023, Grattafiori et al. 2024) and models of its shape (SmolLM2);
 * Mistral (Jiang et al. 2023), which sees a window of tokens in every layer.
 */
#include "model/decoder.h"

static const struct um_config_key keys[] = {
    UM_DECODER_KEYS,
    {"sliding_window", offsetof(struct um_dims, window), false, UM_KEY_OFF_BY_NULL},
};
enum { N_LLAMA_KEYS = UM_COUNT(keys) - 1 };

/* Biases of the feed-forward maps are there if the config's mlp_bias is on. */
static const struct um_weight weights[] = {
    UM_DECODER_WORDS_ROW,
    UM_DECODER_LAYER_ROWS,
    UM_DECODER_BIAS_ROWS,
    {UM_DECODER_FEED_NORM, UM_DECODER_LAYER "post_attention_layernorm.weight", 'D', '1', 0},
    {UM_DECODER_GATE + 1, UM_DECODER_MLP "gate_proj.bias", 'F', '1', UM_WEIGHT_OPTIONAL},
    {UM_DECODER_UP + 1, UM_DECODER_MLP "up_proj.bias", 'F', '1', UM_WEIGHT_OPTIONAL},
    {UM_DECODER_DOWN + 1, UM_DECODER_MLP "down_proj.bias", 'D', '1', UM_WEIGHT_OPTIONAL},
    UM_DECODER_LAST_ROWS,
};

/* GGUF files of LLaMA and Mistral hold the rows of query and key so that neighbours are pairs. */
static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    UM_RETURN_IF(um_json_get_bool(&dims->rope_is_interleaved, config, "is_gguf", where, err));
    UM_RETURN_IF(um_decoder_read_windows(dims, config, 0, where, err));
    return um_decoder_read_rope(&dims->rope, config, NULL, where, err);
}

static const char *const llama_types[] = {"llama", NULL};
static const char *const mistral_types[] = {"mistral", NULL};

#define DEFAULTS .norm_eps = 1e-6, .init_std = 0.02, .activation = UM_ACT_SILU
#define SHARED                                                                                     \
    .prefix = "model.", .keys = keys, .activation_key = "hidden_act", .check = check,              \
    .weights = weights, .n_weights = UM_COUNT(weights), .n_roles = UM_DECODER_ROLES,               \
    .is_decoder = true, .words = UM_DECODER_WORDS, .vocabulary = UM_DECODER_HEAD,                  \
    .targets = um_decoder_targets, .hidden = um_decoder_hidden, .head = um_decoder_score

const struct um_arch um_arch_llama = {.name = "llama",
                                      .summary = "LLaMA 1 to 3, SmolLM2",
                                      .model_types = llama_types,
                                      .task_class = "LlamaForSequenceClassification",
                                      .text_class = "LlamaForCausalLM",
                                      .n_keys = N_LLAMA_KEYS,
                                      .defaults = {DEFAULTS},
                                      SHARED};
const struct um_arch um_arch_mistral = {.name = "mistral",
                                        .summary = "Mistral",
                                        .model_types = mistral_types,
                                        .task_class = "MistralForSequenceClassification",
                                        .text_class = "MistralForCausalLM",
                                        .n_keys = UM_COUNT(keys),
                                        .defaults = {DEFAULTS, .window = 4096},
                                        SHARED};
