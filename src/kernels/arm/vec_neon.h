/* Vector macros of rows_body.h and conv_body.h for NEON (arm64). FMAX/FMIN propagate NaN, FMAXNM
 * prefers the number: the two behaviours that crayon/arith.h asks for. */
#ifndef CR_KERNELS_VEC_NEON_H
#define CR_KERNELS_VEC_NEON_H

#include <arm_neon.h>

typedef float32x4_t VF;
typedef int32x4_t VI;
#define VN                  4
#define V_GROUP             4
#define V_LOAD(p)           vld1q_f32(p)
#define V_STORE(p, v)       vst1q_f32(p, v)
#define V_SET1(x)           vdupq_n_f32(x)
#define V_ADD(a, b)         vaddq_f32(a, b)
#define V_SUB(a, b)         vsubq_f32(a, b)
#define V_MUL(a, b)         vmulq_f32(a, b)
#define V_DIV(a, b)         vdivq_f32(a, b)
#define V_SQRT(a)           vsqrtq_f32(a)
#define V_FMA(a, b, c)      vfmaq_f32(c, a, b)
#define V_FNMA(a, b, c)     vfmsq_f32(c, a, b)
#define V_MAX(k, x)         vbslq_f32(vcgtq_f32(k, x), k, x)
#define V_MIN(k, x)         vbslq_f32(vcltq_f32(k, x), k, x)
#define V_MAX_NUM(x, k)     vbslq_f32(vcgtq_f32(x, k), x, k)
#define V_EXP2BITS(t)       vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(t), 23))
#define V_BELOW0(x, a, b)   vbslq_f32(vcltq_f32(x, vdupq_n_f32(0)), a, b)
#define V_ROUND_I(x)        vcvtnq_s32_f32(x)
#define VI_LOAD(p)          vld1q_s32(p)
#define VI_STORE(p, v)      vst1q_s32(p, v)
#define VI_ADD(a, b)        vaddq_s32(a, b)
#define VI_LEFT8(v)         vshlq_n_s32(v, 8)
#define VI_RIGHT8(v)        vshrq_n_s32(v, 8)
#define VI_LOW8(v)          vandq_s32(v, vdupq_n_s32(255))
#define VI_SUB(a, b)        vsubq_s32(a, b)
#define VI_MUL(a, b)        vmulq_s32(a, b)
#define V_JOIN(h, l, o)     cr_neon_join(h, l, o)
#define VI_SET1(x)          vdupq_n_s32(x)
#define VI_TO_F(v)          vcvtq_f32_s32(v)
#define VI_STORE_U8(p, v)   cr_neon_store_u8(p, v)
#define V_LOAD_U8(p)        cr_neon_load_u8(p)
#define VB_N                16
#define VB_LOAD(p)          vld1q_u8(p)
#define VB_STORE(p, v)      vst1q_u8(p, v)
#define VB_MAX(a, b)        vmaxq_u8(a, b)
#define V_LOAD_U8_F(p)      VI_TO_F(V_LOAD_U8(p))
#define V_LOAD_U8_F_N(p, n) VI_TO_F(cr_neon_load_u8_n(p, n))
#define V_LOAD_N(p, n)      vreinterpretq_f32_s32(cr_neon_load_n(p, n))
#define V_STORE_N(p, v, n)  cr_neon_store_n(p, vreinterpretq_s32_f32(v), n)
#define VI_LOAD_N(p, n)     cr_neon_load_n(p, n)
#define VI_STORE_N(p, v, n) cr_neon_store_n(p, v, n)

/* NEON has no lane masks: a part of a vector goes through memory. */
static inline int32x4_t cr_neon_load_n(const void *p, int n)
{
    int32_t lanes[4] = {0};
    __builtin_memcpy(lanes, p, (unsigned long)n * sizeof *lanes);
    return vld1q_s32(lanes);
}

static inline void cr_neon_store_n(void *p, int32x4_t v, int n)
{
    int32_t lanes[4];
    vst1q_s32(lanes, v);
    __builtin_memcpy(p, lanes, (unsigned long)n * sizeof *lanes);
}

static inline int32x4_t cr_neon_load_u8_n(const unsigned char *p, int n)
{
    int32_t lanes[4] = {0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_s32(lanes);
}

static inline void cr_neon_store_u8(unsigned char *p, int32x4_t v)
{
    const uint16x4_t w = vqmovun_s32(v);
    const uint8x8_t b = vqmovn_u16(vcombine_u16(w, w));
    vst1_lane_u32((uint32_t *)(void *)p, vreinterpret_u32_u8(b), 0);
}

static inline int32x4_t cr_neon_load_u8(const unsigned char *p)
{
    const int32_t lanes[4] = {p[0], p[1], p[2], p[3]};
    return vld1q_s32(lanes);
}

/* A table of 256 bytes: four lookups of 64; an index out of a lookup's reach gives 0 or stays. */
typedef struct VT {
    uint8x16x4_t part[4];
} VT;
#define VT_LOAD(table) cr_neon_load_table(table)
#define VT_LOOK(t, x)  cr_neon_look_up(&(t), x)

static inline VT cr_neon_load_table(const unsigned char *table)
{
    VT t;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) t.part[i].val[k] = vld1q_u8(table + 64 * i + 16 * k);
    return t;
}

static inline uint8x16_t cr_neon_look_up(const VT *t, uint8x16_t x)
{
    const uint8x16_t step = vdupq_n_u8(64);
    uint8x16_t y = vqtbl4q_u8(t->part[0], x);
    for (int i = 1; i < 4; i++) {
        x = vsubq_u8(x, step);
        y = vqtbx4q_u8(y, t->part[i], x);
    }
    return y;
}

static inline float32x2_t cr_neon_join_2(int32x2_t high, int32x2_t low, const double *offset)
{
    const float64x2_t rest = vaddq_f64(vcvtq_f64_s64(vmovl_s32(low)), vld1q_f64(offset));
    return vcvt_f32_f64(vfmaq_n_f64(rest, vcvtq_f64_s64(vmovl_s32(high)), 256.0));
}

static inline float32x4_t cr_neon_join(int32x4_t high, int32x4_t low, const double *offset)
{
    return vcombine_f32(cr_neon_join_2(vget_low_s32(high), vget_low_s32(low), offset),
                        cr_neon_join_2(vget_high_s32(high), vget_high_s32(low), offset + 2));
}

static inline void cr_neon_transpose(float32x4_t r[4])
{
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}
#define V_TRANSPOSE(r) cr_neon_transpose(r)

#endif
