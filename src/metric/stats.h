/* What few numbers say: mean, deviation, and whether two methods differ on the same seeds. */
#ifndef UM_METRIC_STATS_H
#define UM_METRIC_STATS_H

#include <stdint.h>

double um_mean(const double *x, int64_t n); /* NaN of none */
/* The sample's standard deviation (n - 1); NaN below two. */
double um_deviation(const double *x, int64_t n);
/* Two-sided p of Student's paired t-test that a and b have one mean; 1 if they are equal
 * throughout, 0 if they differ by the same throughout, NaN below two pairs. */
double um_paired_p(const double *a, const double *b, int64_t n);

#endif
