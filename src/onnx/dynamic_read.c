#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "crayon/arith.h"
#include "graph/passes.h"
#include "onnx/dynamic.h"

typedef struct reader {
    cr_graph *g;
    cr_recipe *recipe;
    int *uses; /* by tensor id, of the file's tensors: reading nodes' inputs and graph outputs */
    cr_node **only; /* by tensor id: the last node that reads it */
} reader;

/* The nodes of one product. */
typedef struct group {
    cr_node *product, *dynamic, *cast, *mul, *scales, *add; /* add: NULL without a bias */
    const cr_tensor *weight_scale, *bias;
} group;

static bool is_op(const cr_node *n, cr_op_kind kind)
{
    return n && n->op && n->op->kind == kind;
}

static void count_uses(reader *r)
{
    const cr_graph *g = r->g;
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; g->nodes[i]->op && k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (!t) continue;
            r->uses[t->id]++;
            r->only[t->id] = g->nodes[i];
        }
    for (size_t i = 0; i < g->output_count; i++) r->uses[g->outputs[i]->id] += 2;
}

static cr_node *only_reader(const reader *r, const cr_tensor *t, cr_op_kind kind)
{
    cr_node *n = r->uses[t->id] == 1 ? r->only[t->id] : NULL;
    return is_op(n, kind) ? n : NULL;
}

static const cr_tensor *other_input(const cr_node *n, const cr_tensor *t)
{
    return n->n_in == 2 ? n->in[n->in[0] == t ? 1 : 0] : NULL;
}

/* A float constant of one value, or of `count` values along the output's channels. */
static bool is_by_channel(const cr_tensor *t, int64_t count, int behind)
{
    if (!t || !t->data || t->dtype != CR_DT_F32) return false;
    const int64_t n = cr_shape_count(&t->shape);
    if (n == 1) return true;
    const int at = t->shape.rank - 1 - behind;
    return n == count && at >= 0 && t->shape.dim[at] == count;
}

static bool is_weight(const cr_node *n)
{
    const cr_tensor *w = n->in[1], *z = n->n_in > 3 ? n->in[3] : NULL;
    if (!w->data || (w->dtype != CR_DT_I8 && w->dtype != CR_DT_U8) || w->shape.rank < 2) return false;
    if (is_op(n, CR_OP_MatMulInteger) && w->shape.rank != 2) return false;
    return !z || (z->data && z->dtype == w->dtype);
}

static int64_t channels_of(const cr_node *n)
{
    return n->in[1]->shape.dim[is_op(n, CR_OP_ConvInteger) ? 0 : 1];
}

/* product -> Cast -> Mul by (scale of x) * constant. */
static bool find_group(const reader *r, cr_node *n, group *m)
{
    *m = (group){.product = n};
    if (!is_op(n, CR_OP_ConvInteger) && !is_op(n, CR_OP_MatMulInteger)) return false;
    if (n->n_in < 3 || !n->in[2] || !is_weight(n)) return false;
    const int64_t channels = channels_of(n);
    const int behind = is_op(n, CR_OP_ConvInteger) ? n->in[1]->shape.rank - 2 : 0;
    m->dynamic = n->in[0]->producer;
    if (!is_op(m->dynamic, CR_OP_DynamicQuantizeLinear) || m->dynamic->out[0] != n->in[0]) return false;
    if (m->dynamic->out[2] != n->in[2] || m->dynamic->in[0]->data) return false;
    m->cast = only_reader(r, n->out[0], CR_OP_Cast);
    if (!m->cast || cr_attr_int(m->cast, "to", 0) != cr_dtype_to_onnx(CR_DT_F32)) return false;
    m->mul = only_reader(r, m->cast->out[0], CR_OP_Mul);
    const cr_tensor *scale = m->mul ? other_input(m->mul, m->cast->out[0]) : NULL;
    m->scales = scale ? scale->producer : NULL;
    if (!is_op(m->scales, CR_OP_Mul)) return false;
    if (m->scales->in[0] != m->dynamic->out[1] && m->scales->in[1] != m->dynamic->out[1]) return false;
    m->weight_scale = other_input(m->scales, m->dynamic->out[1]);
    if (!is_by_channel(m->weight_scale, channels, behind)) return false;
    m->add = behind || is_op(n, CR_OP_ConvInteger) ? only_reader(r, m->mul->out[0], CR_OP_Add) : NULL;
    m->bias = m->add ? other_input(m->add, m->mul->out[0]) : NULL;
    if (m->bias && (!is_by_channel(m->bias, channels, behind) ||
                    cr_shape_count(&m->bias->shape) != channels))
        m->bias = NULL;
    if (!m->bias) m->add = NULL;
    return true;
}

/* `name` without `suffix`, as the stem of a new name. */
static const char *stem_of(const char *name, const char *suffix, char *buffer, size_t size)
{
    const size_t n = strlen(name), s = strlen(suffix);
    snprintf(buffer, size, "%.*s", (int)(n > s && !strcmp(name + n - s, suffix) ? n - s : n), name);
    return buffer;
}

/* Scales and zero points as a recipe has them; false: not of such a form. Codes around 128 are signed
 * ones around 0. */
static bool read_params(const group *m, cr_qparams *q, cr_arena *arena)
{
    const cr_tensor *w = m->product->in[1], *s = m->weight_scale;
    const cr_tensor *z = m->product->n_in > 3 ? m->product->in[3] : NULL;
    const int64_t ns = cr_shape_count(&s->shape), nz = z ? cr_shape_count(&z->shape) : 1;
    const int64_t count = ns > nz ? ns : nz;
    if ((ns != count && ns != 1) || (nz != count && nz != 1)) return false;
    if (count != 1 && count != channels_of(m->product)) return false;
    const int axis = is_op(m->product, CR_OP_ConvInteger) ? 0 : 1;
    *q = (cr_qparams){w->dtype, count > 1 ? axis : -1, (size_t)count,
                      cr_arena_alloc(arena, (size_t)count * sizeof *q->scale),
                      cr_arena_alloc(arena, (size_t)count * sizeof *q->zero_point)};
    if (!q->scale || !q->zero_point) return false;
    bool centred = w->dtype == CR_DT_U8;
    for (int64_t i = 0; i < count; i++) {
        q->scale[i] = ((const float *)s->data)[ns == 1 ? 0 : i];
        q->zero_point[i] = z ? (int32_t)cr_tensor_get_i64(z, (size_t)(nz == 1 ? 0 : i)) : 0;
        if (!(q->scale[i] > 0) || q->scale[i] > 3e38f) return false;
        centred &= q->zero_point[i] == 128;
    }
    for (int64_t i = 0; centred && i < count; i++) q->zero_point[i] = 0;
    if (centred) q->type = CR_DT_I8;
    return true;
}

static cr_tensor *float_weight(reader *r, const group *m, const cr_qparams *q)
{
    char stem[512];
    const cr_tensor *w = m->product->in[1];
    cr_tensor *t = cr_graph_new_const(r->g, stem_of(w->name, "_quantized", stem, sizeof stem),
                                      CR_DT_F32, w->shape);
    if (!t) return NULL;
    const int32_t off = w->dtype == CR_DT_U8 && q->type == CR_DT_I8 ? 128 : 0;
    int64_t inner = 1;
    for (int d = q->axis + 1; q->count > 1 && d < w->shape.rank; d++) inner *= w->shape.dim[d];
    for (int64_t i = 0; i < cr_shape_count(&w->shape); i++) {
        const size_t c = q->count == 1 ? 0 : (size_t)(i / inner) % q->count;
        const int32_t code = (int32_t)cr_tensor_get_i64(w, (size_t)i) - off;
        ((float *)t->data)[i] = cr_dequantize(code, q->scale[c], q->zero_point[c]);
    }
    return t;
}

static cr_tensor *plain_bias(reader *r, const group *m)
{
    char stem[512];
    const int64_t n = cr_shape_count(&m->bias->shape);
    const cr_shape shape = {1, {n}};
    cr_tensor *t = cr_graph_new_const(r->g, stem_of(m->bias->name, "_by_channel", stem, sizeof stem),
                                      CR_DT_F32, shape);
    if (t) memcpy(t->data, m->bias->data, (size_t)n * sizeof(float));
    return t;
}

static bool has_entry(const cr_recipe *r, const char *tensor)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].tensor, tensor)) return true;
    return false;
}

static cr_status take_group(reader *r, group *m, const cr_qparams *q, cr_error *err)
{
    cr_node *n = m->product;
    cr_tensor *x = m->dynamic->in[0], *y = (m->add ? m->add : m->mul)->out[0];
    cr_tensor *w = float_weight(r, m, q), *b = m->bias ? plain_bias(r, m) : NULL;
    if (!w || (m->bias && !b)) return CR_NOMEM(err);
    float one = 1;
    int32_t zero = 0;
    const cr_qparams dynamic = {CR_DT_U8, -1, 1, &one, &zero, .dynamic = true};
    if (!has_entry(r->recipe, x->name))
        CR_TRY(cr_recipe_add(r->recipe, x->name, false, &dynamic, "from the file", err));
    CR_TRY(cr_recipe_add(r->recipe, w->name, true, q, "from the file", err));
    n->op = cr_op_get(is_op(n, CR_OP_ConvInteger) ? CR_OP_Conv : CR_OP_MatMul);
    n->in[0] = x;
    n->in[1] = w;
    n->in[2] = b;
    n->n_in = b ? 3 : 2;
    n->out[0] = y;
    cr_graph_kill(m->cast);
    cr_graph_kill(m->mul);
    if (m->add) cr_graph_kill(m->add);
    return CR_OK;
}

cr_status cr_dynamic_read(cr_graph *g, cr_recipe *recipe, cr_error *err)
{
    reader r = {.g = g, .recipe = recipe};
    r.uses = cr_calloc(g->tensor_count + 1, sizeof *r.uses);
    r.only = cr_calloc(g->tensor_count + 1, sizeof *r.only);
    cr_arena arena = {0};
    cr_status st = r.uses && r.only ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) count_uses(&r);
    for (size_t i = 0; st == CR_OK && i < g->node_count; i++) {
        group m;
        cr_qparams q;
        if (find_group(&r, g->nodes[i], &m) && read_params(&m, &q, &arena))
            st = take_group(&r, &m, &q, err);
    }
    cr_arena_free(&arena);
    cr_free(r.uses);
    cr_free(r.only);
    return st;
}
