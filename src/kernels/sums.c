#include "kernels/sums.h"

#include <string.h>

typedef double pair __attribute__((vector_size(16)));

/* Element i of two rows. */
static inline pair load(const float *const x[2], int64_t i)
{
    return (pair){(double)x[0][i], (double)x[1][i]};
}

/* Rows beyond the last one repeat it; their sums are not stored. */
static void point(const float *p[CR_SUM_ROWS], const float *x, int64_t ld, int rows)
{
    for (int r = 0; r < CR_SUM_ROWS; r++) p[r] = x + (r < rows ? r : rows - 1) * ld;
}

void cr_sum_rows(const float *x, int64_t ld, int rows, int64_t n, double *sum)
{
    const float *p[CR_SUM_ROWS];
    pair a = {0}, b = {0}, c = {0}, d = {0};
    point(p, x, ld, rows);
    for (int64_t i = 0; i < n; i++) {
        a += load(p, i);
        b += load(p + 2, i);
        c += load(p + 4, i);
        d += load(p + 6, i);
    }
    const double all[CR_SUM_ROWS] = {a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]};
    memcpy(sum, all, (size_t)rows * sizeof *sum);
}

void cr_variance_rows(const float *x, int64_t ld, int rows, int64_t n, const double *mean,
                      double *sum)
{
    const float *p[CR_SUM_ROWS];
    pair m[4], s[4] = {{0}};
    point(p, x, ld, rows);
    for (int k = 0; k < 4; k++)
        m[k] = (pair){mean[2 * k < rows ? 2 * k : 0], mean[2 * k + 1 < rows ? 2 * k + 1 : 0]};
    for (int64_t i = 0; i < n; i++) {
        const pair a = load(p, i) - m[0], b = load(p + 2, i) - m[1];
        const pair c = load(p + 4, i) - m[2], d = load(p + 6, i) - m[3];
        s[0] += a * a;
        s[1] += b * b;
        s[2] += c * c;
        s[3] += d * d;
    }
    memcpy(sum, s, (size_t)rows * sizeof *sum);
}

void cr_sum_columns(double *sum, const float *x, int64_t n)
{
    int64_t c = 0;
    for (; c + 4 <= n; c += 4) {
        pair s[2];
        memcpy(s, sum + c, sizeof s);
        s[0] += (pair){(double)x[c], (double)x[c + 1]};
        s[1] += (pair){(double)x[c + 2], (double)x[c + 3]};
        memcpy(sum + c, s, sizeof s);
    }
    for (; c < n; c++) sum[c] += (double)x[c];
}

void cr_variance_columns(double *sum, const float *x, const double *mean, int64_t n)
{
    for (int64_t c = 0; c < n; c++) {
        const double d = (double)x[c] - mean[c];
        sum[c] += d * d;
    }
}
