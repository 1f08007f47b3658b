/* The gradients in float32: what trains. */
#include "base/cpu.h"
#include "graph/nn_rules.h"
#include "graph/shape.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"
#include "kernels/vmath.h"
#include "train/grad.h"

#define REAL     float
#define FN(name) name##_f32

/* Matrix products run on the runtime's kernels (kernels/gemm.h): one chain over k per element. */
static size_t gemm_bytes_f32(const cr_gemm_shape *s)
{
    return cr_gemm_f32_scratch(cr_gemm_f32_select(cr_cpu_flags()), s);
}

static void gemm_run_f32(const cr_gemm_shape *s, const float *a, const float *b, float *c,
                         void *scratch, cr_pool *pool)
{
    cr_gemm_f32_run(cr_gemm_f32_select(cr_cpu_flags()), s, a, b, c, scratch, pool);
}

/* The activation that the runtime's kernels know; CR_ACT_NONE: they do not. */
static cr_act act_of(cr_op_kind kind, float a, float b)
{
    switch (kind) {
    case CR_OP_Sigmoid: return (cr_act){CR_ACT_SIGMOID, 0, 0};
    case CR_OP_Swish: return (cr_act){a == 1 ? CR_ACT_SILU : CR_ACT_NONE, 0, 0};
    case CR_OP_LeakyRelu: return (cr_act){CR_ACT_LEAKY_RELU, a, 0};
    case CR_OP_HardSwish: return (cr_act){CR_ACT_HARD_SWISH, 0, 0};
    case CR_OP_HardSigmoid: return (cr_act){CR_ACT_HARD_SIGMOID, a, b};
    default: return (cr_act){CR_ACT_NONE, 0, 0};
    }
}

#include "train/grad_conv_planes.h"
#define GRAD_KERNELS

#include "train/grad_table.h"
