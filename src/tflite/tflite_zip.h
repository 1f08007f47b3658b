/* A zip archive of one file, stored as it is, to be appended to `before` other bytes. */
#ifndef CR_TFLITE_TFLITE_ZIP_H
#define CR_TFLITE_TFLITE_ZIP_H

#include "base/mem.h"
#include "crayon/status.h"

/* Free *bytes with cr_free. Dated 1980-01-01, so that equal text gives equal bytes. */
cr_status cr_tfl_zip(const char *name, const char *text, size_t before, unsigned char **bytes,
                     size_t *size, cr_error *err);

#endif
