/* Pattern rewrites: batch norms into convolutions, spelled-out activations into one node. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

static bool scalar_is(const cr_tensor *t, double value)
{
    return t && t->data && cr_shape_count(&t->shape) == 1 &&
           fabs(cr_tensor_get_f64(t, 0) - value) < 1e-6;
}

static bool is_op(const cr_node *n, cr_op_kind kind) { return n && n->op && n->op->kind == kind; }

/* ---- batch normalization ---- */

typedef struct norm_fold { /* y = x * gain[c] + shift[c] */
    double *gain, *shift;
    int64_t channels;
} norm_fold;

static bool vector_of(const cr_tensor *t, int64_t n)
{
    return t && t->data && t->dtype == CR_DT_F32 && cr_shape_count(&t->shape) == n;
}

static bool read_norm(const cr_node *bn, norm_fold *f)
{
    const double eps = (double)cr_attr_float(bn, "epsilon", 1e-5f);
    for (int i = 1; i < 5; i++)
        if (!vector_of(bn->in[i], f->channels)) return false;
    const float *scale = bn->in[1]->data, *bias = bn->in[2]->data, *mean = bn->in[3]->data,
                *var = bn->in[4]->data;
    for (int64_t c = 0; c < f->channels; c++) {
        f->gain[c] = (double)scale[c] / sqrt((double)var[c] + eps);
        f->shift[c] = (double)bias[c] - (double)mean[c] * f->gain[c];
    }
    return true;
}

/* New weight and bias tensors: the old ones may have other readers. */
static cr_status apply_norm(cr_graph *g, cr_node *conv, const norm_fold *f, cr_error *err)
{
    const bool transposed = conv->op->kind == CR_OP_ConvTranspose;
    const cr_tensor *w = conv->in[1], *b = conv->n_in > 2 ? conv->in[2] : NULL;
    cr_tensor *w2 = cr_graph_new_const(g, w->name, CR_DT_F32, w->shape);
    cr_tensor *b2 = cr_graph_new_const(g, b ? b->name : conv->name, CR_DT_F32,
                                       (cr_shape){1, {f->channels}});
    cr_tensor **in = cr_arena_alloc(&g->arena, 3 * sizeof *in);
    if (!w2 || !b2 || !in) return CR_NOMEM(err);
    int64_t inner = 1;
    for (int i = transposed ? 2 : 1; i < w->shape.rank; i++) inner *= w->shape.dim[i];
    const int64_t total = cr_shape_count(&w->shape);
    const float *from = w->data;
    float *to = w2->data, *bias = b2->data;
    for (int64_t i = 0; i < total; i++)
        to[i] = (float)((double)from[i] * f->gain[i / inner % f->channels]);
    for (int64_t c = 0; c < f->channels; c++) {
        const double old = b ? (double)((const float *)b->data)[c] : 0;
        bias[c] = (float)(old * f->gain[c] + f->shift[c]);
    }
    in[0] = conv->in[0];
    in[1] = w2;
    in[2] = b2;
    conv->in = in;
    conv->n_in = 3;
    return CR_OK;
}

static bool norm_fits(const cr_node *bn, const cr_node *conv)
{
    if (!is_op(conv, CR_OP_Conv) && !is_op(conv, CR_OP_ConvTranspose)) return false;
    if (is_op(conv, CR_OP_ConvTranspose) && cr_attr_int(conv, "group", 1) != 1) return false;
    const cr_tensor *w = conv->in[1], *b = conv->n_in > 2 ? conv->in[2] : NULL;
    const int64_t channels = w->shape.dim[is_op(conv, CR_OP_ConvTranspose) ? 1 : 0];
    return conv->out[0]->uses == 1 && w->data && w->dtype == CR_DT_F32 && channels > 0 &&
           (!b || vector_of(b, channels));
}

static cr_status fuse_one_norm(cr_graph *g, cr_node *bn, cr_node *conv, cr_error *err)
{
    const int64_t channels = conv->in[1]->shape.dim[is_op(conv, CR_OP_ConvTranspose) ? 1 : 0];
    norm_fold f = {cr_calloc((size_t)channels, sizeof(double)),
                   cr_calloc((size_t)channels, sizeof(double)), channels};
    cr_status st = f.gain && f.shift ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && read_norm(bn, &f)) {
        st = apply_norm(g, conv, &f, err);
        if (st == CR_OK) {
            conv->out[0] = bn->out[0];
            bn->out[0]->producer = conv;
            cr_graph_kill(bn);
        }
    }
    cr_free(f.gain);
    cr_free(f.shift);
    return st;
}

cr_status cr_graph_fuse_norm(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *bn = g->nodes[i];
        if (!is_op(bn, CR_OP_BatchNormalization)) continue;
        cr_node *conv = bn->in[0]->producer;
        if (conv && norm_fits(bn, conv)) CR_TRY(fuse_one_norm(g, bn, conv, err));
    }
    return cr_graph_compact(g, err);
}

/* ---- activations ---- */

/* The gate of `mul` on x: mul = x * gate(x). Returns the gate's node, or NULL. */
static cr_node *find_gate(const cr_node *mul, cr_op_kind kind, cr_tensor **x)
{
    for (int k = 0; k < 2; k++) {
        cr_node *gate = mul->in[k]->producer;
        if (!is_op(gate, kind) || gate->in[0] != mul->in[1 - k]) continue;
        *x = mul->in[1 - k];
        return gate;
    }
    return NULL;
}

static bool clip_is_0_6(const cr_node *n)
{
    return is_op(n, CR_OP_Clip) && n->n_in == 3 && scalar_is(n->in[1], 0) && scalar_is(n->in[2], 6);
}

/* t = Clip(x + 3, 0, 6): gives x, else NULL. */
static cr_tensor *relu6_of_x_plus_3(const cr_tensor *t)
{
    const cr_node *clip = t->producer;
    if (!clip || !clip_is_0_6(clip)) return NULL;
    const cr_node *add = clip->in[0]->producer;
    if (!is_op(add, CR_OP_Add)) return NULL;
    if (scalar_is(add->in[1], 3)) return add->in[0];
    return scalar_is(add->in[0], 3) ? add->in[1] : NULL;
}

/* n divides by 6 (or multiplies with 1/6): gives what is divided, else NULL. */
static cr_tensor *sixth_of(const cr_node *n)
{
    if (is_op(n, CR_OP_Div)) return scalar_is(n->in[1], 6) ? n->in[0] : NULL;
    if (!is_op(n, CR_OP_Mul)) return NULL;
    if (scalar_is(n->in[1], 1.0 / 6)) return n->in[0];
    return scalar_is(n->in[0], 1.0 / 6) ? n->in[1] : NULL;
}

/* x * Clip(x+3,0,6) with the sixth taken of the product, of the clipped factor or of x. */
static cr_tensor *spelled_hard_swish(const cr_node *n)
{
    const cr_tensor *whole = sixth_of(n);
    const cr_node *product = whole ? whole->producer : n;
    if (!is_op(product, CR_OP_Mul)) return NULL;
    for (int k = 0; k < 2; k++) {
        const cr_tensor *a = product->in[k], *b = product->in[1 - k];
        if (!whole && a->producer && sixth_of(a->producer)) a = sixth_of(a->producer);
        else if (!whole && b->producer && sixth_of(b->producer)) b = sixth_of(b->producer);
        else if (!whole) continue;
        cr_tensor *x = relu6_of_x_plus_3(a);
        if (x && x == b) return x;
    }
    return NULL;
}

/* Constants of many dimensions may have stretched the result: then it is no activation of x. */
static bool keeps_shape(const cr_node *n, const cr_tensor *x)
{
    const cr_tensor *y = n->out[0];
    return x->dtype == CR_DT_F32 && cr_shape_known(&x->shape) && cr_shape_equal(&x->shape, &y->shape);
}

static bool is_hard_swish_gate(const cr_node *gate)
{
    return gate && fabsf(cr_attr_float(gate, "alpha", .2f) - 1.f / 6) < 1e-6f &&
           cr_attr_float(gate, "beta", .5f) == .5f;
}

/* `n` computes kind(x): it becomes that node and keeps its place, name and output. */
static cr_status become(cr_graph *g, cr_node *n, cr_op_kind kind, cr_tensor *x, cr_error *err)
{
    n->op = cr_op_get(kind);
    n->in[0] = x;
    n->n_in = 1;
    n->n_attrs = 0;
    if (kind != CR_OP_Swish) return CR_OK;
    n->attrs = cr_arena_alloc(&g->arena, sizeof *n->attrs);
    if (!n->attrs) return CR_NOMEM(err);
    cr_attr_set_float(&n->attrs[0], "alpha", 1.f);
    n->n_attrs = 1;
    return CR_OK;
}

cr_status cr_graph_fuse_activations(cr_graph *g, cr_error *err)
{
    for (size_t i = 0; i < g->node_count; i++) {
        cr_node *n = g->nodes[i];
        if (!is_op(n, CR_OP_Mul) && !is_op(n, CR_OP_Div)) continue;
        cr_tensor *x = spelled_hard_swish(n);
        if (x && keeps_shape(n, x)) {
            CR_TRY(become(g, n, CR_OP_HardSwish, x, err));
            continue;
        }
        if (!is_op(n, CR_OP_Mul) || n->in[0]->dtype != CR_DT_F32) continue;
        if (find_gate(n, CR_OP_Sigmoid, &x))
            CR_TRY(become(g, n, CR_OP_Swish, x, err));
        else if (is_hard_swish_gate(find_gate(n, CR_OP_HardSigmoid, &x)))
            CR_TRY(become(g, n, CR_OP_HardSwish, x, err));
    }
    return cr_graph_compact(g, err);
}

cr_status cr_graph_prepare(cr_graph *g, cr_run_fn run, cr_error *err)
{
    CR_CHECK(g->node_count <= CR_MAX_NODES, err, CR_ERR_LIMIT, "%zu nodes, more than the limit of %d",
             g->node_count, CR_MAX_NODES);
    CR_TRY(cr_graph_index(g, err));
    CR_TRY(cr_graph_fold(g, run, err));
    CR_TRY(cr_graph_tidy(g, err));
    CR_TRY(cr_graph_fuse_norm(g, err));
    CR_TRY(cr_graph_fuse_activations(g, err));
    return cr_graph_tidy(g, err);
}
