/* Greedy suppression in torchvision's arithmetic: float32 areas and overlaps, "overlap > iou"
 * drops.
 *
 * torchvision goes from each survivor to all later boxes. Here each box looks back at the survivors
 * so far, which decides the same pairs: at most n * limit overlaps instead of n * n / 2, and the
 * survivors' corners, kept as five short arrays, stay in the cache and suit vector code. */
#include "vision/nms.h"

#include "base/error.h"
#include "base/mem.h"

enum { CHUNK = 32 }; /* survivors compared between two looks at the verdict */

struct survivors {
    float *x1, *y1, *x2, *y2, *area;
};

static float larger(float a, float b)
{
    return a > b ? a : b;
}
static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static bool overlaps(const struct survivors *s, size_t from, size_t to, const float *b, float area,
                     float iou)
{
    int hit = 0;
    for (size_t i = from; i < to; i++) {
        const float w = larger(0, smaller(s->x2[i], b[2]) - larger(s->x1[i], b[0]));
        const float h = larger(0, smaller(s->y2[i], b[3]) - larger(s->y1[i], b[1]));
        const float inter = w * h;
        hit |= inter / (s->area[i] + area - inter) > iou;
    }
    return hit;
}

cr_status cr_nms(const float *boxes, size_t n, float iou, size_t limit, size_t *keep, size_t *kept,
                 cr_error *err)
{
    *kept = 0;
    if (limit > n) limit = n;
    if (!limit) return CR_OK;
    size_t bytes;
    float *block = cr_mul_size(limit, 5 * sizeof(float), &bytes) ? cr_aligned_alloc(bytes) : NULL;
    if (!block) return CR_NOMEM(err);
    const struct survivors s = {block, block + limit, block + 2 * limit, block + 3 * limit,
                                block + 4 * limit};
    size_t count = 0;
    for (size_t i = 0; i < n && count < limit; i++) {
        const float *b = boxes + 4 * i;
        const float area = (b[2] - b[0]) * (b[3] - b[1]);
        bool dropped = false;
        for (size_t from = 0; from < count && !dropped; from += CHUNK)
            dropped = overlaps(&s, from, from + CHUNK < count ? from + CHUNK : count, b, area, iou);
        if (dropped) continue;
        s.x1[count] = b[0];
        s.y1[count] = b[1];
        s.x2[count] = b[2];
        s.y2[count] = b[3];
        s.area[count] = area;
        keep[count++] = i;
    }
    *kept = count;
    cr_aligned_free(block);
    return CR_OK;
}
