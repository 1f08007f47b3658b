/* A product with constants at the graph's end, moved to where it costs nothing.
 *
 *     anchors -- Sub -- ... -- Concat -- Mul(strides) -- Mul(1/640)
 *     distances --/
 * becomes
 *     anchors * strides/640 -- Sub -- ... -- Concat
 *     distances * strides/640 --/
 *
 * A factor goes through sums, through products with one number, through joints and slices, and into
 * constants; products with a constant on the way take it up. So every tensor on the way lies in
 * 0..1 as the end does, which integers of 8 and 16 bits can hold; divided at the end alone, pixels
 * up to 640 and scores up to 1 would have to share scales. Where it stops, one Mul remains. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "graph/shape.h"

typedef struct pushed {
    const cr_tensor *from, *factor;
    cr_tensor *to;
} pushed;

typedef struct pusher {
    cr_graph *g;
    pushed *list;
    size_t count, cap;
    bool failed;
} pusher;

enum { MAX_DEPTH = 64 };

static const float *values(const cr_tensor *t)
{
    return t->data;
}

static bool all_ones(const cr_tensor *f)
{
    for (int64_t i = 0; i < cr_shape_count(&f->shape); i++)
        if (values(f)[i] != 1.0f) return false;
    return true;
}

static bool equal_values(const cr_tensor *a, const cr_tensor *b)
{
    return cr_shape_equal(&a->shape, &b->shape) && !memcmp(a->data, b->data, cr_tensor_bytes(a));
}

/* a * b of two constants. */
static cr_tensor *product(pusher *p, const cr_tensor *a, const cr_tensor *b)
{
    cr_shape s;
    cr_tensor *out = cr_shape_broadcast(&a->shape, &b->shape, &s)
                         ? cr_graph_new_const(p->g, a->name, CR_DT_F32, s)
                         : NULL;
    int64_t sa[CR_MAX_RANK], sb[CR_MAX_RANK], at[CR_MAX_RANK] = {0}, ia = 0, ib = 0;
    if (!out) {
        p->failed = true;
        return NULL;
    }
    cr_broadcast_strides(&a->shape, &s, sa);
    cr_broadcast_strides(&b->shape, &s, sb);
    for (int64_t i = 0; i < cr_shape_count(&s); i++) {
        ((float *)out->data)[i] = (float)((double)values(a)[ia] * (double)values(b)[ib]);
        for (int d = s.rank; d-- > 0;) {
            ia += sa[d];
            ib += sb[d];
            if (++at[d] < s.dim[d]) break;
            ia -= at[d] * sa[d];
            ib -= at[d] * sb[d];
            at[d] = 0;
        }
    }
    return out;
}

/* Part [from, from + n) of f along an axis; f itself where it is 1 there. */
static const cr_tensor *part(pusher *p, const cr_tensor *f, int axis, int64_t from, int64_t n)
{
    if (f->shape.dim[axis] == 1) return f;
    cr_shape s = f->shape;
    s.dim[axis] = n;
    const int64_t inner = cr_shape_span(&f->shape, axis + 1, f->shape.rank);
    const int64_t outer = cr_shape_span(&f->shape, 0, axis), length = f->shape.dim[axis];
    bool same = true; /* one value per row: then the axis may have length 1 */
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n * inner; i++)
            same &= values(f)[(o * length + from) * inner + i] ==
                    values(f)[(o * length + from) * inner + i % inner];
    if (same) s.dim[axis] = n = 1;
    cr_tensor *out = cr_graph_new_const(p->g, f->name, CR_DT_F32, s);
    if (!out) {
        p->failed = true;
        return f;
    }
    for (int64_t o = 0; o < outer; o++)
        memcpy((float *)out->data + o * n * inner, values(f) + (o * length + from) * inner,
               (size_t)(n * inner) * sizeof(float));
    return out;
}

static cr_tensor *push(pusher *p, cr_tensor *t, const cr_tensor *f, int depth);

static cr_node *copy_node(pusher *p, const cr_node *n, const cr_tensor *t)
{
    cr_node *copy = cr_graph_add_node(p->g, n->op->kind, n->name, n->n_in, 1, n->n_attrs);
    if (!copy) {
        p->failed = true;
        return NULL;
    }
    for (int i = 0; i < n->n_in; i++) copy->in[i] = n->in[i];
    for (int i = 0; i < n->n_attrs; i++) copy->attrs[i] = n->attrs[i];
    copy->out[0] = cr_graph_new_tensor(p->g, t->name, CR_DT_F32, t->shape);
    p->failed |= !copy->out[0];
    return copy->out[0] ? copy : NULL;
}

/* t * f as a node of its own. */
static cr_tensor *multiply(pusher *p, cr_tensor *t, const cr_tensor *f)
{
    cr_node *n = cr_graph_add_node(p->g, CR_OP_Mul, f->name, 2, 1, 0);
    cr_tensor *y = cr_graph_new_tensor(p->g, t->name, CR_DT_F32, t->shape);
    if (!n || !y) {
        p->failed = true;
        return NULL;
    }
    n->in[0] = t;
    n->in[1] = (cr_tensor *)f;
    n->out[0] = y;
    return y;
}

static bool is_float_const(const cr_tensor *t)
{
    return t->data && t->dtype == CR_DT_F32;
}

static bool same_rank(const cr_node *n, int rank)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i]->shape.rank != rank) return false;
    return true;
}

static cr_tensor *through_sum(pusher *p, const cr_node *n, const cr_tensor *f, int depth)
{
    cr_node *copy = copy_node(p, n, n->out[0]);
    for (int i = 0; copy && i < 2; i++) copy->in[i] = push(p, n->in[i], f, depth);
    return copy ? copy->out[0] : NULL;
}

static cr_tensor *through_product(pusher *p, const cr_node *n, const cr_tensor *f, int depth)
{
    const int k = is_float_const(n->in[1]) ? 1 : 0;
    if (cr_shape_count(&n->in[k]->shape) != 1)
        return push(p, n->in[1 - k], product(p, f, n->in[k]), depth);
    cr_node *copy =
        copy_node(p, n, n->out[0]); /* one number: others may share what lies in front */
    if (copy) copy->in[1 - k] = push(p, n->in[1 - k], f, depth);
    return copy ? copy->out[0] : NULL;
}

static cr_tensor *through_joint(pusher *p, const cr_node *n, const cr_tensor *f, int depth)
{
    cr_node *copy = copy_node(p, n, n->out[0]);
    int64_t axis = cr_attr_int(n, "axis", 0), from = 0;
    if (axis < 0) axis += f->shape.rank;
    for (int i = 0; copy && i < n->n_in; i++) {
        const int64_t length = n->in[i]->shape.dim[axis];
        copy->in[i] = push(p, n->in[i], part(p, f, (int)axis, from, length), depth);
        from += length;
    }
    return copy ? copy->out[0] : NULL;
}

/* Is f one value along every axis that the slice shortens? */
static bool slices_past(const cr_node *n, const cr_tensor *f)
{
    for (int a = 0; a < f->shape.rank; a++)
        if (n->in[0]->shape.dim[a] != n->out[0]->shape.dim[a] && f->shape.dim[a] != 1) return false;
    return n->in[0]->shape.rank == f->shape.rank;
}

static cr_tensor *push_new(pusher *p, cr_tensor *t, const cr_tensor *f, int depth)
{
    const cr_node *n = t->producer;
    if (is_float_const(t)) return product(p, t, f);
    if (!n || depth == MAX_DEPTH || t->dtype != CR_DT_F32) return multiply(p, t, f);
    const bool rank = n->op->kind == CR_OP_Slice || same_rank(n, f->shape.rank);
    switch (rank ? n->op->kind : CR_OP_NONE) {
    case CR_OP_Add:
    case CR_OP_Sub:
        return through_sum(p, n, f, depth + 1);
    case CR_OP_Concat:
        return through_joint(p, n, f, depth + 1);
    case CR_OP_Slice:
        if (!slices_past(n, f)) break;
        cr_node *copy = copy_node(p, n, t);
        if (copy) copy->in[0] = push(p, n->in[0], f, depth + 1);
        return copy ? copy->out[0] : NULL;
    default:
        break;
    }
    if (n->op->kind == CR_OP_Mul && (is_float_const(n->in[0]) || is_float_const(n->in[1])))
        return through_product(p, n, f, depth + 1);
    return multiply(p, t, f);
}

static cr_tensor *push(pusher *p, cr_tensor *t, const cr_tensor *f, int depth)
{
    if (p->failed || !f) return NULL;
    if (all_ones(f)) return t;
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].from == t && equal_values(p->list[i].factor, f)) return p->list[i].to;
    cr_tensor *to = push_new(p, t, f, depth);
    if (!to || !cr_grow((void **)&p->list, &p->cap, p->count, sizeof *p->list)) {
        p->failed = true;
        return NULL;
    }
    p->list[p->count++] = (pushed){t, f, to};
    return to;
}

cr_status cr_graph_scale_output(cr_graph *g, size_t index, int axis, const float *factor,
                                cr_error *err)
{
    cr_tensor *t = g->outputs[index];
    pusher p = {.g = g};
    cr_shape s = {.rank = t->shape.rank};
    for (int i = 0; i < s.rank; i++) s.dim[i] = i == axis ? t->shape.dim[i] : 1;
    cr_tensor *f = cr_graph_new_const(g, "fraction", CR_DT_F32, s);
    if (!f) return CR_NOMEM(err);
    memcpy(f->data, factor, cr_tensor_bytes(f));
    cr_tensor *to = push(&p, t, f, 0);
    cr_free(p.list);
    if (p.failed) return CR_NOMEM(err);
    const char *name = t->name; /* the output keeps its name */
    t->name = to->name;
    to->name = name;
    g->outputs[index] = to;
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_compact(g, err));
    return cr_graph_infer(g, err);
}
