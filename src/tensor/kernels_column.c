/*
 * Column-wise kernels on feature-major blocks: layer norm, softmax, dot products of columns. The
 * reduction runs over rows, so every lane of a vector is a token of its own and nothing is ever
 * summed across lanes.
 */
#include <math.h>

#include "tensor/kernels_private.h"

static void column_means(float *mean, const float *x, int64_t ldx, int64_t rows, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        mean[j] = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            mean[j] += x[i * ldx + j];
    for (int64_t j = 0; j < n; j++)
        mean[j] /= (float)rows;
}

/* One column without gaps: sums run along the features. */
static void norm_one(float *restrict y, const float *restrict x, int64_t rows, const float *gamma,
                     const float *beta, float eps, bool is_rms, float *mean, float *rstd)
{
    float sum = 0, square = 0;
    if (!is_rms) {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < rows; i++)
            sum += x[i];
    }
    float m = *mean = sum / (float)rows;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < rows; i++)
        square += (x[i] - m) * (x[i] - m);
    float r = *rstd = 1.0F / sqrtf(square / (float)rows + eps);
    for (int64_t i = 0; i < rows; i++)
        y[i] = (x[i] - m) * r * gamma[i] + (beta ? beta[i] : 0);
}

static void k_norm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows, int64_t n,
                   const float *gamma, const float *beta, float eps, bool is_rms, float *mean,
                   float *rstd)
{
    float square[UM_COLUMN_BLOCK];
    if (n == 1 && ldx == 1 && ldy == 1) {
        norm_one(y, x, rows, gamma, beta, eps, is_rms, mean, rstd);
        return;
    }
    if (is_rms)
        memset(mean, 0, (size_t)n * sizeof(float));
    else
        column_means(mean, x, ldx, rows, n);
    memset(square, 0, sizeof(square));
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < n; j++) {
            float centred = x[i * ldx + j] - mean[j];
            square[j] += centred * centred;
        }
    }
    for (int64_t j = 0; j < n; j++)
        rstd[j] = 1.0F / sqrtf(square[j] / (float)rows + eps);
    for (int64_t i = 0; i < rows; i++) {
        float g = gamma[i], b = beta ? beta[i] : 0;
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            y[i * ldy + j] = (x[i * ldx + j] - mean[j]) * rstd[j] * g + b;
    }
}

static void k_norm_grad(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *x,
                        int64_t ldx, int64_t rows, int64_t n, const float *gamma, bool is_rms,
                        const float *mean, const float *rstd, bool accumulate)
{
    float plain[UM_COLUMN_BLOCK], along[UM_COLUMN_BLOCK];
    memset(plain, 0, sizeof(plain));
    memset(along, 0, sizeof(along));
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < n; j++) {
            float d = dy[i * lddy + j] * gamma[i];
            plain[j] += d;
            along[j] += d * ((x[i * ldx + j] - mean[j]) * rstd[j]);
        }
    }
    for (int64_t j = 0; j < n; j++) {
        plain[j] = is_rms ? 0 : plain[j] / (float)rows;
        along[j] /= (float)rows;
    }
    for (int64_t i = 0; i < rows; i++) {
        float *out = dx + i * lddx;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            float xhat = (x[i * ldx + j] - mean[j]) * rstd[j];
            float d = rstd[j] * (dy[i * lddy + j] * gamma[i] - plain[j] - xhat * along[j]);
            out[j] = accumulate ? out[j] + d : d;
        }
    }
}

static void k_norm_grad_row(float *d_gamma, float *d_beta, const float *dy, const float *x,
                            const float *mean, const float *rstd, int64_t n)
{
    enum { LANES = 32 };
    float gamma[LANES] = {0}, beta[LANES] = {0};
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            gamma[l] += dy[j + l] * ((x[j + l] - mean[j + l]) * rstd[j + l]);
            beta[l] += dy[j + l];
        }
    }
    for (int l = 0; j < n; j++, l++) {
        gamma[l] += dy[j] * ((x[j] - mean[j]) * rstd[j]);
        beta[l] += dy[j];
    }
    float sum_gamma = 0, sum_beta = 0;
    for (int l = 0; l < LANES; l++) {
        sum_gamma += gamma[l];
        sum_beta += beta[l];
    }
    *d_gamma = sum_gamma;
    *d_beta = sum_beta;
}

/* Rows that no column of the block may see hold -infinity's stand-in before the exponential. */
#define HIDDEN (-1e30F)

/* s *= scale, with HIDDEN where column j may not see row i. */
static UM_ALWAYS_INLINE void scale_row(float *s, float scale, int32_t i, const int32_t *first,
                                       const int32_t *last, int64_t n)
{
    if (!first || !last) {
        for (int64_t j = 0; j < n; j++)
            s[j] *= scale;
        return;
    }
    for (int64_t j = 0; j < n; j++)
        s[j] = ((i >= first[j]) & (i < last[j])) ? s[j] * scale : HIDDEN;
}

static float k_exp_row(float *x, int64_t n)
{
    float most = x[0], sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = um_exp(x[i] - most);
        sum += x[i];
    }
    return sum;
}

static void k_softmax(float *s, int64_t lds, int64_t rows, int64_t n, float scale,
                      const int32_t *first, const int32_t *last, float *lse)
{
    enum { RUN = 256 }; /* rows summed in fp32: a vocabulary's sum would lose digits */
    float most[UM_COLUMN_BLOCK], sum[UM_COLUMN_BLOCK];
    double total[UM_COLUMN_BLOCK];
    for (int64_t j = 0; j < n; j++) {
        most[j] = HIDDEN;
        sum[j] = 0;
        total[j] = 0;
    }
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * lds;
        scale_row(row, scale, (int32_t)i, first, last, n);
        for (int64_t j = 0; j < n; j++)
            most[j] = row[j] > most[j] ? row[j] : most[j];
    }
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * lds;
        for (int64_t j = 0; j < n; j++) {
            float e = row[j] <= HIDDEN ? 0 : um_exp(row[j] - most[j]);
            row[j] = e;
            sum[j] += e;
        }
        if (i % RUN != RUN - 1 && i != rows - 1)
            continue;
        for (int64_t j = 0; j < n; j++) {
            total[j] += (double)sum[j];
            sum[j] = 0;
        }
    }
    for (int64_t j = 0; j < n; j++) {
        lse[j] = most[j] + (float)log(total[j]);
        sum[j] = (float)(1 / total[j]);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            s[i * lds + j] *= sum[j];
}

static void k_softmax_again(float *s, int64_t lds, int64_t rows, int64_t n, float scale,
                            const int32_t *first, const int32_t *last, const float *lse)
{
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * lds;
        scale_row(row, scale, (int32_t)i, first, last, n);
        for (int64_t j = 0; j < n; j++)
            row[j] = row[j] <= HIDDEN ? 0 : um_exp(row[j] - lse[j]);
    }
}

static void k_column_dots(float *out, const float *a, int64_t lda, const float *b, int64_t ldb,
                          int64_t rows, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            out[j] += a[i * lda + j] * b[i * ldb + j];
}

void UM_LEVELED(um_kernels_fill_column)(struct um_kernels *k)
{
    k->norm = k_norm;
    k->norm_grad = k_norm_grad;
    k->norm_grad_row = k_norm_grad_row;
    k->softmax = k_softmax;
    k->exp_row = k_exp_row;
    k->softmax_again = k_softmax_again;
    k->column_dots = k_column_dots;
}
