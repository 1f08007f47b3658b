/* What a source of frames is, by its name, and how FFmpeg opens it.
 *
 *     street.webm                  file
 *     0, /dev/video0               camera (Video4Linux)
 *     rtsp://..., http://..., udp://..., tcp://..., srt://...     stream
 *     -                            standard input: a container, MJPEG, or raw frames
 *
 * Untrusted all of them. A file may open no other file and no address (demuxers of playlists are
 * left out); a stream may open addresses but no file. */
#ifndef CR_VISION_VIDEO_SOURCE_H
#define CR_VISION_VIDEO_SOURCE_H

#include "crayon/status.h"

struct AVFormatContext;

typedef enum cr_source_kind {
    CR_SOURCE_NONE, /* none of these: pictures, perhaps */
    CR_SOURCE_FILE,
    CR_SOURCE_CAMERA,
    CR_SOURCE_STREAM,
    CR_SOURCE_STDIN
} cr_source_kind;

cr_source_kind cr_source_kind_of(const char *name);

/* The password of an address becomes "***": for messages. */
void cr_source_label(const char *name, char *out, size_t size);

/* Opens it into *file, which the caller closes with avformat_close_input; `raw` is NULL or
 * "1280x720[:FORMAT][@RATE]" for raw frames (FORMAT as FFmpeg names it, yuv420p; RATE 30). *file
 * may have been allocated before, with an interrupt callback. */
cr_status cr_source_open(const char *name, const char *raw, struct AVFormatContext **file,
                         cr_error *err);

#endif
