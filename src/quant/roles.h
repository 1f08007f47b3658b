/* What part a node plays, found from the graph's shape and data, never from names. */
#ifndef CR_QUANT_ROLES_H
#define CR_QUANT_ROLES_H

#include "graph/graph.h"

typedef enum cr_role {
    CR_ROLE_BODY,       /* feeds a last convolution */
    CR_ROLE_LAST_CONV,  /* nothing but decoding lies between it and an output */
    CR_ROLE_DECODE      /* behind the last convolutions: box arithmetic, DFL, scores, reshapes */
} cr_role;

/* roles[node->index]; the caller frees it with cr_free. */
cr_status cr_roles_find(const cr_graph *g, cr_role **roles, cr_error *err);

/* Conv, ConvTranspose, Gemm or MatMul with a constant weight as input 1. */
bool cr_has_weights(const cr_node *n);

#endif
