/* Names of pictures that are no files of their own: CONTAINER#PLACE. A file of that very name comes
 * first. */
#ifndef CR_VISION_IMAGE_SOURCE_H
#define CR_VISION_IMAGE_SOURCE_H

#include "crayon/image.h"

bool cr_zip_is_name(const char *path);

/* "a.zip#b.jpg" -> "a.zip" in *container (the caller's, cr_free) and "b.jpg" in *place (points into
 * `name`). False, and nothing to free: this is the name of a file. CR_ERR_MEMORY is not told apart
 * from that: opening the file fails then. */
bool cr_image_split_name(const char *name, char **container, const char **place);

/* The seconds of a frame's place; false unless it is a plain number. */
bool cr_frame_seconds(const char *place, double *seconds);

#endif
