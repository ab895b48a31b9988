/* DistilBERT (Sanh et al. 2019): BERT's encoder without token types and pooler; for sequence tasks
 * a ReLU layer over the first token. */
#include "model/encoder.h"

enum role {
    WORDS, POSITIONS, EMBED_GAMMA, EMBED_BETA,
    QUERY_W, QUERY_B, KEY_W, KEY_B, VALUE_W, VALUE_B, ATTN_W, ATTN_B, ATTN_GAMMA, ATTN_BETA,
    UP_W, UP_B, DOWN_W, DOWN_B, OUT_GAMMA, OUT_BETA,
    PRE_W, PRE_B, HEAD_W, HEAD_B,
    N_ROLES
};

static const struct um_config_key keys[] = {
    {"vocab_size", offsetof(struct um_dims, V), false, true},
    {"dim", offsetof(struct um_dims, D), false, true},
    {"n_layers", offsetof(struct um_dims, L), false, true},
    {"n_heads", offsetof(struct um_dims, H), false, true},
    {"hidden_dim", offsetof(struct um_dims, F), false, true},
    {"max_position_embeddings", offsetof(struct um_dims, P), false, true},
    {"dropout", offsetof(struct um_dims, dropout), true, false},
    {"attention_dropout", offsetof(struct um_dims, attention_dropout), true, false},
    {"seq_classif_dropout", offsetof(struct um_dims, head_dropout), true, false},
    {"initializer_range", offsetof(struct um_dims, init_std), true, false},
};

#define LAYER "transformer.layer.%d."
static const struct um_weight weights[] = {
    {WORDS, "embeddings.word_embeddings.weight", 'V', 'D', 0},
    {POSITIONS, "embeddings.position_embeddings.weight", 'P', 'D', 0},
    {EMBED_GAMMA, "embeddings.LayerNorm.weight", 'D', '1', 0},
    {EMBED_BETA, "embeddings.LayerNorm.bias", 'D', '1', 0},
    {QUERY_W, LAYER "attention.q_lin.weight", 'D', 'D', 0},
    {QUERY_B, LAYER "attention.q_lin.bias", 'D', '1', 0},
    {KEY_W, LAYER "attention.k_lin.weight", 'D', 'D', 0},
    {KEY_B, LAYER "attention.k_lin.bias", 'D', '1', 0},
    {VALUE_W, LAYER "attention.v_lin.weight", 'D', 'D', 0},
    {VALUE_B, LAYER "attention.v_lin.bias", 'D', '1', 0},
    {ATTN_W, LAYER "attention.out_lin.weight", 'D', 'D', 0},
    {ATTN_B, LAYER "attention.out_lin.bias", 'D', '1', 0},
    {ATTN_GAMMA, LAYER "sa_layer_norm.weight", 'D', '1', 0},
    {ATTN_BETA, LAYER "sa_layer_norm.bias", 'D', '1', 0},
    {UP_W, LAYER "ffn.lin1.weight", 'F', 'D', 0},
    {UP_B, LAYER "ffn.lin1.bias", 'F', '1', 0},
    {DOWN_W, LAYER "ffn.lin2.weight", 'D', 'F', 0},
    {DOWN_B, LAYER "ffn.lin2.bias", 'D', '1', 0},
    {OUT_GAMMA, LAYER "output_layer_norm.weight", 'D', '1', 0},
    {OUT_BETA, LAYER "output_layer_norm.bias", 'D', '1', 0},
    {PRE_W, "pre_classifier.weight", 'D', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {PRE_B, "pre_classifier.bias", 'D', '1', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {HEAD_W, "classifier.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
    {HEAD_B, "classifier.bias", 'O', '1', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
};

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
                                        {um_model_param(m, POSITIONS, -1), in->positions}};
    struct um_value *x = um_embed(tape, lookups, 2, in->n_tokens, 1);
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
    x = um_linear(tape, x, um_model_param(m, PRE_W, -1), um_model_param(m, PRE_B, -1));
    x = um_dropout(tape, um_activate(tape, x, UM_ACT_RELU), (float)m->dims.head_dropout);
    return um_linear(tape, x, um_model_param(m, HEAD_W, -1), um_model_param(m, HEAD_B, -1));
}

static const char *const model_types[] = {"distilbert", NULL};

const struct um_arch um_arch_distilbert = {
    .name = "distilbert",
    .summary = "DistilBERT",
    .model_types = model_types,
    .prefix = "distilbert.",
    .task_class = "DistilBertForSequenceClassification",
    .keys = keys,
    .n_keys = UM_COUNT(keys),
    .activation_key = "activation",
    .weights = weights,
    .n_weights = UM_COUNT(weights),
    .n_roles = N_ROLES,
    .hidden = hidden,
    .head = head,
};
