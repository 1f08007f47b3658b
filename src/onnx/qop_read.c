#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/qlinear.h"
#include "onnx/qop.h"

/* What is known of a tensor of codes. */
typedef struct known {
    cr_tensor *scale, *zero; /* NULL: nothing */
    cr_tensor *floats;       /* the output of a DQ node with these parameters, once there is one */
} known;

typedef struct reader {
    cr_graph *g;
    known *known; /* by tensor id */
    size_t cap;
} reader;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op && n->op->kind == kind;
}

static known *known_of(reader *r, const cr_tensor *t)
{
    const size_t id = (size_t)t->id;
    if (id >= r->cap) {
        const size_t cap = 2 * id + 64;
        known *grown = cr_realloc(r->known, cap * sizeof *grown);
        if (!grown) return NULL;
        memset(grown + r->cap, 0, (cap - r->cap) * sizeof *grown);
        r->known = grown;
        r->cap = cap;
    }
    return &r->known[id];
}

static bool is_one(const cr_tensor *t)
{
    return t && t->data && t->shape.rank <= 1 && cr_shape_count(&t->shape) == 1;
}

static bool same_constant(const cr_tensor *a, const cr_tensor *b)
{
    if (a == b) return true;
    return a && b && a->data && b->data && a->dtype == b->dtype &&
           cr_tensor_bytes(a) == cr_tensor_bytes(b) && !memcmp(a->data, b->data, cr_tensor_bytes(a));
}

/* "conv1_quantized" -> "conv1", where that name is free; else "conv1_float". */
static cr_tensor *float_tensor(reader *r, const cr_tensor *codes, const char *other)
{
    static const char suffix[] = "_quantized";
    const size_t n = strlen(codes->name), s = sizeof suffix - 1;
    const bool has = n > s && !strcmp(codes->name + n - s, suffix);
    char *stem = cr_arena_strndup(&r->g->arena, codes->name, has ? n - s : n);
    if (stem && (!has || cr_graph_find(r->g, stem)))
        stem = cr_arena_printf(&r->g->arena, "%s_%s", stem, other);
    return stem ? cr_graph_new_tensor(r->g, stem, CR_DT_NONE, cr_shape_unknown()) : NULL;
}

static cr_node *add_node(reader *r, cr_op_kind kind, const cr_tensor *near, cr_tensor *const in[3],
                         cr_tensor *y, int axis)
{
    char name[512];
    const char *op = kind == CR_OP_QuantizeLinear ? "QuantizeLinear" : "DequantizeLinear";
    snprintf(name, sizeof name, "%s_%s", near->name, op);
    cr_node *n = cr_graph_add_node(r->g, kind, name, in[2] ? 3 : 2, 1, axis < 0 ? 0 : 1);
    if (!n || !y) return NULL;
    for (int i = 0; i < n->n_in; i++) n->in[i] = in[i];
    n->out[0] = y;
    y->producer = n;
    if (axis >= 0) cr_attr_set_int(&n->attrs[0], "axis", axis);
    return n;
}

/* The codes as floats, by a DQ node that their readers share. */
static cr_tensor *dequantized(reader *r, cr_tensor *codes, cr_tensor *scale, cr_tensor *zero, int axis)
{
    known *k = known_of(r, codes);
    if (!k) return NULL;
    if (k->floats && same_constant(k->scale, scale) && same_constant(k->zero, zero)) return k->floats;
    cr_tensor *const in[] = {codes, scale, zero};
    char name[512];
    snprintf(name, sizeof name, "%s_dequantized", codes->name);
    cr_tensor *y = codes->producer /* then the plain name is that of what was rounded */
                       ? cr_graph_new_tensor(r->g, name, CR_DT_NONE, cr_shape_unknown())
                       : float_tensor(r, codes, "dequantized");
    if (!y || !add_node(r, CR_OP_DequantizeLinear, y, in, y, axis)) return NULL;
    k = known_of(r, codes);
    *k = (known){scale, zero, y};
    return y;
}

/* The node writes floats, a Q node after it the codes. */
static cr_status round_output(reader *r, cr_node *n, int i, cr_tensor *scale, cr_tensor *zero,
                              cr_error *err)
{
    cr_tensor *codes = n->out[i], *y = float_tensor(r, codes, "float");
    cr_tensor *const in[] = {y, scale, zero};
    cr_node *q = y ? add_node(r, CR_OP_QuantizeLinear, y, in, codes, -1) : NULL;
    known *k = q ? known_of(r, codes) : NULL;
    if (!k) return CR_NOMEM(err);
    n->out[i] = y;
    y->producer = n;
    *k = (known){scale, zero, NULL};
    return CR_OK;
}

static cr_status set_inputs(reader *r, cr_node *n, cr_op_kind kind, cr_tensor *const *in, int n_in,
                            cr_error *err)
{
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return CR_NOMEM(err);
    n->op = cr_op_get(kind);
    n->n_in = n_in;
    n->in = cr_arena_alloc(&r->g->arena, (size_t)n_in * sizeof *n->in);
    if (!n->in) return CR_NOMEM(err);
    memcpy(n->in, in, (size_t)n_in * sizeof *n->in);
    return CR_OK;
}

static cr_tensor *input(const cr_node *n, int i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

/* ---- the kinds of nodes ---- */

static void drop_attr(cr_node *n, const char *name)
{
    int kept = 0;
    for (int i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name)) n->attrs[kept++] = n->attrs[i];
    n->n_attrs = kept;
}

/* An operator of ONNX Runtime's domain: every operand behind DQ, the result in front of Q. */
static cr_status read_float_op(reader *r, cr_node *n, const cr_qlinear_form *f, cr_error *err)
{
    const int count = cr_qlinear_operands(f, n);
    cr_tensor *y_scale = input(n, f->y), *y_zero = input(n, f->y + 1);
    if (cr_attr_int(n, "channels_last", 0) || count < 1 || !y_scale || n->n_out != 1 || !n->out[0])
        return CR_OK;
    if (f->plain == CR_OP_Softmax && cr_attr_int(n, "opset", 0) < 13) return CR_OK;
    for (int i = 0; i < count; i++)
        if (!input(n, f->first + 3 * i) || !input(n, f->first + 3 * i + 1)) return CR_OK;
    cr_tensor **in = cr_arena_alloc(&r->g->arena, (size_t)count * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (int i = 0; i < count; i++) {
        const int at = f->first + 3 * i;
        in[i] = dequantized(r, n->in[at], n->in[at + 1], input(n, at + 2), -1);
    }
    CR_TRY(set_inputs(r, n, f->plain, in, count, err));
    drop_attr(n, "channels_last");
    drop_attr(n, "opset");
    return round_output(r, n, 0, y_scale, y_zero, err);
}

/* int32 codes of a bias at scale sa * sw[c], as floats; *out NULL: memory. */
static cr_status read_bias(reader *r, cr_tensor *codes, const cr_tensor *sa, const cr_tensor *sw,
                           cr_tensor **out, cr_error *err)
{
    const int64_t n = cr_shape_count(&sw->shape);
    const cr_shape shape = {n > 1 ? 1 : 0, {n > 1 ? n : 0}};
    char name[512];
    snprintf(name, sizeof name, "%s_scale", codes->name);
    cr_tensor *s = cr_graph_new_const(r->g, name, CR_DT_F32, shape);
    if (!s) return CR_NOMEM(err);
    for (int64_t i = 0; i < n; i++)
        ((float *)s->data)[i] = ((const float *)sa->data)[0] * ((const float *)sw->data)[i];
    *out = dequantized(r, codes, s, NULL, n > 1 ? 0 : -1);
    return *out ? CR_OK : CR_NOMEM(err);
}

static bool is_scale(const cr_tensor *t)
{
    return t && t->data && t->dtype == CR_DT_F32 && t->shape.rank <= 1 &&
           cr_shape_count(&t->shape) > 0;
}

/* The zero point of a list of scales is a list too. */
static cr_tensor *matching_zero(reader *r, const cr_tensor *scale, cr_tensor *zero)
{
    const int64_t n = cr_shape_count(&scale->shape);
    if (!zero || cr_shape_count(&zero->shape) == n) return zero;
    cr_tensor *list = cr_graph_new_const(r->g, zero->name, zero->dtype, scale->shape);
    for (int64_t i = 0; list && i < n; i++) ((uint8_t *)list->data)[i] = *(const uint8_t *)zero->data;
    return list;
}

/* 8-bit codes of weights with constant parameters: one scale, or one per channel. */
static bool is_weight(const cr_tensor *w, const cr_tensor *scale, const cr_tensor *zero)
{
    if (!w->data || (w->dtype != CR_DT_I8 && w->dtype != CR_DT_U8) || !is_scale(scale)) return false;
    const int64_t n = cr_shape_count(&scale->shape), nz = zero ? cr_shape_count(&zero->shape) : 1;
    return !zero || (zero->data && zero->dtype == w->dtype && (nz == 1 || nz == n));
}

static bool is_bias(const cr_tensor *b)
{
    return !b || (b->data && b->dtype == CR_DT_I32);
}

static cr_status read_conv(reader *r, cr_node *n, cr_error *err)
{
    cr_tensor *b = input(n, 8), *in[3];
    if (n->n_in < 8 || !n->in[3] || !is_weight(n->in[3], n->in[4], n->in[5])) return CR_OK;
    if (!n->in[0] || !is_one(n->in[1]) || !n->in[6] || !n->out[0] || !is_bias(b)) return CR_OK;
    if (n->in[1]->dtype != CR_DT_F32) return CR_OK;
    const bool list = cr_shape_count(&n->in[4]->shape) > 1;
    cr_tensor *zero = matching_zero(r, n->in[4], n->in[5]), *y_scale = n->in[6], *y_zero = n->in[7];
    if (n->in[5] && !zero) return CR_NOMEM(err);
    if (b) CR_TRY(read_bias(r, b, n->in[1], n->in[4], &in[2], err));
    in[0] = dequantized(r, n->in[0], n->in[1], n->in[2], -1);
    in[1] = dequantized(r, n->in[3], n->in[4], zero, list ? 0 : -1);
    CR_TRY(set_inputs(r, n, CR_OP_Conv, in, b ? 3 : 2, err));
    return round_output(r, n, 0, y_scale, y_zero, err);
}

static cr_status read_matmul(reader *r, cr_node *n, cr_error *err)
{
    if (n->n_in < 8 || !n->in[0] || !n->in[3] || !n->in[6] || !n->out[0]) return CR_OK;
    if (!is_one(n->in[1]) || !n->in[4] || !is_scale(n->in[4])) return CR_OK;
    const int64_t count = cr_shape_count(&n->in[4]->shape);
    const int rank = n->in[3]->shape.rank;
    if (count > 1 && (!is_weight(n->in[3], n->in[4], n->in[5]) || rank != 2)) return CR_OK;
    cr_tensor *y_scale = n->in[6], *y_zero = n->in[7];
    cr_tensor *zero = count > 1 ? matching_zero(r, n->in[4], n->in[5]) : n->in[5];
    if (n->in[5] && !zero) return CR_NOMEM(err);
    cr_tensor *const in[] = {dequantized(r, n->in[0], n->in[1], n->in[2], -1),
                             dequantized(r, n->in[3], n->in[4], zero, count > 1 ? 1 : -1)};
    CR_TRY(set_inputs(r, n, CR_OP_MatMul, in, 2, err));
    return round_output(r, n, 0, y_scale, y_zero, err);
}

static bool moves_codes(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_MaxPool: return n->n_out < 2 || !n->out[1];
    case CR_OP_Resize: return !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
    case CR_OP_Concat:
    case CR_OP_Split:
    case CR_OP_Slice:
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Transpose:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
    case CR_OP_Gather:
    case CR_OP_Expand:
    case CR_OP_Tile:
    case CR_OP_Identity: return true;
    default: return false;
    }
}

/* An operator on codes whose parameters are known: between pairs, as in a QDQ file. */
static cr_status read_move(reader *r, cr_node *n, cr_error *err)
{
    const int inputs = is_op(n, CR_OP_Concat) ? n->n_in : 1;
    known first = {0};
    for (int i = 0; i < inputs; i++) {
        const known *k = n->n_in && n->in[i] ? known_of(r, n->in[i]) : NULL;
        if (!k || !k->scale || !is_one(k->scale)) return CR_OK;
        if (i == 0) first = *k;
        if (!same_constant(first.scale, k->scale) || !same_constant(first.zero, k->zero)) return CR_OK;
    }
    for (int i = 0; i < inputs; i++) {
        n->in[i] = dequantized(r, n->in[i], first.scale, first.zero, -1);
        if (!n->in[i]) return CR_NOMEM(err);
    }
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k]) CR_TRY(round_output(r, n, k, first.scale, first.zero, err));
    return CR_OK;
}

static cr_status note_codes(reader *r, const cr_node *n, cr_error *err)
{
    if (!n->out[0] || n->n_in < 2 || !is_one(n->in[1])) return CR_OK;
    known *k = known_of(r, n->out[0]);
    if (!k) return CR_NOMEM(err);
    *k = (known){n->in[1], input(n, 2), NULL};
    return CR_OK;
}

static cr_status read_node(reader *r, cr_node *n, cr_error *err)
{
    const cr_qlinear_form *f = cr_qlinear_form_of(n->op->kind);
    if (f) return read_float_op(r, n, f, err);
    switch (n->op->kind) {
    case CR_OP_QuantizeLinear: return note_codes(r, n, err);
    case CR_OP_QLinearConv: return read_conv(r, n, err);
    case CR_OP_QLinearMatMul: return read_matmul(r, n, err);
    default: return moves_codes(n) ? read_move(r, n, err) : CR_OK;
    }
}

/* Every chain of codes begins at one of these. */
static bool has_codes(const cr_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->op->flags & CR_OPF_QUANT) return true;
    return false;
}

cr_status cr_qop_read(cr_graph *g, cr_error *err)
{
    reader r = {.g = g};
    if (!has_codes(g)) return CR_OK;
    cr_status st = CR_OK;
    const size_t nodes = g->node_count;
    for (size_t i = 0; i < nodes && st == CR_OK; i++)
        st = read_node(&r, g->nodes[i], err);
    cr_free(r.known);
    return st == CR_OK ? cr_graph_index(g, err) : st;
}
