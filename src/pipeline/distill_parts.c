/* See distill_parts.h. Where a head is not understood, its last convolutions are features: equal
 * values give equal detections whatever they mean. */
#include "pipeline/distill_parts.h"

#include <string.h>

#include "base/error.h"
#include "quant/head_parts.h"

/* A box's sides beside its distributions: a distribution costs twice the square of its shift in
 * cells, which is next to nothing where boxes still agree too little (1 to 2 % of their size). */
static const double EXTENT = 20;

typedef struct planner {
    const cr_model *model;
    cr_head_parts found;
    cr_distill_plan *out;
} planner;

static cr_distill_kind kind_of(const planner *p, const cr_part_run *r, int64_t *bins)
{
    *bins = 0;
    if (p->model->info.head.kind == CR_HEAD_CLASSIFY && r->count > 1) {
        *bins = r->count;
        return CR_DISTILL_BINS;
    }
    switch (r->part) {
    case CR_PART_SCORE:
    case CR_PART_OBJECT:
        return CR_DISTILL_LOGIT;
    case CR_PART_DFL:
        *bins = r->count % 4 == 0 && r->count > 4 ? r->count / 4 : r->count;
        return *bins > 1 ? CR_DISTILL_BINS : CR_DISTILL_VALUE;
    case CR_PART_BOX:
    case CR_PART_KEYPOINT:
    case CR_PART_MASK:
        return CR_DISTILL_VALUE;
    default:
        return CR_DISTILL_FEATURE;
    }
}

static bool same_cells(const cr_part_run *a, const cr_part_run *b)
{
    cr_shape s = a->node->out[0]->shape;
    const cr_shape *t = &b->node->out[0]->shape;
    if (s.rank != t->rank || s.rank < 2) return false;
    s.dim[1] = t->dim[1];
    return cr_shape_equal(&s, t);
}

/* The part of a role over the cells of part i, -1: none. Within one convolution boxes stand in
 * front of the objectness and scores of their anchor, all else behind them. */
static int partner(const planner *p, size_t i, cr_part role)
{
    const cr_part_run *runs = p->found.runs, *of = &runs[i];
    const bool ahead = of->part == CR_PART_BOX || of->part == CR_PART_DFL;
    int before = -1, behind = -1, elsewhere = -1;
    for (size_t k = 0; k < p->found.count; k++) {
        if (k == i || runs[k].part != role || !same_cells(of, &runs[k])) continue;
        if (runs[k].node != of->node) {
            if (elsewhere < 0) elsewhere = (int)k;
        } else if (runs[k].first < of->first) {
            before = (int)k;
        } else if (behind < 0) {
            behind = (int)k;
        }
    }
    const int first = ahead ? behind : before, second = ahead ? before : behind;
    return first >= 0 ? first : second >= 0 ? second : elsewhere;
}

static void add_head(planner *p)
{
    for (size_t i = 0; i < p->found.count; i++) {
        const cr_part_run *r = &p->found.runs[i];
        int64_t bins;
        const cr_distill_kind kind = kind_of(p, r, &bins);
        const bool score = r->part == CR_PART_SCORE;
        const bool weighed =
            (kind == CR_DISTILL_BINS && r->part == CR_PART_DFL) || kind == CR_DISTILL_VALUE;
        const bool boxes = kind == CR_DISTILL_BINS && r->part == CR_PART_DFL && r->count == 4 * bins;
        p->out->parts[p->out->count++] =
            (cr_distill_part){.tensor = r->node->out[0]->name,
                              .kind = kind,
                              .first = r->first,
                              .count = r->count,
                              .bins = bins,
                              .scores = weighed ? partner(p, i, CR_PART_SCORE) : -1,
                              .objects = weighed || score ? partner(p, i, CR_PART_OBJECT) : -1,
                              .weight = 1,
                              .extent = boxes ? EXTENT : 0};
    }
    p->out->head = p->out->count;
}

static bool in_head(const cr_distill_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->head; i++)
        if (!strcmp(plan->parts[i].tensor, name)) return true;
    return false;
}

static bool is_feature(const planner *p, const cr_node *n)
{
    const cr_tensor *t = n->out[0];
    return p->model->roles[n->index] == CR_ROLE_BODY && cr_has_weights(n) &&
           t->dtype == CR_DT_F32 && t->shape.rank >= 2 && cr_shape_known(&t->shape) &&
           !in_head(p->out, t->name);
}

static void add_features(planner *p, double weight)
{
    const cr_graph *g = p->model->graph;
    for (size_t i = 0; weight > 0 && i < g->node_count; i++) {
        const cr_tensor *t = g->nodes[i]->out[0];
        if (!is_feature(p, g->nodes[i])) continue;
        p->out->parts[p->out->count++] = (cr_distill_part){.tensor = t->name,
                                                           .kind = CR_DISTILL_FEATURE,
                                                           .count = t->shape.dim[1],
                                                           .scores = -1,
                                                           .objects = -1};
    }
    const size_t n = p->out->count - p->out->head;
    for (size_t i = p->out->head; i < p->out->count; i++)
        p->out->parts[i].weight = weight / (double)n;
}

static void list_names(cr_distill_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        bool twice = false;
        for (size_t k = 0; k < plan->name_count; k++)
            twice |= !strcmp(plan->names[k], plan->parts[i].tensor);
        if (!twice) plan->names[plan->name_count++] = plan->parts[i].tensor;
    }
}

static cr_status make(planner *p, double features, cr_error *err)
{
    const size_t most = p->found.count + p->model->graph->node_count + 1;
    p->out->parts = cr_calloc(most, sizeof *p->out->parts);
    p->out->names = cr_calloc(most, sizeof *p->out->names);
    if (!p->out->parts || !p->out->names) return CR_NOMEM(err);
    add_head(p);
    add_features(p, features);
    list_names(p->out);
    CR_CHECK(p->out->count, err, CR_ERR_UNSUPPORTED,
             "%s: has no layer with weights that a student could learn from", p->model->info.path);
    return CR_OK;
}

cr_status cr_distill_plan_make(const cr_model *teacher, double features, cr_distill_plan *out,
                               cr_error *err)
{
    *out = (cr_distill_plan){0};
    planner p = {.model = teacher, .out = out};
    CR_TRY(cr_head_parts_find(teacher->graph, teacher->roles, NULL, &p.found, err));
    const cr_status st = make(&p, features, err);
    cr_head_parts_release(&p.found);
    if (st != CR_OK) cr_distill_plan_release(out);
    return st;
}

void cr_distill_plan_release(cr_distill_plan *p)
{
    cr_free(p->parts);
    cr_free(p->names);
    *p = (cr_distill_plan){0};
}
