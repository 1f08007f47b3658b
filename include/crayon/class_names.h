/* Class names from a file, for models that carry none. */
#ifndef CRAYON_CLASS_NAMES_H
#define CRAYON_CLASS_NAMES_H

#include <stddef.h>

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_class_names {
    char **items; /* items[class]; "" where the file leaves a number out */
    size_t count;
} cr_class_names;

/* .yaml and .yml: "names" of an Ultralytics data.yaml, a list or a map from numbers. Anything else:
 * a text of one name per line, empty lines left out. On failure *out is empty. Errors: IO (cannot
 * be read), FORMAT (no text, no names, above a megabyte or 65536 names). */
CR_API cr_status cr_class_names_read(const char *path, cr_class_names *out, cr_error *err);
CR_API void cr_class_names_free(cr_class_names *names);

#ifdef __cplusplus
}
#endif
#endif
