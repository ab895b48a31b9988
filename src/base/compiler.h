/* Compiler extensions, all in one place. */
#ifndef UM_BASE_COMPILER_H
#define UM_BASE_COMPILER_H

#if defined(__GNUC__)
#define UM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UM_THREAD_LOCAL      __thread
#define UM_ALWAYS_INLINE     inline __attribute__((always_inline))
#define UM_LIKELY(x)         __builtin_expect(!!(x), 1)
#define UM_UNLIKELY(x)       __builtin_expect(!!(x), 0)
#else
#define UM_PRINTF(fmt, args)
#define UM_THREAD_LOCAL  _Thread_local
#define UM_ALWAYS_INLINE inline
#define UM_LIKELY(x)     (x)
#define UM_UNLIKELY(x)   (x)
#endif

__extension__ typedef unsigned __int128 um_u128;

#define UM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
