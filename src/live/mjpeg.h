/* YUV frames to JPEG, without going through RGB. */
#ifndef CR_LIVE_MJPEG_H
#define CR_LIVE_MJPEG_H

#include "crayon/live.h"

typedef struct cr_mjpeg cr_mjpeg;

cr_status cr_mjpeg_create(int quality, cr_mjpeg **out, cr_error *err);
void cr_mjpeg_free(cr_mjpeg **m);
/* *bytes is freed with free(). */
cr_status cr_mjpeg_encode(cr_mjpeg *m, const cr_live_picture *p, unsigned char **bytes,
                          size_t *size, cr_error *err);

#endif
