/* The inner loops of head decoding and suppression, one record per CPU level; every level finds the
 * same rows and the same overlaps. */
#ifndef CR_VISION_BOXES_H
#define CR_VISION_BOXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CR_BOX_LANES = 16 }; /* survivors are padded to a multiple of this */

/* Boxes that later ones are held against, as one array per number. The area of every slot beyond
 * the last survivor is NaN, which overlaps nothing. */
typedef struct cr_survivors {
    float *x1, *y1, *x2, *y2, *area;
    size_t count;
} cr_survivors;

typedef struct cr_boxes {
    /* rows[] = the r < n, ascending, for which some x[k * ld + r], k < planes, is above the limit;
     * returns how many */
    size_t (*rows_above)(const float *x, size_t ld, size_t planes, size_t n, float limit,
                         uint32_t *rows);
    /* The largest of x[n] that is a number; -INFINITY if none is. */
    float (*largest)(const float *x, size_t n);
    /* Does box (x1, y1, x2, y2; of that area) share more than iou >= 0 with a survivor, as
     * inter / (a + b - inter) > iou in float32? */
    bool (*overlaps)(const cr_survivors *s, const float box[4], float area, float iou);
} cr_boxes;

/* The best record for these flags (base/cpu.h); never NULL. */
const cr_boxes *cr_boxes_choose(unsigned flags);

/* ---- for the records ---- */

static inline size_t cr_rows_above_from(const float *x, size_t ld, size_t planes, size_t r,
                                        size_t n, float limit, uint32_t *rows, size_t count)
{
    for (; r < n; r++) {
        bool above = false;
        for (size_t k = 0; k < planes && !above; k++) above = x[k * ld + r] > limit;
        if (above) rows[count++] = (uint32_t)r;
    }
    return count;
}

static inline float cr_larger(float a, float b)
{
    return a > b ? a : b;
}

static inline float cr_smaller(float a, float b)
{
    return a < b ? a : b;
}

#endif
