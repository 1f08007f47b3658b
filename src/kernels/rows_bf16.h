/* Kernels on rows of bfloat16: what stands between convolutions in bf16 programs. A record per CPU
 * level as in rows.h; every level gives the same bits (conversions: bf16.h). */
#ifndef CR_KERNELS_ROWS_BF16_H
#define CR_KERNELS_ROWS_BF16_H

#include <stddef.h>

#include "kernels/bf16.h"
#include "kernels/rows.h"

typedef struct cr_rows_bf16 {
    const char *name;
    void (*from_f32)(cr_bf16 *y, const float *x, size_t n);
    void (*to_f32)(float *y, const cr_bf16 *x, size_t n);
    /* from_f32 for a part of a result */
    void (*from_area)(cr_bf16 *y, const float *x, const cr_finish_area *area);
    /* y = max(y, x) by sign and magnitude: -0 is below +0, NaN is beyond infinity */
    void (*max)(cr_bf16 *y, const cr_bf16 *x, size_t n);
    /* y[i] = x[i] + w[i], added in float32; y may be x or w */
    void (*add)(cr_bf16 *y, const cr_bf16 *x, const cr_bf16 *w, size_t n);
    /* y[4 i + k] = planes[k][i], rounded; 0 for a plane that is NULL */
    void (*weave)(cr_bf16 *y, const float *const planes[4], size_t n);
} cr_rows_bf16;

/* The best record for these cr_cpu_flags(); the record of one cr_cpu_level or NULL. */
const cr_rows_bf16 *cr_rows_bf16_get(unsigned cpu);
const cr_rows_bf16 *cr_rows_bf16_level(int level);

#endif
