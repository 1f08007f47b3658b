/* CPU levels: a few useful steps, not raw CPUID bits. A level counts only if the CPU has the
 * instructions AND the operating system saves the registers (XGETBV; for AMX also the permission
 * call). One mask knob for program, tests, fuzzers and benches: CRAYON_CPU=avx2 in the
 * environment or cr_cpu_limit(). */
#ifndef CR_BASE_CPU_H
#define CR_BASE_CPU_H

#include "crayon/status.h"
#include "crayon/cpu.h"

typedef enum cr_cpu_level {
    CR_CPU_C = 0,          /* portable C */
    CR_CPU_AVX2,           /* AVX2 + FMA + F16C */
    CR_CPU_AVXVNNI,        /* + AVX-VNNI (256 bit) */
    CR_CPU_AVX512,         /* F BW DQ VL */
    CR_CPU_AVX512VNNI,     /* + VNNI */
    CR_CPU_AVX512VBMI,     /* + VBMI: bytes picked from registers */
    CR_CPU_AVX512BF16,     /* + BF16 dot products */
    CR_CPU_AMX,            /* + AMX-INT8, AMX-BF16 tiles, with permission */
    CR_CPU_NEON,           /* arm64 baseline */
    CR_CPU_DOTPROD,        /* + SDOT/UDOT */
    CR_CPU_I8MM,           /* + SMMLA */
    CR_CPU_LEVELS
} cr_cpu_level;

/* Bit i set: level i may be used (after the mask). Bit CR_CPU_C is always set. */
unsigned cr_cpu_flags(void);

static inline bool cr_cpu_has(unsigned flags, cr_cpu_level level) { return flags >> level & 1; }

const char *cr_cpu_level_key(cr_cpu_level level); /* "c", "avx2", "avxvnni", ... */

/* Flags of the hardware with nothing masked, whatever the knob says. */
unsigned cr_cpu_hardware(void);

#endif
