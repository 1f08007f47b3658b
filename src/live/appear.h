/* What appears: a track's number that was never seen, or without tracking a class that the frame
 * before had not. */
#ifndef CR_LIVE_APPEAR_H
#define CR_LIVE_APPEAR_H

#include "crayon/runtime.h"

typedef struct cr_appear {
    unsigned char *tracks; /* a bit for each number that was seen */
    size_t track_bytes;
    int *classes; /* of the frame before */
    size_t class_count, class_capacity;
} cr_appear; /* all zero: nothing was seen yet */

/* *appeared: the frame has something new. Frames in their order. */
cr_status cr_appear_look(cr_appear *a, const cr_detections *found, bool *appeared, cr_error *err);
void cr_appear_clear(cr_appear *a); /* frees what it holds */

#endif
