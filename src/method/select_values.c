/* Selection by what is stored: values are streamed in panels, scored in parallel, and offered as
 * far as they reach the cut. 16-bit and quantised values are expanded a panel at a time. */
#include "method/select_private.h"

/* Scores of elements first.. of a parameter, in pieces that threads share out. */
static void score_panel(struct um_selector *s, const struct um_param *param, const float *values,
                        int64_t first, int64_t n)
{
    enum { PIECE = 1 << 13 };
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE) {
        const struct um_stretch stretch = {.seed = s->options.seed,
                                           .draw = s->selection.draw,
                                           .param = param->index,
                                           .first = first + i,
                                           .n = n - i < PIECE ? n - i : PIECE,
                                           .values = values + i};
        s->options.importance->score(s->scores + i, &stretch);
    }
}

/* Offers the panel's elements, members of the set left out. */
static void offer_panel(struct um_selector *s, const struct um_entry *entry, int64_t first,
                        int64_t n)
{
    int64_t at = um_entry_from(entry, first);
    double cut = um_top_cut(s->top);
    for (int64_t i = 0; i < n; i++) {
        bool is_member = at < entry->n && entry->index[at] == first + i;
        at += is_member;
        if (s->scores[i] < cut || (is_member && !s->selection.is_fresh))
            continue;
        um_top_offer(s->top, s->scores[i],
                     (struct um_pick){.param = entry->param->index, .index = first + i});
        cut = um_top_cut(s->top);
    }
    s->stats.n_scored += n;
}

static enum um_status offer_entry(struct um_selector *s, const struct um_entry *entry,
                                  struct um_error *err)
{
    const struct um_param *param = entry->param;
    int64_t n_rows = UM_PANEL_MAX / param->cols < 1 ? 1 : UM_PANEL_MAX / param->cols;
    n_rows = n_rows < param->rows ? n_rows : param->rows;
    size_t need = (size_t)(n_rows * param->cols);
    UM_RETURN_IF(um_selector_panel_room(s, n_rows, n_rows * param->cols, err));
    if (!um_grow(&s->scores, &s->scores_capacity, need, sizeof(*s->scores)))
        return um_fail_memory(err, "scores", need * sizeof(*s->scores));
    for (int64_t first = 0; first < param->rows; first += n_rows) {
        int64_t rows = param->rows - first < n_rows ? param->rows - first : n_rows;
        const float *values = um_param_read(param, first, rows, s->theta);
        score_panel(s, param, values, first * param->cols, rows * param->cols);
        offer_panel(s, entry, first * param->cols, rows * param->cols);
    }
    return UM_OK;
}

enum um_status um_selector_offer_values(struct um_selector *s, struct um_error *err)
{
    for (size_t e = 0; e < s->set->n_entries; e++) {
        const struct um_entry *entry = &s->set->entries[e];
        um_selector_turn_to(s, entry->param);
        if (!entry->is_whole && s->top->n_wanted > 0)
            UM_RETURN_IF(offer_entry(s, entry, err));
    }
    return UM_OK;
}
