/*
 * GPT-2 (Radford et al. 2019): learnt positions, pre-norm layers, maps stored [in, out] ("Conv1D"),
 * query, key and value in one of them.
 */
#include "model/model.h"

#include <math.h>

#include "model/site.h"

enum role {
    WORDS, POSITIONS, NORM, HEAD = NORM + 2, SCORE, INPUT_NORM, ATTENTION = INPUT_NORM + 2,
    OUTPUT = ATTENTION + 2, FEED_NORM = OUTPUT + 2, UP = FEED_NORM + 2, DOWN = UP + 2,
    N_ROLES = DOWN + 2
};

static const struct um_config_key keys[] = {
    {"vocab_size", offsetof(struct um_dims, V), false, UM_KEY_REQUIRED},
    {"n_embd", offsetof(struct um_dims, D), false, UM_KEY_REQUIRED},
    {"n_layer", offsetof(struct um_dims, L), false, UM_KEY_REQUIRED},
    {"n_head", offsetof(struct um_dims, H), false, UM_KEY_REQUIRED},
    {"n_inner", offsetof(struct um_dims, F), false, UM_KEY_OPTIONAL},
    {"n_positions", offsetof(struct um_dims, P), false, UM_KEY_REQUIRED},
    {"layer_norm_epsilon", offsetof(struct um_dims, norm_eps), true, UM_KEY_OPTIONAL},
    {"resid_pdrop", offsetof(struct um_dims, dropout), true, UM_KEY_OPTIONAL},
    {"embd_pdrop", offsetof(struct um_dims, embed_dropout), true, UM_KEY_OPTIONAL},
    {"attn_pdrop", offsetof(struct um_dims, attention_dropout), true, UM_KEY_OPTIONAL},
    {"initializer_range", offsetof(struct um_dims, init_std), true, UM_KEY_OPTIONAL},
};

#define LAYER "h.%d."
static const struct um_weight weights[] = {
    {WORDS, "wte.weight", 'V', 'D', 0},
    {POSITIONS, "wpe.weight", 'P', 'D', 0},
    {INPUT_NORM, LAYER "ln_1.weight", 'D', '1', 0},
    {INPUT_NORM + 1, LAYER "ln_1.bias", 'D', '1', 0},
    {ATTENTION, LAYER "attn.c_attn.weight", 'D', '3', UM_WEIGHT_TURNED},
    {ATTENTION + 1, LAYER "attn.c_attn.bias", '3', '1', 0},
    {OUTPUT, LAYER "attn.c_proj.weight", 'D', 'D', UM_WEIGHT_TURNED},
    {OUTPUT + 1, LAYER "attn.c_proj.bias", 'D', '1', 0},
    {FEED_NORM, LAYER "ln_2.weight", 'D', '1', 0},
    {FEED_NORM + 1, LAYER "ln_2.bias", 'D', '1', 0},
    {UP, LAYER "mlp.c_fc.weight", 'D', 'F', UM_WEIGHT_TURNED},
    {UP + 1, LAYER "mlp.c_fc.bias", 'F', '1', 0},
    {DOWN, LAYER "mlp.c_proj.weight", 'F', 'D', UM_WEIGHT_TURNED},
    {DOWN + 1, LAYER "mlp.c_proj.bias", 'D', '1', 0},
    {NORM, "ln_f.weight", 'D', '1', 0},
    {NORM + 1, "ln_f.bias", 'D', '1', 0},
    {HEAD, "lm_head.weight", 'V', 'D', UM_WEIGHT_TASK | UM_WEIGHT_VOCABULARY},
    {SCORE, "score.weight", 'O', 'D', UM_WEIGHT_HEAD | UM_WEIGHT_TASK},
};

static enum um_status check(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err)
{
    bool is_scaled = true, by_layer = false;
    UM_RETURN_IF(um_json_get_bool(&is_scaled, config, "scale_attn_weights", where, err));
    UM_RETURN_IF(um_json_get_bool(&by_layer, config, "scale_attn_by_inverse_layer_idx", where,
                                  err));
    if (!is_scaled || by_layer)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': scale_attn_weights off and "
                       "scale_attn_by_inverse_layer_idx on are not supported",
                       where);
    if (dims->F == 0)
        dims->F = 4 * dims->D;
    return UM_OK;
}

/* An [in, out] map of a Hugging Face folder; GGUF files hold it [out, in]. */
static struct um_value *conv1d(const struct um_model *m, struct um_tape *tape, struct um_value *x,
                               int role, int64_t l)
{
    return (m->folder.gguf ? um_linear : um_linear_transposed)(
        tape, x, um_model_param(m, role, l), um_model_param(m, role + 1, l));
}

static struct um_value *norm(const struct um_model *m, struct um_tape *tape, struct um_value *x,
                             int role, int64_t l)
{
    return um_norm(tape, x, um_model_param(m, role, l), um_model_param(m, role + 1, l),
                   (struct um_norm_options){.eps = (float)m->dims.norm_eps});
}

static struct um_value *gpt2_layer(const struct um_model *m, struct um_tape *tape,
                                   struct um_value *x, int64_t l)
{
    const struct um_dims *dims = &m->dims;
    const float dropout = (float)dims->dropout;
    const struct um_attention_options attention = {.n_heads = dims->H,
                                                   .n_kv_heads = dims->K,
                                                   .dropout = (float)dims->attention_dropout,
                                                   .is_causal = true};
    um_tape_block_begin(tape);
    struct um_value *h = norm(m, tape, x, INPUT_NORM, l);
    h = um_attention_packed(tape, conv1d(m, tape, h, ATTENTION, l), attention);
    x = um_model_join(
        m, tape, x, conv1d(m, tape, h, OUTPUT, l),
        (struct um_join){.site = UM_SITE_ATTENTION, .layer = l, .dropout = dropout});
    h = conv1d(m, tape, norm(m, tape, x, FEED_NORM, l), UP, l);
    h = um_activate(tape, h, dims->activation);
    x = um_model_join(
        m, tape, x, conv1d(m, tape, h, DOWN, l),
        (struct um_join){.site = UM_SITE_FEED_FORWARD, .layer = l, .dropout = dropout});
    um_tape_block_end(tape);
    return x;
}

static struct um_value *hidden(const struct um_model *m, struct um_tape *tape,
                               const struct um_input *in)
{
    const struct um_lookup lookups[] = {{um_model_param(m, WORDS, -1), in->ids},
                                        {um_model_param(m, POSITIONS, -1), in->positions}};
    struct um_value *x = um_embed(tape, lookups, 2, in->n_tokens, 1);
    x = um_dropout(tape, x, (float)m->dims.embed_dropout);
    for (int64_t l = 0; l < m->dims.L; l++)
        x = gpt2_layer(m, tape, x, l);
    return norm(m, tape, x, NORM, -1);
}

static struct um_value *head(const struct um_model *m, struct um_tape *tape,
                             const struct um_input *in, struct um_value *x)
{
    x = um_take_columns(tape, x, in->last, in->n_sequences);
    return um_linear(tape, x, um_model_param(m, SCORE, -1), NULL);
}

static const char *const targets[] = {"c_attn", NULL};
static const char *const model_types[] = {"gpt2", NULL};

const struct um_arch um_arch_gpt2 = {
    .name = "gpt2",
    .summary = "GPT-2 of any size",
    .model_types = model_types,
    .prefix = "transformer.",
    .task_class = "GPT2ForSequenceClassification",
    .text_class = "GPT2LMHeadModel",
    .keys = keys,
    .n_keys = UM_COUNT(keys),
    .activation_key = "activation_function",
    .defaults = {.norm_eps = 1e-5, .dropout = 0.1, .attention_dropout = 0.1, .embed_dropout = 0.1,
                 .init_std = 0.02, .activation = UM_ACT_GELU_TANH, .is_tied = true},
    .check = check,
    .weights = weights,
    .n_weights = UM_COUNT(weights),
    .n_roles = N_ROLES,
    .is_decoder = true,
    .words = WORDS,
    .vocabulary = HEAD,
    .targets = targets,
    .hidden = hidden,
    .head = head,
};
