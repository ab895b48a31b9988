/* The list of architectures: a new one is a line here and a file beside. */
#include "model/model.h"

extern const struct um_arch um_arch_bert, um_arch_distilbert;

const struct um_arch *const um_archs[] = {&um_arch_bert, &um_arch_distilbert};
const size_t um_n_archs = UM_COUNT(um_archs);
