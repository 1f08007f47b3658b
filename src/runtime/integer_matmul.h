/* Matrix products on integers as the reference has them: which they are, and the plain computation.
 */
#ifndef CR_RUNTIME_INTEGER_MATMUL_H
#define CR_RUNTIME_INTEGER_MATMUL_H

#include "base/error.h"
#include "graph/recipe.h"

/* Does the recipe make `n`, a MatMul or Gemm, an integer product? Its input 0 is an activation with
 * one 8-bit scale; its input 1 is another one, or a constant matrix of codes that fit a byte (per
 * tensor or per column of the product). Gemm: alpha = beta = 1, no transA, and a bias that is a
 * constant row without an entry (rounded to int32 at scale sa*sb[c]) or absent. */
bool cr_matmul_takes_integers(const cr_recipe_entry *const *entries, const cr_node *n);

/* Scale of column c of input 1 of such a node. */
float cr_matmul_column_scale(const cr_recipe_entry *const *entries, const cr_node *n, int64_t c);

/* Runs such a node on float32 tensors: exact int32 sums of (a - za)(b - zb), plus bias, times
 * sa*sb, or straight to the output's codes if it has a byte entry. y gets float32 values; its data
 * are allocated if it has none. */
cr_status cr_integer_matmul(const cr_recipe_entry *const *entries, const cr_node *n,
                            const cr_tensor *a, const cr_tensor *b, cr_tensor *y, cr_error *err);

#endif
