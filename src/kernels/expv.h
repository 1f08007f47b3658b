/* exp(x) of crayon/arith.h over the vector macros of vec_*.h. */
#ifndef CR_KERNELS_EXPV_H
#define CR_KERNELS_EXPV_H

#include "crayon/arith.h"
#include "kernels/unroll.h"

CR_INLINE VF cr_expv(VF x)
{
    x = V_MIN(V_SET1(CR_EXP_MAX), x);
    x = V_MAX(V_SET1(CR_EXP_MIN), x);
    const VF t = V_FMA(x, V_SET1(CR_EXP_LOG2E), V_SET1(CR_EXP_MAGIC));
    const VF s = V_EXP2BITS(t);
    const VF n = V_SUB(t, V_SET1(CR_EXP_MAGIC));
    const VF r = V_FMA(n, V_SET1(-CR_EXP_LN2), x);
    VF p = V_FMA(V_SET1(CR_EXP_C5), r, V_SET1(CR_EXP_C4));
    p = V_FMA(p, r, V_SET1(CR_EXP_C3));
    p = V_FMA(p, r, V_SET1(CR_EXP_C2));
    p = V_FMA(p, r, V_SET1(1.0f));
    p = V_FMA(p, r, V_SET1(1.0f));
    return V_MUL(p, s);
}

#endif
