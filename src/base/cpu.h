/* What the machine can do: instruction sets (capped by UNMASK_CPU), threads, memory, time. */
#ifndef UM_BASE_CPU_H
#define UM_BASE_CPU_H

#include "base/error.h"

enum um_cpu_level { UM_CPU_GENERIC, UM_CPU_AVX2, UM_CPU_AVX512 };

/* The best level that cpuid and the operating system have, not above
 * UNMASK_CPU=generic|avx2|avx512. */
enum um_cpu_level um_cpu_level(void);
/* The same without UNMASK_CPU: what libraries that look for themselves go by. */
enum um_cpu_level um_cpu_level_of_machine(void);
const char *um_cpu_level_name(enum um_cpu_level level);

int um_threads(void); /* that this thread's parallel regions and GEMM run on (um_set_threads) */

int64_t um_memory_total(void);     /* bytes of RAM, or the control group's limit if lower */
/* UM_E_RUNTIME, saying both, if `what` ("this run") needs more than that. */
enum um_status um_memory_check(const char *what, int64_t bytes, struct um_error *err);
int64_t um_memory_rss(void);       /* resident bytes of this process now */
int64_t um_memory_rss_peak(void);  /* and at most so far, or since */
void um_memory_reset_peak(void);   /* this was called (where the system can do that) */
void um_memory_trim(void); /* gives freed heap back to the system (where the C library can) */

double um_seconds(void);      /* a monotonic clock */

#endif
