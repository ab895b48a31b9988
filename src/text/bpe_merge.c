/* Reading the list of merges into a hash table, and merging a word by it. */
#include <string.h>

#include "text/bpe_private.h"

static size_t slot_of(uint64_t pair, uint32_t shift)
{
    return (size_t)(pair * UINT64_C(0x9e3779b97f4a7c15) >> shift);
}

/* The slot of a pair, or the free one where it belongs. At most half are in use. */
static struct um_bpe_merge *find_slot(const struct um_bpe *bpe, uint64_t pair)
{
    size_t mask = ((size_t)1 << (64 - bpe->shift)) - 1, i = slot_of(pair, bpe->shift);
    while (bpe->merges[i].pair != pair && bpe->merges[i].pair != UINT64_MAX)
        i = (i + 1) & mask;
    return &bpe->merges[i];
}

enum um_status um_bpe_new_table(struct um_bpe *bpe, struct um_loader *loader, size_t n_merges,
                                struct um_error *err)
{
    size_t n_slots = 16;
    for (bpe->shift = 60; n_slots < 2 * n_merges; n_slots *= 2)
        bpe->shift--;
    bpe->merges = UM_ARENA_NEW(loader->arena, n_slots, struct um_bpe_merge);
    if (!bpe->merges)
        return um_fail_memory(err, loader->where, n_slots * sizeof(*bpe->merges));
    for (size_t i = 0; i < n_slots; i++)
        bpe->merges[i].pair = UINT64_MAX;
    return UM_OK;
}

void um_bpe_put_merge(struct um_bpe *bpe, struct um_bpe_merge merge)
{
    *find_slot(bpe, merge.pair) = merge;
}

/* The two parts of a merge, one behind the other in the same memory. */
struct parts {
    const char *left, *right;
    size_t n_left, n_right;
};

/* "left right", closing the gap. */
static bool split_at_blank(struct parts *parts, char *text, size_t n)
{
    char *blank = memchr(text, ' ', n);
    if (!blank || memchr(blank + 1, ' ', n - (size_t)(blank - text) - 1))
        return false;
    *parts = (struct parts){.left = text,
                            .right = blank,
                            .n_left = (size_t)(blank - text),
                            .n_right = n - (size_t)(blank - text) - 1};
    memmove(blank, blank + 1, parts->n_right);
    return true;
}

/* ["left", "right"], or the older "left right". */
static enum um_status read_parts(struct parts *parts, char *buffer, struct um_scan *scan,
                                 struct um_error *err)
{
    parts->left = buffer;
    if (um_scan_take(scan, '[')) {
        char *right;
        if (!um_scan_string(buffer, &parts->n_left, scan) || !um_scan_take(scan, ','))
            return um_scan_fail(scan, "a pair of texts", err);
        parts->right = right = buffer + parts->n_left;
        if (!um_scan_string(right, &parts->n_right, scan) || !um_scan_take(scan, ']'))
            return um_scan_fail(scan, "a pair of texts", err);
        return UM_OK;
    }
    size_t n;
    if (!um_scan_string(buffer, &n, scan))
        return um_scan_fail(scan, "a merge", err);
    return split_at_blank(parts, buffer, n)
               ? UM_OK
               : um_scan_fail(scan, "two texts with a blank between them", err);
}

static enum um_status find_part(int32_t *id, const struct um_bpe *bpe, const char *where,
                                const char *text, size_t n, struct um_error *err)
{
    *id = um_vocab_find(bpe->vocab, text, n);
    if (*id >= 0)
        return UM_OK;
    return um_fail(err, UM_E_INPUT,
                   "cannot read '%s': a merge needs '%.*s', which is not in the "
                   "vocabulary",
                   where, n < 100 ? (int)n : 100, text);
}

/* The pair, and what it becomes: the left part and the right one without the continuing prefix. */
static enum um_status add_merge(struct um_bpe *bpe, struct parts parts, const char *where,
                                uint32_t rank, struct um_error *err)
{
    int32_t left, right, merged;
    UM_RETURN_IF(find_part(&left, bpe, where, parts.left, parts.n_left, err));
    UM_RETURN_IF(find_part(&right, bpe, where, parts.right, parts.n_right, err));
    size_t n_prefix = bpe->prefix.n < parts.n_right ? bpe->prefix.n : parts.n_right;
    uint64_t hash = um_vocab_hash(UM_VOCAB_HASH_START, parts.left, parts.n_left);
    merged = um_vocab_find_hashed(
        bpe->vocab, um_vocab_hash(hash, parts.right + n_prefix, parts.n_right - n_prefix),
        parts.left, parts.n_left, parts.right + n_prefix, parts.n_right - n_prefix);
    if (merged < 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': merge %u gives '%.*s', which is not in "
                       "the vocabulary",
                       where, rank,
                       parts.n_left + parts.n_right < 100 ? (int)(parts.n_left + parts.n_right)
                                                          : 100,
                       parts.left);
    um_bpe_put_merge(
        bpe, (struct um_bpe_merge){.pair = um_bpe_pair(left, right), .rank = rank, .id = merged});
    return UM_OK;
}

/* An upper bound of the merges in the list: each but the first has a comma before it. */
static size_t count_merges(const struct um_scan *scan)
{
    size_t n_commas = 0;
    for (const char *p = scan->at; p < scan->end; p++)
        n_commas += *p == ',';
    return n_commas + 1;
}

static enum um_status read_list(struct um_bpe *bpe, struct um_scan *scan, char *buffer,
                                struct um_error *err)
{
    uint32_t rank = 0;
    struct parts parts;
    if (um_scan_take(scan, ']'))
        return UM_OK;
    do {
        UM_RETURN_IF(read_parts(&parts, buffer, scan, err));
        UM_RETURN_IF(add_merge(bpe, parts, scan->where, rank++, err));
    } while (um_scan_take(scan, ','));
    return um_scan_take(scan, ']') ? UM_OK : um_scan_fail(scan, "',' or ']'", err);
}

/* An array of "left right" in a GGUF file. */
static enum um_status read_texts(struct um_bpe *bpe, struct um_loader *loader, struct um_error *err)
{
    const struct um_gguf_pair *list = loader->merge_texts;
    struct um_str copy = {0};
    enum um_status status;
    UM_TRY(um_bpe_new_table(bpe, loader, list->n, err));
    for (size_t i = 0; i < list->n; i++) {
        struct parts parts;
        um_str_clear(&copy);
        um_str_add_n(&copy, list->strings[i], list->lengths[i]);
        if (copy.failed)
            UM_TRY(um_fail_memory(err, loader->where, list->lengths[i]));
        if (!split_at_blank(&parts, copy.text, copy.length))
            UM_TRY(um_fail(err, UM_E_INPUT,
                           "cannot read '%s': element %zu of %s is '%.100s', expected two texts "
                           "with a blank between them",
                           loader->where, i, list->key, copy.text));
        UM_TRY(add_merge(bpe, parts, loader->where, (uint32_t)i, err));
    }
out:
    um_str_free(&copy);
    return status;
}

enum um_status um_bpe_read_merges(struct um_bpe *bpe, struct um_loader *loader,
                                  struct um_error *err)
{
    if (loader->scores)
        return um_bpe_derive_merges(bpe, loader, err);
    if (loader->merge_texts)
        return read_texts(bpe, loader, err);
    struct um_scan scan = {.text = loader->text,
                           .at = loader->merges.start,
                           .end = loader->merges.end,
                           .where = loader->where};
    if (bpe->prefix.n > UM_BPE_AFFIX_MAX || bpe->suffix.n > UM_BPE_AFFIX_MAX)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': a prefix or suffix of BPE has more than "
                       "%d bytes",
                       loader->where, UM_BPE_AFFIX_MAX);
    if (!scan.at || !um_scan_take(&scan, '['))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': model.merges is not a list",
                       loader->where);
    UM_RETURN_IF(um_bpe_new_table(bpe, loader, count_merges(&scan), err));
    char *buffer = um_alloc((size_t)(scan.end - scan.at) + 2);
    if (!buffer)
        return um_fail_memory(err, loader->where, (size_t)(scan.end - scan.at));
    enum um_status status = read_list(bpe, &scan, buffer, err);
    um_free(buffer);
    return status;
}

static void sift_up(struct um_bpe_candidate *heap, size_t i)
{
    struct um_bpe_candidate item = heap[i];
    for (; i > 0 && heap[(i - 1) / 2].key > item.key; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
}

static struct um_bpe_candidate pop(struct um_bpe_scratch *s)
{
    struct um_bpe_candidate top = s->heap[0], item = s->heap[--s->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < s->n_heap) {
        if (child + 1 < s->n_heap && s->heap[child + 1].key < s->heap[child].key)
            child++;
        if (item.key <= s->heap[child].key)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = item;
    return top;
}

/* Puts the pair of symbol `at` and the one behind it into the heap if they can merge. The heap has
 * room: n - 1 pairs at the start and two more for each of n - 1 merges. */
static void push(struct um_bpe_scratch *s, const struct um_bpe *bpe, uint32_t at)
{
    uint32_t behind = s->symbols[at].behind;
    if (behind == UINT32_MAX)
        return;
    uint64_t pair = um_bpe_pair(s->symbols[at].id, s->symbols[behind].id);
    const struct um_bpe_merge *merge = find_slot(bpe, pair);
    if (merge->pair != pair)
        return;
    s->heap[s->n_heap] =
        (struct um_bpe_candidate){.key = (uint64_t)merge->rank << 32 | at, .id = merge->id};
    sift_up(s->heap, s->n_heap++);
}

/* Merges a candidate's symbols, unless one of them has become another since it was put in: a pair
 * at this place that gives the same token is the same pair, as symbols only grow. */
static void merge_candidate(struct um_bpe_scratch *s, const struct um_bpe *bpe,
                            struct um_bpe_candidate candidate)
{
    uint32_t at = (uint32_t)candidate.key, behind = s->symbols[at].behind;
    if (s->symbols[at].id < 0 || behind == UINT32_MAX)
        return;
    uint64_t pair = um_bpe_pair(s->symbols[at].id, s->symbols[behind].id);
    const struct um_bpe_merge *merge = find_slot(bpe, pair);
    if (merge->pair != pair || merge->id != candidate.id)
        return;
    s->symbols[at].id = merge->id;
    s->symbols[behind].id = -1;
    s->symbols[at].behind = s->symbols[behind].behind;
    if (s->symbols[at].behind != UINT32_MAX)
        s->symbols[s->symbols[at].behind].before = at;
    if (s->symbols[at].before != UINT32_MAX)
        push(s, bpe, s->symbols[at].before);
    push(s, bpe, at);
}

enum um_status um_bpe_merge(struct um_ids *out, size_t start, const struct um_bpe *bpe,
                            struct um_bpe_scratch *s, struct um_error *err)
{
    size_t n = out->n - start;
    if (n < 2)
        return UM_OK;
    if (n >= UINT32_MAX / 3)
        return um_fail(err, UM_E_INPUT, "cannot tokenize: a word of %zu characters", n);
    if (!um_grow(&s->symbols, &s->n_symbols, n, sizeof(*s->symbols)) ||
        !um_grow(&s->heap, &s->heap_capacity, 3 * n, sizeof(*s->heap)))
        return um_fail_memory(err, "tokenizing", n * sizeof(*s->symbols));
    for (uint32_t i = 0; i < n; i++)
        s->symbols[i] = (struct um_bpe_symbol){.id = out->items[start + i],
                                               .before = i ? i - 1 : UINT32_MAX,
                                               .behind = i + 1 < n ? i + 1 : UINT32_MAX};
    s->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        push(s, bpe, i);
    while (s->n_heap > 0)
        merge_candidate(s, bpe, pop(s));
    out->n = start;
    for (uint32_t i = 0; i != UINT32_MAX; i = s->symbols[i].behind)
        out->items[out->n++] = s->symbols[i].id;
    return UM_OK;
}
