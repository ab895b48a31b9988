/* A selector's life: from its options over the rankings of a selection to the picks. */
#include <math.h>
#include <stdlib.h>

#include "method/select_private.h"

const char *um_bound_name(enum um_bound bound)
{
    static const char *const names[] = {[UM_BOUND_AUTO] = "none",
                                        [UM_BOUND_RANK1] = "rank-1",
                                        [UM_BOUND_SEGMENTS] = "segments",
                                        [UM_BOUND_TILES] = "tiles"};
    return names[bound];
}

double um_importance_score(const struct um_select_options *o, double gradient, double value)
{
    double size = fabs(gradient);
    if (o->importance->power != 1)
        size = pow(size, o->importance->power);
    if (!o->importance->uses_size || o->exp == 0)
        return size;
    double weight = fabs(value) + o->eps;
    return size / (o->exp == 1 ? weight : pow(weight, o->exp));
}

bool um_selector_is_sized(const struct um_selector *s)
{
    return s->options.importance->uses_size && s->options.exp > 0;
}

enum um_status um_selector_new(struct um_selector **selector, const struct um_trainable *set,
                               const struct um_select_options *options, struct um_error *err)
{
    struct um_selector *s = *selector = UM_NEW(1, struct um_selector);
    struct um_top *tops = UM_NEW(set->n_entries, struct um_top);
    if (!s || !tops) {
        um_free(s);
        um_free(tops);
        *selector = NULL;
        return um_fail_memory(err, "the selector", sizeof(*s));
    }
    s->set = set;
    s->options = *options;
    s->tops = s->top = tops;
    bool is_sized = um_selector_is_sized(s);
    s->column_power = is_sized ? options->importance->power / options->exp : 1;
    s->row_power = is_sized ? 1 / options->exp : 1 / options->importance->power;
    return UM_OK;
}

void um_selector_free(struct um_selector *s)
{
    if (!s)
        return;
    for (size_t e = 0; e < s->set->n_entries; e++)
        um_top_free(&s->tops[e]);
    um_gradient_work_free(&s->work);
    void *const owned[] = {
        s->tops,         s->picks,           s->row_norms, s->column_norms, s->column_bounds,
        s->row_segments, s->column_segments, s->tile,      s->theta,        s->dots,
        s->hits,         s->n_hits,          s->starts,    s->pairs,        s->bounds,
        s->scores};
    for (size_t i = 0; i < UM_COUNT(owned); i++)
        um_free(owned[i]);
    um_free(s);
}

static size_t n_tops(const struct um_selector *s)
{
    return s->selection.quotas ? s->set->n_entries : 1;
}

enum um_status um_selector_begin(struct um_selector *s, const struct um_selection *selection,
                                 struct um_error *err)
{
    s->stats = (struct um_select_stats){0};
    s->is_settled = false;
    s->selection = *selection;
    for (size_t i = 0; i < n_tops(s); i++)
        UM_RETURN_IF(um_top_begin(
            &s->tops[i], selection->quotas ? selection->quotas[i] : selection->n_wanted, err));
    s->top = s->tops;
    return UM_OK;
}

void um_selector_turn_to(struct um_selector *s, const struct um_param *param)
{
    if (!s->selection.quotas)
        return;
    s->top = &s->tops[s->set->of_param[param->index] - s->set->entries];
    s->is_settled = false;
}

static int compare_picks(const void *a, const void *b)
{
    const struct um_pick *x = a, *y = b;
    if (x->param != y->param)
        return x->param < y->param ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void sort_picks(struct um_selector *s, int64_t n)
{
    if (n > 1)
        qsort(s->picks, (size_t)n, sizeof(*s->picks), compare_picks);
}

static bool is_picked(const struct um_selector *s, int64_t n, struct um_pick pick)
{
    return n && bsearch(&pick, s->picks, (size_t)n, sizeof(pick), compare_picks);
}

/* Whether an element that has no score above zero may be chosen. */
static bool is_possible(const struct um_selector *s, const struct um_entry *entry, int64_t index)
{
    double value = (double)um_param_value(entry->param, index);
    if (entry->is_whole || (!s->selection.is_fresh && um_entry_has(entry, index)))
        return false;
    return s->options.importance->source == UM_SOURCE_GRADIENT
               ? isfinite(um_importance_score(&s->options, 0, value))
               : isfinite(value);
}

/* Too few scores above zero in entries first..last-1: zeros follow, by parameter and position. The
 * first n_scored picks are sorted. Returns the number of picks then. */
static int64_t fill_with_zeros(struct um_selector *s, size_t first, size_t last, int64_t n,
                               int64_t n_scored, int64_t n_missing)
{
    for (size_t e = first; e < last && n_missing > 0; e++) {
        const struct um_entry *entry = &s->set->entries[e];
        for (int64_t i = 0; i < entry->param->n_elements && n_missing > 0; i++) {
            struct um_pick pick = {.param = entry->param->index, .index = i};
            if (is_picked(s, n_scored, pick) || !is_possible(s, entry, i))
                continue;
            s->picks[n++] = pick;
            n_missing--;
        }
    }
    return n;
}

/* The picks of all rankings, sorted, with as many zeros as it takes. */
static int64_t take_picks(struct um_selector *s)
{
    int64_t n = 0;
    bool is_split = s->selection.quotas != NULL;
    for (size_t t = 0; t < n_tops(s); t++)
        for (int64_t i = 0; i < s->tops[t].n; i++)
            s->picks[n++] = s->tops[t].items[i].pick;
    sort_picks(s, n);
    int64_t n_scored = n;
    for (size_t t = 0; t < n_tops(s); t++)
        n = fill_with_zeros(s, t, is_split ? t + 1 : s->set->n_entries, n, n_scored,
                            s->tops[t].n_wanted - s->tops[t].n);
    if (n > n_scored)
        sort_picks(s, n);
    return n;
}

enum um_status um_selector_finish(struct um_selector *s, const struct um_pick **picks,
                                  int64_t *n_picks, struct um_select_stats *stats,
                                  struct um_error *err)
{
    size_t need = (size_t)s->selection.n_wanted;
    if (!um_grow(&s->picks, &s->picks_capacity, need, sizeof(*s->picks)))
        return um_fail_memory(err, "picks", need * sizeof(*s->picks));
    *n_picks = take_picks(s);
    *picks = s->picks;
    for (int b = UM_BOUND_RANK1; b < UM_N_BOUNDS; b++)
        if (s->stats.n_entries[b] > s->stats.n_entries[s->stats.bound])
            s->stats.bound = (enum um_bound)b;
    if (stats)
        *stats = s->stats;
    return UM_OK;
}

int64_t um_selector_bytes(const struct um_trainable *set, int64_t n_wanted, int64_t n_tokens)
{
    int64_t made = 0, longest = 0, widest = 0; /* norms: r, c and c^power; of segments too */
    for (size_t e = 0; e < set->n_entries; e++) {
        const struct um_param *param = set->entries[e].param;
        longest = param->rows > longest ? param->rows : longest;
        widest = param->cols > widest ? param->cols : widest;
        if (param->is_head && !set->entries[e].is_whole)
            made = um_gradient_made_bytes(param, n_tokens);
    }
    /* The first panel, while there is no cut, is all hits; tiles only where a bound is
     * tightened. */
    int64_t panel = UM_PANEL_MAX > widest ? UM_PANEL_MAX : widest;
    int64_t hits = 4 * n_wanted < panel ? 4 * n_wanted : panel;
    hits = hits > widest ? hits : widest;
    int64_t per_entry = (int64_t)(sizeof(int32_t) + sizeof(float));
    int64_t per_hit = (int64_t)(3 * sizeof(struct um_pair) + 2 * sizeof(double) + sizeof(float));
    return n_wanted * (int64_t)(sizeof(struct um_scored) + sizeof(struct um_pick)) +
           panel * per_entry + hits * per_hit + (longest + 2 * widest) * (int64_t)sizeof(float) +
           made;
}
