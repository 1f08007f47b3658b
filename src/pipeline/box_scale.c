/* Are a detector's boxes pixels of the input, or fractions of it?
 *
 * Ultralytics' TFLite files divide by the input's size, inside the network, so that boxes and
 * scores can share one scale. Neither shapes nor metadata tell. So the decoding is asked: what lies
 * behind the last convolutions runs once on zeros, where every box is centred about its own cell,
 * and the largest centre is either about the input's width or about 1. Files whose constants speak
 * of pixels (a grid or strides above 1, as nearly all ONNX files have, and nothing that makes it
 * small again) are not asked: it costs about as much as a run. Rejected: to trust the format
 * (converted files keep their fractions). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "ops/ref.h"
#include "pipeline/model_impl.h"

enum { MAX_ELEMENTS = 1 << 26, MAX_INPUTS = 64, MAX_OUTPUTS = 64, GRID = 16, SMALL = 32 };

/* ---- is it worth asking? ---- */

static float largest(const cr_tensor *t)
{
    float most = 0;
    const int64_t n = cr_shape_count(&t->shape);
    for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(((const float *)t->data)[i]));
    return most;
}

static bool speaks_of_fractions(const cr_graph *g, const cr_role *roles)
{
    bool grid = false, shrinks = false, pixels = false;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        const cr_op_kind kind = n->op->kind;
        if (roles[i] != CR_ROLE_DECODE || n->n_in != 2) continue;
        if (kind != CR_OP_Add && kind != CR_OP_Sub && kind != CR_OP_Mul && kind != CR_OP_Div)
            continue;
        for (int k = 0; k < 2; k++) {
            const cr_tensor *c = n->in[k];
            if (!c->data || c->dtype != CR_DT_F32) continue;
            const float most = largest(c);
            if (kind == CR_OP_Div)
                shrinks |= k == 1 && most >= SMALL;
            else if (kind == CR_OP_Mul && most > 0 && most <= 1.f / SMALL)
                shrinks = true;
            else if (most > 1.5f)
                pixels = true;
            else
                grid |= cr_shape_count(&c->shape) >= GRID;
        }
    }
    return shrinks || (grid && !pixels);
}

/* ---- asking ---- */

typedef struct probe {
    const cr_graph *g;
    cr_tensor *made; /* by tensor id: values, with their own data */
    int64_t room;
} probe;

/* x itself, its value, or zeros in its place; NULL: too large or no memory. */
static const cr_tensor *value_of(probe *p, const cr_tensor *x)
{
    cr_tensor *made = &p->made[x->id];
    if (x->data) return x;
    if (made->data) return made;
    const int64_t n = cr_shape_count(&x->shape);
    if (n < 0 || n > p->room) return NULL;
    p->room -= n;
    *made = *x;
    return cr_tensor_alloc(made) ? made : NULL;
}

static bool run_node(probe *p, const cr_node *n)
{
    const cr_tensor *in[MAX_INPUTS];
    cr_tensor *out[MAX_OUTPUTS];
    cr_error ignored;
    if (n->n_in > MAX_INPUTS || n->n_out > MAX_OUTPUTS) return false;
    for (int k = 0; k < n->n_in; k++) {
        in[k] = n->in[k] ? value_of(p, n->in[k]) : NULL;
        if (n->in[k] && !in[k]) return false;
    }
    for (int k = 0; k < n->n_out; k++) {
        out[k] = n->out[k] ? &p->made[n->out[k]->id] : NULL;
        if (!out[k]) continue;
        p->room -= cr_shape_count(&n->out[k]->shape);
        *out[k] = *n->out[k];
    }
    const cr_op_call call = {n, in, out, n->n_in, n->n_out};
    return p->room > 0 && cr_op_run(&call, &ignored) == CR_OK;
}

/* The largest of the x centres, column or channel 0 of output 0; negative: unknown. */
static float largest_centre(const probe *p, const cr_head *h)
{
    const cr_tensor *y = &p->made[p->g->outputs[0]->id];
    if (!y->data || y->dtype != CR_DT_F32 || y->shape.rank != 3 || y->shape.dim[0] != 1) return -1;
    const int64_t a = y->shape.dim[1], b = y->shape.dim[2];
    const bool rows = h->kind == CR_HEAD_YOLOV5 || h->transposed;
    float most = -1;
    for (int64_t i = 0; i < (rows ? a : b); i++)
        most = fmaxf(most, ((const float *)y->data)[rows ? i * b : i]);
    return most;
}

cr_status cr_box_scale_find(const cr_graph *g, const cr_role *roles, cr_head *h, cr_error *err)
{
    const bool asks =
        h->kind == CR_HEAD_YOLOV8 || h->kind == CR_HEAD_POSE || h->kind == CR_HEAD_YOLOV5;
    if (!asks || h->input_width < SMALL || !speaks_of_fractions(g, roles)) return CR_OK;
    probe p = {g, cr_calloc(g->tensor_count, sizeof *p.made), MAX_ELEMENTS};
    if (!p.made) return CR_NOMEM(err);
    bool known = true;
    for (size_t i = 0; known && i < g->node_count; i++)
        if (roles[i] == CR_ROLE_DECODE) known = run_node(&p, g->nodes[i]);
    const float most = known ? largest_centre(&p, h) : -1;
    h->fractions = most > 0 && most < 2;
    for (size_t i = 0; i < g->tensor_count; i++) cr_tensor_drop_data(&p.made[i]);
    cr_free(p.made);
    return CR_OK;
}
