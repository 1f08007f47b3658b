#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/passes.h"
#include "graph/recipe_dynamic.h"
#include "onnx/dynamic.h"

/* Outputs of a tensor's DynamicQuantizeLinear. */
typedef struct codes {
    cr_tensor *codes, *scale, *zero;
} codes;

typedef struct writer {
    cr_graph *g;
    const cr_recipe_entry **entries;
    codes *made;      /* by tensor id */
    cr_tensor **weights; /* by tensor id: codes of a constant */
} writer;

static cr_tensor *new_tensor(cr_graph *g, const char *stem, const char *suffix, cr_dtype type,
                             const cr_shape *shape, bool constant)
{
    char name[512];
    snprintf(name, sizeof name, "%s_%s", stem, suffix);
    return constant ? cr_graph_new_const(g, name, type, *shape)
                    : cr_graph_new_tensor(g, name, type, *shape);
}

static cr_node *new_node(cr_graph *g, cr_op_kind kind, const char *stem, const char *suffix,
                         cr_tensor *a, cr_tensor *b, cr_tensor *y, int attrs)
{
    char name[512];
    snprintf(name, sizeof name, "%s_%s", stem, suffix);
    if (!a || !y) return NULL;
    cr_node *n = cr_graph_add_node(g, kind, name, b ? 2 : 1, 1, attrs);
    if (!n) return NULL;
    n->in[0] = a;
    if (b) n->in[1] = b;
    n->out[0] = y;
    return n;
}

static cr_status quantize(writer *w, cr_tensor *t, codes *out, cr_error *err)
{
    static const cr_shape scalar = {0};
    codes *c = &w->made[t->id];
    if (!c->codes) {
        char name[512];
        snprintf(name, sizeof name, "%s_DynamicQuantizeLinear", t->name);
        c->codes = new_tensor(w->g, t->name, "quantized", CR_DT_U8, &t->shape, false);
        c->scale = new_tensor(w->g, t->name, "scale", CR_DT_F32, &scalar, false);
        c->zero = new_tensor(w->g, t->name, "zero_point", CR_DT_U8, &scalar, false);
        cr_node *n = cr_graph_add_node(w->g, CR_OP_DynamicQuantizeLinear, name, 1, 3, 0);
        if (!c->codes || !c->scale || !c->zero || !n) return CR_NOMEM(err);
        n->in[0] = t;
        n->out[0] = c->codes;
        n->out[1] = c->scale;
        n->out[2] = c->zero;
    }
    *out = *c;
    return CR_OK;
}

/* Codes in the orientation of a product: [depth][columns] where a Gemm has them turned. */
static cr_status write_weight(writer *w, const cr_node *n, const cr_qparams *q, cr_tensor **out,
                              cr_error *err)
{
    const cr_tensor *t = n->in[1];
    const bool turn = cr_dynamic_turned(n);
    *out = w->weights[t->id];
    if (*out && !turn) return CR_OK;
    cr_shape shape = t->shape;
    if (turn) shape = (cr_shape){2, {t->shape.dim[1], t->shape.dim[0]}};
    const int64_t count = cr_shape_count(&shape), rows = t->shape.dim[0];
    *out = new_tensor(w->g, t->name, "quantized", q->type == CR_DT_U8 ? CR_DT_U8 : CR_DT_I8, &shape,
                      true);
    int32_t *values = cr_malloc((size_t)count * sizeof *values);
    if (!*out || !values) {
        cr_free(values);
        return CR_NOMEM(err);
    }
    cr_quantize_tensor(t, q, values);
    uint8_t *to = (*out)->data;
    for (int64_t i = 0; i < count; i++)
        to[turn ? i % (count / rows) * rows + i / (count / rows) : i] = (uint8_t)values[i];
    cr_free(values);
    if (!turn) w->weights[t->id] = *out;
    return CR_OK;
}

static bool one_zero_point(const cr_qparams *q)
{
    for (size_t i = 1; i < q->count; i++)
        if (q->zero_point[i] != q->zero_point[0]) return false;
    return true;
}

/* NULL in *out where it is 0. One value if they agree: ONNX Runtime's ConvInteger wants no more. */
static cr_status write_zero_point(writer *w, const cr_tensor *t, const cr_qparams *q,
                                  cr_tensor **out, cr_error *err)
{
    const bool one = one_zero_point(q);
    *out = NULL;
    if (one && q->zero_point[0] == 0) return CR_OK;
    const cr_shape shape = {one ? 0 : 1, {one ? 0 : (int64_t)q->count}};
    *out = new_tensor(w->g, t->name, "zero_point", q->type == CR_DT_U8 ? CR_DT_U8 : CR_DT_I8, &shape,
                      true);
    if (!*out) return CR_NOMEM(err);
    for (size_t i = 0; i < (one ? 1 : q->count); i++)
        ((uint8_t *)(*out)->data)[i] = (uint8_t)q->zero_point[i];
    return CR_OK;
}

/* `count` floats that run along the channels of `rank` dimensions behind them. */
static cr_tensor *channel_const(cr_graph *g, const char *stem, const char *suffix, const float *v,
                                int64_t count, int behind)
{
    cr_shape shape = {behind + 1, {count}};
    for (int d = 1; d <= behind; d++) shape.dim[d] = 1;
    if (count == 1) shape = (cr_shape){0};
    cr_tensor *t = new_tensor(g, stem, suffix, CR_DT_F32, &shape, true);
    if (t) memcpy(t->data, v, (size_t)count * sizeof *v);
    return t;
}

/* The node itself becomes the product of integers; what follows it gives its output. */
static cr_status write_node(writer *w, cr_node *n, cr_error *err)
{
    cr_graph *g = w->g;
    const bool conv = n->op->kind == CR_OP_Conv;
    const cr_qparams *q = &w->entries[n->in[1]->id]->q;
    const cr_tensor *bias = n->n_in > 2 ? n->in[2] : NULL;
    const int behind = conv ? n->out[0]->shape.rank - 2 : 0;
    cr_tensor *y = n->out[0], *codes_w, *zero_w;
    codes x;
    CR_TRY(quantize(w, n->in[0], &x, err));
    CR_TRY(write_weight(w, n, q, &codes_w, err));
    CR_TRY(write_zero_point(w, n->in[1], q, &zero_w, err));
    cr_tensor *scales = channel_const(g, n->in[1]->name, "scale", q->scale, (int64_t)q->count, behind);
    cr_tensor *sums = new_tensor(g, y->name, "integer", CR_DT_I32, &y->shape, false);
    cr_tensor *floats = new_tensor(g, y->name, "cast", CR_DT_F32, &y->shape, false);
    cr_tensor *product = scales ? new_tensor(g, y->name, "scale", CR_DT_F32, &scales->shape, false) : NULL;
    cr_tensor *last = bias ? new_tensor(g, y->name, "scaled", CR_DT_F32, &y->shape, false) : y;
    cr_tensor **in = cr_arena_alloc(&g->arena, 4 * sizeof *in);
    if (!product || !sums || !floats || !last || !in) return CR_NOMEM(err);
    in[0] = x.codes;
    in[1] = codes_w;
    in[2] = x.zero;
    in[3] = zero_w;
    n->in = in;
    n->n_in = zero_w ? 4 : 3;
    n->out[0] = sums;
    n->op = cr_op_get(conv ? CR_OP_ConvInteger : CR_OP_MatMulInteger);
    if (!conv) n->n_attrs = 0;
    cr_node *cast = new_node(g, CR_OP_Cast, y->name, "Cast", sums, NULL, floats, 1);
    if (cast) cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_F32));
    if (!cast || !new_node(g, CR_OP_Mul, y->name, "scales_Mul", x.scale, scales, product, 0) ||
        !new_node(g, CR_OP_Mul, y->name, "Mul", floats, product, last, 0))
        return CR_NOMEM(err);
    if (!bias) return CR_OK;
    cr_tensor *b = channel_const(g, bias->name, "by_channel", bias->data,
                                 cr_shape_count(&bias->shape), behind);
    return b && new_node(g, CR_OP_Add, y->name, "Add", last, b, y, 0) ? CR_OK : CR_NOMEM(err);
}

/* Constants that nobody reads any more need no entry. */
static void forget_unread(const cr_graph *g, const cr_recipe_entry **entries, size_t tensors)
{
    for (size_t i = 0; i < tensors; i++) {
        if (!entries[i] || !entries[i]->is_weight) continue;
        bool read = false;
        for (size_t k = 0; k < g->node_count && !read; k++)
            for (int j = 0; j < g->nodes[k]->n_in; j++) read |= g->nodes[k]->in[j] == g->tensors[i];
        if (!read) entries[i] = NULL;
    }
}

cr_status cr_dynamic_write(cr_graph *g, const cr_recipe_entry **dynamic,
                           const cr_recipe_entry **entries, size_t tensors, cr_error *err)
{
    writer w = {g, entries, cr_calloc(tensors + 1, sizeof *w.made),
                cr_calloc(tensors + 1, sizeof *w.weights)};
    const size_t nodes = g->node_count;
    cr_status st = w.made && w.weights ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < nodes; i++) {
        cr_node *n = g->nodes[i];
        if (cr_dynamic_takes(dynamic, entries, n)) st = write_node(&w, n, err);
    }
    if (st == CR_OK) forget_unread(g, entries, tensors);
    cr_free(w.made);
    cr_free(w.weights);
    return st;
}
