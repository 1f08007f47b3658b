/* Depthwise convolution: the portable tile and the choice of a record. The drivers are conv_f32.c
 * and conv_s8.c. */
#include "base/cpu.h"
#include "kernels/conv_walk.h"
#include "kernels/vec_c.h"

#define DW(name) dwconv_##name##_c
#define DW_MR    2
#include "kernels/dwconv_body.h"

static const cr_dwconv_kernel dwconv_c = DW_RECORD("c");

#define CR_DWCONV_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const cr_dwconv_kernel *cr_dwconv_level(int level)
{
    switch (level) {
    case CR_CPU_C:
        return &dwconv_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    case level:                                                                                    \
        return &symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL
    default:
        return NULL;
    }
}

const cr_dwconv_kernel *cr_dwconv_select(unsigned cpu)
{
    const cr_dwconv_kernel *best = &dwconv_c;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && cr_dwconv_level(level))
            best = cr_dwconv_level(level);
    return best;
}
