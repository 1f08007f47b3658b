#include "tflite/tflite_import.h"

#include <string.h>

#include "base/error.h"
#include "graph/passes.h"

static const int to_nchw[4] = {0, 3, 1, 2}, to_nhwc[4] = {0, 2, 3, 1};

/* ---- the operator's tensors ---- */

static cr_tfl_value *value_at(cr_tfl_import *m, const cr_flat_vector *list, size_t k)
{
    const int64_t i = k < list->count ? cr_flat_item_i32(list, k) : -1;
    return i >= 0 && (uint64_t)i < m->value_count ? &m->values[i] : NULL;
}

bool cr_tfl_is_there(const cr_tfl_value *v)
{
    return v->data || v->view[0] || v->view[1] || v->padded;
}

cr_status cr_tfl_in(cr_tfl_import *m, size_t k, cr_tfl_value **out, cr_error *err)
{
    *out = value_at(m, &m->in, k);
    CR_CHECK(*out, err, CR_ERR_FORMAT, "%s: input %zu is missing", m->op_name, k);
    CR_CHECK(cr_tfl_is_there(*out), err, CR_ERR_FORMAT,
             "%s: input '%s' is read before it is written", m->op_name, (*out)->name);
    return CR_OK;
}

cr_status cr_tfl_out(cr_tfl_import *m, size_t k, cr_tfl_value **out, cr_error *err)
{
    *out = value_at(m, &m->out, k);
    CR_CHECK(*out, err, CR_ERR_FORMAT, "%s: output %zu is missing", m->op_name, k);
    return CR_OK;
}

cr_tfl_value *cr_tfl_optional(cr_tfl_import *m, size_t k)
{
    cr_tfl_value *v = value_at(m, &m->in, k);
    return v && cr_tfl_is_there(v) ? v : NULL;
}

cr_status cr_tfl_ints(cr_tfl_import *m, size_t k, int64_t *values, size_t room, size_t *count,
                      cr_error *err)
{
    cr_tfl_value *v;
    CR_TRY(cr_tfl_in(m, k, &v, err));
    CR_CHECK(v->data && (v->type == CR_TFL_I32 || v->type == CR_TFL_I64), err, CR_ERR_UNSUPPORTED,
             "%s: '%s' is not a constant of integers", m->op_name, v->name);
    const size_t width = v->type == CR_TFL_I32 ? 4 : 8;
    *count = v->bytes / width;
    CR_CHECK(*count <= room, err, CR_ERR_FORMAT, "%s: '%s' has %zu numbers, at most %zu fit",
             m->op_name, v->name, *count, room);
    const cr_flat_vector list = {&m->file, (size_t)(v->data - m->file.bytes), *count, width};
    for (size_t i = 0; i < *count; i++)
        values[i] = width == 4 ? cr_flat_item_i32(&list, i) : cr_flat_item_i64(&list, i);
    for (size_t i = 0; i < *count; i++)
        CR_CHECK(values[i] >= INT32_MIN && values[i] <= INT32_MAX, err, CR_ERR_LIMIT,
                 "%s: '%s' has a number beyond 32 bits", m->op_name, v->name);
    return CR_OK;
}

cr_status cr_tfl_axis(cr_tfl_import *m, int64_t axis, int rank, int *out, cr_error *err)
{
    CR_CHECK(axis >= -rank && axis < rank, err, CR_ERR_FORMAT, "%s: axis %lld of %d axes",
             m->op_name, (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return CR_OK;
}

/* ---- nodes ---- */

static bool is_fresh(const cr_tensor *t)
{
    return !*t->name;
}

/* A name that no tensor has, made from `stem`. */
static const char *unique(cr_tfl_import *m, const char *stem)
{
    const char *name = stem;
    for (size_t i = m->g->tensor_count; name && cr_names_get(&m->names, name); i++)
        name = cr_arena_printf(&m->g->arena, "%s.%zu", stem, i);
    return name;
}

static bool give_name(cr_tfl_import *m, cr_tensor *t, const char *stem)
{
    const char *name = unique(m, stem);
    t->name = name ? cr_arena_strdup(&m->g->arena, name) : NULL;
    return t->name && cr_names_put(&m->names, t->name, t);
}

static cr_status new_tensor(cr_tfl_import *m, const char *stem, const char *suffix, cr_tensor **out,
                            cr_error *err)
{
    cr_tensor *t = cr_graph_add_tensor(m->g, "", CR_DT_NONE, cr_shape_unknown());
    const char *name = t ? cr_arena_printf(&m->g->arena, "%s%s", stem, suffix) : NULL;
    if (!name || !give_name(m, t, name)) return CR_NOMEM(err);
    *out = t;
    return CR_OK;
}

static cr_status new_const(cr_tfl_import *m, const char *stem, const char *suffix, cr_dtype dtype,
                           const cr_shape *shape, cr_tensor **out, cr_error *err)
{
    cr_tensor *t;
    CR_TRY(new_tensor(m, stem, suffix, &t, err));
    const int64_t n = cr_shape_count(shape);
    CR_CHECK(n >= 0 && (uint64_t)n <= m->budget / 8, err, CR_ERR_LIMIT,
             "'%s': needs far more memory than a model of its size", stem);
    m->budget -= 8 * (size_t)n;
    t->dtype = dtype;
    t->shape = *shape;
    if (!cr_tensor_alloc(t)) return CR_NOMEM(err);
    *out = t;
    return CR_OK;
}

cr_status cr_tfl_node(cr_tfl_import *m, cr_op_kind kind, int n_in, int n_out, int n_attrs,
                      cr_node **out, cr_error *err)
{
    const cr_tfl_value *y = value_at(m, &m->out, 0);
    const char *stem = y ? y->name : m->op_name;
    CR_CHECK(m->g->node_count < CR_MAX_NODES, err, CR_ERR_LIMIT, "more than %d nodes",
             CR_MAX_NODES);
    cr_node *n = cr_graph_add_node(m->g, kind, stem, n_in, n_out, n_attrs);
    if (!n) return CR_NOMEM(err);
    for (int i = 0; i < n_out; i++) {
        n->out[i] = cr_graph_add_tensor(m->g, "", CR_DT_NONE, cr_shape_unknown());
        if (!n->out[i]) return CR_NOMEM(err);
    }
    *out = n;
    return CR_OK;
}

cr_status cr_tfl_unary(cr_tfl_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor **y,
                       cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_tfl_node(m, kind, 1, 1, 0, &n, err));
    n->in[0] = x;
    *y = n->out[0];
    return cr_node_infer(n, err);
}

cr_status cr_tfl_binary(cr_tfl_import *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b,
                        cr_tensor **y, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_tfl_node(m, kind, 2, 1, 0, &n, err));
    n->in[0] = a;
    n->in[1] = b;
    *y = n->out[0];
    return cr_node_infer(n, err);
}

cr_status cr_tfl_transpose(cr_tfl_import *m, cr_tensor *x, const int *perm, cr_tensor **y,
                           cr_error *err)
{
    cr_node *n;
    int64_t axes[CR_MAX_RANK];
    CR_TRY(cr_tfl_node(m, CR_OP_Transpose, 1, 1, 1, &n, err));
    for (int d = 0; d < x->shape.rank; d++) axes[d] = perm[d];
    if (!cr_attr_set_ints(m->g, &n->attrs[0], "perm", axes, (size_t)x->shape.rank))
        return CR_NOMEM(err);
    n->in[0] = x;
    *y = n->out[0];
    return cr_node_infer(n, err);
}

cr_status cr_tfl_int_list(cr_tfl_import *m, const int64_t *values, size_t n, cr_tensor **out,
                          cr_error *err)
{
    const cr_tfl_value *y = value_at(m, &m->out, 0);
    const cr_shape shape = {1, {(int64_t)n}};
    CR_TRY(new_const(m, y ? y->name : m->op_name, "_list", CR_DT_I64, &shape, out, err));
    if (n) memcpy((*out)->data, values, n * sizeof *values);
    return CR_OK;
}

cr_status cr_tfl_float(cr_tfl_import *m, float value, cr_tensor **out, cr_error *err)
{
    const cr_tfl_value *y = value_at(m, &m->out, 0);
    const cr_shape shape = {0, {0}};
    CR_TRY(new_const(m, y ? y->name : m->op_name, "_number", CR_DT_F32, &shape, out, err));
    *(float *)(*out)->data = value;
    return CR_OK;
}

cr_status cr_tfl_numbers(cr_tfl_import *m, size_t count, int behind, cr_tensor **out, cr_error *err)
{
    const cr_tfl_value *y = value_at(m, &m->out, 0);
    cr_shape shape = {1 + behind, {(int64_t)count}};
    for (int d = 1; d <= behind; d++) shape.dim[d] = 1;
    return new_const(m, y ? y->name : m->op_name, "_numbers", CR_DT_F32, &shape, out, err);
}

cr_status cr_tfl_reshape(cr_tfl_import *m, cr_tensor *x, const cr_shape *shape, cr_tensor **y,
                         cr_error *err)
{
    cr_tensor *list;
    *y = x;
    if (cr_shape_equal(&x->shape, shape)) return CR_OK;
    CR_TRY(cr_tfl_int_list(m, shape->dim, (size_t)shape->rank, &list, err));
    return cr_tfl_binary(m, CR_OP_Reshape, x, list, y, err);
}

/* ---- quantization ---- */

static cr_dtype dtype_of(int type)
{
    switch (type) {
    case CR_TFL_F32:
        return CR_DT_F32;
    case CR_TFL_F16:
        return CR_DT_F16;
    case CR_TFL_BF16:
        return CR_DT_BF16;
    case CR_TFL_F64:
        return CR_DT_F64;
    case CR_TFL_I32:
        return CR_DT_I32;
    case CR_TFL_U32:
        return CR_DT_U32;
    case CR_TFL_I64:
        return CR_DT_I64;
    case CR_TFL_U64:
        return CR_DT_U64;
    case CR_TFL_I16:
        return CR_DT_I16;
    case CR_TFL_U16:
        return CR_DT_U16;
    case CR_TFL_I8:
        return CR_DT_I8;
    case CR_TFL_U8:
        return CR_DT_U8;
    case CR_TFL_BOOL:
        return CR_DT_BOOL;
    case CR_TFL_I4:
        return CR_DT_I4;
    case CR_TFL_U4:
        return CR_DT_U4;
    case CR_TFL_I2:
        return CR_DT_I2;
    default:
        return CR_DT_NONE;
    }
}

cr_status cr_tfl_dtype(const cr_tfl_value *v, cr_dtype *out, cr_error *err)
{
    *out = dtype_of(v->type);
    CR_CHECK(*out, err, CR_ERR_UNSUPPORTED, "tensor '%s' has type %d, which is not supported",
             v->name, v->type);
    return CR_OK;
}

/* Scale and zero point of v as constants; a vector if there are several. */
static cr_status make_params(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor **scale,
                             cr_tensor **zero, cr_error *err)
{
    const cr_shape shape = {v->scale.count > 1, {(int64_t)v->scale.count}};
    CR_TRY(new_const(m, v->name, "_scale", CR_DT_F32, &shape, scale, err));
    CR_TRY(new_const(m, v->name, "_zero_point", dtype_of(v->type), &shape, zero, err));
    for (size_t i = 0; i < v->scale.count; i++) {
        const float s = cr_flat_item_f32(&v->scale, i);
        const int64_t z = cr_flat_item_i64(&v->zero_point, v->zero_point.count > 1 ? i : 0);
        int32_t lo = INT16_MIN, hi = INT16_MAX;
        CR_CHECK(s > 0 && s < 3e38f, err, CR_ERR_FORMAT, "tensor '%s' has a scale of %g", v->name,
                 (double)s);
        switch (v->type) {
        case CR_TFL_I8:
            lo = INT8_MIN, hi = INT8_MAX;
            break;
        case CR_TFL_U8:
            lo = 0, hi = UINT8_MAX;
            break;
        case CR_TFL_U16:
            lo = 0, hi = UINT16_MAX;
            break;
        case CR_TFL_I4:
            lo = -8, hi = 7;
            break;
        case CR_TFL_U4:
            lo = 0, hi = 15;
            break;
        case CR_TFL_I2:
            lo = -2, hi = 1;
            break;
        default:
            break;
        }
        CR_CHECK(z >= lo && z <= hi, err, CR_ERR_FORMAT, "tensor '%s' has a zero point of %lld",
                 v->name, (long long)z);
        ((float *)(*scale)->data)[i] = s;
        switch (v->type) {
        case CR_TFL_I16:
            ((int16_t *)(*zero)->data)[i] = (int16_t)z;
            break;
        case CR_TFL_U16:
            ((uint16_t *)(*zero)->data)[i] = (uint16_t)z;
            break;
        default:
            ((uint8_t *)(*zero)->data)[i] = (uint8_t)z;
            break;
        }
    }
    return CR_OK;
}

/* QuantizeLinear or DequantizeLinear. */
static cr_status convert(cr_tfl_import *m, cr_op_kind kind, cr_tensor *x, cr_tensor *scale,
                         cr_tensor *zero, int axis, const char *stem, const char *suffix,
                         cr_tensor **y, cr_error *err)
{
    cr_node *n = cr_graph_add_node(m->g, kind, stem, 3, 1, 1);
    if (!n) return CR_NOMEM(err);
    CR_TRY(new_tensor(m, stem, suffix, &n->out[0], err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    n->in[0] = x;
    n->in[1] = scale;
    n->in[2] = zero;
    *y = n->out[0];
    return cr_node_infer(n, err);
}

/* x with a pair behind it; the codes and the result have v's name and these endings. */
static cr_status add_pair(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor *x,
                          const char *codes_end, const char *end, cr_tensor **out, cr_error *err)
{
    cr_tensor *scale, *zero, *codes;
    CR_CHECK(v->scale.count == 1, err, CR_ERR_UNSUPPORTED,
             "tensor '%s': an activation with %zu scales", v->name, v->scale.count);
    CR_CHECK(x->dtype == CR_DT_F32, err, CR_ERR_FORMAT,
             "tensor '%s' is quantized but not made of "
             "numbers",
             v->name);
    CR_TRY(make_params(m, v, &scale, &zero, err));
    CR_TRY(convert(m, CR_OP_QuantizeLinear, x, scale, zero, 1, v->name, codes_end, &codes, err));
    return convert(m, CR_OP_DequantizeLinear, codes, scale, zero, 1, v->name, end, out, err);
}

cr_status cr_tfl_like(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor *x, cr_tensor **out,
                      cr_error *err)
{
    const bool pairs = v->quantized && !v->data && x != v->view[0] && x != v->view[1];
    *out = x; /* may be one of the views */
    return pairs ? add_pair(m, v, x, "_quantized", "_dequantized", out, err) : CR_OK;
}

/* ---- constants ---- */

/* Element i of a constant of packed values, sign extended. */
static int packed(const uint8_t *data, size_t i, int bits, bool is_signed)
{
    const size_t per = 8 / (size_t)bits;
    const int code = data[i / per] >> (i % per * (size_t)bits) & ((1 << bits) - 1);
    return is_signed && code >> (bits - 1) ? code - (1 << bits) : code;
}

static int bits_of(int type)
{
    return type == CR_TFL_I4 || type == CR_TFL_U4 ? 4 : type == CR_TFL_I2 ? 2 : 0;
}

/* Element `from` of the file's data to element `to` of t. */
static void copy_element(const cr_tfl_value *v, size_t from, cr_tensor *t, size_t to)
{
    const int bits = bits_of(v->type);
    const size_t width = cr_dtype_size(t->dtype);
    uint8_t *out = (uint8_t *)t->data + to * width;
    if (bits) {
        *out = (uint8_t)packed(v->data, from, bits, v->type != CR_TFL_U4);
    } else if (v->type == CR_TFL_F16 || v->type == CR_TFL_BF16) {
        const uint16_t h = (uint16_t)(v->data[2 * from] | v->data[2 * from + 1] << 8);
        const float f = v->type == CR_TFL_F16 ? cr_f16_to_f32(h) : cr_bf16_to_f32(h);
        memcpy(out, &f, sizeof f);
    } else {
        memcpy(out, v->data + from * width, width);
    }
}

/* t has v's data with axis j of t being axis perm[j] of `from`. */
static void permute(const cr_tfl_value *v, const cr_shape *from, const int *perm, cr_tensor *t)
{
    size_t step[CR_MAX_RANK], stride[CR_MAX_RANK], at[CR_MAX_RANK] = {0}, source = 0;
    const int rank = from->rank;
    size_t total = 1;
    for (int d = rank - 1; d >= 0; d--) {
        step[d] = total;
        total *= (size_t)from->dim[d];
    }
    for (int d = 0; d < rank; d++) stride[d] = step[perm[d]];
    for (size_t i = 0; i < total; i++) {
        copy_element(v, source, t, i);
        for (int d = rank - 1; d >= 0; d--) {
            source += stride[d];
            if (++at[d] < (size_t)t->shape.dim[d]) break;
            source -= at[d] * stride[d];
            at[d] = 0;
        }
    }
}

static cr_status make_constant(cr_tfl_import *m, const cr_tfl_value *v, const cr_shape *from,
                               const int *perm, bool codes_only, cr_tensor **out, cr_error *err)
{
    cr_shape shape = *from;
    int axis = v->axis + from->rank - v->shape.rank, new_axis = 0;
    cr_dtype dtype;
    CR_TRY(cr_tfl_dtype(v, &dtype, err));
    if (dtype == CR_DT_F16 || dtype == CR_DT_BF16) dtype = CR_DT_F32;
    for (int d = 0; d < from->rank; d++) {
        shape.dim[d] = from->dim[perm[d]];
        if (perm[d] == axis) new_axis = d;
    }
    const bool wraps = v->quantized && !codes_only;
    cr_tensor *t, *scale, *zero;
    CR_TRY(new_const(m, v->name, v->quantized ? "_quantized" : "", dtype, &shape, &t, err));
    permute(v, from, perm, t);
    *out = t;
    if (!wraps) return CR_OK;
    CR_CHECK(v->scale.count == 1 || (size_t)shape.dim[new_axis] == v->scale.count, err,
             CR_ERR_FORMAT, "tensor '%s' has %zu scales along an axis of %lld", v->name,
             v->scale.count, (long long)shape.dim[new_axis]);
    CR_TRY(make_params(m, v, &scale, &zero, err));
    return convert(m, CR_OP_DequantizeLinear, t, scale, zero, new_axis, v->name, "", out, err);
}

cr_status cr_tfl_constant(cr_tfl_import *m, const cr_tfl_value *v, const int *perm, bool codes_only,
                          cr_tensor **out, cr_error *err)
{
    return make_constant(m, v, &v->shape, perm, codes_only, out, err);
}

/* Constants of the types that have no entry: dequantized at once. */
cr_status cr_tfl_floats(cr_tfl_import *m, const cr_tfl_value *v, cr_tensor **out, cr_error *err)
{
    static const int same[CR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    cr_tensor *t, *codes;
    CR_CHECK(v->data, err, CR_ERR_UNSUPPORTED, "%s: '%s' is not a constant", m->op_name, v->name);
    if (v->type == CR_TFL_F32 || v->type == CR_TFL_F16 || v->type == CR_TFL_BF16)
        return cr_tfl_constant(m, v, same, false, out, err);
    CR_CHECK(v->quantized, err, CR_ERR_FORMAT, "%s: '%s' has no scale", m->op_name, v->name);
    CR_TRY(new_const(m, v->name, "", CR_DT_F32, &v->shape, &t, err));
    CR_TRY(cr_tfl_constant(m, v, same, true, &codes, err));
    const size_t n = (size_t)cr_shape_count(&v->shape);
    CR_CHECK(v->scale.count == 1 || v->scale.count == n, err, CR_ERR_FORMAT,
             "tensor '%s' has %zu scales for %zu numbers", v->name, v->scale.count, n);
    for (size_t i = 0; i < n; i++) {
        const size_t k = v->scale.count > 1 ? i : 0;
        const double code =
            (double)cr_tensor_get_i64(codes, i) -
            (double)cr_flat_item_i64(&v->zero_point, v->zero_point.count > 1 ? k : 0);
        ((float *)t->data)[i] = (float)(code * (double)cr_flat_item_f32(&v->scale, k));
    }
    *out = t;
    return CR_OK;
}

/* ---- views ---- */

static cr_shape permuted(const cr_shape *s, const int *perm)
{
    cr_shape r = *s;
    for (int d = 0; d < s->rank; d++) r.dim[d] = s->dim[perm[d]];
    return r;
}

cr_shape cr_tfl_shape(const cr_tfl_value *v)
{
    if (v->padded && !v->view[0] && !v->view[1]) {
        cr_shape s = cr_tfl_shape(v->padded);
        for (int d = 0; d < 2; d++) s.dim[1 + d] += v->pads[d] + v->pads[2 + d];
        return s;
    }
    if (v->view[CR_TFL_PLAIN]) return v->view[CR_TFL_PLAIN]->shape;
    if (v->view[CR_TFL_NCHW] && !v->data) return permuted(&v->view[CR_TFL_NCHW]->shape, to_nhwc);
    return v->shape;
}

int cr_tfl_axis_in(int axis, cr_tfl_layout layout)
{
    return layout == CR_TFL_PLAIN ? axis : to_nhwc[axis]; /* file axis 1 is axis 2 of NCHW ... */
}

/* Do the elements stay where they are: does the permutation keep the order of axes above size 1? */
static bool keeps_order(const cr_shape *s, const int *perm)
{
    int last = -1;
    for (int d = 0; d < s->rank; d++) {
        if (s->dim[perm[d]] == 1) continue;
        if (perm[d] < last) return false;
        last = perm[d];
    }
    return true;
}

static cr_status constant_view(cr_tfl_import *m, cr_tfl_value *v, cr_tfl_layout layout,
                               cr_tensor **out, cr_error *err)
{
    static const int same[CR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    cr_shape from = v->shape;
    if (v->quantized && (v->type == CR_TFL_I32 || v->type == CR_TFL_I64)) {
        CR_CHECK(layout == CR_TFL_PLAIN || cr_shape_count(&from) == 1, err, CR_ERR_UNSUPPORTED,
                 "%s: '%s' is a 32-bit constant", m->op_name, v->name);
        return cr_tfl_floats(m, v, out, err);
    }
    if (layout == CR_TFL_PLAIN || cr_shape_count(&from) == 1)
        return make_constant(m, v, &from, same, false, out, err);
    CR_CHECK(from.rank <= 4, err, CR_ERR_UNSUPPORTED, "%s: '%s' has %d axes", m->op_name, v->name,
             from.rank);
    from = (cr_shape){4, {1, 1, 1, 1}};
    for (int d = 0; d < v->shape.rank; d++) from.dim[4 - v->shape.rank + d] = v->shape.dim[d];
    return make_constant(m, v, &from, to_nchw, false, out, err);
}

static cr_status turn(cr_tfl_import *m, const cr_tfl_value *v, cr_tfl_layout layout,
                      cr_tensor **out, cr_error *err)
{
    cr_tensor *x = v->view[layout == CR_TFL_PLAIN ? CR_TFL_NCHW : CR_TFL_PLAIN], *y;
    const int *perm = layout == CR_TFL_PLAIN ? to_nhwc : to_nchw;
    CR_CHECK(x->shape.rank == 4, err, CR_ERR_FORMAT, "%s: '%s' has %d axes, not 4", m->op_name,
             v->name, x->shape.rank);
    const cr_shape shape = permuted(&x->shape, perm);
    if (keeps_order(&x->shape, perm))
        CR_TRY(cr_tfl_reshape(m, x, &shape, &y, err));
    else
        CR_TRY(cr_tfl_transpose(m, x, perm, &y, err));
    const char *name =
        cr_arena_printf(&m->g->arena, "%s%s", v->name, layout == CR_TFL_PLAIN ? "_nhwc" : "_nchw");
    if (is_fresh(y) && (!name || !give_name(m, y, name))) return CR_NOMEM(err);
    return cr_tfl_like(m, v, y, out, err);
}

/* Makes the Pad node that was put off because the next operator might pad by itself. */
static cr_status pad_now(cr_tfl_import *m, cr_tfl_value *v, cr_error *err)
{
    const int64_t pads[8] = {0, 0, v->pads[0], v->pads[1], 0, 0, v->pads[2], v->pads[3]};
    cr_node *n;
    cr_tensor *x, *list, *low;
    CR_TRY(cr_tfl_view(m, v->padded, CR_TFL_NCHW, &x, err));
    CR_TRY(cr_tfl_int_list(m, pads, 8, &list, err));
    CR_TRY(cr_tfl_float(m, v->pads_low ? -3.402823466e38f : 0, &low, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Pad, v->pads_low ? 3 : 2, 1, 0, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    if (v->pads_low) n->in[2] = low;
    CR_TRY(cr_node_infer(n, err));
    if (!give_name(m, n->out[0], v->name)) return CR_NOMEM(err);
    return cr_tfl_like(m, v, n->out[0], &v->view[CR_TFL_NCHW], err);
}

cr_status cr_tfl_view(cr_tfl_import *m, cr_tfl_value *v, cr_tfl_layout layout, cr_tensor **out,
                      cr_error *err)
{
    if (v->padded && !v->view[CR_TFL_NCHW]) CR_TRY(pad_now(m, v, err));
    if (!v->view[layout])
        CR_TRY(v->data ? constant_view(m, v, layout, &v->view[layout], err)
                       : turn(m, v, layout, &v->view[layout], err));
    *out = v->view[layout];
    return CR_OK;
}

cr_status cr_tfl_input(cr_tfl_import *m, size_t k, cr_tfl_layout layout, cr_tensor **out,
                       cr_error *err)
{
    cr_tfl_value *v;
    CR_TRY(cr_tfl_in(m, k, &v, err));
    return cr_tfl_view(m, v, layout, out, err);
}

/* ---- outputs ---- */

bool cr_tfl_same_params(const cr_tfl_value *a, const cr_tfl_value *b)
{
    if (a->quantized != b->quantized || (a->quantized && a->type != b->type)) return false;
    if (!a->quantized) return true;
    return a->scale.count == 1 && b->scale.count == 1 &&
           cr_flat_item_f32(&a->scale, 0) == cr_flat_item_f32(&b->scale, 0) &&
           cr_flat_item_i64(&a->zero_point, 0) == cr_flat_item_i64(&b->zero_point, 0);
}

static cr_status take_output(cr_tfl_import *m, size_t k, cr_tfl_layout layout, cr_tfl_value **out,
                             cr_error *err)
{
    CR_TRY(cr_tfl_out(m, k, out, err));
    CR_CHECK(!cr_tfl_is_there(*out), err, CR_ERR_FORMAT, "tensor '%s' is written twice",
             (*out)->name);
    (*out)->native = layout;
    return CR_OK;
}

static cr_status check_shape(const cr_tfl_import *m, const cr_tensor *y, cr_error *err)
{
    CR_CHECK(cr_shape_known(&y->shape), err, CR_ERR_UNSUPPORTED,
             "%s: an output whose size depends on the picture", m->op_name);
    return CR_OK;
}

/* Of a quantized output the pair's end gets the name: it is what qdq_read.c keeps there. Outputs of
 * rank 4 are channels first in the graph, as inputs are. */
cr_status cr_tfl_finish(cr_tfl_import *m, size_t k, cr_tensor *y, cr_tfl_layout layout,
                        cr_error *err)
{
    cr_tfl_value *v;
    CR_TRY(cr_tfl_out(m, k, &v, err));
    CR_TRY(check_shape(m, y, err));
    if (v->is_output && layout == CR_TFL_PLAIN && y->shape.rank == 4 && !m->channels_first) {
        CR_TRY(cr_tfl_transpose(m, y, to_nchw, &y, err));
        layout = CR_TFL_NCHW;
    }
    CR_TRY(take_output(m, k, layout, &v, err));
    if (!is_fresh(y) && v->is_output && !v->quantized)
        CR_TRY(cr_tfl_unary(m, CR_OP_Identity, y, &y, err));
    const bool renamed =
        is_fresh(y); /* else y has the name of another value, and the codes get v's */
    if (renamed) {
        const char *raw = v->is_output && v->quantized ? "_raw" : "";
        const char *stem = cr_arena_printf(&m->g->arena, "%s%s", v->name, raw);
        if (!stem || !give_name(m, y, stem)) return CR_NOMEM(err);
    }
    v->view[layout] = y;
    if (!v->quantized) return CR_OK;
    const char *end = v->is_output ? "" : "_dequantized";
    return add_pair(m, v, y, renamed || v->is_output ? "_quantized" : "", end, &v->view[layout],
                    err);
}

cr_status cr_tfl_alias(cr_tfl_import *m, size_t k, const cr_tfl_value *source, cr_tensor *y,
                       cr_tfl_layout layout, cr_error *err)
{
    cr_tfl_value *v;
    CR_TRY(cr_tfl_out(m, k, &v, err));
    if (is_fresh(y) || v->is_output || !cr_tfl_same_params(v, source))
        return cr_tfl_finish(m, k, y, layout, err);
    CR_TRY(take_output(m, k, layout, &v, err));
    v->view[layout] = y;
    return CR_OK;
}

/* Inner tensors and nodes get the names of what they lead to. */
cr_status cr_tfl_name_all(cr_tfl_import *m, cr_error *err)
{
    for (size_t i = 0; i < m->g->node_count; i++) {
        cr_node *n = m->g->nodes[i];
        const char *inner = cr_arena_printf(&m->g->arena, "%s/%s", n->name, n->op->name);
        if (!inner) return CR_NOMEM(err);
        if (!is_fresh(n->out[0])) inner = n->out[0]->name;
        for (int k = 0; k < n->n_out; k++)
            if (is_fresh(n->out[k]) && !give_name(m, n->out[k], inner)) return CR_NOMEM(err);
        n->name = n->out[0]->name;
    }
    return CR_OK;
}
