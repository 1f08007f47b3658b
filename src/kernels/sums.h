/* Sums of floats in double, each in the order of its elements, as the reference adds: the same
 * bits. Several sums run side by side, because one alone would wait for each addition. */
#ifndef CR_KERNELS_SUMS_H
#define CR_KERNELS_SUMS_H

#include <stdint.h>

enum { CR_SUM_ROWS = 8 };

/* sum[r] = x[r * ld] + ... + x[r * ld + n - 1] for r < rows <= CR_SUM_ROWS */
void cr_sum_rows(const float *x, int64_t ld, int rows, int64_t n, double *sum);
/* The same of squared distances from mean[r]. */
void cr_variance_rows(const float *x, int64_t ld, int rows, int64_t n, const double *mean,
                      double *sum);
/* sum[c] += x[c] for c < n */
void cr_sum_columns(double *sum, const float *x, int64_t n);
/* sum[c] += (x[c] - mean[c])^2 */
void cr_variance_columns(double *sum, const float *x, const double *mean, int64_t n);

#endif
