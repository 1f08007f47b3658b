#include "onnx/qdq.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/passes.h"
#include "graph/recipe_bias.h"
#include "graph/recipe_dynamic.h"
#include "onnx/dynamic.h"
#include "onnx/onnx_tensor.h"

typedef struct writer {
    cr_graph *g;
    const cr_recipe_entry **entries; /* by id of the tensors that g had at the start */
    size_t tensors;                  /* how many those were */
} writer;

static cr_dtype file_type(cr_dtype type)
{
    return type == CR_DT_I1 ? CR_DT_I2 : type;
}

int cr_qdq_opset(const cr_recipe *r)
{
    int opset = 13;
    for (size_t i = 0; r && i < r->count; i++) {
        const cr_qparams *q = &r->entries[i].q;
        const bool byte = q->type == CR_DT_I8 || q->type == CR_DT_U8;
        if (file_type(q->type) == CR_DT_I2 || q->type == CR_DT_U2) return 25;
        if (!byte || q->block) opset = 21;
    }
    return opset;
}

static cr_tensor *named(cr_graph *g, const char *stem, const char *suffix, cr_dtype type,
                        cr_shape shape, bool constant)
{
    char name[512];
    snprintf(name, sizeof name, "%s_%s", stem, suffix);
    return constant ? cr_graph_new_const(g, name, type, shape)
                    : cr_graph_new_tensor(g, name, type, shape);
}

static void store_code(cr_tensor *t, int64_t i, int32_t code)
{
    switch (cr_dtype_size(t->dtype)) {
    case 1:
        ((uint8_t *)t->data)[i] = (uint8_t)code;
        break;
    case 2:
        ((uint16_t *)t->data)[i] = (uint16_t)code;
        break;
    default:
        ((int32_t *)t->data)[i] = code;
        break;
    }
}

/* The form of an entry's scales: scalar, a list along its axis, or the tensor's with blocks. */
static cr_shape params_shape(const cr_tensor *t, const cr_qparams *q)
{
    if (cr_q_per_tensor(q)) return (cr_shape){0};
    cr_shape s = {1, {(int64_t)q->count}};
    if (!q->block) return s;
    s = t->shape;
    s.dim[q->axis] = cr_q_grain_of(q, &t->shape).blocks;
    return s;
}

/* Without a zero point it is 0 and the type is the codes'. Files of 8 bits always have one, as other
 * tools write them. */
static bool needs_zero_point(const cr_qparams *q)
{
    bool used = (cr_dtype_size(q->type) == 1 && !cr_onnx_packed_bits(file_type(q->type))) && !q->block;
    for (size_t i = 0; i < q->count && !used; i++) used = q->zero_point[i] != 0;
    return used;
}

static cr_status add_params(cr_graph *g, const cr_tensor *t, const cr_qparams *q, cr_tensor **scale,
                            cr_tensor **zero, cr_error *err)
{
    const cr_shape shape = params_shape(t, q);
    const bool with_zero = !t->data || needs_zero_point(q);
    *scale = named(g, t->name, "scale", CR_DT_F32, shape, true);
    *zero = with_zero ? named(g, t->name, "zero", file_type(q->type), shape, true) : NULL;
    if (!*scale || (with_zero && !*zero)) return CR_NOMEM(err);
    for (size_t i = 0; i < (size_t)cr_shape_count(&shape); i++) {
        ((float *)(*scale)->data)[i] = q->scale[i];
        if (with_zero) store_code(*zero, (int64_t)i, q->zero_point[i]);
    }
    return CR_OK;
}

static cr_status add_q_node(cr_graph *g, cr_op_kind kind, const char *name, cr_tensor *x,
                            cr_tensor *scale, cr_tensor *zero, cr_tensor *y, const cr_qparams *q,
                            cr_error *err)
{
    const bool vector = !cr_q_per_tensor(q);
    cr_node *n = cr_graph_add_node(g, kind, name, zero ? 3 : 2, 1, vector ? 1 + (q->block > 0) : 0);
    if (!n) return CR_NOMEM(err);
    n->in[0] = x;
    n->in[1] = scale;
    if (zero) n->in[2] = zero;
    n->out[0] = y;
    if (vector) cr_attr_set_int(&n->attrs[0], "axis", q->axis);
    if (vector && q->block) cr_attr_set_int(&n->attrs[1], "block_size", q->block);
    return CR_OK;
}

static bool is_output(const cr_graph *g, const cr_tensor *t)
{
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return true;
    return false;
}

/* An output keeps its name: its producer writes a tensor in front of the pair. */
static cr_tensor *move_producer(cr_graph *g, const cr_tensor *t)
{
    cr_tensor *raw = named(g, t->name, "float", CR_DT_F32, t->shape, false);
    for (int k = 0; raw && k < t->producer->n_out; k++)
        if (t->producer->out[k] == t) t->producer->out[k] = raw;
    return raw;
}

static cr_status write_activation(writer *w, cr_tensor *t, const cr_qparams *q, cr_error *err)
{
    cr_graph *g = w->g;
    const bool output = is_output(g, t);
    cr_tensor *scale, *zero, *raw = t, *back = t;
    char name[512];
    CR_CHECK(!output || t->producer, err, CR_ERR_UNSUPPORTED,
             "tensor '%s' is graph input and output and has a recipe entry", t->name);
    CR_TRY(add_params(g, t, q, &scale, &zero, err));
    cr_tensor *codes = named(g, t->name, "quantized", q->type, t->shape, false);
    if (output)
        raw = move_producer(g, t);
    else
        back = named(g, t->name, "dq", CR_DT_F32, t->shape, false);
    if (!codes || !raw || !back) return CR_NOMEM(err);
    if (!output) cr_graph_replace_uses(g, t, back);
    snprintf(name, sizeof name, "%s_QuantizeLinear", t->name);
    CR_TRY(add_q_node(g, CR_OP_QuantizeLinear, name, raw, scale, zero, codes, q, err));
    snprintf(name, sizeof name, "%s_DequantizeLinear", t->name);
    return add_q_node(g, CR_OP_DequantizeLinear, name, codes, scale, zero, back, q, err);
}

static cr_status write_weight(writer *w, cr_tensor *t, const cr_qparams *q, cr_error *err)
{
    cr_graph *g = w->g;
    cr_tensor *scale, *zero;
    char name[512];
    CR_TRY(add_params(g, t, q, &scale, &zero, err));
    cr_tensor *codes = named(g, t->name, "quantized", file_type(q->type), t->shape, true);
    const int64_t n = cr_shape_count(&t->shape);
    int32_t *values = cr_malloc((size_t)n * sizeof *values);
    if (!codes || !values) {
        cr_free(values);
        return CR_NOMEM(err);
    }
    cr_quantize_tensor(t, q, values);
    for (int64_t i = 0; i < n; i++) store_code(codes, i, values[i]);
    cr_free(values);
    cr_tensor_drop_data(t);
    snprintf(name, sizeof name, "%s_DequantizeLinear", t->name);
    return add_q_node(g, CR_OP_DequantizeLinear, name, codes, scale, zero, t, q, err);
}

static const cr_recipe_entry *entry_of(const writer *w, const cr_tensor *t)
{
    return t && (size_t)t->id < w->tensors ? w->entries[t->id] : NULL;
}

/* The bias as int32 at scale sa*sw[c], as crayon/arith.h says and as runtimes need to fuse. The float
 * tensor keeps its name behind the pair, unless others read it too. */
static cr_status write_bias(writer *w, cr_node *n, const cr_qparams *a, const cr_qparams *wq,
                            cr_error *err)
{
    cr_graph *g = w->g;
    cr_tensor *b = n->in[2];
    const int64_t count = cr_shape_count(&b->shape);
    const bool vector = !cr_q_per_tensor(wq) || !cr_q_per_tensor(a);
    char name[512];
    const cr_shape one = {vector ? 1 : 0, {vector ? count : 0}};
    cr_tensor *scale = named(g, b->name, "scale", CR_DT_F32, one, true);
    cr_tensor *codes = named(g, b->name, "quantized", CR_DT_I32, b->shape, true);
    cr_tensor *back =
        b->uses == 1 ? b : named(g, b->name, "dq", CR_DT_F32, b->shape, false);
    if (!scale || !codes || !back) return CR_NOMEM(err);
    for (int64_t c = 0; c < count; c++) {
        float sa, sw;
        cr_recipe_bias_scales(n, a, wq, c, &sa, &sw);
        ((float *)scale->data)[vector ? c : 0] = sa * sw;
        ((int32_t *)codes->data)[c] = cr_quantize_bias(((const float *)b->data)[c], sa, sw);
    }
    const cr_qparams q = {CR_DT_I32, vector ? 0 : -1, vector ? (size_t)count : 1, NULL, NULL};
    snprintf(name, sizeof name, "%s_DequantizeLinear", back->name);
    if (back == b) cr_tensor_drop_data(b);
    n->in[2] = back;
    return add_q_node(g, CR_OP_DequantizeLinear, name, codes, scale, NULL, back, &q, err);
}

static cr_status write_biases(writer *w, size_t nodes, cr_error *err)
{
    for (size_t i = 0; i < nodes; i++) {
        cr_node *n = w->g->nodes[i];
        if (n->op->kind != CR_OP_Conv) continue;
        const cr_recipe_entry *a = entry_of(w, n->in[0]), *wq = entry_of(w, n->in[1]);
        if (cr_recipe_rounds_bias(n, a ? &a->q : NULL, wq ? &wq->q : NULL))
            CR_TRY(write_bias(w, n, &a->q, &wq->q, err));
    }
    return CR_OK;
}

cr_status cr_qdq_write(const cr_graph *source, const cr_recipe *r, cr_graph **out, cr_error *err)
{
    *out = NULL;
    writer w = {0};
    const cr_recipe_entry **dynamic = NULL;
    cr_status st = cr_graph_clone(source, &w.g, err);
    if (st != CR_OK) return st;
    w.tensors = w.g->tensor_count;
    CR_TRY_GOTO(cr_recipe_bind(r, w.g, &w.entries, err), done);
    dynamic = cr_recipe_part_dynamic(w.entries, w.tensors);
    if (!dynamic) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(cr_dynamic_write(w.g, dynamic, w.entries, w.tensors, err), done);
    CR_TRY_GOTO(write_biases(&w, w.g->node_count, err), done);
    for (size_t i = 0; i < w.tensors; i++) {
        cr_tensor *t = w.g->tensors[i];
        const cr_recipe_entry *e = w.entries[i];
        if (!e) continue;
        CR_TRY_GOTO(t->data ? write_weight(&w, t, &e->q, err) : write_activation(&w, t, &e->q, err),
                    done);
    }
    CR_TRY_GOTO(cr_graph_index(w.g, err), done);
    *out = w.g;
    w.g = NULL;
done:
    cr_graph_free(&w.g);
    cr_free(w.entries);
    cr_free(dynamic);
    return st;
}
