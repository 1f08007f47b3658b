#include "train/arch_net.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *no_memory(cr_arch_net *net)
{
    if (net->st == CR_OK) net->st = CR_NOMEM(net->err);
    return NULL;
}

int64_t cr_arch_dim(const cr_tensor *t, int d)
{
    return t && d < t->shape.rank ? t->shape.dim[d] : 0;
}

const char *cr_arch_place(cr_arch_net *net, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *kept = cr_arena_strdup(&net->g->arena, text);
    return kept ? kept : no_memory(net);
}

/* ---- constants ---- */

cr_tensor *cr_arch_const(cr_arch_net *net, const char *name, cr_shape shape)
{
    cr_tensor *t = net->st == CR_OK && name
                       ? cr_graph_new_const(net->g, name, CR_DT_F32, shape)
                       : NULL;
    return t ? t : no_memory(net);
}

static cr_tensor *list(cr_arch_net *net, const char *place, const int64_t *values, int n)
{
    if (net->st != CR_OK) return NULL;
    const char *stem = cr_arch_place(net, "%s/Constant", place);
    cr_tensor *t = stem ? cr_graph_const_i64(net->g, stem, values, (size_t)n) : NULL;
    return t ? t : no_memory(net);
}

/* "/model.0/conv" and "weight" -> "model.0.conv.weight". */
static cr_tensor *parameter(cr_arch_net *net, const char *place, const char *what, cr_shape shape)
{
    char name[256];
    if (net->st != CR_OK || !place) return NULL;
    snprintf(name, sizeof name, "%s.%s", place + 1, what);
    for (char *c = name; *c; c++)
        if (*c == '/') *c = '.';
    return cr_arch_const(net, name, shape);
}

static cr_tensor *filled(cr_arch_net *net, const char *place, const char *what, int64_t n, float x)
{
    cr_tensor *t = parameter(net, place, what, (cr_shape){1, {n}});
    for (int64_t i = 0; t && i < n; i++) ((float *)t->data)[i] = x;
    return t;
}

static cr_tensor *drawn(cr_arch_net *net, const char *place, cr_shape shape, int64_t fan_in)
{
    cr_tensor *t = parameter(net, place, "weight", shape);
    const double bound = fan_in > 0 ? 1 / sqrt((double)fan_in) : 0;
    const int64_t n = t ? cr_shape_count(&t->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        ((float *)t->data)[i] = (float)cr_rng_range(&net->rng, -bound, bound);
    return t;
}

/* ---- nodes ---- */

static bool set_attr(cr_graph *g, cr_attr *to, const cr_attr *from)
{
    switch (from->type) {
    case CR_ATTR_INT:
        cr_attr_set_int(to, from->name, from->i);
        return true;
    case CR_ATTR_FLOAT:
        cr_attr_set_float(to, from->name, from->f);
        return true;
    case CR_ATTR_STRING:
        return cr_attr_set_string(g, to, from->name, from->s);
    default:
        return cr_attr_set_ints(g, to, from->name, from->ints, from->count);
    }
}

static const char *node_name(cr_arch_net *net, const char *place, const char *op)
{
    char text[256];
    int count = 0;
    const size_t stem = (size_t)snprintf(text, sizeof text, "%s/%s", place, op);
    if (stem >= sizeof text) return cr_arch_place(net, "%s", text);
    for (size_t i = 0; i < net->g->node_count; i++) {
        const char *have = net->g->nodes[i]->name;
        count += !strncmp(have, text, stem) && (!have[stem] || have[stem] == '_');
    }
    return count ? cr_arch_place(net, "%s_%d", text, count) : cr_arch_place(net, "%s", text);
}

static bool make_outputs(cr_arch_net *net, cr_node *n, cr_tensor **out)
{
    for (int k = 0; k < n->n_out; k++) {
        const char *name = cr_arch_place(net, "%s_output_%d", n->name, k);
        if (!name) return false;
        out[k] = n->out[k] = cr_graph_add_tensor(net->g, name, CR_DT_NONE, cr_shape_unknown());
        if (!out[k]) return false;
    }
    return true;
}

bool cr_arch_nodes(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *const *in,
                   int n_in, const cr_attr *attrs, int n_attrs, cr_tensor **out, int n_out)
{
    for (int k = 0; k < n_out; k++) out[k] = NULL;
    if (net->st != CR_OK || !place) return false;
    const char *name = node_name(net, place, cr_op_get(kind)->name);
    cr_node *n = name ? cr_graph_add_node(net->g, kind, name, n_in, n_out, n_attrs) : NULL;
    bool ok = n != NULL;
    for (int k = 0; ok && k < n_in; k++) n->in[k] = in[k];
    for (int k = 0; ok && k < n_attrs; k++) ok = set_attr(net->g, &n->attrs[k], &attrs[k]);
    if (!ok || !make_outputs(net, n, out)) {
        no_memory(net);
        return false;
    }
    net->st = cr_node_infer(n, net->err);
    return net->st == CR_OK;
}

cr_tensor *cr_arch_node(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *const *in,
                        int n_in, const cr_attr *attrs, int n_attrs)
{
    cr_tensor *out;
    return cr_arch_nodes(net, place, kind, in, n_in, attrs, n_attrs, &out, 1) ? out : NULL;
}

cr_tensor *cr_arch_unary(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *x)
{
    return cr_arch_node(net, place, kind, &x, 1, NULL, 0);
}

cr_tensor *cr_arch_pair(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *a,
                        cr_tensor *b)
{
    return cr_arch_node(net, place, kind, (cr_tensor *[]){a, b}, 2, NULL, 0);
}

cr_tensor *cr_arch_scalar(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *a,
                          float b)
{
    if (net->st != CR_OK) return NULL;
    cr_tensor *c = cr_arch_const(net, cr_arch_place(net, "%s/Constant", place), (cr_shape){0, {0}});
    if (c) *(float *)c->data = b;
    return cr_arch_pair(net, place, kind, a, c);
}

#define INT(key, v)     ((cr_attr){.name = (key), .type = CR_ATTR_INT, .i = (v)})
#define FLOAT(key, v)   ((cr_attr){.name = (key), .type = CR_ATTR_FLOAT, .f = (v)})
#define STRING(key, v)  ((cr_attr){.name = (key), .type = CR_ATTR_STRING, .s = (v)})
#define INTS(key, v, c) ((cr_attr){.name = (key), .type = CR_ATTR_INTS, .count = (c), .ints = (v)})

static cr_tensor *convolve(cr_arch_net *net, const char *place, cr_op_kind kind, cr_tensor *x,
                           cr_tensor *w, cr_tensor *b, int64_t k, int64_t stride, int64_t pad)
{
    int64_t kernel[2] = {k, k}, strides[2] = {stride, stride}, pads[4] = {pad, pad, pad, pad},
            dilations[2] = {1, 1};
    const cr_attr attrs[] = {INTS("kernel_shape", kernel, 2), INTS("strides", strides, 2),
                             INTS("pads", pads, 4), INTS("dilations", dilations, 2),
                             INT("group", 1)};
    return cr_arch_node(net, place, kind, (cr_tensor *[]){x, w, b}, b ? 3 : 2, attrs, 5);
}

cr_tensor *cr_arch_plain(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co, int64_t k,
                         int64_t stride, float bias)
{
    const int64_t ci = cr_arch_dim(x, 1);
    cr_tensor *w = drawn(net, place, (cr_shape){4, {co, ci, k, k}}, ci * k * k);
    cr_tensor *b = filled(net, place, "bias", co, bias);
    return convolve(net, place, CR_OP_Conv, x, w, b, k, stride, k / 2);
}

cr_tensor *cr_arch_conv(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co, int64_t k,
                        int64_t stride)
{
    const char *conv = cr_arch_place(net, "%s/conv", place);
    const char *bn = cr_arch_place(net, "%s/bn", place), *act = cr_arch_place(net, "%s/act", place);
    const int64_t ci = cr_arch_dim(x, 1);
    const cr_attr attrs[] = {FLOAT("epsilon", 1e-3f), FLOAT("momentum", .97f)};
    cr_tensor *w = drawn(net, conv, (cr_shape){4, {co, ci, k, k}}, ci * k * k);
    x = convolve(net, conv, CR_OP_Conv, x, w, NULL, k, stride, k / 2);
    cr_tensor *in[5] = {x, filled(net, bn, "weight", co, 1), filled(net, bn, "bias", co, 0),
                        filled(net, bn, "running_mean", co, 0),
                        filled(net, bn, "running_var", co, 1)};
    x = cr_arch_node(net, bn, CR_OP_BatchNormalization, in, 5, attrs, 2);
    return cr_arch_unary(net, act, CR_OP_Swish, x);
}

cr_tensor *cr_arch_grow(cr_arch_net *net, const char *place, cr_tensor *x, int64_t co)
{
    const int64_t ci = cr_arch_dim(x, 1);
    cr_tensor *w = drawn(net, place, (cr_shape){4, {ci, co, 2, 2}}, co * 4);
    cr_tensor *b = filled(net, place, "bias", co, 0);
    return convolve(net, place, CR_OP_ConvTranspose, x, w, b, 2, 2, 0);
}

cr_tensor *cr_arch_linear(cr_arch_net *net, const char *place, cr_tensor *x, int64_t out)
{
    const int64_t ci = cr_arch_dim(x, 1);
    cr_tensor *w = drawn(net, place, (cr_shape){2, {out, ci}}, ci);
    cr_tensor *in[3] = {x, w, filled(net, place, "bias", out, 0)};
    const cr_attr attrs[] = {INT("transB", 1)};
    return cr_arch_node(net, place, CR_OP_Gemm, in, 3, attrs, 1);
}

cr_tensor *cr_arch_pool5(cr_arch_net *net, const char *place, cr_tensor *x)
{
    int64_t kernel[2] = {5, 5}, strides[2] = {1, 1}, pads[4] = {2, 2, 2, 2};
    const cr_attr attrs[] = {INTS("kernel_shape", kernel, 2), INTS("strides", strides, 2),
                             INTS("pads", pads, 4)};
    return cr_arch_node(net, place, CR_OP_MaxPool, &x, 1, attrs, 3);
}

cr_tensor *cr_arch_upsample(cr_arch_net *net, const char *place, cr_tensor *x)
{
    if (net->st != CR_OK) return NULL;
    cr_tensor *scales =
        cr_arch_const(net, cr_arch_place(net, "%s/Constant", place), (cr_shape){1, {4}});
    if (scales) memcpy(scales->data, (const float[]){1, 1, 2, 2}, 4 * sizeof(float));
    const cr_attr attrs[] = {STRING("mode", "nearest"), STRING("nearest_mode", "floor"),
                             STRING("coordinate_transformation_mode", "asymmetric")};
    return cr_arch_node(net, place, CR_OP_Resize, (cr_tensor *[]){x, NULL, scales}, 3, attrs, 3);
}

cr_tensor *cr_arch_concat(cr_arch_net *net, const char *place, int64_t axis, cr_tensor *const *x,
                          int n)
{
    const cr_attr attrs[] = {INT("axis", axis)};
    return cr_arch_node(net, place, CR_OP_Concat, x, n, attrs, 1);
}

bool cr_arch_split(cr_arch_net *net, const char *place, cr_tensor *x, const int64_t *sizes, int n,
                   cr_tensor **out)
{
    cr_tensor *in[2] = {x, list(net, place, sizes, n)};
    const cr_attr attrs[] = {INT("axis", 1)};
    return cr_arch_nodes(net, place, CR_OP_Split, in, 2, attrs, 1, out, n);
}

cr_tensor *cr_arch_slice(cr_arch_net *net, const char *place, cr_tensor *x, int64_t axis,
                         int64_t from, int64_t to)
{
    cr_tensor *in[4] = {x, list(net, place, &from, 1), list(net, place, &to, 1),
                        list(net, place, &axis, 1)};
    return cr_arch_node(net, place, CR_OP_Slice, in, 4, NULL, 0);
}

cr_tensor *cr_arch_reshape(cr_arch_net *net, const char *place, cr_tensor *x, const int64_t *dims,
                           int n)
{
    return cr_arch_pair(net, place, CR_OP_Reshape, x, list(net, place, dims, n));
}
