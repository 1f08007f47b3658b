/* The portable rows of bfloat16, and the choice of a record. */
#include "kernels/rows_bf16.h"

#include "base/cpu.h"
#include "kernels/vec_bf16_c.h"

#define ROWS(name) rows_bf16_##name##_c
#include "kernels/rows_bf16_body.h"

static const cr_rows_bf16 rows_bf16_c = ROWS_RECORD("c");

#define CR_ROWS_BF16_ONLY
#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const cr_rows_bf16 *cr_rows_bf16_level(int level)
{
    switch (level) {
    case CR_CPU_C:
        return &rows_bf16_c;
#define CR_KERNEL(family, level, symbol)                                                           \
    case level:                                                                                    \
        return &symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL
    default:
        return NULL;
    }
}

const cr_rows_bf16 *cr_rows_bf16_get(unsigned cpu)
{
    const cr_rows_bf16 *best = &rows_bf16_c;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && cr_rows_bf16_level(level))
            best = cr_rows_bf16_level(level);
    return best;
}
