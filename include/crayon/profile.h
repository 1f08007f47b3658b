/* Where the time of a run goes, and what this CPU could do: a roofline (Williams, Waterman &
 * Patterson 2009) from measurements.
 *
 * A step multiplies and adds (macs) and moves bytes. It cannot take less time than either alone
 * would: macs at the peak of its arithmetic, bytes at the speed of the memory that they are in. Both
 * limits are measured on this machine, by loops that do nothing else. */
#ifndef CRAYON_PROFILE_H
#define CRAYON_PROFILE_H

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_math { CR_MATH_FLOAT32, CR_MATH_BFLOAT16, CR_MATH_INT8, CR_MATH_COUNT } cr_math;
CR_API const char *cr_math_name(cr_math math); /* "float32", "bfloat16", "int8" */

/* One step of a compiled model. */
typedef struct cr_step_time {
    const char *kernel;  /* "conv_s8 avx512vnni 12x32" */
    const char *node;    /* name of the first node it computes; for conversions "" */
    const char *op;      /* that node's operator; for conversions "" */
    const char *tensor;  /* what it writes */
    uint64_t ns;         /* median */
    uint64_t macs;       /* multiply-adds of the convolutions and products in it, counted as ONNX
                          * defines them: an algorithm that saves some can exceed the peak */
    uint64_t bytes;      /* inputs, weights and outputs, each counted once; 0 for a view */
    cr_math math;        /* what it computes in */
} cr_step_time;

typedef struct cr_peaks {
    int threads;
    double ops[CR_MATH_COUNT]; /* operations per second of all threads; a multiply-add is two */
    double cache_bytes;        /* bytes per second that all threads read from their own L2 */
    double memory_bytes;       /* the same from memory */
} cr_peaks;

/* Measures for about 0.1 s, at the CPU levels in use. threads 0: all cores. Arithmetic and L2 are
 * measured on one core and multiplied, memory is read by all threads at once. */
CR_API cr_status cr_peaks_measure(int threads, cr_peaks *out, cr_error *err);

/* 2 * macs / time, in operations per second; 0 without time. */
CR_API double cr_step_rate(const cr_step_time *step);

/* Draws steps with macs as dots under the roofs, on log scales: operations per byte to the right,
 * operations per second upwards; a dot's area is its share of the time. The ending of `path`
 * decides between .svg and .png. */
CR_API cr_status cr_roofline_draw(const cr_peaks *peaks, const cr_step_time *steps, size_t count,
                                  const char *title, const char *path, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
