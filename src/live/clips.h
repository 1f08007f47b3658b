/* Clips: short videos around what appears, from some seconds before to some seconds after. */
#ifndef CR_LIVE_CLIPS_H
#define CR_LIVE_CLIPS_H

#include "vision/video_encode.h"

typedef struct cr_clips cr_clips;

typedef struct cr_clips_options {
    double seconds;     /* before what appears, and after the last that did; > 0 */
    const char *folder; /* exists; must live as long */
    char name[128];     /* of the files: name-000123.mp4, after the number of the frame */
    bool dated;         /* name-20261121-203122-000123.mp4: local time, for cameras */
} cr_clips_options;

/* The format's key_seconds and audio are set here. */
cr_status cr_clips_create(const cr_clips_options *options, const cr_video_format *format,
                          cr_clips **out, cr_error *err);
/* A clip that is being written is given up. */
void cr_clips_free(cr_clips **clips);

/* The next frame, drawn; pts in the format's clock; index: its number. path: the clip that it is
 * in, which is complete once another path or NULL comes; NULL: none. Valid until the next call. A
 * clip's first frames, from before what appeared, had NULL. */
cr_status cr_clips_put(cr_clips *c, const struct AVFrame *f, int64_t pts, long long index,
                       bool appeared, const char **path, cr_error *err);
/* The end: completes a clip that is being written. */
cr_status cr_clips_finish(cr_clips *c, cr_error *err);
long long cr_clips_count(const cr_clips *c); /* complete ones */

#endif
