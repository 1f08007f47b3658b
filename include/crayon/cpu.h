/* Which CPU is this, and which of its instruction levels may be used. */
#ifndef CRAYON_CPU_H
#define CRAYON_CPU_H

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Marketing name ("AMD EPYC ..."); never NULL; lives as long as the program. */
CR_API const char *cr_cpu_name(void);

/* Best level in use after the mask: "c", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512vbmi",
 * "avx512bf16", "amx", "neon", "dotprod" or "i8mm". */
CR_API const char *cr_cpu_level_name(void);

/* Uses nothing above `level` (one of the names above) from now on, in this process. Also settable
 * by the environment variable CRAYON_CPU. CR_ERR_ARGUMENT for an unknown name; a level that the
 * CPU lacks is an error as well. Call before models are opened. */
CR_API cr_status cr_cpu_limit(const char *level, cr_error *err);

/* Cores that this process may run on (affinity and cgroup are respected); at least 1. */
CR_API int cr_cpu_count(void);

#ifdef __cplusplus
}
#endif
#endif
