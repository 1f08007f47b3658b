/* Peaks in portable C, and the choice among the levels. The C sums are acc * 1 + 1: a product that
 * did not depend on the sum would be computed once. */
#include "kernels/peak.h"

#include "base/cpu.h"
#include "kernels/peak_body.h"

static volatile float one_f = 1;
static volatile int32_t one_i = 1;

#define STEP(acc, a, b) ((acc) * (a) + (b))
#define SELF(x)         (x)
#define ADD(a, b)       ((a) + (b))
#define LOAD(p)         (*(p))

CR_PEAK_LOOP(f32_c, float, peak_zero_f, float, one_f, STEP, SELF)
CR_PEAK_LOOP(s8_c, int32_t, peak_zero_i, int32_t, one_i, STEP, SELF)
CR_PEAK_READ(read_c, uint64_t, 0, LOAD, ADD, SELF)

const cr_peak_kernel cr_peak_c = {"peak c", f32_c, s8_c, NULL, read_c};

#define CR_PEAK_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

cr_peak_kernel cr_peak_choose(unsigned cpu)
{
    cr_peak_kernel best = cr_peak_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    if (cr_cpu_has(cpu, level)) {                                                                  \
        best.name = symbol.name;                                                                   \
        if (symbol.f32) best.f32 = symbol.f32;                                                     \
        if (symbol.s8) best.s8 = symbol.s8;                                                        \
        if (symbol.bf16) best.bf16 = symbol.bf16;                                                  \
        if (symbol.read) best.read = symbol.read;                                                  \
    }
#include "kernels/kernels.inc"
#undef CR_KERNEL
    return best;
}
