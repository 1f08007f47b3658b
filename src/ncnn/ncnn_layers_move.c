/* Layers that move values, reductions; which operator has which layer. */
#include <string.h>

#include "ncnn/ncnn_out.h"

/* ---- the same values ---- */

/* Nothing is written; an output of the graph wants a blob of its own name. */
cr_status cr_ncnn_put_alias(cr_ncnn_out *w, cr_error *err)
{
    const cr_tensor *y = w->n->out[0];
    int in;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    for (size_t i = 0; i < w->g->output_count; i++)
        if (w->g->outputs[i] == y) return cr_ncnn_outer(w, "Noop", in) ? CR_OK : CR_NOMEM(err);
    w->blob[y->id] = in;
    return CR_OK;
}

cr_status cr_ncnn_put_reshape(cr_ncnn_out *w, cr_error *err)
{
    const cr_tensor *y = w->n->out[0];
    int64_t dims[CR_NCNN_MAX_AXES];
    const int axes = cr_ncnn_axes(&y->shape, dims);
    int in;
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    return cr_ncnn_reshape(w, in, dims, axes, y, &in, err);
}

/* Orders of Permute by number: the axes of the result, the innermost first. */
static const char *const orders[CR_NCNN_MAX_AXES + 1][25] = {
    [1] = {"W"},
    [2] = {"WH", "HW"},
    [3] = {"WHC", "HWC", "WCH", "CWH", "HCW", "CHW"},
    [4] = {"WHDC", "HWDC", "WDHC", "DWHC", "HDWC", "DHWC", "WHCD", "HWCD", "WCHD",
           "CWHD", "HCWD", "CHWD", "WDCH", "DWCH", "WCDH", "CWDH", "DCWH", "CDWH",
           "HDCW", "DHCW", "HCDW", "CHDW", "DCHW", "CDHW"}};
static const char *const letters[CR_NCNN_MAX_AXES + 1] = {"", "W", "HW", "CHW", "CDHW"};

static int order_number(const int64_t *perm, int axes)
{
    char want[CR_NCNN_MAX_AXES + 1] = "";
    for (int i = 0; i < axes; i++) want[i] = letters[axes][perm[axes - 1 - i]];
    for (int k = 0; orders[axes][k]; k++)
        if (!strcmp(orders[axes][k], want)) return k;
    return -1;
}

cr_status cr_ncnn_put_transpose(cr_ncnn_out *w, cr_error *err)
{
    const cr_tensor *x = w->n->in[0];
    const int rank = x->shape.rank;
    size_t count;
    const int64_t *perm = cr_attr_ints(w->n, "perm", &count);
    int64_t turned[CR_MAX_RANK];
    int in;
    for (int d = 0; d < rank; d++) turned[d] = perm ? perm[d] : rank - 1 - d;
    const int skip = rank > 1 && turned[0] == 0 && cr_ncnn_batch(&x->shape), axes = rank - skip;
    CR_CHECK(axes <= CR_NCNN_MAX_AXES, err, CR_ERR_UNSUPPORTED, "of more than four axes");
    if (rank < 2) return cr_ncnn_put_alias(w, err);
    for (int d = 0; d < axes; d++) turned[d] = turned[d + skip] - skip;
    CR_TRY(cr_ncnn_blob_as(w, x, axes, &in, err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Permute", 1, 1);
    if (!l || !cr_ncnn_int(w, l, 0, order_number(turned, axes))) return CR_NOMEM(err);
    l->in[0] = in;
    return cr_ncnn_gives_as(w, l, 0, axes, w->n->out[0], err);
}

/* ---- parts ---- */

cr_status cr_ncnn_put_concat(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    int64_t dims[CR_NCNN_MAX_AXES];
    const int axes = cr_ncnn_axes(&n->out[0]->shape, dims);
    int axis;
    CR_TRY(cr_ncnn_axis(cr_attr_int(n, "axis", 0), &n->out[0]->shape, &axis, err));
    int *in = cr_arena_alloc(&w->arena, (size_t)n->n_in * sizeof *in);
    if (!in) return CR_NOMEM(err);
    for (int k = 0; k < n->n_in; k++) CR_TRY(cr_ncnn_blob_as(w, n->in[k], axes, &in[k], err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Concat", n->n_in, 1);
    if (!l || !cr_ncnn_int(w, l, 0, axis) || !cr_ncnn_gives(w, l, 0, n->out[0])) return CR_NOMEM(err);
    memcpy(l->in, in, (size_t)n->n_in * sizeof *in);
    return CR_OK;
}

cr_status cr_ncnn_put_split(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_shape *s = &n->in[0]->shape;
    const int axes = s->rank - cr_ncnn_batch(s);
    int axis, in;
    CR_TRY(cr_ncnn_axis(cr_attr_int(n, "axis", 0), s, &axis, err));
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    int64_t *lengths = cr_arena_alloc(&w->arena, (size_t)n->n_out * sizeof *lengths);
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Slice", 1, n->n_out);
    if (!lengths || !l) return CR_NOMEM(err);
    l->in[0] = in;
    for (int k = 0; k < n->n_out; k++) {
        CR_CHECK(n->out[k], err, CR_ERR_UNSUPPORTED, "an output that is left out");
        lengths[k] = n->out[k]->shape.dim[axis + cr_ncnn_batch(s)];
        CR_TRY(cr_ncnn_gives_as(w, l, k, axes, n->out[k], err));
    }
    return cr_ncnn_ints(w, l, 0, lengths, (size_t)n->n_out) && cr_ncnn_int(w, l, 1, axis)
               ? CR_OK
               : CR_NOMEM(err);
}

/* By ncnn's axes, of which there are `axes` behind the `skip` that are left out. */
typedef struct cut {
    int skip, axes;
    int64_t start[CR_NCNN_MAX_AXES], end[CR_NCNN_MAX_AXES], step[CR_NCNN_MAX_AXES];
    bool cuts, steps;
} cut;

static void cut_axis(cut *c, int d, int64_t start, int64_t step, int64_t length, int64_t count)
{
    if (start < 0) start += length;
    if (start < 0) start = 0;
    if (start > length) start = length;
    c->start[d] = start;
    c->end[d] = start + (count - 1) * step + 1;
    c->step[d] = step;
    c->steps |= step > 1;
    c->cuts |= c->start[d] || c->end[d] != length;
}

static cr_status read_cut(const cr_ncnn_out *w, cut *c, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_shape *s = &n->in[0]->shape, *y = &n->out[0]->shape;
    int64_t starts[2 * CR_MAX_RANK], axes[2 * CR_MAX_RANK], steps[2 * CR_MAX_RANK];
    size_t count, n_axes, n_steps;
    *c = (cut){.skip = cr_ncnn_batch(s)};
    c->axes = s->rank - c->skip;
    for (int d = 0; d < c->axes; d++) {
        c->end[d] = s->dim[d + c->skip];
        c->step[d] = 1;
    }
    CR_TRY(cr_ncnn_list_in(w, 1, starts, &count, err));
    CR_TRY(cr_ncnn_list_in(w, 3, axes, &n_axes, err));
    CR_TRY(cr_ncnn_list_in(w, 4, steps, &n_steps, err));
    for (size_t i = 0; i < count; i++) {
        int64_t axis = n_axes ? axes[i] : (int64_t)i;
        const int64_t step = n_steps ? steps[i] : 1;
        if (axis < 0) axis += s->rank;
        CR_CHECK(step > 0, err, CR_ERR_UNSUPPORTED, "backwards");
        if (axis >= c->skip)
            cut_axis(c, (int)axis - c->skip, starts[i], step, s->dim[axis], y->dim[axis]);
    }
    return CR_OK;
}

static cr_status put_crop(cr_ncnn_out *w, const cut *c, int *blob, cr_error *err)
{
    int64_t list[CR_NCNN_MAX_AXES];
    size_t n = 0;
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Crop", 1, 1);
    if (!l) return CR_NOMEM(err);
    l->in[0] = *blob;
    for (int key = 9; key <= 11; key++, n = 0) {
        for (int d = 0; d < c->axes; d++)
            if (c->start[d] || c->end[d] != w->n->in[0]->shape.dim[d + c->skip])
                list[n++] = key == 9 ? c->start[d] : key == 10 ? c->end[d] : d;
        if (!cr_ncnn_ints(w, l, key, list, n)) return CR_NOMEM(err);
    }
    if (!c->steps) return cr_ncnn_gives_as(w, l, 0, c->axes, w->n->out[0], err);
    *blob = cr_ncnn_inner(w, l, 0, "cropped");
    return *blob >= 0 ? CR_OK : CR_NOMEM(err);
}

/* Every step-th pixel: the largest of one. */
static cr_status put_steps(cr_ncnn_out *w, const cut *c, int in, cr_error *err)
{
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Pooling", in);
    const bool ok = l && cr_ncnn_int(w, l, 0, 0) && cr_ncnn_int(w, l, 1, 1) &&
                    cr_ncnn_int(w, l, 2, c->step[2]) && cr_ncnn_int(w, l, 12, c->step[1]) &&
                    cr_ncnn_int(w, l, 5, 1);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_ncnn_put_slice(cr_ncnn_out *w, cr_error *err)
{
    cut c;
    int in;
    CR_TRY(read_cut(w, &c, err));
    CR_CHECK(!c.steps || (c.axes == 3 && c.skip && c.step[0] == 1), err, CR_ERR_UNSUPPORTED,
             "with steps along an axis that is none of a picture's");
    if (!c.cuts && !c.steps) return cr_ncnn_put_alias(w, err);
    CR_TRY(cr_ncnn_blob_of(w, w->n->in[0], &in, err));
    if (c.cuts) CR_TRY(put_crop(w, &c, &in, err));
    return c.steps ? put_steps(w, &c, in, err) : CR_OK;
}

/* ---- more of it ---- */

cr_status cr_ncnn_put_pad(cr_ncnn_out *w, cr_error *err)
{
    static const char *const modes[] = {"constant", "edge", "reflect"};
    static const int keys[2][3] = {{7, 0, 2}, {8, 1, 3}}; /* front top left, behind bottom right */
    const cr_node *n = w->n;
    const char *name = cr_attr_string(n, "mode", "constant");
    const cr_shape *s = &n->in[0]->shape;
    const int rank = s->rank, skip = cr_ncnn_batch(s), axes = rank - skip;
    int64_t pads[2 * CR_MAX_RANK], list[2 * CR_MAX_RANK];
    size_t count, n_axes;
    int mode = 0, in;
    CR_TRY(cr_ncnn_list_in(w, 1, pads, &count, err));
    CR_TRY(cr_ncnn_list_in(w, 3, list, &n_axes, err));
    while (mode < 3 && strcmp(modes[mode], name)) mode++;
    const cr_tensor *value = n->n_in > 2 ? n->in[2] : NULL;
    CR_CHECK(mode < 3 && axes >= 1 && axes <= 3 && (!value || value->data), err, CR_ERR_UNSUPPORTED,
             "%s, of a tensor of rank %d", name, rank);
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Padding", in);
    if (!l || !cr_ncnn_int(w, l, 4, mode)) return CR_NOMEM(err);
    if (value && !cr_ncnn_float(w, l, 5, (float)cr_tensor_get_f64(value, 0))) return CR_NOMEM(err);
    for (size_t i = 0; i < count; i++) {
        const size_t each = count / 2;
        int64_t axis = n_axes ? list[i % each] : (int64_t)(i % each);
        if (axis < 0) axis += rank;
        CR_CHECK(pads[i] >= 0 && (axis >= skip || !pads[i]), err, CR_ERR_UNSUPPORTED,
                 "that cuts off, or of the batch");
        const int64_t place = axis - skip + 3 - axes; /* 0 to 2: front, top, left */
        if (pads[i] && !cr_ncnn_int(w, l, keys[i >= each][place], pads[i])) return CR_NOMEM(err);
    }
    return CR_OK;
}

/* Tile and Expand: how often each axis is repeated. */
cr_status cr_ncnn_put_tile(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    int64_t from[CR_NCNN_MAX_AXES] = {1, 1, 1, 1}, to[CR_NCNN_MAX_AXES], times[CR_NCNN_MAX_AXES];
    const int axes = cr_ncnn_axes(&n->out[0]->shape, to);
    int64_t own[CR_NCNN_MAX_AXES];
    const int have = cr_ncnn_axes(&n->in[0]->shape, own);
    int in;
    CR_CHECK(have && axes && have <= axes, err, CR_ERR_UNSUPPORTED, "of fewer axes than before");
    for (int i = 0; i < have; i++) from[axes - have + i] = own[i];
    for (int i = 0; i < axes; i++) times[i] = to[i] / from[i];
    CR_TRY(cr_ncnn_blob_as(w, n->in[0], axes, &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, "Tile", in);
    return l && cr_ncnn_ints(w, l, 2, times, (size_t)axes) ? CR_OK : CR_NOMEM(err);
}

cr_status cr_ncnn_put_depth_space(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const bool deep = n->op->kind == CR_OP_DepthToSpace;
    const bool blocks_first = !deep || !strcmp(cr_attr_string(n, "mode", "DCR"), "DCR");
    int in;
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_outer(w, deep ? "PixelShuffle" : "Reorg", in);
    return l && cr_ncnn_int(w, l, 0, cr_attr_int(n, "blocksize", 1)) &&
                   cr_ncnn_int(w, l, 1, blocks_first)
               ? CR_OK
               : CR_NOMEM(err);
}

/* ---- reductions ---- */

static int reduction_of(cr_op_kind kind)
{
    switch (kind) {
    case CR_OP_ReduceSum: return 0;
    case CR_OP_ReduceSumSquare: return 2;
    case CR_OP_ReduceMean: return 3;
    case CR_OP_ReduceMax: return 4;
    case CR_OP_ReduceMin: return 5;
    case CR_OP_ReduceProd: return 6;
    case CR_OP_ReduceL1: return 7;
    case CR_OP_ReduceL2: return 8;
    case CR_OP_ReduceLogSum: return 9;
    default: return 10; /* ReduceLogSumExp */
    }
}

cr_status cr_ncnn_put_reduce(cr_ncnn_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_shape *s = &n->in[0]->shape;
    const int whole = s->rank - cr_ncnn_batch(s);
    int64_t axes[2 * CR_MAX_RANK];
    size_t count;
    int in;
    CR_TRY(cr_ncnn_list_in(w, 1, axes, &count, err));
    CR_CHECK(count, err, CR_ERR_UNSUPPORTED, "along no named axis");
    for (size_t i = 0; i < count; i++) {
        int axis;
        CR_TRY(cr_ncnn_axis(axes[i], s, &axis, err));
        axes[i] = axis;
    }
    CR_TRY(cr_ncnn_blob_of(w, n->in[0], &in, err));
    cr_ncnn_layer *l = cr_ncnn_layer_add(w, "Reduction", 1, 1);
    const bool ok = l && cr_ncnn_int(w, l, 0, reduction_of(n->op->kind)) && cr_ncnn_int(w, l, 1, 0) &&
                    cr_ncnn_ints(w, l, 3, axes, count) && cr_ncnn_int(w, l, 4, 1) &&
                    cr_ncnn_int(w, l, 5, 1); /* axes stay, and are meant as they are said */
    if (!ok) return CR_NOMEM(err);
    l->in[0] = in;
    return cr_ncnn_gives_as(w, l, 0, whole, n->out[0], err);
}

/* ---- which layer ---- */

cr_ncnn_put *cr_ncnn_find_put(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Conv: return cr_ncnn_put_conv;
    case CR_OP_ConvTranspose: return cr_ncnn_put_deconv;
    case CR_OP_Gemm: return cr_ncnn_put_gemm;
    case CR_OP_MatMul: return cr_ncnn_put_matmul;
    case CR_OP_MaxPool:
    case CR_OP_AveragePool: return cr_ncnn_put_pool;
    case CR_OP_GlobalAveragePool:
    case CR_OP_GlobalMaxPool: return cr_ncnn_put_global_pool;
    case CR_OP_BatchNormalization: return cr_ncnn_put_batch_norm;
    case CR_OP_InstanceNormalization: return cr_ncnn_put_instance_norm;
    case CR_OP_LayerNormalization: return cr_ncnn_put_layer_norm;
    case CR_OP_GroupNormalization: return cr_ncnn_put_group_norm;
    case CR_OP_Softmax: return cr_ncnn_put_softmax;
    case CR_OP_Resize: return cr_ncnn_put_resize;
    case CR_OP_Identity:
    case CR_OP_Cast: /* all tensors are float32 */
    case CR_OP_Dropout: return cr_ncnn_put_alias;
    case CR_OP_Reshape:
    case CR_OP_Flatten:
    case CR_OP_Squeeze:
    case CR_OP_Unsqueeze: return cr_ncnn_put_reshape;
    case CR_OP_Transpose: return cr_ncnn_put_transpose;
    case CR_OP_Concat: return cr_ncnn_put_concat;
    case CR_OP_Split: return cr_ncnn_put_split;
    case CR_OP_Slice: return cr_ncnn_put_slice;
    case CR_OP_Pad: return cr_ncnn_put_pad;
    case CR_OP_Tile:
    case CR_OP_Expand: return cr_ncnn_put_tile;
    case CR_OP_DepthToSpace:
    case CR_OP_SpaceToDepth: return cr_ncnn_put_depth_space;
    case CR_OP_ReduceL1:
    case CR_OP_ReduceL2:
    case CR_OP_ReduceLogSum:
    case CR_OP_ReduceLogSumExp:
    case CR_OP_ReduceMax:
    case CR_OP_ReduceMean:
    case CR_OP_ReduceMin:
    case CR_OP_ReduceProd:
    case CR_OP_ReduceSum:
    case CR_OP_ReduceSumSquare: return cr_ncnn_put_reduce;
    default: return cr_ncnn_elementwise(n);
    }
}
