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

#include "train/grad_conv_planes.h"
#define GRAD_KERNELS

#include "train/grad_table.h"
