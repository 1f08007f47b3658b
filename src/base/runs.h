/* Run lengths of a mask, and COCO's text for them.
 *
 * Pixels go column by column, from the top of each; the first run is of pixels that are off (its
 * length may be 0), then on and off take turns. Later runs are longer than 0. */
#ifndef CR_BASE_RUNS_H
#define CR_BASE_RUNS_H

#include "base/error.h"

typedef struct cr_runs {
    uint32_t *length;
    size_t count, cap;
} cr_runs; /* zero-initialise, free once */

void cr_runs_free(cr_runs *r);

/* Adds `length` pixels behind the others; false: no memory. */
bool cr_runs_add(cr_runs *r, bool on, uint32_t length);

/* COCO's compressed form, ended by 0; the caller's, to be freed with free(). NULL: no memory. */
char *cr_runs_to_text(const cr_runs *r);

/* Reads it; *out must be empty. CR_ERR_FORMAT: other characters, a negative run, or runs that are
 * not `pixels` long together. */
cr_status cr_runs_from_text(const char *text, uint32_t pixels, cr_runs *out, cr_error *err);

#endif
