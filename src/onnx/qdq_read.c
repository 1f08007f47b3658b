#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/passes.h"
#include "onnx/dynamic.h"
#include "onnx/onnx_tensor.h"
#include "onnx/qdq.h"

typedef struct reader {
    cr_graph *g;
    cr_recipe *recipe;
    float *scale; /* of the pair being looked at */
    int32_t *zero_point;
    size_t room;
} reader;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op && n->op->kind == kind;
}

static cr_status make_room(reader *r, size_t n, cr_error *err)
{
    if (n <= r->room) return CR_OK;
    float *s = cr_realloc(r->scale, n * sizeof *s);
    if (s) r->scale = s;
    int32_t *z = cr_realloc(r->zero_point, n * sizeof *z);
    if (z) r->zero_point = z;
    if (!s || !z) return CR_NOMEM(err);
    r->room = n;
    return CR_OK;
}

/* The parameters of a Q or DQ node with constant scale and zero point; *ok false if they are not of
 * a form that a recipe has (blocked, computed at run time). q points into the reader's buffers. */
static cr_status read_params(reader *r, const cr_node *n, cr_dtype type, cr_qparams *q, bool *ok,
                             cr_error *err)
{
    const cr_tensor *s = n->in[1], *z = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t block = cr_attr_int(n, "block_size", 0);
    *ok = false;
    if (!s->data || s->dtype != CR_DT_F32 || (z && !z->data)) return CR_OK;
    if (block ? s->shape.rank != n->in[0]->shape.rank : s->shape.rank > 1) return CR_OK;
    const int64_t count = cr_shape_count(&s->shape);
    const int rank = n->in[0]->shape.rank;
    if (count < 1 || rank < 0 || (z && cr_shape_count(&z->shape) != count)) return CR_OK;
    int64_t axis = cr_attr_int(n, "axis", 1);
    if (axis < 0) axis += rank;
    const bool vector = (s->shape.rank == 1 || block) && count > 1;
    if (vector && (axis < 0 || axis >= rank)) return CR_OK;
    CR_TRY(make_room(r, (size_t)count, err));
    for (int64_t i = 0; i < count; i++) {
        r->scale[i] = ((const float *)s->data)[i];
        r->zero_point[i] = z ? (int32_t)cr_tensor_get_i64(z, (size_t)i) : 0;
        if (!(r->scale[i] > 0) || r->scale[i] > 3e38f) return CR_OK;
    }
    int32_t lo, hi;
    *q = (cr_qparams){type, vector ? (int)axis : -1, vector ? (size_t)count : 1, r->scale,
                      r->zero_point, .block = vector ? block : 0};
    *ok = cr_qtype_range(type, &lo, &hi) && cr_q_fits(q, &n->in[0]->shape);
    return CR_OK;
}

/* Binary weights in a file: int2, all -1 or +1. */
static bool is_binary(const cr_tensor *codes, const cr_qparams *q)
{
    const int8_t *c = codes->data;
    if (codes->dtype != CR_DT_I2) return false;
    for (size_t i = 0; i < q->count; i++)
        if (q->zero_point[i]) return false;
    for (int64_t i = 0; i < cr_shape_count(&codes->shape); i++)
        if (c[i] != 1 && c[i] != -1) return false;
    return true;
}

/* n codes from element `first` on, all with one scale. */
static void dequantize_run(const cr_tensor *codes, int64_t first, int64_t n, float scale,
                           int32_t zero_point, float *out)
{
    const int8_t *i8 = (const int8_t *)codes->data + first;
    const uint8_t *u8 = (const uint8_t *)codes->data + first;
    if (codes->dtype == CR_DT_I8)
        for (int64_t i = 0; i < n; i++) out[i] = cr_dequantize(i8[i], scale, zero_point);
    else if (codes->dtype == CR_DT_U8)
        for (int64_t i = 0; i < n; i++) out[i] = cr_dequantize(u8[i], scale, zero_point);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = cr_dequantize((int32_t)cr_tensor_get_i64(codes, (size_t)(first + i)), scale,
                                   zero_point);
}

/* A constant behind DQ: a float constant of the DQ output's name; an entry unless it is a bias. */
static cr_status read_constant(reader *r, cr_node *dq, cr_error *err)
{
    const cr_tensor *codes = dq->in[0];
    cr_tensor *w = dq->out[0];
    cr_qparams q;
    bool ok;
    CR_TRY(read_params(r, dq, codes->dtype, &q, &ok, err));
    if (!ok) return CR_OK;
    w->dtype = CR_DT_F32;
    w->shape = codes->shape;
    if (!cr_tensor_alloc(w)) return CR_NOMEM(err);
    const cr_q_grain g = cr_q_grain_of(&q, &w->shape);
    const int64_t each = g.block ? 1 : g.inner; /* neighbours with one scale */
    for (int64_t run = 0, first = 0; run < g.outer * g.length; run++) {
        size_t k = cr_q_first_scale(&g, run / g.length, run % g.length);
        for (int64_t i = 0; i < g.inner; i += each, k++, first += each)
            dequantize_run(codes, first, each, q.scale[k], q.zero_point[k],
                           (float *)w->data + first);
    }
    if (is_binary(codes, &q)) q.type = CR_DT_I1;
    cr_graph_kill(dq);
    if (codes->dtype == CR_DT_I32) return CR_OK;
    return cr_recipe_add(r->recipe, w->name, true, &q, "from the file", err);
}

static bool is_output(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return false;
}

/* All readers of a Q node's output must be DQ nodes with the Q's own scale and zero point. */
static bool same_constant(const cr_tensor *a, const cr_tensor *b)
{
    if (a == b) return true;
    return a && b && a->data && b->data && a->dtype == b->dtype &&
           cr_shape_count(&a->shape) == cr_shape_count(&b->shape) &&
           !memcmp(a->data, b->data, cr_tensor_bytes(a));
}

static bool pairs_up(const cr_graph *g, const cr_node *q)
{
    if (is_output(g, q->out[0])) return false;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!n->op) continue;
        for (int k = 0; k < n->n_in; k++) {
            if (n->in[k] != q->out[0]) continue;
            const cr_tensor *zq = q->n_in > 2 ? q->in[2] : NULL,
                            *zn = n->n_in > 2 ? n->in[2] : NULL;
            if (k != 0 || !is_op(n, CR_OP_DequantizeLinear)) return false;
            if (!same_constant(n->in[1], q->in[1]) || !same_constant(zn, zq)) return false;
            if (cr_attr_int(n, "axis", 1) != cr_attr_int(q, "axis", 1)) return false;
        }
    }
    return true;
}

/* Is t read by anything but this Q node? */
static bool has_other_readers(const cr_graph *g, const cr_tensor *t, const cr_node *q)
{
    if (is_output(g, t)) return true;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (!n->op || n == q) continue;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] == t) return true;
    }
    return false;
}

static void become_identity(cr_node *n)
{
    n->op = cr_op_get(CR_OP_Identity);
    n->n_in = 1;
    n->n_attrs = 0;
}

/* Names of graph outputs are the model's interface: a DQ node that writes one becomes an Identity.
 */
static void drop_pair(cr_graph *g, cr_node *q, cr_tensor *readers_get)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (!is_op(n, CR_OP_DequantizeLinear) || n->in[0] != q->out[0]) continue;
        if (is_output(g, n->out[0])) {
            n->in[0] = readers_get;
            become_identity(n);
            continue;
        }
        cr_graph_replace_uses(g, n->out[0], readers_get);
        cr_graph_kill(n);
    }
}

/* A pair in front of a graph output: the producer of t writes that output instead, t and the DQ
 * node vanish. Gives the tensor that the producer writes now. */
static cr_tensor *adopt_output(cr_graph *g, const cr_node *q, cr_tensor *t)
{
    if (!t->producer || !t->producer->op) return t;
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (!is_op(n, CR_OP_DequantizeLinear) || n->in[0] != q->out[0]) continue;
        cr_tensor *y = n->out[0];
        if (!is_output(g, y)) continue;
        for (int k = 0; k < t->producer->n_out; k++)
            if (t->producer->out[k] == t) t->producer->out[k] = y;
        y->producer = t->producer;
        cr_graph_kill(n);
        return y;
    }
    return t;
}

static const cr_recipe_entry *entry_of(const cr_recipe *r, const cr_tensor *t)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, t->name)) return &r->entries[i];
    return NULL;
}

static bool same_entry(const cr_recipe_entry *e, const cr_qparams *q)
{
    return e->q.type == q->type && e->q.axis == q->axis && e->q.count == q->count &&
           !memcmp(e->q.scale, q->scale, q->count * sizeof *q->scale) &&
           !memcmp(e->q.zero_point, q->zero_point, q->count * sizeof *q->zero_point);
}

/* The tensor that carries the entry: T itself, or an Identity of it in the place of the Q node, where
 * others read T as floats or T has an entry already (a pair behind a pair). A pair that repeats T's
 * entry says nothing new. */
static cr_status read_pair(reader *r, cr_node *qn, cr_error *err)
{
    cr_graph *g = r->g;
    cr_tensor *t = qn->in[0], *y = qn->out[0];
    cr_qparams q;
    bool ok;
    if (t->data || t->dtype != CR_DT_F32) return CR_OK;
    CR_TRY(read_params(r, qn, y->dtype, &q, &ok, err));
    if (!ok || q.block || cr_onnx_packed_bits(q.type) || !pairs_up(g, qn)) return CR_OK;
    const cr_recipe_entry *before = entry_of(r->recipe, t);
    if (before && same_entry(before, &q)) {
        drop_pair(g, qn, t);
        cr_graph_kill(qn);
        return CR_OK;
    }
    if (!before && !has_other_readers(g, t, qn)) {
        t = adopt_output(g, qn, t);
        drop_pair(g, qn, t);
        cr_graph_kill(qn);
        return cr_recipe_add(r->recipe, t->name, false, &q, "from the file", err);
    }
    drop_pair(g, qn, y);
    become_identity(qn);
    y->dtype = CR_DT_F32;
    return cr_recipe_add(r->recipe, y->name, false, &q, "from the file, beside float readers", err);
}

cr_status cr_qdq_read(cr_graph *g, cr_recipe **out, cr_error *err)
{
    *out = NULL;
    reader r = {.g = g};
    CR_TRY(cr_recipe_create(&r.recipe, err));
    cr_status st = cr_dynamic_read(g, r.recipe, err);
    for (size_t i = 0; i < g->node_count && st == CR_OK; i++) {
        cr_node *n = g->nodes[i];
        if (is_op(n, CR_OP_DequantizeLinear) && n->in[0]->data) st = read_constant(&r, n, err);
    }
    for (size_t i = 0; i < g->node_count && st == CR_OK; i++)
        if (is_op(g->nodes[i], CR_OP_QuantizeLinear)) st = read_pair(&r, g->nodes[i], err);
    if (st == CR_OK) st = cr_graph_compact(g, err);
    if (st == CR_OK) st = cr_graph_infer(g, err);
    cr_free(r.scale);
    cr_free(r.zero_point);
    if (st == CR_OK && r.recipe->count) {
        *out = r.recipe;
        return CR_OK;
    }
    cr_recipe_release(&r.recipe);
    return st;
}
