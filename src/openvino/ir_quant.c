/* FakeQuantize and compressed weights in ONNX's terms.
 *
 * FakeQuantize(x, il, ih, ol, oh, levels) = round((x - il) / (ih - il) * (levels - 1)) / (levels - 1)
 * * (oh - ol) + ol, with x cut to il..ih. With s = (ih - il) / (levels - 1) and il = (qmin - z) * s it
 * is dequantize(quantize(x)), up to ties, if z is a whole number; NNCF and POT make it one. Where it
 * is not (or levels are of no type that we have), the formula stands in the graph as float operators.
 * 255 levels are codes -127..127: a pair has the code -128 as well, which nothing but a clipped
 * activation reaches. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/recipe.h"
#include "openvino/ir_import.h"

static const double whole = 0.01; /* how far from a whole number a zero point may lie, in steps */

/* ---- parameters ---- */

/* The one axis of `of` along which p, which broadcasts to it, has several values; -1: none. */
static bool single_axis(const cr_tensor *p, const cr_shape *of, int *axis)
{
    const int behind = of->rank - p->shape.rank;
    *axis = -1;
    for (int d = 0; d < p->shape.rank; d++) {
        if (p->shape.dim[d] == 1) continue;
        if (d + behind < 0 || *axis >= 0 || p->shape.dim[d] != of->dim[d + behind]) return false;
        *axis = d + behind;
    }
    return true;
}

static double value_at(const cr_tensor *p, size_t i, double missing)
{
    if (!p) return missing;
    return cr_tensor_get_f64(p, cr_shape_count(&p->shape) == 1 ? 0 : i);
}

static cr_status add_linear(cr_ir_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor *scale,
                            cr_tensor *zero, int axis, int64_t block, cr_tensor **y, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, kind, 3, 1, 2, &n, err));
    n->in[0] = x;
    n->in[1] = scale;
    n->in[2] = zero;
    cr_attr_set_int(&n->attrs[0], "axis", axis < 0 ? 0 : axis);
    cr_attr_set_int(&n->attrs[1], "block_size", block);
    if (!block) n->n_attrs = 1;
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

/* Whole numbers within the type as zero points; false: they are not. */
static bool store_zero(cr_tensor *t, size_t i, double value)
{
    int32_t lo, hi;
    const double z = nearbyint(value);
    if (!(fabs(value - z) <= whole) || !cr_qtype_range(t->dtype, &lo, &hi) || z < lo || z > hi)
        return false;
    if (cr_dtype_size(t->dtype) == 1) ((uint8_t *)t->data)[i] = (uint8_t)(int32_t)z;
    else ((uint16_t *)t->data)[i] = (uint16_t)(int32_t)z;
    return true;
}

/* ---- compressed weights ---- */

typedef struct linear { /* codes and their parameters as DequantizeLinear has them */
    cr_tensor *codes, *scale, *zero;
    int axis; /* -1: one scale */
    int64_t block;
} linear;

/* New constants for `count` scales of that shape: from p, the i-th from the i-th. *ok false: zero
 * points that are none. */
static cr_status make_params(cr_ir_import *m, const cr_ir_packed *p, const cr_shape *shape,
                             linear *out, bool *ok, cr_error *err)
{
    CR_TRY(cr_ir_new_const(m, CR_DT_F32, shape, &out->scale, err));
    CR_TRY(cr_ir_new_const(m, p->codes->dtype, shape, &out->zero, err));
    *ok = true;
    for (int64_t i = 0; i < cr_shape_count(shape); i++) {
        ((float *)out->scale->data)[i] = (float)value_at(p->scale, (size_t)i, 1);
        *ok &= store_zero(out->zero, (size_t)i, value_at(p->zero, (size_t)i, 0));
    }
    return CR_OK;
}

static bool same_values(const cr_tensor *a, const cr_tensor *b)
{
    return cr_shape_count(&a->shape) == 1 || cr_shape_count(&a->shape) == cr_shape_count(&b->shape);
}

/* The parameter with more values; where both have several they lie along the same axes. */
static const cr_tensor *widest(const cr_ir_packed *p)
{
    if (!p->scale || !p->zero) return p->scale ? p->scale : p->zero;
    return cr_shape_count(&p->scale->shape) >= cr_shape_count(&p->zero->shape) ? p->scale : p->zero;
}

/* The axis a whose neighbours [.., B, b, ..] of the codes are given as [.., B * b, ..], with
 * parameters [.., B, 1, ..]: blocks. -1: none. */
static int blocked_axis(const cr_ir_packed *p, const cr_tensor *wide)
{
    const cr_shape *c = &p->codes->shape, *s = &wide->shape, *given = &p->shape;
    if (given->rank < 1 || c->rank != given->rank + 1 || s->rank != c->rank) return -1;
    for (int a = 0; a < given->rank; a++) {
        cr_shape merged = *given, params = *c;
        merged.rank++;
        memmove(&merged.dim[a + 2], &given->dim[a + 1], (size_t)(given->rank - a - 1) * sizeof *c->dim);
        merged.dim[a] = c->dim[a];
        merged.dim[a + 1] = c->dim[a + 1];
        params.dim[a + 1] = 1;
        if (given->dim[a] == c->dim[a] * c->dim[a + 1] && cr_shape_equal(&merged, c) &&
            cr_shape_equal(&params, s))
            return a;
    }
    return -1;
}

/* The codes as a tensor of its own, if their shape changes: others may read them. */
static cr_status reshaped(cr_ir_import *m, cr_tensor *t, const cr_shape *shape, cr_tensor **out,
                          cr_error *err)
{
    *out = t;
    if (shape->rank < 0 || cr_shape_equal(&t->shape, shape)) return CR_OK;
    CR_CHECK(cr_shape_count(shape) == cr_shape_count(&t->shape), err, CR_ERR_FORMAT,
             "weights are given a shape of another size");
    CR_TRY(cr_ir_new_const(m, t->dtype, shape, out, err));
    memcpy((*out)->data, t->data, cr_tensor_bytes(t));
    return CR_OK;
}

static cr_status make_linear(cr_ir_import *m, const cr_ir_packed *p, linear *out, bool *ok,
                             cr_error *err)
{
    const cr_tensor *wide = widest(p);
    *out = (linear){.axis = -1};
    *ok = !(p->scale && p->zero) || same_values(p->zero, wide) || same_values(p->scale, wide);
    cr_shape shape = {0};
    const int blocks = wide ? blocked_axis(p, wide) : -1;
    if (blocks >= 0) {
        shape = p->shape;
        shape.dim[blocks] = wide->shape.dim[blocks];
        out->axis = blocks;
        out->block = p->codes->shape.dim[blocks + 1];
    } else if (wide) {
        *ok &= single_axis(wide, &p->codes->shape, &out->axis);
        /* a reshape behind must leave that axis as it is */
        if (p->shape.rank >= 0 && !cr_shape_equal(&p->shape, &p->codes->shape))
            *ok &= out->axis < 0 || (out->axis == 0 && p->shape.rank > 0 &&
                                     p->shape.dim[0] == p->codes->shape.dim[0]);
        if (*ok && out->axis >= 0) shape = (cr_shape){1, {cr_shape_count(&wide->shape)}};
    }
    if (!*ok) return CR_OK;
    CR_TRY(make_params(m, p, &shape, out, ok, err));
    return *ok ? reshaped(m, p->codes, &p->shape, &out->codes, err) : CR_OK;
}

static cr_status as_float(cr_ir_import *m, cr_tensor *x, cr_tensor **y, cr_error *err)
{
    cr_node *n;
    *y = x;
    if (x->dtype == CR_DT_F32) return CR_OK;
    CR_TRY(cr_ir_node(m, CR_OP_Cast, 1, 1, 1, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(CR_DT_F32));
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

/* What the layers said, node for node. */
static cr_status spell_out(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **y, cr_error *err)
{
    cr_tensor *shape, *zero;
    CR_TRY(as_float(m, p->codes, y, err));
    if (p->zero) CR_TRY(as_float(m, p->zero, &zero, err));
    if (p->zero) CR_TRY(cr_ir_binary(m, CR_OP_Sub, *y, zero, y, err));
    if (p->scale) CR_TRY(cr_ir_binary(m, CR_OP_Mul, *y, p->scale, y, err));
    if (p->shape.rank < 0) return CR_OK;
    CR_TRY(cr_ir_int_list(m, p->shape.dim, (size_t)p->shape.rank, &shape, err));
    return cr_ir_binary(m, CR_OP_Reshape, *y, shape, y, err);
}

cr_status cr_ir_unpack(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out, cr_error *err)
{
    linear q;
    bool ok;
    CR_TRY(make_linear(m, p, &q, &ok, err));
    if (!ok) return spell_out(m, p, out, err);
    return add_linear(m, CR_OP_DequantizeLinear, q.codes, q.scale, q.zero, q.axis, q.block, out, err);
}

/* Parameters of [G, O/G, ...] as [O, 1, ...], if they have no other axis. */
static cr_status merge_param(cr_ir_import *m, const cr_tensor *p, const cr_shape *codes,
                             cr_tensor **out, bool *ok, cr_error *err)
{
    *out = NULL;
    if (!p) return CR_OK;
    const int64_t groups = codes->dim[0], each = codes->dim[1], n = cr_shape_count(&p->shape);
    const int behind = codes->rank - p->shape.rank;
    const int64_t g = behind <= 0 && p->shape.rank > -behind ? p->shape.dim[-behind] : 1;
    const int64_t o = behind <= 1 && p->shape.rank > 1 - behind ? p->shape.dim[1 - behind] : 1;
    *ok &= behind >= 0 && n == g * o && (g == 1 || g == groups) && (o == 1 || o == each);
    if (!*ok) return CR_OK;
    const cr_shape flat = {1, {groups * each}}, one = {0};
    CR_TRY(cr_ir_new_const(m, CR_DT_F32, n == 1 ? &one : &flat, out, err));
    for (int64_t i = 0; i < (n == 1 ? 1 : groups * each); i++)
        ((float *)(*out)->data)[i] = (float)cr_tensor_get_f64(
            p, (size_t)((g == 1 ? 0 : i / each) * o + (o == 1 ? 0 : i % each)));
    return CR_OK;
}

static cr_shape merged_shape(const cr_shape *s)
{
    cr_shape out = {s->rank - 1, {s->dim[0] * s->dim[1]}};
    for (int d = 2; d < s->rank; d++) out.dim[d - 1] = s->dim[d];
    return out;
}

cr_status cr_ir_unpack_groups(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out, cr_error *err)
{
    cr_ir_packed flat = {.shape = cr_shape_unknown()};
    bool ok = true;
    linear q = {.axis = -1};
    const cr_shape *given = p->shape.rank < 0 ? &p->codes->shape : &p->shape;
    const cr_shape merged = merged_shape(given);
    if (p->shape.rank >= 0 && !cr_shape_equal(&p->shape, &p->codes->shape)) ok = false;
    if (ok) CR_TRY(merge_param(m, p->scale, &p->codes->shape, &flat.scale, &ok, err));
    if (ok) CR_TRY(merge_param(m, p->zero, &p->codes->shape, &flat.zero, &ok, err));
    if (ok) {
        CR_TRY(reshaped(m, p->codes, &merged, &flat.codes, err));
        const cr_tensor *wide = widest(&flat);
        const int64_t n = wide ? cr_shape_count(&wide->shape) : 1;
        const cr_shape list = {1, {n}}, one = {0};
        if (n > 1) q.axis = 0;
        CR_TRY(make_params(m, &flat, n > 1 ? &list : &one, &q, &ok, err));
        q.codes = flat.codes;
    }
    if (ok) return add_linear(m, CR_OP_DequantizeLinear, q.codes, q.scale, q.zero, q.axis, 0, out, err);
    cr_tensor *shape;
    CR_TRY(spell_out(m, p, out, err));
    CR_TRY(cr_ir_int_list(m, merged.dim, (size_t)merged.rank, &shape, err));
    return cr_ir_binary(m, CR_OP_Reshape, *out, shape, out, err);
}

/* A constant of rank 2 with its axes exchanged; elements of one byte or four. */
static cr_status turned(cr_ir_import *m, const cr_tensor *t, cr_tensor **out, cr_error *err)
{
    const int64_t rows = t->shape.dim[0], cols = t->shape.dim[1];
    const size_t each = cr_dtype_size(t->dtype);
    const cr_shape shape = {2, {cols, rows}};
    CR_TRY(cr_ir_new_const(m, t->dtype, &shape, out, err));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            memcpy((char *)(*out)->data + (size_t)(c * rows + r) * each,
                   (const char *)t->data + (size_t)(r * cols + c) * each, each);
    return CR_OK;
}

cr_status cr_ir_unpack_turned(cr_ir_import *m, const cr_ir_packed *p, cr_tensor **out, cr_error *err)
{
    linear q;
    bool ok;
    CR_TRY(make_linear(m, p, &q, &ok, err));
    if (ok) {
        CR_TRY(turned(m, q.codes, &q.codes, err));
        if (q.block) {
            CR_TRY(turned(m, q.scale, &q.scale, err));
            CR_TRY(turned(m, q.zero, &q.zero, err));
        }
        return add_linear(m, CR_OP_DequantizeLinear, q.codes, q.scale, q.zero,
                          q.axis < 0 ? -1 : 1 - q.axis, q.block, out, err);
    }
    cr_node *n;
    cr_tensor *x;
    CR_TRY(spell_out(m, p, &x, err));
    CR_TRY(cr_ir_node(m, CR_OP_Transpose, 1, 1, 0, &n, err));
    n->in[0] = x;
    *out = n->out[0];
    return cr_ir_done(m, n, err);
}

/* ---- the layers between codes and weights ---- */

static cr_ir_packed *new_packed(cr_ir_import *m, const cr_ir_packed *from)
{
    cr_ir_packed *p = cr_arena_alloc(&m->g->arena, sizeof *p);
    if (p) *p = *from;
    return p;
}

static cr_status give_packed(cr_ir_import *m, const cr_ir_packed *p, cr_error *err)
{
    CR_CHECK(m->l->out_count == 1, err, CR_ERR_FORMAT, "%zu outputs", m->l->out_count);
    cr_ir_value *v = &m->values[m->l - m->ir->layers][0];
    v->packed = new_packed(m, p);
    return v->packed ? CR_OK : CR_NOMEM(err);
}

static bool is_code_type(cr_dtype t)
{
    return t == CR_DT_I8 || t == CR_DT_U8 || t == CR_DT_I4 || t == CR_DT_U4;
}

static bool is_const_layer(const cr_ir_import *m, size_t k)
{
    return k < m->l->in_count && m->l->from_layer[k] >= 0 &&
           !strcmp(m->ir->layers[m->l->from_layer[k]].type, "Const");
}

/* Convert of integer codes begins packed weights; of weights that are packed it does nothing. */
static cr_status continue_convert(cr_ir_import *m, const cr_ir_value *v, bool *taken, cr_error *err)
{
    if (cr_ir_dtype(cr_ir_attr(m->l, "destination_type")) != CR_DT_F32) return CR_OK;
    if (v->packed) {
        *taken = true;
        return give_packed(m, v->packed, err);
    }
    cr_tensor *t;
    if (!is_const_layer(m, 0)) return CR_OK;
    CR_TRY(cr_ir_in(m, 0, &t, err));
    if (!is_code_type(t->dtype)) return CR_OK;
    *taken = true;
    return give_packed(m, &(cr_ir_packed){.codes = t, .shape = cr_shape_unknown()}, err);
}

/* The float constant at input 1: stored as floats, or codes behind a Convert (zero points). */
static cr_status param_in(cr_ir_import *m, cr_tensor **out, cr_error *err)
{
    const cr_ir_value *v = cr_ir_value_in(m, 1);
    *out = NULL;
    if (!v || (!v->packed && !v->t && !is_const_layer(m, 1))) return CR_OK;
    if (v->packed) {
        if (!v->packed->scale && !v->packed->zero && v->packed->shape.rank < 0) *out = v->packed->codes;
        return CR_OK;
    }
    cr_tensor *t;
    CR_TRY(cr_ir_in(m, 1, &t, err));
    if (t->data && t->dtype == CR_DT_F32) *out = t;
    return CR_OK;
}

static bool broadcasts_to(const cr_tensor *p, const cr_shape *s)
{
    const int behind = s->rank - p->shape.rank;
    for (int d = 0; d < p->shape.rank; d++)
        if (p->shape.dim[d] != 1 && (d + behind < 0 || p->shape.dim[d] != s->dim[d + behind]))
            return false;
    return behind >= 0;
}

static cr_status continue_reshape(cr_ir_import *m, const cr_ir_packed *p, bool *taken, cr_error *err)
{
    cr_ir_packed next = *p;
    int64_t dims[CR_MAX_RANK], known = 1;
    size_t rank;
    int open = -1;
    if (p->shape.rank >= 0) return CR_OK;
    CR_TRY(cr_ir_ints_in(m, 1, dims, CR_MAX_RANK, &rank, err));
    next.shape.rank = (int)rank;
    for (size_t d = 0; d < rank; d++) {
        if (dims[d] == 0 && cr_ir_flag(m, "special_zero", false) && (int)d < p->codes->shape.rank)
            dims[d] = p->codes->shape.dim[d];
        if (dims[d] < -1 || dims[d] == 0 || dims[d] > INT32_MAX || known > INT32_MAX) return CR_OK;
        if (dims[d] == -1) open = (int)d;
        else known *= dims[d];
        next.shape.dim[d] = dims[d];
    }
    const int64_t count = cr_shape_count(&p->codes->shape);
    if (open >= 0) next.shape.dim[open] = count / known;
    if (cr_shape_count(&next.shape) != count) return CR_OK;
    *taken = true;
    return give_packed(m, &next, err);
}

cr_status cr_ir_continue_packed(cr_ir_import *m, bool *taken, cr_error *err)
{
    const cr_ir_value *v = cr_ir_value_in(m, 0);
    *taken = false;
    if (!v) return CR_OK;
    if (!strcmp(m->l->type, "Convert")) return continue_convert(m, v, taken, err);
    if (!v->packed) return CR_OK;
    if (!strcmp(m->l->type, "Reshape")) return continue_reshape(m, v->packed, taken, err);
    cr_ir_packed next = *v->packed;
    const bool subtract = !strcmp(m->l->type, "Subtract"), multiply = !strcmp(m->l->type, "Multiply");
    if ((!subtract && !multiply) || next.scale || next.shape.rank >= 0) return CR_OK;
    if (subtract && next.zero) return CR_OK;
    cr_tensor *param;
    CR_TRY(param_in(m, &param, err));
    if (!param || !broadcasts_to(param, &next.codes->shape)) return CR_OK;
    if (subtract) next.zero = param;
    else next.scale = param;
    *taken = true;
    return give_packed(m, &next, err);
}

/* ---- codes that are passed on ---- */

static bool moves_codes(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Concat:
    case CR_OP_Split:
    case CR_OP_Slice:
    case CR_OP_Reshape:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
    case CR_OP_Transpose:
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
    case CR_OP_MaxPool: return true;
    case CR_OP_Resize: return !strcmp(cr_attr_string(n, "mode", "nearest"), "nearest");
    default: return false;
    }
}

/* The DequantizeLinear with one scale that gives t, an activation. */
static const cr_node *pair_of(const cr_tensor *t)
{
    const cr_node *dq = t ? t->producer : NULL;
    if (!dq || !dq->op || dq->op->kind != CR_OP_DequantizeLinear || dq->in[0]->data) return NULL;
    return cr_shape_count(&dq->in[1]->shape) == 1 ? dq : NULL;
}

static bool same_pair(const cr_node *a, const cr_node *b)
{
    return *(float *)a->in[1]->data == *(float *)b->in[1]->data &&
           a->in[2]->dtype == b->in[2]->dtype &&
           !memcmp(a->in[2]->data, b->in[2]->data, cr_dtype_size(a->in[2]->dtype));
}

cr_status cr_ir_pass_codes(cr_ir_import *m, cr_tensor *t, cr_tensor **out, cr_error *err)
{
    const cr_node *n = t->producer;
    cr_tensor *codes;
    *out = t;
    if (!n || !n->op || !moves_codes(n) || t->dtype != CR_DT_F32) return CR_OK;
    const cr_node *first = pair_of(n->in[0]);
    bool same = first != NULL;
    for (int k = 1; same && n->op->kind == CR_OP_Concat && k < n->n_in; k++)
        same = pair_of(n->in[k]) && same_pair(first, pair_of(n->in[k]));
    if (!same) return CR_OK;
    CR_TRY(add_linear(m, CR_OP_QuantizeLinear, t, first->in[1], first->in[2], -1, 0, &codes, err));
    return add_linear(m, CR_OP_DequantizeLinear, codes, first->in[1], first->in[2], -1, 0, out, err);
}

/* ---- FakeQuantize ---- */

typedef struct fake {
    cr_tensor *x, *low, *high, *out_low, *out_high;
    int64_t levels;
    int axis;      /* -1: one range */
    int64_t count; /* ranges */
} fake;

/* Types with as many codes, or one fewer with a sign: what 0 steps above the first code is. */
typedef struct code_type {
    int64_t levels;
    cr_dtype type;
    int first;
} code_type;

static const code_type code_types[] = {
    {256, CR_DT_U8, 0},      {256, CR_DT_I8, -128},    {255, CR_DT_I8, -127},
    {255, CR_DT_U8, 0},      {65536, CR_DT_U16, 0},    {65536, CR_DT_I16, -32768},
    {65535, CR_DT_I16, -32767}, {16, CR_DT_I4, -8},    {16, CR_DT_U4, 0},
    {15, CR_DT_I4, -7},
};

static double step_of(const cr_tensor *low, const cr_tensor *high, size_t i, int64_t levels)
{
    return (value_at(high, i, 0) - value_at(low, i, 0)) / (double)(levels - 1);
}

/* Scale and zero points of one side of the formula; *ok false: not whole, or no scale. */
static cr_status side_params(cr_ir_import *m, const fake *f, const code_type *type,
                             const cr_tensor *low, const cr_tensor *high, cr_tensor **scale,
                             cr_tensor **zero, bool *ok, cr_error *err)
{
    const cr_shape list = {1, {f->count}}, one = {0};
    CR_TRY(cr_ir_new_const(m, CR_DT_F32, f->axis < 0 ? &one : &list, scale, err));
    CR_TRY(cr_ir_new_const(m, type->type, f->axis < 0 ? &one : &list, zero, err));
    for (int64_t i = 0; i < f->count && *ok; i++) {
        const double step = step_of(low, high, (size_t)i, f->levels);
        const float s = (float)step;
        *ok = s > 0 && isfinite(s) &&
              store_zero(*zero, (size_t)i, type->first - value_at(low, (size_t)i, 0) / step);
        ((float *)(*scale)->data)[i] = s;
    }
    return CR_OK;
}

static bool same_range(const cr_tensor *a, const cr_tensor *b, double span)
{
    const int64_t n = cr_shape_count(&a->shape), k = cr_shape_count(&b->shape);
    for (int64_t i = 0; i < (n > k ? n : k); i++)
        if (fabs(value_at(a, (size_t)i, 0) - value_at(b, (size_t)i, 0)) > 1e-6 * span) return false;
    return true;
}

/* As a pair of that type. */
static cr_status try_pair(cr_ir_import *m, const fake *f, const code_type *type, cr_tensor **y,
                          bool *ok, cr_error *err)
{
    cr_tensor *scale[2], *zero[2], *codes;
    const double span = fabs(value_at(f->high, 0, 0)) + fabs(value_at(f->low, 0, 0));
    const bool same = same_range(f->low, f->out_low, span) && same_range(f->high, f->out_high, span);
    *ok = true;
    CR_TRY(side_params(m, f, type, f->low, f->high, &scale[0], &zero[0], ok, err));
    scale[1] = scale[0];
    zero[1] = zero[0];
    if (!same && *ok)
        CR_TRY(side_params(m, f, type, f->out_low, f->out_high, &scale[1], &zero[1], ok, err));
    if (!*ok) return CR_OK;
    if (memcmp(zero[0]->data, zero[1]->data, cr_tensor_bytes(zero[0]))) {
        *ok = false;
        return CR_OK;
    }
    CR_TRY(add_linear(m, CR_OP_QuantizeLinear, f->x, scale[0], zero[0], f->axis, 0, &codes, err));
    return add_linear(m, CR_OP_DequantizeLinear, codes, scale[1], zero[1], f->axis, 0, y, err);
}

/* The formula itself. */
static cr_status spell_fake(cr_ir_import *m, const fake *f, cr_tensor **y, cr_error *err)
{
    cr_tensor *span, *out_span, *steps;
    CR_TRY(cr_ir_binary(m, CR_OP_Max, f->x, f->low, y, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Min, *y, f->high, y, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Sub, *y, f->low, y, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Sub, f->high, f->low, &span, err));
    CR_TRY(cr_ir_scalar(m, (float)(f->levels - 1), &steps, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Div, span, steps, &span, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Div, *y, span, y, err));
    CR_TRY(cr_ir_unary(m, CR_OP_Round, *y, y, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Sub, f->out_high, f->out_low, &out_span, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Div, out_span, steps, &out_span, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Mul, *y, out_span, y, err));
    return cr_ir_binary(m, CR_OP_Add, *y, f->out_low, y, err);
}

/* All four ranges along one axis. *ok false: along several. */
static void find_axis(fake *f, bool *ok)
{
    const cr_tensor *const all[] = {f->low, f->high, f->out_low, f->out_high};
    f->axis = -1;
    f->count = 1;
    *ok = true;
    for (int i = 0; i < 4; i++) {
        int axis;
        if (all[i]->dtype != CR_DT_F32 || !single_axis(all[i], &f->x->shape, &axis)) *ok = false;
        else if (axis >= 0 && f->axis >= 0 && axis != f->axis) *ok = false;
        else if (axis >= 0) f->axis = axis;
    }
    if (*ok && f->axis >= 0) f->count = f->x->shape.dim[f->axis];
}

cr_status cr_ir_read_fake_quantize(cr_ir_import *m, cr_error *err)
{
    fake f;
    cr_tensor *y = NULL;
    bool pairs, done = false;
    CR_TRY(cr_ir_in(m, 0, &f.x, err));
    CR_TRY(cr_ir_const_in(m, 1, &f.low, err));
    CR_TRY(cr_ir_const_in(m, 2, &f.high, err));
    CR_TRY(cr_ir_const_in(m, 3, &f.out_low, err));
    CR_TRY(cr_ir_const_in(m, 4, &f.out_high, err));
    CR_TRY(cr_ir_int(m, "levels", 0, &f.levels, err));
    CR_CHECK(f.levels >= 2, err, CR_ERR_FORMAT, "%lld levels", (long long)f.levels);
    find_axis(&f, &pairs);
    const bool constant = f.x->data != NULL;
    for (int round = 0; pairs && !done && round < 2; round++)
        for (size_t i = 0; !done && i < sizeof code_types / sizeof *code_types; i++) {
            const code_type *c = &code_types[i];
            const bool bits4 = c->type == CR_DT_I4 || c->type == CR_DT_U4;
            if (c->levels != f.levels || (bits4 && !constant)) continue;
            if (constant && !round && !cr_dtype_is_signed(c->type)) continue; /* signed ones first */
            CR_TRY(try_pair(m, &f, c, &y, &done, err));
        }
    if (!done) CR_TRY(spell_fake(m, &f, &y, err));
    return cr_ir_give(m, 0, y, err);
}
