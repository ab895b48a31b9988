/* What the files of the trainable set share. */
#ifndef UM_OPTIM_TRAINABLE_PRIVATE_H
#define UM_OPTIM_TRAINABLE_PRIVATE_H

#include "optim/trainable.h"

/* How many picks from the first on are of a parameter. */
int64_t um_picks_of_param(const struct um_pick *picks, int64_t n_picks, int param);

/* Fills every column of element `at`, new in the set, with what it starts from. */
void um_entry_set_element(struct um_entry *entry, int64_t at, const struct um_pick *pick,
                          float value, int64_t step);

/* Element k of `from`, with its position, to place `at` of an entry that has the same columns. */
void um_entry_copy_element(struct um_entry *to, int64_t at, const struct um_entry *from, int64_t k);
void um_entry_free_columns(struct um_entry *entry);

/* Writes the values of the set's elements to their places among the touched ones. */
void um_entry_write_touched(struct um_entry *entry);

#endif
