#include "quant/histogram.h"

#include <float.h>
#include <math.h>
#include <string.h>

cr_histogram cr_histogram_empty(int bins, uint64_t *counts)
{
    return (cr_histogram){
        .bins = bins, .exponent = INT32_MIN, .min = FLT_MAX, .max = -FLT_MAX, .counts = counts};
}

double cr_histogram_edge(const cr_histogram *h, int k)
{
    return ldexp((double)(h->first + k), h->exponent);
}

/* Floor division by 2^shift. */
static int64_t shift_down(int64_t i, int shift)
{
    if (shift > 62) return i < 0 ? -1 : 0;
    return i >> shift; /* arithmetic on every compiler we build with */
}

static int64_t bin_of(float x, int exponent)
{
    return (int64_t)floor(ldexp((double)x, -exponent));
}

/* Adds neighbours up until the bin width is 2^exponent. */
static void coarsen(cr_histogram *h, int exponent)
{
    const int shift = exponent - h->exponent;
    if (shift <= 0) return;
    const int64_t first = shift_down(h->first, shift);
    uint64_t merged[CR_HIST_MAX_BINS] = {0};
    for (int k = 0; k < h->bins; k++)
        if (h->counts[k]) merged[shift_down(h->first + k, shift) - first] += h->counts[k];
    memcpy(h->counts, merged, (size_t)h->bins * sizeof *merged);
    h->first = first;
    h->exponent = exponent;
}

/* Moves the window so that it begins at bin `first`; the counts that are there must fit. */
static void slide(cr_histogram *h, int64_t first)
{
    const int64_t by = h->first - first;
    if (by == 0) return;
    uint64_t moved[CR_HIST_MAX_BINS] = {0};
    for (int64_t k = 0; k < h->bins; k++)
        if (h->counts[k]) moved[k + by] = h->counts[k];
    memcpy(h->counts, moved, (size_t)h->bins * sizeof *moved);
    h->first = first;
}

static int finest_fit(const cr_histogram *h, float lo, float hi, int from)
{
    int e = from;
    while (bin_of(hi, e) - bin_of(lo, e) >= h->bins) e++;
    return e;
}

/* The window always begins at the bin of the smallest value seen, so that equal data give equal
 * histograms. */
void cr_histogram_widen(cr_histogram *h, float lo, float hi)
{
    const bool empty = cr_histogram_is_empty(h);
    if (!empty && lo >= h->min && hi <= h->max) return;
    h->min = fminf(lo, h->min);
    h->max = fmaxf(hi, h->max);
    const double widest = fmax(fabs((double)h->min), fabs((double)h->max));
    int least = widest > 0 ? ilogb(widest) - 24 : -126; /* no finer than float32's own grid */
    if (least < -126) least = -126; /* 2^126, which counting multiplies by, is a float */
    if (!empty && h->exponent > least) least = h->exponent;
    const int e = finest_fit(h, h->min, h->max, least);
    if (empty) {
        h->exponent = e;
        h->first = bin_of(h->min, e);
        return;
    }
    coarsen(h, e);
    slide(h, bin_of(h->min, e));
}

void cr_histogram_count(cr_histogram *h, const float *x, int64_t n, int64_t stride)
{
    const float inverse = ldexpf(1.f, -h->exponent); /* a power of two: products are exact */
    const int64_t first = h->first, last = h->bins - 1;
    for (int64_t i = 0; i < n; i++) {
        const float value = x[i * stride];
        if (!(fabsf(value) <= FLT_MAX)) continue;
        const float scaled = value * inverse; /* within +-2^25: see cr_histogram_widen */
        const int32_t cut = (int32_t)scaled;
        const int64_t k = cut - (scaled < (float)cut) - first; /* floor, without a library call */
        h->counts[k < 0 ? 0 : k > last ? last : k]++;
    }
}

void cr_histogram_merge(cr_histogram *a, const cr_histogram *b)
{
    if (cr_histogram_is_empty(b)) return;
    if (cr_histogram_is_empty(a)) {
        uint64_t *const counts = a->counts;
        memcpy(counts, b->counts, (size_t)b->bins * sizeof *counts);
        *a = *b;
        a->counts = counts;
        return;
    }
    if (b->exponent > a->exponent) {
        coarsen(a, b->exponent);
        slide(a, bin_of(a->min, a->exponent));
    }
    cr_histogram_widen(a, b->min, b->max);
    for (int k = 0; k < b->bins; k++)
        if (b->counts[k])
            a->counts[shift_down(b->first + k, a->exponent - b->exponent) - a->first] +=
                b->counts[k];
}

void cr_histogram_narrow(const cr_histogram *a, cr_histogram *b)
{
    const int finest = finest_fit(b, a->min, a->max, a->exponent);
    b->min = a->min;
    b->max = a->max;
    b->exponent = finest;
    b->first = bin_of(a->min, finest);
    for (int k = 0; k < a->bins; k++)
        if (a->counts[k])
            b->counts[shift_down(a->first + k, finest - a->exponent) - b->first] += a->counts[k];
}

bool cr_histogram_valid(const cr_histogram *h, uint64_t total)
{
    uint64_t sum = 0;
    if (h->exponent < -126 || h->exponent > 127) return false;
    const double reach = ldexp(1, 30 + h->exponent);
    if (!(fabs((double)h->min) <= reach && fabs((double)h->max) <= reach && h->min <= h->max))
        return false;
    const int64_t first = bin_of(h->min, h->exponent), last = bin_of(h->max, h->exponent);
    if (h->first != first || last - first >= h->bins) return false;
    for (int64_t k = 0; k < h->bins; k++)
        if ((k > last - first && h->counts[k]) || __builtin_add_overflow(sum, h->counts[k], &sum))
            return false;
    return sum == total;
}

double cr_histogram_mean_square(const cr_histogram *h)
{
    double sum = 0, count = 0;
    for (int k = 0; k < h->bins; k++) {
        const double x = (cr_histogram_edge(h, k) + cr_histogram_edge(h, k + 1)) / 2;
        sum += (double)h->counts[k] * x * x;
        count += (double)h->counts[k];
    }
    return count > 0 ? sum / count : 0;
}
