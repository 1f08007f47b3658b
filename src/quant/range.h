/* From statistics to a quantizer: the calibration methods. */
#ifndef CR_QUANT_RANGE_H
#define CR_QUANT_RANGE_H

#include "crayon/quantize.h"
#include "graph/recipe.h"
#include "quant/stats.h"

/* The real interval lo..hi (lo <= 0 <= hi) that `method` chooses for an activation. NaN or infinite
 * values seen in calibration are an error that names the tensor. */
cr_status cr_range_choose(const cr_tensor_stats *t, cr_calibration method, double percentile,
                          int levels, bool symmetric, double *lo, double *hi, cr_error *err);

/* One scale and zero point for lo..hi in `type`, zero exactly representable. An empty interval gives
 * scale 1. symmetric: zero point in the middle of the type. */
void cr_range_to_params(double lo, double hi, cr_dtype type, bool symmetric, float *scale,
                        int32_t *zero_point);

#endif
