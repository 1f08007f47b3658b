/* Included by grad_f32.c and grad_f64.c, which define REAL and FN: all families over that type, and
 * the table of grads.inc. */
typedef REAL FN(real);
#define real FN(real)

#include "train/grad_chunks_body.h"
#include "train/grad_unary_body.h"
#include "train/grad_binary_body.h"
#include "train/grad_conv_body.h"
#include "train/grad_matmul_body.h"
#include "train/grad_softmax_body.h"
#include "train/grad_pool_body.h"
#include "train/grad_reduce_body.h"
#include "train/grad_norm_body.h"
#include "train/grad_resize_body.h"
#include "train/grad_move_body.h"
#include "train/grad_fake_body.h"

const cr_grad_op *FN(cr_grad_find)(cr_op_kind kind)
{
    static const cr_grad_op table[CR_OP_COUNT] = {
#define CR_GRAD(op, in, family, how)                                                               \
    [CR_OP_##op] = {in, how, FN(family##_scratch), FN(family##_forward), FN(family##_backward)},
#include "train/grads.inc"
#undef CR_GRAD
    };
    return kind > CR_OP_NONE && kind < CR_OP_COUNT && table[kind].backward ? &table[kind] : NULL;
}
