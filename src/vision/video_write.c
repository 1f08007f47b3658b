/* Video files out, through FFmpeg.
 *
 * Encoding shares the CPU with the detector: at 1280x720 libx264's "ultrafast" takes 4 ms of a core a frame,
 * "superfast" 6 for half of the bytes, its default many times that. The first is the default.
 */
#include "vision/video_write.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

struct cr_video_writer {
    char *path;
    cr_outfile *target; /* holds the temporary name */
    AVFormatContext *file;
    AVCodecContext *encoder;
    AVStream *video, *sound;
    const AVStream *source;
    AVFrame *view; /* of the caller's frame, with the encoder's fields */
    AVPacket *packet;
    AVRational clock;
    int64_t last_pts;
    bool begun; /* the header is written */
};

static cr_status failed(const cr_video_writer *w, int code, const char *what, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
    return cr_fail(err, CR_ERR_IO, "%s: cannot %s: %s", w->path, what,
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

static void set_options(AVCodecContext *c, const char *name, const char *preset,
                        AVDictionary **o)
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

static bool try_encoder(cr_video_writer *w, const char *name, const cr_video_format *f)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    AVDictionary *options = NULL;
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c) return false;
    c->width = f->width & ~1;
    c->height = f->height & ~1;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = codec_clock(name, w->clock);
    c->framerate = av_d2q(f->rate > 0 ? f->rate : 30, 1 << 16);
    c->gop_size = 250;
    c->thread_count = f->threads;
    c->colorspace = (enum AVColorSpace)f->space;
    c->color_range = (enum AVColorRange)f->range;
    if (f->aspect_num > 0) c->sample_aspect_ratio = (AVRational){f->aspect_num, f->aspect_den};
    if (w->file->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    set_options(c, name, f->preset, &options);
    const int code = avcodec_open2(c, codec, &options);
    av_dict_free(&options);
    if (code < 0) {
        avcodec_free_context(&c);
        return false;
    }
    w->encoder = c;
    return true;
}

static cr_status open_encoder(cr_video_writer *w, const cr_video_format *f, cr_error *err)
{
    const char *const *names = encoders_for(w->file->oformat);
    CR_CHECK(f->width > 1 && f->height > 1, err, CR_ERR_ARGUMENT,
             "%s: video of %dx%d pixels cannot be written", w->path, f->width, f->height);
    for (int i = 0; names[i] && !w->encoder; i++) try_encoder(w, names[i], f);
    CR_CHECK(w->encoder, err, CR_ERR_UNSUPPORTED,
             "%s: this FFmpeg has no encoder for it (tried %s, ...)", w->path, names[0]);
    w->video = avformat_new_stream(w->file, NULL);
    if (!w->video) return CR_NOMEM(err);
    w->video->time_base = w->encoder->time_base;
    w->video->avg_frame_rate = w->encoder->framerate;
    w->video->sample_aspect_ratio = w->encoder->sample_aspect_ratio;
    const int code = avcodec_parameters_from_context(w->video->codecpar, w->encoder);
    return code < 0 ? failed(w, code, "write video", err) : CR_OK;
}

static cr_status add_sound(cr_video_writer *w, const AVStream *audio, cr_error *err)
{
    if (!audio || avformat_query_codec(w->file->oformat, audio->codecpar->codec_id,
                                       FF_COMPLIANCE_NORMAL) != 1)
        return CR_OK;
    w->sound = avformat_new_stream(w->file, NULL);
    if (!w->sound) return CR_NOMEM(err);
    w->source = audio;
    w->sound->time_base = audio->time_base;
    const int code = avcodec_parameters_copy(w->sound->codecpar, audio->codecpar);
    w->sound->codecpar->codec_tag = 0; /* containers have numbers of their own */
    return code < 0 ? failed(w, code, "copy the sound", err) : CR_OK;
}

static cr_status open_all(cr_video_writer *w, const cr_video_format *f, cr_error *err)
{
    const AVOutputFormat *container = av_guess_format(NULL, w->path, NULL);
    CR_CHECK(container, err, CR_ERR_ARGUMENT, "%s: no video container has such an ending", w->path);
    CR_TRY(cr_outfile_open(w->path, &w->target, err));
    const char *name = cr_outfile_temp_path(w->target);
    int code = avformat_alloc_output_context2(&w->file, container, NULL, name);
    if (code < 0) return failed(w, code, "write video", err);
    CR_TRY(open_encoder(w, f, err));
    CR_TRY(add_sound(w, f->audio, err));
    code = avio_open(&w->file->pb, name, AVIO_FLAG_WRITE);
    if (code < 0) return failed(w, code, "write", err);
    code = avformat_write_header(w->file, NULL);
    if (code < 0) return failed(w, code, "write", err);
    w->begun = true;
    return CR_OK;
}

cr_status cr_video_writer_open(const char *path, const cr_video_format *f, cr_video_writer **out,
                               cr_error *err)
{
    *out = NULL;
    cr_video_writer *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    w->path = cr_strdup(path);
    w->view = av_frame_alloc();
    w->packet = av_packet_alloc();
    w->clock = (AVRational){f->clock_num, f->clock_den};
    w->last_pts = INT64_MIN;
    cr_status st = w->path && w->view && w->packet ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = open_all(w, f, err);
    if (st != CR_OK) {
        cr_video_writer_abort(&w);
        return st;
    }
    *out = w;
    return CR_OK;
}

const char *cr_video_writer_codec(const cr_video_writer *w)
{
    return w->encoder->codec->name;
}

bool cr_video_writer_has_audio(const cr_video_writer *w)
{
    return w->sound;
}

/* Packets that the encoder has ready go into the file. */
static cr_status drain(cr_video_writer *w, cr_error *err)
{
    for (;;) {
        int code = avcodec_receive_packet(w->encoder, w->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return CR_OK;
        if (code < 0) return failed(w, code, "encode", err);
        av_packet_rescale_ts(w->packet, w->encoder->time_base, w->video->time_base);
        w->packet->stream_index = w->video->index;
        code = av_interleaved_write_frame(w->file, w->packet);
        if (code < 0) return failed(w, code, "write", err);
    }
}

cr_status cr_video_writer_frame(cr_video_writer *w, const AVFrame *f, int64_t pts, cr_error *err)
{
    int64_t t = av_rescale_q(pts, w->clock, w->encoder->time_base);
    if (w->last_pts != INT64_MIN && t <= w->last_pts) t = w->last_pts + 1;
    int code = av_frame_ref(w->view, f);
    if (code < 0) return failed(w, code, "encode", err);
    w->view->width = w->encoder->width; /* odd sizes lose a row or column */
    w->view->height = w->encoder->height;
    w->view->pts = w->last_pts = t;
    w->view->pict_type = AV_PICTURE_TYPE_NONE;
    w->view->key_frame = 0;
    code = avcodec_send_frame(w->encoder, w->view);
    av_frame_unref(w->view);
    if (code < 0) return failed(w, code, "encode", err);
    return drain(w, err);
}

cr_status cr_video_writer_sound(cr_video_writer *w, AVPacket *p, double shift, cr_error *err)
{
    if (!w->sound) return CR_OK;
    const int64_t earlier = (int64_t)(shift / av_q2d(w->source->time_base));
    if (p->pts != AV_NOPTS_VALUE) p->pts -= earlier;
    if (p->dts != AV_NOPTS_VALUE) p->dts -= earlier;
    if (p->pts != AV_NOPTS_VALUE && p->pts < 0) return CR_OK;
    av_packet_rescale_ts(p, w->source->time_base, w->sound->time_base);
    p->stream_index = w->sound->index;
    p->pos = -1;
    const int code = av_interleaved_write_frame(w->file, p);
    return code < 0 ? failed(w, code, "write the sound", err) : CR_OK;
}

static void release(cr_video_writer *w)
{
    if (w->file) avio_closep(&w->file->pb);
    avformat_free_context(w->file);
    avcodec_free_context(&w->encoder);
    av_frame_free(&w->view);
    av_packet_free(&w->packet);
    cr_outfile_abort(&w->target);
    cr_free(w->path);
    cr_free(w);
}

static cr_status finish(cr_video_writer *w, cr_error *err)
{
    int code = avcodec_send_frame(w->encoder, NULL);
    if (code < 0 && code != AVERROR_EOF) return failed(w, code, "encode", err);
    CR_TRY(drain(w, err));
    code = av_write_trailer(w->file);
    if (code < 0) return failed(w, code, "write", err);
    code = avio_closep(&w->file->pb);
    if (code < 0) return failed(w, code, "write", err);
    return cr_outfile_commit(&w->target, err);
}

cr_status cr_video_writer_commit(cr_video_writer **wp, cr_error *err)
{
    cr_video_writer *w = *wp;
    *wp = NULL;
    const cr_status st = finish(w, err);
    release(w);
    return st;
}

void cr_video_writer_abort(cr_video_writer **wp)
{
    if (!*wp) return;
    release(*wp);
    *wp = NULL;
}
