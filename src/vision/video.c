/* Video files through FFmpeg.
 *
 * Pixels are those of OpenCV's VideoCapture: its FFmpeg backend converts with swscale at the
 * frame's own size, bicubic flag, by the matrix and range that the frame names (BT.601 where it
 * names none); the same call with RGB24 in place of BGR24 gives the same bytes in the other order
 * (tests/peers/vision_video.py).
 *
 * A source is untrusted: video_source.c limits what it may open, and frames are no larger than any
 * other picture. */
#include "vision/video.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/image_codec.h"
#include "vision/video_hardware.h"
#include "vision/video_source.h"

/* A jump ahead of more than this many seconds goes by key frames. */
#define NEAR_SECONDS 3.0

enum { MOST_BAD_PACKETS = 1000, MOST_SOUND = 4096 };

struct cr_video {
    char *path, label[512]; /* label: without passwords */
    AVFormatContext *file;
    AVCodecContext *decoder;
    AVStream *stream;
    AVPacket *packet;
    AVFrame *frame, *spare;
    cr_frame_converter converter;
    AVStream *sound;
    AVPacket *kept[MOST_SOUND]; /* of the sound, in order */
    int kept_count;
    const atomic_bool *stop;
    bool skipping; /* to `skip_to`, in seconds */
    double skip_to;
    double start, time; /* in the stream's own time; of the last frame, from the start */
    bool draining, has_frame, hardware, optional; /* optional: software will do as well */
    int bad_packets;
    cr_video_info info;
};

bool cr_video_is_name(const char *path)
{
    static const char *const endings[] = {".webm", ".mkv", ".mp4", ".m4v", ".mov", ".avi", ".mpg",
                                          ".mpeg", ".ts",  ".flv", ".ogv", ".wmv", ".ivf", NULL};
    const char *dot = strrchr(path, '.');
    for (int i = 0; dot && endings[i]; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

static const char *reason(int code, char text[AV_ERROR_MAX_STRING_SIZE])
{
    return av_strerror(code, text, AV_ERROR_MAX_STRING_SIZE) < 0 ? "unknown error" : text;
}

static double seconds_of(const cr_video *v, int64_t t)
{
    return (double)t * av_q2d(v->stream->time_base);
}

static int interrupted(void *user)
{
    const cr_video *v = user;
    return v->stop && atomic_load(v->stop);
}

static cr_status open_file(cr_video *v, const cr_video_options *o, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    v->file = avformat_alloc_context();
    if (!v->file) return CR_NOMEM(err);
    v->file->interrupt_callback = (AVIOInterruptCB){interrupted, v};
    CR_TRY(cr_source_open(v->path, o->raw, &v->file, err));
    const int code = avformat_find_stream_info(v->file, NULL);
    CR_CHECK(!interrupted(v), err, CR_ERR_CANCELLED, "cancelled");
    CR_CHECK(code >= 0, err, CR_ERR_FORMAT, "%s: cannot be read as video: %s", v->label,
             reason(code, text));
    return CR_OK;
}

static cr_status open_software(cr_video *v, const AVCodec *codec, int threads, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    v->hardware = false;
    v->decoder = avcodec_alloc_context3(codec);
    if (!v->decoder) return CR_NOMEM(err);
    int code = avcodec_parameters_to_context(v->decoder, v->stream->codecpar);
    v->decoder->max_pixels = (int64_t)CR_IMAGE_MAX_PIXELS;
    v->decoder->thread_count = threads ? threads : 1;
    if (code >= 0) code = avcodec_open2(v->decoder, codec, NULL);
    CR_CHECK(code >= 0, err, CR_ERR_UNSUPPORTED, "%s: %s: %s", v->label, codec->name,
             reason(code, text));
    return CR_OK;
}

static cr_status open_hardware(cr_video *v, const AVCodec *codec, const char *which, cr_error *err)
{
    v->optional = !strcmp(which, "auto");
    v->decoder = cr_video_hardware_open(v->optional ? NULL : which, codec, v->stream->codecpar,
                                        (int64_t)CR_IMAGE_MAX_PIXELS);
    v->hardware = v->decoder;
    CR_CHECK(v->decoder || v->optional, err, CR_ERR_UNSUPPORTED,
             "%s: this machine cannot decode %s by %s", v->label,
             avcodec_get_name(v->stream->codecpar->codec_id), which);
    return CR_OK;
}

static cr_status open_decoder(cr_video *v, const cr_video_options *o, cr_error *err)
{
    const AVCodec *codec = NULL;
    const int index = av_find_best_stream(v->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    CR_CHECK(index >= 0 && codec, err, CR_ERR_FORMAT, "%s: has no video stream that can be decoded",
             v->label);
    v->stream = v->file->streams[index];
    const AVCodecParameters *p = v->stream->codecpar;
    CR_TRY(cr_image_check_size(v->label, p->width < 0 ? 0 : (uint64_t)p->width,
                               p->height < 0 ? 0 : (uint64_t)p->height, err));
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    v->spare = av_frame_alloc();
    if (!v->packet || !v->frame || !v->spare) return CR_NOMEM(err);
    if (o->decoder && strcmp(o->decoder, "software"))
        CR_TRY(open_hardware(v, codec, o->decoder, err));
    if (!v->decoder) CR_TRY(open_software(v, codec, o->threads, err));
    const int sound =
        o->audio ? av_find_best_stream(v->file, AVMEDIA_TYPE_AUDIO, -1, index, NULL, 0) : -1;
    if (sound >= 0) v->sound = v->file->streams[sound];
    for (int i = 0; i < (int)v->file->nb_streams; i++)
        v->file->streams[i]->discard = i == index || i == sound ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    return CR_OK;
}

static int seek(cr_video *v, double seconds)
{
    const int64_t t = (int64_t)floor((v->start + seconds) / av_q2d(v->stream->time_base));
    const int code = av_seek_frame(v->file, v->stream->index, t, AVSEEK_FLAG_BACKWARD);
    avcodec_flush_buffers(v->decoder);
    v->draining = v->has_frame = false;
    return code;
}

/* The end of the last packet, where the container does not say how long it is. */
static double read_through(cr_video *v)
{
    double end = 0;
    while (av_read_frame(v->file, v->packet) >= 0) {
        if (v->packet->stream_index == v->stream->index && v->packet->pts != AV_NOPTS_VALUE)
            end = fmax(end, seconds_of(v, v->packet->pts + v->packet->duration) - v->start);
        av_packet_unref(v->packet);
    }
    seek(v, 0);
    return end;
}

static void describe(cr_video *v, bool file)
{
    const AVRational rate = v->stream->avg_frame_rate;
    v->start = v->stream->start_time == AV_NOPTS_VALUE ? 0 : seconds_of(v, v->stream->start_time);
    v->info.width = v->stream->codecpar->width;
    v->info.height = v->stream->codecpar->height;
    v->info.rate = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    if (v->stream->duration > 0)
        v->info.seconds = seconds_of(v, v->stream->duration);
    else if (v->file->duration > 0)
        v->info.seconds = (double)v->file->duration / AV_TIME_BASE;
    else if (file)
        v->info.seconds = read_through(v);
}

cr_status cr_video_open(const char *path, cr_video **out, cr_error *err)
{
    const cr_video_options o = {0};
    return cr_video_open_with(path, &o, out, err);
}

cr_status cr_video_open_with(const char *name, const cr_video_options *o, cr_video **out,
                             cr_error *err)
{
    *out = NULL;
    cr_video *v = cr_calloc(1, sizeof *v);
    if (!v) return CR_NOMEM(err);
    v->path = cr_strdup(name);
    v->stop = o->stop;
    cr_source_label(name, v->label, sizeof v->label);
    const cr_source_kind kind = cr_source_kind_of(name);
    cr_status st = v->path ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK && !o->any_source && kind > CR_SOURCE_FILE)
        st = cr_fail(err, CR_ERR_ARGUMENT, "%s: not a video file", v->label);
    if (st == CR_OK) st = open_file(v, o, err);
    if (st == CR_OK) st = open_decoder(v, o, err);
    if (st != CR_OK) {
        cr_video_close(&v);
        return st;
    }
    describe(v, kind <= CR_SOURCE_FILE);
    *out = v;
    return CR_OK;
}

void cr_video_close(cr_video **vp)
{
    if (!vp || !*vp) return;
    cr_video *v = *vp;
    cr_frame_converter_free(&v->converter);
    for (int i = 0; i < v->kept_count; i++) av_packet_free(&v->kept[i]);
    av_frame_free(&v->frame);
    av_frame_free(&v->spare);
    av_packet_free(&v->packet);
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->file);
    cr_free(v->path);
    cr_free(v);
    *vp = NULL;
}

cr_video_info cr_video_get_info(const cr_video *v)
{
    return v->info;
}

double cr_video_time(const cr_video *v)
{
    return v->time;
}

/* ---- decoding ---- */

static void keep_sound(cr_video *v)
{
    if (!v->sound || v->packet->stream_index != v->sound->index || v->kept_count == MOST_SOUND)
        return;
    AVPacket *p = av_packet_clone(v->packet);
    if (p) v->kept[v->kept_count++] = p;
}

int cr_video_take_audio(cr_video *v, AVPacket **packets, int most)
{
    const int n = v->kept_count < most ? v->kept_count : most;
    memcpy(packets, v->kept, (size_t)n * sizeof *packets);
    memmove(v->kept, v->kept + n, (size_t)(v->kept_count - n) * sizeof *packets);
    v->kept_count -= n;
    return n;
}

const AVStream *cr_video_audio(const cr_video *v)
{
    return v->sound;
}
const AVStream *cr_video_stream(const cr_video *v)
{
    return v->stream;
}

/* Gives the decoder one packet of the stream, or tells it that there are no more. */
static cr_status feed(cr_video *v, cr_error *err)
{
    int code;
    while ((code = av_read_frame(v->file, v->packet)) >= 0) {
        if (v->packet->stream_index == v->stream->index) break;
        keep_sound(v);
        av_packet_unref(v->packet);
    }
    CR_CHECK(!interrupted(v), err, CR_ERR_CANCELLED, "cancelled");
    if (code < 0) { /* the end, or a file cut short: what is there is given */
        v->draining = true;
        avcodec_send_packet(v->decoder, NULL);
        return CR_OK;
    }
    code = avcodec_send_packet(v->decoder, v->packet);
    av_packet_unref(v->packet);
    if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
    v->bad_packets += code < 0;
    CR_CHECK(v->bad_packets <= MOST_BAD_PACKETS, err, CR_ERR_FORMAT,
             "%s: more than %d damaged parts", v->label, MOST_BAD_PACKETS);
    return CR_OK;
}

/* Hardware that has not given a single frame, or an error: from the start again without it. */
static cr_status leave_hardware(cr_video *v, cr_error *err)
{
    const AVCodec *codec = avcodec_find_decoder(v->stream->codecpar->codec_id);
    avcodec_free_context(&v->decoder);
    CR_CHECK(codec, err, CR_ERR_UNSUPPORTED, "%s: no decoder but the hardware's", v->label);
    CR_TRY(open_software(v, codec, 0, err));
    v->bad_packets = 0;
    seek(v, v->skipping ? v->skip_to : 0);
    return CR_OK;
}

static cr_status receive(cr_video *v, bool *more, cr_error *err)
{
    for (;;) {
        const int code = avcodec_receive_frame(v->decoder, v->frame);
        if (code >= 0) return cr_video_hardware_fetch(v->frame, v->spare, v->label, err);
        if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
        if (code == AVERROR_EOF || v->draining) {
            *more = false;
            return CR_OK;
        }
        CR_TRY(feed(v, err));
    }
}

/* The next decoded frame into v->frame. */
static cr_status decode(cr_video *v, bool *more, cr_error *err)
{
    *more = true;
    cr_status st = receive(v, more, err);
    if (v->hardware && v->optional && !v->has_frame && (st != CR_OK || !*more) && !interrupted(v)) {
        CR_TRY(leave_hardware(v, err));
        *more = true;
        st = receive(v, more, err);
    }
    if (st != CR_OK || !*more) return st;
    const int64_t t = v->frame->best_effort_timestamp;
    if (t != AV_NOPTS_VALUE)
        v->time = seconds_of(v, t) - v->start;
    else if (v->has_frame && v->info.rate > 0)
        v->time += 1 / v->info.rate;
    v->has_frame = true;
    return CR_OK;
}

void cr_frame_converter_free(cr_frame_converter *c)
{
    sws_freeContext(c->convert);
    av_freep(&c->rows);
    *c = (cr_frame_converter){0};
}

/* swscale's loops write whole vectors: rows need room behind them. */
static cr_status make_rows(cr_frame_converter *c, int width, int height, cr_error *err)
{
    const int stride = (width * 3 + 63) / 64 * 64 + 64;
    if (c->rows && c->stride == stride && c->height == height) return CR_OK;
    av_freep(&c->rows);
    c->rows = av_malloc((size_t)stride * (size_t)height);
    if (!c->rows) return CR_NOMEM(err);
    c->stride = stride;
    c->height = height;
    return CR_OK;
}

/* Builds tables: only when something changed. */
static void set_colours(cr_frame_converter *c, const AVFrame *f)
{
    const cr_frame_look now = {f->width, f->height, f->format, (int)f->colorspace,
                               f->color_range == AVCOL_RANGE_JPEG};
    if (!memcmp(&c->look, &now, sizeof now)) return;
    const int *const matrix = sws_getCoefficients(now.space); /* unknown: BT.601 */
    sws_setColorspaceDetails(c->convert, matrix, now.full_range, matrix, 0, 0, 1 << 16, 1 << 16);
    c->look = now;
}

cr_status cr_frame_to_picture(cr_frame_converter *c, const AVFrame *f, const char *name,
                              cr_image *out, cr_error *err)
{
    CR_TRY(cr_image_check_size(name, f->width < 0 ? 0 : (uint64_t)f->width,
                               f->height < 0 ? 0 : (uint64_t)f->height, err));
    c->convert =
        sws_getCachedContext(c->convert, f->width, f->height, (enum AVPixelFormat)f->format,
                             f->width, f->height, AV_PIX_FMT_RGB24, SWS_BICUBIC, NULL, NULL, NULL);
    CR_CHECK(c->convert, err, CR_ERR_UNSUPPORTED, "%s: its pixels cannot be converted to RGB",
             name);
    set_colours(c, f);
    CR_TRY(make_rows(c, f->width, f->height, err));
    if (out->width != f->width || out->height != f->height) {
        cr_image_free(out);
        CR_TRY(cr_image_alloc(f->width, f->height, out, err));
    }
    const size_t row = (size_t)f->width * 3;
    const bool direct = f->width % 64 == 0; /* whole vectors end with the row */
    uint8_t *plane[4] = {direct ? out->rgb : c->rows};
    const int strides[4] = {direct ? (int)row : c->stride};
    sws_scale(c->convert, (const uint8_t *const *)f->data, f->linesize, 0, f->height, plane,
              strides);
    if (direct) return CR_OK;
    for (int y = 0; y < f->height; y++)
        memcpy(out->rgb + (size_t)y * row, c->rows + (size_t)y * (size_t)c->stride, row);
    return CR_OK;
}

static cr_status to_picture(cr_video *v, cr_image *out, cr_error *err)
{
    const cr_status st = cr_frame_to_picture(&v->converter, v->frame, v->label, out, err);
    if (st != CR_OK) cr_image_free(out);
    return st;
}

/* Half a frame's time: timestamps are rounded to the container's clock. */
static double tolerance(const cr_video *v)
{
    return v->info.rate > 0 ? .5 / v->info.rate : 1e-3;
}

cr_status cr_video_next_frame(cr_video *v, AVFrame *out, bool *more, cr_error *err)
{
    do CR_TRY(decode(v, more, err));
    while (*more && v->skipping && v->time < v->skip_to - tolerance(v));
    v->skipping = false;
    if (*more) av_frame_move_ref(out, v->frame);
    return CR_OK;
}

cr_status cr_video_skip_to(cr_video *v, double seconds, cr_error *err)
{
    CR_CHECK(seconds >= 0, err, CR_ERR_ARGUMENT, "%s: no time before the start", v->label);
    if (seconds > 0) seek(v, seconds);
    v->skipping = seconds > 0;
    v->skip_to = seconds;
    return CR_OK;
}

cr_status cr_video_next(cr_video *v, cr_image *out, bool *more, cr_error *err)
{
    *out = (cr_image){0};
    CR_TRY(decode(v, more, err));
    return *more ? to_picture(v, out, err) : CR_OK;
}

cr_status cr_video_frame_at(cr_video *v, double seconds, cr_image *out, cr_error *err)
{
    const double least = seconds - tolerance(v);
    bool more = true, any = false;
    AVFrame *last = NULL;
    cr_status st = CR_OK;
    *out = (cr_image){0};
    if (!v->has_frame || v->time >= least || v->time < seconds - NEAR_SECONDS) seek(v, seconds);
    last = av_frame_alloc();
    if (!last) return CR_NOMEM(err);
    while (st == CR_OK && more) {
        st = decode(v, &more, err);
        if (st != CR_OK || !more) break;
        any = true;
        if (v->time >= least) break;
        av_frame_unref(last);
        av_frame_ref(last, v->frame);
    }
    if (st == CR_OK && !more && any) { /* behind the last one */
        av_frame_unref(v->frame);
        av_frame_move_ref(v->frame, last);
    }
    av_frame_free(&last);
    if (st == CR_OK && !any)
        st = cr_fail(err, CR_ERR_FORMAT, "%s: no picture can be decoded at %.3f s", v->label,
                     seconds);
    return st == CR_OK ? to_picture(v, out, err) : st;
}
