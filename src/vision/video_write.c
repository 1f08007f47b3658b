/* Video files out, through FFmpeg. */
#include "vision/video_write.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
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
    cr_video_encoder *own;         /* NULL: packets come from the caller's */
    const AVCodecContext *encoder; /* of either */
    AVStream *video, *sound;
    const AVStream *source;
    AVPacket *packet;
    int64_t first_dts; /* of the caller's packets */
};

static cr_status failed(const cr_video_writer *w, int code, const char *what, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
    return cr_fail(err, CR_ERR_IO, "%s: cannot %s: %s", w->path, what,
                   av_strerror(code, text, sizeof text) < 0 ? "unknown error" : text);
}

static cr_status add_video(cr_video_writer *w, cr_error *err)
{
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

/* `f`: with an encoder of its own; NULL: w->encoder is the caller's. */
static cr_status open_all(cr_video_writer *w, const cr_video_format *f, cr_error *err)
{
    const AVOutputFormat *container = cr_video_container(w->path);
    CR_CHECK(container, err, CR_ERR_ARGUMENT, "%s: no video container has such an ending", w->path);
    CR_TRY(cr_outfile_open(w->path, &w->target, err));
    const char *name = cr_outfile_temp_path(w->target);
    int code = avformat_alloc_output_context2(&w->file, container, NULL, name);
    if (code < 0) return failed(w, code, "write video", err);
    if (f) {
        CR_TRY(cr_video_encoder_open(container, f, &w->own, err));
        w->encoder = cr_video_encoder_codec(w->own);
    }
    CR_TRY(add_video(w, err));
    CR_TRY(add_sound(w, f ? f->audio : NULL, err));
    code = avio_open(&w->file->pb, name, AVIO_FLAG_WRITE);
    if (code < 0) return failed(w, code, "write", err);
    code = avformat_write_header(w->file, NULL);
    return code < 0 ? failed(w, code, "write", err) : CR_OK;
}

static cr_status open_writer(const char *path, const cr_video_format *f,
                             const AVCodecContext *encoder, cr_video_writer **out, cr_error *err)
{
    *out = NULL;
    cr_video_writer *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    w->path = cr_strdup(path);
    w->packet = av_packet_alloc();
    w->encoder = encoder;
    w->first_dts = INT64_MIN;
    cr_status st = w->path && w->packet ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = open_all(w, f, err);
    if (st != CR_OK) {
        cr_video_writer_abort(&w);
        return st;
    }
    *out = w;
    return CR_OK;
}

const AVOutputFormat *cr_video_container(const char *path)
{
    return av_guess_format(NULL, path, NULL);
}

cr_status cr_video_writer_open(const char *path, const cr_video_format *f, cr_video_writer **out,
                               cr_error *err)
{
    return open_writer(path, f, NULL, out, err);
}

cr_status cr_video_writer_open_for(const char *path, const cr_video_encoder *e,
                                   cr_video_writer **out, cr_error *err)
{
    return open_writer(path, NULL, cr_video_encoder_codec(e), out, err);
}

const char *cr_video_writer_codec(const cr_video_writer *w)
{
    return w->encoder->codec->name;
}

bool cr_video_writer_has_audio(const cr_video_writer *w)
{
    return w->sound;
}

/* w->packet, in the encoder's clock. */
static cr_status write_packet(cr_video_writer *w, cr_error *err)
{
    av_packet_rescale_ts(w->packet, w->encoder->time_base, w->video->time_base);
    w->packet->stream_index = w->video->index;
    const int code = av_interleaved_write_frame(w->file, w->packet);
    return code < 0 ? failed(w, code, "write", err) : CR_OK;
}

/* Packets that the encoder has ready go into the file. */
static cr_status drain(cr_video_writer *w, cr_error *err)
{
    for (;;) {
        bool ready;
        CR_TRY(cr_video_encoder_next(w->own, w->packet, &ready, err));
        if (!ready) return CR_OK;
        CR_TRY(write_packet(w, err));
    }
}

cr_status cr_video_writer_frame(cr_video_writer *w, const AVFrame *f, int64_t pts, cr_error *err)
{
    CR_TRY(cr_video_encoder_send(w->own, f, pts, err));
    return drain(w, err);
}

cr_status cr_video_writer_packet(cr_video_writer *w, const AVPacket *p, cr_error *err)
{
    if (av_packet_ref(w->packet, p) < 0) return CR_NOMEM(err);
    if (w->first_dts == INT64_MIN) w->first_dts = p->dts;
    w->packet->pts -= w->first_dts;
    w->packet->dts -= w->first_dts;
    return write_packet(w, err);
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
    cr_video_encoder_free(&w->own);
    av_packet_free(&w->packet);
    cr_outfile_abort(&w->target);
    cr_free(w->path);
    cr_free(w);
}

static cr_status finish(cr_video_writer *w, cr_error *err)
{
    if (w->own) {
        CR_TRY(cr_video_encoder_finish(w->own, err));
        CR_TRY(drain(w, err));
    }
    int code = av_write_trailer(w->file);
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
