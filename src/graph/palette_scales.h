/* Weights whose palette is shared by outputs of different scale: value = palette[index] * scale[output]. */
#ifndef CR_GRAPH_PALETTE_SCALES_H
#define CR_GRAPH_PALETTE_SCALES_H

#include <stddef.h>

typedef struct cr_palette_scales {
    const char *tensor;
    int axis;           /* of the outputs */
    size_t count;       /* as many as the tensor has outputs */
    const float *scale; /* > 0, numbers of float16 */
} cr_palette_scales;

#endif
