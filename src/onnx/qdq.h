/* Recipes in ONNX's own terms: QuantizeLinear / DequantizeLinear pairs.
 *
 *     T ─ Q ─ T_quantized ─ DQ ─ T_dq ─ readers               activation with an entry
 *     W_quantized (int8) ─ DQ ─ W ─ Conv                       weight
 *     W_quantized (int4, block_size 32) ─ DQ ─ W ─ Conv        weight in blocks; int2 likewise
 *     B_quantized (int32) ─ DQ ─ B ─ Conv                      bias, at scale sa*sw[c]
 *
 * cr_qdq_read(cr_qdq_write(g, r)) gives (g, r) back, but for the range of codes that an entry allows:
 * the weights have been rounded. ONNX has no 1-bit type: int1 is written as int2, and int2 weights
 * whose codes are all -1 or +1 are read as int1. Zero points that are all 0 are left out where the
 * weight has fewer than 8 bits or blocks.
 *
 * Dynamic entries are other nodes: dynamic.h. */
#ifndef CR_ONNX_QDQ_H
#define CR_ONNX_QDQ_H

#include "graph/graph.h"
#include "graph/recipe.h"

/* A copy of g with Q/DQ nodes for every entry of r (for cr_onnx_write). */
cr_status cr_qdq_write(const cr_graph *g, const cr_recipe *r, cr_graph **out, cr_error *err);

/* Takes the Q/DQ pairs out of g and makes the recipe that says the same: *out is NULL if there are
 * none. A tensor that some readers take quantized and others as float gets an Identity in between,
 * which carries the entry; so does the second of two pairs in a row. Pairs whose parameters are not constant, and integer operators, stay as
 * they are. */
cr_status cr_qdq_read(cr_graph *g, cr_recipe **out, cr_error *err);

/* Smallest opset that can express r: 13, 21 for 16-bit and 4-bit types and for blocks, 25 for 2-bit
 * types. */
int cr_qdq_opset(const cr_recipe *r);

#endif
