/* What the machine can do. cpuid and XGETBV are asked by the compiler's builtins. */
#define _DEFAULT_SOURCE /* sysconf names, getrusage */
#include "base/cpu.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "unmask.h"

static const char *const level_names[] = {
    [UM_CPU_GENERIC] = "generic", [UM_CPU_AVX2] = "avx2", [UM_CPU_AVX512] = "avx512"};

const char *um_cpu_level_name(enum um_cpu_level level)
{
    return level_names[level];
}

enum um_cpu_level um_cpu_level_of_machine(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return UM_CPU_GENERIC;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return UM_CPU_AVX2;
    return UM_CPU_AVX512;
#else
    return UM_CPU_GENERIC;
#endif
}

enum um_cpu_level um_cpu_level(void)
{
    enum um_cpu_level level = um_cpu_level_of_machine();
    const char *cap = getenv("UNMASK_CPU");
    for (int i = 0; cap && i < (int)level; i++)
        if (strcmp(cap, level_names[i]) == 0)
            return (enum um_cpu_level)i;
    return level;
}

enum um_status um_check_environment(struct um_error *err)
{
    const char *cap = getenv("UNMASK_CPU");
    if (!cap || !*cap)
        return UM_OK;
    for (size_t i = 0; i < UM_COUNT(level_names); i++)
        if (strcmp(cap, level_names[i]) == 0)
            return UM_OK;
    return um_fail(err, UM_E_USAGE, "UNMASK_CPU is '%s', expected %s, %s or %s", cap,
                   level_names[UM_CPU_GENERIC], level_names[UM_CPU_AVX2],
                   level_names[UM_CPU_AVX512]);
}

/* OpenMP keeps a number for each thread, and begins with that of OMP_NUM_THREADS, else of the
 * processors this process may use. */
void um_set_threads(int n)
{
    static UM_THREAD_LOCAL int own;
    if (own == 0)
        own = omp_get_max_threads();
    omp_set_num_threads(n > 0 ? n : own);
}

int um_threads(void)
{
    return omp_get_max_threads();
}

int64_t um_memory_total(void)
{
    int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    if (file) {
        long long limit;
        if (fscanf(file, "%lld", &limit) == 1 && limit < bytes)
            bytes = limit;
        (void)fclose(file);
    }
    return bytes;
}

enum um_status um_memory_check(const char *what, int64_t bytes, struct um_error *err)
{
    char need[24], have[24];
    int64_t total = um_memory_total();
    return bytes <= total
               ? UM_OK
               : um_fail(err, UM_E_RUNTIME, "%s needs about %s of memory, the machine has %s", what,
                         um_format_bytes(need, (double)bytes),
                         um_format_bytes(have, (double)total));
}

int64_t um_memory_rss(void)
{
    long long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &total, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return (int64_t)resident * (int64_t)sysconf(_SC_PAGESIZE);
}

int64_t um_memory_rss_peak(void)
{
    struct rusage usage;
    char line[128];
    long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmHWM: %lld", &kilobytes) == 1)
            break;
    if (file)
        (void)fclose(file);
    if (kilobytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        kilobytes = (long long)usage.ru_maxrss;
    return (int64_t)kilobytes * 1024;
}

/* proc(5): 5 resets the peak resident set size to the current one. */
void um_memory_reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file)
        return;
    (void)fputs("5", file);
    (void)fclose(file);
}

void um_memory_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

double um_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
