/* Convolutions on integers as the reference has them: which they are, and the plain computation. */
#ifndef CR_RUNTIME_INTEGER_CONV_H
#define CR_RUNTIME_INTEGER_CONV_H

#include "base/error.h"
#include "graph/recipe.h"

/* Kernels keep weights as int8: uint8 codes, and their zero points, are kept less this. */
static inline int32_t cr_weight_shift(cr_dtype type)
{
    return type == CR_DT_U8 ? 128 : 0;
}
/* Zero point of channel c of weights as they are kept. */
static inline int32_t cr_weight_zero(const cr_qparams *q, int64_t c)
{
    return q->zero_point[q->count == 1 ? 0 : c] - cr_weight_shift(q->type);
}

/* Does the recipe make `n` an integer (transposed) convolution? Its input has an entry of 8 bits
 * (2-D convolutions: or 16), per tensor or, if it is depthwise, per channel; its constant weight one
 * whose codes fit a byte, with any zero points, per tensor or per output channel; its bias is a float
 * constant without an entry or absent. Any other convolution works on dequantized floats. */
bool cr_conv_takes_integers(const cr_recipe_entry *const *entries, const cr_node *n);

/* Runs such a node on x (float32, the value of its input 0). y gets float32 values, rounded to its
 * own entry if that is per tensor or per channel; its data are allocated if it has none. */
cr_status cr_integer_conv(const cr_recipe_entry *const *entries, const cr_node *n,
                          const cr_tensor *x, cr_tensor *y, cr_error *err);

#endif
