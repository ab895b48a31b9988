/* The pre-norm decoder of LLaMA (Touvron et al. 2023) with the options of its relatives. */
#include "model/decoder.h"

#include <math.h>
#include <string.h>

#include "model/site.h"

static struct um_value *linear(const struct um_model *model, struct um_tape *tape,
                               struct um_value *x, int role, int64_t layer)
{
    return um_linear(tape, x, um_model_param(model, role, layer),
                     um_model_param(model, role + 1, layer));
}

static struct um_value *norm(const struct um_model *model, struct um_tape *tape,
                             struct um_value *x, int role, int64_t layer)
{
    struct um_param *gamma = um_model_param(model, role, layer);
    const struct um_norm_options options = {.eps = (float)model->dims.norm_eps,
                                            .is_rms = true,
                                            .adds_one = model->dims.norm_adds_one};
    return gamma ? um_norm(tape, x, gamma, NULL, options) : x;
}

static struct um_value *attention(const struct um_model *model, struct um_tape *tape,
                                  struct um_value *h, struct um_value *const angles[2], int64_t l)
{
    const struct um_dims *dims = &model->dims;
    bool has_window = um_layer_is_windowed(dims, l);
    struct um_value *q = linear(model, tape, h, UM_DECODER_QUERY, l);
    struct um_value *k = linear(model, tape, h, UM_DECODER_KEY, l);
    struct um_value *v = linear(model, tape, h, UM_DECODER_VALUE, l);
    q = norm(model, tape, q, UM_DECODER_QUERY_NORM, l);
    k = norm(model, tape, k, UM_DECODER_KEY_NORM, l);
    q = um_rope(tape, q, angles[has_window], dims->rope_is_interleaved);
    k = um_rope(tape, k, angles[has_window], dims->rope_is_interleaved);
    const struct um_attention_options options = {.n_heads = dims->H,
                                                 .n_kv_heads = dims->K,
                                                 .scale = (float)dims->attention_scale,
                                                 .dropout = (float)dims->attention_dropout,
                                                 .is_causal = true,
                                                 .window = has_window ? dims->window : 0,
                                                 .cap = (float)dims->attention_cap};
    return linear(model, tape, um_attention(tape, q, k, v, options), UM_DECODER_OUTPUT, l);
}

static struct um_value *decoder_layer(const struct um_model *model, struct um_tape *tape,
                                      struct um_value *x, struct um_value *const angles[2],
                                      int64_t l)
{
    um_tape_block_begin(tape);
    struct um_value *h = norm(model, tape, x, UM_DECODER_INPUT_NORM, l);
    h = attention(model, tape, h, angles, l);
    x = um_model_join(model, tape, x, norm(model, tape, h, UM_DECODER_ATTENTION_NORM, l),
                      (struct um_join){.site = UM_SITE_ATTENTION, .layer = l});
    h = norm(model, tape, x, UM_DECODER_FEED_NORM, l);
    struct um_value *gate = linear(model, tape, h, UM_DECODER_GATE, l);
    struct um_value *up = linear(model, tape, h, UM_DECODER_UP, l);
    h = um_gate(tape, gate, up, model->dims.activation);
    h = linear(model, tape, h, UM_DECODER_DOWN, l);
    x = um_model_join(model, tape, x, norm(model, tape, h, UM_DECODER_OUTPUT_NORM, l),
                      (struct um_join){.site = UM_SITE_FEED_FORWARD, .layer = l});
    um_tape_block_end(tape);
    return x;
}

struct um_value *um_decoder_hidden(const struct um_model *model, struct um_tape *tape,
                                   const struct um_input *in)
{
    const struct um_dims *dims = &model->dims;
    const struct um_lookup lookup = {um_model_param(model, UM_DECODER_WORDS, -1), in->ids};
    float scale = dims->embed_scale == 0 ? 1 : (float)dims->embed_scale;
    struct um_value *x = um_embed(tape, &lookup, 1, in->n_tokens, scale);
    struct um_value *angles[2]; /* of full and of windowed layers */
    angles[0] = um_rope_angles(tape, in->positions, in->n_tokens, dims->E, dims->rope);
    angles[1] = dims->rope_windowed.theta == 0
                    ? angles[0]
                    : um_rope_angles(tape, in->positions, in->n_tokens, dims->E,
                                     dims->rope_windowed);
    for (int64_t l = 0; l < dims->L; l++)
        x = decoder_layer(model, tape, x, angles, l);
    return norm(model, tape, x, UM_DECODER_NORM, -1);
}

struct um_value *um_decoder_score(const struct um_model *model, struct um_tape *tape,
                                  const struct um_input *in, struct um_value *x)
{
    x = um_take_columns(tape, x, in->last, in->n_sequences);
    return um_linear(tape, x, um_model_param(model, UM_DECODER_SCORE, -1), NULL);
}

const char *const um_decoder_targets[] = {"q_proj", "v_proj", NULL};

/* ---- config */

/* 0.1 m ln(factor) + 1: how yarn sharpens attention (Peng et al. 2023, section 3.4). */
static double yarn_sharpness(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static enum um_status read_yarn(struct um_rope_options *rope, const json_t *json,
                                const char *where, struct um_error *err)
{
    double mscale = 0, mscale_all = 0;
    bool is_truncated =
        true; /* where the ramp between the bands begins and ends: at whole numbers */
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    UM_RETURN_IF(um_json_get_f64(&rope->beta_fast, json, "beta_fast", where, err));
    UM_RETURN_IF(um_json_get_f64(&rope->beta_slow, json, "beta_slow", where, err));
    UM_RETURN_IF(um_json_get_f64(&mscale, json, "mscale", where, err));
    UM_RETURN_IF(um_json_get_f64(&mscale_all, json, "mscale_all_dim", where, err));
    UM_RETURN_IF(um_json_get_bool(&is_truncated, json, "truncate", where, err));
    if (!is_truncated)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': yarn with truncate off is not supported", where);
    rope->attention_factor = mscale != 0 && mscale_all != 0
                                 ? yarn_sharpness(rope->factor, mscale) /
                                       yarn_sharpness(rope->factor, mscale_all)
                                 : yarn_sharpness(rope->factor, 1);
    return um_json_get_f64(&rope->attention_factor, json, "attention_factor", where, err);
}

static enum um_status read_scaling(struct um_rope_options *rope, const json_t *json,
                                   const char *where, struct um_error *err)
{
    static const struct {
        const char *name;
        enum um_rope_scaling scaling;
    } kinds[] = {{"default", UM_ROPE_PLAIN}, {"linear", UM_ROPE_LINEAR},
                 {"llama3", UM_ROPE_LLAMA3}, {"yarn", UM_ROPE_YARN}};
    const char *name = "default";
    size_t k = 0;
    UM_RETURN_IF(um_json_get_str(&name, json, "type", where, err)); /* its old name */
    UM_RETURN_IF(um_json_get_str(&name, json, "rope_type", where, err));
    while (k < UM_COUNT(kinds) && strcmp(kinds[k].name, name) != 0)
        k++;
    if (k == UM_COUNT(kinds))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': rotary scaling '%s' is not one of default, linear, "
                       "llama3, yarn",
                       where, name);
    rope->scaling = kinds[k].scaling;
    rope->factor = 1;
    rope->low_factor = 1;
    rope->high_factor = 4;
    UM_RETURN_IF(um_json_get_f64(&rope->theta, json, "rope_theta", where, err));
    UM_RETURN_IF(um_json_get_f64(&rope->factor, json, "factor", where, err));
    if (rope->scaling != UM_ROPE_PLAIN && !json_is_number(json_object_get(json, "factor")))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': rotary scaling '%s' has no factor", where, name);
    UM_RETURN_IF(um_json_get_f64(&rope->low_factor, json, "low_freq_factor", where, err));
    UM_RETURN_IF(um_json_get_f64(&rope->high_factor, json, "high_freq_factor", where, err));
    UM_RETURN_IF(um_json_get_f64(&rope->original, json, "original_max_position_embeddings", where,
                                 err));
    if (rope->scaling == UM_ROPE_YARN)
        UM_RETURN_IF(read_yarn(rope, json, where, err));
    if (!(rope->theta > 1) || !(rope->factor > 0) || !(rope->original > 0) ||
        !(rope->high_factor > rope->low_factor))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': rotary settings out of range (theta %g, factor %g)",
                       where, rope->theta, rope->factor);
    return UM_OK;
}

enum um_status um_decoder_read_rope(struct um_rope_options *rope, const json_t *config,
                                    const char *kind, const char *where, struct um_error *err)
{
    const json_t *parameters = json_object_get(config, "rope_parameters");
    double partial = 1;
    if (rope->theta == 0)
        rope->theta = 10000;
    UM_RETURN_IF(um_json_get_f64(&rope->original, config, "max_position_embeddings", where, err));
    UM_RETURN_IF(um_json_get_f64(&partial, config, "partial_rotary_factor", where, err));
    if (partial != 1)
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': partial_rotary_factor %g is not supported, only 1", where,
                       partial);
    if (!kind || strcmp(kind, "full_attention") == 0)
        UM_RETURN_IF(um_json_get_f64(&rope->theta, config, "rope_theta", where, err));
    if (kind && json_is_object(json_object_get(parameters, kind)))
        parameters = json_object_get(parameters, kind);
    if (json_is_object(parameters))
        return read_scaling(rope, parameters, where, err);
    const json_t *scaling = json_object_get(config, "rope_scaling");
    bool is_scaled = json_is_object(scaling) && (!kind || strcmp(kind, "full_attention") == 0);
    return is_scaled ? read_scaling(rope, scaling, where, err) : UM_OK;
}

enum um_status um_decoder_read_windows(struct um_dims *dims, const json_t *config, int64_t pattern,
                                       const char *where, struct um_error *err)
{
    const json_t *types = json_object_get(config, "layer_types");
    memset(dims->windowed, 0, sizeof(dims->windowed));
    if (json_is_array(types) && json_array_size(types) != (size_t)dims->L)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': %zu layer_types for %lld layers", where,
                       json_array_size(types), (long long)dims->L);
    for (int64_t l = 0; l < dims->L; l++) {
        bool is_windowed = pattern == 0 || (l + 1) % pattern != 0;
        if (json_is_array(types)) {
            const char *type = json_string_value(json_array_get(types, (size_t)l));
            is_windowed = type && strcmp(type, "sliding_attention") == 0;
            if (!is_windowed && (!type || strcmp(type, "full_attention") != 0))
                return um_fail(err, UM_E_INPUT,
                               "cannot load '%s': layer_types[%lld] is '%s', expected "
                               "full_attention or sliding_attention",
                               where, (long long)l, type ? type : "(not a text)");
        }
        if (is_windowed)
            dims->windowed[l / 64] |= (uint64_t)1 << (l % 64);
    }
    return UM_OK;
}
