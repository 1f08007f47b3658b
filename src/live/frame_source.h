/* Where frames come from, so that tests can put a clock in place of a camera. */
#ifndef CR_LIVE_FRAME_SOURCE_H
#define CR_LIVE_FRAME_SOURCE_H

#include <stdatomic.h>

#include "crayon/live.h"
#include "vision/video.h"

typedef struct cr_frame_source {
    void *user;
    bool live; /* frames come when they come; a lost source is worth another try */
    cr_status (*open)(void *user, const atomic_bool *stop, cr_error *err);
    /* The next frame into an empty `out`; waits for it. */
    cr_status (*next)(void *user, struct AVFrame *out, double *time, bool *more, cr_error *err);
    void (*close)(void *user);
    /* The open one, for sound and clock; NULL where there is none. */
    cr_video *(*video)(void *user);
} cr_frame_source;

/* cr_live_create with a source of the caller's, whose `user` must outlive *out. */
cr_status cr_live_create_from(const cr_model *model, const cr_frame_source *source,
                              const cr_live_options *options, cr_live **out, cr_error *err);

#endif
