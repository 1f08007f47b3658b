/* CR_PEAK_LOOP(name, V, zero, A, a_ones, step, total): one loop of a cr_peak_kernel. The ones come
 * through a volatile read or a barrier of the file's own inside `step`, so that the compiler neither
 * knows them nor computes a product once for all rounds. Zeros come through a volatile read as well:
 * chains that begin alike and go on alike are one chain to a compiler, and a chain waits for itself. */
#ifndef CR_KERNELS_PEAK_BODY_H
#define CR_KERNELS_PEAK_BODY_H

#include "kernels/peak.h"
#include "kernels/unroll.h"

static volatile float peak_zero_f;
static volatile int32_t peak_zero_i;

#define CR_PEAK_LOOP(name, V, zero, A, ones, step, total)                                          \
    static double name(int64_t rounds)                                                             \
    {                                                                                              \
        V acc[CR_PEAK_SUMS];                                                                       \
        A a = (ones), b = (ones);                                                                  \
        CR_UNROLL for (int i = 0; i < CR_PEAK_SUMS; i++) acc[i] = (zero);                          \
        for (int64_t r = 0; r < rounds; r++)                                                       \
            CR_UNROLL for (int i = 0; i < CR_PEAK_SUMS; i++) acc[i] = step(acc[i], a, b);          \
        double all = 0;                                                                            \
        CR_UNROLL for (int i = 0; i < CR_PEAK_SUMS; i++) all += total(acc[i]);                     \
        return all;                                                                                \
    }

/* Sums of the 64-bit words at `data`, eight vectors at a time. */
#define CR_PEAK_READ(name, V, zero, load, add, total)                                              \
    static uint64_t name(const void *data, size_t bytes)                                           \
    {                                                                                              \
        enum { CHAINS = 512 / sizeof(V) < 8 ? 512 / sizeof(V) : 8 };                               \
        V acc[CHAINS];                                                                             \
        CR_UNROLL for (int i = 0; i < (int)CHAINS; i++) acc[i] = (zero);                           \
        const V *p = data, *end = p + bytes / sizeof(V);                                           \
        for (; p < end; p += CHAINS)                                                               \
            CR_UNROLL for (int i = 0; i < (int)CHAINS; i++) acc[i] = add(acc[i], load(p + i));     \
        uint64_t all = 0;                                                                          \
        CR_UNROLL for (int i = 0; i < (int)CHAINS; i++) all += total(acc[i]);                      \
        return all;                                                                                \
    }

#endif
