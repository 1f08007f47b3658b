/* Width and height of a JPEG or PNG file from its header alone, upright: a JPEG whose EXIF
 * orientation says that it lies on its side (5..8) gives its sides swapped. No pixel is decoded. */
#ifndef CR_EVAL_PICTURE_SIZE_H
#define CR_EVAL_PICTURE_SIZE_H

#include "base/error.h"

cr_status cr_picture_size(const char *path, int *width, int *height, cr_error *err);

#endif
