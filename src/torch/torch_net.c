/* Access to a checkpoint's modules, and nodes made for them. See torch_net.h. */
#include "torch/torch_net.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

enum {
    MAX_DEPTH = 40,       /* of modules in modules; real ones have 8 */
    MAX_CALLS = 20000,    /* of modules; YOLO-x has some 500 */
    MAX_ATTRIBUTES = 512, /* of a module, or children: look-ups are linear */
    MAX_PATH = 400
};

cr_tensor *cr_net_fail(cr_net *net, cr_status st, const char *fmt, ...)
{
    char text[400];
    if (net->st != CR_OK) return NULL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    net->st = cr_fail(net->err, st, "%s", text);
    return NULL;
}

static cr_tensor *no_memory(cr_net *net)
{
    return cr_net_fail(net, CR_ERR_MEMORY, "out of memory");
}

/* ---- what a module has ---- */

/* A dict of a sane size, else NULL. */
static const cr_pkl *dict_of(const cr_pkl *v)
{
    return v && v->kind == CR_PKL_DICT && v->list.count <= 2 * MAX_ATTRIBUTES ? v : NULL;
}

static const cr_pkl *state_of(const cr_mod *m)
{
    return m->v && m->v->kind == CR_PKL_OBJECT ? dict_of(m->v->object.state) : NULL;
}

static const cr_pkl *group(const cr_mod *m, const char *name)
{
    return dict_of(cr_pkl_get(state_of(m), name));
}

const cr_pkl *cr_mod_attr(const cr_mod *m, const char *key)
{
    return cr_pkl_get(state_of(m), key);
}

int64_t cr_mod_int(const cr_mod *m, const char *key, int64_t fallback)
{
    return cr_pkl_int(cr_mod_attr(m, key), fallback);
}

double cr_mod_float(const cr_mod *m, const char *key, double fallback)
{
    return cr_pkl_float(cr_mod_attr(m, key), fallback);
}

static bool is_list(const cr_pkl *v)
{
    return v && (v->kind == CR_PKL_LIST || v->kind == CR_PKL_TUPLE);
}

size_t cr_mod_ints(const cr_mod *m, const char *key, int64_t *out, size_t max)
{
    const cr_pkl *v = cr_mod_attr(m, key);
    if (!is_list(v) || v->list.count > max) return 0;
    for (size_t i = 0; i < v->list.count; i++) {
        const int64_t n = cr_pkl_int(v->list.item[i], INT64_MIN);
        if (n == INT64_MIN) return 0;
        out[i] = n;
    }
    return v->list.count;
}

bool cr_mod_pair(const cr_mod *m, const char *key, int64_t fallback, int64_t out[2])
{
    const cr_pkl *v = cr_mod_attr(m, key);
    if (is_list(v)) return v->list.count == 2 && cr_mod_ints(m, key, out, 2) == 2;
    out[0] = out[1] = v && v->kind != CR_PKL_NONE ? cr_pkl_int(v, INT64_MIN) : fallback;
    return out[0] != INT64_MIN;
}

static const cr_pkl *child_value(const cr_mod *m, const char *name)
{
    const cr_pkl *v = cr_pkl_get(group(m, "_modules"), name);
    return v && v->kind == CR_PKL_OBJECT ? v : NULL;
}

bool cr_mod_has(const cr_mod *m, const char *child)
{
    return child_value(m, child) != NULL;
}

static cr_mod place(cr_net *net, const cr_mod *parent, const cr_pkl *v, const char *name,
                    const char *path_name)
{
    cr_mod out = {v, "", "", name};
    if (strlen(parent->scope) + strlen(name) + strlen(path_name) > MAX_PATH) {
        cr_net_fail(net, CR_ERR_LIMIT, "%.60s...: modules are nested too deeply", parent->path);
        return out;
    }
    out.scope = cr_arena_printf(&net->g->arena, "%s/%s", parent->scope, name);
    out.path = cr_arena_printf(&net->g->arena, "%s%s%s", parent->path, *parent->path ? "." : "",
                               path_name);
    if (out.scope && out.path) return out;
    no_memory(net);
    return (cr_mod){NULL, "", "", name};
}

cr_mod cr_mod_child(cr_net *net, const cr_mod *m, const char *name)
{
    return place(net, m, child_value(m, name), name, name);
}

/* A list's children are named after it, "m.0", because the list itself is never called. */
cr_mod cr_mod_item(cr_net *net, const cr_mod *m, const char *list, size_t i)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", i);
    const cr_mod in_list = {.v = list ? child_value(m, list) : m->v};
    const cr_pkl *v = child_value(&in_list, number);
    const char *own = list ? list : m->name;
    const char *name = cr_arena_printf(&net->g->arena, "%s.%s", own, number);
    if (!name) no_memory(net);
    return place(net, m, v, name ? name : "", list && name ? name : number);
}

size_t cr_mod_count(const cr_mod *m, const char *list)
{
    const cr_mod in = {.v = list ? child_value(m, list) : m->v};
    const cr_pkl *children = group(&in, "_modules");
    return children ? children->list.count / 2 : 0;
}

const cr_pkl_tensor *cr_mod_tensor(const cr_mod *m, const char *name)
{
    const cr_pkl *v = cr_pkl_get(group(m, "_parameters"), name);
    if (!v) v = cr_pkl_get(group(m, "_buffers"), name);
    if (!v) v = cr_mod_attr(m, name);
    return v && v->kind == CR_PKL_TENSOR ? &v->tensor : NULL;
}

static cr_shape shape_of(const cr_pkl_tensor *t)
{
    cr_shape s = {.rank = t->rank};
    for (int d = 0; d < t->rank; d++) s.dim[d] = t->size[d];
    return s;
}

cr_tensor *cr_mod_weight(cr_net *net, const cr_mod *m, const char *name)
{
    if (net->st != CR_OK) return NULL;
    const cr_pkl_tensor *t = cr_mod_tensor(m, name);
    if (!t) return cr_net_fail(net, CR_ERR_FORMAT, "%s has no tensor '%s'", m->path, name);
    const char *full = cr_arena_printf(&net->g->arena, "%s.%s", m->path, name);
    if (!full) return no_memory(net);
    cr_tensor *w = cr_names_get(&net->weights, full);
    if (w) return w;
    const cr_shape shape = shape_of(t);
    const int64_t count = cr_shape_count(&shape);
    if (count < 0 || (uint64_t)count > net->weights_left / sizeof(float))
        return cr_net_fail(net, CR_ERR_LIMIT, "%s: more weights than a file of this size has",
                           full);
    net->weights_left -= (size_t)count * sizeof(float);
    w = cr_graph_add_const(net->g, full, CR_DT_F32, shape);
    if (!w || !cr_names_put(&net->weights, full, w)) return no_memory(net);
    cr_error why = {0};
    const cr_status st = cr_checkpoint_floats(net->file, t, w->data, &why);
    return st == CR_OK ? w : cr_net_fail(net, st, "%s: %s", full, why.message);
}

size_t cr_mod_floats(cr_net *net, const cr_mod *m, const char *name, float *out, size_t max)
{
    const cr_pkl_tensor *t = cr_mod_tensor(m, name);
    if (!t) return 0;
    const cr_shape shape = shape_of(t);
    const int64_t count = cr_shape_count(&shape);
    if (count < 0 || (uint64_t)count > max) return 0;
    return cr_checkpoint_floats(net->file, t, out, NULL) == CR_OK ? (size_t)count : 0;
}

/* ---- calling modules ---- */

cr_forward cr_torch_find(const cr_module_class *classes, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(classes[i].name, name)) return classes[i].forward;
    return NULL;
}

cr_tensor *cr_net_run(cr_net *net, cr_mod m, cr_tensor *x)
{
    if (net->st != CR_OK || !x) return NULL;
    if (!m.v) return cr_net_fail(net, CR_ERR_FORMAT, "module '%s' is missing", m.path);
    if (net->depth >= MAX_DEPTH || ++net->calls > MAX_CALLS)
        return cr_net_fail(net, CR_ERR_LIMIT, "%s: modules are nested too deeply, or too many",
                           m.path);
    const char *name = cr_pkl_class(m.v);
    cr_forward forward = cr_torch_layer(name);
    if (!forward) forward = cr_torch_block(name);
    if (!forward) forward = cr_torch_attention(name);
    if (!forward)
        return cr_net_fail(net, CR_ERR_UNSUPPORTED,
                           "%s: a module of class '%.60s' is not known here: export the model to "
                           "ONNX and read that file",
                           m.path, name);
    net->depth++;
    cr_tensor *y = forward(net, &m, x);
    net->depth--;
    return y;
}

cr_tensor *cr_net_run_child(cr_net *net, const cr_mod *m, const char *name, cr_tensor *x)
{
    return cr_net_run(net, cr_mod_child(net, m, name), x);
}

cr_tensor *cr_net_run_item(cr_net *net, const cr_mod *m, const char *list, size_t i, cr_tensor *x)
{
    return cr_net_run(net, cr_mod_item(net, m, list, i), x);
}

/* ---- nodes ---- */

/* "/model.0/conv/Conv", the next one of that name with "_1". */
static const char *node_name(cr_net *net, const cr_mod *m, const char *op)
{
    const char *name = cr_arena_printf(&net->g->arena, "%s/%s", m->scope, op);
    if (!name) return NULL;
    int *count = cr_names_get(&net->counts, name);
    if (count) return cr_arena_printf(&net->g->arena, "%s_%d", name, (*count)++);
    count = cr_arena_alloc(&net->g->arena, sizeof *count);
    if (!count || !cr_names_put(&net->counts, name, count)) return NULL;
    *count = 1;
    return name;
}

static bool set_attr(cr_graph *g, cr_attr *to, const cr_attr *from)
{
    switch (from->type) {
    case CR_ATTR_INTS:
        return cr_attr_set_ints(g, to, from->name, from->ints, from->count);
    case CR_ATTR_STRING:
        return cr_attr_set_string(g, to, from->name, from->s);
    default:
        *to = *from;
        return true;
    }
}

static bool make_outputs(cr_net *net, cr_node *n, cr_tensor **out)
{
    for (int k = 0; k < n->n_out; k++) {
        const char *name = cr_arena_printf(&net->g->arena, "%s_output_%d", n->name, k);
        if (!name) return false;
        out[k] = n->out[k] = cr_graph_add_tensor(net->g, name, CR_DT_NONE, cr_shape_unknown());
        if (!out[k]) return false;
    }
    return true;
}

bool cr_net_node(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *const *in, int n_in,
                 const cr_attr *attrs, int n_attrs, cr_tensor **out, int n_out)
{
    for (int k = 0; k < n_out; k++) out[k] = NULL;
    if (net->st != CR_OK) return false;
    const char *name = node_name(net, m, cr_op_get(kind)->name);
    cr_node *n = name ? cr_graph_add_node(net->g, kind, name, n_in, n_out, n_attrs) : NULL;
    bool ok = n != NULL;
    for (int k = 0; ok && k < n_in; k++) n->in[k] = in[k];
    for (int k = 0; ok && k < n_attrs; k++) ok = set_attr(net->g, &n->attrs[k], &attrs[k]);
    ok = ok && make_outputs(net, n, out);
    if (!ok) {
        no_memory(net);
        return false;
    }
    net->st = cr_node_infer(n, net->err);
    for (int k = 0; net->st == CR_OK && k < n_out; k++)
        if (!cr_shape_known(&n->out[k]->shape))
            cr_net_fail(net, CR_ERR_FORMAT, "%s: the shape of its result is open", name);
    return net->st == CR_OK;
}

cr_tensor *cr_net_op(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *const *in, int n_in,
                     const cr_attr *attrs, int n_attrs)
{
    cr_tensor *out;
    return cr_net_node(net, m, kind, in, n_in, attrs, n_attrs, &out, 1) ? out : NULL;
}

cr_tensor *cr_net_unary(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *x)
{
    return cr_net_op(net, m, kind, &x, 1, NULL, 0);
}

cr_tensor *cr_net_binary(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *a, cr_tensor *b)
{
    return cr_net_op(net, m, kind, (cr_tensor *[]){a, b}, 2, NULL, 0);
}

cr_tensor *cr_net_const_i64(cr_net *net, const cr_mod *m, const int64_t *v, size_t n)
{
    if (net->st != CR_OK) return NULL;
    const char *stem = cr_arena_printf(&net->g->arena, "%s/Constant", m->scope);
    cr_tensor *t = stem ? cr_graph_const_i64(net->g, stem, v, n) : NULL;
    return t ? t : no_memory(net);
}

cr_tensor *cr_net_const_f32(cr_net *net, const cr_mod *m, cr_shape shape)
{
    if (net->st != CR_OK) return NULL;
    const char *stem = cr_arena_printf(&net->g->arena, "%s/Constant", m->scope);
    cr_tensor *t = stem ? cr_graph_new_const(net->g, stem, CR_DT_F32, shape) : NULL;
    return t ? t : no_memory(net);
}

cr_tensor *cr_net_scalar(cr_net *net, const cr_mod *m, cr_op_kind kind, cr_tensor *a, float b)
{
    cr_tensor *c = cr_net_const_f32(net, m, (cr_shape){0, {0}});
    if (c) *(float *)c->data = b;
    return cr_net_binary(net, m, kind, a, c);
}

cr_tensor *cr_net_concat(cr_net *net, const cr_mod *m, int64_t axis, cr_tensor *const *x, size_t n)
{
    if (n > CR_NET_MAX_PARTS)
        return cr_net_fail(net, CR_ERR_LIMIT, "%s: concatenates %zu tensors", m->path, n);
    return cr_net_op(net, m, CR_OP_Concat, x, (int)n, &CR_A_INT("axis", axis), 1);
}

bool cr_net_split(cr_net *net, const cr_mod *m, int64_t axis, cr_tensor *x, const int64_t *sizes,
                  int n, cr_tensor **out)
{
    cr_tensor *in[2] = {x, cr_net_const_i64(net, m, sizes, (size_t)n)};
    return cr_net_node(net, m, CR_OP_Split, in, 2, &CR_A_INT("axis", axis), 1, out, n);
}

bool cr_net_halves(cr_net *net, const cr_mod *m, cr_tensor *x, cr_tensor *out[2])
{
    const int64_t c = cr_net_dim(x, 1), sizes[2] = {c - c / 2, c / 2};
    return cr_net_split(net, m, 1, x, sizes, 2, out);
}

cr_tensor *cr_net_slice(cr_net *net, const cr_mod *m, cr_tensor *x, int64_t axis, int64_t from,
                        int64_t to, int64_t step)
{
    cr_tensor *in[5] = {x, cr_net_const_i64(net, m, &from, 1), cr_net_const_i64(net, m, &to, 1),
                        cr_net_const_i64(net, m, &axis, 1), cr_net_const_i64(net, m, &step, 1)};
    return cr_net_op(net, m, CR_OP_Slice, in, 5, NULL, 0);
}

cr_tensor *cr_net_reshape(cr_net *net, const cr_mod *m, cr_tensor *x, const int64_t *dims, int rank)
{
    cr_tensor *in[2] = {x, cr_net_const_i64(net, m, dims, (size_t)rank)};
    return cr_net_op(net, m, CR_OP_Reshape, in, 2, NULL, 0);
}

cr_tensor *cr_net_transpose(cr_net *net, const cr_mod *m, cr_tensor *x, const int64_t *perm, int n)
{
    return cr_net_op(net, m, CR_OP_Transpose, &x, 1, &CR_A_INTS("perm", (int64_t *)perm, (size_t)n),
                     1);
}

cr_tensor *cr_net_softmax(cr_net *net, const cr_mod *m, cr_tensor *x, int64_t axis)
{
    return cr_net_op(net, m, CR_OP_Softmax, &x, 1, &CR_A_INT("axis", axis), 1);
}

int64_t cr_net_dim(const cr_tensor *t, int d)
{
    return t && d < t->shape.rank ? t->shape.dim[d] : 0;
}
