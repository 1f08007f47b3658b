/* Detection in video: files, cameras, streams.
 *
 *     cr_live_options o = cr_live_options_default();
 *     o.save = "out.mp4";
 *     cr_live *live = NULL;
 *     if (cr_live_create(model, "street.webm", &o, &live, &err) == CR_OK)
 *         cr_live_run(live, see, user, &err);          calls see(user, frame) for every frame, in
 * order cr_live_free(&live);
 *
 * Reading, detecting and writing overlap in threads. Of a file every frame is looked at; a live
 * source never lags: only its newest frame counts, and what was dropped is counted. */
#ifndef CRAYON_LIVE_H
#define CRAYON_LIVE_H

#include "crayon/runtime.h"
#include "crayon/track.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_live_mode {
    CR_LIVE_AUTO,        /* every frame of files and standard input, the newest of the others and
                            of files in real time */
    CR_LIVE_EVERY_FRAME, /* most frames per second: one thread per frame */
    CR_LIVE_NEWEST       /* least delay: all threads on one frame */
} cr_live_mode;

enum { CR_MAX_ZONES = 8 };

typedef struct cr_live_options {
    cr_live_mode mode;
    int threads; /* 0: all cores */
    cr_detect_options detect;
    const char *raw;     /* raw frames: "1280x720[:FORMAT][@RATE]"; NULL */
    const char *decoder; /* "auto": by hardware if there is some that works; "software"; NULL is
                            the same; or "vaapi", "cuda", "v4l2m2m", ..., an error without it */
    long long stride;    /* look at every stride-th frame; 1 */
    long long limit;     /* frames to look at; 0: all */
    bool realtime;       /* frames of a file come at their times, as from a camera */
    double start;        /* seconds to leave out at the start of a file */
    const char *save;    /* video file to write, with what was found drawn in; NULL */
    const char *preset; /* of libx264: more effort, fewer bytes: "superfast", "veryfast", ...; NULL:
                           "ultrafast" */
    double clip;        /* seconds; a video in clip_folder for everything that appears, from so
                           long before it to so long after; 0: none */
    const char *clip_folder;  /* is there */
    bool pictures;            /* see() gets the drawn picture */
    bool panel;               /* frames per second and milliseconds in the picture */
    const char *const *names; /* of classes; NULL: the model's */
    size_t name_count;
    bool track;                  /* number objects, from frame to frame */
    cr_zone zones[CR_MAX_ZONES]; /* to count at; they need `track` */
    int zone_count;
    const cr_model *versus; /* another model for the same frames, drawn apart; NULL */
    int losses;             /* lost cameras and streams are opened again so often; -1: for ever */
    double wait;            /* seconds before the first try; doubles up to 30 */
} cr_live_options;
CR_API cr_live_options cr_live_options_default(void);

/* YUV 4:2:0: plane[0] width x height, the others half of it, rounded up. */
typedef struct cr_live_picture {
    const uint8_t *plane[3];
    int stride[3];
    int width, height;
    bool bt709, full_range;
} cr_live_picture;

/* RGB, in a new picture. */
CR_API cr_status cr_live_picture_to_image(const cr_live_picture *picture, cr_image *out,
                                          cr_error *err);

/* Valid during the call. */
typedef struct cr_live_frame {
    long long index; /* in the source, from 0 */
    double time;     /* in the source, seconds from its start */
    int width, height;
    const cr_detections *found;
    double model_ms;   /* letterbox, network and boxes of this frame */
    double latency_ms; /* since the frame had arrived and was decoded */
    double fps;        /* frames per second that come out, of the last second or so */
    long long dropped; /* frames so far that a newer one replaced */
    int losses;        /* so often was the source lost */
    bool appeared;     /* a track that was never seen, or without tracking a class that the frame
                          before had not */
    const char *clip;  /* the clip that it is in, from the frame on that appeared: those before it,
                          which the clip begins with, had come without; complete once this changes;
                          NULL: none */
    const cr_live_picture *picture;     /* NULL unless options.pictures */
    cr_zone_counts zones[CR_MAX_ZONES]; /* as many as the options have */
    /* Of options.versus; NULL and 0 without. */
    const cr_detections *versus_found;
    double versus_ms;
    const cr_live_picture *versus_picture;
} cr_live_frame;

typedef struct cr_live_report {
    long long frames; /* looked at */
    long long dropped;
    int losses;
    double seconds;    /* from the first frame's arrival to the last one's end */
    double model_ms;   /* mean */
    double latency_ms; /* mean, from a frame's arrival, decoded, to the end of its output */
    bool newest;       /* the mode that it ran in */
    int tracks;        /* objects numbered */
    cr_zone_counts zones[CR_MAX_ZONES];
    long long clips;     /* videos in options.clip_folder */
    const char *codec;   /* of the file written; "" */
    bool audio_left_out; /* the container cannot hold the source's sound */
} cr_live_report;

typedef struct cr_live cr_live;
/* Does the name stand for a video, camera, stream or "-"? Else it may be pictures (cr_image_list).
 */
CR_API bool cr_live_is_source(const char *name);
/* A camera or stream, whose frames come when they come. */
CR_API bool cr_live_is_stream(const char *name);
/* The name without the password of an address: for showing. */
CR_API void cr_live_label(const char *name, char *out, size_t size);
/* Opens the source; strings of the options must live as long as *out. Errors: IO, FORMAT, ARGUMENT.
 */
CR_API cr_status cr_live_create(const cr_model *model, const char *source,
                                const cr_live_options *options, cr_live **out, cr_error *err);
/* Until the source ends, the limit is reached, see() returns false or cr_live_stop is called: all
 * of these are CR_OK, and the file is complete then. Once per cr_live. */
CR_API cr_status cr_live_run(cr_live *live, bool (*see)(void *user, const cr_live_frame *frame),
                             void *user, cr_error *err);
/* From any thread or a signal handler. */
CR_API void cr_live_stop(cr_live *live);
/* Thresholds and classes from the next frame on; from any thread. */
CR_API cr_status cr_live_set_detect(cr_live *live, const cr_detect_options *options, cr_error *err);
CR_API cr_live_report cr_live_get_report(const cr_live *live);
CR_API void cr_live_free(cr_live **live);

#ifdef __cplusplus
}
#endif
#endif
