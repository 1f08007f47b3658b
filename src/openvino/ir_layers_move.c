/* Layers that move values and work with shapes. */
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "openvino/ir_import.h"

enum { MAX_PARTS = 4096 };

static cr_status one_axis(cr_ir_import *m, size_t k, int rank, int64_t *axis, cr_error *err)
{
    size_t count;
    CR_TRY(cr_ir_ints_in(m, k, axis, 1, &count, err));
    CR_CHECK(count == 1 && *axis >= -rank && *axis < rank, err, CR_ERR_FORMAT, "axis %lld of %d",
             count ? (long long)*axis : -1, rank);
    if (*axis < 0) *axis += rank;
    return CR_OK;
}

cr_status cr_ir_read_reshape(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_Reshape, 2, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_in(m, 1, &n->in[1], err));
    cr_attr_set_int(&n->attrs[0], "allowzero", !cr_ir_flag(m, "special_zero", false));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* Axes as a list: an IR may give one as a scalar. */
static cr_status axes_in(cr_ir_import *m, size_t k, cr_tensor **out, cr_error *err)
{
    int64_t axes[CR_MAX_RANK];
    size_t count;
    CR_TRY(cr_ir_ints_in(m, k, axes, CR_MAX_RANK, &count, err));
    return cr_ir_int_list(m, axes, count, out, err);
}

/* Squeeze, Unsqueeze and the reductions: a tensor, axes, what is done along them. */
cr_status cr_ir_read_axes(cr_ir_import *m, cr_error *err)
{
    static const struct {
        const char *type;
        cr_op_kind kind;
        bool reduces;
    } ops[] = {{"Squeeze", CR_OP_Squeeze, false},       {"Unsqueeze", CR_OP_Unsqueeze, false},
               {"ReduceMean", CR_OP_ReduceMean, true},  {"ReduceMax", CR_OP_ReduceMax, true},
               {"ReduceMin", CR_OP_ReduceMin, true},    {"ReduceSum", CR_OP_ReduceSum, true},
               {"ReduceProd", CR_OP_ReduceProd, true},  {"ReduceL1", CR_OP_ReduceL1, true},
               {"ReduceL2", CR_OP_ReduceL2, true}};
    size_t i = 0;
    cr_node *n;
    while (strcmp(ops[i].type, m->l->type)) i++;
    const bool given = cr_ir_has_in(m, 1);
    CR_TRY(cr_ir_node(m, ops[i].kind, given ? 2 : 1, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    if (given) CR_TRY(axes_in(m, 1, &n->in[1], err));
    cr_attr_set_int(&n->attrs[0], "keepdims", cr_ir_flag(m, "keep_dims", false));
    if (!ops[i].reduces) n->n_attrs = 0;
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

cr_status cr_ir_read_transpose(cr_ir_import *m, cr_error *err)
{
    int64_t perm[CR_MAX_RANK];
    size_t count = 0;
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_Transpose, 1, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    if (cr_ir_has_in(m, 1)) CR_TRY(cr_ir_ints_in(m, 1, perm, CR_MAX_RANK, &count, err));
    if (!count) n->n_attrs = 0;
    else if (!cr_attr_set_ints(m->g, &n->attrs[0], "perm", perm, count)) return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

cr_status cr_ir_read_concat(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    int64_t axis;
    CR_CHECK(m->l->in_count > 0 && m->l->in_count <= INT_MAX, err, CR_ERR_FORMAT, "no inputs");
    CR_TRY(cr_ir_int(m, "axis", 0, &axis, err));
    CR_TRY(cr_ir_node(m, CR_OP_Concat, (int)m->l->in_count, 1, 1, &n, err));
    for (size_t k = 0; k < m->l->in_count; k++) CR_TRY(cr_ir_in(m, k, &n->in[k], err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

static cr_status split(cr_ir_import *m, cr_tensor *x, int64_t axis, const int64_t *lengths,
                       cr_error *err)
{
    const size_t parts = m->l->out_count;
    cr_node *n;
    CR_TRY(cr_ir_node(m, CR_OP_Split, 2, (int)parts, 1, &n, err));
    n->in[0] = x;
    CR_TRY(cr_ir_int_list(m, lengths, parts, &n->in[1], err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    CR_TRY(cr_ir_done(m, n, err));
    for (size_t k = 0; k < parts; k++) CR_TRY(cr_ir_give(m, k, n->out[k], err));
    return CR_OK;
}

static cr_status split_axis(cr_ir_import *m, cr_tensor **x, int64_t *axis, cr_error *err)
{
    CR_TRY(cr_ir_in(m, 0, x, err));
    CR_CHECK(m->l->out_count >= 1 && m->l->out_count <= MAX_PARTS, err, CR_ERR_LIMIT, "%zu parts",
             m->l->out_count);
    CR_CHECK(cr_shape_known(&(*x)->shape), err, CR_ERR_UNSUPPORTED, "an input of unknown size");
    return one_axis(m, 1, (*x)->shape.rank, axis, err);
}

cr_status cr_ir_read_split(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x;
    int64_t axis, lengths[MAX_PARTS];
    CR_TRY(split_axis(m, &x, &axis, err));
    const int64_t parts = (int64_t)m->l->out_count, whole = x->shape.dim[axis];
    CR_CHECK(whole % parts == 0, err, CR_ERR_FORMAT, "%lld in %lld equal parts", (long long)whole,
             (long long)parts);
    for (int64_t k = 0; k < parts; k++) lengths[k] = whole / parts;
    return split(m, x, axis, lengths, err);
}

/* One length may be -1: the rest. */
cr_status cr_ir_read_variadic_split(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x;
    int64_t axis, lengths[MAX_PARTS], rest;
    size_t count;
    int open = -1;
    CR_TRY(split_axis(m, &x, &axis, err));
    CR_TRY(cr_ir_ints_in(m, 2, lengths, MAX_PARTS, &count, err));
    CR_CHECK(count == m->l->out_count, err, CR_ERR_FORMAT, "%zu lengths for %zu parts", count,
             m->l->out_count);
    rest = x->shape.dim[axis];
    for (size_t k = 0; k < count; k++) {
        CR_CHECK(lengths[k] >= -1 && lengths[k] <= rest && !(lengths[k] < 0 && open >= 0), err,
                 CR_ERR_FORMAT, "lengths that do not make up the axis");
        if (lengths[k] < 0) open = (int)k;
        else rest -= lengths[k];
    }
    if (open >= 0) lengths[open] = rest;
    return split(m, x, axis, lengths, err);
}

/* ---- slices ---- */

typedef struct slice { /* along axes of the input */
    int64_t start[CR_MAX_RANK], stop[CR_MAX_RANK], step[CR_MAX_RANK], axis[CR_MAX_RANK];
    size_t count;
} slice;

static cr_status add_slice(cr_ir_import *m, cr_tensor *x, const slice *s, cr_tensor **y, cr_error *err)
{
    cr_node *n;
    *y = x;
    if (!s->count) return CR_OK;
    CR_TRY(cr_ir_node(m, CR_OP_Slice, 5, 1, 0, &n, err));
    n->in[0] = x;
    CR_TRY(cr_ir_int_list(m, s->start, s->count, &n->in[1], err));
    CR_TRY(cr_ir_int_list(m, s->stop, s->count, &n->in[2], err));
    CR_TRY(cr_ir_int_list(m, s->axis, s->count, &n->in[3], err));
    CR_TRY(cr_ir_int_list(m, s->step, s->count, &n->in[4], err));
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

cr_status cr_ir_read_slice(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    const bool axes = cr_ir_has_in(m, 4);
    CR_TRY(cr_ir_node(m, CR_OP_Slice, 5, 1, 0, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_in(m, 1, &n->in[1], err));
    CR_TRY(cr_ir_in(m, 2, &n->in[2], err));
    CR_TRY(cr_ir_in(m, 3, &n->in[4], err));
    if (axes) CR_TRY(cr_ir_in(m, 4, &n->in[3], err));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

typedef struct masks {
    int64_t begin[2 * CR_MAX_RANK], end[2 * CR_MAX_RANK], new_axis[2 * CR_MAX_RANK],
        shrink[2 * CR_MAX_RANK], ellipsis[2 * CR_MAX_RANK];
} masks;

static cr_status read_masks(cr_ir_import *m, masks *k, cr_error *err)
{
    size_t count;
    *k = (masks){{0}};
    CR_TRY(cr_ir_ints(m, "begin_mask", k->begin, 2 * CR_MAX_RANK, &count, err));
    CR_TRY(cr_ir_ints(m, "end_mask", k->end, 2 * CR_MAX_RANK, &count, err));
    CR_TRY(cr_ir_ints(m, "new_axis_mask", k->new_axis, 2 * CR_MAX_RANK, &count, err));
    CR_TRY(cr_ir_ints(m, "shrink_axis_mask", k->shrink, 2 * CR_MAX_RANK, &count, err));
    return cr_ir_ints(m, "ellipsis_mask", k->ellipsis, 2 * CR_MAX_RANK, &count, err);
}

/* A mask of 1 means: that bound is open. New axes and axes that vanish follow the slice. */
cr_status cr_ir_read_strided_slice(cr_ir_import *m, cr_error *err)
{
    int64_t begin[CR_MAX_RANK], end[CR_MAX_RANK], step[CR_MAX_RANK];
    int64_t gone[CR_MAX_RANK], made[CR_MAX_RANK];
    size_t count, ends, steps = 0, n_gone = 0, n_made = 0;
    slice s = {.count = 0};
    masks k;
    cr_tensor *x, *y, *axes;
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_ints_in(m, 1, begin, CR_MAX_RANK, &count, err));
    CR_TRY(cr_ir_ints_in(m, 2, end, CR_MAX_RANK, &ends, err));
    if (cr_ir_has_in(m, 3)) CR_TRY(cr_ir_ints_in(m, 3, step, CR_MAX_RANK, &steps, err));
    CR_TRY(read_masks(m, &k, err));
    CR_CHECK(count == ends && (!steps || steps == count), err, CR_ERR_FORMAT,
             "%zu begins, %zu ends, %zu steps", count, ends, steps);
    int at = 0; /* axis of the input */
    for (size_t i = 0; i < count; i++) {
        CR_CHECK(!k.ellipsis[i], err, CR_ERR_UNSUPPORTED, "an ellipsis");
        if (k.new_axis[i]) {
            made[n_made++] = (int64_t)i - (int64_t)n_gone;
            continue;
        }
        const int64_t by = steps ? step[i] : 1;
        CR_CHECK(at < x->shape.rank && by, err, CR_ERR_FORMAT, "a slice of more axes than there are");
        if (k.shrink[i]) gone[n_gone++] = at;
        s.axis[s.count] = at++;
        s.step[s.count] = k.shrink[i] ? 1 : by;
        s.start[s.count] = k.begin[i] ? (by > 0 ? 0 : INT64_MAX) : begin[i];
        s.stop[s.count] = k.shrink[i] ? (begin[i] == -1 ? INT64_MAX : begin[i] + 1)
                          : k.end[i]  ? (by > 0 ? INT64_MAX : INT64_MIN)
                                      : end[i];
        s.count++;
    }
    CR_TRY(add_slice(m, x, &s, &y, err));
    if (n_gone) {
        CR_TRY(cr_ir_int_list(m, gone, n_gone, &axes, err));
        CR_TRY(cr_ir_binary(m, CR_OP_Squeeze, y, axes, &y, err));
    }
    if (n_made) {
        CR_TRY(cr_ir_int_list(m, made, n_made, &axes, err));
        CR_TRY(cr_ir_binary(m, CR_OP_Unsqueeze, y, axes, &y, err));
    }
    if (y == x) CR_TRY(cr_ir_unary(m, CR_OP_Identity, x, &y, err));
    return cr_ir_give(m, 0, y, err);
}

/* ---- the rest ---- */

cr_status cr_ir_read_gather(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    int64_t axis, batch;
    CR_TRY(cr_ir_int(m, "batch_dims", 0, &batch, err));
    CR_CHECK(batch == 0, err, CR_ERR_UNSUPPORTED, "batch_dims %lld", (long long)batch);
    CR_TRY(cr_ir_node(m, CR_OP_Gather, 2, 1, 1, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_in(m, 1, &n->in[1], err));
    CR_TRY(one_axis(m, 2, n->in[0]->shape.rank, &axis, err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* Shapes are known while reading, so this is a constant. */
cr_status cr_ir_read_shape(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x, *y;
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_CHECK(cr_shape_known(&x->shape), err, CR_ERR_UNSUPPORTED, "a size that depends on values");
    CR_TRY(cr_ir_int_list(m, x->shape.dim, (size_t)x->shape.rank, &y, err));
    return cr_ir_give(m, 0, y, err);
}

cr_status cr_ir_read_broadcast(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x, *shape, *y;
    const char *mode = cr_ir_text(m, "mode", "numpy");
    CR_CHECK(!strcmp(mode, "numpy") || !strcmp(mode, "bidirectional"), err, CR_ERR_UNSUPPORTED,
             "mode '%.20s'", mode);
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_in(m, 1, &shape, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Expand, x, shape, &y, err));
    return cr_ir_give(m, 0, y, err);
}

cr_status cr_ir_read_tile(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x, *y, *repeats;
    int64_t n[CR_MAX_RANK], full[CR_MAX_RANK];
    size_t count;
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_ints_in(m, 1, n, CR_MAX_RANK, &count, err));
    CR_CHECK(x->shape.rank >= 0 && count <= (size_t)x->shape.rank, err, CR_ERR_UNSUPPORTED,
             "more repeats than axes");
    for (int d = 0; d < x->shape.rank; d++) {
        const int i = d - (x->shape.rank - (int)count);
        full[d] = i < 0 ? 1 : n[i];
    }
    CR_TRY(cr_ir_int_list(m, full, (size_t)x->shape.rank, &repeats, err));
    CR_TRY(cr_ir_binary(m, CR_OP_Tile, x, repeats, &y, err));
    return cr_ir_give(m, 0, y, err);
}

cr_status cr_ir_read_pad(cr_ir_import *m, cr_error *err)
{
    const char *mode = cr_ir_text(m, "pad_mode", "constant");
    int64_t pads[2 * CR_MAX_RANK];
    size_t begin, end;
    cr_node *n;
    cr_tensor *x, *list;
    CR_CHECK(strcmp(mode, "symmetric"), err, CR_ERR_UNSUPPORTED, "symmetric padding");
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(cr_ir_ints_in(m, 1, pads, CR_MAX_RANK, &begin, err));
    CR_TRY(cr_ir_ints_in(m, 2, pads + begin, CR_MAX_RANK, &end, err));
    CR_CHECK(begin == end, err, CR_ERR_FORMAT, "%zu and %zu pads", begin, end);
    CR_TRY(cr_ir_int_list(m, pads, begin + end, &list, err));
    const bool value = cr_ir_has_in(m, 3);
    CR_TRY(cr_ir_node(m, CR_OP_Pad, value ? 3 : 2, 1, 1, &n, err));
    n->in[0] = x;
    n->in[1] = list;
    if (value) CR_TRY(cr_ir_in(m, 3, &n->in[2], err));
    if (!cr_attr_set_string(m->g, &n->attrs[0], "mode", mode)) return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

cr_status cr_ir_read_depth_space(cr_ir_import *m, cr_error *err)
{
    const bool to_space = !strcmp(m->l->type, "DepthToSpace");
    const bool blocks = !strcmp(cr_ir_text(m, "mode", "blocks_first"), "blocks_first");
    int64_t size;
    cr_node *n;
    CR_CHECK(to_space || blocks, err, CR_ERR_UNSUPPORTED, "depth first");
    CR_TRY(cr_ir_int(m, "block_size", 1, &size, err));
    CR_TRY(cr_ir_node(m, to_space ? CR_OP_DepthToSpace : CR_OP_SpaceToDepth, 1, 1, 2, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    cr_attr_set_int(&n->attrs[0], "blocksize", size);
    if (!to_space) n->n_attrs = 1;
    else if (!cr_attr_set_string(m->g, &n->attrs[1], "mode", blocks ? "DCR" : "CRD"))
        return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

cr_status cr_ir_read_top_k(cr_ir_import *m, cr_error *err)
{
    int64_t axis, k;
    size_t count;
    cr_node *n;
    CR_TRY(cr_ir_int(m, "axis", -1, &axis, err));
    CR_TRY(cr_ir_ints_in(m, 1, &k, 1, &count, err));
    CR_CHECK(count == 1 && m->l->out_count == 2, err, CR_ERR_FORMAT, "no k, or not two outputs");
    CR_TRY(cr_ir_node(m, CR_OP_TopK, 2, 2, 3, &n, err));
    CR_TRY(cr_ir_in(m, 0, &n->in[0], err));
    CR_TRY(cr_ir_int_list(m, &k, 1, &n->in[1], err));
    cr_attr_set_int(&n->attrs[0], "axis", axis);
    cr_attr_set_int(&n->attrs[1], "largest", strcmp(cr_ir_text(m, "mode", "max"), "min") != 0);
    cr_attr_set_int(&n->attrs[2], "sorted", strcmp(cr_ir_text(m, "sort", "value"), "none") != 0);
    CR_TRY(cr_ir_done(m, n, err));
    CR_TRY(cr_ir_give(m, 0, n->out[0], err));
    return cr_ir_give(m, 1, n->out[1], err);
}

cr_status cr_ir_read_convert(cr_ir_import *m, cr_error *err)
{
    const cr_dtype to = cr_ir_dtype(cr_ir_attr(m->l, "destination_type"));
    cr_tensor *x;
    cr_node *n;
    CR_CHECK(to != CR_DT_NONE, err, CR_ERR_UNSUPPORTED, "to type '%.20s'",
             cr_ir_text(m, "destination_type", "?"));
    CR_TRY(cr_ir_in(m, 0, &x, err));
    if (x->dtype == to && x->data) return cr_ir_give(m, 0, x, err); /* stored as halves */
    CR_TRY(cr_ir_node(m, CR_OP_Cast, 1, 1, 1, &n, err));
    n->in[0] = x;
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(to));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}
