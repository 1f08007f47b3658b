/* The portable loops over rows and boxes, and the choice of a record. */
#include "vision/boxes.h"

#include <math.h>

#include "base/cpu.h"

static size_t rows_above_c(const float *x, size_t ld, size_t planes, size_t n, float limit,
                           uint32_t *rows)
{
    return cr_rows_above_from(x, ld, planes, 0, n, limit, rows, 0);
}

static float largest_c(const float *x, size_t n)
{
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++) best = cr_larger(x[i], best);
    return best;
}

static bool overlaps_c(const cr_survivors *s, const float b[4], float area, float iou)
{
    for (size_t i = 0; i < s->count; i++) {
        const float w = cr_larger(0, cr_smaller(s->x2[i], b[2]) - cr_larger(s->x1[i], b[0]));
        const float h = cr_larger(0, cr_smaller(s->y2[i], b[3]) - cr_larger(s->y1[i], b[1]));
        const float inter = w * h;
        if (inter / (s->area[i] + area - inter) > iou) return true;
    }
    return false;
}

static const cr_boxes portable = {rows_above_c, largest_c, overlaps_c};

#if defined(__x86_64__)
extern const cr_boxes cr_boxes_avx2, cr_boxes_avx512;
#elif defined(__aarch64__)
extern const cr_boxes cr_boxes_neon;
#endif

const cr_boxes *cr_boxes_choose(unsigned flags)
{
#if defined(__x86_64__)
    if (cr_cpu_has(flags, CR_CPU_AVX512)) return &cr_boxes_avx512;
    if (cr_cpu_has(flags, CR_CPU_AVX2)) return &cr_boxes_avx2;
#elif defined(__aarch64__)
    if (cr_cpu_has(flags, CR_CPU_NEON)) return &cr_boxes_neon;
#endif
    return &portable;
}
