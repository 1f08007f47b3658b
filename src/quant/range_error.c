/* What a quantizer costs, from a histogram.
 *
 * A bin's values are taken as spread evenly over it. Then the error's p-th power, integrated over
 * the bin, has a closed form: with x in steps and r = x - round(x),
 *
 *      G(x) = integral of |error|^p = 2 h n + sgn(r) |r|^(p+1) / (p+1),   h = (1/2)^(p+1) / (p+1)
 *
 * for the n-th cell, and |x - end|^(p+1) / (p+1) beyond the ends, where values clip. One difference
 * of G per bin is exact for steps wider than bins (8 bits) as for steps narrower than bins (16 bits).
 * Rejected: the error at each bin's centre, which is noise as soon as a step is not much wider than
 * a bin; step^2/12 for all inside, which is wrong where most values lie within a step of zero. */
#include <math.h>

#include "quant/range.h"

typedef struct quantizer {
    double step, below, above; /* codes below and above that of zero */
    double norm;
} quantizer;

static quantizer make_quantizer(double lo, double hi, int levels, bool symmetric, double norm)
{
    if (symmetric) {
        const double codes = levels / 2 - 1;
        return (quantizer){hi / codes, codes, codes, norm};
    }
    const double step = (hi - lo) / (levels - 1), below = rint(-lo / step);
    return (quantizer){step, below, levels - 1 - below, norm};
}

/* |x|^p for p = norm + 1; whole powers without a call. */
static double raise(double x, double p)
{
    if (p == 3) return x * x * x;
    if (p == 5) return x * x * x * x * x;
    return pow(x, p);
}

/* Half to even, in arithmetic that compilers vectorize; |x| < 2^51. */
static double round_half_even(double x)
{
    return (x + 0x1.8p52) - 0x1.8p52;
}

static double integral(const quantizer *q, double x)
{
    const double p = q->norm + 1, whole = 2 * raise(.5, p) / p;
    if (x < -q->below) return -raise(-q->below - x, p) / p;
    if (x > q->above) return (q->below + q->above) * whole + raise(x - q->above, p) / p;
    const double n = round_half_even(x), r = x - n;
    return (n + q->below) * whole + (r < 0 ? -raise(-r, p) : raise(r, p)) / p;
}

double cr_range_error(const cr_histogram *h, double lo, double hi, int levels, bool symmetric,
                      double norm)
{
    if (cr_histogram_is_empty(h) || !(hi > lo)) return 0;
    const quantizer q = make_quantizer(lo, hi, levels, symmetric, norm);
    const double width = ldexp(1, h->exponent) / q.step;
    const double first = (double)h->first * width;
    double sum = 0, total = 0, before = 0;
    int at = -1; /* the edge that `before` belongs to */
    for (int k = 0; k < h->bins; k++) {
        if (!h->counts[k]) continue;
        if (at != k) before = integral(&q, first + k * width);
        const double after = integral(&q, first + (k + 1) * width), n = (double)h->counts[k];
        sum += n * (after - before);
        total += n;
        before = after;
        at = k + 1;
    }
    return sum / width / total * pow(q.step, norm);
}
