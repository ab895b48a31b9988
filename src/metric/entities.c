/* Entities of predicted and true tags, found side by side. */
#include "metric/entities.h"

#include <string.h>

/* A class's name as a tag: its place in an entity, and the entity's kind. */
struct tag {
    char place; /* B, I, E, S, or O */
    const char *kind;
};

static struct tag read_tag(const char *name)
{
    static const char places[] = "BIESLU", meant[] = "BIESES";
    const char *place = *name && (name[1] == '-' || !name[1]) ? strchr(places, *name) : NULL;
    if (strcmp(name, "O") == 0)
        return (struct tag){'O', ""};
    return place ? (struct tag){meant[place - places], name[1] ? name + 2 : ""}
                 : (struct tag){'I', name};
}

/* A class's; behind the text's end, and of class -1, it is outside. */
static struct tag tag_at(const struct um_scored_rows *r, const int64_t *classes, int64_t i,
                         int64_t end)
{
    return i == end || classes[i] < 0 ? (struct tag){'O', ""} : read_tag(r->names[classes[i]]);
}

int64_t um_class_outside(char *const *names, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (strcmp(names[k], "O") == 0)
            return k;
    return -1;
}

static bool is_outside(struct tag tag)
{
    return tag.place == 'O';
}

/* Whether an entity ends between two tags. */
static bool ends(struct tag tag, struct tag next)
{
    return !is_outside(tag) && (strchr("ES", tag.place) || strchr("BSO", next.place) ||
                                strcmp(tag.kind, next.kind) != 0);
}

/* Whether one begins behind `before`. */
static bool begins(struct tag before, struct tag tag)
{
    return !is_outside(tag) && (strchr("BS", tag.place) || strchr("ESO", before.place) ||
                                strcmp(before.kind, tag.kind) != 0);
}

/* A walk over one sequence of tags. */
struct walk {
    struct tag before;
    int64_t start; /* of the entity that is open; -1: none */
};

/* Steps onto a tag at `at`. Returns where the entity that ends before it began; -1: none does. */
static int64_t step(const char **kind, struct walk *w, struct tag tag, int64_t at)
{
    int64_t ended = ends(w->before, tag) ? w->start : -1;
    *kind = w->before.kind;
    if (ended >= 0)
        w->start = -1;
    if (begins(w->before, tag))
        w->start = at;
    w->before = tag;
    return ended;
}

struct counts {
    int64_t predicted, there, right;
};

static void count_text(struct counts *c, const struct um_scored_rows *r, int64_t first, int64_t end)
{
    const struct tag outside = {'O', ""};
    struct walk predicted = {outside, -1}, true_ones = {outside, -1};
    for (int64_t i = first; i <= end; i++) {
        const char *kind, *true_kind;
        int64_t start = step(&kind, &predicted, tag_at(r, r->predicted, i, end), i);
        int64_t true_start = step(&true_kind, &true_ones, tag_at(r, r->label, i, end), i);
        c->predicted += start >= 0;
        c->there += true_start >= 0;
        c->right += start >= 0 && start == true_start && strcmp(kind, true_kind) == 0;
    }
}

static struct counts count(const struct um_scored_rows *r)
{
    struct counts c = {0};
    for (int64_t t = 0; t < r->n_texts; t++)
        count_text(&c, r, r->starts[t], r->starts[t + 1]);
    return c;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

enum um_status um_entity_f1(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    struct counts c = count(r);
    (void)err;
    *out = ratio(2 * c.right, c.predicted + c.there);
    return UM_OK;
}

enum um_status um_entity_precision(double *out, const struct um_scored_rows *r,
                                   struct um_error *err)
{
    struct counts c = count(r);
    (void)err;
    *out = ratio(c.right, c.predicted);
    return UM_OK;
}

enum um_status um_entity_recall(double *out, const struct um_scored_rows *r, struct um_error *err)
{
    struct counts c = count(r);
    (void)err;
    *out = ratio(c.right, c.there);
    return UM_OK;
}
