/* Pictures inside of a page. */
#ifndef CR_REPORT_REPORT_IMAGE_H
#define CR_REPORT_REPORT_IMAGE_H

#include <stdio.h>

#include "base/error.h"
#include "crayon/image.h"

/* Reads a picture and makes it small: neither side above `largest`. fx, fy: what pixels of the file are
 * multiplied by. */
cr_status cr_report_image_read(const char *path, int largest, cr_image *out, double *fx, double *fy,
                               cr_error *err);

/* An <img> that holds the picture itself, as JPEG; `name` is for messages. */
cr_status cr_report_image_put(FILE *f, const char *name, const cr_image *img, cr_error *err);

#endif
