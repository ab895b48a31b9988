/*
 * What pre-norm decoders with rotary positions and gated feed-forward layers share (LLaMA, Mistral,
 * Qwen, Gemma): the roles of their weights, the config keys that nearly all have, and the layers.
 */
#ifndef UM_MODEL_DECODER_H
#define UM_MODEL_DECODER_H

#include "model/model.h"

/* A map's weight is followed by its bias. A role whose weight a table leaves out is passed over. */
enum um_decoder_role {
    UM_DECODER_WORDS,
    UM_DECODER_NORM,  /* the last one */
    UM_DECODER_HEAD,  /* the vocabulary's */
    UM_DECODER_SCORE, /* a classification task's */
    UM_DECODER_INPUT_NORM,
    UM_DECODER_QUERY,
    UM_DECODER_KEY = UM_DECODER_QUERY + 2,
    UM_DECODER_VALUE = UM_DECODER_KEY + 2,
    UM_DECODER_OUTPUT = UM_DECODER_VALUE + 2,
    UM_DECODER_QUERY_NORM = UM_DECODER_OUTPUT + 2, /* of each head */
    UM_DECODER_KEY_NORM,
    UM_DECODER_ATTENTION_NORM, /* of attention's output */
    UM_DECODER_FEED_NORM,      /* before the feed-forward layer */
    UM_DECODER_GATE,
    UM_DECODER_UP = UM_DECODER_GATE + 2,
    UM_DECODER_DOWN = UM_DECODER_UP + 2,
    UM_DECODER_OUTPUT_NORM = UM_DECODER_DOWN + 2, /* of the feed-forward layer's output */
    UM_DECODER_ROLES,
};

#define UM_DECODER_KEYS                                                                            \
    {"vocab_size", offsetof(struct um_dims, V), false, UM_KEY_REQUIRED},                           \
    {"hidden_size", offsetof(struct um_dims, D), false, UM_KEY_REQUIRED},                          \
    {"num_hidden_layers", offsetof(struct um_dims, L), false, UM_KEY_REQUIRED},                    \
    {"num_attention_heads", offsetof(struct um_dims, H), false, UM_KEY_REQUIRED},                  \
    {"num_key_value_heads", offsetof(struct um_dims, K), false, UM_KEY_OPTIONAL},                  \
    {"head_dim", offsetof(struct um_dims, E), false, UM_KEY_OPTIONAL},                             \
    {"intermediate_size", offsetof(struct um_dims, F), false, UM_KEY_REQUIRED},                    \
    {"max_position_embeddings", offsetof(struct um_dims, P), false, UM_KEY_REQUIRED},              \
    {"rms_norm_eps", offsetof(struct um_dims, norm_eps), true, UM_KEY_OPTIONAL},                   \
    {"attention_dropout", offsetof(struct um_dims, attention_dropout), true, UM_KEY_OPTIONAL},     \
    {"initializer_range", offsetof(struct um_dims, init_std), true, UM_KEY_OPTIONAL}

#define UM_DECODER_LAYER "layers.%d."
#define UM_DECODER_ATTENTION UM_DECODER_LAYER "self_attn."
#define UM_DECODER_MLP UM_DECODER_LAYER "mlp."

/* Table rows: look-up table; projections of a layer without biases; what comes last. */
#define UM_DECODER_WORDS_ROW {UM_DECODER_WORDS, "embed_tokens.weight", 'V', 'D', 0}
#define UM_DECODER_LAYER_ROWS                                                                      \
    {UM_DECODER_INPUT_NORM, UM_DECODER_LAYER "input_layernorm.weight", 'D', '1', 0},               \
    {UM_DECODER_QUERY, UM_DECODER_ATTENTION "q_proj.weight", 'Q', 'D', 0},                         \
    {UM_DECODER_KEY, UM_DECODER_ATTENTION "k_proj.weight", 'K', 'D', 0},                           \
    {UM_DECODER_VALUE, UM_DECODER_ATTENTION "v_proj.weight", 'K', 'D', 0},                         \
    {UM_DECODER_OUTPUT, UM_DECODER_ATTENTION "o_proj.weight", 'D', 'Q', 0},                        \
    {UM_DECODER_GATE, UM_DECODER_MLP "gate_proj.weight", 'F', 'D', 0},                             \
    {UM_DECODER_UP, UM_DECODER_MLP "up_proj.weight", 'F', 'D', 0},                                 \
    {UM_DECODER_DOWN, UM_DECODER_MLP "down_proj.weight", 'D', 'F', 0}
/* There if the config's attention_bias is on. */
#define UM_DECODER_BIAS_ROWS                                                                       \
    {UM_DECODER_QUERY + 1, UM_DECODER_ATTENTION "q_proj.bias", 'Q', '1', UM_WEIGHT_OPTIONAL},      \
    {UM_DECODER_KEY + 1, UM_DECODER_ATTENTION "k_proj.bias", 'K', '1', UM_WEIGHT_OPTIONAL},        \
    {UM_DECODER_VALUE + 1, UM_DECODER_ATTENTION "v_proj.bias", 'K', '1', UM_WEIGHT_OPTIONAL},      \
    {UM_DECODER_OUTPUT + 1, UM_DECODER_ATTENTION "o_proj.bias", 'D', '1', UM_WEIGHT_OPTIONAL}
#define UM_DECODER_HEAD_NORM_ROWS                                                                  \
    {UM_DECODER_QUERY_NORM, UM_DECODER_ATTENTION "q_norm.weight", 'E', '1', 0},                    \
    {UM_DECODER_KEY_NORM, UM_DECODER_ATTENTION "k_norm.weight", 'E', '1', 0}
#define UM_DECODER_LAST_ROWS                                                                       \
    {UM_DECODER_NORM, "norm.weight", 'D', '1', 0},                                                 \
    {UM_DECODER_HEAD, "lm_head.weight", 'V', 'D', UM_WEIGHT_TASK | UM_WEIGHT_VOCABULARY},          \
    {UM_DECODER_SCORE, "score.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK}

/* Hidden states [D, T] behind the last norm: with x += norm(o(attention(rope(q), rope(k), v))) and
 * x += norm(down(act(gate(h)) up(h))) for each layer, each one block. */
struct um_value *um_decoder_hidden(const struct um_model *model, struct um_tape *tape,
                                   const struct um_input *input);
/* A classification task's outputs: score of each sequence's last token. */
struct um_value *um_decoder_score(const struct um_model *model, struct um_tape *tape,
                                  const struct um_input *input, struct um_value *hidden);

/* Modules that low-rank changes go to by default, as in PEFT. */
extern const char *const um_decoder_targets[];

/* Rotary settings: from `rope_parameters` (or `rope_scaling` and `rope_theta`, as older configs
 * have it); `kind` is the key within rope_parameters of models with two kinds of layers, or
 * NULL. */
enum um_status um_decoder_read_rope(struct um_rope_options *rope, const json_t *config,
                                    const char *kind, const char *where, struct um_error *err);
/* Which layers see a window only: `layer_types`, or every layer l with (l + 1) % pattern != 0;
 * pattern 1: none, 0: all. */
enum um_status um_decoder_read_windows(struct um_dims *dims, const json_t *config, int64_t pattern,
                                       const char *where, struct um_error *err);

#endif
