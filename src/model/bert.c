/*
 * BERT (Devlin et al. 2019) and its relatives of the same shape (MiniLM): absolute positions, token
 * types, post-norm encoder, and for sequence tasks a tanh pooler of the first token.
 */
#include "model/encoder.h"

#include <string.h>

enum role {
    WORDS = UM_ENCODER_ROLES, POSITIONS, TYPES, POOLER, HEAD = POOLER + 2,
    N_ROLES = HEAD + 2
};

static const struct um_config_key keys[] = {
    {"vocab_size", offsetof(struct um_dims, V), false, UM_KEY_REQUIRED},
    {"hidden_size", offsetof(struct um_dims, D), false, UM_KEY_REQUIRED},
    {"num_hidden_layers", offsetof(struct um_dims, L), false, UM_KEY_REQUIRED},
    {"num_attention_heads", offsetof(struct um_dims, H), false, UM_KEY_REQUIRED},
    {"intermediate_size", offsetof(struct um_dims, F), false, UM_KEY_REQUIRED},
    {"max_position_embeddings", offsetof(struct um_dims, P), false, UM_KEY_REQUIRED},
    {"type_vocab_size", offsetof(struct um_dims, Y), false, UM_KEY_REQUIRED},
    {"layer_norm_eps", offsetof(struct um_dims, norm_eps), true, UM_KEY_OPTIONAL},
    {"hidden_dropout_prob", offsetof(struct um_dims, dropout), true, UM_KEY_OPTIONAL},
    {"attention_probs_dropout_prob", offsetof(struct um_dims, attention_dropout), true,
     UM_KEY_OPTIONAL},
    {"classifier_dropout", offsetof(struct um_dims, head_dropout), true, UM_KEY_OPTIONAL},
    {"initializer_range", offsetof(struct um_dims, init_std), true, UM_KEY_OPTIONAL},
};

#define LAYER "encoder.layer.%d."
static const struct um_weight weights[] = {
    {WORDS, "embeddings.word_embeddings.weight", 'V', 'D', 0},
    {POSITIONS, "embeddings.position_embeddings.weight", 'P', 'D', 0},
    {TYPES, "embeddings.token_type_embeddings.weight", 'Y', 'D', 0},
    {UM_ENCODER_EMBED_NORM, "embeddings.LayerNorm.weight", 'D', '1', 0},
    {UM_ENCODER_EMBED_NORM + 1, "embeddings.LayerNorm.bias", 'D', '1', 0},
    {UM_ENCODER_QUERY, LAYER "attention.self.query.weight", 'D', 'D', 0},
    {UM_ENCODER_QUERY + 1, LAYER "attention.self.query.bias", 'D', '1', 0},
    {UM_ENCODER_KEY, LAYER "attention.self.key.weight", 'D', 'D', 0},
    {UM_ENCODER_KEY + 1, LAYER "attention.self.key.bias", 'D', '1', 0},
    {UM_ENCODER_VALUE, LAYER "attention.self.value.weight", 'D', 'D', 0},
    {UM_ENCODER_VALUE + 1, LAYER "attention.self.value.bias", 'D', '1', 0},
    {UM_ENCODER_OUTPUT, LAYER "attention.output.dense.weight", 'D', 'D', 0},
    {UM_ENCODER_OUTPUT + 1, LAYER "attention.output.dense.bias", 'D', '1', 0},
    {UM_ENCODER_ATTENTION_NORM, LAYER "attention.output.LayerNorm.weight", 'D', '1', 0},
    {UM_ENCODER_ATTENTION_NORM + 1, LAYER "attention.output.LayerNorm.bias", 'D', '1', 0},
    {UM_ENCODER_UP, LAYER "intermediate.dense.weight", 'F', 'D', 0},
    {UM_ENCODER_UP + 1, LAYER "intermediate.dense.bias", 'F', '1', 0},
    {UM_ENCODER_DOWN, LAYER "output.dense.weight", 'D', 'F', 0},
    {UM_ENCODER_DOWN + 1, LAYER "output.dense.bias", 'D', '1', 0},
    {UM_ENCODER_OUTPUT_NORM, LAYER "output.LayerNorm.weight", 'D', '1', 0},
    {UM_ENCODER_OUTPUT_NORM + 1, LAYER "output.LayerNorm.bias", 'D', '1', 0},
    {POOLER, "pooler.dense.weight", 'D', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_SEQUENCE},
    {POOLER + 1, "pooler.dense.bias", 'D', '1', UM_WEIGHT_HEAD | UM_WEIGHT_SEQUENCE},
    {HEAD, "classifier.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {HEAD + 1, "classifier.bias", 'O', '1', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
};

static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    const char *positions = "absolute";
    bool is_decoder = false;
    (void)dims;
    UM_RETURN_IF(um_json_get_bool(&is_decoder, config, "is_decoder", where, err));
    if (is_decoder)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': a BERT with is_decoder is not supported",
                       where);
    UM_RETURN_IF(um_json_get_str(&positions, config, "position_embedding_type", where, err));
    if (strcmp(positions, "absolute") != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': position_embedding_type '%s' is not supported, only "
                       "'absolute'",
                       where, positions);
    return UM_OK;
}

static struct um_value *hidden(const struct um_model *m, struct um_tape *tape,
                               const struct um_input *in)
{
    const struct um_lookup lookups[] = {{um_model_param(m, WORDS, -1), in->ids},
                                        {um_model_param(m, TYPES, -1), in->types},
                                        {um_model_param(m, POSITIONS, -1), in->positions}};
    return um_encoder_hidden(m, tape, lookups, 3, in->n_tokens);
}

static struct um_value *head(const struct um_model *m, struct um_tape *tape,
                             const struct um_input *in, struct um_value *x)
{
    x = um_take_columns(tape, x, in->first, in->n_sequences);
    x = um_activate(tape, um_encoder_linear(m, tape, x, POOLER, -1), UM_ACT_TANH);
    x = um_dropout(tape, x, (float)m->dims.head_dropout);
    return um_encoder_linear(m, tape, x, HEAD, -1);
}

static struct um_value *tag(const struct um_model *m, struct um_tape *tape, struct um_value *x)
{
    return um_encoder_tag(m, tape, x, HEAD, m->dims.head_dropout);
}

static const char *const targets[] = {"query", "value", NULL};
static const char *const model_types[] = {"bert", NULL};

const struct um_arch um_arch_bert = {
    .name = "bert",
    .summary = "BERT of any size, MiniLM",
    .model_types = model_types,
    .prefix = "bert.",
    .task_class = "BertForSequenceClassification",
    .tag_class = "BertForTokenClassification",
    .keys = keys,
    .n_keys = UM_COUNT(keys),
    .activation_key = "hidden_act",
    .defaults = {.norm_eps = 1e-12, .dropout = 0.1, .attention_dropout = 0.1, .init_std = 0.02},
    .check = check,
    .weights = weights,
    .n_weights = UM_COUNT(weights),
    .n_roles = N_ROLES,
    .targets = targets,
    .hidden = hidden,
    .head = head,
    .tag = tag,
};
