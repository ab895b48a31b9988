/* A comparison written down: a Markdown table to read, CSV and JSON to go on with. */
#include <math.h>
#include <string.h>

#include "metric/stats.h"
#include "train/compare_private.h"

/* What a row of the table says; NaN where there is nothing to say. */
struct row {
    bool has_diverged; /* with one seed or more */
    double mean, deviation, difference, p, updates, seconds, peak_mib, changed, delta_mib;
};

/* Of the seeds that did not diverge; where one did there is no mean of the metric. */
static struct row row_of(const struct um_contender *cell)
{
    double values[UM_SEEDS_MAX] = {0}, others[UM_SEEDS_MAX] = {0};
    const struct um_contender *reference = cell->reference;
    int64_t n = cell->n_done, n_fine = 0, n_pairs = 0;
    struct row row = {.difference = (double)NAN, .p = (double)NAN};
    for (int64_t i = 0; i < n; i++)
        n_fine += !cell->outcomes[i].has_diverged;
    for (int64_t i = 0; i < n; i++) {
        const struct um_outcome *o = &cell->outcomes[i];
        values[i] = o->value;
        if (o->has_diverged)
            continue;
        row.updates += o->updates / (double)n_fine;
        row.seconds += o->seconds / (double)n_fine;
        row.peak_mib += o->peak_mib / (double)n_fine;
        row.changed += (double)o->n_changed / (double)n_fine;
        row.delta_mib += (double)o->delta_bytes / 1048576 / (double)n_fine;
    }
    row.has_diverged = n_fine < n;
    row.mean = um_mean(values, n);
    row.deviation = um_deviation(values, n);
    for (; reference && n_pairs < n && n_pairs < reference->n_done; n_pairs++)
        others[n_pairs] = reference->outcomes[n_pairs].value;
    if (n_pairs) {
        row.difference = um_mean(values, n_pairs) - um_mean(others, n_pairs);
        row.p = um_paired_p(values, others, n_pairs);
    }
    return row;
}

static void add_number(struct um_str *to, const char *format, double value, const char *missing)
{
    if (isfinite(value))
        um_str_addf(to, format, value);
    else
        um_str_add(to, missing);
}

static void add_markdown(struct um_str *to, const struct um_contender *cell, const struct row *row)
{
    um_str_addf(to, "| %s | %s | %s | %g | %lld | %s | ", cell->task, cell->variant->text,
                *cell->told_budget ? cell->told_budget : "-", cell->rate, (long long)cell->n_done,
                cell->outcomes[0].metric->name);
    add_number(to, "%.4f | ", row->mean, row->has_diverged ? "diverged | " : "- | ");
    add_number(to, "%.4f | ", row->deviation, "- | ");
    add_number(to, "%+.4f | ", row->difference, "- | ");
    add_number(to, "%.3f | ", row->p, "- | ");
    um_str_addf(to, "%.0f | %.4g | %.0f | %.0f | %.2f |\n", row->changed, row->updates,
                row->seconds, row->peak_mib, row->delta_mib);
}

/* A field of CSV and the comma behind it, in quotes where it holds what would end it (RFC 4180). */
static void add_field(struct um_str *to, const char *text)
{
    bool is_quoted = strpbrk(text, ",\"\r\n") != NULL;
    um_str_add(to, is_quoted ? "\"" : "");
    for (const char *c = text; *c; c++)
        um_str_add_n(to, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    um_str_add(to, is_quoted ? "\"," : ",");
}

static void add_csv(struct um_str *to, const struct um_contender *cell, const struct row *row)
{
    add_field(to, cell->task);
    add_field(to, cell->variant->text);
    add_field(to, cell->told_budget);
    um_str_addf(to, "%g,%lld,%s,", cell->rate, (long long)cell->n_done,
                cell->outcomes[0].metric->name);
    add_number(to, "%.9g,", row->mean, ",");
    add_number(to, "%.9g,", row->deviation, ",");
    add_number(to, "%.9g,", row->difference, ",");
    add_number(to, "%.9g,", row->p, ",");
    um_str_addf(to, "%.0f,%.0f,%.3f,%.1f,%.3f\n", row->changed, row->updates, row->seconds,
                row->peak_mib, row->delta_mib);
}

static json_t *json_of(const struct um_contender *cell, const struct row *row)
{
    json_t *values = json_array();
    for (int64_t i = 0; i < cell->n_done; i++)
        (void)json_array_append_new(values, um_json_real(cell->outcomes[i].value));
    return json_pack("{s:s, s:s, s:s, s:f, s:s, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:f}",
                     "task", cell->task, "method", cell->variant->text, "budget", cell->told_budget,
                     "lr", cell->rate, "metric", cell->outcomes[0].metric->name, "values", values,
                     "mean", um_json_real(row->mean), "deviation", um_json_real(row->deviation),
                     "difference", um_json_real(row->difference), "p", um_json_real(row->p),
                     "changed", row->changed, "updates", row->updates, "seconds", row->seconds,
                     "peak_rss_mib", row->peak_mib, "delta_mib", row->delta_mib);
}

static enum um_status write_text(const struct um_comparison *c, const char *name,
                                 const struct um_str *text, struct um_error *err)
{
    char *path = um_path_join(c->options->out, name);
    enum um_status status =
        path ? um_file_write_str(path, text, err) : um_fail_memory(err, name, text->length);
    um_free(path);
    return status;
}

enum um_status um_comparison_write(const struct um_comparison *c, struct um_error *err)
{
    struct um_str markdown = {0}, csv = {0};
    json_t *rows = json_array();
    FILE *lock = NULL;
    char *lock_path = um_path_join(c->options->out, "lock");
    enum um_status status;
    if (!lock_path)
        UM_TRY(um_fail_memory(err, c->options->out, 0));
    um_str_addf(&markdown,
                "Differences are from `%s` on the same seeds; p of a paired t-test.\n\n"
                "| task | method | budget | lr | seeds | metric | mean | sd | difference | p | "
                "changed | updates | seconds | peak MiB | delta MiB |\n"
                "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | "
                "--- | --- |\n",
                c->options->variants[0]);
    um_str_add(&csv, "task,method,budget,lr,seeds,metric,mean,deviation,difference,p,changed,"
                     "updates,seconds,peak_rss_mib,delta_mib\n");
    for (size_t i = 0; i < c->n_cells; i++) {
        const struct um_contender *cell = &c->cells[i];
        if (cell->n_done == 0)
            continue;
        const struct row row = row_of(cell);
        add_markdown(&markdown, cell, &row);
        add_csv(&csv, cell, &row);
        (void)json_array_append_new(rows, json_of(cell, &row));
    }
    UM_TRY(um_lock_take(&lock, lock_path, true, err)); /* processes that share the grid */
    UM_TRY(write_text(c, "table.md", &markdown, err));
    UM_TRY(write_text(c, "table.csv", &csv, err));
    UM_TRY(um_json_save_in(c->options->out, "table.json", rows, err));
out:
    um_str_free(&markdown);
    um_str_free(&csv);
    json_decref(rows);
    if (lock)
        (void)fclose(lock);
    um_free(lock_path);
    return status;
}
