/* Between GGUF's names and settings and those of Hugging Face folders. */
#include "format/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Groups of architectures that name their tensors alike. */
enum group { LLAMA = 1, QWEN = 2, GEMMA = 4, GEMMA_NORMS = 8, GPT2 = 16, ROTARY = 15 };

struct um_gguf_family {
    const char *model_type, *name; /* config.json's, GGUF's */
    unsigned groups;
    int64_t window_pattern; /* every so manieth layer sees all; 0: no windows */
    double local_theta;     /* of windowed layers, which GGUF does not say; 0: as the others */
    int64_t odd_scale_layers; /* a model of so many layers scales scores by D / H, not by E */
};

static const struct um_gguf_family families[] = {
    {"llama", "llama", LLAMA, 0, 0, 0},
    {"mistral", "llama", LLAMA, 0, 0, 0},
    {"qwen2", "qwen2", QWEN, 0, 0, 0},
    {"qwen3", "qwen3", QWEN, 0, 0, 0},
    {"gemma", "gemma", GEMMA, 0, 0, 0},
    {"gemma2", "gemma2", GEMMA | GEMMA_NORMS, 2, 0, 46},
    {"gemma3_text", "gemma3", GEMMA | GEMMA_NORMS, 6, 1e4, 62},
    {"gpt2", "gpt2", GPT2, 0, 0, 0},
};

const struct um_gguf_family *um_gguf_family_of(const char *model_type)
{
    for (size_t i = 0; i < UM_COUNT(families); i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

const char *um_gguf_family_name(const struct um_gguf_family *family)
{
    return family->name;
}

/* ---- tensors */

/* A name without ".weight" or ".bias"; '#' stands for the layer. */
struct name {
    const char *gguf, *folder;
    unsigned groups;
    enum um_gguf_change change; /* of LLAMA's maps, GEMMA's norms, GPT2's maps */
};

#define LAYER "model.layers.#."
static const struct name names[] = {
    {"token_embd", "model.embed_tokens", ROTARY, UM_GGUF_SAME},
    {"output_norm", "model.norm", LLAMA | QWEN, UM_GGUF_SAME},
    {"output_norm", "model.norm", GEMMA, UM_GGUF_PLUS_ONE},
    {"output", "lm_head", ROTARY | GPT2, UM_GGUF_SAME},
    {"blk.#.attn_norm", LAYER "input_layernorm", LLAMA | QWEN, UM_GGUF_SAME},
    {"blk.#.attn_norm", LAYER "input_layernorm", GEMMA, UM_GGUF_PLUS_ONE},
    {"blk.#.attn_q", LAYER "self_attn.q_proj", LLAMA, UM_GGUF_PAIRED},
    {"blk.#.attn_k", LAYER "self_attn.k_proj", LLAMA, UM_GGUF_PAIRED},
    {"blk.#.attn_q", LAYER "self_attn.q_proj", QWEN | GEMMA, UM_GGUF_SAME},
    {"blk.#.attn_k", LAYER "self_attn.k_proj", QWEN | GEMMA, UM_GGUF_SAME},
    {"blk.#.attn_v", LAYER "self_attn.v_proj", ROTARY, UM_GGUF_SAME},
    {"blk.#.attn_output", LAYER "self_attn.o_proj", ROTARY, UM_GGUF_SAME},
    {"blk.#.attn_q_norm", LAYER "self_attn.q_norm", QWEN, UM_GGUF_SAME},
    {"blk.#.attn_k_norm", LAYER "self_attn.k_norm", QWEN, UM_GGUF_SAME},
    {"blk.#.attn_q_norm", LAYER "self_attn.q_norm", GEMMA, UM_GGUF_PLUS_ONE},
    {"blk.#.attn_k_norm", LAYER "self_attn.k_norm", GEMMA, UM_GGUF_PLUS_ONE},
    {"blk.#.post_attention_norm", LAYER "post_attention_layernorm", GEMMA_NORMS, UM_GGUF_PLUS_ONE},
    {"blk.#.ffn_norm", LAYER "pre_feedforward_layernorm", GEMMA_NORMS, UM_GGUF_PLUS_ONE},
    {"blk.#.post_ffw_norm", LAYER "post_feedforward_layernorm", GEMMA_NORMS, UM_GGUF_PLUS_ONE},
    {"blk.#.ffn_norm", LAYER "post_attention_layernorm", LLAMA | QWEN, UM_GGUF_SAME},
    {"blk.#.ffn_norm", LAYER "post_attention_layernorm", GEMMA, UM_GGUF_PLUS_ONE},
    {"blk.#.ffn_gate", LAYER "mlp.gate_proj", ROTARY, UM_GGUF_SAME},
    {"blk.#.ffn_up", LAYER "mlp.up_proj", ROTARY, UM_GGUF_SAME},
    {"blk.#.ffn_down", LAYER "mlp.down_proj", ROTARY, UM_GGUF_SAME},
    {"token_embd", "transformer.wte", GPT2, UM_GGUF_SAME},
    {"position_embd", "transformer.wpe", GPT2, UM_GGUF_SAME},
    {"output_norm", "transformer.ln_f", GPT2, UM_GGUF_SAME},
    {"blk.#.attn_norm", "transformer.h.#.ln_1", GPT2, UM_GGUF_SAME},
    {"blk.#.attn_qkv", "transformer.h.#.attn.c_attn", GPT2, UM_GGUF_TRANSPOSED},
    {"blk.#.attn_output", "transformer.h.#.attn.c_proj", GPT2, UM_GGUF_TRANSPOSED},
    {"blk.#.ffn_norm", "transformer.h.#.ln_2", GPT2, UM_GGUF_SAME},
    {"blk.#.ffn_up", "transformer.h.#.mlp.c_fc", GPT2, UM_GGUF_TRANSPOSED},
    {"blk.#.ffn_down", "transformer.h.#.mlp.c_proj", GPT2, UM_GGUF_TRANSPOSED},
};

/* Whether text is the pattern, then ".weight" or ".bias"; its layer (-1 = none) and which it is. */
static bool matches(const char *pattern, const char *text, int64_t *layer, bool *is_bias)
{
    *layer = -1;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*text++ != *pattern)
                return false;
            continue;
        }
        int n = 0;
        for (*layer = 0; n < 6 && *text >= '0' && *text <= '9'; n++)
            *layer = *layer * 10 + (*text++ - '0');
        if (n == 0)
            return false;
    }
    *is_bias = strcmp(text, ".bias") == 0;
    return *is_bias || strcmp(text, ".weight") == 0;
}

static void fill(char *out, const char *pattern, int64_t layer, bool is_bias)
{
    const char *mark = strchr(pattern, '#'), *rest = is_bias ? ".bias" : ".weight";
    if (mark)
        (void)snprintf(out, UM_GGUF_NAME_BYTES, "%.*s%lld%s%s", (int)(mark - pattern), pattern,
                       (long long)layer, mark + 1, rest);
    else
        (void)snprintf(out, UM_GGUF_NAME_BYTES, "%s%s", pattern, rest);
}

/* GEMMA_NORMS rows come before GEMMA's of the same name: the first that fits counts. */
bool um_gguf_name_to_folder(char *out, const struct um_gguf_family *family, const char *name)
{
    int64_t layer;
    bool is_bias;
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        if ((names[i].groups & family->groups) && matches(names[i].gguf, name, &layer, &is_bias)) {
            fill(out, names[i].folder, layer, is_bias);
            return true;
        }
    }
    return false;
}

bool um_gguf_name_from_folder(char *out, enum um_gguf_change *change,
                              const struct um_gguf_family *family, const char *name)
{
    char full[UM_GGUF_NAME_BYTES];
    int64_t layer;
    bool is_bias;
    for (size_t i = 0; i < 2 * UM_COUNT(names); i++) {
        const struct name *n = &names[i % UM_COUNT(names)];
        /* The second time round: names without the prefix of the whole ("h.0.ln_1"). */
        bool is_bare = i >= UM_COUNT(names);
        (void)snprintf(full, sizeof(full), "%.*s%s",
                       is_bare ? (int)(strcspn(n->folder, ".") + 1) : 0, n->folder, name);
        if ((n->groups & family->groups) && matches(n->folder, full, &layer, &is_bias)) {
            fill(out, n->gguf, layer, is_bias);
            *change = n->change == UM_GGUF_TRANSPOSED && is_bias ? UM_GGUF_SAME : n->change;
            return true;
        }
    }
    return false;
}

/* ---- settings */

enum value { COUNT, REAL };

struct setting {
    const char *gguf, *folder; /* GGUF's key behind "ARCHITECTURE." */
    enum value value;
    bool is_required;
    unsigned groups;
};

static const struct setting settings[] = {
    {"context_length", "max_position_embeddings", COUNT, true, ROTARY},
    {"embedding_length", "hidden_size", COUNT, true, ROTARY},
    {"block_count", "num_hidden_layers", COUNT, true, ROTARY},
    {"feed_forward_length", "intermediate_size", COUNT, true, ROTARY},
    {"attention.head_count", "num_attention_heads", COUNT, true, ROTARY},
    {"attention.head_count_kv", "num_key_value_heads", COUNT, false, ROTARY},
    {"attention.key_length", "head_dim", COUNT, false, ROTARY},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", REAL, true, ROTARY},
    {"attention.sliding_window", "sliding_window", COUNT, false, GEMMA_NORMS},
    {"attn_logit_softcapping", "attn_logit_softcapping", REAL, false, GEMMA_NORMS},
    {"final_logit_softcapping", "final_logit_softcapping", REAL, false, GEMMA_NORMS},
    {"rope.freq_base", "rope_theta", REAL, false, ROTARY},
    {"rope.freq_base_swa", "rope_local_base_freq", REAL, false, GEMMA_NORMS},
    {"context_length", "n_positions", COUNT, true, GPT2},
    {"embedding_length", "n_embd", COUNT, true, GPT2},
    {"block_count", "n_layer", COUNT, true, GPT2},
    {"feed_forward_length", "n_inner", COUNT, true, GPT2},
    {"attention.head_count", "n_head", COUNT, true, GPT2},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", REAL, true, GPT2},
};

static const struct um_gguf_pair *find_pair(const struct um_gguf *gguf,
                                            const struct um_gguf_family *family, const char *key)
{
    char full[128];
    (void)snprintf(full, sizeof(full), "%s.%s", family->name, key);
    return um_gguf_pair(gguf, full);
}

static bool is_number(const struct um_gguf_pair *pair)
{
    return pair->type != UM_GGUF_STRING && pair->type != UM_GGUF_ARRAY;
}

static bool pair_is(const struct um_gguf_pair *pair, const char *text)
{
    return pair && pair->type == UM_GGUF_STRING && pair->n == strlen(text) &&
           memcmp(pair->text, text, pair->n) == 0;
}

static enum um_status find_family(const struct um_gguf_family **family,
                                  const struct um_gguf *gguf, const char *path,
                                  struct um_error *err)
{
    const struct um_gguf_pair *pair = um_gguf_pair(gguf, "general.architecture");
    struct um_str known = {0};
    for (size_t i = 0; i < UM_COUNT(families); i++) {
        if (pair_is(pair, families[i].name)) {
            *family = &families[i];
            um_str_free(&known);
            return UM_OK;
        }
        um_str_add_item(&known, families[i].name);
    }
    bool is_text = pair && pair->type == UM_GGUF_STRING;
    enum um_status status =
        um_fail(err, UM_E_INPUT, "cannot load '%s': general.architecture is '%.*s', known are: %s",
                path, is_text ? (int)(pair->n < 60 ? pair->n : 60) : 9,
                is_text ? pair->text : "(missing)", known.text ? known.text : "");
    um_str_free(&known);
    return status;
}

static enum um_status read_settings(json_t *config, const struct um_gguf *gguf,
                                    const struct um_gguf_family *family, const char *path,
                                    struct um_error *err)
{
    for (size_t i = 0; i < UM_COUNT(settings); i++) {
        const struct setting *s = &settings[i];
        const struct um_gguf_pair *pair = find_pair(gguf, family, s->gguf);
        if (!(s->groups & family->groups) || (!pair && !s->is_required))
            continue;
        if (!pair || !is_number(pair) || (s->value == REAL && !isfinite(pair->real)))
            return um_fail(err, UM_E_INPUT, "cannot load '%s': metadata '%s.%s' is %s", path,
                           family->name, s->gguf, pair ? "not a number" : "missing");
        json_t *value = s->value == COUNT ? json_integer(pair->integer) : json_real(pair->real);
        if (json_object_set_new(config, s->folder, value) != 0)
            return um_fail_memory(err, path, 0);
    }
    return UM_OK;
}

/* A setting that is a finite number; leaves *value as it is where it is not there. */
static enum um_status get_real(double *value, const struct um_gguf *gguf,
                               const struct um_gguf_family *family, const char *key,
                               const char *path, struct um_error *err)
{
    const struct um_gguf_pair *pair = find_pair(gguf, family, key);
    if (!pair)
        return UM_OK;
    if (!is_number(pair) || !isfinite(pair->real))
        return um_fail(err, UM_E_INPUT, "cannot load '%s': metadata '%s.%s' is not a number", path,
                       family->name, key);
    *value = pair->real;
    return UM_OK;
}

/* YaRN's own settings, as config.json has them. llama.cpp multiplies its usual sharpening by
 * attn_factor, and mixes by ext_factor, which is 1 (or -1, for "as usual") in every file of a
 * model. */
static enum um_status read_yarn(json_t *scaling, double factor, const struct um_gguf *gguf,
                                const struct um_gguf_family *family, const char *path,
                                struct um_error *err)
{
    double fast = 32, slow = 1, sharper = 1, mix = 1, multiplier = 0;
    UM_RETURN_IF(get_real(&fast, gguf, family, "rope.scaling.yarn_beta_fast", path, err));
    UM_RETURN_IF(get_real(&slow, gguf, family, "rope.scaling.yarn_beta_slow", path, err));
    UM_RETURN_IF(get_real(&sharper, gguf, family, "rope.scaling.attn_factor", path, err));
    UM_RETURN_IF(get_real(&sharper, gguf, family, "rope.scaling.yarn_attn_factor", path, err));
    UM_RETURN_IF(get_real(&mix, gguf, family, "rope.scaling.yarn_ext_factor", path, err));
    UM_RETURN_IF(
        get_real(&multiplier, gguf, family, "rope.scaling.yarn_log_multiplier", path, err));
    if ((mix != 1 && mix != -1) || multiplier != 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': yarn with ext_factor %g and log_multiplier %g is not "
                       "supported", path, mix, multiplier);
    int failed = json_object_set_new(scaling, "beta_fast", json_real(fast));
    failed |= json_object_set_new(scaling, "beta_slow", json_real(slow));
    if (sharper != 1)
        failed |= json_object_set_new(scaling, "attention_factor",
                                      json_real(sharper * (0.1 * log(fmax(factor, 1)) + 1)));
    return failed ? um_fail_memory(err, path, 0) : UM_OK;
}

/* Long contexts: linear and yarn by metadata; llama3 by a tensor of factors ("rope_freqs"). */
static enum um_status read_scaling(json_t *config, const struct um_gguf *gguf,
                                   const struct um_gguf_family *family, const char *path,
                                   struct um_error *err)
{
    const struct um_gguf_pair *type = find_pair(gguf, family, "rope.scaling.type");
    const struct um_gguf_pair *factor = find_pair(gguf, family, "rope.scaling.factor");
    if (!factor)
        factor = find_pair(gguf, family, "rope.scale_linear"); /* its old name */
    const struct um_gguf_pair *original =
        find_pair(gguf, family, "rope.scaling.original_context_length");
    bool is_yarn = pair_is(type, "yarn");
    if (!factor || !is_number(factor) || !isfinite(factor->real) || pair_is(type, "none") ||
        factor->real == 0)
        return UM_OK;
    if (type && !is_yarn && !pair_is(type, "linear"))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': %s.rope.scaling.type is not none, linear or yarn", path,
                       family->name);
    json_t *scaling = json_pack("{s:s, s:f}", "rope_type", is_yarn ? "yarn" : "linear", "factor",
                                factor->real);
    if (scaling && original && is_number(original))
        (void)json_object_set_new(scaling, "original_max_position_embeddings",
                                  json_integer(original->integer));
    if (!scaling || json_object_set_new(config, "rope_scaling", scaling) != 0)
        return um_fail_memory(err, path, 0);
    return is_yarn ? read_yarn(scaling, factor->real, gguf, family, path, err) : UM_OK;
}

/* Which layers see a window: every so manieth does not, or layer by layer; else as the
 * architecture's name has it. */
static int add_pattern(json_t *config, const struct um_gguf *gguf,
                       const struct um_gguf_family *family)
{
    const struct um_gguf_pair *pair = find_pair(gguf, family, "attention.sliding_window_pattern");
    bool is_list = pair && pair->type == UM_GGUF_ARRAY && pair->element != UM_GGUF_STRING;
    int64_t n = pair && is_number(pair) ? pair->integer : family->window_pattern;
    if (!is_list)
        return json_object_set_new(config, "sliding_window_pattern", json_integer(n));
    json_t *types = json_array();
    int failed = 0;
    for (size_t l = 0; l < pair->n && !failed; l++)
        failed = json_array_append_new(types, json_string(um_gguf_integer_at(pair, l)
                                                              ? "sliding_attention"
                                                              : "full_attention"));
    return failed | json_object_set_new(config, "layer_types", types);
}

/* What GGUF leaves to the architecture's name. */
static enum um_status add_unsaid(json_t *config, const struct um_gguf *gguf,
                                 const struct um_gguf_family *family, const char *path,
                                 struct um_error *err)
{
    const struct um_tensor_view *words = um_gguf_find(gguf, "token_embd.weight");
    const struct um_gguf_pair *end = um_gguf_pair(gguf, "tokenizer.ggml.eos_token_id");
    int64_t layers = json_integer_value(json_object_get(config, "num_hidden_layers"));
    int64_t heads = json_integer_value(json_object_get(config, "num_attention_heads"));
    int64_t features = json_integer_value(json_object_get(config, "hidden_size"));
    const json_t *size = json_object_get(config, "head_dim");
    const struct um_gguf_pair *causal = find_pair(gguf, family, "attention.causal");
    if (!words)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': tensor 'token_embd.weight' is missing",
                       path);
    if (causal && causal->type == UM_GGUF_BOOL && !causal->integer)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': attention to what follows (%s.attention.causal) is not "
                       "supported", path, family->name);
    bool is_odd = family->odd_scale_layers && layers == family->odd_scale_layers;
    double scale = is_odd || !size ? (double)features / (double)(heads > 0 ? heads : 1)
                                   : (double)json_integer_value(size);
    int failed = json_object_set_new(config, "vocab_size", json_integer(words->dims[0]));
    failed |= json_object_set_new(config, "tie_word_embeddings",
                                  json_boolean(!um_gguf_find(gguf, "output.weight")));
    failed |= json_object_set_new(config, "query_pre_attn_scalar", json_real(scale));
    if (family->window_pattern)
        failed |= add_pattern(config, gguf, family);
    if (family->local_theta != 0 && !json_object_get(config, "rope_local_base_freq"))
        failed |= json_object_set_new(config, "rope_local_base_freq",
                                      json_real(family->local_theta));
    if (end && is_number(end))
        failed |= json_object_set_new(config, "eos_token_id", json_integer(end->integer));
    return failed ? um_fail_memory(err, path, 0) : UM_OK;
}

enum um_status um_gguf_config(json_t **config, const struct um_gguf_family **family,
                              const struct um_gguf *gguf, const char *path, struct um_error *err)
{
    enum um_status status;
    *config = NULL;
    UM_TRY(find_family(family, gguf, path, err));
    *config = json_pack("{s:s, s:b}", "model_type", (*family)->model_type, "is_gguf", 1);
    if (!*config)
        UM_TRY(um_fail_memory(err, path, 0));
    UM_TRY(read_settings(*config, gguf, *family, path, err));
    UM_TRY(read_scaling(*config, gguf, *family, path, err));
    UM_TRY(add_unsaid(*config, gguf, *family, path, err));
out:
    if (status != UM_OK) {
        json_decref(*config);
        *config = NULL;
    }
    return status;
}

/* A setting of the config, wherever transformers' versions put it. */
static const json_t *find_setting(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    const json_t *rope = json_object_get(config, "rope_parameters");
    const json_t *full = json_object_get(rope, "full_attention");
    if (!value || json_is_null(value))
        value = json_object_get(full ? full : rope, key);
    return json_is_null(value) ? NULL : value;
}

enum um_status um_gguf_declare_config(struct um_gguf_writer *w,
                                      const struct um_gguf_family *family, const json_t *config,
                                      const char *where, struct um_error *err)
{
    char key[128];
    um_gguf_declare_text(w, "general.architecture", family->name, strlen(family->name));
    for (size_t i = 0; i < UM_COUNT(settings); i++) {
        const struct setting *s = &settings[i];
        const json_t *value = find_setting(config, s->folder);
        if (!(s->groups & family->groups))
            continue;
        (void)snprintf(key, sizeof(key), "%s.%s", family->name, s->gguf);
        if (json_is_number(value) && s->value == REAL)
            um_gguf_declare_f32(w, key, (float)json_number_value(value));
        else if (json_is_integer(value) && json_integer_value(value) >= 0 &&
                 json_integer_value(value) <= UINT32_MAX)
            um_gguf_declare_u32(w, key, (uint32_t)json_integer_value(value));
        else if (s->is_required && strcmp(s->folder, "n_inner") != 0)
            return um_fail(err, UM_E_INPUT, "cannot write '%s': config.json has no '%s'", where,
                           s->folder);
        if (strcmp(s->folder, "n_inner") == 0 && !json_is_integer(value))
            um_gguf_declare_u32(w, key, 4 * (uint32_t)json_integer_value(
                                                json_object_get(config, "n_embd")));
    }
    return UM_OK;
}

int64_t um_gguf_paired_row(int64_t row, int64_t E)
{
    int64_t k = row % E;
    return row - k + k % 2 * (E / 2) + k / 2;
}

int64_t um_gguf_unpaired_row(int64_t row, int64_t E)
{
    int64_t k = row % E;
    return row - k + k % (E / 2) * 2 + k / (E / 2);
}
