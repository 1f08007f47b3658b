/* How much work a node is. */
#include "graph/graph.h"

uint64_t cr_node_macs(const cr_node *n)
{
    if (!(n->op->flags & CR_OPF_HEAVY) || !n->in[1] || !n->out[0]) return 0;
    const int64_t out = cr_shape_count(&n->out[0]->shape), w = cr_shape_count(&n->in[1]->shape);
    const cr_shape *ws = &n->in[1]->shape, *xs = &n->in[0]->shape;
    if (out <= 0 || w <= 0) return 0;
    switch (n->op->kind) {
    case CR_OP_Conv:
    case CR_OP_ConvInteger: return (uint64_t)(out * (w / ws->dim[0]));
    case CR_OP_ConvTranspose:
        return (uint64_t)(cr_shape_count(xs) * (w / (ws->dim[0] ? ws->dim[0] : 1)));
    case CR_OP_Gemm: return (uint64_t)(out * ws->dim[cr_attr_int(n, "transB", 0) ? 1 : 0]);
    case CR_OP_MatMul:
    case CR_OP_MatMulInteger: return xs->rank < 1 ? 0 : (uint64_t)(out * xs->dim[xs->rank - 1]);
    default: return 0;
    }
}
