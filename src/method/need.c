/* What a tuning will need, told before any of it is there: for plans. */
#include "method/method.h"

static int64_t whole_columns(const struct um_tuning *tuning)
{
    int64_t n = 0;
    for (int c = 0; c < UM_N_COLUMNS; c++)
        n += tuning->set.has_column[c] && um_column_is_of_whole[c];
    return n;
}

/* Columns of whole entries, and the fp32 values of those that are stored otherwise. */
static int64_t whole_bytes(const struct um_tuning *tuning)
{
    int64_t n_floats = whole_columns(tuning) * tuning->set.n_whole;
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        const struct um_entry *entry = &tuning->set.entries[e];
        if (entry->is_whole && entry->param->dtype != UM_F32)
            n_floats += entry->param->n_elements;
    }
    return n_floats * (int64_t)sizeof(float);
}

static int64_t sparse_bytes(const struct um_tuning *tuning)
{
    int64_t n_columns = 0, n = tuning->budget - tuning->set.n_whole;
    for (int c = 0; c < UM_N_COLUMNS; c++)
        n_columns += tuning->set.has_column[c];
    return n * (int64_t)(sizeof(int64_t) + (size_t)n_columns * sizeof(float));
}

/* Dense gradients of everything that is chosen from, but the vocabulary head. */
static int64_t sums_bytes(const struct um_tuning *tuning)
{
    int64_t n_floats = 0;
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        const struct um_entry *entry = &tuning->set.entries[e];
        if (!entry->is_whole && !entry->param->is_head)
            n_floats += entry->param->n_elements;
    }
    return n_floats * (int64_t)sizeof(float);
}

/* The tuning's own scratch: the entry with most elements, its widest stripe, and the widest table
 * of look-ups. */
static int64_t work_bytes(const struct um_tuning *tuning, const struct um_tuning_load *load)
{
    int64_t pairs = um_gradient_pairs_bytes((tuning->budget - tuning->set.n_whole) / 8);
    int64_t widest = 0;
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        const struct um_entry *entry = &tuning->set.entries[e];
        if (!entry->is_whole && entry->param->cols > widest)
            widest = entry->param->cols;
    }
    return pairs + um_gradient_stripe_bytes(widest) +
           (load->words ? um_gradient_lookup_bytes(load->words, load->n_tokens) : 0);
}

/* While elements leave and come the old set stands beside the new; where they were is remembered.
 * How many that will be is not known: as if twice the budget were touched. */
static int64_t fresh_bytes(const struct um_tuning *tuning)
{
    int64_t n = tuning->budget - tuning->set.n_whole;
    bool is_kept = tuning->options.keeps_dropped;
    return sparse_bytes(tuning) + 2 * n * (int64_t)(sizeof(int64_t) + is_kept * sizeof(float));
}

/* Before the first step, of what is chosen by more than a step's gradient (method/calibration.h): a
 * number for every candidate, two for a vocabulary head's squares; for a trial of full fine-tuning
 * also gradients, moments, what trains whole, and fp32 values of what is stored otherwise. */
static int64_t calibration_bytes(const struct um_tuning *tuning)
{
    const struct um_importance *importance = tuning->options.select.importance;
    bool is_trial = importance->source == UM_SOURCE_MOVEMENT;
    int64_t n_floats = 0;
    for (size_t e = 0; e < tuning->set.n_entries; e++) {
        const struct um_entry *entry = &tuning->set.entries[e];
        int64_t each = !entry->is_whole + (importance->power == 2 && entry->param->is_head);
        if (is_trial)
            each = 1 + whole_columns(tuning) + (entry->param->dtype != UM_F32);
        n_floats += each * entry->param->n_elements;
    }
    return n_floats * (int64_t)sizeof(float);
}

int64_t um_tuning_bytes(const struct um_tuning *tuning, const struct um_tuning_load *load)
{
    int64_t bytes = whole_bytes(tuning) + sparse_bytes(tuning) + work_bytes(tuning, load);
    if (!tuning->selector)
        return bytes;
    bytes += um_selector_bytes(&tuning->set, um_tuning_most_wanted(tuning, load->n_steps),
                               load->n_step_tokens);
    if (tuning->options.strategy->is_fresh)
        bytes += fresh_bytes(tuning);
    if (um_tuning_is_calibrated(tuning))
        bytes += calibration_bytes(tuning);
    if (!um_tuning_selects_by_steps(tuning))
        return bytes;
    if (load->n_micro > 1)
        bytes += sums_bytes(tuning);
    const struct um_entry *head = load->head ? tuning->set.of_param[load->head->index] : NULL;
    if (head && !head->is_whole)
        bytes += um_held_bytes(load->head, load->head == load->words, load->n_step_tokens,
                               load->n_micro);
    return bytes;
}

int64_t um_tuning_opened_bytes(const struct um_tuning *tuning)
{
    return tuning->options.is_plan ? 0 : whole_bytes(tuning);
}
