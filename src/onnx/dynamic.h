/* Dynamic entries of recipes in ONNX's terms.
 *
 *     T ─ DynamicQuantizeLinear ─ codes ───── ConvInteger ─ Cast ─ Mul ─ Add(bias) ─ Y
 *                              ├─ scale ─ Mul(scales of W) ────────┘
 *                              └─ zero point ─ ConvInteger
 *
 * MatMulInteger likewise; a Gemm comes back as MatMul and Add. ONNX Runtime's quantize_dynamic writes
 * the same nodes. */
#ifndef CR_ONNX_DYNAMIC_H
#define CR_ONNX_DYNAMIC_H

#include "graph/recipe.h"

/* Rewrites the nodes of g that read codes. dynamic, entries: by tensor id of g (`tensors` of them); the
 * weights that are written so lose their entry there. */
cr_status cr_dynamic_write(cr_graph *g, const cr_recipe_entry **dynamic,
                           const cr_recipe_entry **entries, size_t tensors, cr_error *err);

/* Turns such groups of nodes into Conv and MatMul and adds what they say to r. The graph wants
 * cr_graph_compact afterwards. What does not have exactly this form stays as it is. */
cr_status cr_dynamic_read(cr_graph *g, cr_recipe *r, cr_error *err);

#endif
