/* Old operator forms to new ones, as a table of small rules.
 *
 * A rule rewrites nodes whose opset is below `before`. Most need only the node itself and run while
 * the file is read: an attribute becomes an input, a renamed operator gets its new name's
 * attributes. A few need the rank or the element type of an input, which a file does not say
 * reliably; they mark the upgrade as pending and run in cr_upgrade_finish, in topological order,
 * each node inferred as soon as it has its new form.
 *
 * Source: the operators' change log (docs/Changelog.md of the ONNX project). Rejected: one step per
 * opset (7 to 8, 8 to 9, ...), as ONNX's own version converter does; every rule would have to know
 * all the forms in between, and no one needs them. */
#include "onnx/upgrade.h"

#include <string.h>

#include "base/error.h"

/* ---- editing a node ---- */

static bool resize_inputs(cr_upgrade *u, cr_node *n, int count)
{
    cr_tensor **in = cr_arena_alloc(&u->g->arena, (size_t)count * sizeof *in);
    if (!in) return false;
    for (int i = 0; i < count && i < n->n_in; i++) in[i] = n->in[i];
    n->in = in;
    n->n_in = count;
    return true;
}

static void drop_attr(cr_node *n, const char *name)
{
    for (int i = 0; i < n->n_attrs; i++) {
        if (!n->attrs[i].name || strcmp(n->attrs[i].name, name)) continue;
        if (n->attrs[i].type == CR_ATTR_TENSOR) cr_tensor_drop_data(n->attrs[i].tensor);
        n->attrs[i] = n->attrs[--n->n_attrs];
        return;
    }
}

/* Room for one more attribute. NULL: no memory. */
static cr_attr *add_attr(cr_upgrade *u, cr_node *n, const char *name)
{
    drop_attr(n, name);
    cr_attr *attrs = cr_arena_alloc(&u->g->arena, ((size_t)n->n_attrs + 1) * sizeof *attrs);
    if (!attrs) return NULL;
    if (n->n_attrs) memcpy(attrs, n->attrs, (size_t)n->n_attrs * sizeof *attrs);
    n->attrs = attrs;
    return &attrs[n->n_attrs++];
}

static cr_status set_int(cr_upgrade *u, cr_node *n, const char *name, int64_t value, cr_error *err)
{
    cr_attr *a = add_attr(u, n, name);
    if (!a) return CR_NOMEM(err);
    cr_attr_set_int(a, name, value);
    return CR_OK;
}

static cr_status set_string(cr_upgrade *u, cr_node *n, const char *name, const char *value,
                            cr_error *err)
{
    cr_attr *a = add_attr(u, n, name);
    return a && cr_attr_set_string(u->g, a, name, value) ? CR_OK : CR_NOMEM(err);
}

/* A name nobody has, from the node's (or its output's) and a suffix. */
static const char *free_name(cr_upgrade *u, const cr_node *n, const char *suffix)
{
    const char *stem = n->name[0] ? n->name : n->n_out && n->out[0] ? n->out[0]->name : "node";
    const char *name = cr_arena_printf(&u->g->arena, "%s_%s", stem, suffix);
    for (size_t i = u->g->tensor_count; name && cr_names_get(u->names, name); i++)
        name = cr_arena_printf(&u->g->arena, "%s_%s.%zu", stem, suffix, i);
    return name;
}

static cr_tensor *add_tensor(cr_upgrade *u, const cr_node *n, const char *suffix)
{
    const char *name = free_name(u, n, suffix);
    if (!name) return NULL;
    cr_tensor *t = cr_graph_add_tensor(u->g, name, CR_DT_NONE, cr_shape_unknown());
    return t && cr_names_put(u->names, t->name, t) ? t : NULL;
}

static cr_tensor *add_const(cr_upgrade *u, const cr_node *n, const char *suffix, cr_dtype dtype,
                            cr_shape shape)
{
    cr_tensor *t = add_tensor(u, n, suffix);
    if (!t) return NULL;
    t->dtype = dtype;
    t->shape = shape;
    return cr_tensor_alloc(t) ? t : NULL;
}

static cr_tensor *const_i64(cr_upgrade *u, const cr_node *n, const char *suffix, const int64_t *v,
                            size_t count)
{
    cr_tensor *t = add_const(u, n, suffix, CR_DT_I64, (cr_shape){1, {(int64_t)count}});
    if (t && count) memcpy(t->data, v, count * sizeof *v);
    return t;
}

static cr_tensor *const_f32(cr_upgrade *u, const cr_node *n, const char *suffix, float value)
{
    cr_tensor *t = add_const(u, n, suffix, CR_DT_F32, (cr_shape){0, {0}});
    if (t) *(float *)t->data = value;
    return t;
}

/* Moves list attribute `name` to input `index`; an absent attribute leaves the input absent. */
static cr_status ints_to_input(cr_upgrade *u, cr_node *n, const char *name, int index,
                               bool required, cr_error *err)
{
    size_t count;
    const int64_t *v = cr_attr_ints(n, name, &count);
    const bool present = cr_attr_find(n, name) != NULL;
    CR_CHECK(present || !required, err, CR_ERR_FORMAT, "node '%s' (%s) has no attribute '%s'",
             n->name, n->op->name, name);
    if (!present) return CR_OK;
    cr_tensor *t = const_i64(u, n, name, v, count);
    if (!t || (n->n_in <= index && !resize_inputs(u, n, index + 1))) return CR_NOMEM(err);
    n->in[index] = t;
    drop_attr(n, name);
    return CR_OK;
}

/* ---- rules that need the node alone ---- */

static cr_status axes_input(cr_upgrade *u, cr_node *n, cr_error *err)
{
    return ints_to_input(u, n, "axes", 1, n->op->kind == CR_OP_Unsqueeze, err);
}

static cr_status split_sizes(cr_upgrade *u, cr_node *n, cr_error *err)
{
    if (u->opset < 13) CR_TRY(ints_to_input(u, n, "split", 1, false, err));
    if (n->n_in < 2) return set_int(u, n, "num_outputs", n->n_out, err);
    return CR_OK;
}

/* Limits are float32 until the type of the input is known (typed_limits). */
static cr_status clip_limits(cr_upgrade *u, cr_node *n, cr_error *err)
{
    static const char *const names[2] = {"min", "max"};
    CR_CHECK(n->n_in == 1, err, CR_ERR_FORMAT,
             "node '%s' (Clip) of opset %d: %d inputs, expected 1", n->name, u->opset, n->n_in);
    for (int k = 0; k < 2; k++) {
        if (!cr_attr_find(n, names[k])) continue;
        cr_tensor *t = const_f32(u, n, names[k], cr_attr_float(n, names[k], 0));
        if (!t || (n->n_in < k + 2 && !resize_inputs(u, n, k + 2))) return CR_NOMEM(err);
        n->in[k + 1] = t;
        drop_attr(n, names[k]);
        u->pending = true;
    }
    return CR_OK;
}

static cr_status pad_inputs(cr_upgrade *u, cr_node *n, cr_error *err)
{
    CR_CHECK(n->n_in == 1, err, CR_ERR_FORMAT, "node '%s' (Pad) of opset %d: %d inputs, expected 1",
             n->name, u->opset, n->n_in);
    CR_TRY(ints_to_input(u, n, "pads", 1, true, err));
    const float value = cr_attr_float(n, "value", 0);
    drop_attr(n, "value");
    if (value == 0) return CR_OK;
    if (!resize_inputs(u, n, 3) || !(n->in[2] = const_f32(u, n, "value", value)))
        return CR_NOMEM(err);
    u->pending = true;
    return CR_OK;
}

static cr_status slice_inputs(cr_upgrade *u, cr_node *n, cr_error *err)
{
    CR_TRY(ints_to_input(u, n, "starts", 1, true, err));
    CR_TRY(ints_to_input(u, n, "ends", 2, true, err));
    return ints_to_input(u, n, "axes", 3, false, err);
}

static cr_status top_k_input(cr_upgrade *u, cr_node *n, cr_error *err)
{
    const int64_t k = cr_attr_int(n, "k", -1);
    cr_tensor *t = const_i64(u, n, "k", &k, 1);
    if (!t || !resize_inputs(u, n, 2)) return CR_NOMEM(err);
    n->in[1] = t;
    drop_attr(n, "k");
    return CR_OK;
}

static cr_status dropout_ratio(cr_upgrade *u, cr_node *n, cr_error *err)
{
    drop_attr(n, "ratio");
    return CR_OK;
}

/* [X, scales] to [X, no roi, scales], with what opset 10 left unsaid and all runtimes did. */
static cr_status resize_scales(cr_upgrade *u, cr_node *n, cr_error *err)
{
    CR_CHECK(n->n_in == 2 && n->in[1], err, CR_ERR_FORMAT, "node '%s' (Resize) has no scales",
             n->name);
    cr_tensor *scales = n->in[1];
    if (!resize_inputs(u, n, 3)) return CR_NOMEM(err);
    n->in[1] = NULL;
    n->in[2] = scales;
    CR_TRY(set_string(u, n, "coordinate_transformation_mode", "asymmetric", err));
    if (strcmp(cr_attr_string(n, "mode", "nearest"), "nearest"))
        return set_string(u, n, "mode", "linear", err); /* Upsample 7 also said "bilinear" */
    return set_string(u, n, "nearest_mode", "floor", err);
}

static cr_status upsample(cr_upgrade *u, cr_node *n, cr_error *err)
{
    if (u->opset < 9) {
        size_t count;
        const float *v = cr_attr_floats(n, "scales", &count);
        CR_CHECK(n->n_in == 1 && v, err, CR_ERR_FORMAT, "node '%s' (Upsample) has no scales",
                 n->name);
        cr_tensor *t = add_const(u, n, "scales", CR_DT_F32, (cr_shape){1, {(int64_t)count}});
        if (!t || !resize_inputs(u, n, 2)) return CR_NOMEM(err);
        memcpy(t->data, v, count * sizeof *v);
        n->in[1] = t;
        drop_attr(n, "scales");
    }
    return resize_scales(u, n, err);
}

/* Opset 11 had to pass an empty tensor for what is simply absent since 13; roi means something in
 * one mode only. */
static cr_status resize_optional(cr_upgrade *u, cr_node *n, cr_error *err)
{
    const char *mode = cr_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    for (int i = 1; i < n->n_in; i++) {
        const cr_tensor *t = n->in[i];
        if (t && t->data && cr_shape_count(&t->shape) == 0) n->in[i] = NULL;
        if (i == 1 && strcmp(mode, "tf_crop_and_resize")) n->in[i] = NULL;
    }
    while (n->n_in > 1 && !n->in[n->n_in - 1]) n->n_in--;
    return CR_OK;
}

/* Outputs beyond the first are training's; reading one is reported by cr_graph_index. */
static cr_status batch_norm(cr_upgrade *u, cr_node *n, cr_error *err)
{
    CR_CHECK(cr_attr_int(n, "spatial", 1) == 1, err, CR_ERR_UNSUPPORTED,
             "node '%s': BatchNormalization with spatial=0 is not supported", n->name);
    CR_CHECK(cr_attr_int(n, "training_mode", 0) == 0, err, CR_ERR_UNSUPPORTED,
             "node '%s': BatchNormalization in training mode: export the model for inference",
             n->name);
    if (n->n_out > 1) n->n_out = 1;
    drop_attr(n, "spatial");
    drop_attr(n, "training_mode");
    drop_attr(n, "momentum");
    return CR_OK;
}

static cr_status grid_mode(cr_upgrade *u, cr_node *n, cr_error *err)
{
    const char *mode = cr_attr_string(n, "mode", "bilinear");
    if (!strcmp(mode, "bilinear")) return set_string(u, n, "mode", "linear", err);
    if (!strcmp(mode, "bicubic")) return set_string(u, n, "mode", "cubic", err);
    return CR_OK;
}

static cr_status later(cr_upgrade *u, cr_node *n, cr_error *err)
{
    u->pending = true;
    return CR_OK;
}

/* ---- Constant ---- */

static bool set_payload(cr_tensor *t, cr_dtype dtype, cr_shape shape, const void *values)
{
    t->dtype = dtype;
    t->shape = shape;
    if (!cr_tensor_alloc(t)) return false;
    if (cr_tensor_bytes(t)) memcpy(t->data, values, cr_tensor_bytes(t));
    return true;
}

static cr_status constant_payload(cr_node *n, cr_attr *a, cr_tensor *t, cr_error *err)
{
    const cr_shape scalar = {0, {0}}, list = {1, {(int64_t)a->count}};
    bool ok = true;
    switch (a->type) {
    case CR_ATTR_TENSOR:
        t->dtype = a->tensor->dtype;
        t->shape = a->tensor->shape;
        t->data = a->tensor->data;
        a->tensor->data = NULL;
        break;
    case CR_ATTR_INT:
        ok = set_payload(t, CR_DT_I64, scalar, &a->i);
        break;
    case CR_ATTR_FLOAT:
        ok = set_payload(t, CR_DT_F32, scalar, &a->f);
        break;
    case CR_ATTR_INTS:
        ok = set_payload(t, CR_DT_I64, list, a->ints);
        break;
    case CR_ATTR_FLOATS:
        ok = set_payload(t, CR_DT_F32, list, a->floats);
        break;
    default:
        return cr_fail(err, CR_ERR_UNSUPPORTED, "node '%s' (Constant) holds a string", n->name);
    }
    return ok ? CR_OK : CR_NOMEM(err);
}

/* The node was the last one added; its output becomes a constant and the node goes. */
static cr_status constant(cr_upgrade *u, cr_node *n, cr_error *err)
{
    CR_CHECK(n->n_out == 1 && n->out[0] && !n->n_in && n->n_attrs == 1, err, CR_ERR_FORMAT,
             "node '%s' (Constant) needs one output and one value", n->name);
    cr_tensor *t = n->out[0];
    CR_CHECK(!t->data, err, CR_ERR_FORMAT, "tensor '%s' is written twice (by node '%s')", t->name,
             n->name);
    CR_TRY(constant_payload(n, &n->attrs[0], t, err));
    u->g->node_count--;
    return CR_OK;
}

/* ---- the table ---- */

typedef struct rule {
    const char *op;
    int before; /* applies to opsets below this one */
    cr_status (*run)(cr_upgrade *u, cr_node *n, cr_error *err);
} rule;

enum { ALWAYS = 1000 };

static const rule rules[] = {
    {"BatchNormalization", ALWAYS, batch_norm},
    {"Clip", 11, clip_limits},
    {"Constant", ALWAYS, constant},
    {"Dropout", 12, dropout_ratio},
    {"GridSample", 20, grid_mode},
    {"GroupNormalization", 21, later},
    {"Hardmax", 13, later},
    {"LogSoftmax", 13, later},
    {"Pad", 11, pad_inputs},
    {"ReduceL1", 18, axes_input},
    {"ReduceL2", 18, axes_input},
    {"ReduceLogSum", 18, axes_input},
    {"ReduceLogSumExp", 18, axes_input},
    {"ReduceMax", 18, axes_input},
    {"ReduceMean", 18, axes_input},
    {"ReduceMin", 18, axes_input},
    {"ReduceProd", 18, axes_input},
    {"ReduceSum", 13, axes_input},
    {"ReduceSumSquare", 18, axes_input},
    {"Resize", 11, resize_scales},
    {"Resize", ALWAYS, resize_optional},
    {"Slice", 10, slice_inputs},
    {"Softmax", 13, later},
    {"Split", 18, split_sizes},
    {"Squeeze", 13, axes_input},
    {"TopK", 10, top_k_input},
    {"Unsqueeze", 13, axes_input},
    {"Upsample", 11, upsample},
};

const cr_op_def *cr_upgrade_find(int opset, const char *domain, const char *op_type)
{
    if (!*domain || !strcmp(domain, "ai.onnx")) {
        if (opset <= 10 && !strcmp(op_type, "Upsample")) op_type = "Resize";
        if (opset <= 10 && !strcmp(op_type, "Scatter")) op_type = "ScatterElements";
    }
    if (!strcmp(domain, "crayon")) return NULL; /* of training graphs, which are never in a file */
    return cr_op_find(domain, op_type);
}

cr_status cr_upgrade_node(cr_upgrade *u, cr_node *n, const char *op_type, cr_error *err)
{
    if (n->op->domain[0]) return CR_OK;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (u->opset < rules[i].before && !strcmp(rules[i].op, op_type))
            CR_TRY(rules[i].run(u, n, err));
    return CR_OK;
}

/* ---- rules that need types or ranks ---- */

/* A new node with one output, inferred; attribute `name` (NULL: none) is an int. */
static cr_status emit(cr_upgrade *u, const cr_node *near, cr_op_kind kind, const char *suffix,
                      cr_tensor *const in[2], cr_tensor **out, cr_error *err)
{
    const char *name = free_name(u, near, suffix);
    cr_node *n = name ? cr_graph_add_node(u->g, kind, name, in[1] ? 2 : 1, 1, 0) : NULL;
    if (!n || (!*out && !(*out = add_tensor(u, near, suffix)))) return CR_NOMEM(err);
    for (int i = 0; i < n->n_in; i++) n->in[i] = in[i];
    n->out[0] = *out;
    if (kind == CR_OP_Flatten) CR_TRY(set_int(u, n, "axis", cr_attr_int(near, "axis", 1), err));
    if (kind == CR_OP_Reshape) CR_TRY(set_int(u, n, "allowzero", 1, err));
    return CR_OK;
}

/* True when softmax over one axis is the same as over all dims from `axis` on. */
static bool is_single_axis(const cr_shape *s, int64_t axis)
{
    if (axis == s->rank - 1) return true;
    for (int64_t i = axis + 1; i < s->rank; i++)
        if (s->dim[i] != 1) return false;
    return true;
}

/* The shape of x as a tensor: a constant if it is known. */
static cr_status shape_of(cr_upgrade *u, const cr_node *n, cr_tensor *x, cr_tensor **out,
                          cr_error *err)
{
    *out = NULL;
    if (cr_shape_known(&x->shape)) {
        *out = const_i64(u, n, "shape", x->shape.dim, (size_t)x->shape.rank);
        return *out ? CR_OK : CR_NOMEM(err);
    }
    CR_TRY(emit(u, n, CR_OP_Shape, "shape", (cr_tensor *[]){x, NULL}, out, err));
    return cr_node_infer(u->g->nodes[u->g->node_count - 1], err);
}

/* Before opset 13 the input was seen as a matrix, split in front of `axis`: Flatten, softmax over
 * the rows, Reshape to what it was. */
static cr_status flattening_softmax(cr_upgrade *u, cr_node *n, cr_error *err)
{
    if (n->n_in < 1 || !n->in[0] || n->n_out != 1 || !n->out[0])
        return CR_OK; /* infer refuses it */
    cr_tensor *x = n->in[0], *y = n->out[0];
    int64_t axis = cr_attr_int(n, "axis", 1);
    if (axis == -1) return CR_OK;
    if (x->shape.rank >= 0) {
        if (axis < 0) axis += x->shape.rank;
        CR_CHECK(axis >= 0 && axis < x->shape.rank, err, CR_ERR_FORMAT,
                 "node '%s' (%s): axis %lld of a tensor of rank %d", n->name, n->op->name,
                 (long long)cr_attr_int(n, "axis", 1), x->shape.rank);
        if (is_single_axis(&x->shape, axis)) return set_int(u, n, "axis", axis, err);
    }
    cr_tensor *flat = NULL, *shape = NULL, *soft = add_tensor(u, n, "matrix");
    if (!soft) return CR_NOMEM(err);
    CR_TRY(emit(u, n, CR_OP_Flatten, "flatten", (cr_tensor *[]){x, NULL}, &flat, err));
    CR_TRY(cr_node_infer(u->g->nodes[u->g->node_count - 1], err));
    CR_TRY(shape_of(u, n, x, &shape, err));
    CR_TRY(emit(u, n, CR_OP_Reshape, "unflatten", (cr_tensor *[]){soft, shape}, &y, err));
    n->in[0] = flat;
    n->out[0] = soft;
    y->dtype = x->dtype;
    y->shape = x->shape;
    return set_int(u, n, "axis", -1, err);
}

/* Limits made from attributes take the type of the tensor they are compared with. */
static cr_status typed_limits(const cr_node *n, cr_error *err)
{
    const cr_tensor *x = n->in[0];
    if (!x || !cr_dtype_is_float(x->dtype) || x->dtype == CR_DT_F32) return CR_OK;
    for (int i = n->op->kind == CR_OP_Pad ? 2 : 1; i < n->n_in; i++) {
        cr_tensor *t = n->in[i];
        if (!t || !t->data || t->dtype != CR_DT_F32) continue;
        const float v = *(const float *)t->data;
        t->dtype = x->dtype;
        if (!cr_tensor_alloc(t)) return CR_NOMEM(err);
        if (x->dtype == CR_DT_F64) *(double *)t->data = v;
        if (x->dtype == CR_DT_F16) *(uint16_t *)t->data = cr_f32_to_f16(v);
        if (x->dtype == CR_DT_BF16) *(uint16_t *)t->data = cr_f32_to_bf16(v);
    }
    return CR_OK;
}

/* [groups] to [channels]: each value repeated for the channels of its group. */
static cr_status repeat_per_channel(cr_upgrade *u, cr_node *n, int input, int64_t groups,
                                    int64_t channels, cr_error *err)
{
    const int64_t column[2] = {groups, 1}, wide[2] = {groups, channels / groups}, flat = channels;
    cr_tensor *c = const_i64(u, n, "column", column, 2), *w = const_i64(u, n, "wide", wide, 2);
    cr_tensor *f = const_i64(u, n, "flat", &flat, 1), *a = NULL, *b = NULL, *out = NULL;
    if (!c || !w || !f) return CR_NOMEM(err);
    CR_TRY(emit(u, n, CR_OP_Reshape, "group", (cr_tensor *[]){n->in[input], c}, &a, err));
    CR_TRY(cr_node_infer(u->g->nodes[u->g->node_count - 1], err));
    CR_TRY(emit(u, n, CR_OP_Expand, "repeat", (cr_tensor *[]){a, w}, &b, err));
    CR_TRY(cr_node_infer(u->g->nodes[u->g->node_count - 1], err));
    CR_TRY(emit(u, n, CR_OP_Reshape, "channels", (cr_tensor *[]){b, f}, &out, err));
    CR_TRY(cr_node_infer(u->g->nodes[u->g->node_count - 1], err));
    n->in[input] = out;
    return CR_OK;
}

static cr_status group_norm(cr_upgrade *u, cr_node *n, cr_error *err)
{
    if (n->n_in != 3 || !n->in[0] || !n->in[1] || !n->in[2]) return CR_OK; /* infer refuses it */
    const cr_shape *s = &n->in[0]->shape;
    const int64_t groups = cr_attr_int(n, "num_groups", 0);
    const int64_t channels = s->rank > 1 ? s->dim[1] : -1;
    CR_CHECK(groups > 0 && channels > 0 && channels % groups == 0, err, CR_ERR_UNSUPPORTED,
             "node '%s' (GroupNormalization): %lld groups of %lld channels", n->name,
             (long long)groups, (long long)channels);
    if (groups == channels) return CR_OK;
    CR_TRY(repeat_per_channel(u, n, 1, groups, channels, err));
    return repeat_per_channel(u, n, 2, groups, channels, err);
}

static cr_status finish_node(cr_upgrade *u, cr_node *n, cr_error *err)
{
    switch (n->op->kind) {
    case CR_OP_Softmax:
    case CR_OP_LogSoftmax:
    case CR_OP_Hardmax:
        return u->opset < 13 ? flattening_softmax(u, n, err) : CR_OK;
    case CR_OP_Clip:
    case CR_OP_Pad:
        return u->opset < 11 ? typed_limits(n, err) : CR_OK;
    case CR_OP_GroupNormalization:
        return u->opset < 21 ? group_norm(u, n, err) : CR_OK;
    default:
        return CR_OK;
    }
}

cr_status cr_upgrade_finish(cr_upgrade *u, cr_error *err)
{
    const size_t count = u->g->node_count;
    for (size_t i = 0; i < count; i++) {
        CR_TRY(finish_node(u, u->g->nodes[i], err));
        CR_TRY(cr_node_infer(u->g->nodes[i], err));
    }
    return cr_graph_index(u->g, err);
}
