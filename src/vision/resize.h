/* Resizing row by row, so that a row can be used while it is in the cache. */
#ifndef CR_VISION_RESIZE_H
#define CR_VISION_RESIZE_H

#include "crayon/image.h"
#include "vision/pixels.h"

typedef enum cr_resize_way { CR_RESIZE_COPY, CR_RESIZE_HALVE, CR_RESIZE_BLEND } cr_resize_way;

typedef struct cr_resizer {
    const cr_pixels *ops;
    cr_resize_way way;
    const uint8_t *src; /* the caller's; [sh, sw, channels], rows `stride` bytes apart */
    size_t stride;
    int dw, channels;
    cr_taps across, down;
    int16_t *row[2]; /* horizontally resized source rows */
    int held[2];     /* their numbers, -1: none */
    void *block;     /* owns the taps and rows; NULL if the way needs none */
} cr_resizer;

/* channels 1..4, sizes >= 1 (CR_ERR_ARGUMENT); close it in any case. */
cr_status cr_resizer_open(cr_resizer *r, const uint8_t *src, size_t stride, int sw, int sh,
                          int channels, int dw, int dh, cr_error *err);
/* Row y of the result, dw * channels bytes; cheapest for ascending y. */
void cr_resizer_row(cr_resizer *r, int y, uint8_t *out);
void cr_resizer_close(cr_resizer *r);

#endif
