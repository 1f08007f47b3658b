/* Operators that move values: reshapes, transposes, slices, concatenation, gathers, padding. */
#include <string.h>

#include "coreml/mil_graph.h"
#include "graph/infer_move.h"

#define IN(k)   cr_coreml_in(w, n, k)
#define INT(v)  cr_mil_int(&w->mil, v)
#define BOOL(v) cr_mil_bool(&w->mil, v)

static cr_op_call call_of(const cr_node *n)
{
    return (cr_op_call){n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
}

static const char *shape_value(cr_coreml_writer *w, const cr_shape *s)
{
    return cr_mil_ints(&w->mil, s->dim, (size_t)s->rank);
}

static int64_t positive_axis(int64_t axis, int rank)
{
    return axis < 0 ? axis + rank : axis;
}

static cr_status reshape(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    (void)err;
    cr_coreml_emit(w, n, 0, "reshape",
                   CR_ARGS({"x", IN(0)}, {"shape", shape_value(w, &n->out[0]->shape)}));
    return CR_OK;
}

static cr_status transpose(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    int perm[CR_MAX_RANK];
    int64_t wide[CR_MAX_RANK];
    const int rank = n->in[0]->shape.rank;
    CR_TRY(cr_perm_resolve(&call, perm, err));
    for (int i = 0; i < rank; i++) wide[i] = perm[i];
    cr_coreml_emit(w, n, 0, "transpose",
                   CR_ARGS({"x", IN(0)}, {"perm", cr_mil_ints(&w->mil, wide, (size_t)rank)}));
    return CR_OK;
}

static cr_status concat(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const char **values = cr_arena_alloc(&w->mil.arena, (size_t)n->n_in * sizeof *values);
    const int64_t axis = positive_axis(cr_attr_int(n, "axis", 0), n->out[0]->shape.rank);
    if (!values) return CR_NOMEM(err);
    for (int k = 0; k < n->n_in; k++) values[k] = IN(k);
    const char *axis_value = INT(axis), *interleave = BOOL(false);
    cr_mil_op *op = cr_mil_begin(&w->mil, "concat", cr_coreml_output_name(w, n, 0), 3, 1);
    cr_mil_arg_list(&w->mil, op, "values", values, (size_t)n->n_in);
    cr_mil_arg(&w->mil, op, "axis", axis_value);
    cr_mil_arg(&w->mil, op, "interleave", interleave);
    cr_coreml_result(w, op, n, 0);
    return CR_OK;
}

static cr_status split(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const int64_t axis = positive_axis(cr_attr_int(n, "axis", 0), n->in[0]->shape.rank);
    int64_t *sizes = cr_arena_alloc(&w->mil.arena, (size_t)n->n_out * sizeof *sizes);
    if (!sizes) return CR_NOMEM(err);
    for (int k = 0; k < n->n_out; k++) {
        if (!n->out[k]) return cr_coreml_refuse(n, "with an output left out", err);
        sizes[k] = n->out[k]->shape.dim[axis];
    }
    const char *x = IN(0), *axis_value = INT(axis);
    const char *list = cr_mil_ints(&w->mil, sizes, (size_t)n->n_out);
    cr_mil_op *op =
        cr_mil_begin(&w->mil, "split", cr_coreml_output_name(w, n, 0), 3, (size_t)n->n_out);
    cr_mil_arg(&w->mil, op, "x", x);
    cr_mil_arg(&w->mil, op, "split_sizes", list);
    cr_mil_arg(&w->mil, op, "axis", axis_value);
    for (int k = 0; k < n->n_out; k++) cr_coreml_result(w, op, n, k);
    return CR_OK;
}

/* A negative index would count from the end, so "down to the first" is a mask. */
static cr_status slice(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    cr_slice_plan p;
    int64_t end[CR_MAX_RANK];
    bool open[CR_MAX_RANK], no[CR_MAX_RANK] = {0};
    CR_TRY(cr_slice_resolve(&call, &p, err));
    if (cr_shape_count(&p.out) <= 0)
        return cr_coreml_refuse(n, "with an unknown or empty result", err);
    const size_t rank = (size_t)p.out.rank;
    for (size_t i = 0; i < rank; i++) {
        const int64_t last = p.start[i] + (p.out.dim[i] - 1) * p.step[i];
        open[i] = p.step[i] < 0 && last == 0;
        end[i] = open[i] ? 0 : p.step[i] < 0 ? last - 1 : last + 1;
    }
    cr_mil *m = &w->mil;
    cr_coreml_emit(w, n, 0, "slice_by_index",
                   CR_ARGS({"x", IN(0)}, {"begin", cr_mil_ints(m, p.start, rank)},
                           {"end", cr_mil_ints(m, end, rank)},
                           {"stride", cr_mil_ints(m, p.step, rank)},
                           {"begin_mask", cr_mil_bools(m, no, rank)},
                           {"end_mask", cr_mil_bools(m, open, rank)},
                           {"squeeze_mask", cr_mil_bools(m, no, rank)}));
    return CR_OK;
}

/* Later operator sets name what was left to be guessed: batch dimensions, and that indices are not
 * checked. */
static cr_status gather(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_kind kind = n->op->kind;
    const int64_t axis = positive_axis(cr_attr_int(n, "axis", 0), n->in[0]->shape.rank);
    const bool nd = kind == CR_OP_GatherND, along = kind == CR_OP_GatherElements;
    const int64_t batch = cr_attr_int(n, "batch_dims", 0);
    if (nd && batch && w->level < 6) w->level = 6;
    const char *type = nd ? "gather_nd" : along ? "gather_along_axis" : "gather";
    (void)err;
    cr_coreml_emit(w, n, 0, type,
                   CR_ARGS({"x", IN(0)}, {"indices", IN(1)}, {nd ? NULL : "axis", INT(axis)},
                           {!along && w->level >= 6 ? "batch_dims" : NULL, INT(nd ? batch : 0)},
                           {w->level >= 7 ? "validate_indices" : NULL, BOOL(false)}));
    return CR_OK;
}

static cr_status tile(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_shape *in = &n->in[0]->shape, *out = &n->out[0]->shape;
    const char *x = IN(0);
    cr_shape full = {.rank = out->rank};
    int64_t reps[CR_MAX_RANK];
    (void)err;
    for (int i = 0; i < out->rank; i++) {
        const int k = i - (out->rank - in->rank);
        full.dim[i] = k < 0 ? 1 : in->dim[k];
        reps[i] = full.dim[i] ? out->dim[i] / full.dim[i] : 1;
    }
    if (in->rank != out->rank)
        x = cr_coreml_step(w, n, "reshape", &full,
                           CR_ARGS({"x", x}, {"shape", shape_value(w, &full)}));
    cr_coreml_emit(w, n, 0, "tile",
                   CR_ARGS({"x", x}, {"reps", cr_mil_ints(&w->mil, reps, (size_t)out->rank)}));
    return CR_OK;
}

static cr_status pad(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_op_call call = call_of(n);
    const char *mode = cr_attr_string(n, "mode", "constant");
    const bool constant = !strcmp(mode, "constant"), edge = !strcmp(mode, "edge");
    const int rank = n->in[0]->shape.rank;
    const cr_tensor *value = n->n_in > 2 ? n->in[2] : NULL;
    cr_pad_plan p;
    int64_t both[2 * CR_MAX_RANK];
    CR_TRY(cr_pad_resolve(&call, &p, err));
    if (!p.known || (value && !value->data))
        return cr_coreml_refuse(n, "with computed amounts", err);
    if (!constant && !edge && strcmp(mode, "reflect"))
        return cr_coreml_refuse(n, "that wraps", err);
    if (!cr_dtype_is_float(n->out[0]->dtype)) return cr_coreml_refuse(n, "of whole numbers", err);
    for (int i = 0; i < rank; i++) {
        if (p.before[i] < 0 || p.after[i] < 0) return cr_coreml_refuse(n, "that crops", err);
        both[2 * i] = p.before[i];
        both[2 * i + 1] = p.after[i];
    }
    const float v = value ? (float)cr_tensor_get_f64(value, 0) : 0;
    cr_coreml_emit(w, n, 0, "pad",
                   CR_ARGS({"x", IN(0)}, {"pad", cr_mil_ints(&w->mil, both, 2 * (size_t)rank)},
                           {"mode", cr_mil_string(&w->mil, edge ? "replicate" : mode)},
                           {"constant_val", cr_coreml_number(w, n, v)}));
    return CR_OK;
}

/* By reshapes of up to five dimensions around a transpose, two of them: what MIL's own operators do
 * with the order of channels is not written down. */
static cr_status depth_space(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const cr_shape *in = &n->in[0]->shape, *out = &n->out[0]->shape;
    const bool up = n->op->kind == CR_OP_DepthToSpace;
    const bool columns_last = !strcmp(cr_attr_string(n, "mode", "DCR"), "CRD");
    if (in->rank != 4 || in->dim[0] != 1) return cr_coreml_refuse(n, "of a batch", err);
    const int64_t b = cr_attr_int(n, "blocksize", 1), c = (up ? out : in)->dim[1];
    const int64_t h = (up ? in : out)->dim[2], wd = (up ? in : out)->dim[3];
    const int64_t dcr[] = {b, b, c, h, wd}, crd[] = {c, b, b, h, wd}, fine[] = {c, h, b, wd, b};
    const int64_t up_dcr[] = {2, 3, 0, 4, 1}, up_crd[] = {0, 3, 1, 4, 2}, down[] = {2, 4, 0, 1, 3};
    const int64_t *perm = !up ? down : columns_last ? up_crd : up_dcr;
    const int64_t *from = !up ? fine : columns_last ? crd : dcr;
    cr_shape first = {.rank = 5}, second = {.rank = 5};
    for (int i = 0; i < 5; i++) first.dim[i] = from[i];
    for (int i = 0; i < 5; i++) second.dim[i] = first.dim[perm[i]];
    const char *x = cr_coreml_step(w, n, "reshape", &first,
                                   CR_ARGS({"x", IN(0)}, {"shape", shape_value(w, &first)}));
    x = cr_coreml_step(w, n, "transpose", &second,
                       CR_ARGS({"x", x}, {"perm", cr_mil_ints(&w->mil, perm, 5)}));
    cr_coreml_emit(w, n, 0, "reshape", CR_ARGS({"x", x}, {"shape", shape_value(w, out)}));
    return CR_OK;
}

static cr_status top_k(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const int64_t axis = positive_axis(cr_attr_int(n, "axis", -1), n->in[0]->shape.rank);
    if (!n->out[0] || !n->out[1]) return cr_coreml_refuse(n, "with an output left out", err);
    const cr_mil_pair args[] = {
        {"x", IN(0)},
        {"k", INT(n->out[0]->shape.dim[axis])},
        {"axis", INT(axis)},
        {"ascending", BOOL(!cr_attr_int(n, "largest", 1))},
        {w->level >= 6 ? "sort" : NULL, BOOL(true)},
        {w->level >= 6 ? "return_indices" : NULL, BOOL(true)},
        {w->level >= 7 ? "output_indices_dtype" : NULL, cr_mil_string(&w->mil, "int32")}};
    cr_mil_op *op = cr_mil_begin(&w->mil, "topk", cr_coreml_output_name(w, n, 0), 7, 2);
    for (int i = 0; i < 7; i++)
        if (args[i].key) cr_mil_arg(&w->mil, op, args[i].key, args[i].value);
    cr_coreml_result(w, op, n, 0);
    cr_coreml_result(w, op, n, 1);
    return CR_OK;
}

static cr_status arg_reduce(cr_coreml_writer *w, const cr_node *n, cr_error *err)
{
    const int64_t axis = positive_axis(cr_attr_int(n, "axis", 0), n->in[0]->shape.rank);
    if (cr_attr_int(n, "select_last_index", 0))
        return cr_coreml_refuse(n, "of the last index", err);
    cr_coreml_emit(
        w, n, 0, n->op->kind == CR_OP_ArgMax ? "reduce_argmax" : "reduce_argmin",
        CR_ARGS({"x", IN(0)}, {"axis", INT(axis)},
                {"keep_dims", BOOL(cr_attr_int(n, "keepdims", 1) != 0)},
                {w->level >= 7 ? "output_dtype" : NULL, cr_mil_string(&w->mil, "int32")}));
    return CR_OK;
}

cr_coreml_writer_of cr_coreml_move(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze:
        return reshape;
    case CR_OP_Transpose:
        return transpose;
    case CR_OP_Concat:
        return concat;
    case CR_OP_Split:
        return split;
    case CR_OP_Slice:
        return slice;
    case CR_OP_Gather:
    case CR_OP_GatherElements:
    case CR_OP_GatherND:
        return gather;
    case CR_OP_Expand:
    case CR_OP_Tile:
        return tile;
    case CR_OP_Pad:
        return pad;
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth:
        return depth_space;
    case CR_OP_TopK:
        return top_k;
    case CR_OP_ArgMax:
    case CR_OP_ArgMin:
        return arg_reduce;
    default:
        return NULL;
    }
}
