/* Layers that move values. */
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "openvino/ir_out.h"

cr_status cr_ir_put_reshape(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    cr_ir_outer(w, "Reshape", 1,
                cr_attr_int(w->n, "allowzero", 0) ? "special_zero=\"false\"" : "special_zero=\"true\"",
                in, 2);
    return CR_OK;
}

cr_status cr_ir_put_flatten(cr_ir_out *w, cr_error *err)
{
    const cr_shape *s = &w->n->out[0]->shape;
    cr_ir_ref in[2];
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    in[1] = cr_ir_const_ints(w, "shape", s->dim, (size_t)s->rank);
    cr_ir_outer(w, "Reshape", 1, "special_zero=\"false\"", in, 2);
    return CR_OK;
}

cr_status cr_ir_put_axes(cr_ir_out *w, cr_error *err)
{
    const bool squeeze = w->n->op->kind == CR_OP_Squeeze;
    const int inputs = w->n->n_in > 1 && w->n->in[1] ? 2 : 1;
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, inputs, err));
    cr_ir_outer(w, squeeze ? "Squeeze" : "Unsqueeze", 1, NULL, in, inputs);
    return CR_OK;
}

cr_status cr_ir_put_reduce(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const bool norm = n->op->kind == CR_OP_ReduceL1 || n->op->kind == CR_OP_ReduceL2;
    int64_t axes[2 * CR_MAX_RANK];
    size_t count;
    cr_ir_ref in[2];
    CR_TRY(cr_ir_list_in(w, 1, axes, &count, err));
    CR_CHECK(count || !cr_attr_int(n, "noop_with_empty_axes", 0), err, CR_ERR_UNSUPPORTED,
             "along no axis");
    for (int d = 0; !count && d < n->in[0]->shape.rank; d++) axes[d] = d;
    if (!count) count = (size_t)n->in[0]->shape.rank;
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    in[1] = cr_ir_const_ints(w, "axes", axes, count);
    cr_ir_outer(w, n->op->name, norm ? 4 : 1,
                cr_attr_int(n, "keepdims", 1) ? "keep_dims=\"true\"" : "keep_dims=\"false\"", in, 2);
    return CR_OK;
}

cr_status cr_ir_put_transpose(cr_ir_out *w, cr_error *err)
{
    const int rank = w->n->in[0]->shape.rank;
    size_t count;
    const int64_t *perm = cr_attr_ints(w->n, "perm", &count);
    int64_t turned[CR_MAX_RANK];
    cr_ir_ref in[2];
    for (int d = 0; d < rank; d++) turned[d] = perm ? perm[d] : rank - 1 - d;
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    in[1] = cr_ir_const_ints(w, "order", turned, (size_t)rank);
    cr_ir_outer(w, "Transpose", 1, NULL, in, 2);
    return CR_OK;
}

cr_status cr_ir_put_concat(cr_ir_out *w, cr_error *err)
{
    const int n = w->n->n_in;
    char attrs[48];
    cr_ir_ref *in = cr_arena_alloc(&w->arena, (size_t)n * sizeof *in);
    if (!in) return CR_NOMEM(err);
    CR_TRY(cr_ir_refs_in(w, in, n, err));
    snprintf(attrs, sizeof attrs, "axis=\"%lld\"", (long long)cr_attr_int(w->n, "axis", 0));
    cr_ir_outer(w, "Concat", 1, attrs, in, n);
    return CR_OK;
}

/* Several outputs: ports have the tensors' names, since the layer can only have one. */
static cr_status put_parts(cr_ir_out *w, const char *type, int opset, const char *attrs,
                           const cr_ir_ref *in, int n_in, cr_error *err)
{
    const cr_node *n = w->n;
    const size_t count = (size_t)n->n_out;
    cr_ir_ref *outs = cr_arena_alloc(&w->arena, count * sizeof *outs);
    const char **names = cr_arena_alloc(&w->arena, count * sizeof *names);
    if (!outs || !names) return CR_NOMEM(err);
    for (int k = 0; k < n->n_out; k++) {
        CR_CHECK(n->out[k], err, CR_ERR_UNSUPPORTED, "an output that is left out");
        outs[k] = (cr_ir_ref){.dtype = n->out[k]->dtype, .shape = n->out[k]->shape};
        names[k] = cr_ir_maker_name(w, n->out[k]);
    }
    cr_ir_layer_n(w, type, opset, n->name, attrs, in, n_in, outs, names, n->n_out);
    for (int k = 0; k < n->n_out; k++) w->refs[n->out[k]->id] = outs[k];
    return CR_OK;
}

cr_status cr_ir_put_split(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const int rank = n->in[0]->shape.rank;
    int64_t axis = cr_attr_int(n, "axis", 0);
    if (axis < 0) axis += rank;
    int64_t *lengths = cr_arena_alloc(&w->arena, (size_t)n->n_out * sizeof *lengths);
    cr_ir_ref in[3];
    if (!lengths) return CR_NOMEM(err);
    for (int k = 0; k < n->n_out; k++) {
        CR_CHECK(n->out[k], err, CR_ERR_UNSUPPORTED, "an output that is left out");
        lengths[k] = n->out[k]->shape.dim[axis];
    }
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    in[1] = cr_ir_const_int(w, "axis", axis);
    in[2] = cr_ir_const_ints(w, "lengths", lengths, (size_t)n->n_out);
    return put_parts(w, "VariadicSplit", 1, NULL, in, 3, err);
}

/* Inputs: ONNX has axes before steps, IR behind them, and steps are always there. */
cr_status cr_ir_put_slice(cr_ir_out *w, cr_error *err)
{
    int64_t axes[2 * CR_MAX_RANK], steps[2 * CR_MAX_RANK], starts[2 * CR_MAX_RANK];
    size_t count, n_axes, n_steps;
    cr_ir_ref in[5];
    CR_TRY(cr_ir_list_in(w, 1, starts, &count, err));
    CR_TRY(cr_ir_list_in(w, 3, axes, &n_axes, err));
    CR_TRY(cr_ir_list_in(w, 4, steps, &n_steps, err));
    for (size_t i = 0; i < count; i++) {
        if (!n_axes) axes[i] = (int64_t)i;
        if (!n_steps) steps[i] = 1;
    }
    CR_TRY(cr_ir_refs_in(w, in, 3, err));
    in[3] = cr_ir_const_ints(w, "steps", steps, count);
    in[4] = cr_ir_const_ints(w, "axes", axes, count);
    cr_ir_outer(w, "Slice", 8, NULL, in, 5);
    return CR_OK;
}

cr_status cr_ir_put_gather(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[3];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    in[2] = cr_ir_const_int(w, "axis", cr_attr_int(w->n, "axis", 0));
    cr_ir_outer(w, "Gather", 8, "batch_dims=\"0\"", in, 3);
    return CR_OK;
}

cr_status cr_ir_put_expand(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    cr_ir_outer(w, "Broadcast", 3, "mode=\"bidirectional\"", in, 2);
    return CR_OK;
}

cr_status cr_ir_put_tile(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    cr_ir_outer(w, "Tile", 1, NULL, in, 2);
    return CR_OK;
}

cr_status cr_ir_put_pad(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const char *mode = cr_attr_string(n, "mode", "constant");
    const bool value = n->n_in > 2 && n->in[2];
    int64_t pads[2 * CR_MAX_RANK], axes[2 * CR_MAX_RANK], full[2 * CR_MAX_RANK] = {0};
    const size_t rank = (size_t)n->in[0]->shape.rank;
    size_t count, n_axes;
    char attrs[48];
    cr_ir_ref in[4];
    CR_CHECK(strcmp(mode, "wrap"), err, CR_ERR_UNSUPPORTED, "by wrapping");
    CR_TRY(cr_ir_list_in(w, 1, pads, &count, err));
    CR_TRY(cr_ir_list_in(w, 3, axes, &n_axes, err));
    for (size_t i = 0; i < count / 2; i++) {
        int64_t d = n_axes ? axes[i] : (int64_t)i;
        if (d < 0) d += (int64_t)rank;
        full[d] = pads[i];
        full[rank + (size_t)d] = pads[count / 2 + i];
    }
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    in[1] = cr_ir_const_ints(w, "pads_begin", full, rank);
    in[2] = cr_ir_const_ints(w, "pads_end", full + rank, rank);
    if (value) {
        const cr_tensor *v = n->in[2];
        const cr_shape scalar = {0};
        CR_CHECK(v->data && cr_shape_count(&v->shape) == 1, err, CR_ERR_UNSUPPORTED,
                 "with a value that is computed");
        in[3] = cr_ir_const(w, cr_ir_stem(w, n->out[0], "value"), v->dtype, &scalar, v->data,
                            cr_dtype_size(v->dtype));
    }
    snprintf(attrs, sizeof attrs, "pad_mode=\"%.20s\"", mode);
    cr_ir_outer(w, "Pad", 12, attrs, in, value ? 4 : 3);
    return CR_OK;
}

cr_status cr_ir_put_depth_space(cr_ir_out *w, cr_error *err)
{
    const bool to_space = w->n->op->kind == CR_OP_DepthToSpace;
    const bool depth = to_space && !strcmp(cr_attr_string(w->n, "mode", "DCR"), "CRD");
    char attrs[80];
    cr_ir_ref in;
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in, err));
    snprintf(attrs, sizeof attrs, "mode=\"%s\" block_size=\"%lld\"",
             depth ? "depth_first" : "blocks_first", (long long)cr_attr_int(w->n, "blocksize", 1));
    cr_ir_outer(w, to_space ? "DepthToSpace" : "SpaceToDepth", 1, attrs, &in, 1);
    return CR_OK;
}

cr_status cr_ir_put_top_k(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    int64_t k[2 * CR_MAX_RANK];
    size_t count;
    char attrs[128];
    cr_ir_ref in[2];
    CR_TRY(cr_ir_list_in(w, 1, k, &count, err));
    CR_CHECK(count == 1, err, CR_ERR_UNSUPPORTED, "of a number that is computed");
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    in[1] = cr_ir_const_int(w, "k", k[0]);
    snprintf(attrs, sizeof attrs, "axis=\"%lld\" mode=\"%s\" sort=\"%s\" index_element_type=\"i64\"",
             (long long)cr_attr_int(n, "axis", -1), cr_attr_int(n, "largest", 1) ? "max" : "min",
             cr_attr_int(n, "sorted", 1) ? "value" : "none");
    return put_parts(w, "TopK", 11, attrs, in, 2, err);
}
