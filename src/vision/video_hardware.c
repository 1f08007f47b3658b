#include "vision/video_hardware.h"

#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* Devices that cost nothing to ask for where they are missing; Vulkan and OpenCL start a driver. */
static const char *const devices[] = {"vaapi", "cuda", "videotoolbox", "d3d11va", "drm", NULL};
static const char v4l2[] = "v4l2m2m";

/* The device's own format if it is offered: it is not for a stream that the device cannot decode,
 * and then the last of the list is software's. */
static enum AVPixelFormat choose(AVCodecContext *c, const enum AVPixelFormat *offered)
{
    const enum AVPixelFormat wanted = (enum AVPixelFormat)(intptr_t)c->opaque;
    const enum AVPixelFormat *f = offered;
    for (; *f != AV_PIX_FMT_NONE; f++)
        if (*f == wanted) return *f;
    return avcodec_default_get_format(c, offered);
}

static AVCodecContext *context_for(const AVCodec *codec, const AVCodecParameters *stream,
                                   int64_t max_pixels)
{
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c) return NULL;
    if (avcodec_parameters_to_context(c, stream) < 0) avcodec_free_context(&c);
    if (!c) return NULL;
    c->max_pixels = max_pixels;
    c->thread_count = 1;
    return c;
}

static AVCodecContext *opened(AVCodecContext *c, const AVCodec *codec)
{
    if (c && avcodec_open2(c, codec, NULL) < 0) avcodec_free_context(&c);
    return c;
}

static AVCodecContext *open_on_device(const AVCodec *codec, enum AVHWDeviceType type,
                                      const AVCodecParameters *stream, int64_t max_pixels)
{
    const AVCodecHWConfig *config;
    for (int i = 0; (config = avcodec_get_hw_config(codec, i)) != NULL; i++) {
        AVBufferRef *device = NULL;
        if (config->device_type != type ||
            !(config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) ||
            av_hwdevice_ctx_create(&device, type, NULL, NULL, 0) < 0)
            continue;
        AVCodecContext *c = context_for(codec, stream, max_pixels);
        if (!c) {
            av_buffer_unref(&device);
            return NULL;
        }
        c->hw_device_ctx = device;
        c->opaque = (void *)(intptr_t)config->pix_fmt;
        c->get_format = choose;
        return opened(c, codec);
    }
    return NULL;
}

static AVCodecContext *open_v4l2(const AVCodecParameters *stream, int64_t max_pixels)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", avcodec_get_name(stream->codec_id), v4l2);
    const AVCodec *codec = avcodec_find_decoder_by_name(name);
    return codec ? opened(context_for(codec, stream, max_pixels), codec) : NULL;
}

AVCodecContext *cr_video_hardware_open(const char *which, const AVCodec *codec,
                                       const AVCodecParameters *stream, int64_t max_pixels)
{
    AVCodecContext *c = NULL;
    for (int i = 0; devices[i] && !c; i++)
        if (!which || !strcmp(which, devices[i]))
            c = open_on_device(codec, av_hwdevice_find_type_by_name(devices[i]), stream,
                               max_pixels);
    if (!c && (!which || !strcmp(which, v4l2))) c = open_v4l2(stream, max_pixels);
    return c;
}

cr_status cr_video_hardware_fetch(AVFrame *frame, AVFrame *spare, const char *label, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (!frame->hw_frames_ctx) return CR_OK;
    av_frame_unref(spare);
    int code = av_hwframe_transfer_data(spare, frame, 0);
    if (code >= 0) code = av_frame_copy_props(spare, frame);
    CR_CHECK(code >= 0, err, CR_ERR_IO, "%s: frames cannot be had from the decoder's memory: %s",
             label, av_strerror(code, text, sizeof text) < 0 ? "unknown error" : text);
    av_frame_unref(frame);
    av_frame_move_ref(frame, spare);
    return CR_OK;
}
