/*
 * Shares are total * size / all sizes; each entry gets the whole part of what it lacks, and what
 * that leaves over or under goes, one at a time, to or from the entries farthest from their shares.
 * Those are fewer than there are entries. Ties go to the earlier one.
 */
#include "method/quota.h"

#include <math.h>

/* What entry e lacks to its share; negative if it has more. */
struct shares {
    const struct um_trainable *set;
    double per_element; /* total / all sizes */
    bool is_fresh;
};

static bool takes_part(const struct um_entry *entry)
{
    return !entry->is_whole;
}

static int64_t held(const struct shares *s, size_t e)
{
    return s->is_fresh ? 0 : s->set->entries[e].n;
}

static double lacking(const struct shares *s, size_t e)
{
    return s->per_element * (double)s->set->entries[e].param->n_elements - (double)held(s, e);
}

static bool can_change(const struct shares *s, const int64_t *quotas, size_t e, int by)
{
    const struct um_entry *entry = &s->set->entries[e];
    return takes_part(entry) &&
           (by > 0 ? held(s, e) + quotas[e] < entry->param->n_elements : quotas[e] > 0);
}

/* The entry that is to get one more (by 1), or one less (by -1). */
static size_t farthest(const struct shares *s, const int64_t *quotas, int by)
{
    size_t best = s->set->n_entries;
    double most = 0;
    for (size_t e = 0; e < s->set->n_entries; e++) {
        double lacks = by * (lacking(s, e) - (double)quotas[e]);
        if (!can_change(s, quotas, e, by) || (best < s->set->n_entries && !(lacks > most)))
            continue;
        best = e;
        most = lacks;
    }
    return best;
}

void um_quotas(int64_t *quotas, const struct um_trainable *set, int64_t total, bool is_fresh)
{
    int64_t n_all = 0, left = total - (is_fresh ? 0 : set->n - set->n_whole);
    for (size_t e = 0; e < set->n_entries; e++)
        n_all += takes_part(&set->entries[e]) ? set->entries[e].param->n_elements : 0;
    const struct shares shares = {
        .set = set, .per_element = n_all ? (double)total / (double)n_all : 0, .is_fresh = is_fresh};
    for (size_t e = 0; e < set->n_entries; e++) {
        double lacks = lacking(&shares, e);
        quotas[e] = takes_part(&set->entries[e]) && lacks > 0 ? (int64_t)floor(lacks) : 0;
        left -= quotas[e];
    }
    for (size_t e; left != 0; left -= left > 0 ? 1 : -1) {
        int by = left > 0 ? 1 : -1;
        e = farthest(&shares, quotas, by);
        if (e == set->n_entries)
            break;
        quotas[e] += by;
    }
}
