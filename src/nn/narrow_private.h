/*
 * y = W x + b for few columns: going on with texts by a token each. Little is computed with each
 * weight, so what counts is that weights are read once, as they are stored.
 */
#ifndef UM_NN_NARROW_PRIVATE_H
#define UM_NN_NARROW_PRIVATE_H

#include "nn/tape.h"

/* What um_narrow_product can do: maps of at most so many columns, or of stored weights that are to
 * be expanded piece by piece. */
bool um_narrow_takes(const struct um_param *weight, int64_t n_columns);
/* Floats of scratch that it needs. */
int64_t um_narrow_scratch(const struct um_param *weight, const struct um_param *bias,
                          int64_t n_columns);
/* Writes y; bias may be NULL. */
void um_narrow_product(const struct um_value *y, const struct um_param *weight,
                       const struct um_param *bias, const struct um_value *x, float *scratch);

#endif
