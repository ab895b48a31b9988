/* DistilBERT (Sanh et al. 2019): BERT's encoder without token types and pooler; for sequence tasks
 * a ReLU layer over the first token, for tags nothing before the classifier. */
#include "model/encoder.h"

enum role {
    WORDS = UM_ENCODER_ROLES, POSITIONS, PRE_HEAD, HEAD = PRE_HEAD + 2,
    N_ROLES = HEAD + 2
};

static const struct um_config_key keys[] = {
    {"vocab_size", offsetof(struct um_dims, V), false, UM_KEY_REQUIRED},
    {"dim", offsetof(struct um_dims, D), false, UM_KEY_REQUIRED},
    {"n_layers", offsetof(struct um_dims, L), false, UM_KEY_REQUIRED},
    {"n_heads", offsetof(struct um_dims, H), false, UM_KEY_REQUIRED},
    {"hidden_dim", offsetof(struct um_dims, F), false, UM_KEY_REQUIRED},
    {"max_position_embeddings", offsetof(struct um_dims, P), false, UM_KEY_REQUIRED},
    {"dropout", offsetof(struct um_dims, dropout), true, UM_KEY_OPTIONAL},
    {"attention_dropout", offsetof(struct um_dims, attention_dropout), true, UM_KEY_OPTIONAL},
    {"seq_classif_dropout", offsetof(struct um_dims, head_dropout), true, UM_KEY_OPTIONAL},
    {"initializer_range", offsetof(struct um_dims, init_std), true, UM_KEY_OPTIONAL},
};

#define LAYER "transformer.layer.%d."
static const struct um_weight weights[] = {
    {WORDS, "embeddings.word_embeddings.weight", 'V', 'D', 0},
    {POSITIONS, "embeddings.position_embeddings.weight", 'P', 'D', 0},
    {UM_ENCODER_EMBED_NORM, "embeddings.LayerNorm.weight", 'D', '1', 0},
    {UM_ENCODER_EMBED_NORM + 1, "embeddings.LayerNorm.bias", 'D', '1', 0},
    {UM_ENCODER_QUERY, LAYER "attention.q_lin.weight", 'D', 'D', 0},
    {UM_ENCODER_QUERY + 1, LAYER "attention.q_lin.bias", 'D', '1', 0},
    {UM_ENCODER_KEY, LAYER "attention.k_lin.weight", 'D', 'D', 0},
    {UM_ENCODER_KEY + 1, LAYER "attention.k_lin.bias", 'D', '1', 0},
    {UM_ENCODER_VALUE, LAYER "attention.v_lin.weight", 'D', 'D', 0},
    {UM_ENCODER_VALUE + 1, LAYER "attention.v_lin.bias", 'D', '1', 0},
    {UM_ENCODER_OUTPUT, LAYER "attention.out_lin.weight", 'D', 'D', 0},
    {UM_ENCODER_OUTPUT + 1, LAYER "attention.out_lin.bias", 'D', '1', 0},
    {UM_ENCODER_ATTENTION_NORM, LAYER "sa_layer_norm.weight", 'D', '1', 0},
    {UM_ENCODER_ATTENTION_NORM + 1, LAYER "sa_layer_norm.bias", 'D', '1', 0},
    {UM_ENCODER_UP, LAYER "ffn.lin1.weight", 'F', 'D', 0},
    {UM_ENCODER_UP + 1, LAYER "ffn.lin1.bias", 'F', '1', 0},
    {UM_ENCODER_DOWN, LAYER "ffn.lin2.weight", 'D', 'F', 0},
    {UM_ENCODER_DOWN + 1, LAYER "ffn.lin2.bias", 'D', '1', 0},
    {UM_ENCODER_OUTPUT_NORM, LAYER "output_layer_norm.weight", 'D', '1', 0},
    {UM_ENCODER_OUTPUT_NORM + 1, LAYER "output_layer_norm.bias", 'D', '1', 0},
    {PRE_HEAD, "pre_classifier.weight", 'D', 'D',
     UM_WEIGHT_HEAD | UM_WEIGHT_TASK | UM_WEIGHT_SEQUENCE},
    {PRE_HEAD + 1, "pre_classifier.bias", 'D', '1',
     UM_WEIGHT_HEAD | UM_WEIGHT_TASK | UM_WEIGHT_SEQUENCE},
    {HEAD, "classifier.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {HEAD + 1, "classifier.bias", 'O', '1', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
};

static struct um_value *hidden(const struct um_model *m, struct um_tape *tape,
                               const struct um_input *in)
{
    const struct um_lookup lookups[] = {{um_model_param(m, WORDS, -1), in->ids},
                                        {um_model_param(m, POSITIONS, -1), in->positions}};
    return um_encoder_hidden(m, tape, lookups, 2, in->n_tokens);
}

static struct um_value *head(const struct um_model *m, struct um_tape *tape,
                             const struct um_input *in, struct um_value *x)
{
    x = um_take_columns(tape, x, in->first, in->n_sequences);
    x = um_activate(tape, um_encoder_linear(m, tape, x, PRE_HEAD, -1), UM_ACT_RELU);
    x = um_dropout(tape, x, (float)m->dims.head_dropout);
    return um_encoder_linear(m, tape, x, HEAD, -1);
}

static struct um_value *tag(const struct um_model *m, struct um_tape *tape, struct um_value *x)
{
    return um_encoder_tag(m, tape, x, HEAD, m->dims.dropout);
}

static const char *const targets[] = {"q_lin", "v_lin", NULL};
static const char *const model_types[] = {"distilbert", NULL};

const struct um_arch um_arch_distilbert = {
    .name = "distilbert",
    .summary = "DistilBERT",
    .model_types = model_types,
    .prefix = "distilbert.",
    .task_class = "DistilBertForSequenceClassification",
    .tag_class = "DistilBertForTokenClassification",
    .keys = keys,
    .n_keys = UM_COUNT(keys),
    .activation_key = "activation",
    .defaults = {.norm_eps = 1e-12, .dropout = 0.1, .attention_dropout = 0.1, .init_std = 0.02},
    .weights = weights,
    .n_weights = UM_COUNT(weights),
    .n_roles = N_ROLES,
    .targets = targets,
    .hidden = hidden,
    .head = head,
    .tag = tag,
};
