/* Drawing onto video frames, which stay YUV 4:2:0.
 *
 * Everything is drawn with cairo onto a transparent layer of the frame's size; then only the
 * rectangles that were drawn in are blended into the frame and wiped. A frame with ten boxes costs
 * a few per cent of its pixels. (Rejected: drawing on an RGB copy and converting it back, 3 ms a
 * frame at 1280x720, and every pixel changes a little.) */
#ifndef CR_VISION_OVERLAY_H
#define CR_VISION_OVERLAY_H

#include "vision/draw.h"

typedef struct cr_overlay cr_overlay;

/* An 8-bit planar frame, chroma halved both ways (rounded up). */
typedef struct cr_yuv {
    uint8_t *plane[3];
    int stride[3];
    int width, height;
    bool bt709;      /* else BT.601 */
    bool full_range; /* 0..255, else 16..235 */
} cr_yuv;

cr_status cr_overlay_create(int width, int height, cr_overlay **out, cr_error *err);
void cr_overlay_free(cr_overlay **o);

/* What the next cr_overlay_blend puts over the frame. */
cr_pen cr_overlay_pen(cr_overlay *o);
/* CR_ERR_MEMORY if cairo could not draw. */
cr_status cr_overlay_blend(cr_overlay *o, const cr_yuv *frame, cr_error *err);

#endif
