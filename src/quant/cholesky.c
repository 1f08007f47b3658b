#include "quant/cholesky.h"

#include <math.h>

enum { BLOCK = 64, LANES = 16 };

double cr_dot(const float *a, const double *b, int64_t n)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        s0 += (double)a[i] * b[i];
        s1 += (double)a[i + 1] * b[i + 1];
        s2 += (double)a[i + 2] * b[i + 2];
        s3 += (double)a[i + 3] * b[i + 3];
    }
    for (; i < n; i++) s0 += (double)a[i] * b[i];
    return (s0 + s1) + (s2 + s3);
}

/* Lanes that any compiler turns into vectors without being allowed to reorder sums. */
float cr_dot_f32(const float *a, const float *b, int64_t n)
{
    float lane[LANES] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += a[i + l] * b[i + l];
    for (; i < n; i++) rest += a[i] * b[i];
    for (int width = LANES / 2; width; width /= 2)
        for (int l = 0; l < width; l++) lane[l] += lane[l + width];
    return lane[0] + rest;
}

static void subtract(float *to, const float *row, float f, int64_t n)
{
    for (int64_t j = 0; j < n; j++) to[j] -= f * row[j];
}

static bool factor_block(float *h, int64_t n, int64_t first, int64_t last)
{
    for (int64_t i = first; i < last; i++) {
        float *row = h + i * n;
        if (!(row[i] > 0)) return false;
        const float inverse = 1 / sqrtf(row[i]);
        for (int64_t j = i; j < n; j++) row[j] *= inverse;
        for (int64_t r = i + 1; r < last; r++) subtract(h + r * n + r, row + r, row[r], n - r);
    }
    return true;
}

bool cr_cholesky(float *h, int64_t n)
{
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t last = first + BLOCK < n ? first + BLOCK : n;
        if (!factor_block(h, n, first, last)) return false;
        for (int64_t r = last; r < n; r++)
            for (int64_t p = first; p < last; p++)
                subtract(h + r * n + r, h + p * n + r, h[p * n + r], n - r);
    }
    return true;
}

void cr_cholesky_solve(const float *r, int64_t n, double *x)
{
    for (int64_t i = 0; i < n; i++) {
        const float *row = r + i * n;
        const double v = x[i] /= (double)row[i];
        for (int64_t j = i + 1; j < n; j++) x[j] -= (double)row[j] * v;
    }
    for (int64_t i = n; i-- > 0;) {
        const float *row = r + i * n;
        x[i] = (x[i] - cr_dot(row + i + 1, x + i + 1, n - i - 1)) / (double)row[i];
    }
}
