/* Splitting a number among tensors by their sizes: exactly, and never less than a tensor has. */
#ifndef UM_METHOD_QUOTA_H
#define UM_METHOD_QUOTA_H

#include "optim/trainable.h"

/*
 * quotas[e] = how many more sparse entry e of the set is to get, so that all sparse entries hold
 * `total` then and each is as near to its share by size as the others allow. `is_fresh`: as if they
 * held nothing yet. total is at least what they hold, at most what there is.
 */
void um_quotas(int64_t *quotas, const struct um_trainable *set, int64_t total, bool is_fresh);

#endif
