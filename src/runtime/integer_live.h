/* Dynamic entries: convolutions and gemms that read codes whose scale follows from the values of the
 * run ("live" for short: the scale is known while a run lives). ONNX's own words for it:
 *
 *     q, s, z = DynamicQuantizeLinear(x)
 *     y = float(ConvInteger(q, w, z, zw)) * (s * sw[c]) + bias[c]        likewise MatMulInteger
 *
 * in float32, a product and then a sum, which is what ONNX Runtime computes too. */
#ifndef CR_RUNTIME_INTEGER_LIVE_H
#define CR_RUNTIME_INTEGER_LIVE_H

#include "graph/recipe_dynamic.h"

typedef struct cr_live_range {
    float scale;
    int32_t zero_point; /* 0..255 */
} cr_live_range;

/* For values from lo to hi, either side widened to hold 0; no width gives scale 1. */
cr_live_range cr_live_range_of(float lo, float hi);

/* Codes minus zero points, one row per output (cr_dynamic_rows; a convolution's as [channel][cin / groups][taps]). */
void cr_live_weights(const cr_node *n, const cr_qparams *w, int32_t *codes);
/* The bias of output channel c: a float, 0 where there is none. */
float cr_live_bias(const cr_node *n, int64_t c);
static inline float cr_live_scale(const cr_qparams *w, int64_t c)
{
    return w->scale[w->count == 1 ? 0 : c];
}

/* The reference: x float32 row-major; y gets its shape and, if it has none, memory. */
cr_status cr_live_eval(const cr_recipe_entry *const *entries, const cr_node *n, const cr_tensor *x,
                       cr_tensor *y, cr_error *err);

#endif
