/* The greedy matching of COCO's evaluation (pycocotools, COCOeval.evaluateImg, and bbIou of its
 * maskApi.c), turned inside out: detections in the outer loop, thresholds and area ranges in the
 * inner one, so that each IoU is computed once and none is stored for longer than one detection.
 * That is allowed because a detection's match depends on earlier detections only through the truth
 * that they took at the same threshold and range.
 *
 * Two more steps that change nothing but time: truth that overlaps by less than the lowest
 * threshold is dropped before the forty searches, and instead of sorting ignored truth last for
 * every range, each search goes over counted truth first and over ignored truth only if it found
 * nothing. */
#include "eval/coco_match.h"

#include <math.h>

#include "base/mem.h"

typedef struct cr_coco_overlap {
    double iou;
    size_t truth;
} cr_coco_overlap;

void cr_coco_scratch_free(cr_coco_scratch *s)
{
    cr_free(s->overlaps);
    cr_free(s->taken);
    *s = (cr_coco_scratch){0};
}

uint8_t cr_coco_outside(double area)
{
    static const double range[CR_COCO_AREAS][2] = {
        {0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}};
    uint8_t bits = 0;
    for (int a = 0; a < CR_COCO_AREAS; a++)
        if (area < range[a][0] || area > range[a][1]) bits |= (uint8_t)(1u << a);
    return bits;
}

/* NumPy's linspace(.5, .95, 10) to the last bit: the step is a rounded ninth, the end is exact. */
double cr_coco_threshold(int t)
{
    const double step = (0.95 - 0.5) / (CR_COCO_THRESHOLDS - 1);
    return t == CR_COCO_THRESHOLDS - 1 ? 0.95 : t * step + 0.5;
}

/* With a crowd the union is the detection alone. May be NaN after underflow, as there. */
static double box_iou(const cr_coco_box *d, const cr_coco_truth *g)
{
    const double w = fmin(d->w + d->x, g->w + g->x) - fmax(d->x, g->x);
    if (w <= 0) return 0;
    const double h = fmin(d->h + d->y, g->h + g->y) - fmax(d->y, g->y);
    if (h <= 0) return 0;
    const double both = w * h, area = d->w * d->h;
    return both / (g->crowd ? area : area + g->w * g->h - both);
}

static cr_status reserve(cr_coco_scratch *s, size_t n, cr_error *err)
{
    if (n > s->cap) {
        cr_coco_scratch_free(s);
        s->overlaps = cr_calloc(n, sizeof *s->overlaps);
        s->taken = cr_calloc(n, sizeof *s->taken);
        if (!s->overlaps || !s->taken) return CR_NOMEM(err);
        s->cap = n;
    }
    for (size_t g = 0; g < n; g++)
        for (int a = 0; a < CR_COCO_AREAS; a++) s->taken[g][a] = 0;
    return CR_OK;
}

/* The truth that can be the best at some threshold, in order. An IoU that is not a number beats
 * every threshold and is then beaten by whatever follows, as comparisons with it are false; to stay
 * equal in that corner, nothing behind it is dropped. */
static size_t find_overlaps(const cr_coco_box *det, const cr_coco_truth *truth, size_t n,
                            const cr_coco_pose *pose, cr_coco_overlap *out)
{
    const double lowest = cr_coco_threshold(0);
    size_t count = 0;
    bool all = false;
    for (size_t g = 0; g < n; g++) {
        const double iou = pose ? cr_coco_oks(pose, det, &truth[g]) : box_iou(det, &truth[g]);
        all = all || isnan(iou);
        if (all || iou >= lowest) out[count++] = (cr_coco_overlap){iou, g};
    }
    return count;
}

typedef struct match_state {
    const cr_coco_truth *truth;
    const cr_coco_overlap *overlaps;
    size_t overlap_count;
    uint16_t (*taken)[CR_COCO_AREAS];
} match_state;

/* Best free truth that is (not) ignored in range a; the later one of equals. SIZE_MAX: none. */
static size_t best_truth(const match_state *m, int a, int t, bool ignored)
{
    size_t found = SIZE_MAX;
    double best = cr_coco_threshold(t);
    for (size_t i = 0; i < m->overlap_count; i++) {
        const size_t g = m->overlaps[i].truth;
        if ((m->truth[g].ignored >> a & 1) != ignored) continue;
        if ((m->taken[g][a] >> t & 1) && !m->truth[g].crowd) continue;
        if (m->overlaps[i].iou < best) continue;
        best = m->overlaps[i].iou;
        found = g;
    }
    return found;
}

static void judge(const match_state *m, int a, int t, bool outside, cr_coco_verdict *out)
{
    const uint16_t bit = (uint16_t)(1u << t);
    size_t g = SIZE_MAX;
    if (m->overlap_count) {
        g = best_truth(m, a, t, false);
        if (g == SIZE_MAX) g = best_truth(m, a, t, true);
    }
    bool found = false, ignored = false;
    if (g != SIZE_MAX) {
        m->taken[g][a] |= bit;
        found = !m->truth[g].unnamed;
        ignored = m->truth[g].ignored >> a & 1;
    }
    if (ignored || (!found && outside)) return;
    if (found)
        out->hit[a] |= bit;
    else
        out->miss[a] |= bit;
}

cr_status cr_coco_match(const cr_coco_truth *truth, size_t n, const cr_coco_box *const *dets,
                        size_t det_count, const cr_coco_pose *pose, cr_coco_scratch *s,
                        cr_coco_verdict *out, cr_error *err)
{
    CR_TRY(reserve(s, n, err));
    for (size_t d = 0; d < det_count; d++) {
        match_state m = {truth, s->overlaps, 0, s->taken};
        m.overlap_count = find_overlaps(dets[d], truth, n, pose, s->overlaps);
        const uint8_t outside = cr_coco_outside(dets[d]->w * dets[d]->h);
        for (int a = 0; a < CR_COCO_AREAS; a++) {
            out[d].hit[a] = out[d].miss[a] = 0;
            for (int t = 0; t < CR_COCO_THRESHOLDS; t++) judge(&m, a, t, outside >> a & 1, &out[d]);
        }
    }
    return CR_OK;
}
