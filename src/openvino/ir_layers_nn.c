/* Convolutions, products, pooling, resizing. */
#include <string.h>

#include "base/error.h"
#include "openvino/ir_import.h"

enum { MAX_SPATIAL = 3 };

/* ---- windows ---- */

static const char *auto_pad_of(const cr_ir_import *m)
{
    const char *text = cr_ir_text(m, "auto_pad", "explicit");
    if (!strcmp(text, "same_upper")) return "SAME_UPPER";
    if (!strcmp(text, "same_lower")) return "SAME_LOWER";
    return !strcmp(text, "valid") ? "VALID" : "NOTSET";
}

/* A list of one number per axis, as an attribute; absent: nothing. */
static cr_status window_list(cr_ir_import *m, cr_node *n, const char *key, const char *as, int spatial,
                             cr_error *err)
{
    int64_t v[MAX_SPATIAL];
    size_t count;
    CR_TRY(cr_ir_ints(m, key, v, MAX_SPATIAL, &count, err));
    if (!count) return CR_OK;
    CR_CHECK((int)count == spatial, err, CR_ERR_FORMAT, "%s has %zu numbers for %d axes", key, count,
             spatial);
    return cr_attr_set_ints(m->g, &n->attrs[n->n_attrs++], as, v, count) ? CR_OK : CR_NOMEM(err);
}

static cr_status window_pads(cr_ir_import *m, cr_node *n, int spatial, cr_error *err)
{
    int64_t pads[2 * MAX_SPATIAL] = {0};
    size_t begin, end;
    const char *rule = auto_pad_of(m);
    if (strcmp(rule, "NOTSET"))
        return cr_attr_set_string(m->g, &n->attrs[n->n_attrs++], "auto_pad", rule) ? CR_OK
                                                                                   : CR_NOMEM(err);
    CR_TRY(cr_ir_ints(m, "pads_begin", pads, MAX_SPATIAL, &begin, err));
    CR_TRY(cr_ir_ints(m, "pads_end", pads + spatial, MAX_SPATIAL, &end, err));
    CR_CHECK(begin == end && (!begin || (int)begin == spatial), err, CR_ERR_FORMAT,
             "%zu and %zu pads for %d axes", begin, end, spatial);
    if (!begin) return CR_OK;
    return cr_attr_set_ints(m->g, &n->attrs[n->n_attrs++], "pads", pads, (size_t)(2 * spatial))
               ? CR_OK
               : CR_NOMEM(err);
}

static cr_status spatial_axes(const cr_tensor *x, int *out, cr_error *err)
{
    *out = x->shape.rank - 2;
    CR_CHECK(*out >= 1 && *out <= MAX_SPATIAL, err, CR_ERR_UNSUPPORTED, "an input of %d axes",
             x->shape.rank);
    return CR_OK;
}

/* ---- convolutions ---- */

/* Float weights [G, O/G, ...] as [O, ...]. */
static cr_status merge_groups(cr_ir_import *m, cr_tensor *w, cr_tensor **out, cr_error *err)
{
    int64_t dims[CR_MAX_RANK];
    cr_tensor *shape;
    if (w->data) {
        cr_shape s = {w->shape.rank - 1, {w->shape.dim[0] * w->shape.dim[1]}};
        for (int d = 2; d < w->shape.rank; d++) s.dim[d - 1] = w->shape.dim[d];
        CR_TRY(cr_ir_new_const(m, w->dtype, &s, out, err));
        memcpy((*out)->data, w->data, cr_tensor_bytes(w));
        return CR_OK;
    }
    dims[0] = w->shape.dim[0] * w->shape.dim[1];
    for (int d = 2; d < w->shape.rank; d++) dims[d - 1] = w->shape.dim[d];
    CR_TRY(cr_ir_int_list(m, dims, (size_t)(w->shape.rank - 1), &shape, err));
    return cr_ir_binary(m, CR_OP_Reshape, w, shape, out, err);
}

/* The weights, and the number of groups that they tell. Backwards, [G, I/G, O/G, ...] is ONNX's
 * [I, O/G, ...], which merges the same two axes. */
static cr_status weights_in(cr_ir_import *m, bool grouped, int spatial, cr_tensor **out,
                            int64_t *groups, cr_error *err)
{
    const cr_ir_value *v = cr_ir_value_in(m, 1);
    *groups = 1;
    if (!grouped) return cr_ir_in(m, 1, out, err);
    const cr_shape *s = NULL;
    if (v && v->packed)
        s = v->packed->shape.rank < 0 ? &v->packed->codes->shape : &v->packed->shape;
    else
        CR_TRY(cr_ir_in(m, 1, out, err));
    if (!s) s = &(*out)->shape;
    CR_CHECK(s->rank == spatial + 3 && cr_shape_known(s), err, CR_ERR_FORMAT,
             "grouped weights of %d axes", s->rank);
    *groups = s->dim[0];
    if (v->packed) CR_TRY(cr_ir_unpack_groups(m, v->packed, out, err));
    else CR_TRY(merge_groups(m, *out, out, err));
    return cr_ir_name_as_input(m, 1, *out, err);
}

static cr_status read_conv(cr_ir_import *m, bool grouped, bool backwards, cr_error *err)
{
    cr_tensor *x, *w;
    cr_node *n;
    int spatial;
    int64_t groups;
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(spatial_axes(x, &spatial, err));
    CR_TRY(weights_in(m, grouped, spatial, &w, &groups, err));
    CR_CHECK(!backwards || !cr_ir_has_in(m, 2), err, CR_ERR_UNSUPPORTED, "an output shape as input");
    /* room for a bias that an Add behind it brings */
    CR_TRY(cr_ir_node(m, backwards ? CR_OP_ConvTranspose : CR_OP_Conv, 3, 1, 6, &n, err));
    n->n_in = 2;
    n->n_attrs = 0;
    n->in[0] = x;
    n->in[1] = w;
    cr_attr_set_int(&n->attrs[n->n_attrs++], "group", groups);
    CR_TRY(window_list(m, n, "strides", "strides", spatial, err));
    CR_TRY(window_list(m, n, "dilations", "dilations", spatial, err));
    CR_TRY(window_pads(m, n, spatial, err));
    if (backwards) CR_TRY(window_list(m, n, "output_padding", "output_padding", spatial, err));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

cr_status cr_ir_read_convolution(cr_ir_import *m, cr_error *err)
{
    return read_conv(m, false, false, err);
}

cr_status cr_ir_read_group_convolution(cr_ir_import *m, cr_error *err)
{
    return read_conv(m, true, false, err);
}

cr_status cr_ir_read_backprop(cr_ir_import *m, cr_error *err)
{
    return read_conv(m, false, true, err);
}

cr_status cr_ir_read_group_backprop(cr_ir_import *m, cr_error *err)
{
    return read_conv(m, true, true, err);
}

/* One constant per channel: all axes but 1 are 1, counted from the end. */
static bool is_by_channel(const cr_tensor *b, const cr_shape *y)
{
    if (!b->data || b->dtype != CR_DT_F32 || y->rank < 3) return false;
    const int behind = y->rank - b->shape.rank;
    for (int d = 0; d < b->shape.rank; d++)
        if (b->shape.dim[d] != 1 && d + behind != 1) return false;
    return behind >= 0 && behind <= 1 && cr_shape_count(&b->shape) == y->dim[1];
}

/* The convolution without a bias whose output nobody else reads. */
static cr_node *open_convolution(cr_ir_import *m, size_t k, const cr_tensor *t)
{
    const cr_ir_value *v = cr_ir_value_in(m, k);
    cr_node *n = t->producer;
    if (!n || !n->op || (n->op->kind != CR_OP_Conv && n->op->kind != CR_OP_ConvTranspose)) return NULL;
    return n->n_in == 2 && v->uses == 1 ? n : NULL;
}

/* Behind a convolution an Add of a constant per channel is its bias. */
cr_status cr_ir_read_add(cr_ir_import *m, cr_error *err)
{
    cr_tensor *in[2], *y;
    CR_TRY(cr_ir_in(m, 0, &in[0], err));
    CR_TRY(cr_ir_in(m, 1, &in[1], err));
    for (size_t k = 0; k < 2; k++) {
        cr_node *conv = open_convolution(m, k, in[k]);
        if (!conv || !is_by_channel(in[1 - k], &in[k]->shape)) continue;
        const cr_shape flat = {1, {in[k]->shape.dim[1]}};
        CR_TRY(cr_ir_new_const(m, CR_DT_F32, &flat, &conv->in[2], err));
        memcpy(conv->in[2]->data, in[1 - k]->data, cr_tensor_bytes(in[1 - k]));
        conv->n_in = 3;
        return cr_ir_give(m, 0, in[k], err);
    }
    CR_TRY(cr_ir_binary(m, CR_OP_Add, in[0], in[1], &y, err));
    return cr_ir_give(m, 0, y, err);
}

/* ---- products ---- */

static cr_status turn_last(cr_ir_import *m, cr_tensor *x, cr_tensor **y, cr_error *err)
{
    int64_t perm[CR_MAX_RANK];
    const int rank = x->shape.rank;
    cr_node *n;
    *y = x;
    if (rank < 2) return CR_OK;
    for (int d = 0; d < rank; d++) perm[d] = d;
    perm[rank - 2] = rank - 1;
    perm[rank - 1] = rank - 2;
    CR_TRY(cr_ir_node(m, CR_OP_Transpose, 1, 1, 1, &n, err));
    n->in[0] = x;
    if (!cr_attr_set_ints(m->g, &n->attrs[0], "perm", perm, (size_t)rank)) return CR_NOMEM(err);
    *y = n->out[0];
    return cr_ir_done(m, n, err);
}

cr_status cr_ir_read_matmul(cr_ir_import *m, cr_error *err)
{
    cr_tensor *a, *b, *y;
    const cr_ir_value *w = cr_ir_value_in(m, 1);
    CR_TRY(cr_ir_in(m, 0, &a, err));
    if (cr_ir_flag(m, "transpose_a", false)) CR_TRY(turn_last(m, a, &a, err));
    const bool turn = cr_ir_flag(m, "transpose_b", false);
    const cr_shape *s = w && w->packed && w->packed->shape.rank >= 0 ? &w->packed->shape
                        : w && w->packed                           ? &w->packed->codes->shape
                                                                   : NULL;
    if (turn && s && s->rank == 2) {
        CR_TRY(cr_ir_unpack_turned(m, w->packed, &b, err));
        CR_TRY(cr_ir_name_as_input(m, 1, b, err));
    } else {
        CR_TRY(cr_ir_in(m, 1, &b, err));
        if (turn) CR_TRY(turn_last(m, b, &b, err));
    }
    CR_TRY(cr_ir_binary(m, CR_OP_MatMul, a, b, &y, err));
    return cr_ir_give(m, 0, y, err);
}

/* ---- pooling ---- */

cr_status cr_ir_read_pool(cr_ir_import *m, cr_error *err)
{
    cr_node *n;
    cr_tensor *x;
    int spatial;
    const bool average = !strcmp(m->l->type, "AvgPool");
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_TRY(spatial_axes(x, &spatial, err));
    CR_CHECK(m->l->out_count < 2 || !m->values[m->l - m->ir->layers][1].uses, err,
             CR_ERR_UNSUPPORTED, "indices of the largest values");
    CR_TRY(cr_ir_node(m, average ? CR_OP_AveragePool : CR_OP_MaxPool, 1, 1, 6, &n, err));
    n->n_attrs = 0;
    n->in[0] = x;
    CR_TRY(window_list(m, n, "kernel", "kernel_shape", spatial, err));
    CR_TRY(window_list(m, n, "strides", "strides", spatial, err));
    if (!average) CR_TRY(window_list(m, n, "dilations", "dilations", spatial, err));
    CR_TRY(window_pads(m, n, spatial, err));
    cr_attr_set_int(&n->attrs[n->n_attrs++], "ceil_mode",
                    strcmp(cr_ir_text(m, "rounding_type", "floor"), "floor") != 0);
    if (average)
        cr_attr_set_int(&n->attrs[n->n_attrs++], "count_include_pad",
                        !cr_ir_flag(m, "exclude-pad", false));
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* ---- norms ---- */

cr_status cr_ir_read_batch_norm(cr_ir_import *m, cr_error *err)
{
    static const size_t order[2][5] = {{2, 0, 1, 3, 4}, {0, 1, 2, 3, 4}}; /* opset1 and later */
    float epsilon;
    cr_node *n;
    CR_TRY(cr_ir_float(m, "epsilon", 1e-5f, &epsilon, err));
    CR_TRY(cr_ir_node(m, CR_OP_BatchNormalization, 5, 1, 1, &n, err));
    for (int k = 0; k < 5; k++) CR_TRY(cr_ir_in(m, order[m->l->version > 1][k], &n->in[k], err));
    cr_attr_set_float(&n->attrs[0], "epsilon", epsilon);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}

/* ---- resizing ---- */

static const char *resize_mode(const cr_ir_import *m)
{
    const char *mode = cr_ir_text(m, "mode", "");
    if (!strcmp(mode, "nearest")) return "nearest";
    if (!strcmp(mode, "linear") || !strcmp(mode, "linear_onnx")) return "linear";
    return !strcmp(mode, "cubic") ? "cubic" : NULL;
}

/* The whole size, from sizes or scales of some axes. */
static cr_status target_size(cr_ir_import *m, const cr_tensor *x, int64_t *size, float *scale,
                             cr_error *err)
{
    const bool by_scales = !strcmp(cr_ir_text(m, "shape_calculation_mode", "sizes"), "scales");
    const size_t numbers = m->l->version < 11 && by_scales ? 2 : 1;
    const size_t axes_at = m->l->version < 11 ? 3 : 2;
    int64_t axes[CR_MAX_RANK];
    size_t count = (size_t)x->shape.rank;
    cr_tensor *t;
    for (int d = 0; d < x->shape.rank; d++) {
        axes[d] = d;
        size[d] = x->shape.dim[d];
        scale[d] = 1;
    }
    if (cr_ir_has_in(m, axes_at)) CR_TRY(cr_ir_ints_in(m, axes_at, axes, CR_MAX_RANK, &count, err));
    CR_TRY(cr_ir_const_in(m, numbers, &t, err));
    CR_CHECK(cr_shape_count(&t->shape) == (int64_t)count, err, CR_ERR_FORMAT,
             "%lld sizes or scales for %zu axes", (long long)cr_shape_count(&t->shape), count);
    for (size_t i = 0; i < count; i++) {
        const int64_t d = axes[i] < 0 ? axes[i] + x->shape.rank : axes[i];
        CR_CHECK(d >= 0 && d < x->shape.rank, err, CR_ERR_FORMAT, "axis %lld", (long long)axes[i]);
        if (by_scales) scale[d] = (float)cr_tensor_get_f64(t, i);
        else size[d] = cr_tensor_get_i64(t, i);
    }
    return CR_OK;
}

cr_status cr_ir_read_interpolate(cr_ir_import *m, cr_error *err)
{
    cr_tensor *x, *target;
    cr_node *n;
    int64_t size[CR_MAX_RANK], pad[CR_MAX_RANK];
    float scale[CR_MAX_RANK];
    size_t pads;
    const char *mode = resize_mode(m), *place = cr_ir_text(m, "coordinate_transformation_mode",
                                                           "half_pixel");
    CR_TRY(cr_ir_in(m, 0, &x, err));
    CR_CHECK(cr_shape_known(&x->shape) && x->shape.rank > 0, err, CR_ERR_UNSUPPORTED,
             "an input of unknown size");
    CR_CHECK(mode && !cr_ir_flag(m, "antialias", false), err, CR_ERR_UNSUPPORTED,
             "mode '%.20s'%s", cr_ir_text(m, "mode", "?"), mode ? " with antialiasing" : "");
    for (int i = 0; i < 2; i++) {
        CR_TRY(cr_ir_ints(m, i ? "pads_end" : "pads_begin", pad, CR_MAX_RANK, &pads, err));
        for (size_t d = 0; d < pads; d++)
            CR_CHECK(!pad[d], err, CR_ERR_UNSUPPORTED, "padding in front of resizing");
    }
    CR_TRY(target_size(m, x, size, scale, err));
    const bool by_scales = !strcmp(cr_ir_text(m, "shape_calculation_mode", "sizes"), "scales");
    const cr_shape list = {1, {x->shape.rank}};
    if (by_scales) {
        CR_TRY(cr_ir_new_const(m, CR_DT_F32, &list, &target, err));
        memcpy(target->data, scale, (size_t)x->shape.rank * sizeof *scale);
    } else {
        CR_TRY(cr_ir_int_list(m, size, (size_t)x->shape.rank, &target, err));
    }
    CR_TRY(cr_ir_node(m, CR_OP_Resize, by_scales ? 3 : 4, 1, 4, &n, err));
    n->in[0] = x;
    n->in[by_scales ? 2 : 3] = target;
    float cubic;
    CR_TRY(cr_ir_float(m, "cube_coeff", -.75f, &cubic, err));
    cr_attr_set_float(&n->attrs[0], "cubic_coeff_a", cubic);
    if (!cr_attr_set_string(m->g, &n->attrs[1], "mode", mode) ||
        !cr_attr_set_string(m->g, &n->attrs[2], "coordinate_transformation_mode", place) ||
        !cr_attr_set_string(m->g, &n->attrs[3], "nearest_mode",
                            cr_ir_text(m, "nearest_mode", "round_prefer_floor")))
        return CR_NOMEM(err);
    CR_TRY(cr_ir_done(m, n, err));
    return cr_ir_give(m, 0, n->out[0], err);
}
