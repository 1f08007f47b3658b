/* Activations that kernels apply behind a convolution or alone: crayon/arith.h defines them, every
 * level gives the same bits. */
#ifndef CR_KERNELS_ACT_H
#define CR_KERNELS_ACT_H

typedef enum cr_act_kind {
    CR_ACT_NONE,
    CR_ACT_RELU,
    CR_ACT_CLIP,       /* a: lowest, b: highest */
    CR_ACT_LEAKY_RELU, /* a: slope below 0 */
    CR_ACT_SIGMOID,
    CR_ACT_SILU,
    CR_ACT_HARD_SIGMOID, /* a: slope, b: offset */
    CR_ACT_HARD_SWISH
} cr_act_kind;

typedef struct cr_act {
    cr_act_kind kind;
    float a, b;
} cr_act;

#endif
