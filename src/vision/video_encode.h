/* Encoding frames: H.264 where FFmpeg has an encoder for it (else MPEG-4 part 2; VP8 for WebM). */
#ifndef CR_VISION_VIDEO_ENCODE_H
#define CR_VISION_VIDEO_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "crayon/status.h"

struct AVCodecContext;
struct AVFrame;
struct AVOutputFormat;
struct AVPacket;
struct AVStream;

typedef struct cr_video_encoder cr_video_encoder;

typedef struct cr_video_format {
    int width, height;
    double rate;                  /* frames per second, for players; 0: 30 */
    int clock_num, clock_den;     /* unit of the frames' times, in seconds */
    int space, range;             /* AVColorSpace, AVColorRange */
    int aspect_num, aspect_den;   /* of a pixel; 0: square */
    const struct AVStream *audio; /* copied if the container can hold it; NULL: none */
    int threads;                  /* of the encoder */
    const char *preset;           /* of libx264; NULL: "ultrafast" */
    double key_seconds;           /* from one key frame to the next, at most; 0: any time */
} cr_video_format;

/* The best encoder for what the container holds. CR_ERR_UNSUPPORTED: this FFmpeg has none. Odd
 * sizes are cut by a pixel. */
cr_status cr_video_encoder_open(const struct AVOutputFormat *container,
                                const cr_video_format *format, cr_video_encoder **out,
                                cr_error *err);
void cr_video_encoder_free(cr_video_encoder **e);
const struct AVCodecContext *cr_video_encoder_codec(const cr_video_encoder *e);

/* A frame in YUV 4:2:0 (planar, 8 bits) of the format's size; pts in the format's clock, ascending.
 */
cr_status cr_video_encoder_send(cr_video_encoder *e, const struct AVFrame *f, int64_t pts,
                                cr_error *err);
/* No more frames: what is left comes out. */
cr_status cr_video_encoder_finish(cr_video_encoder *e, cr_error *err);
/* A packet in the encoder's clock, if one is ready. */
cr_status cr_video_encoder_next(cr_video_encoder *e, struct AVPacket *out, bool *ready,
                                cr_error *err);

#endif
