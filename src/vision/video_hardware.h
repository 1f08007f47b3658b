/* Decoding by hardware, where the machine has it: VA-API, NVDEC, VideoToolbox and the like through
 * FFmpeg's devices, V4L2 M2M (the Raspberry Pi's) through its own decoders. */
#ifndef CR_VISION_VIDEO_HARDWARE_H
#define CR_VISION_VIDEO_HARDWARE_H

#include <stdint.h>

#include "crayon/status.h"

struct AVCodec;
struct AVCodecContext;
struct AVCodecParameters;
struct AVFrame;

/* Opens a decoder for the stream on `which` (NULL: on whatever is there); NULL: none can be had.
 * The caller frees it (avcodec_free_context). It may still decide for software, frame by frame. */
struct AVCodecContext *cr_video_hardware_open(const char *which, const struct AVCodec *codec,
                                              const struct AVCodecParameters *stream,
                                              int64_t max_pixels);
/* The frame's pixels into memory, if they are elsewhere; `spare` is empty before and after. */
cr_status cr_video_hardware_fetch(struct AVFrame *frame, struct AVFrame *spare, const char *label,
                                  cr_error *err);

#endif
