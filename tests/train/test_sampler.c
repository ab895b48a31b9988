/* Choosing tokens, against transformers' logits processors (oracle/make_generation_golden.py). */
#include "test.h"

#include <math.h>

#include "format/safetensors.h"
#include "train/sampler.h"

enum { V = 64, N_SEEN = 20 };

static const void *tensor(const struct um_safetensors *file, const char *name, int64_t *n)
{
    const struct um_tensor_view *t = um_safetensors_find(file, name);
    if (!t)
        fail_msg("the golden file has no '%s'", name);
    if (n)
        *n = t->dims[0];
    return t->bytes;
}

static void check_case(const float *settings, const float *logits, const int64_t *seen,
                       const float *expected)
{
    struct um_error err;
    struct um_sampler s;
    float changed[V], found[V] = {0};
    int32_t ids[N_SEEN];
    double sum = 0;
    const struct um_generate_options o = {.repetition_penalty = (double)settings[0],
                                          .temperature = settings[1] == 0 ? 1 : (double)settings[1],
                                          .top_k = (int64_t)settings[2],
                                          .top_p = (double)settings[3]};
    memcpy(changed, logits, sizeof(changed));
    for (int i = 0; i < N_SEEN; i++)
        ids[i] = (int32_t)seen[i];
    assert_ok(um_sampler_open(&s, V, &o, &err), err);
    um_sampler_weigh(&s, changed, ids, N_SEEN);
    for (int64_t i = 0; i < s.n_choices; i++)
        sum += (double)s.choices[i].weight;
    for (int64_t i = 0; i < s.n_choices; i++)
        found[s.choices[i].id] = (float)((double)s.choices[i].weight / sum);
    for (int i = 0; i < V; i++) {
        /* What is less likely than e^-40 is left out, whatever the settings. */
        if ((found[i] > 0) != (expected[i] > 1e-17F))
            fail_msg("token %d: %g, expected %g", i, (double)found[i], (double)expected[i]);
        assert_true(fabsf(found[i] - expected[i]) <= 2e-6F);
    }
    um_sampler_close(&s);
}

static void test_as_transformers(void **state)
{
    (void)state;
    struct um_safetensors file;
    struct um_error err;
    int64_t n;
    assert_ok(um_safetensors_open(&file, GOLDEN_DIR "/generation/sampler.safetensors", &err), err);
    const float *settings = tensor(&file, "settings", &n), *logits = tensor(&file, "logits", NULL);
    const float *expected = tensor(&file, "probabilities", NULL);
    const int64_t *seen = tensor(&file, "seen", NULL);
    assert_true(n >= 10);
    for (int64_t c = 0; c < n; c++)
        check_case(settings + 4 * c, logits + V * c, seen + N_SEEN * c, expected + V * c);
    um_safetensors_close(&file);
}

/* How often each of three tokens is drawn, of 20,000. */
static void draw(int64_t counts[3], const struct um_generate_options *o, uint64_t seed)
{
    struct um_error err;
    struct um_sampler s;
    struct um_random random = {.seed = seed};
    assert_ok(um_sampler_open(&s, 3, o, &err), err);
    memset(counts, 0, 3 * sizeof(*counts));
    for (int i = 0; i < 20000; i++) {
        float logits[3] = {0, logf(3), logf(6)};
        counts[um_sampler_next(&s, logits, NULL, 0, &random)]++;
    }
    um_sampler_close(&s);
}

static void test_draws_by_weight(void **state)
{
    (void)state;
    int64_t counts[3], same[3], other[3];
    struct um_generate_options o = {.temperature = 1};
    draw(counts, &o, 1);
    for (int i = 0; i < 3; i++) /* five deviations */
        assert_true(llabs(counts[i] - (int64_t[]){2000, 6000, 12000}[i]) < 350);
    draw(same, &o, 1);
    draw(other, &o, 2);
    assert_memory_equal(counts, same, sizeof(counts));
    assert_memory_not_equal(counts, other, sizeof(counts));
    o.top_k = 2;
    draw(counts, &o, 1);
    assert_int_equal(counts[0], 0);
    assert_true(llabs(counts[1] - 6667) < 350);
}

static void test_equal_logits_go_to_the_lower_id(void **state)
{
    (void)state;
    struct um_error err;
    struct um_sampler s;
    struct um_random random = {0};
    float logits[4] = {1, 2, 2, 2}, nan[4] = {NAN, NAN, NAN, NAN};
    struct um_generate_options o = {0};
    assert_ok(um_sampler_open(&s, 4, &o, &err), err);
    assert_int_equal(um_sampler_next(&s, logits, NULL, 0, &random), 1);
    o = (struct um_generate_options){.temperature = 1, .top_k = 2};
    um_sampler_weigh(&s, logits, NULL, 0);
    assert_int_equal(s.n_choices, 2);
    assert_true(s.choices[1].id == 1 && s.choices[0].id == 2);
    assert_in_range(um_sampler_next(&s, nan, NULL, 0, &random), 0, 3);
    um_sampler_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_transformers),
        cmocka_unit_test(test_draws_by_weight),
        cmocka_unit_test(test_equal_logits_go_to_the_lower_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
