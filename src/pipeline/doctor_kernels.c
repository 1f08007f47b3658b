/* Findings about weights, and about what integer kernels can take. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/findings.h"
#include "quant/placement.h"

enum { FEW_CODES = 16 };                  /* of 127: a channel that has no more steps than 5 bits */
static const double many_channels = 0.05; /* share of such channels that is worth a word */

/* Axis of a weight's output channels, -1: unknown. */
static int output_axis(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Conv: return 0;
    case CR_OP_ConvTranspose: return cr_attr_int(n, "group", 1) == 1 ? 1 : -1;
    case CR_OP_Gemm: return cr_attr_int(n, "transB", 0) ? 0 : 1;
    case CR_OP_MatMul: return n->in[1]->shape.rank == 2 ? 1 : -1;
    default: return -1;
    }
}

/* ---- weights ---- */

/* Of the channels, those whose largest weight is FEW_CODES steps or less, but not 0. */
static int64_t narrow_channels(const cr_tensor *w, int axis, double step)
{
    const cr_qparams along = {.axis = axis, .count = 2};
    const cr_q_grain grain = cr_q_grain_of(&along, &w->shape);
    const float *x = w->data;
    int64_t narrow = 0;
    for (int64_t c = 0; c < grain.length; c++) {
        double most = 0;
        for (int64_t o = 0; o < grain.outer; o++)
            for (int64_t i = 0; i < grain.inner; i++)
                most = fmax(most, fabs((double)x[(o * grain.length + c) * grain.inner + i]));
        narrow += most > 0 && most <= FEW_CODES * step * 1.001;
    }
    return narrow;
}

static cr_status look_at_axis(const cr_patient *p, const cr_node *n, const cr_recipe_entry *e,
                              int axis, cr_findings *f, cr_error *err)
{
    if (e->q.block || e->q.axis < 0 || e->q.count < 2 || axis < 0 || e->q.axis == axis) return CR_OK;
    for (size_t i = 0; i < f->count; i++) /* the file's nodes told it already */
        if (f->list[i].kind == CR_FINDING_WRONG_AXIS && !strcmp(f->list[i].tensor, e->tensor))
            return CR_OK;
    return cr_findings_add(f, CR_FINDING_WRONG_AXIS, n->name, e->tensor, err,
                           "%zu scales along axis %d, the output channels are axis %d", e->q.count,
                           e->q.axis, axis);
}

static cr_status look_at_weight(const cr_patient *p, const cr_node *n, cr_findings *f, cr_error *err)
{
    const cr_recipe_entry *e = cr_patient_entry(p, n->in[1]);
    const int axis = output_axis(n);
    if (!e) return CR_OK;
    CR_TRY(look_at_axis(p, n, e, axis, f, err));
    const int64_t channels = axis < 0 ? 0 : n->in[1]->shape.dim[axis];
    if (e->q.count != 1 || channels < 2 || !cr_is_coarse(e)) return CR_OK;
    const int64_t narrow = narrow_channels(n->in[1], axis, (double)e->q.scale[0]);
    if (narrow < 1 || (double)narrow < many_channels * (double)channels) return CR_OK;
    const bool old = p->opset > 0 && p->opset < 13;
    char why[64] = "";
    if (old) snprintf(why, sizeof why, "; opset %d knows no scales per channel", p->opset);
    return cr_findings_add(f, CR_FINDING_COARSE_WEIGHTS, n->name, e->tensor, err,
                           "one scale for %lld channels, %lld of which use %d steps or fewer%s",
                           (long long)channels, (long long)narrow, FEW_CODES, why);
}

cr_status cr_doctor_weights(const cr_patient *p, cr_findings *f, cr_error *err)
{
    for (size_t i = 0; i < p->graph->node_count; i++)
        if (cr_has_weights(p->graph->nodes[i]))
            CR_TRY(look_at_weight(p, p->graph->nodes[i], f, err));
    return CR_OK;
}

/* ---- kernels ---- */

static bool is_on_integers(const cr_patient *p, const cr_node *n)
{
    return cr_has_weights(n) && cr_patient_entry(p, n->in[0]) && cr_patient_entry(p, n->in[1]);
}

/* Does anything but n read t's codes: a kernel, or what passes integers on? */
static bool is_read_elsewhere(const cr_patient *p, const cr_tensor *t, const cr_node *n)
{
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *r = p->graph->nodes[i];
        for (int k = 0; k < r->n_in; k++)
            if (r != n && r->in[k] == t && (is_on_integers(p, r) || !cr_has_weights(r))) return true;
    }
    return false;
}

static cr_status look_at_kernel(const cr_patient *p, const cr_node *n, bool activations,
                                cr_findings *f, cr_error *err)
{
    if (!cr_has_weights(n) || p->roles[n->index] == CR_ROLE_DECODE) return CR_OK;
    const cr_recipe_entry *x = cr_patient_entry(p, n->in[0]), *w = cr_patient_entry(p, n->in[1]);
    if (w && !x && activations)
        return cr_findings_add(f, CR_FINDING_UNFUSED_PAIR, n->name, n->in[0]->name, err,
                               "%s weights, but '%s' is float", cr_dtype_key(w->q.type),
                               n->in[0]->name);
    if (x && !x->q.dynamic && !w && !is_read_elsewhere(p, n->in[0], n))
        return cr_findings_add(f, CR_FINDING_UNFUSED_PAIR, n->name, n->in[0]->name, err,
                               "'%s' is rounded to %s, but the weights are float", n->in[0]->name,
                               cr_dtype_key(x->q.type));
    return CR_OK;
}

/* One word for the whole model, at the first convolution of its kind. */
static cr_status look_at_signs(const cr_patient *p, cr_findings *f, cr_error *err)
{
    const cr_node *first = NULL;
    size_t signed_ones = 0, all = 0;
    for (size_t i = 0; i < p->graph->node_count; i++) {
        const cr_node *n = p->graph->nodes[i];
        if (!is_on_integers(p, n)) continue;
        const bool both = cr_patient_entry(p, n->in[0])->q.type == CR_DT_I8 &&
                          cr_patient_entry(p, n->in[1])->q.type == CR_DT_I8;
        if (both && !first) first = n;
        signed_ones += both;
        all++;
    }
    if (!first) return CR_OK;
    return cr_findings_add(f, CR_FINDING_SIGNED_ACTIVATIONS, first->name, first->in[0]->name, err,
                           "%zu of %zu convolutions and gemms multiply int8 by int8", signed_ones,
                           all);
}

cr_status cr_doctor_kernels(const cr_patient *p, cr_findings *f, cr_error *err)
{
    bool activations = false;
    for (size_t i = 0; i < p->graph->tensor_count; i++) {
        const cr_recipe_entry *e = p->entries[i];
        activations |= e && !e->is_weight && !e->q.dynamic;
    }
    for (size_t i = 0; i < p->graph->node_count; i++)
        CR_TRY(look_at_kernel(p, p->graph->nodes[i], activations, f, err));
    return look_at_signs(p, f, err);
}
