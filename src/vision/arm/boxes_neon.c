/* NEON. Its maximum and minimum instructions let "no number" win, so they are written as a
 * comparison and a selection. */
#include <arm_neon.h>
#include <math.h>

#include "vision/boxes.h"

extern const cr_boxes cr_boxes_neon;

enum { WIDE = 8 }; /* registers of maxima: 128 bytes of a plane at a time */

static inline float32x4_t larger(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline float32x4_t smaller(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static size_t rows_above(const float *x, size_t ld, size_t planes, size_t n, float limit,
                         uint32_t *rows)
{
    const float32x4_t top = vdupq_n_f32(limit);
    size_t r = 0, count = 0;
    for (; r + 4 * WIDE <= n; r += 4 * WIDE) {
        uint32x4_t above[WIDE];
#pragma GCC unroll 8
        for (int i = 0; i < WIDE; i++) above[i] = vdupq_n_u32(0);
        const float *p = x + r;
        for (size_t k = 0; k < planes; k++, p += ld)
#pragma GCC unroll 8
            for (int i = 0; i < WIDE; i++)
                above[i] = vorrq_u32(above[i], vcgtq_f32(vld1q_f32(p + 4 * i), top));
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDE; i++) {
            uint32_t lane[4];
            vst1q_u32(lane, above[i]);
            for (size_t k = 0; k < 4; k++)
                if (lane[k]) rows[count++] = (uint32_t)(r + 4 * i + k);
        }
    }
    return cr_rows_above_from(x, ld, planes, r, n, limit, rows, count);
}

static float largest(const float *x, size_t n)
{
    float32x4_t best = vdupq_n_f32(-INFINITY);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) best = larger(vld1q_f32(x + i), best);
    float top = vmaxvq_f32(best);
    for (; i < n; i++) top = cr_larger(x[i], top);
    return top;
}

static bool overlaps(const cr_survivors *s, const float b[4], float area, float iou)
{
    const float32x4_t x1 = vdupq_n_f32(b[0]), y1 = vdupq_n_f32(b[1]), x2 = vdupq_n_f32(b[2]),
                      y2 = vdupq_n_f32(b[3]), zero = vdupq_n_f32(0);
    for (size_t i = 0; i < s->count; i += 4) {
        const float32x4_t left = larger(vld1q_f32(s->x1 + i), x1);
        const float32x4_t right = smaller(vld1q_f32(s->x2 + i), x2);
        const float32x4_t upper = larger(vld1q_f32(s->y1 + i), y1);
        const float32x4_t lower = smaller(vld1q_f32(s->y2 + i), y2);
        const float32x4_t w = larger(zero, vsubq_f32(right, left));
        const float32x4_t h = larger(zero, vsubq_f32(lower, upper));
        const float32x4_t inter = vmulq_f32(w, h);
        const float32x4_t both = vaddq_f32(vld1q_f32(s->area + i), vdupq_n_f32(area));
        const float32x4_t share = vdivq_f32(inter, vsubq_f32(both, inter));
        if (vmaxvq_u32(vcgtq_f32(share, vdupq_n_f32(iou)))) return true;
    }
    return false;
}

const cr_boxes cr_boxes_neon = {rows_above, largest, overlaps};
