/* Findings where boxes and scores are made, and between convolutions and their activations. What a
 * tensor holds is known from the graph's structure (quant/head_parts.h), never from names. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/findings.h"

enum {
    COORDINATES =
        1u << CR_PART_BOX | 1u << CR_PART_DFL | 1u << CR_PART_KEYPOINT | 1u << CR_PART_ANGLE,
    SCORES = 1u << CR_PART_SCORE | 1u << CR_PART_OBJECT
};

/* Scores of 0..1 with fewer codes than this move by more than detectors' confidences differ. */
static const double enough_codes = 64;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op->kind == kind;
}

static void range_of(const cr_qparams *q, double *lo, double *hi)
{
    int32_t least, most;
    cr_q_range(q, &least, &most);
    *lo = (double)(least - q->zero_point[0]) * (double)q->scale[0];
    *hi = (double)(most - q->zero_point[0]) * (double)q->scale[0];
}

/* ---- boxes and scores ---- */

static bool is_joint(const cr_patient *p, const cr_tensor *t)
{
    return (p->parts.carried[t->id] & COORDINATES) && (p->parts.carried[t->id] & SCORES);
}

/* What moves a joint's values with the joint's own scale repeats what was found there. */
static bool repeats(const cr_patient *p, const cr_tensor *t, const cr_recipe_entry *e)
{
    const cr_node *n = t->producer;
    if (!n || !(n->op->flags & CR_OPF_MOVE) || n->n_in < 1 || !n->in[0]) return false;
    const cr_recipe_entry *x = cr_patient_entry(p, n->in[0]);
    return x && x->q.count == e->q.count && x->q.scale[0] == e->q.scale[0] &&
           x->q.zero_point[0] == e->q.zero_point[0];
}

static cr_status look_at_joint(const cr_patient *p, const cr_tensor *t, const cr_recipe_entry *e,
                               cr_findings *f, cr_error *err)
{
    double lo, hi;
    const double step = (double)e->q.scale[0];
    range_of(&e->q, &lo, &hi);
    const char *node = t->producer ? t->producer->name : "";
    if (!p->parts.absolute[t->id])
        return cr_findings_add(f, CR_FINDING_SHARED_SCALE, node, t->name, err,
                               "box values and logits of scores share %.3g..%.3g in steps of %.3g",
                               lo, hi, step);
    if (step * enough_codes > 1)
        return cr_findings_add(f, CR_FINDING_SHARED_SCALE, node, t->name, err,
                               "boxes of %.3g..%.3g share steps of %.3g with scores of 0..1, which "
                               "get %.0f codes",
                               lo, hi, step, floor(1 / step) + 1);
    return cr_findings_add(f, CR_FINDING_COARSE_BOXES, node, t->name, err,
                           "positions of %.3g..%.3g beside scores in steps of %.3g", lo, hi, step);
}

static cr_status look_at_boxes(const cr_patient *p, const cr_tensor *t, cr_findings *f,
                               cr_error *err)
{
    const cr_recipe_entry *e = cr_patient_entry(p, t);
    if (!cr_is_coarse(e) || e->is_weight || e->q.dynamic || e->q.count != 1 || repeats(p, t, e))
        return CR_OK;
    if (is_joint(p, t)) return look_at_joint(p, t, e, f, err);
    if (!(p->parts.carried[t->id] & COORDINATES) || !p->parts.absolute[t->id]) return CR_OK;
    double lo, hi;
    range_of(&e->q, &lo, &hi);
    return cr_findings_add(f, CR_FINDING_COARSE_BOXES, t->producer ? t->producer->name : "",
                           t->name, err, "positions of %.3g..%.3g in steps of %.3g", lo, hi,
                           (double)e->q.scale[0]);
}

/* ---- distributions ---- */

/* The softmax whose probabilities t holds, moved about or not. */
static const cr_node *softmax_of(const cr_tensor *t)
{
    while (t->producer && (t->producer->op->flags & CR_OPF_MOVE) && t->producer->in[0])
        t = t->producer->in[0];
    return is_op(t->producer, CR_OP_Softmax) ? t->producer : NULL;
}

static bool holds_distribution(const cr_patient *p, const cr_tensor *t)
{
    return (p->parts.carried[t->id] & 1u << CR_PART_DFL) != 0;
}

/* n: the mean over bins, a convolution or product with their values. Its output is a distance. */
static cr_status look_at_mean(const cr_patient *p, const cr_node *n, cr_findings *f, cr_error *err)
{
    const cr_recipe_entry *x = cr_patient_entry(p, n->in[0]), *w = cr_patient_entry(p, n->in[1]);
    const cr_recipe_entry *y = cr_patient_entry(p, n->out[0]);
    if (cr_is_coarse(x) && x->q.dynamic && w)
        return cr_findings_add(f, CR_FINDING_QUANTIZED_DFL, n->name, n->in[0]->name, err,
                               "probabilities in 256 steps of each run's largest");
    if (cr_is_coarse(x) && !x->q.dynamic)
        CR_TRY(cr_findings_add(f, CR_FINDING_QUANTIZED_DFL, n->name, n->in[0]->name, err,
                               "probabilities in steps of %.3g", (double)x->q.scale[0]));
    if (cr_is_coarse(y) && !y->q.dynamic)
        CR_TRY(cr_findings_add(f, CR_FINDING_QUANTIZED_DFL, n->name, n->out[0]->name, err,
                               "distances in steps of %.3g bins", (double)y->q.scale[0]));
    return CR_OK;
}

static cr_status look_at_distribution(const cr_patient *p, const cr_node *n, cr_findings *f,
                                      cr_error *err)
{
    if (p->roles[n->index] != CR_ROLE_DECODE) return CR_OK;
    if (cr_has_weights(n) && softmax_of(n->in[0])) return look_at_mean(p, n, f, err);
    if (!is_op(n, CR_OP_Softmax) || !holds_distribution(p, n->out[0])) return CR_OK;
    const cr_recipe_entry *y = cr_patient_entry(p, n->out[0]);
    const cr_node *reader = p->only[n->out[0]->id];
    if (!cr_is_coarse(y) || y->q.dynamic || (reader && cr_has_weights(reader))) return CR_OK;
    return cr_findings_add(f, CR_FINDING_QUANTIZED_DFL, n->name, n->out[0]->name, err,
                           "probabilities in steps of %.3g", (double)y->q.scale[0]);
}

cr_status cr_doctor_head(const cr_patient *p, cr_findings *f, cr_error *err)
{
    const cr_graph *g = p->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        CR_TRY(look_at_distribution(p, n, f, err));
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k]) CR_TRY(look_at_boxes(p, n->out[k], f, err));
    }
    return CR_OK;
}

/* ---- activations ---- */

/* Behind the copy that carries an entry where others read the tensor as floats. */
static const cr_tensor *behind_copies(const cr_tensor *t)
{
    while (is_op(t->producer, CR_OP_Identity)) t = t->producer->in[0];
    return t;
}

static const cr_recipe_entry *entry_on_way(const cr_patient *p, const cr_tensor *t)
{
    for (;; t = t->producer->in[0]) {
        if (cr_patient_entry(p, t)) return cr_patient_entry(p, t);
        if (!is_op(t->producer, CR_OP_Identity)) return NULL;
    }
}

/* n = x * gate(x): the input of the gate's node that is x, or NULL. */
static const cr_node *gate_of(const cr_node *n, int *gated)
{
    for (int k = 0; is_op(n, CR_OP_Mul) && k < 2; k++) {
        const cr_node *gate = behind_copies(n->in[k])->producer;
        if (!is_op(gate, CR_OP_Sigmoid) && !is_op(gate, CR_OP_HardSigmoid)) continue;
        if (behind_copies(gate->in[0]) != behind_copies(n->in[1 - k])) continue;
        *gated = 1 - k;
        return gate;
    }
    return NULL;
}

static bool is_behind_weights(const cr_tensor *t)
{
    const cr_node *n = behind_copies(t)->producer;
    return n && cr_has_weights(n);
}

static cr_status look_at_gate(const cr_patient *p, const cr_node *n, cr_findings *f, cr_error *err)
{
    int gated;
    const cr_node *gate = gate_of(n, &gated);
    if (!gate || !is_behind_weights(n->in[gated])) return CR_OK;
    const bool x = entry_on_way(p, gate->in[0]) || entry_on_way(p, n->in[gated]);
    const bool g = entry_on_way(p, n->in[1 - gated]) != NULL;
    const bool both = entry_on_way(p, gate->in[0]) && entry_on_way(p, n->in[gated]);
    if (!x && !g) return CR_OK;
    const char *name = behind_copies(n->in[gated])->producer->name;
    if (x && g && both)
        return cr_findings_add(f, CR_FINDING_CUT_ACTIVATION, n->name, n->out[0]->name, err,
                               "'%s', %s and Mul are rounded apart", name, gate->op->name);
    return cr_findings_add(f, CR_FINDING_CUT_ACTIVATION, n->name, n->out[0]->name, err,
                           "cut by an exclusion behind '%s': %s is rounded, %s is not", name,
                           g ? gate->op->name : "its output", g ? "its output" : gate->op->name);
}

static bool is_curved(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Swish:
    case CR_OP_HardSwish:
    case CR_OP_Mish:
    case CR_OP_Gelu:
    case CR_OP_Elu:
    case CR_OP_LeakyRelu: return true;
    default: return false;
    }
}

/* An entry between a convolution and the activation that alone reads it. */
static cr_status look_at_unary(const cr_patient *p, const cr_node *n, cr_findings *f, cr_error *err)
{
    if (!is_curved(n) || !cr_is_coarse(entry_on_way(p, n->in[0])) || !is_behind_weights(n->in[0]))
        return CR_OK;
    if (behind_copies(n->in[0])->uses > 1) return CR_OK;
    return cr_findings_add(f, CR_FINDING_CUT_ACTIVATION, n->name, n->in[0]->name, err,
                           "'%s' is rounded in front of %s",
                           behind_copies(n->in[0])->producer->name, n->op->name);
}

cr_status cr_doctor_activations(const cr_patient *p, cr_findings *f, cr_error *err)
{
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (is_op(n, CR_OP_Mul)) CR_TRY(look_at_gate(p, n, f, err));
        else CR_TRY(look_at_unary(p, n, f, err));
    }
    return CR_OK;
}
