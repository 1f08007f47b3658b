/* AVX2. The maximum instruction gives its second operand when one is no number, which is
 * x > best ? x : best with the operands in this order. */
#include <immintrin.h>
#include <math.h>

#include "vision/boxes.h"

extern const cr_boxes cr_boxes_avx2;

enum { WIDE = 8 }; /* registers of maxima: 256 bytes of a plane at a time */

static size_t rows_above(const float *x, size_t ld, size_t planes, size_t n, float limit,
                         uint32_t *rows)
{
    const __m256 top = _mm256_set1_ps(limit);
    size_t r = 0, count = 0;
    for (; r + 8 * WIDE <= n; r += 8 * WIDE) {
        __m256 best[WIDE];
#pragma GCC unroll 8
        for (int i = 0; i < WIDE; i++) best[i] = top;
        const float *p = x + r;
        for (size_t k = 0; k < planes; k++, p += ld)
#pragma GCC unroll 8
            for (int i = 0; i < WIDE; i++)
                best[i] = _mm256_max_ps(_mm256_loadu_ps(p + 8 * i), best[i]);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDE; i++) {
            unsigned m = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(best[i], top, _CMP_GT_OQ));
            for (; m; m &= m - 1)
                rows[count++] = (uint32_t)(r + 8 * i) + (uint32_t)__builtin_ctz(m);
        }
    }
    return cr_rows_above_from(x, ld, planes, r, n, limit, rows, count);
}

static float largest(const float *x, size_t n)
{
    __m256 best = _mm256_set1_ps(-INFINITY);
    float lane[8], top = -INFINITY;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) best = _mm256_max_ps(_mm256_loadu_ps(x + i), best);
    _mm256_storeu_ps(lane, best);
    for (int k = 0; k < 8; k++) top = cr_larger(lane[k], top);
    for (; i < n; i++) top = cr_larger(x[i], top);
    return top;
}

static bool overlaps(const cr_survivors *s, const float b[4], float area, float iou)
{
    const __m256 x1 = _mm256_set1_ps(b[0]), y1 = _mm256_set1_ps(b[1]), x2 = _mm256_set1_ps(b[2]),
                 y2 = _mm256_set1_ps(b[3]), zero = _mm256_setzero_ps();
    for (size_t i = 0; i < s->count; i += 8) {
        const __m256 left = _mm256_max_ps(_mm256_loadu_ps(s->x1 + i), x1);
        const __m256 right = _mm256_min_ps(_mm256_loadu_ps(s->x2 + i), x2);
        const __m256 upper = _mm256_max_ps(_mm256_loadu_ps(s->y1 + i), y1);
        const __m256 lower = _mm256_min_ps(_mm256_loadu_ps(s->y2 + i), y2);
        const __m256 w = _mm256_max_ps(zero, _mm256_sub_ps(right, left));
        const __m256 h = _mm256_max_ps(zero, _mm256_sub_ps(lower, upper));
        const __m256 inter = _mm256_mul_ps(w, h);
        /* most boxes share nothing: no division then */
        if (!_mm256_movemask_ps(_mm256_cmp_ps(inter, zero, _CMP_GT_OQ))) continue;
        const __m256 both = _mm256_add_ps(_mm256_loadu_ps(s->area + i), _mm256_set1_ps(area));
        const __m256 share = _mm256_div_ps(inter, _mm256_sub_ps(both, inter));
        if (_mm256_movemask_ps(_mm256_cmp_ps(share, _mm256_set1_ps(iou), _CMP_GT_OQ))) return true;
    }
    return false;
}

const cr_boxes cr_boxes_avx2 = {rows_above, largest, overlaps};
