/* Encoders of video, through FFmpeg.
 *
 * Encoding shares the CPU with the detector: at 1280x720 libx264's "ultrafast" takes 4 ms of a core
 * a frame, "superfast" 6 for half of the bytes, its default many times that. The first is the
 * default.
 */
#include "vision/video_encode.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

struct cr_video_encoder {
    AVCodecContext *codec;
    AVFrame *view; /* of the caller's frame, with the encoder's fields */
    AVRational clock;
    int64_t last_pts, last_key;
    double key_seconds;
};

static cr_status failed(int code, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
    return cr_fail(err, CR_ERR_IO, "cannot encode video: %s",
                   av_strerror(code, text, sizeof text) < 0 ? "unknown error" : text);
}

/* The encoders to try, best first, for what the container holds. */
static const char *const *encoders_for(const AVOutputFormat *f)
{
    static const char *const h264[] = {"h264_v4l2m2m", "libx264", "libopenh264", "mpeg4", NULL};
    static const char *const webm[] = {"libvpx", "libvpx-vp9", NULL};
    static const char *const plain[] = {"mpeg4", NULL};
    if (!strcmp(f->name, "webm")) return webm;
    return avformat_query_codec(f, AV_CODEC_ID_H264, FF_COMPLIANCE_NORMAL) == 1 ? h264 : plain;
}

static void set_options(AVCodecContext *c, const char *name, const char *preset, AVDictionary **o)
{
    if (!strcmp(name, "libx264")) {
        av_dict_set(o, "preset", preset ? preset : "ultrafast", 0);
        av_dict_set(o, "crf", "23", 0);
        av_dict_set(o, "x264-params", "weightp=0", 0); /* for fades; costs 3 % of the time */
        c->max_b_frames = 0;                           /* no frame waits for a later one */
    } else if (!strcmp(name, "libvpx")) {
        av_dict_set(o, "deadline", "realtime", 0);
        av_dict_set(o, "cpu-used", "8", 0);
        c->bit_rate = (int64_t)c->width * c->height * 4;
    } else if (!strcmp(name, "mpeg4")) {
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = 4 * FF_QP2LAMBDA;
    } else {
        c->bit_rate = (int64_t)c->width * c->height * 4;
    }
}

/* MPEG-4 part 2 has 16 bits for the clock's denominator. */
static AVRational codec_clock(const char *name, AVRational clock)
{
    AVRational c = clock;
    if (!strcmp(name, "mpeg4") && (c.den > 65535 || c.num > 65535)) c = (AVRational){1, 60000};
    return c;
}

static bool try_encoder(cr_video_encoder *e, const AVOutputFormat *container, const char *name,
                        const cr_video_format *f)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    AVDictionary *options = NULL;
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c) return false;
    c->width = f->width & ~1;
    c->height = f->height & ~1;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = codec_clock(name, e->clock);
    c->framerate = av_d2q(f->rate > 0 ? f->rate : 30, 1 << 16);
    c->gop_size = 250;
    c->thread_count = f->threads;
    c->colorspace = (enum AVColorSpace)f->space;
    c->color_range = (enum AVColorRange)f->range;
    if (f->aspect_num > 0) c->sample_aspect_ratio = (AVRational){f->aspect_num, f->aspect_den};
    if (container->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    set_options(c, name, f->preset, &options);
    const int code = avcodec_open2(c, codec, &options);
    av_dict_free(&options);
    if (code < 0) {
        avcodec_free_context(&c);
        return false;
    }
    e->codec = c;
    return true;
}

static cr_status open_any(cr_video_encoder *e, const AVOutputFormat *container,
                          const cr_video_format *f, cr_error *err)
{
    const char *const *names = encoders_for(container);
    CR_CHECK(f->width > 1 && f->height > 1, err, CR_ERR_ARGUMENT,
             "video of %dx%d pixels cannot be written", f->width, f->height);
    for (int i = 0; names[i] && !e->codec; i++) try_encoder(e, container, names[i], f);
    CR_CHECK(e->codec, err, CR_ERR_UNSUPPORTED, "this FFmpeg has no encoder for %s (tried %s, ...)",
             container->name, names[0]);
    return CR_OK;
}

cr_status cr_video_encoder_open(const AVOutputFormat *container, const cr_video_format *f,
                                cr_video_encoder **out, cr_error *err)
{
    *out = NULL;
    cr_video_encoder *e = cr_calloc(1, sizeof *e);
    if (!e) return CR_NOMEM(err);
    e->view = av_frame_alloc();
    e->clock = (AVRational){f->clock_num, f->clock_den};
    e->last_pts = e->last_key = INT64_MIN;
    e->key_seconds = f->key_seconds;
    const cr_status st = e->view ? open_any(e, container, f, err) : CR_NOMEM(err);
    if (st != CR_OK)
        cr_video_encoder_free(&e);
    else
        *out = e;
    return st;
}

void cr_video_encoder_free(cr_video_encoder **ep)
{
    if (!ep || !*ep) return;
    avcodec_free_context(&(*ep)->codec);
    av_frame_free(&(*ep)->view);
    cr_free(*ep);
    *ep = NULL;
}

const AVCodecContext *cr_video_encoder_codec(const cr_video_encoder *e)
{
    return e->codec;
}

static bool key_is_due(const cr_video_encoder *e, int64_t t)
{
    if (e->key_seconds <= 0) return false;
    return e->last_key == INT64_MIN ||
           (double)(t - e->last_key) * av_q2d(e->codec->time_base) >= e->key_seconds;
}

cr_status cr_video_encoder_send(cr_video_encoder *e, const AVFrame *f, int64_t pts, cr_error *err)
{
    int64_t t = av_rescale_q(pts, e->clock, e->codec->time_base);
    if (e->last_pts != INT64_MIN && t <= e->last_pts) t = e->last_pts + 1;
    int code = av_frame_ref(e->view, f);
    if (code < 0) return failed(code, err);
    e->view->width = e->codec->width; /* odd sizes lose a row or column */
    e->view->height = e->codec->height;
    e->view->pts = e->last_pts = t;
    const bool key = key_is_due(e, t);
    if (key) e->last_key = t;
    e->view->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    e->view->key_frame = 0;
    code = avcodec_send_frame(e->codec, e->view);
    av_frame_unref(e->view);
    return code < 0 ? failed(code, err) : CR_OK;
}

cr_status cr_video_encoder_finish(cr_video_encoder *e, cr_error *err)
{
    const int code = avcodec_send_frame(e->codec, NULL);
    return code < 0 && code != AVERROR_EOF ? failed(code, err) : CR_OK;
}

cr_status cr_video_encoder_next(cr_video_encoder *e, AVPacket *p, bool *ready, cr_error *err)
{
    const int code = avcodec_receive_packet(e->codec, p);
    *ready = code >= 0;
    return code >= 0 || code == AVERROR(EAGAIN) || code == AVERROR_EOF ? CR_OK : failed(code, err);
}
