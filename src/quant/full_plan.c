/* TFLite's integer kernels read integers and write integers, so a tensor without an entry would
 * cost a way through float. This completes the plan of placement.c:
 *
 *   what it is                            its entry
 *   read by one ReLU, ReLU6 alone         none: its operator applies them itself
 *   Sigmoid, Softmax, Tanh                the scale that TFLite prescribes: 1/256 of 0..1, 1/128 of
 * -1..1 moved, pooled, resized, padded        that of the input x of x * Sigmoid(x) 8 bits, the
 * range with the least error BEHIND the product: what lies below -6 or so gives 0, and need not be
 * told apart everything else of the body           8 bits, by the method that was asked for
 *   decoding                              16 bits, all that was seen (targets without 16 bits: 8)
 *
 * Decoding in 16 bits is what keeps full integer from collapsing: a score shares its last tensor
 * with boxes, which as fractions of the picture have steps of 2.5 pixels in 8 bits and .01 in 16,
 * and scores below 1/256 keep their order. It costs a few per cent of the time. What the last
 * convolutions give has 8 bits, logits from background_logit up.
 *
 * Rejected: 8 bits everywhere (what converters write: .34 mAP of .40 on YOLOv8n), decoding in float
 * (no accelerator for integers takes it; it is --head float). */
#include "quant/full_plan.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "quant/head_parts.h"
#include "quant/placement.h"
#include "quant/range.h"

static const double background_logit = -9, silu_is_flat = -6;

typedef struct planner {
    const cr_graph *graph;
    const cr_role *roles;
    const cr_stats *stats;
    const cr_quantize_options *options;
    cr_recipe *recipe;
    cr_quantize_report *report;
    bool *known; /* by tensor id: has one */
    cr_head_parts parts;
} planner;

bool cr_target_is_full(cr_target t)
{
    return t == CR_TARGET_TFLITE || t == CR_TARGET_EDGETPU || t == CR_TARGET_NPU_NXP;
}

bool cr_target_splits(cr_target t)
{
    return cr_target_is_full(t) || t == CR_TARGET_ORT;
}

static const cr_recipe_entry *entry_of(const planner *p, const cr_tensor *t)
{
    for (size_t i = 0; p->known[t->id] && i < p->recipe->count; i++)
        if (!strcmp(p->recipe->entries[i].tensor, t->name)) return &p->recipe->entries[i];
    return NULL;
}

static cr_status add(planner *p, const cr_tensor *t, const cr_qparams *q, const char *why,
                     cr_error *err)
{
    CR_TRY(cr_recipe_add(p->recipe, t->name, false, q, why, err));
    p->known[t->id] = true;
    p->report->activations++;
    return CR_OK;
}

static cr_status add_one(planner *p, const cr_tensor *t, cr_dtype type, float scale, int32_t zero,
                         const char *why, cr_error *err)
{
    return add(p, t, &(cr_qparams){type, -1, 1, &scale, &zero}, why, err);
}

static bool is_output(const planner *p, const cr_tensor *t)
{
    for (size_t i = 0; i < p->graph->output_count; i++)
        if (p->graph->outputs[i] == t) return true;
    return false;
}

/* Targets of 8 bits alone, and outputs that are to be bytes, have 8 in the decoding, too. */
static cr_dtype type_of(const planner *p, const cr_node *n, const cr_tensor *t)
{
    const bool wide = p->options->target == CR_TARGET_TFLITE;
    if (p->options->target == CR_TARGET_ORT && p->options->activations != CR_ACTIVATIONS_INT8)
        return CR_DT_U8;
    if (!wide) return CR_DT_I8;
    if (p->options->activations == CR_ACTIVATIONS_INT16) return CR_DT_I16;
    if (is_output(p, t) && p->options->byte_ports) return CR_DT_I8;
    if (p->options->head == CR_HEAD_DETACH) return CR_DT_I8;
    return p->roles[n->index] == CR_ROLE_DECODE ? CR_DT_I16 : CR_DT_I8;
}

/* ---- x of x * Sigmoid(x) ---- */

static double silu(double x)
{
    return x / (1 + exp(-x));
}

/* Mean squared error of SiLU's value if lo..hi becomes 256 codes. */
static double silu_error(const cr_tensor_stats *s, double lo, double hi)
{
    const double step = (hi - lo) / 255, zero = nearbyint(-lo / step);
    double sum = 0;
    for (int k = 0; k < s->all.bins; k++) {
        if (!s->all.counts[k]) continue;
        const double x = cr_stats_bin(s, k);
        double code = nearbyint(x / step) + zero;
        code = code < 0 ? 0 : code > 255 ? 255 : code;
        const double e = silu((code - zero) * step) - silu(x);
        sum += e * e * (double)s->all.counts[k];
    }
    return sum;
}

/* The product of t and its sigmoid, which alone read it; NULL: there is none. */
static const cr_tensor *silu_of(const planner *p, const cr_tensor *t)
{
    const cr_tensor *gate = NULL;
    const cr_graph *g = p->graph;
    if (t->uses != 2) return NULL;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind == CR_OP_Sigmoid && n->in[0] == t) gate = n->out[0];
        if (gate && n->op->kind == CR_OP_Mul &&
            ((n->in[0] == t && n->in[1] == gate) || (n->in[1] == t && n->in[0] == gate)))
            return n->out[0];
    }
    return NULL;
}

/* average: the map's shape, if the range is to be what an average picture has, as behind SiLU (plan.c). */
static void silu_range(const cr_tensor_stats *s, const cr_shape *average, double *lo, double *hi)
{
    enum { LOW_STEPS = 24, HIGH_STEPS = 12 };
    if (average && s->pictures) {
        *lo = fmax(fmin(s->sum_min / (double)s->pictures, -1e-3), silu_is_flat);
        *hi = fmax(s->sum_max / (double)s->pictures, 1e-3) * cr_range_room(average);
        return;
    }
    const double least = fmax(fmin((double)s->all.min, -1e-3), -12),
                 most = fmax((double)s->all.max, .5);
    double best = INFINITY;
    *lo = least;
    *hi = most;
    for (int h = 0; h < HIGH_STEPS; h++)
        for (int l = 1; l <= LOW_STEPS; l++) {
            const double a = least * l / LOW_STEPS, b = most * (1 - h / 24.);
            const double e = silu_error(s, a, b);
            if (e >= best) continue;
            best = e;
            *lo = a;
            *hi = b;
        }
}

/* ---- ranges ---- */

/* A kernel of ours that applies the activation hid the tensor: the range follows from what came
 * out. */
static const cr_tensor_stats *stats_behind(const planner *p, const cr_tensor *t, double *below)
{
    const cr_tensor_stats *s = cr_stats_find(p->stats, t->name);
    *below = 1;
    for (size_t i = 0; !s && i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (n->n_in < 1 || n->in[0] != t || !(n->op->flags & CR_OPF_UNARY)) continue;
        if (n->op->kind == CR_OP_Sigmoid) continue; /* of_logits */
        if (n->op->kind == CR_OP_LeakyRelu) *below = 1 / (double)cr_attr_float(n, "alpha", .01f);
        if (n->op->kind == CR_OP_HardSwish) *below = 8; /* -3 where it gives -3/8 */
        s = cr_stats_find(p->stats, n->out[0]->name);
    }
    return s;
}

/* Logits whose Sigmoid alone was seen. */
static bool of_logits(const planner *p, const cr_tensor *t, double *lo, double *hi)
{
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (n->op->kind != CR_OP_Sigmoid || n->in[0] != t) continue;
        const cr_tensor_stats *s = cr_stats_find(p->stats, n->out[0]->name);
        const double most = s && s->count ? fmin((double)s->all.max, .9999) : 0;
        *lo = background_logit;
        *hi = most > .5 ? log(most / (1 - most)) : 0;
        return most > 0;
    }
    return false;
}

/* What a joint's inputs hold, by their entries. */
static bool of_inputs(const planner *p, const cr_node *n, double *lo, double *hi)
{
    if (n->op->kind != CR_OP_Concat) return false;
    *lo = *hi = 0;
    for (int k = 0; k < n->n_in; k++) {
        const cr_recipe_entry *e = entry_of(p, n->in[k]);
        int32_t least, most;
        if (!e || !cr_qtype_range(e->q.type, &least, &most)) return false;
        *lo = fmin(*lo, (least - e->q.zero_point[0]) * (double)e->q.scale[0]);
        *hi = fmax(*hi, (most - e->q.zero_point[0]) * (double)e->q.scale[0]);
    }
    return true;
}

static cr_status range_of(const planner *p, const cr_node *n, const cr_tensor *t, cr_dtype type,
                          double *lo, double *hi, cr_error *err)
{
    double below;
    const cr_tensor_stats *s = stats_behind(p, t, &below);
    if (!s && (of_inputs(p, n, lo, hi) || of_logits(p, t, lo, hi))) return CR_OK;
    CR_CHECK(s, err, CR_ERR_ARGUMENT,
             "the statistics have no tensor '%s': they were made with another model or target",
             t->name);
    const bool body = p->roles[n->index] == CR_ROLE_BODY && type != CR_DT_I16;
    const cr_range_want want = {body ? p->options->calibration : CR_CALIB_MINMAX,
                                p->options->percentile, p->options->norm,
                                type == CR_DT_I16 ? 65536 : 256, type == CR_DT_I16};
    cr_interval v;
    CR_TRY(cr_range_choose(s, &want, &v, err));
    *lo = v.lo * below;
    *hi = v.hi;
    return CR_OK;
}

static bool only_scores(const planner *p, const cr_tensor *t)
{
    const unsigned carried = p->parts.carried[t->id],
                   scores = 1u << CR_PART_SCORE | 1u << CR_PART_OBJECT;
    return carried && !(carried & ~scores);
}

static cr_status add_range(planner *p, const cr_node *n, const cr_tensor *t, cr_error *err)
{
    const cr_dtype type = type_of(p, n, t);
    const cr_tensor_stats *s = cr_stats_find(p->stats, t->name);
    double lo = 0, hi = 0;
    float scale;
    int32_t zero;
    const bool byte = type != CR_DT_I16;
    const cr_tensor *silu = byte && s ? silu_of(p, t) : NULL;
    const bool average = p->stats->parted && p->options->calibration == CR_CALIB_AUTO && silu &&
                         cr_only_depthwise_reads(p->graph, silu);
    CR_TRY(range_of(p, n, t, type, &lo, &hi, err));
    if (silu) silu_range(s, average ? &t->shape : NULL, &lo, &hi);
    if (byte && only_scores(p, t)) lo = fmax(lo, background_logit);
    cr_range_to_params(lo, hi, type, type == CR_DT_I16, &scale, &zero);
    return add_one(p, t, type, scale, zero, silu ? "in front of SiLU" : "every tensor", err);
}

/* ---- all of it ---- */

/* Read by one ReLU or ReLU6 alone, which the operator in front applies. */
static bool swallowed(const planner *p, const cr_node *n, const cr_tensor *t)
{
    const bool able = cr_has_weights(n) || n->op->kind == CR_OP_Add || n->op->kind == CR_OP_Sub ||
                      n->op->kind == CR_OP_Mul;
    if (!able || t->uses != 1) return false;
    for (size_t i = (size_t)n->index + 1; i < p->graph->node_count; i++) {
        const cr_node *r = p->graph->nodes[i];
        if (r->n_in < 1 || r->in[0] != t) continue;
        if (r->op->kind == CR_OP_Relu) return true;
        return r->op->kind == CR_OP_Clip && r->n_in > 2 && r->in[1] && r->in[1]->data && r->in[2] &&
               r->in[2]->data && cr_tensor_get_f64(r->in[1], 0) == 0 &&
               cr_tensor_get_f64(r->in[2], 0) == 6;
    }
    return false;
}

static bool keeps_codes(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Gather:
    case CR_OP_Pad:
    case CR_OP_Resize:
    case CR_OP_AveragePool:
        return true;
    default:
        return cr_passes_integers(n);
    }
}

static cr_status plan_tensor(planner *p, const cr_node *n, const cr_tensor *t, cr_error *err);

/* The entry of the joint that alone reads t, perhaps behind movements: codes made at its scale need
 * no second rounding. A joint that no convolution reads is planned for it. */
static cr_status joint_behind(planner *p, const cr_tensor *t, const cr_recipe_entry **entry, cr_error *err)
{
    const cr_graph *g = p->graph;
    *entry = NULL;
    for (size_t i = 0; i < g->node_count && t->uses == 1; i++) {
        const cr_node *n = g->nodes[i];
        bool reads = false;
        for (int k = 0; k < n->n_in; k++) reads |= n->in[k] == t;
        if (!reads) continue;
        if (n->op->kind == CR_OP_Concat && p->roles[i] == CR_ROLE_BODY) {
            const bool seen = cr_stats_find(p->stats, n->out[0]->name) != NULL;
            if (seen) CR_TRY(plan_tensor(p, n, n->out[0], err));
            *entry = entry_of(p, n->out[0]);
            return CR_OK;
        }
        if (!keeps_codes(n) || n->n_out != 1) return CR_OK;
        t = n->out[0];
    }
    return CR_OK;
}

static cr_status plan_tensor(planner *p, const cr_node *n, const cr_tensor *t, cr_error *err)
{
    const cr_op_kind kind = n->op->kind;
    const cr_recipe_entry *before = n->n_in > 0 && n->in[0] ? entry_of(p, n->in[0]) : NULL;
    if (t->dtype != CR_DT_F32 || p->known[t->id] || !cr_shape_known(&t->shape)) return CR_OK;
    if (swallowed(p, n, t)) return CR_OK;
    if (keeps_codes(n)) return before ? add(p, t, &before->q, "moved", err) : CR_OK;
    if (kind == CR_OP_Sigmoid || kind == CR_OP_Softmax || kind == CR_OP_Tanh) {
        const bool wide = type_of(p, n, t) == CR_DT_I16, both = kind == CR_OP_Tanh;
        if (type_of(p, n, t) == CR_DT_U8) /* any scale would do; this one has 1 among its codes */
            return add_one(p, t, CR_DT_U8, (both ? 2.f : 1.f) / 255, both ? 128 : 0, "of the function", err);
        return add_one(p, t, wide ? CR_DT_I16 : CR_DT_I8,
                       wide   ? 0x1p-15f
                       : both ? 0x1p-7f
                              : 0x1p-8f,
                       wide || both ? 0 : -128, "prescribed", err);
    }
    const cr_recipe_entry *joint;
    CR_TRY(joint_behind(p, t, &joint, err));
    return joint ? add(p, t, &joint->q, "as the joint", err) : add_range(p, n, t, err);
}

/* The expectation over bins: whole numbers are exact at scale 1. */
static cr_status plan_weight(planner *p, const cr_node *n, cr_error *err)
{
    const cr_tensor *w = n->in[1];
    double largest = 0;
    bool whole = true;
    if (p->known[w->id] || !p->known[n->in[0]->id]) return CR_OK;
    for (int64_t i = 0; i < cr_shape_count(&w->shape); i++) {
        const double v = cr_tensor_get_f64(w, (size_t)i);
        largest = fmax(largest, fabs(v));
        whole &= v == nearbyint(v);
    }
    float scale = whole && largest <= 127 ? 1 : largest > 0 ? (float)(largest / 127) : 1;
    int32_t zero = 0;
    const cr_qparams q = {CR_DT_I8, -1, 1, &scale, &zero};
    CR_TRY(cr_recipe_add(p->recipe, w->name, true, &q, "of the decoding", err));
    p->known[w->id] = true;
    p->report->weights++;
    p->report->convs_quantized++;
    return CR_OK;
}

/* The sigmoid that alone reads a last convolution: a detached model ends behind it. */
static bool ends_branch(const planner *p, const cr_node *n)
{
    if (n->op->kind != CR_OP_Sigmoid || n->in[0]->uses != 1) return false;
    const cr_node *maker = n->in[0]->producer;
    return maker && p->roles[maker->index] == CR_ROLE_LAST_CONV;
}

static bool stays_float(const planner *p, const cr_node *n)
{
    const cr_head_mode head = p->options->head;
    const cr_role role = p->roles[n->index];
    if (p->options->target == CR_TARGET_ORT && role == CR_ROLE_DECODE) return true;
    if (head == CR_HEAD_DETACH) return role == CR_ROLE_DECODE && !ends_branch(p, n);
    return head == CR_HEAD_FLOAT && (role == CR_ROLE_DECODE || role == CR_ROLE_LAST_CONV);
}

static cr_status plan_nodes(planner *p, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->tensor_count; i++) {
        for (size_t k = 0; k < p->recipe->count && !p->known[i]; k++)
            p->known[i] = !strcmp(p->recipe->entries[k].tensor, g->tensors[i]->name);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (stays_float(p, n)) continue;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) CR_TRY(plan_tensor(p, n, n->out[k], err));
        if (p->roles[i] == CR_ROLE_DECODE && cr_has_weights(n)) CR_TRY(plan_weight(p, n, err));
    }
    return CR_OK;
}

cr_status cr_plan_full(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                       const cr_quantize_options *o, cr_recipe *r, cr_quantize_report *report,
                       cr_error *err)
{
    planner p = {
        .graph = g, .roles = roles, .stats = stats, .options = o, .recipe = r, .report = report};
    p.known = cr_calloc(g->tensor_count + 1, sizeof *p.known);
    cr_status st = p.known ? cr_head_parts_find(g, roles, stats, &p.parts, err) : CR_NOMEM(err);
    if (st == CR_OK) st = plan_nodes(&p, err);
    cr_head_parts_release(&p.parts);
    cr_free(p.known);
    return st;
}
