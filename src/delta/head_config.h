/* What a model's config.json says of its head: whether it is the table of words, the names of its
 * classes, and what kind of outputs they are. */
#ifndef UM_DELTA_HEAD_CONFIG_H
#define UM_DELTA_HEAD_CONFIG_H

#include "delta/delta.h"
#include "model/model.h"

/* Whether the tensor is the vocabulary head a second time, though the table of words serves as
 * one. */
bool um_head_is_tied_copy(const struct um_folder *folder, const char *name);

/* Whether models of transformers' class tell the classes of sequences or tokens by names. */
bool um_head_is_classifier(const char *task_class);

/* Which heads transformers' class has: those over texts or tokens; UM_HEADS_STORED: neither. */
enum um_heads um_head_kind(const char *task_class);

/* Outputs of the last layer of a task head that the delta holds whole; 0: it holds none. */
int64_t um_delta_outputs(const struct um_delta *delta);
/* Whether a parameter of this name, and so many dimensions, is a task head's last layer: a row for
 * each output. */
bool um_head_is_last(const char *name, int n_dims);

/* Class names and problem_type of a tuned model of delta->task_class, into the delta (borrows them
 * from the config); nothing if it is no classifier. UM_E_INPUT if a name is missing. */
enum um_status um_head_read_labels(struct um_delta *delta, const json_t *config,
                                   struct um_error *err);
/* Their way back. false = no memory. */
bool um_head_write_labels(json_t *config, const struct um_delta *delta);

#endif
