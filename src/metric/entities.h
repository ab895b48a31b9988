/* Scores of whole entities in tagged texts. */
#ifndef UM_METRIC_ENTITIES_H
#define UM_METRIC_ENTITIES_H

#include "metric/metric.h"

/*
 * An entity is right if its words and its kind are. Tags are B-KIND, I-KIND, E-KIND, S-KIND and O,
 * read as conlleval (Tjong Kim Sang and De Meulder 2003) and seqeval's default read them: an entity
 * begins with B or S, behind O, E or S, and where the kind changes; tags of other forms are kinds of
 * words, of which each run is an entity. 0 where nothing is there, or was predicted.
 */
enum um_status um_entity_f1(double *out, const struct um_scored_rows *rows, struct um_error *err);
enum um_status um_entity_precision(double *out, const struct um_scored_rows *rows,
                                   struct um_error *err);
enum um_status um_entity_recall(double *out, const struct um_scored_rows *rows,
                                struct um_error *err);

#endif
