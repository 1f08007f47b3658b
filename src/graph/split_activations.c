/* For targets without SiLU and without integer division: the nodes that such a target has instead.
 *
 *     Swish(x)        x * Sigmoid(x)          HardSigmoid(x)   Clip(x * alpha + beta, 0, 1)
 *     x / constant    x * (1 / constant)      x ^ 2            x * x
 *
 * The tensors between get names of their own, and so can have statistics and entries of a recipe. */
#include <math.h>

#include "base/error.h"
#include "graph/passes.h"

typedef struct splitter {
    cr_graph *g;
    bool failed;
} splitter;

static cr_tensor *add(splitter *s, cr_op_kind kind, cr_tensor *a, cr_tensor *b, cr_tensor *out,
                      const cr_node *from, const char *what)
{
    cr_graph *g = s->g;
    const char *name = cr_arena_printf(&g->arena, "%s_%s", from->name, what);
    cr_tensor *y = out    ? out
                   : name ? cr_graph_new_tensor(g, name, CR_DT_F32, from->out[0]->shape)
                          : NULL;
    cr_node *n = name && y && a ? cr_graph_add_node(g, kind, name, b ? 2 : 1, 1, 0) : NULL;
    if (!n) {
        s->failed = true;
        return NULL;
    }
    n->in[0] = a;
    if (b) n->in[1] = b;
    n->out[0] = y;
    return y;
}

static void split_swish(splitter *s, cr_node *n)
{
    const float alpha = cr_attr_float(n, "alpha", 1);
    cr_tensor *x = n->in[0], *y = n->out[0], *inner = x;
    if (alpha != 1.0f)
        inner = add(s, CR_OP_Mul, x, cr_graph_const_f32(s->g, n->name, alpha), NULL, n, "scaled");
    add(s, CR_OP_Mul, x, add(s, CR_OP_Sigmoid, inner, NULL, NULL, n, "sigmoid"), y, n, "product");
    cr_graph_kill(n);
}

static void split_hard_sigmoid(splitter *s, cr_node *n)
{
    cr_tensor *y = n->out[0];
    cr_tensor *a = cr_graph_const_f32(s->g, n->name, cr_attr_float(n, "alpha", .2f));
    cr_tensor *b = cr_graph_const_f32(s->g, n->name, cr_attr_float(n, "beta", .5f));
    cr_tensor *line =
        add(s, CR_OP_Add, add(s, CR_OP_Mul, n->in[0], a, NULL, n, "scaled"), b, NULL, n, "line");
    cr_node *clip = cr_graph_add_node(s->g, CR_OP_Clip, n->name, 3, 1, 0);
    if (!clip || !line) {
        s->failed = true;
        return;
    }
    clip->in[0] = line;
    clip->in[1] = cr_graph_const_f32(s->g, n->name, 0);
    clip->in[2] = cr_graph_const_f32(s->g, n->name, 1);
    clip->out[0] = y;
    s->failed |= !clip->in[1] || !clip->in[2];
    cr_graph_kill(n);
}

static void invert_divisor(splitter *s, cr_node *n)
{
    const cr_tensor *c = n->in[1];
    const int64_t count = cr_shape_count(&c->shape);
    for (int64_t i = 0; i < count; i++)
        if (!isnormal(1 / ((const float *)c->data)[i])) return;
    cr_tensor *inverse = cr_graph_new_const(s->g, c->name, CR_DT_F32, c->shape);
    if (!inverse) {
        s->failed = true;
        return;
    }
    for (int64_t i = 0; i < count; i++)
        ((float *)inverse->data)[i] = 1 / ((const float *)c->data)[i];
    add(s, CR_OP_Mul, n->in[0], inverse, n->out[0], n, "inverse");
    cr_graph_kill(n);
}

static bool is_constant(const cr_tensor *t)
{
    return t->data && t->dtype == CR_DT_F32;
}

static void split(splitter *s, cr_node *n)
{
    if (n->out[0] && n->out[0]->dtype != CR_DT_F32) return;
    switch (n->op->kind) {
    case CR_OP_Swish:
        split_swish(s, n);
        break;
    case CR_OP_HardSigmoid:
        split_hard_sigmoid(s, n);
        break;
    case CR_OP_Div:
        if (is_constant(n->in[1])) invert_divisor(s, n);
        break;
    case CR_OP_Pow:
        if (!is_constant(n->in[1]) || cr_shape_count(&n->in[1]->shape) != 1 ||
            ((const float *)n->in[1]->data)[0] != 2)
            return;
        add(s, CR_OP_Mul, n->in[0], n->in[0], n->out[0], n, "square");
        cr_graph_kill(n);
        break;
    default:
        break;
    }
}

cr_status cr_graph_split_activations(cr_graph *g, cr_error *err)
{
    splitter s = {g, false};
    const size_t count = g->node_count;
    for (size_t i = 0; i < count && !s.failed; i++) split(&s, g->nodes[i]);
    if (s.failed) return CR_NOMEM(err);
    size_t kept = 0; /* new nodes stand at the end: sorted before anything asks for the order */
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op) g->nodes[kept++] = g->nodes[i];
    g->node_count = kept;
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_compact(g, err));
    return cr_graph_infer(g, err);
}
