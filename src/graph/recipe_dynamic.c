#include "graph/recipe_dynamic.h"

const cr_recipe_entry **cr_recipe_part_dynamic(const cr_recipe_entry **found, size_t count)
{
    const cr_recipe_entry **parted = cr_calloc(count + 1, sizeof *parted);
    for (size_t i = 0; parted && i < count; i++) {
        if (!found[i] || !found[i]->q.dynamic) continue;
        parted[i] = found[i];
        found[i] = NULL;
    }
    return parted;
}

bool cr_dynamic_turned(const cr_node *n)
{
    return n->op->kind == CR_OP_Gemm && cr_attr_int(n, "transB", 0) != 0;
}

int64_t cr_dynamic_rows(const cr_node *n)
{
    const cr_shape *w = &n->in[1]->shape;
    return n->op->kind == CR_OP_Conv || cr_dynamic_turned(n) ? w->dim[0] : w->dim[1];
}

static bool fits_bias(const cr_recipe_entry *const *entries, const cr_node *n)
{
    const cr_tensor *b = n->n_in > 2 ? n->in[2] : NULL;
    if (!b) return true;
    const int64_t count = cr_shape_count(&b->shape), rank = b->shape.rank;
    return b->data && b->dtype == CR_DT_F32 && !entries[b->id] && count == cr_dynamic_rows(n) &&
           rank >= 1 && b->shape.dim[rank - 1] == count;
}

static bool fits_product(const cr_node *n)
{
    if (n->op->kind == CR_OP_Conv) return true;
    if (n->in[0]->shape.rank < 2 || n->in[1]->shape.rank != 2) return false;
    if (n->op->kind == CR_OP_MatMul) return true;
    return !cr_attr_int(n, "transA", 0) && cr_attr_float(n, "alpha", 1) == 1 &&
           cr_attr_float(n, "beta", 1) == 1;
}

bool cr_dynamic_takes(const cr_recipe_entry *const *live, const cr_recipe_entry *const *entries,
                   const cr_node *n)
{
    const cr_op_kind kind = n->op->kind;
    if (kind != CR_OP_Conv && kind != CR_OP_MatMul && kind != CR_OP_Gemm) return false;
    const cr_tensor *x = n->in[0], *w = n->in[1];
    if (x->data || !live[x->id] || !w->data || w->dtype != CR_DT_F32 || !fits_product(n)) return false;
    const cr_recipe_entry *e = entries[w->id];
    if (!e || e->q.block || (!cr_q_int8_codes(e->q.type) && e->q.type != CR_DT_U8)) return false;
    const int axis = kind == CR_OP_Conv || cr_dynamic_turned(n) ? 0 : 1;
    return (cr_q_per_tensor(&e->q) || e->q.axis == axis) && fits_bias(entries, n);
}
