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
#include "eval/mask_runs.h"
#include "eval/quad_overlap.h"

typedef struct cr_coco_overlap {
    double iou;
    size_t truth;
} cr_coco_overlap;

void cr_coco_scratch_free(cr_coco_scratch *s)
{
    for (size_t g = 0; s->masks && g < s->cap; g++) cr_runs_free(&s->masks[g]);
    cr_free(s->masks);
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
        s->masks = cr_calloc(n, sizeof *s->masks);
        if (!s->overlaps || !s->taken || !s->masks) return CR_NOMEM(err);
        s->cap = n;
    }
    for (size_t g = 0; g < n; g++)
        for (int a = 0; a < CR_COCO_AREAS; a++) s->taken[g][a] = 0;
    return CR_OK;
}

static cr_status read_truth_masks(const cr_coco_truth *truth, size_t n, cr_coco_scratch *s,
                                  cr_error *err)
{
    for (size_t g = 0; g < n; g++) {
        cr_runs_free(&s->masks[g]);
        CR_TRY(cr_mask_runs(truth[g].mask, "truth", g, &s->masks[g], err));
    }
    return CR_OK;
}

/* A detection as it is compared. */
typedef struct subject {
    const cr_coco_shapes *shapes;
    const cr_coco_box *box;
    size_t index;
    const cr_coco_scratch *scratch;
    cr_runs mask;
} subject;

static double quad_iou(const double *d, const cr_coco_truth *g)
{
    const double both = cr_quad_both(d, g->corners), area = cr_quad_area(d);
    if (both <= 0) return 0;
    return both / (g->crowd ? area : area + cr_quad_area(g->corners) - both);
}

static double overlap(const subject *d, const cr_coco_truth *truth, size_t g)
{
    switch (d->shapes->metric) {
    case CR_COCO_MASKS:
        return cr_runs_overlap(&d->mask, &d->scratch->masks[g], truth[g].crowd);
    case CR_COCO_KEYPOINTS:
        return cr_coco_oks(d->shapes, d->index, &truth[g]);
    case CR_COCO_ORIENTED:
        return quad_iou(d->shapes->results->corners + 8 * d->index, &truth[g]);
    default:
        return box_iou(d->box, &truth[g]);
    }
}

static double area_of(const subject *d)
{
    const cr_coco_results *r = d->shapes->results;
    double box[4];
    if (d->shapes->box_areas || d->shapes->metric == CR_COCO_BOXES) return d->box->w * d->box->h;
    if (d->shapes->metric == CR_COCO_MASKS) return (double)cr_runs_area(&d->mask);
    if (d->shapes->metric == CR_COCO_ORIENTED) return cr_quad_area(r->corners + 8 * d->index);
    cr_coco_points_box(r->points + d->index * r->keypoints * 3, r->keypoints, box);
    return box[2] * box[3];
}

/* The truth that can be the best at some threshold, in order. An IoU that is not a number beats
 * every threshold and is then beaten by whatever follows, as comparisons with it are false; to stay
 * equal in that corner, nothing behind it is dropped. */
static size_t find_overlaps(const subject *det, const cr_coco_truth *truth, size_t n,
                            cr_coco_overlap *out)
{
    const double lowest = cr_coco_threshold(0);
    size_t count = 0;
    bool all = false;
    for (size_t g = 0; g < n; g++) {
        const double iou = overlap(det, truth, g);
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

static cr_status judge_one(const cr_coco_truth *truth, size_t n, subject *d, cr_coco_scratch *s,
                           cr_coco_verdict *out, cr_error *err)
{
    if (d->shapes->metric == CR_COCO_MASKS)
        CR_TRY(cr_mask_runs(&d->shapes->results->masks[d->index], "detection", d->index, &d->mask,
                            err));
    match_state m = {truth, s->overlaps, 0, s->taken};
    m.overlap_count = find_overlaps(d, truth, n, s->overlaps);
    const uint8_t outside = cr_coco_outside(area_of(d));
    for (int a = 0; a < CR_COCO_AREAS; a++) {
        out->hit[a] = out->miss[a] = 0;
        for (int t = 0; t < CR_COCO_THRESHOLDS; t++) judge(&m, a, t, outside >> a & 1, out);
    }
    return CR_OK;
}

cr_status cr_coco_match(const cr_coco_truth *truth, size_t n, const cr_coco_box *const *dets,
                        size_t det_count, const cr_coco_shapes *shapes, cr_coco_scratch *s,
                        cr_coco_verdict *out, cr_error *err)
{
    CR_TRY(reserve(s, n, err));
    if (shapes->metric == CR_COCO_MASKS) CR_TRY(read_truth_masks(truth, n, s, err));
    cr_status st = CR_OK;
    for (size_t i = 0; i < det_count && st == CR_OK; i++) {
        subject d = {shapes, dets[i], (size_t)(dets[i] - shapes->results->boxes), s, {0}};
        st = judge_one(truth, n, &d, s, &out[i], err);
        cr_runs_free(&d.mask);
    }
    return st;
}
