/* Pictures from a video file: forward one by one, or at a time.
 *
 *     cr_video *v;
 *     cr_video_open("street.webm", &v, &err);
 *     for (bool more = true; more;) {
 *         cr_image frame;
 *         cr_video_next(v, &frame, &more, &err);     more false: the end, no frame
 *         cr_image_free(&frame);
 *     }
 *     cr_video_close(&v);
 *
 * Files only: no network, no playlists, no device. One thread at a time. */
#ifndef CR_VISION_VIDEO_H
#define CR_VISION_VIDEO_H

#include "crayon/image.h"

typedef struct cr_video cr_video;

typedef struct cr_video_info {
    int width, height;     /* as stored: pixels are taken as square, rotation flags are ignored */
    double rate;           /* frames per second on average; 0: the file does not say */
    double seconds;        /* duration; found by reading the file through where it does not say */
} cr_video_info;

/* Has the name an ending that video files have? */
bool cr_video_is_name(const char *path);

cr_status cr_video_open(const char *path, cr_video **out, cr_error *err);
void cr_video_close(cr_video **v);
cr_video_info cr_video_get_info(const cr_video *v);

/* The next frame, RGB; the caller frees it. Damaged parts are left out, as players do. */
cr_status cr_video_next(cr_video *v, cr_image *out, bool *more, cr_error *err);
/* When the last frame that cr_video_next gave is shown, in seconds from the start. */
double cr_video_time(const cr_video *v);

/* The first frame at or after `seconds`, or else the last one. Going on from the frame before when
 * that is near, else from the key frame in front of it. */
cr_status cr_video_frame_at(cr_video *v, double seconds, cr_image *out, cr_error *err);

#endif
