/* Heads whose decoding is left to the host: per stride an output (or a part of one) for boxes and
 * one for scores, planes [1, C, h, w] as the last convolutions give them; crayon/detect.h has the
 * arithmetic. Rows count through the levels, strides ascending, cells row by row, as decoded heads
 * do.
 *
 * A cell's best logit is found plane by plane, in memory order; only cells that pass are decoded.
 */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/heads.h"

static const cr_branch *find(const cr_branches *b, cr_branch_part part, int stride)
{
    for (int i = 0; i < b->count; i++)
        if (b->items[i].part == part && b->items[i].stride == stride) return &b->items[i];
    return NULL;
}

static bool is_plane(const cr_output *o, const cr_branch *b)
{
    return o->data && o->rank == 4 && o->dim[0] == 1 && o->dim[1] >= b->first + b->channels &&
           o->dim[2] >= 1 && o->dim[3] >= 1 && o->dim[2] <= 1 << 16 && o->dim[3] <= 1 << 16;
}

typedef struct level {
    const float *box, *score, *object, *keypoint; /* object, keypoint: NULL without */
    const cr_branch *box_branch, *score_branch, *object_branch, *keypoint_branch;
    size_t columns, cells;
    int first_index;
} level;

static const float *values(const cr_output *outs, const cr_branch *b, size_t cells)
{
    return b ? outs[b->output].data + (size_t)b->first * cells : NULL;
}

/* The level of the box branch b; false if its outputs do not fit each other. */
static bool make_level(const cr_head *h, const cr_output *outs, size_t n, const cr_branch *b,
                       level *l)
{
    const cr_branches *all = h->branches;
    const cr_branch *parts[] = {b, find(all, CR_BRANCH_SCORE, b->stride),
                                find(all, CR_BRANCH_OBJECT, b->stride),
                                find(all, CR_BRANCH_KEYPOINT, b->stride)};
    if (!parts[1] || b->channels != 4 * all->bins || parts[1]->channels != h->classes) return false;
    for (int i = 0; i < 4; i++) {
        if (!parts[i]) continue;
        if (parts[i]->output < 0 || (size_t)parts[i]->output >= n) return false;
        const cr_output *o = &outs[parts[i]->output], *first = &outs[b->output];
        if (!is_plane(o, parts[i]) || o->dim[2] != first->dim[2] || o->dim[3] != first->dim[3])
            return false;
    }
    if (parts[3] && parts[3]->channels != h->keypoints * h->keypoint_dims) return false;
    l->columns = (size_t)outs[b->output].dim[3];
    l->cells = (size_t)outs[b->output].dim[2] * l->columns;
    l->box = values(outs, b, l->cells);
    l->score = values(outs, parts[1], l->cells);
    l->object = values(outs, parts[2], l->cells);
    l->keypoint = values(outs, parts[3], l->cells);
    l->box_branch = b;
    l->score_branch = parts[1];
    l->object_branch = parts[2];
    l->keypoint_branch = parts[3];
    return true;
}

static float probability(float x, bool logit)
{
    return logit ? 1 / (1 + expf(-x)) : x;
}

static float distance(const cr_branches *b, const level *l, size_t cell, int side)
{
    const float *p = l->box + (size_t)side * (size_t)b->bins * l->cells + cell;
    if (b->bins == 1) return *p;
    float top = p[0], sum = 0, weighted = 0;
    for (int i = 1; i < b->bins; i++) top = fmaxf(top, p[(size_t)i * l->cells]);
    for (int i = 0; i < b->bins; i++) {
        const float e = expf(p[(size_t)i * l->cells] - top);
        sum += e;
        weighted += e * b->bin_value[i];
    }
    return weighted / sum;
}

static void read_box(const cr_branches *b, const level *l, size_t cell, float box[4])
{
    const float s = (float)l->box_branch->stride;
    const float x = (float)(cell % l->columns) + b->offset;
    const float y = (float)(cell / l->columns) + b->offset;
    float v[4];
    for (int i = 0; i < 4; i++) v[i] = distance(b, l, cell, i);
    if (!b->exponent) {
        const float made[4] = {x - v[0], y - v[1], x + v[2], y + v[3]};
        for (int i = 0; i < 4; i++) box[i] = made[i] * s;
        return;
    }
    const float w = expf(v[2]) * s, h = expf(v[3]) * s, cx = (x + v[0]) * s, cy = (y + v[1]) * s;
    box[0] = cx - w / 2;
    box[1] = cy - h / 2;
    box[2] = cx + w / 2;
    box[3] = cy + h / 2;
}

/* best[cell]: the largest of its class values. */
static void find_best(const level *l, int classes, float *best)
{
    for (size_t i = 0; i < l->cells; i++) best[i] = l->score[i];
    for (size_t k = 1; k < (size_t)classes; k++)
        for (size_t i = 0; i < l->cells; i++) {
            const float x = l->score[k * l->cells + i];
            if (x > best[i]) best[i] = x;
        }
}

static cr_status decode_level(const cr_head *h, const level *l, const cr_detect_options *o,
                              float *best, float *scores, cr_candidates *list, cr_error *err)
{
    find_best(l, h->classes, best);
    for (size_t i = 0; i < l->cells; i++) {
        const bool logits = l->score_branch->logits;
        const float object = l->object ? probability(l->object[i], l->object_branch->logits) : 1;
        if (!(probability(best[i], logits) * object > o->conf)) continue;
        float box[4];
        read_box(h->branches, l, i, box);
        for (size_t k = 0; k < (size_t)h->classes; k++)
            scores[k] = probability(l->score[k * l->cells + i], logits);
        CR_TRY(cr_emit_row(h, o, box, scores, 1, object, l->first_index + (int)i, list, err));
    }
    return CR_OK;
}

cr_status cr_decode_branches(const cr_head *h, const cr_output *outs, size_t n,
                             const cr_detect_options *o, cr_candidates *list, cr_error *err)
{
    const cr_branches *b = h->branches;
    int first = 0;
    CR_CHECK(b && b->bins >= 1 && b->bins <= CR_MAX_BRANCH_BINS && h->classes >= 1, err, CR_ERR_FORMAT,
             "the head's branches are not described");
    for (int i = 0; i < b->count; i++) {
        level l = {.first_index = first};
        if (b->items[i].part != CR_BRANCH_BOX) continue;
        CR_CHECK(make_level(h, outs, n, &b->items[i], &l), err, CR_ERR_FORMAT,
                 "the outputs are not the branches that the model describes (stride %d)",
                 b->items[i].stride);
        float *best = cr_malloc(l.cells * sizeof *best);
        float *scores = cr_malloc((size_t)h->classes * sizeof *scores);
        const cr_status st =
            best && scores ? decode_level(h, &l, o, best, scores, list, err) : CR_NOMEM(err);
        cr_free(best);
        cr_free(scores);
        CR_TRY(st);
        first += (int)l.cells;
    }
    return CR_OK;
}

void cr_branch_keypoints(const cr_head *h, const cr_output *outs, int index, float *keypoints)
{
    const cr_branches *b = h->branches;
    const size_t dims = (size_t)h->keypoint_dims;
    int first = 0;
    for (int i = 0; i < b->count; i++) {
        level l = {0};
        if (b->items[i].part != CR_BRANCH_BOX) continue;
        if (!make_level(h, outs, CR_MAX_BRANCHES, &b->items[i], &l)) return;
        if (index - first >= (int)l.cells) {
            first += (int)l.cells;
            continue;
        }
        const size_t cell = (size_t)(index - first);
        const float *p = l.keypoint ? l.keypoint + cell : NULL, s = (float)b->items[i].stride;
        const float at[2] = {(float)(cell % l.columns), (float)(cell / l.columns)};
        for (size_t k = 0; p && k < (size_t)h->keypoints; k++, p += dims * l.cells) {
            for (size_t d = 0; d < 2; d++)
                keypoints[3 * k + d] =
                    (p[d * l.cells] * b->keypoint_scale + at[d] + b->keypoint_offset) * s;
            keypoints[3 * k + 2] =
                dims == 3 ? probability(p[2 * l.cells], l.keypoint_branch->logits) : 1;
        }
        return;
    }
}
