/* Between planes of pixels (NCHW, ONNX's order) and rows of channels (NHWC, the kernels' order). */
#ifndef CR_KERNELS_LAYOUT_H
#define CR_KERNELS_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

/* [n][channels][pixels] <-> [n][pixels][ld >= channels]. What lies between channels and ld is left
 * alone. in and out must not overlap. */
typedef struct cr_layout_args {
    int64_t n, channels, pixels, ld;
    size_t element; /* 1 or 4 bytes */
} cr_layout_args;

void cr_nchw_to_nhwc(const cr_layout_args *a, const void *in, void *out, cr_pool *pool);
void cr_nhwc_to_nchw(const cr_layout_args *a, const void *in, void *out, cr_pool *pool);

#endif
