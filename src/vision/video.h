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
 * cr_video_open is for files alone; cr_video_open_with for cameras, streams and standard input, too
 * (video_source.h). One thread at a time. */
#ifndef CR_VISION_VIDEO_H
#define CR_VISION_VIDEO_H

#include <stdatomic.h>

#include "crayon/image.h"

struct AVFrame;
struct AVPacket;
struct AVStream;
struct SwsContext;

typedef struct cr_video cr_video;

typedef struct cr_video_info {
    int width, height; /* as stored: pixels are taken as square, rotation flags are ignored */
    double rate;       /* frames per second on average; 0: the file does not say */
    double seconds;    /* duration; found by reading the file through where it does not say */
} cr_video_info;

/* Has the name an ending that video files have? */
bool cr_video_is_name(const char *path);

cr_status cr_video_open(const char *path, cr_video **out, cr_error *err);

typedef struct cr_video_options {
    bool any_source;         /* what video_source.h knows, not only files */
    const char *raw;         /* raw frames: see cr_source_open; NULL: a container */
    int threads;             /* of the decoder; 0: 1 */
    const char *decoder;     /* "software"; "auto": hardware if there is some that works; the name
                                of a device (video_hardware.h), an error without it; NULL: software */
    bool audio;              /* keep the sound's packets for cr_video_take_audio */
    const atomic_bool *stop; /* once true, waiting ends with CR_ERR_CANCELLED; may be NULL */
} cr_video_options;
cr_status cr_video_open_with(const char *name, const cr_video_options *options, cr_video **out,
                             cr_error *err);
void cr_video_close(cr_video **v);
cr_video_info cr_video_get_info(const cr_video *v);

/* The next frame, RGB; the caller frees it. Damaged parts are left out, as players do. */
cr_status cr_video_next(cr_video *v, cr_image *out, bool *more, cr_error *err);
/* The same without conversion: a reference to the decoder's frame moves into `out`
 * (av_frame_alloc). */
cr_status cr_video_next_frame(cr_video *v, struct AVFrame *out, bool *more, cr_error *err);
/* When the last frame that cr_video_next gave is shown, in seconds from the start. */
double cr_video_time(const cr_video *v);

/* The first frame at or after `seconds`, or else the last one. Going on from the frame before when
 * that is near, else from the key frame in front of it. */
cr_status cr_video_frame_at(cr_video *v, double seconds, cr_image *out, cr_error *err);

/* The next frame will be the first at or after `seconds`. */
cr_status cr_video_skip_to(cr_video *v, double seconds, cr_error *err);

/* The sound's packets read since the last call, in order, moved into packets[0..most); returns how
 * many. What is not taken stays, at most 4096 packets. */
int cr_video_take_audio(cr_video *v, struct AVPacket **packets, int most);
/* NULL: none kept. */
const struct AVStream *cr_video_audio(const cr_video *v);
const struct AVStream *cr_video_stream(const cr_video *v);

/* Frames to pictures, as OpenCV's VideoCapture converts them. Keeps what conversion needs; one
 * thread at a time. `out` keeps its pixels if it has the size already. */
typedef struct cr_frame_look {
    int width, height, format, space, full_range;
} cr_frame_look;

typedef struct cr_frame_converter {
    struct SwsContext *convert;
    uint8_t *rows; /* with room behind each row */
    int stride, height;
    cr_frame_look look; /* what `convert` is set for */
} cr_frame_converter;
cr_status cr_frame_to_picture(cr_frame_converter *c, const struct AVFrame *f, const char *name,
                              cr_image *out, cr_error *err);
void cr_frame_converter_free(cr_frame_converter *c);

#endif
