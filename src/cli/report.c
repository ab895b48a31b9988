/* Plans and summaries of runs, for people and as JSON. */
#include <math.h>
#include <string.h>

#include "cli.h"

char *cli_format_count(char out[32], int64_t count)
{
    char digits[32];
    (void)snprintf(digits, sizeof(digits), "%lld", (long long)count);
    size_t n = strlen(digits), used = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-')
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

char *cli_format_seconds(char out[32], double seconds)
{
    if (!(seconds >= 0 && seconds < 1e9)) {
        (void)snprintf(out, 32, "?");
        return out;
    }
    long long s = llround(seconds);
    if (s >= 3600)
        (void)snprintf(out, 32, "%lld h %02lld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        (void)snprintf(out, 32, "%lld min %02lld s", s / 60, s % 60);
    else
        (void)snprintf(out, 32, "%lld s", s);
    return out;
}

static void print_count(const char *label, int64_t count, const char *note)
{
    char text[32];
    printf("%-12s %15s  %s\n", label, cli_format_count(text, count), note);
}

static void print_bytes(const char *label, int64_t bytes, const char *note)
{
    char text[32];
    printf("%-12s %15s  %s\n", label, um_format_bytes(text, (double)bytes), note);
}

/* What would take less memory, as um_run_plan_savings tells it. */
struct savings {
    struct um_saving items[UM_SAVINGS_MAX];
    size_t n;
};

static void print_savings_json(const struct savings *savings)
{
    cli_json_open("savings", '[');
    for (size_t i = 0; i < savings->n; i++) {
        const struct um_saving *s = &savings->items[i];
        cli_json_open(NULL, '{');
        cli_json_integer("peak_bytes", s->peak_bytes);
        cli_json_bool("recompute", s->recompute);
        cli_json_integer("batch", s->batch);
        cli_json_integer("accumulate", s->accumulate);
        cli_json_integer("eval_batch", s->eval_batch);
        cli_json_integer("max_length", s->max_length);
        cli_json_close('}');
    }
    cli_json_close(']');
}

static void print_plan_json(const struct um_plan *p, const struct savings *savings)
{
    cli_json_open(NULL, '{');
    cli_json_integer("n_parameters", p->n_parameters);
    cli_json_integer("n_base_parameters", p->n_base_parameters);
    cli_json_integer("n_scope", p->n_scope);
    cli_json_integer("n_whole", p->n_whole);
    cli_json_integer("budget", p->budget);
    cli_json_integer("n_steps", p->n_steps);
    cli_json_integer("n_train_rows", p->n_train_rows);
    cli_json_integer("n_eval_rows", p->n_eval_rows);
    cli_json_integer("n_truncated_rows", p->n_truncated_rows);
    cli_json_integer("n_left_out_rows", p->n_left_out_rows);
    cli_json_integer("batch", p->batch);
    cli_json_integer("accumulate", p->accumulate);
    cli_json_integer("eval_batch", p->eval_batch);
    cli_json_integer("max_length", p->max_length);
    cli_json_bool("recompute", p->recompute);
    cli_json_integer("max_tokens_per_step", p->max_tokens_per_step);
    cli_json_real("mean_tokens_per_step", p->mean_tokens_per_step);
    cli_json_integer("weights_bytes", p->weights_bytes);
    cli_json_integer("activation_bytes", p->activation_bytes);
    cli_json_integer("generation_bytes", p->generation_bytes);
    cli_json_integer("method_bytes", p->method_bytes);
    cli_json_integer("data_bytes", p->data_bytes);
    cli_json_integer("process_bytes", p->process_bytes);
    cli_json_integer("peak_bytes", p->peak_bytes);
    cli_json_real("flop_per_step", p->flop_per_step);
    cli_json_bool("is_without_data", p->is_without_data);
    cli_json_bool("is_without_weights", p->is_without_weights);
    print_savings_json(savings);
    cli_json_close('}');
}

/* "12.3 GiB  --batch 4 --accumulate 2": what differs from the plan, and what it comes to. */
static void print_saving(const struct um_plan *p, const struct um_saving *s, bool is_first)
{
    char text[64];
    if (s->batch != p->batch)
        (void)snprintf(text, sizeof(text), "with --batch %lld --accumulate %lld",
                       (long long)s->batch, (long long)s->accumulate);
    else if (s->eval_batch != p->eval_batch)
        (void)snprintf(text, sizeof(text), "with --eval-batch %lld", (long long)s->eval_batch);
    else if (s->max_length != p->max_length)
        (void)snprintf(text, sizeof(text), "with --max-length %lld", (long long)s->max_length);
    else
        (void)snprintf(text, sizeof(text), "with --recompute %s", s->recompute ? "on" : "off");
    print_bytes(is_first ? "or" : "", s->peak_bytes, text);
}

static void print_rows(const struct um_plan *p)
{
    char note[128];
    if (p->is_without_data) {
        (void)snprintf(note, sizeof(note), "each full: %lld x %lld of %lld tokens",
                       (long long)p->accumulate, (long long)p->batch, (long long)p->max_length);
        print_count("steps", p->n_steps, note);
        return;
    }
    print_count("rows", p->n_train_rows, "for training");
    print_count("", p->n_eval_rows, "for evaluation");
    if (p->n_truncated_rows)
        print_count("", p->n_truncated_rows, "of them cut to the length limit");
    if (p->n_left_out_rows)
        print_count("", p->n_left_out_rows, "more left out: nothing to learn within the limit");
    (void)snprintf(note, sizeof(note), "of %.0f tokens in the mean, %lld at most",
                   p->mean_tokens_per_step, (long long)p->max_tokens_per_step);
    print_count("steps", p->n_steps, note);
}

static void print_plan(const struct um_plan *p, const struct savings *savings)
{
    enum { EXAMPLE_GFLOPS = 100 };
    char note[128], seconds[32];
    print_count("model", p->n_parameters, p->is_without_weights ? "parameters, by its config.json"
                                                                : "parameters, task head included");
    print_count("scope", p->n_scope, "of them may change");
    (void)snprintf(note, sizeof(note), "of them at most will: %.3g %% of the base model",
                   100.0 * (double)p->budget / (double)p->n_base_parameters);
    print_count("budget", p->budget, note);
    print_count("whole", p->n_whole, "of the budget train from the first step");
    print_rows(p);
    print_bytes("memory", p->peak_bytes, "at the peak:");
    print_bytes("", p->weights_bytes, "weights");
    print_bytes("", p->activation_bytes, "activations");
    if (p->generation_bytes)
        print_bytes("", p->generation_bytes, "answers being generated");
    print_bytes("", p->method_bytes, "masks, optimizer state, selection");
    print_bytes("", p->data_bytes, "data");
    print_bytes("", p->process_bytes, "program and libraries");
    for (size_t i = 0; i < savings->n; i++)
        print_saving(p, &savings->items[i], i == 0);
    double tflop = p->flop_per_step * (double)p->n_steps / 1e12;
    printf("%-12s %9.4g TFLOP  in all: %s at %d GFLOP/s ('unmask bench' tells this machine's)\n",
           "work", tflop, cli_format_seconds(seconds, tflop * 1e3 / EXAMPLE_GFLOPS),
           EXAMPLE_GFLOPS);
}

enum um_status cli_plan(struct um_run *run, bool is_json, struct um_error *err)
{
    struct um_plan plan;
    struct savings savings;
    enum um_status status = um_run_plan(&plan, run, err);
    if (status == UM_OK)
        status = um_run_plan_savings(savings.items, &savings.n, &plan, run, err);
    if (status == UM_OK && is_json)
        print_plan_json(&plan, &savings);
    else if (status == UM_OK)
        print_plan(&plan, &savings);
    return status;
}

static void print_summary_json(const struct um_summary *s, const char *out)
{
    cli_json_open(NULL, '{');
    cli_json_text("out", out);
    cli_json_integer("n_steps", s->n_steps);
    cli_json_integer("budget", s->budget);
    cli_json_integer("n_changed", s->n_changed);
    cli_json_bool("is_within_budget", s->is_within_budget);
    cli_json_bool("is_base_intact", s->is_base_intact);
    cli_json_integer("n_unmasked", s->n_unmasked);
    cli_json_integer("n_touched", s->n_touched);
    cli_json_integer("n_updates", s->n_updates);
    cli_json_text("metric", s->metric);
    cli_json_real("metric_before", s->metric_before);
    cli_json_real("metric_best", s->metric_best);
    cli_json_real("metric_last", s->metric_last);
    cli_json_bool("is_worse_than_before", s->is_worse_than_before);
    cli_json_real("loss_best", s->loss_best);
    cli_json_integer("best_step", s->best_step);
    cli_json_real("seconds", s->seconds);
    cli_json_integer("peak_rss_bytes", s->peak_rss_bytes);
    cli_json_integer("delta_bytes", s->delta_bytes);
    cli_json_integer("model_bytes", s->model_bytes);
    cli_json_close('}');
}

/* "accuracy  0.5271 before, 0.6643 best (step 600), 0.6570 at the end" */
static void print_metric(const struct um_summary *s)
{
    printf("%-12s", s->metric);
    if (isnan(s->metric_before) && isnan(s->metric_last)) {
        printf(" not evaluated\n");
        return;
    }
    if (!isnan(s->metric_before))
        printf(" %.4f before,", s->metric_before);
    if (!isnan(s->metric_best))
        printf(" %.4f best (step %lld),", s->metric_best, (long long)s->best_step);
    printf(" %.4f at the end\n", s->metric_last);
    if (s->is_worse_than_before)
        printf("%-12s the weights kept are worse by this than what training began with\n", "");
}

void cli_print_summary(const struct um_summary *s, const char *out, bool is_json)
{
    char text[32], other[32];
    if (is_json) {
        print_summary_json(s, out);
        return;
    }
    bool are_kept = s->is_within_budget && s->n_changed > s->budget;
    if (are_kept) /* method.dropped: keep */
        printf("%-12s %s parameters in all, of which at most %s trained at a time: within the "
               "budget\n", "changed", cli_format_count(text, s->n_changed),
               cli_format_count(other, s->budget));
    else
        printf("%-12s %s of at most %s parameters: %s\n", "changed",
               cli_format_count(text, s->n_changed), cli_format_count(other, s->budget),
               s->is_within_budget ? "within the budget" : "OVER THE BUDGET");
    if (s->n_touched != s->n_unmasked)
        printf("%-12s %s parameters were unmasked at some time, %s at the end\n", "touched",
               cli_format_count(text, s->n_touched), cli_format_count(other, s->n_unmasked));
    printf("%-12s %s\n", "untouched",
           s->is_base_intact ? "every other parameter is bit-identical to the base: verified"
                             : "A PARAMETER THAT WAS NEVER UNMASKED DIFFERS FROM THE BASE");
    printf("%-12s %s parameter updates in %s steps\n", "updates",
           cli_format_count(text, s->n_updates), cli_format_count(other, s->n_steps));
    printf("%-12s %s, %.3g %% of the model's %s\n", "delta",
           um_format_bytes(text, (double)s->delta_bytes),
           100.0 * (double)s->delta_bytes / (double)s->model_bytes,
           um_format_bytes(other, (double)s->model_bytes));
    print_metric(s);
    printf("%-12s %s, %s of memory at the peak\n", "took", cli_format_seconds(text, s->seconds),
           um_format_bytes(other, (double)s->peak_rss_bytes));
    printf("%-12s %s\n", "run", out);
}
