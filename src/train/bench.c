/* The bench: what the machine can do, and where the time of real training steps goes. */
#include <math.h>

#include "base/cpu.h"
#include "base/philox.h"
#include "tensor/gemm.h"
#include "train/run.h"

/* Best of several products, in GFLOP/s. */
static double gemm_rate(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c)
{
    enum { REPEATS = 5 };
    double best = 1e9;
    for (int r = 0; r < REPEATS; r++) {
        double start = um_seconds();
        um_gemm(c, n, a, k, UM_PLAIN, b, n, UM_PLAIN, m, n, k, 0);
        best = fmin(best, um_seconds() - start);
    }
    return 2e-9 * (double)m * (double)n * (double)k / best;
}

/* GEMM rate over square products, and the rate of reading memory. */
static enum um_status measure_machine(struct um_bench_report *report, struct um_error *err)
{
    enum { SIDE = 2048, READS = 4 };
    static const int64_t sides[] = {1024, 1536, SIDE};
    const size_t n = (size_t)SIDE * SIDE;
    float *a = um_alloc(4 * n), *b = um_alloc(4 * n), *c = um_alloc(4 * n);
    enum um_status status = UM_OK;
    struct um_random random = {.seed = 1};
    if (!a || !b || !c) {
        status = um_fail_memory(err, "the machine's rates", 12 * n);
    } else {
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] = c[i] = (float)um_random_unit(&random);
        for (size_t i = 0; i < UM_COUNT(sides); i++)
            report->gemm_gflops = fmax(report->gemm_gflops,
                                       gemm_rate(sides[i], sides[i], sides[i], a, b, c));
        for (int r = 0; r < READS; r++) { /* together larger than common caches */
            double start = um_seconds(), total = 0;
            const float *const parts[] = {a, b, c};
            for (size_t p = 0; p < UM_COUNT(parts); p++) {
#pragma omp parallel for schedule(static) reduction(+ : total)
                for (size_t i = 0; i < n; i += 1 << 16)
                    total += (double)um_kernels()->sum(parts[p] + i, 1 << 16);
            }
            double rate = 12e-9 * (double)n / (um_seconds() - start);
            report->read_gbytes = total > 0 ? fmax(report->read_gbytes, rate) : 0;
        }
    }
    um_free(a);
    um_free(b);
    um_free(c);
    return status;
}

static const char *const part_names[UM_N_PARTS] = {
    [UM_PART_OTHER] = "other",
    [UM_PART_GEMM_FORWARD] = "gemm forward",
    [UM_PART_GEMM_BACKWARD] = "gemm input gradients",
    [UM_PART_ATTENTION] = "attention",
    [UM_PART_NORM] = "norm",
    [UM_PART_ELEMENTWISE] = "elementwise",
    [UM_PART_EMBEDDING] = "embedding",
    [UM_PART_LOSS] = "loss",
    [UM_PART_SELECTION] = "selection and gradients",
    [UM_PART_UPDATE] = "update",
    [UM_PART_DATA] = "data"};

static void report_parts(struct um_bench_report *report, const struct um_profile *profile,
                         int64_t n_steps)
{
    for (int p = 0; p < UM_N_PARTS; p++) {
        report->parts[p].name = part_names[p];
        report->parts[p].milliseconds = 1e3 * profile->seconds[p] / (double)n_steps;
        report->parts[p].gflop = 1e-9 * profile->flop[p] / (double)n_steps;
    }
    report->n_parts = UM_N_PARTS;
}

static enum um_status time_steps(struct um_bench_report *report, struct um_run *run,
                                 struct um_profile *profile, int64_t n_steps,
                                 struct um_error *err)
{
    enum { WARM_UP = 2 };
    double seconds = 0, tokens = 0;
    if (n_steps + WARM_UP > run->n_steps)
        n_steps = run->n_steps - WARM_UP;
    if (n_steps < 1)
        return um_fail(err, UM_E_USAGE, "bench: the run has only %lld steps, 3 are needed",
                       (long long)run->n_steps);
    for (int64_t step = 0; step < n_steps + WARM_UP; step++) {
        struct um_progress p = {0};
        if (step == WARM_UP)
            *profile = (struct um_profile){.now = UM_PART_OTHER, .since = um_seconds()};
        UM_RETURN_IF(um_run_step(&p, run, err));
        if (step < WARM_UP)
            continue;
        seconds += p.seconds;
        tokens += (double)p.n_tokens;
    }
    um_profile_enter(profile, UM_PART_OTHER);
    report->n_steps = n_steps;
    report->tokens_per_step = tokens / (double)n_steps;
    report->tokens_per_second = tokens / seconds;
    report->step_milliseconds = 1e3 * seconds / (double)n_steps;
    report_parts(report, profile, n_steps);
    return UM_OK;
}

enum um_status um_bench(struct um_bench_report *report, const struct um_recipe *recipe,
                        int64_t n_steps, const struct um_callbacks *callbacks,
                        struct um_error *err)
{
    struct um_run *run = NULL;
    struct um_profile profile = {0};
    bool goes_on;
    enum um_status status;
    *report = (struct um_bench_report){0};
    um_set_threads((int)um_recipe_config(recipe)->threads);
    (void)snprintf(report->cpu_level, sizeof(report->cpu_level), "%s",
                   um_cpu_level_name(um_kernels()->level));
    report->threads = um_threads();
    UM_RETURN_IF(measure_machine(report, err));
    if (!*um_recipe_config(recipe)->model)
        return UM_OK; /* the machine alone */
    UM_TRY(um_run_open(&run, recipe, callbacks, err));
    run->is_in_memory = true;
    run->profile = &profile;
    UM_TRY(um_run_open_memory(run, err));
    UM_TRY(um_run_calibrate(&goes_on, run, err));
    if (!goes_on)
        UM_TRY(um_fail(err, UM_E_INTERRUPTED, "stopped before the first step"));
    UM_TRY(time_steps(report, run, &profile, n_steps, err));
    double needed =
        report->parts[UM_PART_GEMM_FORWARD].gflop + report->parts[UM_PART_GEMM_BACKWARD].gflop;
    report->needed_gflop = needed;
    report->share_of_gemm = needed / (1e-3 * report->step_milliseconds) / report->gemm_gflops;
out:
    um_run_free(run);
    return status;
}
