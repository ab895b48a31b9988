/*
 * config.json as transformers wants it, from what um_gguf_config read: our own keys go, keys that
 * GGUF leaves to the architecture come in by that library's names.
 */
#include <math.h>
#include <string.h>

#include "format/gguf_model.h"

static const double two_pi = 6.283185307179586;

/* ---- LLaMA 3.1's rotary frequencies */

/* Where a frequency lies between those that are kept (1) and those that are divided by `most`
 * (0). */
static double smooth_of(double factor, double most)
{
    return (1 / factor - 1 / most) / (1 - 1 / most);
}

static float factor_at(const struct um_tensor_view *view, int64_t i)
{
    float value;
    memcpy(&value, view->bytes + (size_t)i * sizeof(value), sizeof(value));
    return value;
}

/*
 * The converter divides frequency f by 1 / ((1 - s) / factor + s), where s = (f original / 2 pi -
 * low) / (high - low), cut to [0, 1]. Only (original : low : high) matters, so low is 1; two of the
 * numbers in between fix the line, one does with transformers' own high of 4.
 */
static void fit_line(double *original, double *high, const struct um_tensor_view *view, double most,
                     double theta)
{
    double frequency[2] = {0}, smooth[2] = {0};
    int n = 0;
    int64_t half = view->n_elements;
    for (int64_t i = 0; i < half; i++) {
        double s = smooth_of((double)factor_at(view, i), most);
        if (s < 1e-6 || s > 1 - 1e-6)
            continue;
        int place = n++ ? 1 : 0; /* the first and the last, which are furthest apart */
        frequency[place] = pow(theta, -(double)i / (double)half);
        smooth[place] = s;
    }
    *high = 4;
    *original = n ? two_pi * (smooth[0] * (*high - 1) + 1) / frequency[0] : 8192;
    if (n > 1) {
        double slope = (smooth[0] - smooth[1]) / (frequency[0] - frequency[1]);
        double low = slope * frequency[0] - smooth[0]; /* low / (high - low) */
        *high = 1 + 1 / low;
        *original = two_pi * slope * (*high - 1);
    }
    *high = round(*high * 1e4) / 1e4;
    *original = round(*original);
}

static enum um_status fit_factors(json_t *config, const struct um_tensor_view *view,
                                  const char *path, struct um_error *err)
{
    double theta = json_number_value(json_object_get(config, "rope_theta"));
    double most = 1, original, high;
    theta = theta > 1 ? theta : 10000;
    for (int64_t i = 0; i < view->n_elements; i++)
        most = fmax(most, (double)factor_at(view, i));
    if (!(most > 1))
        return UM_OK; /* nothing is stretched */
    fit_line(&original, &high, view, most, theta);
    for (int64_t i = 0; i < view->n_elements; i++) {
        double f = pow(theta, -(double)i / (double)view->n_elements);
        double s = (f * original / two_pi - 1) / (high - 1);
        s = s < 0 ? 0 : s > 1 ? 1 : s;
        double given = (double)factor_at(view, i);
        if (!(fabs(1 / ((1 - s) / most + s) - given) < 1e-4 * given))
            return um_fail(err, UM_E_USAGE,
                           "cannot say the rotary factors of '%s' (tensor 'rope_freqs.weight') in "
                           "config.json: they are not LLaMA 3.1's kind",
                           path);
    }
    json_t *scaling = json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", most,
                                "low_freq_factor", 1.0, "high_freq_factor", high,
                                "original_max_position_embeddings", (json_int_t)original);
    return json_object_set_new(config, "rope_scaling", scaling) == 0
               ? UM_OK
               : um_fail_memory(err, path, 0);
}

/* ---- the rest */

static bool is_gemma(const char *type)
{
    return strncmp(type, "gemma", 5) == 0;
}

/* Windowed layers one by one, and the divisor of scores, a whole number where it is one. */
static int add_gemma(json_t *config, int64_t pattern)
{
    double scale = json_number_value(json_object_get(config, "query_pre_attn_scalar"));
    json_int_t n = json_integer_value(json_object_get(config, "num_hidden_layers"));
    int failed = json_object_set_new(config, "query_pre_attn_scalar",
                                     scale == floor(scale) ? json_integer((json_int_t)scale)
                                                           : json_real(scale));
    json_t *types = json_array();
    for (json_int_t l = 0; pattern > 0 && l < n; l++)
        failed |= json_array_append_new(types, json_string((l + 1) % pattern ? "sliding_attention"
                                                                             : "full_attention"));
    if (pattern > 0)
        failed |= json_object_set(config, "layer_types", types);
    json_decref(types);
    return failed;
}

static int add_ids(json_t *config, const struct um_gguf *gguf)
{
    static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                         {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                         {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    int failed = 0;
    for (size_t i = 0; i < UM_COUNT(ids); i++) {
        const struct um_gguf_pair *pair = um_gguf_pair(gguf, ids[i][1]);
        bool is_id = pair && pair->type != UM_GGUF_STRING && pair->type != UM_GGUF_ARRAY;
        failed |= json_object_set_new(config, ids[i][0],
                                      is_id ? json_integer(pair->integer) : json_null());
    }
    return failed;
}

/* Biases are there or not; GPT-2 has them anyway. */
static int add_llama(json_t *config, const struct um_gguf *gguf)
{
    bool has_attention = um_gguf_find(gguf, "blk.0.attn_q.bias") != NULL;
    bool has_feed = um_gguf_find(gguf, "blk.0.ffn_up.bias") != NULL;
    return json_object_set_new(config, "attention_bias", json_boolean(has_attention)) |
           json_object_set_new(config, "mlp_bias", json_boolean(has_feed));
}

enum um_status um_gguf_folder_config(json_t **out, const json_t *config, const struct um_gguf *gguf,
                                     const char *path, struct um_error *err)
{
    json_t *c = *out = json_deep_copy(config);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const struct um_tensor_view *factors = um_gguf_find(gguf, "rope_freqs.weight");
    json_int_t pattern = json_integer_value(json_object_get(config, "sliding_window_pattern"));
    if (!c || !type)
        return um_fail_memory(err, path, 0);
    bool is_llama = strcmp(type, "llama") == 0, is_gpt2 = strcmp(type, "gpt2") == 0;
    const char *activation = is_gpt2 ? "gelu_new" : is_gemma(type) ? "gelu_pytorch_tanh" : "silu";
    (void)json_object_del(c, "is_gguf");
    (void)json_object_del(c, "sliding_window_pattern");
    int failed = json_object_set_new(c, is_gpt2 ? "activation_function" : "hidden_act",
                                     json_string(activation));
    if (is_gemma(type))
        failed |= json_object_set_new(c, "hidden_activation", json_string(activation)) |
                  add_gemma(c, pattern);
    else
        (void)json_object_del(c, "query_pre_attn_scalar");
    if (is_llama)
        failed |= add_llama(c, gguf);
    failed |= add_ids(c, gguf);
    if (failed)
        return um_fail_memory(err, path, 0);
    return factors && factors->dtype == UM_F32 ? fit_factors(c, factors, path, err) : UM_OK;
}
