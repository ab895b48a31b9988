/* Scores of whole entities in tagged texts. */
#ifndef UM_METRIC_ENTITIES_H
#define UM_METRIC_ENTITIES_H

#include "metric/metric.h"

/* The class that is outside of all entities: the one named O; -1: there is none. */
int64_t um_class_outside(char *const *names, int64_t n);

/*
 * An entity is right if its words and its kind are. Tags are B-KIND, I-KIND, E-KIND (or L-), S-KIND
 * (or U-) and O, read as conlleval (Tjong Kim Sang and De Meulder 2003) and seqeval's default read
 * B, I, E, S and O: an entity begins with B or S, behind O, E or S, and where the kind changes. A
 * tag of another form is a kind of words, of which each run is an entity; class -1 is outside. 0
 * where nothing is there, or was predicted.
 */
enum um_status um_entity_f1(double *out, const struct um_scored_rows *rows, struct um_error *err);
enum um_status um_entity_precision(double *out, const struct um_scored_rows *rows,
                                   struct um_error *err);
enum um_status um_entity_recall(double *out, const struct um_scored_rows *rows,
                                struct um_error *err);

#endif
