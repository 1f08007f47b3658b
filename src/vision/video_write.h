/* Writing video: H.264 where FFmpeg has an encoder for it (else MPEG-4 part 2; VP8 into .webm), the
 * source's sound copied, frames at the source's own times.
 *
 * The file is written under a temporary name and renamed when it is complete. A process that is
 * killed leaves the temporary file and the old one as it was. */
#ifndef CR_VISION_VIDEO_WRITE_H
#define CR_VISION_VIDEO_WRITE_H

#include "vision/video_encode.h"

typedef struct cr_video_writer cr_video_writer;

/* By the ending of a name; NULL: no container has such an ending. */
const struct AVOutputFormat *cr_video_container(const char *path);

/* CR_ERR_ARGUMENT: no container has such an ending. */
cr_status cr_video_writer_open(const char *path, const cr_video_format *format,
                               cr_video_writer **out, cr_error *err);

/* A file for packets of an encoder that outlives it, without sound. */
cr_status cr_video_writer_open_for(const char *path, const cr_video_encoder *encoder,
                                   cr_video_writer **out, cr_error *err);

/* "libx264", "mpeg4", ... */
const char *cr_video_writer_codec(const cr_video_writer *w);
/* False: the container cannot hold the source's sound, which is left out. */
bool cr_video_writer_has_audio(const cr_video_writer *w);

/* A frame in YUV 4:2:0 (planar, 8 bits) of the format's size; pts in the format's clock, ascending.
 */
cr_status cr_video_writer_frame(cr_video_writer *w, const struct AVFrame *f, int64_t pts,
                                cr_error *err);
/* A packet of the encoder that the file was opened for; the first must be a key frame and is the
 * file's time 0. */
cr_status cr_video_writer_packet(cr_video_writer *w, const struct AVPacket *p, cr_error *err);
/* A packet of the source's sound, its times shifted by -`shift` seconds; packets before 0 are left
 * out. */
cr_status cr_video_writer_sound(cr_video_writer *w, struct AVPacket *p, double shift,
                                cr_error *err);

/* Finishes the file and frees *w in any case. */
cr_status cr_video_writer_commit(cr_video_writer **w, cr_error *err);
void cr_video_writer_abort(cr_video_writer **w);

#endif
