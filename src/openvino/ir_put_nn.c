/* Layers of convolutions, products, pooling, resizing. */
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/recipe_bias.h"
#include "openvino/ir_out.h"

enum { ATTRS = 640, MAX_SPATIAL = 3 };

/* ---- windows ---- */

typedef struct line { /* of attributes */
    char text[ATTRS];
    size_t used;
} line;

static void add(line *a, const char *key, const char *value)
{
    a->used += (size_t)snprintf(a->text + a->used, sizeof a->text - a->used, "%s%s=\"%s\"",
                                a->used ? " " : "", key, value);
}

/* The list, or `fallback` for every axis. */
static void add_list(line *a, const char *key, const int64_t *v, size_t n, int64_t fallback)
{
    char text[MAX_SPATIAL * 24];
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i ? "," : "",
                                 (long long)(v ? v[i] : fallback));
    add(a, key, text);
}

static cr_status spatial_axes(const cr_tensor *x, size_t *out, cr_error *err)
{
    CR_CHECK(x->shape.rank > 2 && x->shape.rank <= MAX_SPATIAL + 2, err, CR_ERR_UNSUPPORTED,
             "an input of %d axes", x->shape.rank);
    *out = (size_t)x->shape.rank - 2;
    return CR_OK;
}

static void add_window(line *a, const cr_node *n, size_t spatial, bool dilations)
{
    static const struct {
        const char *onnx, *ir;
    } rules[] = {{"SAME_UPPER", "same_upper"}, {"SAME_LOWER", "same_lower"}, {"VALID", "valid"}};
    const char *rule = cr_attr_string(n, "auto_pad", "NOTSET"), *known = "explicit";
    size_t count;
    add_list(a, "strides", cr_attr_ints(n, "strides", &count), spatial, 1);
    if (dilations) add_list(a, "dilations", cr_attr_ints(n, "dilations", &count), spatial, 1);
    const int64_t *pads = cr_attr_ints(n, "pads", &count);
    add_list(a, "pads_begin", pads, spatial, 0);
    add_list(a, "pads_end", pads ? pads + spatial : NULL, spatial, 0);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strcmp(rules[i].onnx, rule)) known = rules[i].ir;
    add(a, "auto_pad", known);
}

/* ---- convolutions ---- */

/* Groups are an axis of the weights. Backwards, ONNX's [I, O/G, ...] is [G, I/G, O/G, ...]. */
static cr_status put_weights(cr_ir_out *w, int64_t groups, cr_ir_ref *out, cr_error *err)
{
    const cr_tensor *t = w->n->in[1];
    const cr_recipe_entry *e = w->entries[t->id];
    if (groups == 1) return cr_ir_ref_of(w, t, out, err);
    CR_CHECK(t->data && t->dtype == CR_DT_F32 && t->shape.rank < CR_MAX_RANK &&
                 t->shape.dim[0] % groups == 0,
             err, CR_ERR_UNSUPPORTED, "weights in groups that are computed");
    cr_shape s = {t->shape.rank + 1, {groups, t->shape.dim[0] / groups}};
    for (int d = 1; d < t->shape.rank; d++) s.dim[d + 1] = t->shape.dim[d];
    *out = e ? cr_ir_put_codes(w, t, &e->q, groups) : cr_ir_const_floats(w, t->name, &s, t->data);
    return CR_OK;
}

/* The convolution has the tensor's name, and the Add behind it gives the tensor. */
/* A convolution on integers adds what its bias is in steps of its sums: ONNX files hold that, and here, where
 * it stays float32, it has the same value. Unrounded, OpenVINO's two forms of a recipe were .007 of mAP
 * apart. */
static void round_bias(const cr_ir_out *w, float *bias)
{
    const cr_node *n = w->n;
    const cr_recipe_entry *x = w->entries[n->in[0]->id], *k = w->entries[n->in[1]->id];
    const cr_qparams *a = x ? &x->q : NULL, *q = k ? &k->q : NULL;
    if (!cr_recipe_rounds_bias(n, a, q)) return;
    for (int64_t c = 0; c < cr_shape_count(&n->in[2]->shape); c++) {
        float sa, sw;
        cr_recipe_bias_scales(n, a, q, c, &sa, &sw);
        bias[c] = cr_dequantize(cr_quantize_bias(bias[c], sa, sw), sa * sw, 0);
    }
}

static cr_ir_ref put_bias(cr_ir_out *w, const cr_tensor *b, const cr_shape *along)
{
    const size_t size = cr_tensor_bytes(b);
    float *v = cr_malloc(size + 1);
    cr_ir_ref out = {.layer = 0};
    if (!v) {
        w->failed = true;
        return out;
    }
    memcpy(v, b->data, size);
    round_bias(w, v);
    /* float32 whatever the weights are: OpenVINO wants it so for fusion */
    out = cr_ir_const(w, b->name, CR_DT_F32, along, v, size);
    cr_free(v);
    return out;
}

static cr_status put_biased(cr_ir_out *w, const char *type, const char *attrs, const cr_ir_ref in[2],
                            cr_error *err)
{
    const cr_tensor *y = w->n->out[0], *b = w->n->in[2];
    const int64_t channels = y->shape.dim[1];
    CR_CHECK(b->data && b->dtype == CR_DT_F32 && cr_shape_count(&b->shape) == channels, err,
             CR_ERR_UNSUPPORTED, "a bias that is computed");
    cr_shape along = {y->shape.rank, {1, channels}};
    for (int d = 2; d < along.rank; d++) along.dim[d] = 1;
    const char *name = cr_ir_maker_name(w, y);
    cr_ir_ref sum[2] = {{.dtype = y->dtype, .shape = y->shape}};
    cr_ir_layer_n(w, type, 1, name, attrs, in, 2, &sum[0], NULL, 1);
    sum[1] = put_bias(w, b, &along);
    w->refs[y->id] = sum[0];
    cr_ir_layer_n(w, "Add", 1, cr_ir_stem(w, y, "bias"), "auto_broadcast=\"numpy\"", sum, 2,
                  &w->refs[y->id], &name, 1);
    return CR_OK;
}

cr_status cr_ir_put_conv(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const bool backwards = n->op->kind == CR_OP_ConvTranspose;
    const int64_t groups = cr_attr_int(n, "group", 1);
    const char *const types[2][2] = {{"Convolution", "ConvolutionBackpropData"},
                                     {"GroupConvolution", "GroupConvolutionBackpropData"}};
    size_t spatial = 0, count;
    line a = {.used = 0};
    cr_ir_ref in[2];
    CR_CHECK(!cr_attr_find(n, "output_shape"), err, CR_ERR_UNSUPPORTED, "with output_shape");
    CR_TRY(spatial_axes(n->in[0], &spatial, err));
    add_window(&a, n, spatial, true);
    if (backwards) add_list(&a, "output_padding", cr_attr_ints(n, "output_padding", &count), spatial, 0);
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    CR_TRY(put_weights(w, groups, &in[1], err));
    const char *type = types[groups > 1][backwards];
    if (n->n_in > 2 && n->in[2]) return put_biased(w, type, a.text, in, err);
    cr_ir_outer(w, type, 1, a.text, in, 2);
    return CR_OK;
}

/* ---- products ---- */

cr_status cr_ir_put_matmul(cr_ir_out *w, cr_error *err)
{
    cr_ir_ref in[2];
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    cr_ir_outer(w, "MatMul", 1, "transpose_a=\"false\" transpose_b=\"false\"", in, 2);
    return CR_OK;
}

cr_status cr_ir_put_gemm(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const bool bias = n->n_in > 2 && n->in[2];
    cr_ir_ref in[2];
    char attrs[80];
    CR_CHECK(cr_attr_float(n, "alpha", 1) == 1 && (!bias || cr_attr_float(n, "beta", 1) == 1), err,
             CR_ERR_UNSUPPORTED, "alpha and beta other than 1");
    CR_TRY(cr_ir_refs_in(w, in, 2, err));
    snprintf(attrs, sizeof attrs, "transpose_a=\"%s\" transpose_b=\"%s\"",
             cr_attr_int(n, "transA", 0) ? "true" : "false",
             cr_attr_int(n, "transB", 0) ? "true" : "false");
    if (bias) {
        in[0] = cr_ir_inner(w, "MatMul", 1, "product", attrs, in, 2, n->out[0]->dtype,
                            &n->out[0]->shape);
        CR_TRY(cr_ir_ref_of(w, n->in[2], &in[1], err));
    }
    cr_ir_outer(w, bias ? "Add" : "MatMul", 1, bias ? "auto_broadcast=\"numpy\"" : attrs, in, 2);
    return CR_OK;
}

/* ---- pooling ---- */

/* opset14 has the rule for odd sizes that ONNX has: no window begins in the padding behind. */
cr_status cr_ir_put_pool(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const cr_tensor *y = n->out[0];
    const bool average = n->op->kind == CR_OP_AveragePool, up = cr_attr_int(n, "ceil_mode", 0) != 0;
    size_t spatial = 0, count;
    line a = {.used = 0};
    cr_ir_ref in;
    CR_TRY(spatial_axes(n->in[0], &spatial, err));
    const int64_t *dilations = cr_attr_ints(n, "dilations", &count);
    for (size_t i = 0; average && i < count; i++)
        CR_CHECK(dilations[i] == 1, err, CR_ERR_UNSUPPORTED, "with dilations");
    CR_CHECK(n->n_out < 2 || !n->out[1] || !n->out[1]->uses, err, CR_ERR_UNSUPPORTED,
             "indices of the largest values");
    add_list(&a, "kernel", cr_attr_ints(n, "kernel_shape", &count), spatial, 1);
    add_window(&a, n, spatial, !average);
    add(&a, "rounding_type", up ? "ceil_torch" : "floor");
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in, err));
    if (average) {
        add(&a, "exclude-pad", cr_attr_int(n, "count_include_pad", 0) ? "false" : "true");
        cr_ir_outer(w, "AvgPool", up ? 14 : 1, a.text, &in, 1);
        return CR_OK;
    }
    add(&a, "index_element_type", "i64");
    add(&a, "axis", "0");
    cr_ir_ref outs[2] = {{.dtype = y->dtype, .shape = y->shape}, {.dtype = CR_DT_I64, .shape = y->shape}};
    const char *name = cr_ir_maker_name(w, y);
    const char *const ports[2] = {name, NULL};
    cr_ir_layer_n(w, "MaxPool", up ? 14 : 8, name, a.text, &in, 1, outs, ports, 2);
    w->refs[y->id] = outs[0];
    return CR_OK;
}

cr_status cr_ir_put_global_pool(cr_ir_out *w, cr_error *err)
{
    static const int64_t axes[MAX_SPATIAL] = {2, 3, 4};
    size_t spatial = 0;
    cr_ir_ref in[2];
    CR_TRY(spatial_axes(w->n->in[0], &spatial, err));
    CR_TRY(cr_ir_ref_of(w, w->n->in[0], &in[0], err));
    in[1] = cr_ir_const_ints(w, "axes", axes, spatial);
    cr_ir_outer(w, w->n->op->kind == CR_OP_GlobalMaxPool ? "ReduceMax" : "ReduceMean", 1,
                "keep_dims=\"true\"", in, 2);
    return CR_OK;
}

/* ---- norms ---- */

cr_status cr_ir_put_batch_norm(cr_ir_out *w, cr_error *err)
{
    char attrs[64];
    cr_ir_ref in[5];
    CR_TRY(cr_ir_refs_in(w, in, 5, err));
    snprintf(attrs, sizeof attrs, "epsilon=\"%.9g\"", cr_attr_float(w->n, "epsilon", 1e-5f));
    cr_ir_outer(w, "BatchNormInference", 5, attrs, in, 5);
    return CR_OK;
}

/* ---- resizing ---- */

cr_status cr_ir_put_resize(cr_ir_out *w, cr_error *err)
{
    const cr_node *n = w->n;
    const char *mode = cr_attr_string(n, "mode", "nearest");
    const char *place = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *const near = cr_attr_string(n, "nearest_mode", "round_prefer_floor");
    const bool by_sizes = n->n_in > 3 && n->in[3];
    const cr_tensor *target = by_sizes ? n->in[3] : n->n_in > 2 ? n->in[2] : NULL;
    const int64_t axes[CR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    line a = {.used = 0};
    char number[32];
    cr_ir_ref in[3];
    CR_CHECK(target && target->data, err, CR_ERR_UNSUPPORTED, "to a size that is computed");
    CR_CHECK(cr_shape_count(&target->shape) == n->in[0]->shape.rank, err, CR_ERR_UNSUPPORTED,
             "of some axes");
    CR_CHECK(!cr_attr_int(n, "antialias", 0) && !cr_attr_int(n, "exclude_outside", 0) &&
                 strcmp(place, "tf_crop_and_resize") && strcmp(place, "half_pixel_symmetric"),
             err, CR_ERR_UNSUPPORTED, "by mode %.40s, or with antialiasing", place);
    add(&a, "mode", !strcmp(mode, "linear") ? "linear_onnx" : mode);
    add(&a, "shape_calculation_mode", by_sizes ? "sizes" : "scales");
    add(&a, "coordinate_transformation_mode", place);
    add(&a, "nearest_mode", near);
    add(&a, "antialias", "false");
    add(&a, "pads_begin", "0");
    add(&a, "pads_end", "0");
    snprintf(number, sizeof number, "%.9g", cr_attr_float(n, "cubic_coeff_a", -.75f));
    add(&a, "cube_coeff", number);
    CR_TRY(cr_ir_ref_of(w, n->in[0], &in[0], err));
    CR_TRY(cr_ir_ref_of(w, target, &in[1], err));
    in[2] = cr_ir_const_ints(w, "axes", axes, (size_t)n->in[0]->shape.rank);
    cr_ir_outer(w, "Interpolate", 11, a.text, in, 3);
    return CR_OK;
}
