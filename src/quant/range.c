/* Calibration methods on histograms.
 *
 * minmax            everything seen
 * moving-average    the average of each picture's extremes (less moved by one odd picture)
 * percentile P      the shortest loss at both ends: (100 - P)/2 % of the values are cut on each side
 * entropy           the interval -t..t, cut to what was seen, with the least Kullback-Leibler
 *                   divergence (range_entropy.c)
 * mse, lp P         the interval with the least mean |error|^P of quantization (range_error.c); mse
 *                   is P = 2. A larger P fears clipping more. Descent over both ends in turn, each
 *                   by 32 steps and then 16 finer ones around the best (Sung et al. 2015 and Banner
 *                   et al. 2019 use a parametric density; the histogram needs no assumption)
 * auto              of what the methods above propose (percentile at 99.9, 99.99 and 99.999; all but
 *                   entropy, whose divergence is no error) the one with the least mean squared error
 *                   at this number of codes. That is nearly always mse's own, now and then a
 *                   proposal that lies between the steps of its search
 *
 * A percentile cuts nothing off a side of fewer than half a value, and no method leaves 0 out. */
#include "quant/range.h"

#include <float.h>
#include <math.h>

#include "base/error.h"

static const char *const names[] = {"minmax", "moving-average", "percentile", "mse",
                                    "entropy", "lp", "auto"};

const char *cr_calibration_name(cr_calibration method)
{
    return names[method];
}

/* What a choice is made from: a tensor, or a channel of one. */
typedef struct source {
    const cr_histogram *h;
    double min, max;         /* 0 within */
    double mean_min, mean_max; /* average over pictures, 0 within */
    uint64_t count;
} source;

static void make_symmetric(const cr_range_want *want, cr_interval *v)
{
    if (!want->symmetric) return;
    v->hi = fmax(v->hi, -v->lo);
    v->lo = -v->hi;
}

static cr_interval percentile_range(const source *s, double percentile)
{
    const cr_histogram *h = s->h;
    const double cut = (double)s->count * (100 - percentile) / 200;
    double below = 0, above = 0;
    int a = 0, b = h->bins - 1;
    while (a < b && below + (double)h->counts[a] <= cut) below += (double)h->counts[a++];
    while (b > a && above + (double)h->counts[b] <= cut) above += (double)h->counts[b--];
    const double lo = cr_histogram_edge(h, a), hi = cr_histogram_edge(h, b + 1);
    return (cr_interval){fmin(fmax(s->min, lo), 0), fmax(fmin(s->max, hi), 0),
                         CR_CALIB_PERCENTILE};
}

/* ---- searches ---- */

enum { COARSE = 32, FINE = 8, ROUNDS = 3, ENTROPY_STEPS = 128, BINS_PER_CELL = 4 };

typedef struct search {
    const source *source;
    const cr_range_want *want;
    double norm;
    double lo, hi; /* the whole range: fractions are of it */
    double best_lo, best_hi, error; /* fractions */
} search;

static void attempt(search *s, double lo, double hi)
{
    const double e = cr_range_error(s->source->h, s->lo * lo, s->hi * hi, s->want->levels,
                                    s->want->symmetric, s->norm);
    if (e >= s->error) return;
    s->best_lo = lo;
    s->best_hi = hi;
    s->error = e;
}

/* One end (or both together): which = 1 lower, 2 upper, 3 both. */
static void attempt_end(search *s, int which, double fraction)
{
    if (!(fraction > 0) || fraction > 1) return;
    attempt(s, which & 1 ? fraction : s->best_lo, which & 2 ? fraction : s->best_hi);
}

static void search_end(search *s, int which)
{
    for (int i = 1; i <= COARSE; i++) attempt_end(s, which, (double)i / COARSE);
    const double middle = which & 1 ? s->best_lo : s->best_hi;
    for (int i = -FINE + 1; i < FINE; i++)
        attempt_end(s, which, middle + (double)i / (COARSE * FINE));
}

static cr_interval least_error(const source *from, const cr_range_want *want, double norm,
                               cr_calibration method)
{
    cr_interval whole = {from->min, from->max, method};
    make_symmetric(want, &whole);
    search s = {from, want, norm, whole.lo, whole.hi, 1, 1, INFINITY};
    attempt(&s, 1, 1);
    search_end(&s, 3); /* both ends alike: out of the corners that single ends are caught in */
    for (int round = 0; round < ROUNDS && !want->symmetric; round++) {
        const double lo = s.best_lo, hi = s.best_hi;
        if (whole.hi > 0) search_end(&s, 2);
        if (whole.lo < 0) search_end(&s, 1);
        if (lo == s.best_lo && hi == s.best_hi) break;
    }
    return (cr_interval){whole.lo * s.best_lo, whole.hi * s.best_hi, method};
}

static cr_interval least_divergence(const source *s, const cr_range_want *want)
{
    const double most = fmax(s->max, -s->min);
    cr_interval best = {s->min, s->max, CR_CALIB_ENTROPY};
    double least = INFINITY;
    const double narrowest = ldexp(BINS_PER_CELL, s->h->exponent) * (want->levels - 1);
    for (int i = ENTROPY_STEPS; i > 0; i--) {
        const double t = most * i / ENTROPY_STEPS;
        cr_interval v = {fmax(s->min, -t), fmin(s->max, t), CR_CALIB_ENTROPY};
        make_symmetric(want, &v);
        if (v.hi - v.lo < narrowest) break;
        const double d = cr_range_divergence(s->h, v.lo, v.hi, want->levels);
        if (d >= least) continue;
        least = d;
        best = v;
    }
    return best;
}

static void propose(const source *s, const cr_range_want *want, cr_interval v, cr_interval *best,
                    double *least)
{
    make_symmetric(want, &v);
    if (!(v.hi > v.lo)) return;
    const double e = cr_range_error(s->h, v.lo, v.hi, want->levels, want->symmetric, 2);
    if (e >= *least) return;
    *least = e;
    *best = v;
}

static cr_interval least_of_all(const source *s, const cr_range_want *want)
{
    static const double percentiles[] = {99.9, 99.99, 99.999};
    cr_interval best = {s->min, s->max, CR_CALIB_MINMAX};
    double least = INFINITY;
    propose(s, want, least_error(s, want, 2, CR_CALIB_MSE), &best, &least);
    propose(s, want, (cr_interval){s->min, s->max, CR_CALIB_MINMAX}, &best, &least);
    propose(s, want, (cr_interval){s->mean_min, s->mean_max, CR_CALIB_MOVING_AVERAGE}, &best, &least);
    for (int i = 0; i < 3; i++) propose(s, want, percentile_range(s, percentiles[i]), &best, &least);
    propose(s, want, least_error(s, want, want->norm, CR_CALIB_LP), &best, &least);
    return best;
}

static cr_interval by_method(const source *s, const cr_range_want *want)
{
    cr_interval v = {s->min, s->max, want->method};
    if (!(s->max > s->min)) return v;
    switch (want->method) {
    case CR_CALIB_MOVING_AVERAGE: v = (cr_interval){s->mean_min, s->mean_max, want->method}; break;
    case CR_CALIB_PERCENTILE: v = percentile_range(s, want->percentile); break;
    case CR_CALIB_ENTROPY: v = least_divergence(s, want); break;
    case CR_CALIB_LP: v = least_error(s, want, want->norm, want->method); break;
    case CR_CALIB_AUTO: v = least_of_all(s, want); break;
    case CR_CALIB_MSE: v = least_error(s, want, 2, CR_CALIB_MSE); break;
    default: break;
    }
    make_symmetric(want, &v);
    return v;
}

cr_status cr_range_choose(const cr_tensor_stats *t, const cr_range_want *want, cr_interval *out,
                          cr_error *err)
{
    CR_CHECK(t->bad == 0, err, CR_ERR_FORMAT,
             "tensor '%s': %llu NaN or infinite values while calibrating: the float model is broken "
             "or the pictures are not prepared as it expects",
             t->name, (unsigned long long)t->bad);
    CR_CHECK(t->count > 0, err, CR_ERR_ARGUMENT, "tensor '%s': calibration saw no values", t->name);
    const double n = (double)t->pictures;
    const source s = {.h = &t->all,
                      .min = fmin((double)t->all.min, 0),
                      .max = fmax((double)t->all.max, 0),
                      .mean_min = fmin(t->sum_min / n, 0),
                      .mean_max = fmax(t->sum_max / n, 0),
                      .count = t->count};
    *out = by_method(&s, want);
    return CR_OK;
}

cr_status cr_range_choose_channel(const cr_tensor_stats *t, int64_t c, const cr_range_want *want,
                                  cr_interval *out, cr_error *err)
{
    CR_CHECK(t->bad == 0, err, CR_ERR_FORMAT, "tensor '%s': %llu NaN or infinite values", t->name,
             (unsigned long long)t->bad);
    CR_CHECK(c >= 0 && c < t->channels, err, CR_ERR_ARGUMENT, "tensor '%s' has no channel %lld",
             t->name, (long long)c);
    const double n = (double)t->pictures;
    const bool empty = t->channel_min[c] > t->channel_max[c];
    source s = {.min = empty ? 0 : fmin((double)t->channel_min[c], 0),
                .max = empty ? 0 : fmax((double)t->channel_max[c], 0),
                .mean_min = empty ? 0 : fmin(t->channel_sum_min[c] / n, 0),
                .mean_max = empty ? 0 : fmax(t->channel_sum_max[c] / n, 0)};
    cr_range_want plain = *want;
    if (t->channel && !empty) {
        s.h = &t->channel[c];
        for (int k = 0; k < s.h->bins; k++) s.count += s.h->counts[k];
    } else if (want->method != CR_CALIB_MOVING_AVERAGE) {
        plain.method = CR_CALIB_MINMAX;
    }
    *out = by_method(&s, &plain);
    return CR_OK;
}

void cr_range_to_params(double lo, double hi, cr_dtype type, bool symmetric, float *scale,
                        int32_t *zero_point)
{
    int32_t qlo = 0, qhi = 255;
    cr_qtype_range(type, &qlo, &qhi);
    const bool is_signed = cr_dtype_is_signed(type);
    *zero_point = symmetric ? (is_signed ? 0 : (qhi + 1) / 2) : qlo;
    *scale = 1.f;
    if (symmetric) {
        const double s = fmax(hi, -lo) / (is_signed ? qhi : qhi - *zero_point);
        if (s >= (double)FLT_MIN) *scale = (float)s;
        return;
    }
    const double s = (hi - lo) / ((double)qhi - qlo);
    if (!(s >= (double)FLT_MIN)) return;
    *scale = (float)s;
    const double z = qlo - lo / (double)*scale;
    *zero_point = (int32_t)fmin(fmax(nearbyint(z), qlo), qhi);
}

/* What calibration saw of one channel of a small map is little, and pictures to come go beyond it: there
 * the range gets room. By how much, and up to which size of map: the change of scores and boxes of
 * nanodet_m_320 and yolox_nano on the half of the calibration pictures that ranges did not come from
 * falls by 3 to 9 % and by 3 to 6 % with a quarter to two fifths up to 3000 places, and rises by 15 %
 * where the large maps of yolox_nano get a quarter. */
double cr_range_room(const cr_shape *s)
{
    const double most = .3, few = 3000;
    int64_t places = 1;
    for (int d = 2; d < s->rank; d++) places *= s->dim[d];
    const double share = places > few ? few / (double)places : 1;
    return 1 + most * share * share;
}
