/* What the readers of a data set's rows share. */
#ifndef UM_DATA_DATASET_PRIVATE_H
#define UM_DATA_DATASET_PRIVATE_H

#include "data/task.h"

/* Makes names the data's classes, in that order; without names they are called by their numbers,
 * from 0. */
enum um_status um_dataset_copy_labels(struct um_dataset *data, const char *const *names, int64_t n,
                                      struct um_error *err);
/* Sorts names, numbers by value, and drops repetitions. Returns how many are left. */
int64_t um_dataset_sort_labels(const char **names, int64_t n_names);
/* The class that a label's text stands for. UM_E_INPUT lists those that are known. */
enum um_status um_dataset_find_label(int64_t *label, const struct um_dataset *data,
                                     const char *text, int64_t line, struct um_error *err);
/* All n `what` (rows, words) have one label, of which nothing can be learnt. */
enum um_status um_dataset_fail_one_class(const char *path, int64_t n, const char *what,
                                         const char *label, struct um_error *err);

/* dataset_words.c. The column of tags where none is named: the first whose tags are all the task's,
 * if it names its own; else the last. */
size_t um_dataset_tag_column(const struct um_dataset *data);
/* Class names from a column of tags: "O", which is outside of all, first; else as
 * labels are sorted. */
enum um_status um_dataset_learn_tags(struct um_dataset *data, size_t column,
                                     struct um_error *err);
/* Counts the words of row i, whose texts are set, and reads their tags (NULL: it has none). */
enum um_status um_dataset_read_tags(struct um_dataset *data, int64_t i, const struct um_cell *tags,
                                    struct um_error *err);
/* Once all are read: where each row's tags are. UM_E_INPUT: one tag alone in training data. */
enum um_status um_dataset_settle_tags(struct um_dataset *data, bool is_train,
                                      struct um_error *err);
/* Numbers the words anew after rows were moved. */
void um_dataset_number_words(struct um_dataset *data);

#endif
