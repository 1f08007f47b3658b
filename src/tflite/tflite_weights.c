/* Nodes with weights: CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED, BATCH_MATMUL.
 *
 *     input, weight, output have entries   int8 x int8 -> int8 (or int16 x int8 -> int16); the bias
 * is rounded at scale sa*sw[c], to 32 (64) bits the input's entry is dynamic         float input,
 * int8 weights: TFLite finds the range itself the weight alone has one             int8 (float16)
 * weights behind a DEQUANTIZE, float arithmetic
 *
 * No kernel goes from 8 to 16 bits or back: the input is widened (exactly), or the output made in
 * 16 bits and quantized. Pads that are not TFLite's SAME become a PAD. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "tflite/tflite_out.h"

/* TFLite's SAME: as many outputs as ceil(in / stride), the odd row of padding at the end. */
bool cr_tfl_same(const cr_window *w)
{
    for (int d = 1; d < CR_WINDOW_DIMS; d++) {
        const int64_t span = (w->kernel[d] - 1) * w->dilation[d] + 1;
        const int64_t out = (w->in[d] + w->stride[d] - 1) / w->stride[d];
        int64_t total = (out - 1) * w->stride[d] + span - w->in[d];
        if (total < 0) total = 0;
        if (out != w->out[d] || w->pad_lo[d] != total / 2 || w->pad_hi[d] != total - total / 2)
            return false;
    }
    return true;
}

bool cr_tfl_unpadded(const cr_window *w)
{
    return !w->pad_lo[1] && !w->pad_lo[2] && !w->pad_hi[1] && !w->pad_hi[2];
}

typedef struct kernel { /* how a weight lies in the file */
    int order[CR_MAX_RANK], rank, file_axis;
    int32_t dims[CR_MAX_RANK];
    int graph_axis; /* of the output channels */
} kernel;

typedef struct product { /* the forms that a node with weights computes in */
    bool integer, hybrid;
    cr_tfl_form in, out;
    const cr_qparams *weight;
} product;

/* Codes of 8 bits around zero, with one scale per output channel or one for all. */
static bool fits_kernels(const cr_qparams *q, int channel_axis)
{
    const int32_t zero = q->type == CR_DT_U8 ? 128 : 0;
    bool ok = !q->block && (cr_q_int8_codes(q->type) || q->type == CR_DT_U8) &&
              (cr_q_per_tensor(q) || q->axis == channel_axis);
    for (size_t c = 0; ok && c < q->count; c++) ok = q->zero_point[c] == zero;
    return ok;
}

static product product_of(const cr_tfl_out *o, const cr_node *n, const cr_tensor *end,
                          int channel_axis)
{
    const cr_recipe_entry *w = o->entry[n->in[1]->id], *x = o->entry[n->in[0]->id];
    product p = {.in = cr_tfl_stored_form(o, n->in[0]), .out = cr_tfl_stored_form(o, end)};
    if (w && fits_kernels(&w->q, channel_axis)) p.weight = &w->q;
    p.integer = p.weight && cr_tfl_is_int(&p.in) && cr_tfl_is_int(&p.out);
    p.hybrid = p.weight && x && x->q.dynamic && n->op->kind != CR_OP_ConvTranspose;
    if (!p.integer) p.in = p.out = cr_tfl_float();
    if (!p.integer || p.in.type == p.out.type) return p;
    if (p.in.type == CR_TFL_I8) {
        p.in = (cr_tfl_form){CR_TFL_I16, p.in.scale / 128, 0};
    } else {
        const double most = fmax(127 - p.out.zero_point, p.out.zero_point + 128);
        p.out = (cr_tfl_form){CR_TFL_I16, (float)(most * (double)p.out.scale / 32767), 0};
    }
    return p;
}

/* The weight, dequantized where the kernel computes with floats. */
static int weight_of(cr_tfl_out *o, const cr_tensor *w, const product *p, const kernel *k)
{
    const cr_recipe_entry *e = o->entry[w->id];
    const cr_qparams *q = p->weight;
    cr_tensor copy = *w;
    if (e && !q) { /* 16 bits, blocks, zero points: the values that these codes mean */
        copy.data = cr_arena_alloc(&o->arena, cr_tensor_bytes(w) + 1);
        if (!copy.data) return -1;
        cr_fake_quantize(w, &e->q, copy.data);
    }
    const int index = cr_tfl_weight(o, &copy, q, k->order, k->rank, k->dims, k->file_axis);
    if (index < 0 || p->integer || p->hybrid || (!q && !o->options->half)) return index;
    const cr_tfl_tensor *stored = &o->tensors[index];
    cr_shape shape = {.rank = k->rank};
    for (int i = 0; i < k->rank; i++) shape.dim[i] = stored->dim[i];
    const cr_layout plain = cr_layout_plain(k->rank);
    const cr_tfl_form f = cr_tfl_float();
    const int made =
        cr_tfl_new_tensor(o, cr_arena_printf(&o->arena, "%s_float", w->name), &f, &shape, &plain);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_DEQUANTIZE, 1, 1);
    op->in[0] = index;
    op->out[0] = made;
    return made;
}

static double bias_code(const product *p, const cr_tensor *b, int64_t c)
{
    const size_t at = cr_q_per_tensor(p->weight) ? 0 : (size_t)c;
    return nearbyint((double)(((const float *)b->data)[c] / (p->in.scale * p->weight->scale[at])));
}

/* int32 at scale sa*sw, int64 beside 16-bit inputs. Zeros where the node has none: not every kernel
 * does without. */
static int bias_of(cr_tfl_out *o, const cr_node *node, int64_t n, const product *p)
{
    const cr_shape shape = {1, {n}};
    const cr_layout plain = cr_layout_plain(1);
    const cr_tfl_form f = cr_tfl_float();
    const bool has = node->n_in > 2 && node->in[2];
    cr_tensor row = {.name = has ? node->in[2]->name
                                 : cr_arena_printf(&o->arena, "%s_zeros", node->name),
                     .dtype = CR_DT_F32,
                     .shape = shape,
                     .data = has ? node->in[2]->data : cr_arena_alloc(&o->arena, (size_t)n * 4)};
    const cr_tensor *b = &row;
    if (!row.name || !row.data) return -1;
    if (!p->integer) return cr_tfl_get(o, b, &f, &plain);
    const bool wide = p->in.type == CR_TFL_I16;
    cr_qparams *q = cr_arena_alloc(&o->arena, sizeof *q);
    void *codes = cr_arena_alloc(&o->arena, (size_t)n * 8);
    if (!q || !codes) return -1;
    *q = *p->weight;
    q->type = CR_DT_I32;
    q->scale = cr_arena_alloc(&o->arena, q->count * sizeof *q->scale);
    q->zero_point = cr_arena_alloc(&o->arena, q->count * sizeof *q->zero_point);
    if (!q->scale || !q->zero_point) return -1;
    for (size_t c = 0; c < q->count; c++) q->scale[c] = p->in.scale * p->weight->scale[c];
    for (int64_t c = 0; c < n; c++) {
        const double v = fmax(fmin(bias_code(p, b, c), INT32_MAX), -INT32_MAX);
        if (wide)
            ((int64_t *)codes)[c] = (int64_t)v;
        else
            ((int32_t *)codes)[c] = (int32_t)v;
    }
    cr_tfl_form form = {wide ? CR_TFL_I64 : CR_TFL_I32, q->scale[0], 0,
                        cr_q_per_tensor(p->weight) ? NULL : q, 0};
    const int index = cr_tfl_new_tensor(o, b->name, &form, &shape, &plain);
    if (index < 0) return -1;
    o->tensors[index].data = codes;
    o->tensors[index].bytes = (size_t)n * (wide ? 8 : 4);
    return index;
}

/* ---- convolutions ---- */

static kernel conv_kernel(const cr_tensor *w, bool depthwise, bool transposed)
{
    static const int dense[] = {0, 2, 3, 1}, deep[] = {1, 2, 3, 0};
    const bool swap = depthwise || transposed; /* [1,kh,kw,O], and of [I,O,kh,kw] [O,kh,kw,I] */
    kernel k = {.rank = 4, .file_axis = depthwise ? 3 : 0, .graph_axis = transposed ? 1 : 0};
    for (int i = 0; i < 4; i++) {
        k.order[i] = swap ? deep[i] : dense[i];
        k.dims[i] = (int32_t)w->shape.dim[k.order[i]];
    }
    return k;
}

/* The input behind a PAD of zeros (codes of the zero point). */
static int padded(cr_tfl_out *o, const cr_node *n, int x, const product *p, const cr_window *w)
{
    const cr_shape *s = &n->in[0]->shape;
    const cr_shape shape = {4,
                            {s->dim[0], s->dim[2] + w->pad_lo[1] + w->pad_hi[1],
                             s->dim[3] + w->pad_lo[2] + w->pad_hi[2], s->dim[1]}};
    const int32_t pads[8] = {0,
                             0,
                             (int32_t)w->pad_lo[1],
                             (int32_t)w->pad_hi[1],
                             (int32_t)w->pad_lo[2],
                             (int32_t)w->pad_hi[2],
                             0,
                             0};
    const cr_layout plain = cr_layout_plain(4);
    const int table = cr_tfl_new_i32(o, "pads", pads, 4, 2);
    const int y = cr_tfl_new_tensor(o, cr_arena_printf(&o->arena, "%s_padded", n->name), &p->in,
                                    &shape, &plain);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_PAD, 2, 1);
    op->in[0] = x;
    op->in[1] = table;
    op->out[0] = y;
    return y;
}

static void set_window(cr_tfl_operator *op, const cr_window *w, bool same, int act, bool depthwise)
{
    cr_tfl_set(op, CR_TFL_CONV_PADDING, 'b', same ? CR_TFL_SAME : CR_TFL_VALID);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_W, 'i', (double)w->stride[2]);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_H, 'i', (double)w->stride[1]);
    cr_tfl_set(op, depthwise ? CR_TFL_DW_ACT : CR_TFL_CONV_ACT, 'b', act);
    cr_tfl_set(op, depthwise ? CR_TFL_DW_DILATION_W : CR_TFL_CONV_DILATION_W, 'd',
               (double)w->dilation[2]);
    cr_tfl_set(op, depthwise ? CR_TFL_DW_DILATION_H : CR_TFL_CONV_DILATION_H, 'd',
               (double)w->dilation[1]);
}

/* In 1x1 convolutions rows and columns may be swapped. */
static cr_layout conv_layout(const cr_tfl_out *o, const cr_node *n, const cr_window *w)
{
    const cr_layout have = cr_tfl_layout_of(o, n->in[0]);
    const bool point =
        w->kernel[1] * w->kernel[2] * w->stride[1] * w->stride[2] == 1 && cr_tfl_unpadded(w);
    return point && have.rank == 4 && have.at[0] == 0 && have.at[3] == 1
               ? have
               : cr_layout_channels_last(4);
}

static bool no_arithmetic_left(const cr_node *n)
{
    return !n->in[1]->data || n->in[1]->dtype != CR_DT_F32 ||
           (n->n_in > 2 && n->in[2] && (!n->in[2]->data || n->in[2]->dtype != CR_DT_F32));
}

static cr_status lower_transposed(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_conv_shape c;
    CR_TRY(cr_conv_transpose_read(&call, &c, err));
    const cr_window *w = &c.win;
    bool valid = cr_tfl_unpadded(w), same = true;
    for (int d = 1; d < CR_WINDOW_DIMS; d++) {
        const int64_t total = w->kernel[d] > w->stride[d] ? w->kernel[d] - w->stride[d] : 0;
        valid &= w->out[d] == (w->in[d] - 1) * w->stride[d] + w->kernel[d];
        same &= w->out[d] == w->in[d] * w->stride[d] && w->pad_lo[d] == total / 2;
    }
    if (c.groups != 1 || w->n != 2 || w->dilation[1] * w->dilation[2] != 1 || (!valid && !same))
        return cr_tfl_refuse(n, "groups, dilations or pads that TFLite does not know", err);
    const product p = product_of(o, n, n->out[0], 1);
    const kernel k = conv_kernel(n->in[1], false, true);
    const cr_layout l = cr_layout_channels_last(4);
    const int32_t size[4] = {(int32_t)c.batch, (int32_t)w->out[1], (int32_t)w->out[2],
                             (int32_t)c.out_channels};
    const int bias = bias_of(o, n, c.out_channels, &p);
    const int in[4] = {cr_tfl_new_i32(o, "size", size, 4, 1), weight_of(o, n->in[1], &p, &k),
                       cr_tfl_get(o, n->in[0], &p.in, &l), bias};
    const int out = cr_tfl_make(o, n->out[0], &p.out, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_TRANSPOSE_CONV, 4, 1);
    memcpy(op->in, in, (size_t)op->n_in * sizeof *in);
    op->out[0] = out;
    cr_tfl_set(op, CR_TFL_CONV_PADDING, 'b', valid ? CR_TFL_VALID : CR_TFL_SAME);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_W, 'i', (double)w->stride[2]);
    cr_tfl_set(op, CR_TFL_CONV_STRIDE_H, 'i', (double)w->stride[1]);
    return CR_OK;
}

cr_status cr_tfl_lower_conv(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_op_call call = {n, (const cr_tensor *const *)n->in, n->out, n->n_in, n->n_out};
    cr_conv_shape c;
    if (n->in[0]->shape.rank != 4 || no_arithmetic_left(n))
        return cr_tfl_refuse(n, "not a convolution over two dimensions with constant weights", err);
    if (n->op->kind == CR_OP_ConvTranspose) return lower_transposed(o, n, err);
    CR_TRY(cr_conv_read(&call, 1, &c, err));
    const bool depthwise = c.groups > 1 && c.groups == c.in_channels;
    const bool same = !cr_tfl_unpadded(&c.win) && cr_tfl_same(&c.win);
    const cr_tensor *end;
    const int act = cr_tfl_fused_activation(o, n, &end);
    const product p = product_of(o, n, end, 0);
    const kernel k = conv_kernel(n->in[1], depthwise, false);
    const cr_layout l = conv_layout(o, n, &c.win);
    int x = cr_tfl_get(o, n->in[0], &p.in, &l);
    if (!same && !cr_tfl_unpadded(&c.win)) x = padded(o, n, x, &p, &c.win);
    const int bias = bias_of(o, n, c.out_channels, &p);
    const int in[3] = {x, weight_of(o, n->in[1], &p, &k), bias};
    const int out = cr_tfl_make(o, end, &p.out, &l);
    cr_tfl_operator *op =
        cr_tfl_new_op(o, depthwise ? CR_TFL_DEPTHWISE_CONV_2D : CR_TFL_CONV_2D, 3, 1);
    memcpy(op->in, in, (size_t)op->n_in * sizeof *in);
    op->out[0] = out;
    set_window(op, &c.win, same, act, depthwise);
    if (depthwise) cr_tfl_set(op, CR_TFL_DW_MULTIPLIER, 'i', (double)(c.out_channels / c.groups));
    if (end != n->out[0]) cr_tfl_made(o, end);
    return CR_OK;
}

/* ---- matrices ---- */

static cr_status batch_matmul(cr_tfl_out *o, const cr_node *n)
{
    const cr_tfl_form f[3] = {cr_tfl_stored_form(o, n->in[0]), cr_tfl_stored_form(o, n->in[1]),
                              cr_tfl_stored_form(o, n->out[0])};
    const bool integer = f[0].type == CR_TFL_I8 && f[1].type == CR_TFL_I8 && f[2].type == CR_TFL_I8;
    const cr_tfl_form real = cr_tfl_float();
    int in[2];
    for (int k = 0; k < 2; k++) {
        const cr_layout l = cr_layout_plain(n->in[k]->shape.rank);
        in[k] = cr_tfl_get(o, n->in[k], integer ? &f[k] : &real, &l);
    }
    const cr_layout l = cr_layout_plain(n->out[0]->shape.rank);
    const int out = cr_tfl_make(o, n->out[0], integer ? &f[2] : &real, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_BATCH_MATMUL, 2, 1);
    op->in[0] = in[0];
    op->in[1] = in[1];
    op->out[0] = out;
    return CR_OK;
}

cr_status cr_tfl_lower_gemm(cr_tfl_out *o, const cr_node *n, cr_error *err)
{
    const cr_tensor *w = n->in[1];
    const bool gemm = n->op->kind == CR_OP_Gemm, turned = gemm && cr_attr_int(n, "transB", 0);
    if (!gemm && !w->data && !n->in[0]->data) return batch_matmul(o, n);
    if (no_arithmetic_left(n) || w->shape.rank != 2 || (gemm && cr_attr_int(n, "transA", 0)) ||
        cr_attr_float(n, "alpha", 1) != 1.0f || cr_attr_float(n, "beta", 1) != 1.0f)
        return cr_tfl_refuse(n, "not a product with a constant matrix, plus a bias", err);
    const bool biased = n->n_in > 2 && n->in[2];
    if (biased &&
        cr_shape_count(&n->in[2]->shape) != n->out[0]->shape.dim[n->out[0]->shape.rank - 1])
        return cr_tfl_refuse(n, "the bias is no row", err);
    kernel k = {.rank = 2, .order = {turned ? 0 : 1, turned ? 1 : 0}, .graph_axis = turned ? 0 : 1};
    for (int i = 0; i < 2; i++) k.dims[i] = (int32_t)w->shape.dim[k.order[i]];
    const cr_tensor *end;
    const int act = cr_tfl_fused_activation(o, n, &end);
    const product p = product_of(o, n, end, k.graph_axis);
    const cr_layout l = cr_layout_plain(n->in[0]->shape.rank);
    const int bias = bias_of(o, n, k.dims[0], &p);
    const int in[3] = {cr_tfl_get(o, n->in[0], &p.in, &l), weight_of(o, w, &p, &k), bias};
    const int out = cr_tfl_make(o, end, &p.out, &l);
    cr_tfl_operator *op = cr_tfl_new_op(o, CR_TFL_FULLY_CONNECTED, 3, 1);
    memcpy(op->in, in, (size_t)op->n_in * sizeof *in);
    op->out[0] = out;
    cr_tfl_set(op, CR_TFL_FC_ACT, 'b', act);
    if (l.rank > 2) cr_tfl_set(op, CR_TFL_FC_KEEP_DIMS, 'b', 1);
    if (end != n->out[0]) cr_tfl_made(o, end);
    return CR_OK;
}
