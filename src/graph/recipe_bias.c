#include "graph/recipe_bias.h"

static bool runs_on_integers(const cr_node *n, const cr_qparams *a, const cr_qparams *w)
{
    const cr_shape *x = &n->in[0]->shape, *k = &n->in[1]->shape;
    const bool bytes = a->type == CR_DT_I8 || a->type == CR_DT_U8;
    const bool wide = (a->type == CR_DT_I16 || a->type == CR_DT_U16) && k->rank == 4 &&
                      cr_shape_count(k) <= k->dim[0] * CR_Q_WIDE_PRODUCTS;
    const bool depthwise = x->rank > 2 && cr_attr_int(n, "group", 1) == x->dim[1];
    if (!bytes && !wide) return false;
    if (!cr_q_per_tensor(a) && (a->axis != 1 || !depthwise)) return false;
    return cr_q_byte_codes(w->type) && !w->block && (cr_q_per_tensor(w) || w->axis == 0);
}

bool cr_recipe_rounds_bias(const cr_node *n, const cr_qparams *a, const cr_qparams *w)
{
    if (n->op->kind != CR_OP_Conv || n->n_in < 3 || !n->in[2] || !n->in[2]->data) return false;
    if (n->in[2]->dtype != CR_DT_F32 || !a || !w || !runs_on_integers(n, a, w)) return false;
    const size_t count = (size_t)cr_shape_count(&n->in[2]->shape);
    return (cr_q_per_tensor(w) || w->count == count) && (cr_q_per_tensor(a) || count % a->count == 0);
}

void cr_recipe_bias_scales(const cr_node *n, const cr_qparams *a, const cr_qparams *w, int64_t c, float *sa,
                           float *sw)
{
    const int64_t count = cr_shape_count(&n->in[2]->shape);
    *sa = a->scale[cr_q_per_tensor(a) ? 0 : c / (count / (int64_t)a->count)];
    *sw = w->scale[cr_q_per_tensor(w) ? 0 : c];
}
