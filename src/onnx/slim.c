#include "onnx/slim.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "onnx/onnx_tensor.h"

enum { LEAST_ELEMENTS = 256 }; /* below it a Cast costs more than it saves */

/* ---- constants in the fewest bits that hold them ---- */

static bool is_arithmetic(const cr_node *n)
{
    switch (n->op->kind) {
    case CR_OP_Add:
    case CR_OP_Sub:
    case CR_OP_Mul:
    case CR_OP_Div:
        return true;
    default:
        return false;
    }
}

static bool only_arithmetic_reads(const cr_graph *g, const cr_tensor *t)
{
    bool read = false;
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            if (g->nodes[i]->in[k] != t) continue;
            if (!is_arithmetic(g->nodes[i])) return false;
            read = true;
        }
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == t) return false;
    return read;
}

/* CR_DT_F32: it needs all of its bits. The comparison is of bits: -0 is not 0. */
static cr_dtype narrowest(const cr_tensor *t)
{
    const float *v = t->data;
    const int64_t n = cr_shape_count(&t->shape);
    bool byte = true, half = true;
    for (int64_t i = 0; i < n && (byte || half); i++) {
        const bool in_range = v[i] >= 0 && v[i] <= 255;
        const float b = in_range ? (float)(uint8_t)v[i] : 0, h = cr_f16_to_f32(cr_f32_to_f16(v[i]));
        byte &= in_range && !memcmp(&b, &v[i], sizeof b);
        half &= !memcmp(&h, &v[i], sizeof h);
    }
    return byte ? CR_DT_U8 : half ? CR_DT_F16 : CR_DT_F32;
}

static cr_tensor *narrowed(cr_graph *g, const cr_tensor *t, cr_dtype type)
{
    char name[512];
    snprintf(name, sizeof name, "%s_%s", t->name, type == CR_DT_U8 ? "u8" : "f16");
    cr_tensor *out = cr_graph_new_const(g, name, type, t->shape);
    const int64_t n = cr_shape_count(&t->shape);
    const float *v = t->data;
    for (int64_t i = 0; out && i < n; i++) {
        if (type == CR_DT_U8)
            ((uint8_t *)out->data)[i] = (uint8_t)v[i];
        else
            ((uint16_t *)out->data)[i] = cr_f32_to_f16(v[i]);
    }
    return out;
}

static bool same_values(const cr_tensor *a, const cr_tensor *b)
{
    return a->data && b->data && a->dtype == b->dtype && a->shape.rank == b->shape.rank &&
           !memcmp(a->shape.dim, b->shape.dim, (size_t)a->shape.rank * sizeof *a->shape.dim) &&
           !memcmp(a->data, b->data, cr_tensor_bytes(a));
}

/* t's values become those of a Cast, of a constant made for t or for an equal tensor before. */
static cr_status cast_from(cr_graph *g, cr_tensor *t, cr_dtype type, size_t made_from,
                           cr_error *err)
{
    cr_tensor *from = narrowed(g, t, type);
    char name[512];
    if (!from) return CR_NOMEM(err);
    for (size_t i = made_from; i < g->tensor_count; i++)
        if (g->tensors[i] != from && same_values(g->tensors[i], from)) {
            cr_tensor_drop_data(from);
            from = g->tensors[i];
        }
    snprintf(name, sizeof name, "%s_Cast", t->name);
    cr_node *n = cr_graph_add_node(g, CR_OP_Cast, name, 1, 1, 1);
    if (!n) return CR_NOMEM(err);
    cr_attr_set_int(&n->attrs[0], "to", cr_dtype_to_onnx(CR_DT_F32));
    n->in[0] = from;
    n->out[0] = t;
    cr_tensor_drop_data(t);
    return CR_OK;
}

static cr_status narrow_constants(cr_graph *g, cr_error *err)
{
    const size_t count = g->tensor_count;
    for (size_t i = 0; i < count; i++) {
        cr_tensor *t = g->tensors[i];
        if (!t->data || t->dtype != CR_DT_F32 || cr_shape_count(&t->shape) < LEAST_ELEMENTS)
            continue;
        if (!only_arithmetic_reads(g, t)) continue;
        const cr_dtype type = narrowest(t);
        if (type != CR_DT_F32) CR_TRY(cast_from(g, t, type, count, err));
    }
    return CR_OK;
}

/* ---- scales and zero points ---- */

typedef struct kept { /* those of which there is one */
    cr_tensor **t;
    size_t count, cap;
} kept;

/* Compared with all before it: a few hundred, of a few bytes. */
static cr_status share(kept *all, cr_tensor **t, cr_error *err)
{
    for (size_t k = 0; k < all->count; k++)
        if (all->t[k] == *t || same_values(all->t[k], *t)) {
            *t = all->t[k];
            return CR_OK;
        }
    if (!cr_grow((void **)&all->t, &all->cap, all->count, sizeof *all->t)) return CR_NOMEM(err);
    all->t[all->count++] = *t;
    return CR_OK;
}

static cr_status share_parameters(cr_graph *g, cr_error *err)
{
    kept all = {0};
    cr_status st = CR_OK;
    for (size_t i = 0; i < g->node_count && st == CR_OK; i++) {
        cr_node *n = g->nodes[i];
        if (!(n->op->flags & CR_OPF_QUANT)) continue;
        for (int k = 1; k < n->n_in && st == CR_OK; k++)
            if (n->in[k] && n->in[k]->data && n->in[k]->shape.rank <= 1)
                st = share(&all, &n->in[k], err);
    }
    cr_free(all.t);
    return st;
}

cr_status cr_onnx_slim(cr_graph *g, cr_error *err)
{
    CR_TRY(narrow_constants(g, err));
    CR_TRY(share_parameters(g, err));
    return cr_graph_index(g, err);
}
