/* What a core can do at most: loops that touch registers only, for the arithmetic of each kind of
 * kernel, and one that only reads memory. A share of the peak is then a share of something that this
 * CPU has just done, not of a data sheet.
 *
 * The loops multiply ones: the total of all sums is the number of multiply-adds, so a test can tell
 * that a loop does what it is paid for. */
#ifndef CR_KERNELS_PEAK_H
#define CR_KERNELS_PEAK_H

#include <stddef.h>
#include <stdint.h>

enum { CR_PEAK_SUMS = 16 }; /* chains of sums side by side: enough to hide any latency */

/* `rounds` below 2^20, so that sums are exact. NULL: the level has nothing of its own for it. */
typedef struct cr_peak_kernel {
    const char *name;
    double (*f32)(int64_t rounds);
    double (*s8)(int64_t rounds);
    double (*bf16)(int64_t rounds);
    uint64_t (*read)(const void *data, size_t bytes); /* bytes: a multiple of 512; sum of 64-bit words */
} cr_peak_kernel;

extern const cr_peak_kernel cr_peak_c;

/* Best of each kind among the levels in `cpu`; `f32`, `s8` and `read` are never NULL. */
cr_peak_kernel cr_peak_choose(unsigned cpu);

#endif
