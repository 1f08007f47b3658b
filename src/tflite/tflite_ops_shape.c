/* TFLite's operators that move numbers: they keep the layout of their input where its axes stay,
 * and go through the file's axes where those are mixed. */
#include <string.h>

#include "base/error.h"
#include "tflite/tflite_import.h"

/* x with the file's numbers in order: NCHW itself, if that is the same (1x1 pictures, one channel).
 */
static cr_status in_order(cr_tfl_import *m, cr_tfl_value *v, cr_tensor **out, cr_error *err)
{
    const cr_shape s = cr_tfl_shape(v);
    const bool same = !v->data && v->native == CR_TFL_NCHW && s.rank == 4 &&
                      (s.dim[3] == 1 || s.dim[1] * s.dim[2] == 1);
    return cr_tfl_view(m, v, same ? CR_TFL_NCHW : CR_TFL_PLAIN, out, err);
}

static cr_status reshape_to(cr_tfl_import *m, const cr_shape *shape, cr_error *err)
{
    cr_tfl_value *v;
    cr_tensor *x, *y;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(in_order(m, v, &x, err));
    CR_CHECK(cr_shape_count(shape) >= 0 && cr_shape_count(shape) == cr_shape_count(&x->shape), err,
             CR_ERR_FORMAT, "%s: '%s' does not have so many numbers", m->op_name, v->name);
    CR_TRY(cr_tfl_reshape(m, x, shape, &y, err));
    return cr_tfl_alias(m, 0, v, y, CR_TFL_PLAIN, err);
}

/* Fills the one -1 of a wanted shape. */
static void fill_unknown(cr_shape *s, int64_t count)
{
    int64_t known = 1;
    int unknown = -1;
    for (int d = 0; d < s->rank; d++) {
        if (s->dim[d] == -1)
            unknown = d;
        else if (s->dim[d] > 0 && known <= count)
            known *= s->dim[d];
    }
    if (unknown >= 0 && count % known == 0) s->dim[unknown] = count / known;
}

/* The shape is an input, an option of old files, or what the output claims if it is computed. */
static cr_status wanted_shape(cr_tfl_import *m, const cr_tfl_value *x, cr_shape *shape,
                              cr_error *err)
{
    cr_tfl_value *y, *given = cr_tfl_optional(m, 1);
    int64_t dims[CR_MAX_RANK];
    size_t count = 0;
    const cr_shape from = cr_tfl_shape(x);
    CR_TRY(cr_tfl_out(m, 0, &y, err));
    *shape = y->shape;
    if (given && !given->data) return CR_OK;
    if (given) {
        CR_TRY(cr_tfl_ints(m, 1, dims, CR_MAX_RANK, &count, err));
    } else {
        const cr_flat_vector list = cr_flat_items(&m->options, CR_TFL_RESHAPE_SHAPE, 4);
        if (!cr_flat_has(&m->options, CR_TFL_RESHAPE_SHAPE)) return CR_OK;
        CR_CHECK(list.count <= CR_MAX_RANK, err, CR_ERR_LIMIT, "%s: %zu axes", m->op_name,
                 list.count);
        for (count = 0; count < list.count; count++) dims[count] = cr_flat_item_i32(&list, count);
    }
    shape->rank = (int)count;
    memcpy(shape->dim, dims, count * sizeof *dims);
    fill_unknown(shape, cr_shape_count(&from));
    return CR_OK;
}

static cr_status squeezed_shape(cr_tfl_import *m, const cr_shape *from, cr_shape *shape,
                                cr_error *err)
{
    const cr_flat_vector dims = cr_flat_items(&m->options, CR_TFL_SQUEEZE_DIMS, 4);
    bool drop[CR_MAX_RANK] = {false};
    for (int d = 0; d < from->rank && !dims.count; d++) drop[d] = from->dim[d] == 1;
    for (size_t i = 0; i < dims.count; i++) {
        int axis;
        CR_TRY(cr_tfl_axis(m, cr_flat_item_i32(&dims, i), from->rank, &axis, err));
        drop[axis] = true;
    }
    *shape = (cr_shape){0, {0}};
    for (int d = 0; d < from->rank; d++)
        if (!drop[d]) shape->dim[shape->rank++] = from->dim[d];
    return CR_OK;
}

static cr_status expanded_shape(cr_tfl_import *m, const cr_shape *from, cr_shape *shape,
                                cr_error *err)
{
    int64_t axis;
    size_t count;
    int at;
    CR_TRY(cr_tfl_ints(m, 1, &axis, 1, &count, err));
    CR_CHECK(count == 1 && from->rank < CR_MAX_RANK, err, CR_ERR_LIMIT, "%s: %d axes", m->op_name,
             from->rank);
    CR_TRY(cr_tfl_axis(m, axis, from->rank + 1, &at, err));
    *shape = (cr_shape){from->rank + 1, {0}};
    for (int d = 0; d < shape->rank; d++)
        shape->dim[d] = d < at ? from->dim[d] : d == at ? 1 : from->dim[d - 1];
    return CR_OK;
}

cr_status cr_tfl_read_reshape(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *x;
    cr_shape shape;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    const cr_shape from = cr_tfl_shape(x);
    if (m->op == CR_TFL_SQUEEZE)
        CR_TRY(squeezed_shape(m, &from, &shape, err));
    else if (m->op == CR_TFL_EXPAND_DIMS)
        CR_TRY(expanded_shape(m, &from, &shape, err));
    else
        CR_TRY(wanted_shape(m, x, &shape, err));
    return reshape_to(m, &shape, err);
}

/* Of the four ways to read and leave a rank 4 transposition the first that moves nothing, else NCHW
 * to the file's axes. */
cr_status cr_tfl_read_transpose(cr_tfl_import *m, cr_error *err)
{
    static const int to_nchw[4] = {0, 3, 1, 2};
    int64_t given[CR_MAX_RANK];
    int perm[CR_MAX_RANK], axis;
    size_t count;
    cr_tfl_value *v;
    cr_tensor *x, *y;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(cr_tfl_ints(m, 1, given, CR_MAX_RANK, &count, err));
    const int rank = cr_tfl_shape(v).rank;
    CR_CHECK(count == (size_t)rank, err, CR_ERR_FORMAT, "%s: %zu axes of %d", m->op_name, count,
             rank);
    const cr_tfl_layout from = v->native;
    m->channels_first = rank == 4;
    for (int d = 0; d < rank; d++) {
        CR_TRY(cr_tfl_axis(m, given[d], rank, &axis, err));
        m->channels_first &= rank == 4 && axis == to_nchw[d];
        perm[d] = cr_tfl_axis_in(axis, from);
    }
    CR_TRY(cr_tfl_view(m, v, from, &x, err));
    bool plain_same = true, nchw_same = rank == 4;
    for (int d = 0; d < rank; d++) {
        plain_same &= perm[d] == d;
        nchw_same &= rank == 4 && perm[to_nchw[d]] == d;
    }
    if (plain_same || nchw_same)
        return cr_tfl_alias(m, 0, v, x, plain_same ? CR_TFL_PLAIN : CR_TFL_NCHW, err);
    CR_TRY(cr_tfl_transpose(m, x, perm, &y, err));
    return cr_tfl_finish(m, 0, y, CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_concat(cr_tfl_import *m, cr_error *err)
{
    const int64_t given = cr_flat_i32(&m->options, CR_TFL_CONCAT_AXIS, 0);
    cr_tfl_value *first;
    cr_node *n;
    int axis;
    CR_TRY(cr_tfl_in(m, 0, &first, err));
    const int rank = cr_tfl_shape(first).rank;
    const cr_tfl_layout layout = rank == 4 ? cr_tfl_common_layout(m) : CR_TFL_PLAIN;
    CR_TRY(cr_tfl_axis(m, given, rank, &axis, err));
    CR_CHECK(m->in.count <= INT32_MAX, err, CR_ERR_LIMIT, "%s: too many inputs", m->op_name);
    cr_tensor **in = cr_arena_alloc(&m->g->arena, m->in.count * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (size_t k = 0; k < m->in.count; k++) CR_TRY(cr_tfl_input(m, k, layout, &in[k], err));
    CR_TRY(cr_tfl_node(m, CR_OP_Concat, (int)m->in.count, 1, 1, &n, err));
    memcpy(n->in, in, m->in.count * sizeof *in);
    cr_attr_set_int(&n->attrs[0], "axis", cr_tfl_axis_in(axis, layout));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish_fused(m, cr_flat_i8(&m->options, CR_TFL_CONCAT_ACT, 0), n->out[0], layout,
                               err);
}

/* SPLIT (axis, x) into equal parts, SPLIT_V (x, sizes, axis). */
cr_status cr_tfl_read_split(cr_tfl_import *m, cr_error *err)
{
    enum { MAX_PARTS = 1024 };
    const bool equal = m->op == CR_TFL_SPLIT;
    int64_t sizes[MAX_PARTS], where;
    size_t parts = m->out.count, count;
    int axis;
    cr_tfl_value *v;
    cr_tensor *x, *list;
    cr_node *n;
    CR_TRY(cr_tfl_in(m, equal ? 1 : 0, &v, err));
    CR_TRY(cr_tfl_ints(m, equal ? 0 : 2, &where, 1, &count, err));
    const cr_shape s = cr_tfl_shape(v);
    CR_TRY(cr_tfl_axis(m, count ? where : 0, s.rank, &axis, err));
    CR_CHECK(parts > 0 && parts <= MAX_PARTS, err, CR_ERR_LIMIT, "%s: %zu parts", m->op_name,
             parts);
    if (equal) {
        for (size_t i = 0; i < parts; i++) sizes[i] = s.dim[axis] / (int64_t)parts;
    } else {
        CR_TRY(cr_tfl_ints(m, 1, sizes, MAX_PARTS, &count, err));
        CR_CHECK(count == parts, err, CR_ERR_FORMAT, "%s: %zu sizes for %zu parts", m->op_name,
                 count, parts);
        cr_shape whole = {1, {s.dim[axis]}};
        int64_t known = 0;
        for (size_t i = 0; i < parts; i++) known += sizes[i] > 0 ? sizes[i] : 0;
        for (size_t i = 0; i < parts; i++)
            if (sizes[i] == -1) sizes[i] = whole.dim[0] - known;
    }
    CR_TRY(cr_tfl_view(m, v, v->native, &x, err));
    CR_TRY(cr_tfl_int_list(m, sizes, parts, &list, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Split, 2, (int)parts, 1, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    cr_attr_set_int(&n->attrs[0], "axis", cr_tfl_axis_in(axis, v->native));
    CR_TRY(cr_node_infer(n, err));
    for (size_t i = 0; i < parts; i++) CR_TRY(cr_tfl_finish(m, i, n->out[i], v->native, err));
    return CR_OK;
}

/* ---- slices ---- */

/* x from begin to end by step, along the file's axes 0 to rank - 1. */
static cr_status add_slice(cr_tfl_import *m, cr_tfl_value *v, const int64_t *begin,
                           const int64_t *end, const int64_t *step, size_t rank, cr_tensor **y,
                           cr_error *err)
{
    int64_t axes[CR_MAX_RANK];
    cr_tensor *in[5];
    cr_node *n;
    for (size_t d = 0; d < rank; d++) axes[d] = cr_tfl_axis_in((int)d, v->native);
    CR_TRY(cr_tfl_view(m, v, v->native, &in[0], err));
    CR_TRY(cr_tfl_int_list(m, begin, rank, &in[1], err));
    CR_TRY(cr_tfl_int_list(m, end, rank, &in[2], err));
    CR_TRY(cr_tfl_int_list(m, axes, rank, &in[3], err));
    CR_TRY(cr_tfl_int_list(m, step, rank, &in[4], err));
    CR_TRY(cr_tfl_node(m, CR_OP_Slice, 5, 1, 0, &n, err));
    memcpy(n->in, in, sizeof in);
    *y = n->out[0];
    return cr_node_infer(n, err);
}

cr_status cr_tfl_read_slice(cr_tfl_import *m, cr_error *err)
{
    int64_t begin[CR_MAX_RANK], size[CR_MAX_RANK], end[CR_MAX_RANK], step[CR_MAX_RANK];
    size_t count, sizes;
    cr_tfl_value *v;
    cr_tensor *y;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(cr_tfl_ints(m, 1, begin, CR_MAX_RANK, &count, err));
    CR_TRY(cr_tfl_ints(m, 2, size, CR_MAX_RANK, &sizes, err));
    CR_CHECK(count == sizes && count <= (size_t)cr_tfl_shape(v).rank, err, CR_ERR_FORMAT,
             "%s: %zu begins, %zu sizes", m->op_name, count, sizes);
    for (size_t d = 0; d < count; d++) {
        step[d] = 1;
        end[d] = size[d] == -1 ? INT64_MAX : begin[d] + size[d];
    }
    CR_TRY(add_slice(m, v, begin, end, step, count, &y, err));
    return cr_tfl_finish(m, 0, y, v->native, err);
}

typedef struct strided {
    int64_t begin[CR_MAX_RANK], end[CR_MAX_RANK], step[CR_MAX_RANK];
    size_t count;
    int64_t shrink;
} strided;

static cr_status read_strided(cr_tfl_import *m, strided *s, cr_error *err)
{
    size_t ends, steps;
    CR_TRY(cr_tfl_ints(m, 1, s->begin, CR_MAX_RANK, &s->count, err));
    CR_TRY(cr_tfl_ints(m, 2, s->end, CR_MAX_RANK, &ends, err));
    CR_TRY(cr_tfl_ints(m, 3, s->step, CR_MAX_RANK, &steps, err));
    CR_CHECK(ends == s->count && steps == s->count, err, CR_ERR_FORMAT,
             "%s: begins, ends and steps differ in number", m->op_name);
    CR_CHECK(!cr_flat_i32(&m->options, CR_TFL_STRIDED_ELLIPSIS_MASK, 0) &&
                 !cr_flat_i32(&m->options, CR_TFL_STRIDED_NEW_AXIS_MASK, 0),
             err, CR_ERR_UNSUPPORTED, "%s: a slice with an ellipsis or new axes", m->op_name);
    const int64_t from = cr_flat_i32(&m->options, CR_TFL_STRIDED_BEGIN_MASK, 0);
    const int64_t to = cr_flat_i32(&m->options, CR_TFL_STRIDED_END_MASK, 0);
    const bool offset = cr_flat_u8(&m->options, CR_TFL_STRIDED_OFFSET, 0);
    s->shrink = cr_flat_i32(&m->options, CR_TFL_STRIDED_SHRINK_MASK, 0);
    for (size_t d = 0; d < s->count; d++) {
        const bool back = s->step[d] < 0;
        CR_CHECK(s->step[d], err, CR_ERR_FORMAT, "%s: a step of 0", m->op_name);
        if (offset) s->end[d] += s->begin[d];
        if (from >> d & 1) s->begin[d] = back ? INT64_MAX : 0;
        if (to >> d & 1) s->end[d] = back ? INT64_MIN : INT64_MAX;
        if (!(s->shrink >> d & 1)) continue;
        s->step[d] = 1;
        s->end[d] = s->begin[d] == -1 ? INT64_MAX : s->begin[d] + 1;
    }
    return CR_OK;
}

cr_status cr_tfl_read_strided_slice(cr_tfl_import *m, cr_error *err)
{
    strided s;
    cr_tfl_value *v;
    cr_tensor *y;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(read_strided(m, &s, err));
    const int rank = cr_tfl_shape(v).rank;
    CR_CHECK(s.count <= (size_t)rank, err, CR_ERR_FORMAT, "%s: %zu axes of %d", m->op_name, s.count,
             rank);
    const bool shrinks = (s.shrink & ((1 << s.count) - 1)) != 0;
    if (!shrinks) {
        CR_TRY(add_slice(m, v, s.begin, s.end, s.step, s.count, &y, err));
        return cr_tfl_finish(m, 0, y, v->native, err);
    }
    cr_tfl_value plain = *v; /* axes vanish: sliced with the file's axes */
    cr_tensor *x;
    CR_TRY(cr_tfl_view(m, v, CR_TFL_PLAIN, &x, err));
    plain.native = CR_TFL_PLAIN;
    plain.view[CR_TFL_PLAIN] = x;
    CR_TRY(add_slice(m, &plain, s.begin, s.end, s.step, s.count, &y, err));
    CR_CHECK(cr_shape_known(&y->shape), err, CR_ERR_FORMAT, "%s: an unknown shape", m->op_name);
    cr_shape shape = {0, {0}};
    for (int d = 0; d < rank; d++)
        if (!((size_t)d < s.count && (s.shrink >> d & 1)))
            shape.dim[shape.rank++] = y->shape.dim[d];
    CR_TRY(cr_tfl_like(m, v, y, &y, err));
    CR_CHECK(cr_shape_count(&shape) == cr_shape_count(&y->shape), err, CR_ERR_FORMAT,
             "%s: an index outside its axis", m->op_name);
    CR_TRY(cr_tfl_reshape(m, y, &shape, &y, err));
    return cr_tfl_finish(m, 0, y, CR_TFL_PLAIN, err);
}

/* ---- padding ---- */

/* PAD (x, [rank, 2] numbers), PADV2 with a value, MIRROR_PAD. */
static cr_status read_pads(cr_tfl_import *m, const cr_tfl_value *v, int64_t *pads, size_t *rank,
                           cr_error *err)
{
    int64_t given[2 * CR_MAX_RANK];
    size_t count;
    CR_TRY(cr_tfl_ints(m, 1, given, 2 * CR_MAX_RANK, &count, err));
    *rank = count / 2;
    CR_CHECK(count % 2 == 0 && *rank == (size_t)cr_tfl_shape(v).rank, err, CR_ERR_FORMAT,
             "%s: %zu numbers for padding", m->op_name, count);
    for (size_t d = 0; d < *rank; d++) {
        const size_t to = (size_t)cr_tfl_axis_in((int)d, v->native);
        CR_CHECK(given[2 * d] >= 0 && given[2 * d + 1] >= 0, err, CR_ERR_FORMAT,
                 "%s: negative padding", m->op_name);
        pads[to] = given[2 * d];
        pads[*rank + to] = given[2 * d + 1];
    }
    return CR_OK;
}

/* Is the constant that PADV2 pads with below everything else: the lowest float or code? */
static bool is_lowest(cr_tfl_import *m)
{
    const cr_tfl_value *v = cr_tfl_optional(m, 2);
    if (!v || !v->data) return false;
    if (v->type == CR_TFL_I8) return v->bytes == 1 && v->data[0] == 0x80;
    if (v->type == CR_TFL_U8) return v->bytes == 1 && v->data[0] == 0;
    const cr_flat_vector list = {&m->file, (size_t)(v->data - m->file.bytes), 1, 4};
    return v->type == CR_TFL_F32 && v->bytes == 4 && cr_flat_item_f32(&list, 0) < -3e38f;
}

/* Zeros around pictures, which a convolution behind may put there by itself, or the lowest value
 * and a maximum: no node yet. */
static bool put_off(cr_tfl_import *m, cr_tfl_value *y, cr_tfl_value *x, const int64_t *pads)
{
    const bool pictures = !pads[0] && !pads[1] && !pads[4] && !pads[5];
    const bool low = m->op == CR_TFL_PADV2 && is_lowest(m);
    if (!pictures || (m->op != CR_TFL_PAD && !low) || !cr_tfl_same_params(y, x)) return false;
    if (x->native != CR_TFL_NCHW || x->data || x->padded || y->is_output) return false;
    const int64_t four[4] = {pads[2], pads[3], pads[6], pads[7]};
    memcpy(y->pads, four, sizeof four);
    y->pads_low = low;
    y->padded = x;
    y->native = CR_TFL_NCHW;
    return true;
}

cr_status cr_tfl_read_pad(cr_tfl_import *m, cr_error *err)
{
    static const char *const modes[] = {"constant", "reflect"};
    const bool mirror = m->op == CR_TFL_MIRROR_PAD;
    int64_t pads[2 * CR_MAX_RANK] = {0};
    size_t rank;
    cr_tfl_value *v, *y;
    cr_tensor *x, *list, *value = NULL;
    cr_node *n;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(cr_tfl_out(m, 0, &y, err));
    CR_TRY(read_pads(m, v, pads, &rank, err));
    CR_CHECK(!mirror || cr_flat_i8(&m->options, CR_TFL_MIRROR_MODE, 0) == CR_TFL_REFLECT, err,
             CR_ERR_UNSUPPORTED, "%s: symmetric padding", m->op_name);
    CR_CHECK(!cr_tfl_is_there(y), err, CR_ERR_FORMAT, "tensor '%s' is written twice", y->name);
    if (rank == 4 && put_off(m, y, v, pads)) return CR_OK;
    CR_TRY(cr_tfl_view(m, v, v->native, &x, err));
    CR_TRY(cr_tfl_int_list(m, pads, 2 * rank, &list, err));
    if (m->op == CR_TFL_PADV2) CR_TRY(cr_tfl_input(m, 2, CR_TFL_PLAIN, &value, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Pad, value ? 3 : 2, 1, 1, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    if (value) n->in[2] = value;
    if (!cr_attr_set_string(m->g, &n->attrs[0], "mode", modes[mirror])) return CR_NOMEM(err);
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], v->native, err);
}

/* ---- gathering, stacking, repeating ---- */

cr_status cr_tfl_read_gather(cr_tfl_import *m, cr_error *err)
{
    const bool nd = m->op == CR_TFL_GATHER_ND;
    int axis = 0;
    cr_tfl_value *v, *indices;
    cr_tensor *x, *list;
    cr_node *n;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(cr_tfl_in(m, 1, &indices, err));
    if (!nd)
        CR_TRY(cr_tfl_axis(m, cr_flat_i32(&m->options, CR_TFL_GATHER_AXIS, 0), cr_tfl_shape(v).rank,
                           &axis, err));
    CR_CHECK(nd || !cr_flat_i32(&m->options, CR_TFL_GATHER_BATCH_DIMS, 0), err, CR_ERR_UNSUPPORTED,
             "%s: batches", m->op_name);
    const bool stays = !nd && cr_tfl_shape(indices).rank == 1;
    const cr_tfl_layout layout = stays ? v->native : CR_TFL_PLAIN;
    CR_TRY(cr_tfl_view(m, v, layout, &x, err));
    CR_TRY(cr_tfl_view(m, indices, CR_TFL_PLAIN, &list, err));
    if (nd) { /* ONNX: 64-bit indices */
        cr_node *cast;
        CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &cast, err));
        cast->in[0] = list;
        cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_I64));
        CR_TRY(cr_node_infer(cast, err));
        list = cast->out[0];
    }
    CR_TRY(cr_tfl_node(m, nd ? CR_OP_GatherND : CR_OP_Gather, 2, 1, nd ? 0 : 1, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    if (!nd) cr_attr_set_int(&n->attrs[0], "axis", cr_tfl_axis_in(axis, layout));
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], layout, err);
}

/* Each input gets an axis of size 1, then they are joined along it. */
cr_status cr_tfl_read_pack(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *v;
    cr_node *n;
    int axis;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    const int rank = cr_tfl_shape(v).rank;
    CR_CHECK(rank < CR_MAX_RANK && m->in.count <= INT32_MAX, err, CR_ERR_LIMIT, "%s: %d axes",
             m->op_name, rank);
    CR_TRY(cr_tfl_axis(m, cr_flat_i32(&m->options, CR_TFL_PACK_AXIS, 0), rank + 1, &axis, err));
    cr_tensor **in = cr_arena_alloc(&m->g->arena, m->in.count * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (size_t k = 0; k < m->in.count; k++) {
        CR_TRY(cr_tfl_in(m, k, &v, err));
        CR_TRY(cr_tfl_view(m, v, CR_TFL_PLAIN, &in[k], err));
        const cr_shape s = in[k]->shape;
        CR_CHECK(s.rank == rank && cr_shape_known(&s), err, CR_ERR_FORMAT,
                 "%s: inputs of different shapes", m->op_name);
        cr_shape shape = {rank + 1, {0}};
        for (int d = 0; d <= rank; d++)
            shape.dim[d] = d < axis ? s.dim[d] : d == axis ? 1 : s.dim[d - 1];
        CR_TRY(cr_tfl_reshape(m, in[k], &shape, &in[k], err));
        CR_TRY(cr_tfl_like(m, v, in[k], &in[k], err));
    }
    CR_TRY(cr_tfl_node(m, CR_OP_Concat, (int)m->in.count, 1, 1, &n, err));
    memcpy(n->in, in, m->in.count * sizeof *in);
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    CR_TRY(cr_node_infer(n, err));
    return cr_tfl_finish(m, 0, n->out[0], CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_unpack(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *v;
    cr_tensor *x;
    int axis;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    CR_TRY(cr_tfl_view(m, v, CR_TFL_PLAIN, &x, err));
    const cr_shape s = x->shape;
    CR_TRY(cr_tfl_axis(m, cr_flat_i32(&m->options, CR_TFL_PACK_AXIS, 0), s.rank, &axis, err));
    CR_CHECK(cr_shape_known(&s) && (uint64_t)s.dim[axis] == m->out.count, err, CR_ERR_FORMAT,
             "%s: %zu outputs of an axis of %lld", m->op_name, m->out.count,
             (long long)s.dim[axis]);
    cr_shape shape = {s.rank - 1, {0}};
    for (int d = 0; d < shape.rank; d++) shape.dim[d] = s.dim[d < axis ? d : d + 1];
    cr_tfl_value plain = *v;
    plain.native = CR_TFL_PLAIN;
    for (size_t k = 0; k < m->out.count; k++) {
        int64_t begin[CR_MAX_RANK] = {0}, end[CR_MAX_RANK], step[CR_MAX_RANK];
        cr_tensor *y;
        for (int d = 0; d < s.rank; d++) {
            end[d] = d == axis ? (int64_t)k + 1 : INT64_MAX;
            step[d] = 1;
        }
        begin[axis] = (int64_t)k;
        plain.view[CR_TFL_PLAIN] = x;
        CR_TRY(add_slice(m, &plain, begin, end, step, (size_t)s.rank, &y, err));
        CR_TRY(cr_tfl_like(m, v, y, &y, err));
        CR_TRY(cr_tfl_reshape(m, y, &shape, &y, err));
        CR_TRY(cr_tfl_finish(m, k, y, CR_TFL_PLAIN, err));
    }
    return CR_OK;
}

/* TILE and BROADCAST_TO. */
cr_status cr_tfl_read_tile(cr_tfl_import *m, cr_error *err)
{
    int64_t numbers[CR_MAX_RANK];
    size_t count;
    cr_tensor *x, *list, *y;
    CR_TRY(cr_tfl_input(m, 0, CR_TFL_PLAIN, &x, err));
    CR_TRY(cr_tfl_ints(m, 1, numbers, CR_MAX_RANK, &count, err));
    CR_TRY(cr_tfl_int_list(m, numbers, count, &list, err));
    CR_TRY(cr_tfl_binary(m, m->op == CR_TFL_TILE ? CR_OP_Tile : CR_OP_Expand, x, list, &y, err));
    return cr_tfl_finish(m, 0, y, CR_TFL_PLAIN, err);
}

cr_status cr_tfl_read_shape(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *v;
    cr_tensor *list;
    cr_node *cast;
    CR_TRY(cr_tfl_in(m, 0, &v, err));
    const cr_shape s = cr_tfl_shape(v);
    CR_TRY(cr_tfl_int_list(m, s.dim, (size_t)s.rank, &list, err));
    CR_TRY(cr_tfl_node(m, CR_OP_Cast, 1, 1, 1, &cast, err));
    cast->in[0] = list;
    cr_attr_set_int(&cast->attrs[0], "to", cr_dtype_to_onnx(CR_DT_I32));
    CR_TRY(cr_node_infer(cast, err));
    return cr_tfl_finish(m, 0, cast->out[0], CR_TFL_PLAIN, err);
}

/* QUANTIZE and DEQUANTIZE: the numbers stay, the pair is what each value has. A constant behind
 * DEQUANTIZE is that constant: weights that are integers or halves in the file alone. */
cr_status cr_tfl_read_alias(cr_tfl_import *m, cr_error *err)
{
    cr_tfl_value *x, *y;
    cr_tensor *view;
    CR_TRY(cr_tfl_in(m, 0, &x, err));
    CR_TRY(cr_tfl_out(m, 0, &y, err));
    CR_CHECK(!cr_tfl_is_there(y), err, CR_ERR_FORMAT, "tensor '%s' is written twice", y->name);
    if (x->data && !y->quantized && !y->is_output) {
        *y = *x;
        y->stored_only = true;
        return CR_OK;
    }
    CR_TRY(cr_tfl_view(m, x, x->native, &view, err));
    if (y->quantized || y->is_output) return cr_tfl_alias(m, 0, x, view, x->native, err);
    y->native = x->native;
    y->view[x->native] = view;
    return CR_OK;
}
