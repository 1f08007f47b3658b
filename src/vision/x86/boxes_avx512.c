/* AVX-512. The maximum instruction gives its second operand when one is no number, which is
 * x > best ? x : best with the operands in this order. */
#include <immintrin.h>
#include <math.h>

#include "vision/boxes.h"

extern const cr_boxes cr_boxes_avx512;

enum { WIDE = 8 }; /* registers of maxima: 512 bytes of a plane at a time */

static inline size_t put(uint32_t *rows, size_t count, size_t first, __mmask16 above)
{
    for (unsigned m = above; m; m &= m - 1)
        rows[count++] = (uint32_t)first + (uint32_t)__builtin_ctz(m);
    return count;
}

static size_t rows_above(const float *x, size_t ld, size_t planes, size_t n, float limit,
                         uint32_t *rows)
{
    const __m512 top = _mm512_set1_ps(limit);
    size_t r = 0, count = 0;
    for (; r + 16 * WIDE <= n; r += 16 * WIDE) {
        __m512 best[WIDE];
#pragma GCC unroll 8
        for (int i = 0; i < WIDE; i++) best[i] = top;
        const float *p = x + r;
        for (size_t k = 0; k < planes; k++, p += ld)
#pragma GCC unroll 8
            for (int i = 0; i < WIDE; i++)
                best[i] = _mm512_max_ps(_mm512_loadu_ps(p + 16 * i), best[i]);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDE; i++)
            count = put(rows, count, r + 16 * i, _mm512_cmp_ps_mask(best[i], top, _CMP_GT_OQ));
    }
    for (; r < n; r += 16) {
        const __mmask16 m = (__mmask16)(n - r < 16 ? (1u << (n - r)) - 1 : 0xffff);
        __m512 best = top;
        for (size_t k = 0; k < planes; k++)
            best = _mm512_max_ps(_mm512_mask_loadu_ps(top, m, x + k * ld + r), best);
        count = put(rows, count, r, _mm512_cmp_ps_mask(best, top, _CMP_GT_OQ));
    }
    return count;
}

static float largest(const float *x, size_t n)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 best = none;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) best = _mm512_max_ps(_mm512_loadu_ps(x + i), best);
    if (i < n)
        best = _mm512_max_ps(_mm512_mask_loadu_ps(none, (__mmask16)((1u << (n - i)) - 1), x + i),
                             best);
    return _mm512_reduce_max_ps(best);
}

static bool overlaps(const cr_survivors *s, const float b[4], float area, float iou)
{
    const __m512 x1 = _mm512_set1_ps(b[0]), y1 = _mm512_set1_ps(b[1]), x2 = _mm512_set1_ps(b[2]),
                 y2 = _mm512_set1_ps(b[3]), zero = _mm512_setzero_ps();
    for (size_t i = 0; i < s->count; i += 16) {
        const __m512 left = _mm512_max_ps(_mm512_loadu_ps(s->x1 + i), x1);
        const __m512 right = _mm512_min_ps(_mm512_loadu_ps(s->x2 + i), x2);
        const __m512 upper = _mm512_max_ps(_mm512_loadu_ps(s->y1 + i), y1);
        const __m512 lower = _mm512_min_ps(_mm512_loadu_ps(s->y2 + i), y2);
        const __m512 w = _mm512_max_ps(zero, _mm512_sub_ps(right, left));
        const __m512 h = _mm512_max_ps(zero, _mm512_sub_ps(lower, upper));
        const __m512 inter = _mm512_mul_ps(w, h);
        /* most boxes share nothing: no division then */
        if (!_mm512_cmp_ps_mask(inter, zero, _CMP_GT_OQ)) continue;
        const __m512 both = _mm512_add_ps(_mm512_loadu_ps(s->area + i), _mm512_set1_ps(area));
        const __m512 share = _mm512_div_ps(inter, _mm512_sub_ps(both, inter));
        if (_mm512_cmp_ps_mask(share, _mm512_set1_ps(iou), _CMP_GT_OQ)) return true;
    }
    return false;
}

const cr_boxes cr_boxes_avx512 = {rows_above, largest, overlaps};
