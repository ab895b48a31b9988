/* The kernel table of this machine: generic, then AVX2, then AVX-512 fill it, as far as it goes. */
#include <pthread.h>

#include "tensor/kernels.h"

#define DECLARE(level)                                                                             \
    void um_kernels_fill_math_##level(struct um_kernels *k);                                       \
    void um_kernels_fill_column_##level(struct um_kernels *k);                                     \
    void um_kernels_fill_select_##level(struct um_kernels *k);                                     \
    void um_kernels_fill_expand_##level(struct um_kernels *k);                                     \
    void um_kernels_fill_dot_##level(struct um_kernels *k);                                        \
    static void fill_##level(struct um_kernels *k)                                                 \
    {                                                                                              \
        um_kernels_fill_math_##level(k);                                                           \
        um_kernels_fill_column_##level(k);                                                         \
        um_kernels_fill_select_##level(k);                                                         \
        um_kernels_fill_expand_##level(k);                                                         \
        um_kernels_fill_dot_##level(k);                                                            \
    }

DECLARE(generic)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#endif

static struct um_kernels tables[3];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
    enum um_cpu_level best = um_cpu_level();
    fill_generic(&tables[UM_CPU_GENERIC]);
    tables[UM_CPU_GENERIC].level = UM_CPU_GENERIC;
    tables[UM_CPU_AVX2] = tables[UM_CPU_AVX512] = tables[UM_CPU_GENERIC];
#if defined(__x86_64__)
    if (best >= UM_CPU_AVX2) {
        fill_avx2(&tables[UM_CPU_AVX2]);
        tables[UM_CPU_AVX2].level = UM_CPU_AVX2;
        tables[UM_CPU_AVX512] = tables[UM_CPU_AVX2];
    }
    if (best >= UM_CPU_AVX512) {
        fill_avx512(&tables[UM_CPU_AVX512]);
        tables[UM_CPU_AVX512].level = UM_CPU_AVX512;
    }
#endif
    (void)best;
}

const struct um_kernels *um_kernels_at(enum um_cpu_level level)
{
    (void)pthread_once(&once, fill_tables);
    return &tables[level];
}

const struct um_kernels *um_kernels(void)
{
    return um_kernels_at(UM_CPU_AVX512); /* the highest slot holds the best there is */
}
