/* Depthwise bfloat16 convolution: the portable tile and the choice of a record. The driver is
 * conv_bf16.c. */
#include "base/cpu.h"
#include "kernels/vec_bf16_c.h"

#define DW(name) dwconv_bf16_##name##_c
#define DW_MR    2
#include "kernels/dwconv_bf16_body.h"

static const cr_dwconv_bf16_kernel dwconv_bf16_c = DW_RECORD("c");

#define CR_DWCONV_BF16_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const cr_dwconv_bf16_kernel *cr_dwconv_bf16_level(int level)
{
    switch (level) {
    case CR_CPU_C:
        return &dwconv_bf16_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    case level:                                                                                    \
        return &symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL
    default:
        return NULL;
    }
}

const cr_dwconv_bf16_kernel *cr_dwconv_bf16_select(unsigned cpu)
{
    const cr_dwconv_bf16_kernel *best = &dwconv_bf16_c;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && cr_dwconv_bf16_level(level))
            best = cr_dwconv_bf16_level(level);
    return best;
}
