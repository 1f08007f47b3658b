/* bfloat16 in and out of the vectors of vec_c.h: B_LOAD widens VN values, B_STORE rounds them as
 * bf16.h says; ..._N: the first n < VN only. */
#ifndef CR_KERNELS_VEC_BF16_C_H
#define CR_KERNELS_VEC_BF16_C_H

#include "kernels/bf16.h"
#include "kernels/vec_c.h"

#define B_LOAD(p)      cr_vc_load_bf16(p, VN)
#define B_LOAD_N(p, n) cr_vc_load_bf16(p, n)
#define B_STORE(p, v)  cr_vc_store_bf16(p, v, VN)

static inline VF cr_vc_load_bf16(const cr_bf16 *p, int n)
{
    VF v = {0};
    for (int i = 0; i < n; i++) v[i] = cr_bf16_widen(p[i]);
    return v;
}

static inline void cr_vc_store_bf16(cr_bf16 *p, VF v, int n)
{
    for (int i = 0; i < n; i++) p[i] = cr_bf16_round(v[i]);
}

#endif
