/* unmask bench: what the machine can do and where the time of a training step goes. */
#include "cli.h"

static const char *const usage[] = {"[RECIPE] [--steps N] [OPTION...]", NULL};

static const char *const examples[] = {"unmask bench recipe.yaml --steps 20 --threads 2", NULL};

static const struct cli_option options[] = {
    {"--steps", "N", "training steps to time (default 10)", false},
    {"--json", NULL, "print as JSON", false},
    {"--set", "KEY=VALUE", "set any recipe key; see 'unmask help recipe'", true},
};

static const char *const keys[] = {"*", NULL};

static void print_text(const struct um_bench_report *r)
{
    printf("machine      %s, %d threads\n", r->cpu_level, r->threads);
    printf("products     %.1f GFLOP/s at best\n", r->gemm_gflops);
    printf("reading      %.1f GB/s\n", r->read_gbytes);
    printf("step         %.1f ms of %.0f tokens: %.0f tokens/s (mean of %lld)\n\n",
           r->step_milliseconds, r->tokens_per_step, r->tokens_per_second, (long long)r->n_steps);
    printf("%10s %7s %10s %10s  %s\n", "ms", "share", "GFLOP", "GFLOP/s", "part");
    for (size_t i = 0; i < r->n_parts; i++) {
        printf("%10.2f %6.1f%%", r->parts[i].milliseconds,
               100 * r->parts[i].milliseconds / r->step_milliseconds);
        if (r->parts[i].gflop > 0)
            printf(" %10.2f %10.1f", r->parts[i].gflop,
                   1e3 * r->parts[i].gflop / r->parts[i].milliseconds);
        else
            printf(" %10s %10s", "", "");
        printf("  %s\n", r->parts[i].name);
    }
    printf("\nAn exact ID3 step needs %.1f GFLOP (4 per weight and token): this one ran them at "
           "%.0f %%\nof the machine's best product.\n",
           r->needed_gflop, 100 * r->share_of_gemm);
}

static void print_json(const struct um_bench_report *r)
{
    cli_json_open(NULL, '{');
    cli_json_text("cpu_level", r->cpu_level);
    cli_json_integer("threads", r->threads);
    cli_json_real("gemm_gflops", r->gemm_gflops);
    cli_json_real("read_gbytes", r->read_gbytes);
    cli_json_integer("n_steps", r->n_steps);
    cli_json_real("tokens_per_step", r->tokens_per_step);
    cli_json_real("tokens_per_second", r->tokens_per_second);
    cli_json_real("step_milliseconds", r->step_milliseconds);
    cli_json_real("needed_gflop", r->needed_gflop);
    cli_json_real("share_of_gemm", r->share_of_gemm);
    cli_json_open("parts", '[');
    for (size_t i = 0; i < r->n_parts; i++) {
        cli_json_open(NULL, '{');
        cli_json_text("name", r->parts[i].name);
        cli_json_real("milliseconds", r->parts[i].milliseconds);
        cli_json_real("gflop", r->parts[i].gflop);
        cli_json_close('}');
    }
    cli_json_close(']');
    cli_json_close('}');
}

static enum um_status run_bench(const struct cli_args *args, struct um_error *err)
{
    /* An interrupt ends the program: there is nothing to save. */
    const struct um_callbacks callbacks = {.message = cli_progress_message};
    struct um_recipe *recipe;
    struct um_bench_report report;
    int64_t n_steps = 10;
    enum um_status status = cli_number(&n_steps, args, "--steps", 1, err);
    if (status == UM_OK)
        status =
            cli_recipe(&recipe, args, args->n_positionals > 0 ? args->positionals[0] : NULL, err);
    if (status != UM_OK)
        return status;
    status = um_bench(&report, recipe, n_steps, &callbacks, err);
    if (status == UM_OK && cli_has(args, "--json"))
        print_json(&report);
    else if (status == UM_OK)
        print_text(&report);
    um_recipe_free(recipe);
    return status;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .summary = "time the machine and the parts of a training step",
    .usage = usage,
    .description = "Measures matrix products and memory, then some training steps of a recipe, and "
                   "says where their time goes. Nothing is written.",
    .examples = examples,
    .options = options,
    .n_options = CLI_COUNT(options),
    .recipe_keys = keys,
    .n_positionals_max = 1,
    .run = run_bench,
};
