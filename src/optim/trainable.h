/*
 * The trainable set: which parameters a run may change, and their state. A tensor's entry is whole
 * (every element) or sparse (ascending flat positions). The method chooses positions, the backward
 * pass fills gradients, the optimizer updates values, the delta and checkpoints write them down;
 * none of them knows the others.
 *
 * State per trainable element stands in columns (the optimizer's moments, ages); the set keeps them
 * in step when positions are inserted. Memory is O(trainable elements).
 */
#ifndef UM_OPTIM_TRAINABLE_H
#define UM_OPTIM_TRAINABLE_H

#include "nn/param.h"

enum um_column {
    UM_COLUMN_VALUE,  /* current fp32 value; NULL where it is the parameter's own memory (whole) */
    UM_COLUMN_GRAD,   /* of this step */
    UM_COLUMN_FIRST,  /* the optimizer's first moment, */
    UM_COLUMN_SECOND, /* and second */
    UM_COLUMN_SENSITIVITY, /* AdaLoRA's smoothed importance; of a lambda, in the end, whether it
                              stays */
    UM_COLUMN_UNCERTAINTY, /* and how far importances are from it */
    UM_COLUMN_BORN,        /* number of the step that unmasked it (exact up to 2^24) */
    UM_COLUMN_START,       /* value when it was unmasked, to go back to when it is dropped */
    UM_N_COLUMNS
};

/* Columns that whole entries have too; their values are the parameter's own, their age the
 * run's. */
extern const bool um_column_is_of_whole[UM_N_COLUMNS];

/* What becomes of elements that leave the set. */
enum um_dropped {
    UM_DROPPED_NONE,     /* none ever leaves */
    UM_DROPPED_RESTORED, /* they go back to the values they came with */
    UM_DROPPED_KEPT,     /* they keep what they were trained to */
};

/* Every position of a sparse entry that ever was in the set, if elements can leave it. */
struct um_touched {
    int64_t n;
    int64_t *index; /* ascending */
    float *value;   /* current values; NULL where the dropped are restored */
};

struct um_entry {
    struct um_param *param;
    bool is_whole;
    int64_t n;
    int64_t *index;                /* n ascending flat positions; NULL if whole */
    float *column[UM_N_COLUMNS];   /* n each, or NULL if not in use */
    struct um_touched touched;
};

struct um_trainable {
    struct um_entry *entries;      /* one per parameter in scope, by parameter order */
    size_t n_entries;
    struct um_entry **of_param;    /* entry of a parameter by its index; NULL = not in scope */
    int64_t n, n_whole;            /* trainable elements in all; of whole entries */
    bool has_column[UM_N_COLUMNS];
    enum um_dropped dropped;
    struct um_arena arena;
};

/* A set over `scope` (parameters of a model with n_params in all): whole where is_whole[i], else
 * sparse and empty. Freed with um_trainable_close. */
enum um_status um_trainable_open(struct um_trainable *set, int64_t n_params,
                                 struct um_param *const *scope, const bool *is_whole,
                                 size_t n_scope, const bool has_column[UM_N_COLUMNS],
                                 struct um_error *err);
/* The same set of entries without any state: for plans. */
enum um_status um_trainable_open_plan(struct um_trainable *set, int64_t n_params,
                                      struct um_param *const *scope, const bool *is_whole,
                                      size_t n_scope, struct um_error *err);
void um_trainable_close(struct um_trainable *set);

/* One newly trainable element: its gradient of this step is known. */
struct um_pick {
    int32_t param;  /* index of the parameter */
    int64_t index;  /* flat position, not in the set yet */
    float grad;
};
/* Inserts picks (sorted by param, then index), born at `step`; moments start at zero and the value
 * at the parameter's. */
enum um_status um_trainable_insert(struct um_trainable *set, const struct um_pick *picks,
                                   int64_t n_picks, int64_t step, struct um_error *err);
/* Makes the picks (sorted as above) all that the sparse entries hold: elements that were in the set
 * stay as they are, the others leave it (set->dropped says how), new ones come as by insertion. */
enum um_status um_trainable_replace(struct um_trainable *set, const struct um_pick *picks,
                                    int64_t n_picks, int64_t step, struct um_error *err);
/* Remembers positions of one sparse entry (picks, sorted) as touched; `values`, as bytes in a file
 * or NULL, are what they kept. For a set that is taken up again, before its elements are
 * inserted. */
enum um_status um_trainable_touch(struct um_trainable *set, const struct um_pick *picks,
                                  int64_t n_picks, const void *values, struct um_error *err);
/* Whether all picks are touched ones. */
bool um_entry_has_touched(const struct um_entry *entry, const struct um_pick *picks,
                          int64_t n_picks);
/* Elements that ever were in the set. */
int64_t um_trainable_touched(const struct um_trainable *set);

/* The first element of a sparse entry at or behind a position: its place, n if there is none. */
int64_t um_entry_from(const struct um_entry *entry, int64_t index);
/* Whether a position of an entry is in the set (sparse entries: by binary search). */
bool um_entry_has(const struct um_entry *entry, int64_t index);
/* Writes the values of a sparse entry through to a parameter held as fp32, or lays them over a
 * 16-bit one. Called after an update. */
void um_entry_publish(struct um_entry *entry);
/* The values of an entry, n in order. */
float *um_entry_values(const struct um_entry *entry);

/* What a sparse entry changes of its parameter: the set's elements, and dropped ones that keep
 * their values. Borrows from the entry. */
struct um_laid {
    int64_t n;
    const int64_t *index;
    const float *value;
};
struct um_laid um_entry_laid(const struct um_entry *entry);
/* The first of them at or behind a position: its place, n if there is none. */
int64_t um_laid_from(const struct um_laid *laid, int64_t index);

#endif
