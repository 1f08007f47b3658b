/* The whole head on integers, without the collapse that one scale for boxes (0..640) and scores
 * (0..1) brings: 1/640 of 255 steps is nothing, so every score becomes zero.
 *
 *   what holds                        type       range
 *   logits, distributions, distances  8 bits     its own, all that was seen (no clipping: the rare
 *                                                values are the objects)
 *   scores before their sigmoid       8 bits     from -8 up: below lies background (.0003)
 *   positions in the picture          uint16     its own; 8 bits are steps of 2.5 pixels at 640
 *   boxes and scores in one tensor    uint16     only once the boxes are fractions; else none
 * (float)
 *
 * The joint of boxes and scores is rewritten where its inputs are boxes or scores but not both:
 * boxes are multiplied by 2^-k, so that they lie in 0..1 as scores do, and the product by 2^k
 * stands behind the joint. Powers of two keep every float operation exact. Where the boxes' last
 * step is a product with a constant (strides), 2^-k goes into it:
 *
 *     box * strides ─┐                          box * (strides / 1024) ─┐
 *                    ├ Concat ─ out      =>                             ├ Concat ─ joint ─ Mul ─
 * out scores ────────┘                          scores ─────────────────┘          (1024, ..., 1,
 * ...)
 *
 * Data movement keeps the scale of what it moves. A last convolution's output that only an
 * activation reads has none: both are one kernel. The weights of the expectation over bins are
 * whole numbers, exact in int8 with a power of two as the scale (or had been rounded to 127 steps,
 * which that scale then keeps). */
#include "quant/head_plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "quant/head_parts.h"
#include "quant/range.h"

static const double background_logit = -8;

enum {
    COORDINATES =
        1u << CR_PART_BOX | 1u << CR_PART_DFL | 1u << CR_PART_KEYPOINT | 1u << CR_PART_ANGLE,
    SCORES = 1u << CR_PART_SCORE | 1u << CR_PART_OBJECT
};

typedef struct planner {
    const cr_graph *graph;
    const cr_stats *stats;
    const cr_quantize_options *options;
    cr_recipe *recipe;
    cr_quantize_report *report;
    cr_head_parts parts;
    double *shrink; /* by tensor id: what rewriting multiplies it by; 0: nothing */
} planner;

static const cr_recipe_entry *entry_of(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return &r->entries[i];
    return NULL;
}

static bool joins_boxes_and_scores(unsigned carried)
{
    return (carried & COORDINATES) && (carried & ~(unsigned)COORDINATES);
}

/* ---- entries ---- */

static bool keeps_scale(const cr_node *n)
{
    return (n->op->flags & CR_OPF_MOVE) && n->op->kind != CR_OP_Concat &&
           n->op->kind != CR_OP_Pad && n->op->kind != CR_OP_Resize;
}

static cr_dtype type_of(const planner *p, const cr_tensor *t)
{
    if (p->parts.absolute[t->id]) return CR_DT_U16;
    return p->options->activations == CR_ACTIVATIONS_INT8 ? CR_DT_I8 : CR_DT_U8;
}

static bool only_scores(unsigned carried)
{
    return carried && !(carried & ~(unsigned)SCORES);
}

/* What calibration saw; where a fused kernel hid the tensor from it, what its makers' inputs had.
 */
static cr_status seen_range(const planner *p, const cr_tensor *t, int depth, double *lo, double *hi,
                            cr_error *err)
{
    enum { MAX_DEPTH = 16 };
    const cr_tensor_stats *s = cr_stats_find(p->stats, t->name);
    const cr_node *n = t->producer;
    if (s) {
        const cr_range_want want = {CR_CALIB_MINMAX, 100, 2, 256, false};
        cr_interval seen;
        CR_TRY(cr_range_choose(s, &want, &seen, err));
        *lo = seen.lo;
        *hi = seen.hi;
        return CR_OK;
    }
    CR_CHECK(n && depth < MAX_DEPTH, err, CR_ERR_ARGUMENT,
             "the statistics have no tensor '%s': they were made with another model", t->name);
    *lo = 0;
    *hi = 1;
    if (n->op->kind == CR_OP_Sigmoid || n->op->kind == CR_OP_Softmax) return CR_OK;
    CR_CHECK(n->op->flags & CR_OPF_MOVE, err, CR_ERR_ARGUMENT,
             "the statistics have no tensor '%s': they were made with another model", t->name);
    *hi = 0;
    for (int k = 0; k < n->n_in && (k == 0 || n->op->kind == CR_OP_Concat); k++) {
        double a, b;
        CR_TRY(seen_range(p, n->in[k], depth + 1, &a, &b, err));
        *lo = fmin(*lo, a);
        *hi = fmax(*hi, b);
    }
    return CR_OK;
}

static cr_status range_of(const planner *p, const cr_tensor *t, double *lo, double *hi,
                          cr_error *err)
{
    CR_TRY(seen_range(p, t, 0, lo, hi, err));
    const double factor = p->shrink[t->id] != 0 ? p->shrink[t->id] : 1;
    *lo *= factor;
    *hi *= factor;
    if (only_scores(p->parts.carried[t->id])) *lo = fmax(*lo, background_logit);
    return CR_OK;
}

static cr_status add_entry(planner *p, const char *name, const cr_qparams *q, const char *why,
                           cr_error *err)
{
    CR_TRY(cr_recipe_add(p->recipe, name, false, q, why, err));
    p->report->activations++;
    return CR_OK;
}

static cr_status add_range(planner *p, const char *name, cr_dtype type, double lo, double hi,
                           const char *why, cr_error *err)
{
    float scale;
    int32_t zero;
    cr_range_to_params(lo, hi, type, p->options->symmetric && type != CR_DT_U16, &scale, &zero);
    return add_entry(p, name, &(cr_qparams){type, -1, 1, &scale, &zero}, why, err);
}

/* Read by one activation function alone, which the kernel of `n` applies itself. */
static bool swallowed(const cr_graph *g, const cr_node *n, const cr_tensor *t)
{
    if (!cr_has_weights(n) || t->uses != 1) return false;
    for (size_t i = (size_t)n->index + 1; i < g->node_count; i++) {
        const cr_node *reader = g->nodes[i];
        if (reader->n_in > 0 && reader->in[0] == t) return reader->op->flags & CR_OPF_UNARY;
    }
    return false;
}

static cr_status plan_tensor(planner *p, const cr_node *n, const cr_tensor *t, cr_error *err)
{
    const unsigned carried = p->parts.carried[t->id];
    const cr_recipe_entry *before = n->in[0] ? entry_of(p->recipe, n->in[0]->name) : NULL;
    double lo, hi;
    if (!carried || joins_boxes_and_scores(carried) || t->dtype != CR_DT_F32) return CR_OK;
    if (entry_of(p->recipe, t->name) || swallowed(p->graph, n, t)) return CR_OK;
    if (keeps_scale(n) && before && p->shrink[t->id] == 0)
        return add_entry(p, t->name, &before->q, "head, passed through", err);
    CR_TRY(range_of(p, t, &lo, &hi, err));
    return add_range(p, t->name, type_of(p, t), lo, hi, "head", err);
}

/* ---- the joint ---- */

/* Inputs are boxes or scores, no input both, and both are there. */
static bool is_joint(const planner *p, const cr_node *n)
{
    bool boxes = false, others = false;
    if (n->op->kind != CR_OP_Concat || n->n_out < 1 || n->out[0]->shape.rank < 1) return false;
    for (int k = 0; k < n->n_in; k++) {
        const unsigned carried = n->in[k] ? p->parts.carried[n->in[k]->id] : 0;
        if (!carried || joins_boxes_and_scores(carried)) return false;
        if ((carried & COORDINATES) && !p->parts.absolute[n->in[k]->id]) return false;
        boxes |= (carried & COORDINATES) != 0;
        others |= !(carried & COORDINATES);
    }
    return boxes && others;
}

/* The constant side of the product that makes t, if nothing else reads either. */
static const cr_tensor *own_factor(const planner *p, const cr_tensor *t)
{
    const cr_node *n = t->producer;
    if (!n || n->op->kind != CR_OP_Mul || t->uses != 1) return NULL;
    for (int k = 0; k < 2; k++)
        if (n->in[k]->data && n->in[k]->uses == 1 && n->in[k]->dtype == CR_DT_F32 &&
            !cr_recipe_find_value(p->recipe, n->in[k]->name))
            return n->in[k];
    return NULL;
}

static cr_status scale_constant(planner *p, const cr_tensor *c, double factor, cr_error *err)
{
    const int64_t n = cr_shape_count(&c->shape);
    float *x = cr_malloc((size_t)n * sizeof *x);
    if (!x) return CR_NOMEM(err);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(((const float *)c->data)[i] * factor);
    const cr_status st = cr_recipe_set_value(p->recipe, c->name, &c->shape, x, err);
    cr_free(x);
    return st;
}

/* A product of its own in front of the joint, for boxes whose last step is none. */
static cr_status branch(planner *p, const cr_tensor *t, const cr_node *joint, double factor,
                        cr_error *err)
{
    const int64_t channels = t->shape.rank > 1 ? t->shape.dim[1] : 0;
    char name[300];
    snprintf(name, sizeof name, "%.200s_fraction", t->name);
    CR_CHECK(channels > 0, err, CR_ERR_UNSUPPORTED, "'%s' has no channels to scale", t->name);
    float *factors = cr_malloc((size_t)channels * sizeof *factors);
    if (!factors) return CR_NOMEM(err);
    for (int64_t c = 0; c < channels; c++) factors[c] = (float)factor;
    const char *reader = joint->out[0]->name;
    const cr_rewrite step = {.kind = CR_REWRITE_BRANCH,
                             .tensor = t->name,
                             .result = name,
                             .readers = &reader,
                             .reader_count = 1,
                             .factor = factors,
                             .factor_count = (size_t)channels};
    cr_status st = cr_recipe_add_rewrite(p->recipe, &step, err);
    cr_free(factors);
    double lo, hi;
    if (st == CR_OK) st = range_of(p, t, &lo, &hi, err);
    if (st == CR_OK)
        st = add_range(p, name, CR_DT_U16, lo * factor, hi * factor, "head, as fractions", err);
    return st;
}

static cr_status shrink_input(planner *p, const cr_tensor *t, const cr_node *joint, double factor,
                              cr_error *err)
{
    const cr_tensor *c = own_factor(p, t);
    if (!c) return branch(p, t, joint, factor, err);
    p->shrink[t->id] = factor;
    return scale_constant(p, c, factor, err);
}

static cr_status restore(planner *p, const cr_node *joint, double factor, cr_error *err)
{
    const cr_tensor *t = joint->out[0];
    int64_t axis = cr_attr_int(joint, "axis", 0), at = 0;
    if (axis < 0) axis += t->shape.rank;
    const int64_t columns = t->shape.dim[axis];
    char name[300];
    snprintf(name, sizeof name, "%.200s_joint", t->name);
    float *factors = cr_malloc((size_t)columns * sizeof *factors);
    if (!factors) return CR_NOMEM(err);
    for (int k = 0; k < joint->n_in; k++) {
        const bool boxes = p->parts.carried[joint->in[k]->id] & COORDINATES;
        for (int64_t c = 0; c < joint->in[k]->shape.dim[axis]; c++)
            factors[at++] = boxes ? (float)(1 / factor) : 1;
    }
    const cr_rewrite step = {.kind = CR_REWRITE_RESTORE,
                             .tensor = t->name,
                             .result = name,
                             .factor = factors,
                             .factor_count = (size_t)columns,
                             .channel = &axis,
                             .channel_count = 1};
    const cr_status st = cr_recipe_add_rewrite(p->recipe, &step, err);
    cr_free(factors);
    return st == CR_OK ? add_range(p, name, CR_DT_U16, p->shrink[t->id], 1,
                                   "boxes and scores, as fractions", err)
                       : st;
}

/* 2^-k such that the largest position becomes at most 1; *least is the smallest value then. */
static cr_status choose_factor(const planner *p, const cr_node *joint, double *factor,
                               double *least, cr_error *err)
{
    double largest = 1, lowest = 0;
    for (int k = 0; k < joint->n_in; k++) {
        double lo, hi;
        if (!(p->parts.carried[joint->in[k]->id] & COORDINATES)) continue;
        CR_TRY(range_of(p, joint->in[k], &lo, &hi, err));
        largest = fmax(largest, fmax(hi, -lo));
        lowest = fmin(lowest, lo);
    }
    *factor = exp2(-ceil(log2(largest)));
    *least = lowest * *factor;
    return CR_OK;
}

static cr_status plan_joint(planner *p, const cr_node *joint, cr_error *err)
{
    double factor, least;
    CR_TRY(choose_factor(p, joint, &factor, &least, err));
    for (int k = 0; k < joint->n_in; k++)
        if (p->parts.carried[joint->in[k]->id] & COORDINATES)
            CR_TRY(shrink_input(p, joint->in[k], joint, factor, err));
    p->shrink[joint->out[0]->id] = least;
    return restore(p, joint, factor, err);
}

/* ---- the expectation's weights ---- */

static cr_status plan_bins(planner *p, const cr_node *n, cr_error *err)
{
    const cr_tensor *w = n->in[1];
    const int64_t count = cr_shape_count(&w->shape);
    double largest = 0;
    if (entry_of(p->recipe, w->name) || !entry_of(p->recipe, n->in[0]->name)) return CR_OK;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(cr_tensor_get_f64(w, (size_t)i)));
    float scale = largest > 0 ? (float)exp2(ceil(log2(largest / 127))) : 1;
    bool exact = true;
    for (int64_t i = 0; i < count && exact; i++) {
        const double steps = cr_tensor_get_f64(w, (size_t)i) / (double)scale;
        exact = steps == nearbyint(steps);
    }
    if (!exact) scale = (float)(largest / 127);
    int32_t zero = 0;
    const cr_qparams q = {CR_DT_I8, -1, 1, &scale, &zero};
    CR_TRY(cr_recipe_add(p->recipe, w->name, true, &q, "the values of bins", err));
    p->report->weights++;
    p->report->convs_quantized++;
    return CR_OK;
}

/* ---- all of it ---- */

static cr_status plan_nodes(planner *p, const cr_role *roles, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->node_count; i++)
        if (roles[i] == CR_ROLE_DECODE && is_joint(p, g->nodes[i]))
            CR_TRY(plan_joint(p, g->nodes[i], err));
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (roles[i] == CR_ROLE_BODY) continue;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) CR_TRY(plan_tensor(p, n, n->out[k], err));
        if (roles[i] == CR_ROLE_DECODE && cr_has_weights(n)) CR_TRY(plan_bins(p, n, err));
    }
    return CR_OK;
}

cr_status cr_plan_head(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                       const cr_quantize_options *o, cr_recipe *r, cr_quantize_report *report,
                       cr_error *err)
{
    planner p = {.graph = g, .stats = stats, .options = o, .recipe = r, .report = report};
    p.shrink = cr_calloc(g->tensor_count, sizeof *p.shrink);
    cr_status st = p.shrink ? cr_head_parts_find(g, roles, stats, &p.parts, err) : CR_NOMEM(err);
    if (st == CR_OK) st = plan_nodes(&p, roles, err);
    cr_head_parts_release(&p.parts);
    cr_free(p.shrink);
    return st;
}
