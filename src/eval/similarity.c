/* Two tensors side by side: signal-to-noise ratio and cosine. A float's square is far from double's
 * limits, so sums overflow only when an element is infinite. */
#include <math.h>

#include "crayon/eval.h"

double cr_sqnr_db(const float *ref, const float *test, size_t n)
{
    double signal = 0, noise = 0;
    for (size_t i = 0; i < n; i++) {
        const double r = ref[i], d = r - test[i];
        signal += r * r;
        noise += d * d;
    }
    if (!isfinite(signal) || !isfinite(noise)) return NAN;
    if (noise == 0) return INFINITY;
    if (signal == 0) return -INFINITY;
    return 10 * log10(signal / noise);
}

double cr_cosine(const float *a, const float *b, size_t n)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = a[i], y = b[i];
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    if (!isfinite(aa) || !isfinite(bb)) return NAN;
    if (aa == 0 && bb == 0) return 1;
    if (aa == 0 || bb == 0) return 0;
    return fmax(-1, fmin(1, ab / sqrt(aa) / sqrt(bb)));
}
