/* Nodes that move values: reshapes, transposes, slices, pads, resizing. Codes stay as they are. */
#include <string.h>

#include "base/error.h"
#include "graph/infer_move.h"
#include "tflite/tflite_out.h"

cr_op_call cr_tfl_call_of(const cr_node *n)
{
    return (cr_op_call){n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
}

int64_t cr_tfl_axis_of(const cr_node *n, const char *name, int64_t fallback, int rank)
{
    const int64_t axis = cr_attr_int(n, name, fallback);
    return axis < 0 ? axis + rank : axis;
}

void cr_tfl_one_to_one(cr_tfl_out *o, const cr_node *n, cr_tfl_op code, const cr_tfl_form *in,
                       const cr_tfl_form *out, const cr_layout *l, cr_tfl_operator **op)
{
    const int x = cr_tfl_get(o, n->in[0], in, l), y = cr_tfl_make(o, n->out[0], out, l);
    *op = cr_tfl_new_op(o, code, 1, 1);
    (*op)->in[0] = x;
    (*op)->out[0] = y;
}

/* Codes are moved as they are: the form of the input. */
cr_tfl_form cr_tfl_moved_form(const cr_tfl_out *o, const cr_tensor *in, const cr_tensor *out)
{
    const cr_tfl_form a = cr_tfl_stored_form(o, in), b = cr_tfl_stored_form(o, out);
    return cr_tfl_is_int(&a) && cr_tfl_is_int(&b) ? a : in->dtype == CR_DT_F32 ? cr_tfl_float() : a;
}

static void reshape_op(cr_tfl_out *o, int in, int out, const cr_shape *s, const cr_layout *l)
{
    int32_t dims[CR_MAX_RANK];
    for (int i = 0; i < l->rank; i++) dims[i] = (int32_t)s->dim[l->at[i]];
    const int shape = cr_tfl_new_i32(o, "shape", dims, l->rank, 1);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_RESHAPE, 2, 1);
    op->in[0] = in;
    op->in[1] = shape;
    op->out[0] = out;
}

cr_status cr_tfl_lower_reshape(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const cr_layout have = cr_tfl_layout_of(o, x);
    cr_layout need, give;
    CR_CHECK(cr_shape_count(&x->shape) > 0, err, CR_ERR_UNSUPPORTED, "TFLite: '%s' is empty",
             x->name);
    cr_layout_reshape(&x->shape, &y->shape, &have, &need, &give);
    const cr_tfl_form f = cr_tfl_moved_form(o, x, y);
    const int in = cr_tfl_get(o, x, &f, &need), out = cr_tfl_make(o, y, &f, &give);
    reshape_op(o, in, out, &y->shape, &give);
    return CR_OK;
}

/* The axes get other numbers; nothing moves. */
cr_status cr_tfl_lower_transpose(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    int perm[CR_MAX_RANK];
    const cr_op_call call = cr_tfl_call_of(n);
    CR_TRY(cr_perm_resolve(&call, perm, err));
    const cr_layout in = cr_tfl_layout_of(o, n->in[0]);
    const cr_tfl_form f = cr_tfl_moved_form(o, n->in[0], n->out[0]);
    cr_layout out = {.rank = in.rank};
    for (int i = 0; i < in.rank; i++)
        for (int a = 0; a < in.rank; a++)
            if (perm[a] == in.at[i]) out.at[i] = a;
    cr_tfl_rename(o, n->out[0], cr_tfl_get(o, n->in[0], &f, &in), &f, &out);
    return CR_OK;
}

cr_status cr_tfl_lower_copy(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    (void)err;
    const cr_layout l = cr_tfl_layout_of(o, n->in[0]);
    const cr_tfl_form f = cr_tfl_moved_form(o, n->in[0], n->out[0]);
    cr_tfl_rename(o, n->out[0], cr_tfl_get(o, n->in[0], &f, &l), &f, &l);
    return CR_OK;
}

/* begin, end and step by axis of the graph. */
static void strided_slice(cr_tfl_out *o, const cr_tensor *x, const cr_tensor *y,
                          const int64_t *begin, const int64_t *end, const int64_t *step)
{
    const cr_layout l = cr_tfl_layout_of(o, x);
    const cr_tfl_form f = cr_tfl_moved_form(o, x, y);
    int32_t table[3][CR_MAX_RANK];
    for (int i = 0; i < l.rank; i++) {
        table[0][i] = (int32_t)begin[l.at[i]];
        table[1][i] = (int32_t)end[l.at[i]];
        table[2][i] = (int32_t)step[l.at[i]];
    }
    static const char *const names[] = {"begin", "end", "strides"};
    int in[4] = {cr_tfl_get(o, x, &f, &l)};
    for (int k = 0; k < 3; k++) in[k + 1] = cr_tfl_new_i32(o, names[k], table[k], l.rank, 1);
    const int out = cr_tfl_make(o, y, &f, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_STRIDED_SLICE, 4, 1);
    for (int k = 0; k < 4; k++) op->in[k] = in[k];
    op->out[0] = out;
}

cr_status cr_tfl_lower_slice(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    cr_slice_plan p;
    const cr_op_call call = cr_tfl_call_of(n);
    int64_t end[CR_MAX_RANK];
    CR_TRY(cr_slice_resolve(&call, &p, err));
    if (!cr_shape_known(&p.out)) return cr_tfl_refuse(n, "bounds are no constants", err);
    for (int a = 0; a < p.out.rank; a++) {
        if (p.step[a] < 0) return cr_tfl_refuse(n, "a negative step", err);
        end[a] = p.start[a] + (p.out.dim[a] - 1) * p.step[a] + 1;
    }
    strided_slice(o, n->in[0], n->out[0], p.start, end, p.step);
    return CR_OK;
}

cr_status cr_tfl_lower_split(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    (void)err;
    const cr_tensor *x = n->in[0];
    const int axis = (int)cr_tfl_axis_of(n, "axis", 0, x->shape.rank);
    int64_t begin[CR_MAX_RANK] = {0}, end[CR_MAX_RANK], step[CR_MAX_RANK];
    for (int a = 0; a < x->shape.rank; a++) end[a] = x->shape.dim[a], step[a] = 1;
    end[axis] = 0;
    for (int k = 0; k < n->n_out; k++) {
        if (!n->out[k]) return cr_tfl_refuse(n, "an output is left out", err);
        begin[axis] = end[axis];
        end[axis] += n->out[k]->shape.dim[axis];
        if (n->out[k]->uses) strided_slice(o, x, n->out[k], begin, end, step);
    }
    return CR_OK;
}

cr_status cr_tfl_lower_gather(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0], *index = n->in[1];
    if (!index->data || index->shape.rank > 1) return cr_tfl_refuse(n, "indexes are no list", err);
    const int64_t count = cr_shape_count(&index->shape);
    int32_t *list = cr_arena_alloc(&o->arena, (size_t)count * sizeof *list);
    if (!list) return CR_NOMEM(err);
    const int axis = (int)cr_tfl_axis_of(n, "axis", 0, x->shape.rank);
    if (index->shape.rank == 0) return cr_tfl_refuse(n, "one index alone", err);
    for (int64_t i = 0; i < count; i++) {
        const int64_t v = cr_tensor_get_i64(index, (size_t)i);
        list[i] = (int32_t)(v < 0 ? v + x->shape.dim[axis] : v);
    }
    const cr_layout l = cr_tfl_layout_of(o, x);
    const cr_tfl_form f = cr_tfl_moved_form(o, x, n->out[0]);
    const int in = cr_tfl_get(o, x, &f, &l),
              second = cr_tfl_new_i32(o, "index", list, (int)count, 1);
    const int out = cr_tfl_make(o, n->out[0], &f, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_GATHER, 2, 1);
    op->in[0] = in;
    op->in[1] = second;
    op->out[0] = out;
    cr_tfl_set(op, CR_TFL_GATHER_AXIS, 'i', cr_layout_find(&l, axis));
    return CR_OK;
}

cr_status cr_tfl_lower_pad(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    cr_pad_plan p;
    const cr_op_call call = cr_tfl_call_of(n);
    CR_TRY(cr_pad_resolve(&call, &p, err));
    const char *how = cr_attr_string(n, "mode", "constant");
    const bool constant = !strcmp(how, "constant"), reflect = !strcmp(how, "reflect");
    const bool zero =
        n->n_in < 3 || !n->in[2] || (n->in[2]->data && cr_tensor_get_f64(n->in[2], 0) == 0);
    if (!p.known || (!reflect && !(constant && zero)))
        return cr_tfl_refuse(n, "pads other than zeros and reflections", err);
    const cr_layout l = cr_tfl_layout_of(o, n->in[0]);
    const cr_tfl_form f = reflect ? cr_tfl_float() : cr_tfl_moved_form(o, n->in[0], n->out[0]);
    int32_t pads[2 * CR_MAX_RANK];
    for (int i = 0; i < l.rank; i++) {
        if (p.before[l.at[i]] < 0 || p.after[l.at[i]] < 0)
            return cr_tfl_refuse(n, "negative pads", err);
        pads[2 * i] = (int32_t)p.before[l.at[i]];
        pads[2 * i + 1] = (int32_t)p.after[l.at[i]];
    }
    const int in = cr_tfl_get(o, n->in[0], &f, &l),
              table = cr_tfl_new_i32(o, "pads", pads, l.rank, 2);
    const int out = cr_tfl_make(o, n->out[0], &f, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, reflect ? CR_TFL_MIRROR_PAD : CR_TFL_PAD, 2, 1);
    op->in[0] = in;
    op->in[1] = table;
    op->out[0] = out;
    if (reflect) cr_tfl_set(op, CR_TFL_MIRROR_MODE, 'b', CR_TFL_REFLECT);
    return CR_OK;
}

/* ---- resize, depth to space ---- */

/* PyTorch's rule is another one for outputs of one pixel alone. */
static bool rounds_half(const char *where, const cr_tensor *y)
{
    return !strcmp(where, "half_pixel") ||
           (!strcmp(where, "pytorch_half_pixel") && y->shape.rank == 4 && y->shape.dim[2] > 1 &&
            y->shape.dim[3] > 1);
}

cr_status cr_tfl_lower_resize(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0], *y = n->out[0];
    const char *how = cr_attr_string(n, "mode", "nearest");
    const char *where = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *round = cr_attr_string(n, "nearest_mode", "round_prefer_floor");
    const bool nearest = !strcmp(how, "nearest"), half = rounds_half(where, y);
    const bool align = !strcmp(where, "align_corners"), plain = !strcmp(where, "asymmetric");
    if (x->shape.rank != 4 || (!nearest && strcmp(how, "linear")) || (!half && !align && !plain) ||
        x->shape.dim[0] != y->shape.dim[0] || x->shape.dim[1] != y->shape.dim[1])
        return cr_tfl_refuse(n, "resized in a way that TFLite does not know", err);
    bool whole = true;
    for (int a = 2; a < 4; a++) whole &= y->shape.dim[a] % x->shape.dim[a] == 0;
    const bool ceil_half = half && !strcmp(round, "round_prefer_ceil"); /* TFLite's other rule */
    const bool repeats =
        half && whole && !strcmp(round, "round_prefer_floor"); /* no ties: as the floor */
    if (nearest && !(plain && !strcmp(round, "floor")) && !ceil_half && !repeats)
        return cr_tfl_refuse(n, "nearest by a rounding that TFLite does not know", err);
    const cr_layout l = cr_layout_channels_last(4);
    const cr_tfl_form f = cr_tfl_moved_form(o, x, y);
    const int32_t size[2] = {(int32_t)y->shape.dim[2], (int32_t)y->shape.dim[3]};
    const int in = cr_tfl_get(o, x, &f, &l), table = cr_tfl_new_i32(o, "size", size, 2, 1);
    const int out = cr_tfl_make(o, y, &f, &l);
    cr_tfl_operator *op =
        cr_tfl_new_op(o, nearest ? CR_TFL_RESIZE_NEAREST_NEIGHBOR : CR_TFL_RESIZE_BILINEAR, 2, 1);
    op->in[0] = in;
    op->in[1] = table;
    op->out[0] = out;
    if (!nearest && align) cr_tfl_set(op, CR_TFL_BILINEAR_ALIGN, 'b', 1);
    if (!nearest && half) cr_tfl_set(op, CR_TFL_BILINEAR_HALF, 'b', 1);
    if (nearest && ceil_half) cr_tfl_set(op, CR_TFL_NEAREST_HALF, 'b', 1);
    return CR_OK;
}

cr_status cr_tfl_lower_depth_space(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const bool to_space = n->op->kind == CR_OP_DepthToSpace;
    if (to_space && strcmp(cr_attr_string(n, "mode", "DCR"), "DCR"))
        return cr_tfl_refuse(n, "mode CRD", err);
    const cr_layout l = cr_layout_channels_last(4);
    const cr_tfl_form f = cr_tfl_moved_form(o, n->in[0], n->out[0]);
    cr_tfl_operator *op;
    cr_tfl_one_to_one(o, n, to_space ? CR_TFL_DEPTH_TO_SPACE : CR_TFL_SPACE_TO_DEPTH, &f, &f, &l,
                      &op);
    cr_tfl_set(op, CR_TFL_BLOCK_SIZE, 'i', (double)cr_attr_int(n, "blocksize", 1));
    return CR_OK;
}
