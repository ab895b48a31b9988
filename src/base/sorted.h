/* Sorted arrays: finding a place among ascending positions, and qsort's order of texts. */
#ifndef UM_BASE_SORTED_H
#define UM_BASE_SORTED_H

#include <stdint.h>
#include <string.h>

/* The place of the first of n ascending positions at or behind `position`; n if there is none. */
static inline int64_t um_place_from(const int64_t *positions, int64_t n, int64_t position)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* For qsort of an array of texts, by bytes. */
static inline int um_compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#endif
