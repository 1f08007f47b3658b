/* The two functions that every family of kernels has: the record of a level, and the best record
 * that the CPU flags allow, searched from C upward. Written once; a family's file defines
 *
 *   KERNEL_RECORD   the record's type
 *   KERNEL_C        the portable record
 *   KERNEL_LEVEL    name of: const KERNEL_RECORD *(int level), NULL: none of exactly that level
 *   KERNEL_SELECT   name of: const KERNEL_RECORD *(unsigned cpu), never NULL
 *
 * and its CR_<FAMILY>_ONLY of kernels.inc, then includes this. */
#include "base/cpu.h"

#define CR_KERNEL(family, level, symbol) extern const cr_##family symbol;
#include "kernels/kernels.inc"
#undef CR_KERNEL

const KERNEL_RECORD *KERNEL_LEVEL(int level)
{
#define CR_KERNEL(family, level, symbol) [level] = &symbol,
    static const KERNEL_RECORD *const records[CR_CPU_LEVELS] = {[CR_CPU_C] = &KERNEL_C,
#include "kernels/kernels.inc"
    };
#undef CR_KERNEL
    return level >= 0 && level < CR_CPU_LEVELS ? records[level] : NULL;
}

const KERNEL_RECORD *KERNEL_SELECT(unsigned cpu)
{
    const KERNEL_RECORD *best = &KERNEL_C;
    for (int level = 0; level < CR_CPU_LEVELS; level++)
        if (cr_cpu_has(cpu, (cr_cpu_level)level) && KERNEL_LEVEL(level))
            best = KERNEL_LEVEL(level);
    return best;
}
