/* Greedy suppression in torchvision's arithmetic: float32 areas and overlaps, "overlap > iou"
 * drops.
 *
 * torchvision goes from each survivor to all later boxes. Here each box looks back at the survivors
 * so far, which decides the same pairs: at most n * limit overlaps instead of n * n / 2, and the
 * survivors' corners, kept as five short arrays, stay in the cache and suit vector code (boxes.h).
 *
 * Rejected: looking only at survivors of the box's own class. It would save comparisons that take
 * a nanosecond each and differ from torchvision where boxes are larger than the shift by class. */
#include "vision/nms.h"

#include <math.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "vision/boxes.h"

static void append(cr_survivors *s, const float b[4], float area)
{
    s->x1[s->count] = b[0];
    s->y1[s->count] = b[1];
    s->x2[s->count] = b[2];
    s->y2[s->count] = b[3];
    s->area[s->count++] = area;
}

cr_status cr_nms(const float *boxes, size_t n, float iou, size_t limit, size_t *keep, size_t *kept,
                 cr_error *err)
{
    *kept = 0;
    if (limit > n) limit = n;
    if (!limit) return CR_OK;
    const cr_boxes *const ops = cr_boxes_choose(cr_cpu_flags());
    const size_t slots = cr_round_up(limit, CR_BOX_LANES);
    size_t bytes;
    float *block = cr_mul_size(slots, 5 * sizeof(float), &bytes) ? cr_aligned_alloc(bytes) : NULL;
    if (!block) return CR_NOMEM(err);
    cr_survivors s = {block, block + slots, block + 2 * slots, block + 3 * slots, block + 4 * slots,
                      0};
    for (size_t i = 0; i < 5 * slots; i++) block[i] = NAN;
    for (size_t i = 0; i < n && s.count < limit; i++) {
        const float *b = boxes + 4 * i;
        const float area = (b[2] - b[0]) * (b[3] - b[1]);
        if (ops->overlaps(&s, b, area, iou)) continue;
        keep[s.count] = i;
        append(&s, b, area);
    }
    *kept = s.count;
    cr_aligned_free(block);
    return CR_OK;
}
