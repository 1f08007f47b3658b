/* New operator forms to older ones, the mirror image of upgrade.c: three tables.
 *
 *   born[]   operators that a lower opset does not have at all
 *   added[]  attributes that came later: left out where they say the default, refused otherwise
 *   rules[]  operators whose form changed or that have an equivalent in simpler ones
 *
 * What an opset cannot say is refused with the operator's name and the opset that could. */
#include "onnx/lower.h"

#include <string.h>

#include "base/error.h"
#include "onnx/onnx.h"
#include "onnx/onnx_tensor.h"

static const struct {
    cr_op_kind op;
    int since;
} born[] = {
    {CR_OP_GridSample, 16},
    {CR_OP_GroupNormalization, 21},
    {CR_OP_LayerNormalization, 17},
    {CR_OP_Trilu, 14},
};

/* `text` is the default of a string attribute, otherwise `value` of an int or of every list entry.
 */
static const struct {
    cr_op_kind op;
    const char *attr;
    int since;
    int64_t value;
    const char *text;
} added[] = {
    {CR_OP_AveragePool, "dilations", 19, 1, NULL},
    {CR_OP_Cast, "round_mode", 24, 0, "up"},
    {CR_OP_Cast, "saturate", 19, 1, NULL},
    {CR_OP_CastLike, "round_mode", 24, 0, "up"},
    {CR_OP_CastLike, "saturate", 19, 1, NULL},
    {CR_OP_DequantizeLinear, "block_size", 21, 0, NULL},
    {CR_OP_DequantizeLinear, "output_dtype", 23, 0, NULL},
    {CR_OP_LpPool, "ceil_mode", 18, 0, NULL},
    {CR_OP_LpPool, "dilations", 18, 1, NULL},
    {CR_OP_QuantizeLinear, "block_size", 21, 0, NULL},
    {CR_OP_QuantizeLinear, "output_dtype", 21, 0, NULL},
    {CR_OP_QuantizeLinear, "precision", 23, 0, NULL},
    {CR_OP_QuantizeLinear, "saturate", 19, 1, NULL},
    {CR_OP_Range, "stash_type", 27, 1, NULL},
    {CR_OP_Reshape, "allowzero", 14, 0, NULL},
    {CR_OP_Resize, "antialias", 18, 0, NULL},
    {CR_OP_Resize, "axes", 18, -1, NULL},
    {CR_OP_Resize, "keep_aspect_ratio_policy", 18, 0, "stretch"},
    {CR_OP_ScatterElements, "reduction", 16, 0, "none"},
    {CR_OP_ScatterND, "reduction", 16, 0, "none"},
    {CR_OP_Shape, "end", 15, INT64_MIN, NULL},
    {CR_OP_Shape, "start", 15, 0, NULL},
    {CR_OP_SpaceToDepth, "mode", 28, 0, "DCR"},
};

/* Values of string attributes that came later than the attribute. */
static const struct {
    cr_op_kind op;
    const char *attr, *text;
    int since;
} added_values[] = {
    {CR_OP_Pad, "mode", "wrap", 19},
    {CR_OP_Resize, "coordinate_transformation_mode", "half_pixel_symmetric", 19},
    {CR_OP_ScatterElements, "reduction", "max", 18},
    {CR_OP_ScatterElements, "reduction", "min", 18},
    {CR_OP_ScatterND, "reduction", "max", 18},
    {CR_OP_ScatterND, "reduction", "min", 18},
};

static cr_status too_new(const cr_onnx_out *o, const cr_node *n, const char *what, int since,
                         cr_error *err)
{
    return cr_fail(err, CR_ERR_UNSUPPORTED, "node '%s': %s%s%s needs opset %d (asked for %d)",
                   n->name, n->op->name, *what ? " with " : "", what, since, o->opset);
}

/* ---- copying a node ---- */

static bool put_int(cr_onnx_out *o, CrOnnx__NodeProto *p, const char *name, int64_t value)
{
    CrOnnx__AttributeProto *a = cr_onnx_new_attr(o, p, name, CR_ONNX_ATTR_INT);
    if (!a) return false;
    a->has_i = true;
    a->i = value;
    return true;
}

static bool put_float(cr_onnx_out *o, CrOnnx__NodeProto *p, const char *name, float value)
{
    CrOnnx__AttributeProto *a = cr_onnx_new_attr(o, p, name, CR_ONNX_ATTR_FLOAT);
    if (!a) return false;
    a->has_f = true;
    a->f = value;
    return true;
}

static bool put_string(cr_onnx_out *o, CrOnnx__NodeProto *p, const char *name, const char *s,
                       size_t length)
{
    CrOnnx__AttributeProto *a = cr_onnx_new_attr(o, p, name, CR_ONNX_ATTR_STRING);
    if (!a) return false;
    a->has_s = true;
    a->s = (ProtobufCBinaryData){length, (uint8_t *)s};
    return true;
}

static bool put_ints(cr_onnx_out *o, CrOnnx__NodeProto *p, const char *name, int64_t *v, size_t n)
{
    CrOnnx__AttributeProto *a = cr_onnx_new_attr(o, p, name, CR_ONNX_ATTR_INTS);
    if (!a) return false;
    a->n_ints = n;
    a->ints = v;
    return true;
}

static bool put_strings(cr_onnx_out *o, CrOnnx__NodeProto *p, const cr_attr *from)
{
    CrOnnx__AttributeProto *a = cr_onnx_new_attr(o, p, from->name, CR_ONNX_ATTR_STRINGS);
    if (!a) return false;
    a->n_strings = from->count;
    a->strings = cr_arena_alloc(&o->arena, from->count * sizeof *a->strings);
    for (size_t i = 0; a->strings && i < from->count; i++)
        a->strings[i] =
            (ProtobufCBinaryData){strlen(from->strings[i]), (uint8_t *)from->strings[i]};
    return a->strings != NULL;
}

static bool copy_attr(cr_onnx_out *o, CrOnnx__NodeProto *p, const cr_attr *a)
{
    CrOnnx__AttributeProto *list;
    switch (a->type) {
    case CR_ATTR_INT:
        return put_int(o, p, a->name, a->i);
    case CR_ATTR_FLOAT:
        return put_float(o, p, a->name, a->f);
    case CR_ATTR_STRING:
        return put_string(o, p, a->name, a->s, a->count);
    case CR_ATTR_INTS:
        return put_ints(o, p, a->name, a->ints, a->count);
    case CR_ATTR_STRINGS:
        return put_strings(o, p, a);
    case CR_ATTR_FLOATS:
        list = cr_onnx_new_attr(o, p, a->name, CR_ONNX_ATTR_FLOATS);
        if (!list) return false;
        list->n_floats = a->count;
        list->floats = a->floats;
        return true;
    case CR_ATTR_TENSOR:
        list = cr_onnx_new_attr(o, p, a->name, CR_ONNX_ATTR_TENSOR);
        return list && (list->t = cr_onnx_tensor_proto(o, a->tensor, a->tensor->name));
    }
    return false;
}

static bool says_default(const cr_attr *a, int64_t value, const char *text)
{
    if (a->type == CR_ATTR_STRING) return text && !strcmp(a->s, text);
    if (a->type == CR_ATTR_INT) return a->i == value;
    if (a->type != CR_ATTR_INTS) return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->ints[i] != value) return false;
    return true;
}

/* allowzero=1 says nothing where no size is 0. */
static bool is_idle_allowzero(const cr_node *n, const cr_attr *a)
{
    const cr_tensor *y = n->out[0];
    return n->op->kind == CR_OP_Reshape && !strcmp(a->name, "allowzero") && y &&
           cr_shape_count(&y->shape) > 0;
}

/* *keep: whether the attribute is written at this opset. */
static cr_status check_attr(const cr_onnx_out *o, const cr_node *n, const cr_attr *a, bool *keep,
                            cr_error *err)
{
    *keep = true;
    for (size_t i = 0; i < sizeof added_values / sizeof *added_values; i++)
        if (n->op->kind == added_values[i].op && o->opset < added_values[i].since &&
            a->type == CR_ATTR_STRING && !strcmp(a->name, added_values[i].attr) &&
            !strcmp(a->s, added_values[i].text))
            return too_new(o, n, a->s, added_values[i].since, err);
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        if (n->op->kind != added[i].op || o->opset >= added[i].since ||
            strcmp(a->name, added[i].attr))
            continue;
        *keep = false;
        if (!says_default(a, added[i].value, added[i].text) && !is_idle_allowzero(n, a))
            return too_new(o, n, a->name, added[i].since, err);
    }
    return CR_OK;
}

static const char *name_of(const cr_tensor *t)
{
    return t ? t->name : "";
}

/* The node as it is, less attributes that the opset does not know; spare room for two more. */
static cr_status copy_node(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto **out, cr_error *err)
{
    CrOnnx__NodeProto *p = cr_onnx_new_node(o, n->op->name, n->name, (size_t)n->n_in,
                                            (size_t)n->n_out, (size_t)n->n_attrs + 2);
    if (!p) return CR_NOMEM(err);
    if (n->op->domain[0]) p->domain = (char *)n->op->domain;
    for (int i = 0; i < n->n_in; i++) p->input[i] = (char *)name_of(n->in[i]);
    for (int i = 0; i < n->n_out; i++) p->output[i] = (char *)name_of(n->out[i]);
    for (int i = 0; i < n->n_attrs; i++) {
        bool keep;
        CR_TRY(check_attr(o, n, &n->attrs[i], &keep, err));
        if (keep && !copy_attr(o, p, &n->attrs[i])) return CR_NOMEM(err);
    }
    *out = p;
    return CR_OK;
}

static void remove_attr(CrOnnx__NodeProto *p, const char *name)
{
    for (size_t i = 0; i < p->n_attribute; i++) {
        if (strcmp(p->attribute[i]->name, name)) continue;
        memmove(p->attribute + i, p->attribute + i + 1,
                (p->n_attribute - i - 1) * sizeof *p->attribute);
        p->n_attribute--;
        return;
    }
}

static cr_status push(cr_onnx_out *o, CrOnnx__NodeProto *p, cr_error *err)
{
    return cr_onnx_push_node(o, p) ? CR_OK : CR_NOMEM(err);
}

/* ---- new tensors ---- */

static const char *new_name(cr_onnx_out *o, const cr_node *n, const char *suffix)
{
    const char *name = cr_arena_printf(&o->arena, "%s_%s", n->name, suffix);
    for (size_t i = 2; name && cr_names_get(&o->names, name); i++)
        name = cr_arena_printf(&o->arena, "%s_%s_%zu", n->name, suffix, i);
    return name && cr_names_put(&o->names, name, &cr_onnx_new_name) ? name : NULL;
}

static const char *add_const(cr_onnx_out *o, const cr_node *n, const char *suffix, cr_dtype dtype,
                             cr_shape shape, const void *values)
{
    const char *name = new_name(o, n, suffix);
    cr_tensor t = {.name = name, .dtype = dtype, .shape = shape};
    const size_t bytes = cr_tensor_bytes(&t);
    t.data = cr_arena_alloc(&o->arena, bytes);
    if (!name || !t.data) return NULL;
    if (bytes) memcpy(t.data, values, bytes);
    CrOnnx__TensorProto *p = cr_onnx_tensor_proto(o, &t, name);
    if (!p || !cr_grow((void **)&o->inits, &o->cap_inits, o->n_inits, sizeof *o->inits))
        return NULL;
    o->inits[o->n_inits++] = p;
    return name;
}

static const char *add_number(cr_onnx_out *o, const cr_node *n, const char *suffix, double value)
{
    const cr_dtype known = n->in[0]->dtype, dtype = cr_dtype_is_float(known) ? known : CR_DT_F32;
    const float f = (float)value;
    const uint16_t half = dtype == CR_DT_BF16 ? cr_f32_to_bf16(f) : cr_f32_to_f16(f);
    const void *bytes = dtype == CR_DT_F64   ? (const void *)&value
                        : dtype == CR_DT_F32 ? (const void *)&f
                                             : (const void *)&half;
    return add_const(o, n, suffix, dtype, (cr_shape){0, {0}}, bytes);
}

/* A new elementwise node of one or two inputs that keeps the shape of n's input. Writes n's output
 * when `suffix` is NULL. Returns the output's name; NULL: no memory (or an operand was NULL). */
static const char *step(cr_onnx_out *o, const cr_node *n, const char *op, const char *suffix,
                        const char *a, const char *b)
{
    const char *out = suffix ? new_name(o, n, suffix) : n->out[0]->name;
    const char *node = suffix ? out : n->name;
    const bool needs_b = !strcmp(op, "Mul") || !strcmp(op, "Add");
    if (needs_b && !b) return NULL;
    CrOnnx__NodeProto *p = a && out ? cr_onnx_new_node(o, op, node, b ? 2 : 1, 1, 2) : NULL;
    if (!p) return NULL;
    p->input[0] = (char *)a;
    if (b) p->input[1] = (char *)b;
    p->output[0] = (char *)out;
    if (!strcmp(op, "HardSigmoid") &&
        !(put_float(o, p, "alpha", 1.0f / 6) && put_float(o, p, "beta", 0.5f)))
        return NULL;
    if (suffix && !cr_onnx_push_info(o, out, n->in[0]->dtype, &n->in[0]->shape)) return NULL;
    return cr_onnx_push_node(o, p) ? out : NULL;
}

/* ---- rules ---- */

static cr_status lower_swish(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const float alpha = cr_attr_float(n, "alpha", 1);
    const char *x = n->in[0]->name, *arg = x;
    if (alpha != 1) {
        const char *number = add_number(o, n, "alpha", alpha);
        arg = number ? step(o, n, "Mul", "scaled", x, number) : NULL;
    }
    const char *gate = step(o, n, "Sigmoid", "sigmoid", arg, NULL);
    return gate && step(o, n, "Mul", NULL, x, gate) ? CR_OK : CR_NOMEM(err);
}

static cr_status lower_hard_swish(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p,
                                  cr_error *err)
{
    const char *x = n->in[0]->name, *gate = step(o, n, "HardSigmoid", "hardsigmoid", x, NULL);
    return gate && step(o, n, "Mul", NULL, x, gate) ? CR_OK : CR_NOMEM(err);
}

static cr_status lower_mish(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const char *x = n->in[0]->name;
    const char *soft = step(o, n, "Softplus", "softplus", x, NULL);
    const char *gate = step(o, n, "Tanh", "tanh", soft, NULL);
    return gate && step(o, n, "Mul", NULL, x, gate) ? CR_OK : CR_NOMEM(err);
}

/* x/2 (1 + erf(x / sqrt 2)), or x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): the definitions of
 * ONNX's own function bodies. */
static cr_status lower_gelu(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const char *x = n->in[0]->name, *bell;
    const char *one = add_number(o, n, "one", 1), *half = add_number(o, n, "half", 0.5);
    const bool tanh = !strcmp(cr_attr_string(n, "approximate", "none"), "tanh");
    const char *c = add_number(o, n, "c", tanh ? 0.79788456080286536 : 0.70710678118654752);
    const char *d = tanh ? add_number(o, n, "d", 0.044715) : one;
    if (!one || !half || !c || !d) return CR_NOMEM(err);
    if (tanh) {
        const char *x2 = step(o, n, "Mul", "x2", x, x), *x3 = step(o, n, "Mul", "x3", x2, x);
        const char *sum = step(o, n, "Add", "sum", x, step(o, n, "Mul", "dx3", x3, d));
        bell = step(o, n, "Tanh", "tanh", step(o, n, "Mul", "arg", sum, c), NULL);
    } else {
        bell = step(o, n, "Erf", "erf", step(o, n, "Mul", "arg", x, c), NULL);
    }
    const char *gate = step(o, n, "Add", "gate", bell, one);
    const char *twice = step(o, n, "Mul", "twice", gate, x);
    return step(o, n, "Mul", NULL, twice, half) ? CR_OK : CR_NOMEM(err);
}

static int64_t *copy_i64(cr_onnx_out *o, const cr_tensor *t, size_t *count)
{
    *count = (size_t)cr_shape_count(&t->shape);
    int64_t *v = cr_arena_alloc(&o->arena, *count * sizeof *v);
    for (size_t i = 0; v && i < *count; i++) v[i] = cr_tensor_get_i64(t, i);
    return v;
}

static cr_status reduce_axes(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const cr_tensor *axes = n->n_in > 1 ? n->in[1] : NULL;
    const bool noop = cr_attr_int(n, "noop_with_empty_axes", 0);
    if (axes && !axes->data) return too_new(o, n, "computed axes", 18, err);
    const bool empty = !axes || cr_shape_count(&axes->shape) == 0;
    p->n_input = 1;
    remove_attr(p, "noop_with_empty_axes");
    if (empty && noop) {
        p->op_type = (char *)"Identity";
        p->n_attribute = 0;
    } else if (!empty) {
        size_t count;
        int64_t *v = copy_i64(o, axes, &count);
        if (!v || !put_ints(o, p, "axes", v, count)) return CR_NOMEM(err);
    }
    return push(o, p, err);
}

/* Equal parts are the default without num_outputs; a shorter last one has to be spelled out. */
static cr_status split_sizes(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const cr_shape *s = &n->in[0]->shape;
    const int64_t parts = cr_attr_int(n, "num_outputs", 0);
    int64_t axis = cr_attr_int(n, "axis", 0);
    remove_attr(p, "num_outputs");
    if (axis < 0) axis += s->rank;
    const bool known = parts > 0 && s->rank > 0 && axis >= 0 && axis < s->rank && s->dim[axis] >= 0;
    if ((n->n_in > 1 && n->in[1]) || !known || s->dim[axis] % parts == 0) return push(o, p, err);
    const int64_t each = (s->dim[axis] + parts - 1) / parts;
    int64_t *sizes = cr_arena_alloc(&o->arena, (size_t)parts * sizeof *sizes);
    if (!sizes) return CR_NOMEM(err);
    for (int64_t i = 0; i < parts; i++) {
        const int64_t left = s->dim[axis] - i * each;
        sizes[i] = left < 0 ? 0 : left < each ? left : each;
    }
    const char *name = add_const(o, n, "split", CR_DT_I64, (cr_shape){1, {parts}}, sizes);
    char **in = cr_arena_alloc(&o->arena, 2 * sizeof *in);
    if (!name || !in) return CR_NOMEM(err);
    in[0] = p->input[0];
    in[1] = (char *)name;
    p->input = in;
    p->n_input = 2;
    return push(o, p, err);
}

static cr_status pad_all_axes(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    if (n->n_in < 4 || !n->in[3]) return push(o, p, err);
    const cr_tensor *pads = n->in[1], *axes = n->in[3];
    const int rank = n->in[0]->shape.rank;
    if (!pads->data || !axes->data || rank < 0) return too_new(o, n, "computed axes", 18, err);
    const int64_t count = cr_shape_count(&axes->shape);
    CR_CHECK(cr_shape_count(&pads->shape) == 2 * count, err, CR_ERR_FORMAT,
             "node '%s' (Pad): pads and axes do not fit", n->name);
    int64_t all[2 * CR_MAX_RANK] = {0};
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = cr_tensor_get_i64(axes, (size_t)i);
        if (axis < 0) axis += rank;
        CR_CHECK(axis >= 0 && axis < rank, err, CR_ERR_FORMAT, "node '%s' (Pad): axis out of range",
                 n->name);
        all[axis] = cr_tensor_get_i64(pads, (size_t)i);
        all[rank + axis] = cr_tensor_get_i64(pads, (size_t)(count + i));
    }
    const char *name = add_const(o, n, "pads", CR_DT_I64, (cr_shape){1, {2 * rank}}, all);
    if (!name) return CR_NOMEM(err);
    p->input[1] = (char *)name;
    p->n_input = n->in[2] ? 3 : 2;
    return push(o, p, err);
}

static cr_status grid_mode(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const char *mode = cr_attr_string(n, "mode", "linear");
    if (!strcmp(mode, "linear")) mode = "bilinear";
    if (!strcmp(mode, "cubic")) mode = "bicubic";
    remove_attr(p, "mode");
    return put_string(o, p, "mode", mode, strlen(mode)) ? push(o, p, err) : CR_NOMEM(err);
}

static cr_status cast_like(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err)
{
    const cr_dtype to = n->in[1]->dtype;
    if (to == CR_DT_NONE) return too_new(o, n, "an unknown type", 15, err);
    p->op_type = (char *)"Cast";
    p->n_input = 1;
    p->n_attribute = 0;
    return put_int(o, p, "to", cr_dtype_to_onnx(to)) ? push(o, p, err) : CR_NOMEM(err);
}

static const struct {
    cr_op_kind op;
    int before; /* applies to opsets below this one */
    cr_status (*run)(cr_onnx_out *o, const cr_node *n, CrOnnx__NodeProto *p, cr_error *err);
} rules[] = {
    {CR_OP_CastLike, 15, cast_like},
    {CR_OP_Gelu, 20, lower_gelu},
    {CR_OP_GridSample, 20, grid_mode},
    {CR_OP_HardSwish, 14, lower_hard_swish},
    {CR_OP_Mish, 18, lower_mish},
    {CR_OP_Pad, 18, pad_all_axes},
    {CR_OP_ReduceL1, 18, reduce_axes},
    {CR_OP_ReduceL2, 18, reduce_axes},
    {CR_OP_ReduceLogSum, 18, reduce_axes},
    {CR_OP_ReduceLogSumExp, 18, reduce_axes},
    {CR_OP_ReduceMax, 18, reduce_axes},
    {CR_OP_ReduceMean, 18, reduce_axes},
    {CR_OP_ReduceMin, 18, reduce_axes},
    {CR_OP_ReduceProd, 18, reduce_axes},
    {CR_OP_ReduceSumSquare, 18, reduce_axes},
    {CR_OP_Split, 18, split_sizes},
    {CR_OP_Swish, CR_ONNX_MAX_WRITE_OPSET + 1, lower_swish}, /* born in 24, but runtimes lack it */
};

/* The opset that a tensor's type came with at this node: 2-bit types 25, 4-bit types and 16-bit
 * quantization 21. */
static int type_since(const cr_node *n, const cr_tensor *t)
{
    const bool quantizer =
        n->op->kind == CR_OP_QuantizeLinear || n->op->kind == CR_OP_DequantizeLinear;
    if (!t) return 0;
    if (cr_onnx_packed_bits(t->dtype)) return cr_onnx_packed_bits(t->dtype) == 2 ? 25 : 21;
    return quantizer && (t->dtype == CR_DT_I16 || t->dtype == CR_DT_U16) ? 21 : 0;
}

static cr_status check_types(const cr_onnx_out *o, const cr_node *n, cr_error *err)
{
    for (int i = 0; i < n->n_in + n->n_out; i++) {
        const cr_tensor *t = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        const int since = type_since(n, t);
        if (o->opset < since) return too_new(o, n, cr_dtype_key(t->dtype), since, err);
    }
    return CR_OK;
}

cr_status cr_onnx_lower_node(cr_onnx_out *o, const cr_node *n, cr_error *err)
{
    CrOnnx__NodeProto *p = NULL;
    for (size_t i = 0; i < sizeof born / sizeof *born; i++)
        if (n->op->kind == born[i].op && o->opset < born[i].since)
            return too_new(o, n, "", born[i].since, err);
    CR_TRY(check_types(o, n, err));
    CR_TRY(copy_node(o, n, &p, err));
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (n->op->kind == rules[i].op && o->opset < rules[i].before)
            return rules[i].run(o, n, p, err);
    return push(o, p, err);
}
