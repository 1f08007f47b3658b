/* Matrix products, Einsum equations and Resize factors, read from nodes and checked. */
#include "graph/nn_rules.h"

#include <math.h>
#include <string.h>

#include "graph/shape.h"

static cr_shape leading(const cr_shape *s)
{
    cr_shape r = *s;
    r.rank = s->rank > 2 ? s->rank - 2 : 0;
    return r;
}

cr_status cr_matmul_read(const cr_op_call *call, int a, int b, cr_matmul_shape *s, cr_error *err)
{
    const cr_shape *x = &call->in[a]->shape, *y = &call->in[b]->shape;
    CR_OP_CHECK(x->rank >= 1 && y->rank >= 1, call, err, "a factor is a scalar");
    const bool x_row = x->rank == 1, y_col = y->rank == 1;
    s->m = x_row ? 1 : x->dim[x->rank - 2];
    s->k = x->dim[x->rank - 1];
    s->n = y_col ? 1 : y->dim[y->rank - 1];
    const int64_t k = y_col ? y->dim[0] : y->dim[y->rank - 2];
    CR_OP_CHECK(s->k == k, call, err, "inner dimensions differ: %lld and %lld", (long long)s->k,
                (long long)k);
    s->a_batch = leading(x);
    s->b_batch = leading(y);
    CR_OP_CHECK(cr_shape_broadcast(&s->a_batch, &s->b_batch, &s->batch), call, err,
                "leading dimensions do not broadcast");
    s->out = s->batch;
    if (!x_row) s->out.dim[s->out.rank++] = s->m;
    if (!y_col) s->out.dim[s->out.rank++] = s->n;
    return CR_OK;
}

/* Einsum: labels are letters; the dimensions of "..." get labels above 127, counted from the last
 * one so that shorter ellipses broadcast. */
enum { ELLIPSIS = 128 };

typedef struct term {
    int count, ellipsis; /* ellipsis: position of "..." or -1 */
    int label[CR_MAX_RANK + 1];
} term;

static cr_status parse_term(const cr_op_call *call, const char **p, term *t, cr_error *err)
{
    *t = (term){.ellipsis = -1};
    for (;; (*p)++) {
        const char c = **p;
        if (c == ' ') continue;
        if (c == 0 || c == ',' || c == '-') return CR_OK;
        const bool dots = c == '.' && (*p)[1] == '.' && (*p)[2] == '.' && t->ellipsis < 0;
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        CR_OP_CHECK(dots || letter, call, err, "cannot read the equation at '%.20s'", *p);
        if (dots) {
            t->ellipsis = t->count;
            *p += 2;
            continue;
        }
        CR_OP_CHECK(t->count < CR_MAX_RANK, call, err, "a term has more than %d labels",
                    CR_MAX_RANK);
        t->label[t->count++] = c;
    }
}

typedef struct equation {
    term in[CR_EINSUM_INPUTS], out;
    bool explicit_out;
} equation;

static cr_status parse_equation(const cr_op_call *call, equation *e, cr_error *err)
{
    const char *p = cr_attr_string(call->node, "equation", NULL);
    CR_OP_CHECK(p, call, err, "attribute equation is missing");
    for (int i = 0; i < call->n_in; i++) {
        CR_OP_CHECK(call->in[i], call, err, "input %d is missing", i);
        CR_TRY(parse_term(call, &p, &e->in[i], err));
        CR_OP_CHECK(i + 1 == call->n_in ? *p != ',' : *p == ',', call, err,
                    "the equation does not have %d terms", call->n_in);
        if (*p == ',') p++;
    }
    e->explicit_out = *p != 0;
    if (!e->explicit_out) return CR_OK;
    CR_OP_CHECK(p[1] == '>', call, err, "cannot read the equation at '%.20s'", p);
    p += 2;
    CR_TRY(parse_term(call, &p, &e->out, err));
    CR_OP_CHECK(*p == 0, call, err, "cannot read the equation at '%.20s'", p);
    return CR_OK;
}

/* Replaces "..." by its `dims` labels. */
static void expand_term(term *t, int dims)
{
    if (t->ellipsis < 0) return;
    for (int i = t->count - 1; i >= t->ellipsis; i--) t->label[i + dims] = t->label[i];
    for (int i = 0; i < dims; i++) t->label[t->ellipsis + i] = ELLIPSIS + dims - 1 - i;
    t->count += dims;
}

static cr_status expand_inputs(const cr_op_call *call, equation *e, int *widest, cr_error *err)
{
    *widest = 0;
    for (int i = 0; i < call->n_in; i++) {
        const int rank = call->in[i]->shape.rank, dims = rank - e->in[i].count;
        CR_OP_CHECK(e->in[i].ellipsis < 0 ? dims == 0 : dims >= 0, call, err,
                    "term %d of the equation does not fit an input of %d dimensions", i, rank);
        if (dims > *widest) *widest = dims;
        expand_term(&e->in[i], dims);
    }
    return CR_OK;
}

static int count_label(const cr_op_call *call, const equation *e, int label)
{
    int n = 0;
    for (int i = 0; i < call->n_in; i++)
        for (int k = 0; k < e->in[i].count; k++) n += e->in[i].label[k] == label;
    return n;
}

/* Without "->" the output has the ellipsis and then, sorted, every label that occurs once. */
static cr_status implicit_output(const cr_op_call *call, equation *e, int widest, cr_error *err)
{
    e->out = (term){.ellipsis = -1};
    for (int i = widest - 1; i >= 0; i--) e->out.label[e->out.count++] = ELLIPSIS + i;
    for (int c = 'A'; c <= 'z'; c++) {
        if (count_label(call, e, c) != 1) continue;
        CR_OP_CHECK(e->out.count < CR_MAX_RANK, call, err, "output has more than %d dimensions",
                    CR_MAX_RANK);
        e->out.label[e->out.count++] = c;
    }
    return CR_OK;
}

static cr_status read_output(const cr_op_call *call, equation *e, int widest, cr_error *err)
{
    if (!e->explicit_out) return implicit_output(call, e, widest, err);
    CR_OP_CHECK(e->out.count + (e->out.ellipsis < 0 ? 0 : widest) <= CR_MAX_RANK, call, err,
                "output has more than %d dimensions", CR_MAX_RANK);
    expand_term(&e->out, widest);
    for (int i = 0; i < e->out.count; i++) {
        CR_OP_CHECK(count_label(call, e, e->out.label[i]) > 0, call, err,
                    "output label '%c' is in no input", e->out.label[i]);
        for (int k = 0; k < i; k++)
            CR_OP_CHECK(e->out.label[k] != e->out.label[i], call, err,
                        "output label '%c' occurs twice", e->out.label[i]);
    }
    return CR_OK;
}

/* Index of a label in the loop list, appended when it is new; -1: too many. */
static int loop_of(cr_einsum_shape *s, int *names, int label)
{
    for (int l = 0; l < s->labels; l++)
        if (names[l] == label) return l;
    if (s->labels == CR_EINSUM_LABELS) return -1;
    names[s->labels] = label;
    s->size[s->labels] = 1;
    return s->labels++;
}

static cr_status add_operand(const cr_op_call *call, int i, const term *t, cr_einsum_shape *s,
                             int *names, cr_error *err)
{
    const cr_shape *x = &call->in[i]->shape;
    int64_t dense[CR_MAX_RANK];
    cr_shape_strides(x, dense);
    for (int k = 0; k < t->count; k++) {
        const int l = loop_of(s, names, t->label[k]);
        if (l < 0)
            return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "more than %d labels",
                              CR_EINSUM_LABELS);
        CR_OP_CHECK(x->dim[k] == 1 || s->size[l] == 1 || s->size[l] == x->dim[k], call, err,
                    "dimension %d of input %d is %lld, expected %lld", k, i, (long long)x->dim[k],
                    (long long)s->size[l]);
        if (x->dim[k] == 1) continue;
        s->size[l] = x->dim[k];
        s->stride[i][l] += dense[k];
    }
    return CR_OK;
}

cr_status cr_einsum_read(const cr_op_call *call, cr_einsum_shape *s, cr_error *err)
{
    int names[CR_EINSUM_LABELS], widest = 0;
    equation e = {.explicit_out = false};
    *s = (cr_einsum_shape){0};
    if (call->n_in > CR_EINSUM_INPUTS)
        return cr_op_fail(call, err, CR_ERR_UNSUPPORTED, "more than %d inputs", CR_EINSUM_INPUTS);
    CR_TRY(parse_equation(call, &e, err));
    CR_TRY(expand_inputs(call, &e, &widest, err));
    CR_TRY(read_output(call, &e, widest, err));
    for (int i = 0; i < e.out.count; i++) loop_of(s, names, e.out.label[i]);
    s->out_labels = s->labels;
    for (int i = 0; i < call->n_in; i++) CR_TRY(add_operand(call, i, &e.in[i], s, names, err));
    s->out.rank = s->out_labels;
    for (int l = 0; l < s->out_labels; l++) s->out.dim[l] = s->size[l];
    return CR_OK;
}

/* Which dimension entry i of scales, sizes and roi is about. */
static cr_status resize_axes(const cr_op_call *call, int rank, int axis[CR_MAX_RANK], int *count,
                             cr_error *err)
{
    size_t n = 0;
    bool seen[CR_MAX_RANK] = {false};
    const int64_t *axes = cr_attr_ints(call->node, "axes", &n);
    *count = axes ? (int)n : rank;
    CR_OP_CHECK(n <= (size_t)rank, call, err, "%zu axes for %d dimensions", n, rank);
    for (int i = 0; i < *count; i++) {
        axis[i] = i;
        if (axes) CR_TRY(cr_axis_normalize(axes[i], rank, call->node, &axis[i], err));
        CR_OP_CHECK(!seen[axis[i]], call, err, "axis %d is listed twice", axis[i]);
        seen[axis[i]] = true;
    }
    return CR_OK;
}

static bool is_given(const cr_tensor *t)
{
    return t && cr_shape_count(&t->shape) != 0;
}

static cr_status check_factors(const cr_op_call *call, int i, int count, cr_error *err)
{
    const cr_tensor *t = cr_op_in(call, i);
    CR_OP_CHECK(t->shape.rank == 1 && t->shape.dim[0] == count, call, err,
                "input %d ('%s') must be a list of %d numbers", i, t->name, count);
    return CR_OK;
}

/* The product is float32, as in ONNX's own shape inference: 5 * 5.2 must be 26, not 25.99. */
static cr_status from_scales(const cr_op_call *call, const int *axis, int count, cr_resize_shape *s,
                             cr_error *err)
{
    const cr_tensor *t = call->in[2];
    for (int i = 0; i < count; i++) {
        const int d = axis[i];
        s->scale[d] = cr_tensor_get_f64(t, (size_t)i);
        CR_OP_CHECK(s->scale[d] > 0 && s->scale[d] < 1e9, call, err, "scale %g is out of range",
                    s->scale[d]);
        s->length[d] = (float)s->scale[d] * (float)call->in[0]->shape.dim[d];
        CR_OP_CHECK(s->length[d] < 0x1p40, call, err, "the resized dimension %d is too large", d);
        s->out.dim[d] = (int64_t)floor(s->length[d]);
    }
    return CR_OK;
}

static cr_status from_sizes(const cr_op_call *call, const int *axis, int count, cr_resize_shape *s,
                            cr_error *err)
{
    const char *policy = cr_attr_string(call->node, "keep_aspect_ratio_policy", "stretch");
    const bool stretch = !strcmp(policy, "stretch"), smaller = !strcmp(policy, "not_larger");
    const cr_shape *x = &call->in[0]->shape;
    double common = smaller ? INFINITY : 0;
    CR_OP_CHECK(stretch || smaller || !strcmp(policy, "not_smaller"), call, err,
                "keep_aspect_ratio_policy '%s' is unknown", policy);
    for (int i = 0; i < count; i++) {
        const int64_t size = cr_tensor_get_i64(call->in[3], (size_t)i);
        CR_OP_CHECK(size >= 0 && size < (int64_t)1 << 40 && (x->dim[axis[i]] > 0 || size == 0),
                    call, err, "cannot resize dimension %d to %lld", axis[i], (long long)size);
        s->out.dim[axis[i]] = size;
        if (x->dim[axis[i]] > 0) s->scale[axis[i]] = (double)size / (double)x->dim[axis[i]];
        s->length[axis[i]] = (double)size;
        common = smaller ? fmin(common, s->scale[axis[i]]) : fmax(common, s->scale[axis[i]]);
    }
    for (int i = 0; i < count && !stretch; i++) {
        const int d = axis[i];
        s->scale[d] = common;
        s->length[d] = common * (double)x->dim[d];
        CR_OP_CHECK(s->length[d] < 0x1p40, call, err, "the resized dimension %d is too large", d);
        s->out.dim[d] = (int64_t)floor(s->length[d] + 0.5);
    }
    return CR_OK;
}

static cr_status read_roi(const cr_op_call *call, const int *axis, int count, cr_resize_shape *s,
                          cr_error *err)
{
    const char *mode = cr_attr_string(call->node, "coordinate_transformation_mode", "half_pixel");
    const cr_tensor *roi = cr_op_in(call, 1);
    if (strcmp(mode, "tf_crop_and_resize") != 0) return CR_OK;
    CR_OP_CHECK(is_given(roi), call, err, "tf_crop_and_resize needs the input roi");
    CR_TRY(cr_op_check_dtype(call, 1, CR_DTS_FLOAT, err));
    CR_TRY(check_factors(call, 1, 2 * count, err));
    s->known = s->known && roi->data;
    for (int i = 0; i < count && roi->data; i++) {
        s->roi_lo[axis[i]] = cr_tensor_get_f64(roi, (size_t)i);
        s->roi_hi[axis[i]] = cr_tensor_get_f64(roi, (size_t)(count + i));
    }
    return CR_OK;
}

cr_status cr_resize_read(const cr_op_call *call, cr_resize_shape *s, cr_error *err)
{
    const cr_shape *x = &call->in[0]->shape;
    const cr_tensor *scales = cr_op_in(call, 2), *sizes = cr_op_in(call, 3);
    const bool by_scale = is_given(scales);
    int axis[CR_MAX_RANK], count = 0;
    CR_OP_CHECK(by_scale != is_given(sizes), call, err, "needs either scales or sizes");
    CR_TRY(resize_axes(call, x->rank, axis, &count, err));
    CR_TRY(check_factors(call, by_scale ? 2 : 3, count, err));
    CR_TRY(cr_op_check_dtype(call, by_scale ? 2 : 3, by_scale ? CR_DTS_FLOAT : CR_DTS_INDEX, err));
    *s = (cr_resize_shape){.out = *x};
    for (int d = 0; d < x->rank; d++) {
        s->scale[d] = 1;
        s->length[d] = (double)x->dim[d];
        s->roi_hi[d] = 1;
    }
    s->known = (by_scale ? scales : sizes)->data != NULL;
    CR_TRY(read_roi(call, axis, count, s, err));
    if (s->known)
        CR_TRY((by_scale ? from_scales : from_sizes)(call, axis, count, s, err));
    else
        for (int i = 0; i < count; i++) s->out.dim[axis[i]] = -1;
    return CR_OK;
}
