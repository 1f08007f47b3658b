/* From statistics to a quantizer: the calibration methods. */
#ifndef CR_QUANT_RANGE_H
#define CR_QUANT_RANGE_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/stats.h"

typedef struct cr_range_want {
    cr_calibration method;
    double percentile; /* CR_CALIB_PERCENTILE: 50..100 */
    double norm;       /* CR_CALIB_LP: 1..16 */
    int levels;        /* codes of the type: 16, 256, 65536 */
    bool symmetric;    /* lo == -hi */
} cr_range_want;

/* The real interval lo..hi (lo <= 0 <= hi) that is to become codes, and the method that gave it:
 * the one that was wanted, or the one that CR_CALIB_AUTO chose. */
typedef struct cr_interval {
    double lo, hi;
    cr_calibration method;
} cr_interval;

/* What the method says for an activation. NaN or infinite values seen in calibration are an error
 * that names the tensor; so is a tensor without any value. */
cr_status cr_range_choose(const cr_tensor_stats *t, const cr_range_want *want, cr_interval *out,
                          cr_error *err);
/* The same for one channel alone. Without histograms per channel (t->channel NULL), methods that
 * need one fall back to the channel's extremes (CR_CALIB_MINMAX); so does a channel without values,
 * which gets 0..0. */
cr_status cr_range_choose_channel(const cr_tensor_stats *t, int64_t channel,
                                  const cr_range_want *want, cr_interval *out, cr_error *err);

/* Mean |x - quantized x|^norm over everything in the histogram, if lo..hi becomes `levels` codes. */
double cr_range_error(const cr_histogram *h, double lo, double hi, int levels, bool symmetric,
                      double norm);
/* Kullback-Leibler divergence of what is left of the histogram (cr_range_entropy.c says how). */
double cr_range_divergence(const cr_histogram *h, double lo, double hi, int levels);

/* "minmax", "moving-average", ...; as `--calib` takes it. */
const char *cr_calibration_name(cr_calibration method);

/* One scale and zero point for lo..hi in `type`, zero exactly representable. An empty interval, or
 * one so small that the scale were no normal float, gives scale 1. symmetric: zero point in the
 * middle of the type. */
void cr_range_to_params(double lo, double hi, cr_dtype type, bool symmetric, float *scale,
                        int32_t *zero_point);

/* By how much the ranges of single channels of a map of this shape are to exceed what calibration saw. */
double cr_range_room(const cr_shape *s);

#endif
