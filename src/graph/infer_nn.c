/* Shape rules of neural operators: convolutions, pools, products, norms, reductions, resizing. */
#include <string.h>

#include "graph/infer_all.h"
#include "graph/nn_rules.h"
#include "graph/shape.h"

static cr_status same_as_input(const cr_op_call *call, cr_error *err)
{
    return cr_op_set_out(call, 0, call->in[0]->dtype, &call->in[0]->shape, err);
}

/* Input i, if it is there, is a list of n values of the type of input 0. */
static cr_status check_channels(const cr_op_call *call, int i, int64_t n, cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    if (!t) return CR_OK;
    CR_TRY(cr_op_check_dtype(call, i, CR_DTS_FLOAT, err));
    CR_OP_CHECK(t->shape.rank == 1 && t->shape.dim[0] == n, call, err,
                "input %d ('%s') must be a list of %lld values", i, t->name, (long long)n);
    return CR_OK;
}

static cr_status check_rank(const cr_op_call *call, int at_least, cr_error *err)
{
    CR_OP_CHECK(call->in[0]->shape.rank >= at_least, call, err,
                "input '%s' needs at least %d dimensions", call->in[0]->name, at_least);
    return CR_OK;
}

cr_status cr_infer_conv(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(cr_op_check_same(call, 1, 0, err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_conv_read(call, 1, &c, err));
    CR_TRY(check_channels(call, 2, c.out_channels, err));
    const cr_shape out = cr_conv_out_shape(&c);
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

cr_status cr_infer_conv_transpose(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(cr_op_check_same(call, 1, 0, err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_TRY(cr_conv_transpose_read(call, &c, err));
    CR_TRY(check_channels(call, 2, c.out_channels, err));
    const cr_shape out = cr_conv_out_shape(&c);
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

static cr_status set_pooled(const cr_op_call *call, cr_error *err)
{
    cr_conv_shape c = {.batch = 0};
    CR_TRY(cr_window_pool(call, &c.win, err));
    c.batch = call->in[0]->shape.dim[0];
    c.out_channels = call->in[0]->shape.dim[1];
    const cr_shape out = cr_conv_out_shape(&c);
    CR_TRY(cr_op_set_out(call, 0, call->in[0]->dtype, &out, err));
    return cr_op_set_out(call, 1, CR_DT_I64, &out, err);
}

cr_status cr_infer_max_pool(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT | CR_DT_BIT(I8) | CR_DT_BIT(U8), err));
    return set_pooled(call, err);
}

cr_status cr_infer_average_pool(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    return set_pooled(call, err);
}

cr_status cr_infer_lp_pool(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_OP_CHECK(cr_attr_int(call->node, "p", 2) >= 1, call, err, "p must be at least 1");
    return set_pooled(call, err);
}

cr_status cr_infer_global_pool(const cr_op_call *call, cr_error *err)
{
    cr_shape out = call->in[0]->shape;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(check_rank(call, 2, err));
    for (int i = 2; i < out.rank; i++) out.dim[i] = 1;
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

static const unsigned product_types =
    CR_DTS_FLOAT | CR_DT_BIT(I32) | CR_DT_BIT(I64) | CR_DT_BIT(U32) | CR_DT_BIT(U64);

cr_status cr_infer_gemm(const cr_op_call *call, cr_error *err)
{
    const cr_shape *a = &call->in[0]->shape, *b = &call->in[1]->shape;
    const bool ta = cr_attr_int(call->node, "transA", 0) != 0;
    const bool tb = cr_attr_int(call->node, "transB", 0) != 0;
    CR_TRY(cr_op_check_dtype(call, 0, product_types, err));
    CR_TRY(cr_op_check_same(call, 1, 0, err));
    CR_TRY(cr_op_check_same(call, 2, 0, err));
    CR_OP_CHECK(a->rank == 2 && b->rank == 2, call, err, "both factors must have 2 dimensions");
    CR_OP_CHECK(a->dim[!ta] == b->dim[tb], call, err, "inner dimensions differ: %lld and %lld",
                (long long)a->dim[!ta], (long long)b->dim[tb]);
    const cr_shape out = {2, {a->dim[ta], b->dim[!tb]}};
    const cr_tensor *c = cr_op_in(call, 2);
    cr_shape sum;
    CR_OP_CHECK(!c || (cr_shape_broadcast(&c->shape, &out, &sum) && cr_shape_equal(&sum, &out)),
                call, err, "input 2 does not broadcast to the product");
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

cr_status cr_infer_matmul(const cr_op_call *call, cr_error *err)
{
    cr_matmul_shape s;
    CR_TRY(cr_op_check_dtype(call, 0, product_types, err));
    CR_TRY(cr_op_check_same(call, 1, 0, err));
    CR_TRY(cr_matmul_read(call, 0, 1, &s, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, &s.out, err);
}

cr_status cr_infer_einsum(const cr_op_call *call, cr_error *err)
{
    cr_einsum_shape s;
    for (int i = 0; i < call->n_in; i++) {
        CR_TRY(cr_op_check_dtype(call, i, CR_DTS_NUMERIC, err));
        CR_TRY(cr_op_check_same(call, i, 0, err));
    }
    CR_TRY(cr_einsum_read(call, &s, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, &s.out, err);
}

cr_status cr_infer_reduce(const cr_op_call *call, cr_error *err)
{
    const cr_op_kind kind = call->node->op->kind;
    const bool orders = kind == CR_OP_ReduceMax || kind == CR_OP_ReduceMin;
    const bool keep = cr_attr_int(call->node, "keepdims", 1) != 0;
    const cr_shape *x = &call->in[0]->shape;
    bool flags[CR_MAX_RANK];
    int count = 0;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC | (orders ? CR_DT_BIT(BOOL) : 0), err));
    CR_TRY(cr_op_axes(call, 1, x->rank, flags, &count, err));
    cr_shape out = {.rank = 0};
    if (count < 0 && !keep) out = cr_shape_unknown();
    const bool all = count == 0 && !cr_attr_int(call->node, "noop_with_empty_axes", 0);
    for (int i = 0; i < x->rank && out.rank >= 0; i++) {
        if (count < 0)
            out.dim[out.rank++] = -1;
        else if (!all && !flags[i])
            out.dim[out.rank++] = x->dim[i];
        else if (keep)
            out.dim[out.rank++] = 1;
    }
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

static cr_status check_axis(const cr_op_call *call, cr_error *err)
{
    int axis = 0;
    return cr_axis_normalize(cr_attr_int(call->node, "axis", -1), call->in[0]->shape.rank,
                             call->node, &axis, err);
}

cr_status cr_infer_softmax(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(check_axis(call, err));
    return same_as_input(call, err);
}

cr_status cr_infer_lp_norm(const cr_op_call *call, cr_error *err)
{
    const int64_t p = cr_attr_int(call->node, "p", 2);
    CR_OP_CHECK(p == 1 || p == 2, call, err, "p must be 1 or 2");
    return cr_infer_softmax(call, err);
}

cr_status cr_infer_lrn(const cr_op_call *call, cr_error *err)
{
    const int64_t size = cr_attr_int(call->node, "size", 0);
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(check_rank(call, 2, err));
    CR_OP_CHECK(size >= 1 && size < (int64_t)1 << 31, call, err, "size %lld is out of range",
                (long long)size);
    return same_as_input(call, err);
}

cr_status cr_infer_batch_norm(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(check_rank(call, 1, err));
    if (cr_attr_int(call->node, "training_mode", 0))
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED,
                          "training_mode: export the model for inference");
    const int64_t channels = call->in[0]->shape.rank > 1 ? call->in[0]->shape.dim[1] : 1;
    for (int i = 1; i < 5; i++) CR_TRY(check_channels(call, i, channels, err));
    return same_as_input(call, err);
}

cr_status cr_infer_instance_norm(const cr_op_call *call, cr_error *err)
{
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(check_rank(call, 2, err));
    for (int i = 1; i < 3; i++) CR_TRY(check_channels(call, i, call->in[0]->shape.dim[1], err));
    return same_as_input(call, err);
}

cr_status cr_infer_group_norm(const cr_op_call *call, cr_error *err)
{
    const int64_t groups = cr_attr_int(call->node, "num_groups", 0);
    CR_TRY(check_rank(call, 2, err));
    CR_OP_CHECK(groups >= 1 && call->in[0]->shape.dim[1] % groups == 0, call, err,
                "%lld channels cannot be split into %lld groups",
                (long long)call->in[0]->shape.dim[1], (long long)groups);
    return cr_infer_instance_norm(call, err);
}

cr_status cr_infer_layer_norm(const cr_op_call *call, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape;
    int axis = 0;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", -1), x->rank, call->node, &axis, err));
    for (int i = 1; i < 3; i++) {
        const cr_tensor *t = cr_op_in(call, i);
        cr_shape sum;
        CR_TRY(cr_op_check_dtype(call, i, CR_DTS_FLOAT, err));
        CR_OP_CHECK(!t || (cr_shape_broadcast(&t->shape, x, &sum) && cr_shape_equal(&sum, x)), call,
                    err, "input %d ('%s') does not broadcast to input 0", i, t ? t->name : "");
    }
    const cr_dtype stash = cr_dtype_from_onnx((int)(cr_attr_int(call->node, "stash_type", 1) & 63));
    CR_OP_CHECK(cr_dtype_in(stash, CR_DTS_FLOAT), call, err, "stash_type is no float type");
    cr_shape mean = *x;
    for (int i = axis; i < x->rank; i++) mean.dim[i] = 1;
    CR_TRY(same_as_input(call, err));
    CR_TRY(cr_op_set_out(call, 1, stash, &mean, err));
    return cr_op_set_out(call, 2, stash, &mean, err);
}

static cr_status check_choice(const cr_op_call *call, const char *name, const char *fallback,
                              const char *const *choices, cr_error *err)
{
    const char *s = cr_attr_string(call->node, name, fallback);
    for (int i = 0; choices[i]; i++)
        if (!strcmp(s, choices[i])) return CR_OK;
    return cr_op_fail(call, err, CR_ERR_FORMAT, "%s '%s' is unknown", name, s);
}

cr_status cr_infer_resize(const cr_op_call *call, cr_error *err)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const places[] = {"half_pixel", "half_pixel_symmetric", "align_corners",
                                         "asymmetric", "pytorch_half_pixel",   "tf_crop_and_resize",
                                         NULL};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                            "ceil", NULL};
    const bool nearest = !strcmp(cr_attr_string(call->node, "mode", "nearest"), "nearest");
    cr_resize_shape s;
    CR_TRY(check_choice(call, "mode", "nearest", modes, err));
    CR_TRY(check_choice(call, "coordinate_transformation_mode", "half_pixel", places, err));
    CR_TRY(check_choice(call, "nearest_mode", "round_prefer_floor", roundings, err));
    if (!nearest) CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_NUMERIC, err));
    CR_TRY(cr_resize_read(call, &s, err));
    return cr_op_set_out(call, 0, call->in[0]->dtype, &s.out, err);
}

cr_status cr_infer_grid_sample(const cr_op_call *call, cr_error *err)
{
    static const char *const modes[] = {"linear", "nearest", "cubic", NULL};
    static const char *const paddings[] = {"zeros", "border", "reflection", NULL};
    const cr_shape *x = &call->in[0]->shape, *grid = &call->in[1]->shape;
    CR_TRY(cr_op_check_dtype(call, 0, CR_DTS_FLOAT, err));
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_FLOAT, err));
    CR_TRY(check_choice(call, "mode", "linear", modes, err));
    CR_TRY(check_choice(call, "padding_mode", "zeros", paddings, err));
    const int n = x->rank - 2;
    CR_OP_CHECK(n >= 1, call, err, "input '%s' needs spatial dimensions", call->in[0]->name);
    if (n > CR_WINDOW_DIMS)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "more than %d spatial dimensions",
                          CR_WINDOW_DIMS);
    CR_OP_CHECK(grid->rank == x->rank && grid->dim[0] == x->dim[0] && grid->dim[n + 1] == n, call,
                err, "the grid must be [N, ..., %d]", n);
    cr_shape out = *x;
    for (int i = 0; i < n; i++) {
        out.dim[2 + i] = grid->dim[1 + i];
        CR_OP_CHECK(x->dim[2 + i] > 0, call, err, "input '%s' is empty", call->in[0]->name);
    }
    return cr_op_set_out(call, 0, call->in[0]->dtype, &out, err);
}

cr_status cr_infer_non_max_suppression(const cr_op_call *call, cr_error *err)
{
    const cr_shape *boxes = &call->in[0]->shape, *scores = &call->in[1]->shape;
    const unsigned types[] = {CR_DT_BIT(F32), CR_DT_BIT(F32), CR_DT_BIT(I64), CR_DT_BIT(F32),
                              CR_DT_BIT(F32)};
    bool known = true;
    for (int i = 0; i < call->n_in; i++) {
        CR_TRY(cr_op_check_dtype(call, i, types[i], err));
        if (i >= 2) CR_TRY(cr_op_check_scalar(call, i, err));
        known = known && (!call->in[i] || call->in[i]->data);
    }
    CR_OP_CHECK(boxes->rank == 3 && scores->rank == 3 && boxes->dim[2] == 4 &&
                    boxes->dim[0] == scores->dim[0] && boxes->dim[1] == scores->dim[2],
                call, err, "needs boxes [N, B, 4] and scores [N, C, B]");
    cr_shape out = {2, {-1, 3}};
    if (known) CR_TRY(cr_nms_select(call, NULL, 0, &out.dim[0], err));
    return cr_op_set_out(call, 0, CR_DT_I64, &out, err);
}
