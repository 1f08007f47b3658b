#include "coreml/mil_graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_RANK = 5 }; /* of a Core ML tensor */

cr_status cr_coreml_refuse(const cr_node *n, const char *why, cr_error *err)
{
    return cr_fail(err, CR_ERR_UNSUPPORTED, "node '%s': Core ML has no form of %s %s", n->name,
                   n->op->name, why);
}

/* ---- types and names ---- */

cr_mil_type cr_coreml_type(cr_dtype dtype, cr_mil_type floats)
{
    if (cr_dtype_is_float(dtype)) return floats;
    return dtype == CR_DT_BOOL ? CR_MIL_BOOL : CR_MIL_I32;
}

static int form_of(cr_mil_type t)
{
    switch (t) {
    case CR_MIL_F16:
        return CR_COREML_HALF;
    case CR_MIL_F32:
        return CR_COREML_FLOAT;
    case CR_MIL_BOOL:
        return CR_COREML_BOOL;
    case CR_MIL_I8:
    case CR_MIL_U8:
        return CR_COREML_CODES;
    default:
        return CR_COREML_INT;
    }
}

/* Would a constant of this node become infinite in float16? */
static bool overflows(const cr_node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        const cr_tensor *t = n->in[k];
        if (!t || !t->data || t->dtype != CR_DT_F32) continue;
        const int64_t count = cr_shape_count(&t->shape);
        for (int64_t i = 0; i < count; i++) {
            const float v = ((const float *)t->data)[i];
            if (isfinite(v) && isinf(cr_f16_to_f32(cr_f32_to_f16(v)))) return true;
        }
    }
    return false;
}

cr_mil_type cr_coreml_floats(const cr_coreml_writer *w, const cr_node *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] && n->out[k]->dtype == CR_DT_F16) return CR_MIL_F16;
    if (!w->o->float32 || w->o->float32[n->index] || overflows(n)) return CR_MIL_F32;
    return CR_MIL_F16;
}

static const char *new_name(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type,
                            cr_mil_type feature_type)
{
    cr_coreml_value *v = &w->values[t->id];
    if (v->feature && type == feature_type && t->producer) return v->feature;
    if (!v->native && !v->feature) return cr_mil_identifier(&w->mil, t->name);
    char stem[512];
    snprintf(stem, sizeof stem, "%s_%s", t->name, cr_mil_type_name(type));
    return cr_mil_identifier(&w->mil, stem);
}

/* Outputs leave a program as float32 or int32. */
static cr_mil_type output_type(const cr_tensor *t)
{
    return cr_dtype_is_float(t->dtype) ? CR_MIL_F32 : CR_MIL_I32;
}

static const char *define(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type)
{
    cr_coreml_value *v = &w->values[t->id];
    const char *name = new_name(w, t, type, output_type(t));
    v->name[form_of(type)] = name;
    if (!v->native) v->native = type;
    return name;
}

/* ---- values on demand ---- */

static bool is_constant_node(const cr_node *n, cr_op_kind kind)
{
    return n && n->op->kind == kind && n->in[0] && n->in[0]->data;
}

static const char *cast(cr_coreml_writer *w, const char *from, const char *name, cr_mil_type type,
                        const cr_shape *shape)
{
    const char *to = cr_mil_string(&w->mil, cr_mil_type_name(type));
    cr_mil_op *op = cr_mil_begin(&w->mil, "cast", name, 2, 1);
    cr_mil_arg(&w->mil, op, "x", from);
    cr_mil_arg(&w->mil, op, "dtype", to);
    cr_mil_out(&w->mil, op, name, type, shape);
    return name;
}

/* Scale, zero point and axis of a (De)QuantizeLinear in MIL's form; scale in the float type. */
static void quantize_args(cr_coreml_writer *w, cr_mil_op *op, const cr_node *n, cr_mil_type floats,
                          cr_mil_type codes)
{
    cr_mil *m = &w->mil;
    const cr_tensor *scale = n->in[1], *zero = n->n_in > 2 ? n->in[2] : NULL;
    char stem[512];
    snprintf(stem, sizeof stem, "%s_%s", scale->name, cr_mil_type_name(floats));
    const char *scale_name = cr_mil_identifier(m, stem);
    cr_coreml_constant(w, scale, floats, scale_name);
    cr_mil_arg(m, op, "scale", scale_name);
    if (scale->shape.rank) cr_mil_arg(m, op, "axis", cr_mil_int(m, cr_attr_int(n, "axis", 1)));
    if (!zero) return;
    const char *zero_name = cr_mil_identifier(m, zero->name);
    cr_mil_const(m, zero_name, codes, &zero->shape, zero->data);
    cr_mil_arg(m, op, "zero_point", zero_name);
}

/* The operands of an operation come before it: it moves behind what was written for it. */
static void move_last(cr_mil *m, size_t at)
{
    if (at >= m->op_count) return;
    cr_mil_op *op = m->ops[at];
    memmove(m->ops + at, m->ops + at + 1, (m->op_count - at - 1) * sizeof *m->ops);
    m->ops[m->op_count - 1] = op;
}

static cr_mil_type code_type(const cr_tensor *codes)
{
    return codes->dtype == CR_DT_I8 ? CR_MIL_I8 : CR_MIL_U8;
}

static void dequantize(cr_coreml_writer *w, const cr_node *n, cr_mil_type type, const char *name)
{
    const size_t at = w->mil.op_count;
    cr_mil_op *op = cr_mil_begin(&w->mil, "dequantize", name, 4, 1);
    cr_mil_arg(&w->mil, op, "input", w->values[n->in[0]->id].name[CR_COREML_CODES]);
    quantize_args(w, op, n, type, code_type(n->in[0]));
    cr_mil_out(&w->mil, op, name, type, &n->out[0]->shape);
    move_last(&w->mil, at);
}

static void make(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type, const char *name)
{
    const cr_node *p = t->producer;
    const cr_coreml_value *v = &w->values[t->id];
    if (t->data)
        cr_coreml_constant(w, t, type, name);
    else if (is_constant_node(p, CR_OP_Cast))
        cr_coreml_constant(w, p->in[0], type, name);
    else if (is_constant_node(p, CR_OP_DequantizeLinear))
        cr_coreml_dequantized(w, p, type, name);
    else if (p && p->op->kind == CR_OP_DequantizeLinear)
        dequantize(w, p, type, name);
    else
        cast(w, v->native ? v->name[form_of(v->native)] : NULL, name, type, &t->shape);
}

static const char *want_type(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type type)
{
    cr_coreml_value *v = &w->values[t->id];
    const char **name = &v->name[form_of(type)];
    if (*name) return *name;
    const bool first = !v->native;
    const char *made = new_name(w, t, type, output_type(t));
    make(w, t, type, made);
    *name = made;
    if (first) v->native = type;
    return *name;
}

const char *cr_coreml_want(cr_coreml_writer *w, const cr_tensor *t, cr_mil_type floats)
{
    return want_type(w, t, cr_coreml_type(t->dtype, floats));
}

/* ---- for the writers of operators ---- */

const char *cr_coreml_in(cr_coreml_writer *w, const cr_node *n, int k)
{
    return cr_coreml_want(w, n->in[k], cr_coreml_floats(w, n));
}

static cr_mil_type result_type(const cr_coreml_writer *w, const cr_node *n, int k)
{
    return cr_coreml_type(n->out[k]->dtype, cr_coreml_floats(w, n));
}

const char *cr_coreml_output_name(cr_coreml_writer *w, const cr_node *n, int k)
{
    const cr_mil_type type = result_type(w, n, k);
    const cr_coreml_value *v = &w->values[n->out[k]->id];
    return v->name[form_of(type)] ? v->name[form_of(type)] : define(w, n->out[k], type);
}

void cr_coreml_result(cr_coreml_writer *w, cr_mil_op *op, const cr_node *n, int k)
{
    cr_mil_out(&w->mil, op, cr_coreml_output_name(w, n, k), result_type(w, n, k),
               &n->out[k]->shape);
}

static cr_mil_op *with_args(cr_coreml_writer *w, const char *type, const char *name,
                            const cr_mil_pair *args, size_t count)
{
    cr_mil_op *op = cr_mil_begin(&w->mil, type, name, count, 1);
    for (size_t i = 0; i < count; i++)
        if (args[i].key) cr_mil_arg(&w->mil, op, args[i].key, args[i].value);
    return op;
}

void cr_coreml_emit(cr_coreml_writer *w, const cr_node *n, int k, const char *type,
                    const cr_mil_pair *args, size_t count)
{
    cr_mil_op *op = with_args(w, type, cr_coreml_output_name(w, n, k), args, count);
    cr_coreml_result(w, op, n, k);
}

const char *cr_coreml_step(cr_coreml_writer *w, const cr_node *n, const char *type,
                           const cr_shape *shape, const cr_mil_pair *args, size_t count)
{
    char stem[512];
    snprintf(stem, sizeof stem, "%s_%s", n->out[0]->name, type);
    const char *name = cr_mil_identifier(&w->mil, stem);
    cr_mil_op *op = with_args(w, type, name, args, count);
    cr_mil_out(&w->mil, op, name, result_type(w, n, 0), shape);
    return name;
}

const char *cr_coreml_number(cr_coreml_writer *w, const cr_node *n, float v)
{
    const cr_mil_type t = result_type(w, n, 0);
    return t == CR_MIL_I32 ? cr_mil_int(&w->mil, (int64_t)v) : cr_mil_float(&w->mil, t, v);
}

/* ---- the graph ---- */

static bool byte_codes(const cr_tensor *t)
{
    return t->dtype == CR_DT_I8 || t->dtype == CR_DT_U8;
}

static cr_status quantize(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0], *codes = n->out[0];
    const cr_coreml_value *v = &w->values[x->id];
    const cr_mil_type from =
        v->native == CR_MIL_F16 || v->native == CR_MIL_F32 ? v->native : cr_coreml_floats(w, n);
    const char *input = cr_coreml_want(w, x, from);
    const size_t at = w->mil.op_count;
    const char *name = define(w, codes, code_type(codes));
    cr_mil_op *op = cr_mil_begin(&w->mil, "quantize", name, 5, 1);
    cr_mil_arg(&w->mil, op, "input", input);
    cr_mil_arg(&w->mil, op, "output_dtype",
               cr_mil_string(&w->mil, cr_mil_type_name(code_type(codes))));
    quantize_args(w, op, n, from, code_type(codes));
    cr_mil_out(&w->mil, op, name, code_type(codes), &codes->shape);
    move_last(&w->mil, at);
    (void)err;
    return CR_OK;
}

static cr_status write_node(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_kind kind = n->op->kind;
    if (kind == CR_OP_QuantizeLinear) return quantize(w, n, err);
    if (kind == CR_OP_DequantizeLinear || is_constant_node(n, CR_OP_Cast)) return CR_OK;
    cr_coreml_writer_of f = cr_coreml_elementwise(kind);
    if (!f) f = cr_coreml_move(kind);
    if (!f) f = cr_coreml_layer(kind);
    if (!f && kind == CR_OP_DynamicQuantizeLinear)
        return cr_coreml_refuse(n, "(ranges that each run finds): use --mode weights or static",
                                err);
    if (!f) return cr_coreml_refuse(n, "", err);
    return f(w, n, err);
}

static cr_status check_tensor(const cr_node *n, const cr_tensor *t, cr_error *err)
{
    CR_CHECK(cr_shape_known(&t->shape), err, CR_ERR_UNSUPPORTED,
             "node '%s': the shape of '%s' is not known, Core ML packages need fixed ones", n->name,
             t->name);
    CR_CHECK(t->shape.rank <= MAX_RANK, err, CR_ERR_UNSUPPORTED,
             "node '%s': '%s' has %d dimensions, Core ML's tensors have up to %d", n->name, t->name,
             t->shape.rank, MAX_RANK);
    CR_CHECK(t->dtype != CR_DT_BF16 && t->dtype != CR_DT_F64, err, CR_ERR_UNSUPPORTED,
             "node '%s': '%s' is %s, Core ML computes in float16 and float32", n->name, t->name,
             cr_dtype_key(t->dtype));
    return CR_OK;
}

static cr_status check_node(const cr_node *n, cr_error *err)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k]) CR_TRY(check_tensor(n, n->out[k], err));
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k]) CR_TRY(check_tensor(n, n->in[k], err));
    return CR_OK;
}

/* A graph output that no operation makes (an input or a constant) is copied. */
static const char *output_value(cr_coreml_writer *w, const cr_tensor *t)
{
    const cr_mil_type type = output_type(t);
    const char *feature = w->values[t->id].feature;
    const char *value = want_type(w, t, type);
    if (value && feature && !strcmp(value, feature) && t->producer) return value;
    char stem[512];
    snprintf(stem, sizeof stem, "%s_copy", t->name);
    const char *name = t->producer ? feature : cr_mil_identifier(&w->mil, stem);
    cr_mil_op *op = cr_mil_begin(&w->mil, "identity", name, 1, 1);
    cr_mil_arg(&w->mil, op, "x", value);
    cr_mil_out(&w->mil, op, name, type, &t->shape);
    return name;
}

cr_status cr_coreml_write_nodes(cr_coreml_writer *w, const char ***outputs, cr_error *err)
{
    const cr_graph *g = w->g;
    for (size_t i = 0; i < g->node_count; i++) {
        CR_TRY(check_node(g->nodes[i], err));
        CR_TRY(write_node(w, g->nodes[i], err));
    }
    *outputs = cr_arena_alloc(&w->mil.arena, (g->output_count + 1) * sizeof **outputs);
    for (size_t i = 0; *outputs && i < g->output_count; i++)
        (*outputs)[i] = output_value(w, g->outputs[i]);
    return *outputs && !w->mil.no_memory ? CR_OK : CR_NOMEM(err);
}

/* ---- which systems ---- */

static cr_status node_level(const cr_coreml_writer *w, const cr_node *n, int *level, cr_error *err)
{
    *level = cr_coreml_floats(w, n) == CR_MIL_F16 || is_constant_node(n, CR_OP_Cast) ? 6 : 5;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] && cr_coreml_has_palette(w, n->in[k]) && *level < 8)
            *level = cr_coreml_scales_of(w, n->in[k]) ? 8 : 6;
    const bool quantizes = n->op->kind == CR_OP_QuantizeLinear;
    if (!quantizes && n->op->kind != CR_OP_DequantizeLinear) return CR_OK;
    if (!quantizes && n->in[0]->data) {
        *level = cr_coreml_weight_level(n);
        CR_CHECK(*level, err, CR_ERR_UNSUPPORTED,
                 "weight '%s': Core ML stores no %s (8, 4 and 2 bits it does)", n->out[0]->name,
                 cr_dtype_key(n->in[0]->dtype));
        return CR_OK;
    }
    const cr_tensor *codes = quantizes ? n->out[0] : n->in[0];
    CR_CHECK(byte_codes(codes), err, CR_ERR_UNSUPPORTED,
             "tensor '%s': Core ML has activations of 8 bits, not %s", n->out[0]->name,
             cr_dtype_key(codes->dtype));
    *level = 7;
    return CR_OK;
}

cr_status cr_coreml_find_level(cr_coreml_writer *w, cr_error *err)
{
    w->level = 5;
    for (size_t i = 0; i < w->g->node_count; i++) {
        int level;
        CR_TRY(node_level(w, w->g->nodes[i], &level, err));
        if (level > w->level) w->level = level;
    }
    return CR_OK;
}
