/* Vector macros of the kernel bodies for any CPU: the compiler's generic four-lane vectors.
 * Products and sums are rounded separately here, so float convolutions may differ in the last bits
 * from the levels with FMA; whatever must agree bit for bit (rows.c, sums of codes) does not use
 * V_FMA or gives exact results either way. */
#ifndef CR_KERNELS_VEC_C_H
#define CR_KERNELS_VEC_C_H

#include <stdint.h>
#include <string.h>

typedef float VF __attribute__((vector_size(16)));
typedef uint32_t VU __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
#define VN                  4
#define V_LOAD(p)           cr_vc_load(p)
#define V_STORE(p, v)       cr_vc_store(p, v)
#define V_LOAD_N(p, n)      cr_vc_load_n(p, n)
#define V_STORE_N(p, v, n)  cr_vc_store_n(p, v, n)
#define V_SET1(x)           cr_vc_set1(x)
#define V_ADD(a, b)         ((a) + (b))
#define V_SUB(a, b)         ((a) - (b))
#define V_MUL(a, b)         ((a) * (b))
#define V_FMA(a, b, c)      ((a) * (b) + (c))
#define V_LOAD_U8_F(p)      cr_vc_load_u8(p, 4)
#define V_LOAD_U8_F_N(p, n) cr_vc_load_u8(p, n)
#define V_ROUND_I(x)        __builtin_convertvector(x, VI) /* of whole numbers only */
#define VI_LOAD(p)          cr_vc_load_i(p, 4)
#define VI_LOAD_N(p, n)     cr_vc_load_i(p, n)
#define VI_STORE(p, v)      cr_vc_store_i(p, v, 4)
#define VI_STORE_N(p, v, n) cr_vc_store_i(p, v, n)
#define VI_ADD(a, b)        ((VI)((VU)(a) + (VU)(b)))

static inline VF cr_vc_load(const float *p)
{
    VF v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void cr_vc_store(float *p, VF v)
{
    memcpy(p, &v, sizeof v);
}

static inline VF cr_vc_load_n(const float *p, int n)
{
    VF v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void cr_vc_store_n(float *p, VF v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof *p);
}

static inline VF cr_vc_set1(float x)
{
    return (VF){x, x, x, x};
}

static inline VF cr_vc_load_u8(const unsigned char *p, int n)
{
    VF v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}

static inline VI cr_vc_load_i(const int32_t *p, int n)
{
    VI v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void cr_vc_store_i(int32_t *p, VI v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof *p);
}

#endif
