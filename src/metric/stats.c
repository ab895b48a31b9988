/*
 * Statistics of repeated runs. The p of a t with v degrees of freedom is I_x(v/2, 1/2) at x = v /
 * (v + t^2), the incomplete beta function, by its continued fraction (Abramowitz and
 * Stegun 26.5.8, 26.7.1) and Lentz's way of working one out.
 */
#include "metric/stats.h"

#include <math.h>

double um_mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : (double)NAN;
}

double um_deviation(const double *x, int64_t n)
{
    double mean = um_mean(x, n), sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return n > 1 ? sqrt(sum / (double)(n - 1)) : (double)NAN;
}

static double off_zero(double x)
{
    return fabs(x) < 1e-300 ? 1e-300 : x;
}

/* The continued fraction of I_x(a, b), which converges fast below (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    enum { TERMS = 1000 };
    double c = 1, d = 1 / off_zero(1 - (a + b) * x / (a + 1)), fraction = d;
    for (int m = 1; m < TERMS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / off_zero(1 + even * d);
        c = off_zero(1 + even / c);
        fraction *= c * d;
        d = 1 / off_zero(1 + odd * d);
        c = off_zero(1 + odd / c);
        fraction *= c * d;
        if (fabs(c * d - 1) < 1e-15)
            break;
    }
    return fraction;
}

static double incomplete_beta(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double um_paired_p(const double *a, const double *b, int64_t n)
{
    double mean = 0, sum = 0;
    if (n < 2)
        return (double)NAN;
    for (int64_t i = 0; i < n; i++)
        mean += (a[i] - b[i]) / (double)n;
    for (int64_t i = 0; i < n; i++)
        sum += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
    if (sum == 0)
        return mean == 0 ? 1 : 0;
    double freedom = (double)(n - 1), t2 = mean * mean / (sum / freedom / (double)n);
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t2));
}
