/* Movement that is one strided copy: every operator here says where its first element lies and how
 * far apart neighbours are, on both sides, and cr_copy_strided does the rest. */
#include "graph/infer_move.h"
#include "ops/elem.h"
#include "ops/ref_all.h"

static cr_strided dense_job(const cr_shape *shape, cr_tensor *dst, const cr_tensor *src)
{
    cr_strided job = {shape, dst->data, src->data, 0, 0, {0}, {0}, cr_dtype_size(src->dtype)};
    cr_shape_strides(&dst->shape, job.to_stride);
    cr_shape_strides(&src->shape, job.from_stride);
    return job;
}

cr_status cr_eval_reshape(const cr_op_call *call, cr_error *err)
{
    memcpy(call->out[0]->data, call->in[0]->data, cr_tensor_bytes(call->in[0]));
    return CR_OK;
}

cr_status cr_eval_transpose(const cr_op_call *call, cr_error *err)
{
    int perm[CR_MAX_RANK];
    int64_t dense[CR_MAX_RANK];
    CR_TRY(cr_perm_resolve(call, perm, err));
    cr_strided job = dense_job(&call->out[0]->shape, call->out[0], call->in[0]);
    memcpy(dense, job.from_stride, sizeof dense);
    for (int i = 0; i < job.shape->rank; i++) job.from_stride[i] = dense[perm[i]];
    cr_copy_strided(&job);
    return CR_OK;
}

cr_status cr_eval_concat(const cr_op_call *call, cr_error *err)
{
    int axis;
    int64_t done = 0;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), call->out[0]->shape.rank,
                             call->node, &axis, err));
    for (int i = 0; i < call->n_in; i++) {
        cr_strided job = dense_job(&call->in[i]->shape, call->out[0], call->in[i]);
        job.to = done * job.to_stride[axis];
        done += call->in[i]->shape.dim[axis];
        cr_copy_strided(&job);
    }
    return CR_OK;
}

/* Size of part i, also where that output is absent. Without a list all parts but the last are
 * equal, and nobody asks for the last one's. */
static int64_t split_size(const cr_op_call *call, int i, int axis)
{
    if (call->n_in > 1 && call->in[1]) return cr_tensor_get_i64(call->in[1], (size_t)i);
    return (call->in[0]->shape.dim[axis] + call->n_out - 1) / call->n_out;
}

cr_status cr_eval_split(const cr_op_call *call, cr_error *err)
{
    int axis;
    int64_t done = 0;
    CR_TRY(cr_axis_normalize(cr_attr_int(call->node, "axis", 0), call->in[0]->shape.rank,
                             call->node, &axis, err));
    for (int i = 0; i < call->n_out; i++) {
        if (call->out[i]) {
            cr_strided job = dense_job(&call->out[i]->shape, call->out[i], call->in[0]);
            job.from = done * job.from_stride[axis];
            cr_copy_strided(&job);
        }
        done += split_size(call, i, axis);
    }
    return CR_OK;
}

cr_status cr_eval_slice(const cr_op_call *call, cr_error *err)
{
    cr_slice_plan plan;
    CR_TRY(cr_slice_resolve(call, &plan, err));
    cr_strided job = dense_job(&call->out[0]->shape, call->out[0], call->in[0]);
    for (int i = 0; i < job.shape->rank; i++) {
        job.from += plan.start[i] * job.from_stride[i];
        /* a single element needs no step, and then the step may be any number */
        job.from_stride[i] *= job.shape->dim[i] > 1 ? plan.step[i] : 0;
    }
    cr_copy_strided(&job);
    return CR_OK;
}

cr_status cr_eval_expand(const cr_op_call *call, cr_error *err)
{
    cr_strided job = dense_job(&call->out[0]->shape, call->out[0], call->in[0]);
    cr_broadcast_strides(&call->in[0]->shape, job.shape, job.from_stride);
    cr_copy_strided(&job);
    return CR_OK;
}

/* The b x b block of places (bi, bj) under a pixel is b·b channels at that pixel. As a 6-D box
 * [n, c, h, bi, w, bj] both sides are strided: `wide` is the side with more pixels, `deep` the one
 * with more channels (ordered [bi, bj, c] in mode DCR, [c, bi, bj] in CRD). */
cr_status cr_eval_depth_space(const cr_op_call *call, cr_error *err)
{
    const bool to_space = call->node->op->kind == CR_OP_DepthToSpace;
    const bool crd = !strcmp(cr_attr_string(call->node, "mode", "DCR"), "CRD");
    const int64_t b = cr_attr_int(call->node, "blocksize", 1);
    const cr_shape *wide = to_space ? &call->out[0]->shape : &call->in[0]->shape;
    const int64_t c = wide->dim[1], h = wide->dim[2] / b, w = wide->dim[3] / b, hw = h * w;
    const cr_shape box = {6, {wide->dim[0], c, h, b, w, b}};
    const int64_t c_step = crd ? b * b * hw : hw, i_step = crd ? b * hw : b * c * hw;
    const int64_t j_step = crd ? hw : c * hw;
    const int64_t wide_step[6] = {c * b * b * hw, b * b * hw, b * b * w, b * w, b, 1};
    const int64_t deep_step[6] = {c * b * b * hw, c_step, w, i_step, 1, j_step};
    cr_strided job = {.shape = &box, .dst = call->out[0]->data, .src = call->in[0]->data};
    job.size = cr_dtype_size(call->in[0]->dtype);
    memcpy(job.to_stride, to_space ? wide_step : deep_step, sizeof wide_step);
    memcpy(job.from_stride, to_space ? deep_step : wide_step, sizeof wide_step);
    cr_copy_strided(&job);
    return CR_OK;
}
