/* Max pooling on NHWC rows, threaded. */
#ifndef CR_KERNELS_POOL_H
#define CR_KERNELS_POOL_H

#include "base/threads.h"
#include "kernels/layout.h"
#include "kernels/rows.h"
#include "kernels/rows_bf16.h"

typedef struct cr_pool_geometry {
    int64_t n, h, w, c, oh, ow, ld_in, ld_out;
    int64_t kh, kw, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left;
} cr_pool_geometry;

/* Taps outside the picture are ignored; every window has at least one inside. */
void cr_max_pool_f32(const cr_pool_geometry *g, const cr_rows *k, const float *in, float *out,
                     cr_pool *pool);
void cr_max_pool_u8(const cr_pool_geometry *g, const cr_rows *k, const uint8_t *in, uint8_t *out,
                    cr_pool *pool);
void cr_max_pool_bf16(const cr_pool_geometry *g, const cr_rows_bf16 *k, const cr_bf16 *in,
                      cr_bf16 *out, cr_pool *pool);

#endif
