/* A learned scale is where it started times exp(factor): it stays positive whatever an optimiser
 * does, a step of a given size moves every scale by the same part of itself, and factor 0 gives the
 * recipe's scale to the bit. The factor counts up to +-8 (a scale 3000 times as large or small), so
 * that no scale overflows. Rejected: the scale itself as the parameter (it can cross 0, and scales
 * of a network differ by a factor of a thousand), softplus (not the starting scale to the bit). */
#ifndef CR_GRAPH_FAKE_SCALE_H
#define CR_GRAPH_FAKE_SCALE_H

#include "crayon/arith.h"

#define CR_FAKE_FACTOR_MAX 8.0

static inline float cr_fake_scale_f32(float scale, float factor)
{
    return scale * cr_expf(cr_clipf(factor, -(float)CR_FAKE_FACTOR_MAX, (float)CR_FAKE_FACTOR_MAX));
}

static inline double cr_fake_scale_f64(double scale, double factor)
{
    return scale * exp(fmin(CR_FAKE_FACTOR_MAX, fmax(-CR_FAKE_FACTOR_MAX, factor)));
}

/* The integer zero point: where it started plus `shift` in parts of the range of codes. */
static inline double cr_fake_zero(double zero, double shift, double lo, double hi)
{
    return fmin(hi, fmax(lo, rint(zero + shift * (hi - lo))));
}

#endif
