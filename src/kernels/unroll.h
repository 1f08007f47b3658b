/* Loops that must vanish: register tiles are arrays whose indices have to be constants. */
#ifndef CR_KERNELS_UNROLL_H
#define CR_KERNELS_UNROLL_H

#if defined(__clang__)
#define CR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CR_UNROLL _Pragma("GCC unroll 32")
#endif

#define CR_INLINE static inline __attribute__((always_inline))

#endif
