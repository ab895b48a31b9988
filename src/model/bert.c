/*
 * BERT (Devlin et al. 2019) and its relatives of the same shape (MiniLM): absolute positions, token
 * types, post-norm encoder, and for sequence tasks a tanh pooler of the first token.
 */
#include "model/encoder.h"

#include <string.h>

enum role {
    WORDS, POSITIONS, TYPES, EMBED_GAMMA, EMBED_BETA,
    QUERY_W, QUERY_B, KEY_W, KEY_B, VALUE_W, VALUE_B, ATTN_W, ATTN_B, ATTN_GAMMA, ATTN_BETA,
    UP_W, UP_B, DOWN_W, DOWN_B, OUT_GAMMA, OUT_BETA,
    POOLER_W, POOLER_B, HEAD_W, HEAD_B,
    N_ROLES
};

static const struct um_config_key keys[] = {
    {"vocab_size", offsetof(struct um_dims, V), false, true},
    {"hidden_size", offsetof(struct um_dims, D), false, true},
    {"num_hidden_layers", offsetof(struct um_dims, L), false, true},
    {"num_attention_heads", offsetof(struct um_dims, H), false, true},
    {"intermediate_size", offsetof(struct um_dims, F), false, true},
    {"max_position_embeddings", offsetof(struct um_dims, P), false, true},
    {"type_vocab_size", offsetof(struct um_dims, Y), false, true},
    {"layer_norm_eps", offsetof(struct um_dims, norm_eps), true, false},
    {"hidden_dropout_prob", offsetof(struct um_dims, dropout), true, false},
    {"attention_probs_dropout_prob", offsetof(struct um_dims, attention_dropout), true, false},
    {"classifier_dropout", offsetof(struct um_dims, head_dropout), true, false},
    {"initializer_range", offsetof(struct um_dims, init_std), true, false},
};

#define LAYER "encoder.layer.%d."
static const struct um_weight weights[] = {
    {WORDS, "embeddings.word_embeddings.weight", 'V', 'D', 0},
    {POSITIONS, "embeddings.position_embeddings.weight", 'P', 'D', 0},
    {TYPES, "embeddings.token_type_embeddings.weight", 'Y', 'D', 0},
    {EMBED_GAMMA, "embeddings.LayerNorm.weight", 'D', '1', 0},
    {EMBED_BETA, "embeddings.LayerNorm.bias", 'D', '1', 0},
    {QUERY_W, LAYER "attention.self.query.weight", 'D', 'D', 0},
    {QUERY_B, LAYER "attention.self.query.bias", 'D', '1', 0},
    {KEY_W, LAYER "attention.self.key.weight", 'D', 'D', 0},
    {KEY_B, LAYER "attention.self.key.bias", 'D', '1', 0},
    {VALUE_W, LAYER "attention.self.value.weight", 'D', 'D', 0},
    {VALUE_B, LAYER "attention.self.value.bias", 'D', '1', 0},
    {ATTN_W, LAYER "attention.output.dense.weight", 'D', 'D', 0},
    {ATTN_B, LAYER "attention.output.dense.bias", 'D', '1', 0},
    {ATTN_GAMMA, LAYER "attention.output.LayerNorm.weight", 'D', '1', 0},
    {ATTN_BETA, LAYER "attention.output.LayerNorm.bias", 'D', '1', 0},
    {UP_W, LAYER "intermediate.dense.weight", 'F', 'D', 0},
    {UP_B, LAYER "intermediate.dense.bias", 'F', '1', 0},
    {DOWN_W, LAYER "output.dense.weight", 'D', 'F', 0},
    {DOWN_B, LAYER "output.dense.bias", 'D', '1', 0},
    {OUT_GAMMA, LAYER "output.LayerNorm.weight", 'D', '1', 0},
    {OUT_BETA, LAYER "output.LayerNorm.bias", 'D', '1', 0},
    {POOLER_W, "pooler.dense.weight", 'D', 'D', UM_WEIGHT_HEAD},
    {POOLER_B, "pooler.dense.bias", 'D', '1', UM_WEIGHT_HEAD},
    {HEAD_W, "classifier.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {HEAD_B, "classifier.bias", 'O', '1', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
};

static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    const char *positions = "absolute";
    (void)dims;
    UM_RETURN_IF(um_json_get_str(&positions, config, "position_embedding_type", where, err));
    if (strcmp(positions, "absolute") != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': position_embedding_type '%s' is not supported, only "
                       "'absolute'",
                       where, positions);
    return UM_OK;
}

static struct um_linear_pair pair(const struct um_model *m, enum role weight, int64_t layer)
{
    /* Biases stand behind their weights in the enum. */
    return (struct um_linear_pair){um_model_param(m, (int)weight, layer),
                                   um_model_param(m, (int)weight + 1, layer)};
}

static struct um_value *hidden(const struct um_model *m, struct um_tape *tape,
                               const struct um_input *in)
{
    const struct um_norm_options norm = {.eps = (float)m->dims.norm_eps};
    const struct um_lookup lookups[] = {{um_model_param(m, WORDS, -1), in->ids},
                                        {um_model_param(m, TYPES, -1), in->types},
                                        {um_model_param(m, POSITIONS, -1), in->positions}};
    struct um_value *x = um_embed(tape, lookups, 3, in->n_tokens, 1);
    x = um_norm(tape, x, um_model_param(m, EMBED_GAMMA, -1), um_model_param(m, EMBED_BETA, -1),
                norm);
    x = um_dropout(tape, x, (float)m->dims.dropout);
    for (int64_t l = 0; l < m->dims.L; l++) {
        const struct um_encoder_layer layer = {
            .query = pair(m, QUERY_W, l), .key = pair(m, KEY_W, l), .value = pair(m, VALUE_W, l),
            .output = pair(m, ATTN_W, l), .attention_norm = pair(m, ATTN_GAMMA, l),
            .up = pair(m, UP_W, l), .down = pair(m, DOWN_W, l),
            .output_norm = pair(m, OUT_GAMMA, l)};
        x = um_encoder_layer(tape, x, &layer, &m->dims);
    }
    return x;
}

static struct um_value *head(const struct um_model *m, struct um_tape *tape,
                             const struct um_input *in, struct um_value *x)
{
    x = um_take_columns(tape, x, in->first, in->n_sequences);
    x = um_linear(tape, x, um_model_param(m, POOLER_W, -1), um_model_param(m, POOLER_B, -1));
    x = um_dropout(tape, um_activate(tape, x, UM_ACT_TANH), (float)m->dims.head_dropout);
    return um_linear(tape, x, um_model_param(m, HEAD_W, -1), um_model_param(m, HEAD_B, -1));
}

static const char *const model_types[] = {"bert", NULL};

const struct um_arch um_arch_bert = {
    .name = "bert",
    .summary = "BERT of any size, MiniLM",
    .model_types = model_types,
    .prefix = "bert.",
    .task_class = "BertForSequenceClassification",
    .keys = keys,
    .n_keys = UM_COUNT(keys),
    .activation_key = "hidden_act",
    .check = check,
    .weights = weights,
    .n_weights = UM_COUNT(weights),
    .n_roles = N_ROLES,
    .hidden = hidden,
    .head = head,
};
