/* Pictures inside a zip archive. Nothing is ever written to disk, so a member's name is only a name. */
#ifndef CR_VISION_IMAGE_ZIP_H
#define CR_VISION_IMAGE_ZIP_H

#include "crayon/image.h"

/* Calls add(user, member, err) for every member that passes `keep`, in the order of the archive. */
cr_status cr_zip_list(const char *path, bool (*keep)(const char *name),
                      cr_status (*add)(void *user, const char *member, cr_error *err), void *user,
                      cr_error *err);
/* Decodes one member. */
cr_status cr_zip_read_image(const char *path, const char *member, cr_image *out, cr_error *err);

#endif
