/* Video files through FFmpeg.
 *
 * Pixels are those of OpenCV's VideoCapture: its FFmpeg backend converts with swscale at the
 * frame's own size, bicubic flag, by the matrix and range that the frame names (BT.601 where it
 * names none); the same call with RGB24 in place of BGR24 gives the same bytes in the other order
 * (tests/peers/vision_video.py).
 *
 * A file is untrusted: only demuxers of plain files are allowed (a playlist could name other files or
 * addresses), only the file protocol, and frames no larger than any other picture. */
#include "vision/video.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/image_codec.h"

/* A jump ahead of more than this many seconds goes by key frames. */
#define NEAR_SECONDS 3.0

enum { MOST_BAD_PACKETS = 1000 };

static const char demuxers[] = "matroska,webm,mov,mp4,avi,mpeg,mpegts,flv,ogg,asf,ivf,h264,hevc,"
                               "m4v,mpegvideo,obu,mjpeg";

struct cr_video {
    char *path;
    AVFormatContext *file;
    AVCodecContext *decoder;
    AVStream *stream;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *convert;
    double start, time; /* in the stream's own time; of the last frame, from the start */
    bool draining, has_frame;
    int bad_packets;
    cr_video_info info;
};

bool cr_video_is_name(const char *path)
{
    static const char *const endings[] = {".webm", ".mkv", ".mp4", ".m4v",  ".mov", ".avi", ".mpg",
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

static cr_status open_file(cr_video *v, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    AVDictionary *limits = NULL;
    av_dict_set(&limits, "protocol_whitelist", "file", 0);
    av_dict_set(&limits, "format_whitelist", demuxers, 0);
    int code = avformat_open_input(&v->file, v->path, NULL, &limits);
    av_dict_free(&limits);
    CR_CHECK(code >= 0, err, code == AVERROR(ENOENT) ? CR_ERR_IO : CR_ERR_FORMAT,
             "%s: cannot be read as video: %s", v->path, reason(code, text));
    code = avformat_find_stream_info(v->file, NULL);
    CR_CHECK(code >= 0, err, CR_ERR_FORMAT, "%s: cannot be read as video: %s", v->path,
             reason(code, text));
    return CR_OK;
}

static cr_status open_decoder(cr_video *v, cr_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    const AVCodec *codec = NULL;
    const int index = av_find_best_stream(v->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    CR_CHECK(index >= 0 && codec, err, CR_ERR_FORMAT,
             "%s: has no video stream that can be decoded", v->path);
    v->stream = v->file->streams[index];
    const AVCodecParameters *p = v->stream->codecpar;
    CR_TRY(cr_image_check_size(v->path, p->width < 0 ? 0 : (uint64_t)p->width,
                               p->height < 0 ? 0 : (uint64_t)p->height, err));
    v->decoder = avcodec_alloc_context3(codec);
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    if (!v->decoder || !v->packet || !v->frame) return CR_NOMEM(err);
    int code = avcodec_parameters_to_context(v->decoder, p);
    v->decoder->max_pixels = (int64_t)CR_IMAGE_MAX_PIXELS;
    v->decoder->thread_count = 1; /* whoever reads has threads of its own */
    if (code >= 0) code = avcodec_open2(v->decoder, codec, NULL);
    CR_CHECK(code >= 0, err, CR_ERR_UNSUPPORTED, "%s: %s: %s", v->path, codec->name,
             reason(code, text));
    for (unsigned i = 0; i < v->file->nb_streams; i++)
        v->file->streams[i]->discard = (int)i == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
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

static void describe(cr_video *v)
{
    const AVRational rate = v->stream->avg_frame_rate;
    v->start = v->stream->start_time == AV_NOPTS_VALUE ? 0 : seconds_of(v, v->stream->start_time);
    v->info.width = v->stream->codecpar->width;
    v->info.height = v->stream->codecpar->height;
    v->info.rate = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    if (v->stream->duration > 0) v->info.seconds = seconds_of(v, v->stream->duration);
    else if (v->file->duration > 0) v->info.seconds = (double)v->file->duration / AV_TIME_BASE;
    else v->info.seconds = read_through(v);
}

cr_status cr_video_open(const char *path, cr_video **out, cr_error *err)
{
    *out = NULL;
    av_log_set_level(AV_LOG_QUIET); /* what goes wrong is said through `err` */
    cr_video *v = cr_calloc(1, sizeof *v);
    if (!v) return CR_NOMEM(err);
    v->path = cr_strdup(path);
    cr_status st = v->path ? open_file(v, err) : CR_NOMEM(err);
    if (st == CR_OK) st = open_decoder(v, err);
    if (st != CR_OK) {
        cr_video_close(&v);
        return st;
    }
    describe(v);
    *out = v;
    return CR_OK;
}

void cr_video_close(cr_video **vp)
{
    if (!vp || !*vp) return;
    cr_video *v = *vp;
    sws_freeContext(v->convert);
    av_frame_free(&v->frame);
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

/* Gives the decoder one packet of the stream, or tells it that there are no more. */
static cr_status feed(cr_video *v, cr_error *err)
{
    int code;
    while ((code = av_read_frame(v->file, v->packet)) >= 0) {
        if (v->packet->stream_index == v->stream->index) break;
        av_packet_unref(v->packet);
    }
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
             "%s: more than %d damaged parts", v->path, MOST_BAD_PACKETS);
    return CR_OK;
}

/* The next decoded frame into v->frame. */
static cr_status decode(cr_video *v, bool *more, cr_error *err)
{
    *more = true;
    for (;;) {
        const int code = avcodec_receive_frame(v->decoder, v->frame);
        if (code >= 0) break;
        if (code == AVERROR(ENOMEM)) return CR_NOMEM(err);
        if (code == AVERROR_EOF || v->draining) {
            *more = false;
            return CR_OK;
        }
        CR_TRY(feed(v, err));
    }
    const int64_t t = v->frame->best_effort_timestamp;
    if (t != AV_NOPTS_VALUE) v->time = seconds_of(v, t) - v->start;
    else if (v->has_frame && v->info.rate > 0) v->time += 1 / v->info.rate;
    v->has_frame = true;
    return CR_OK;
}

static cr_status to_picture(cr_video *v, cr_image *out, cr_error *err)
{
    const AVFrame *f = v->frame;
    CR_TRY(cr_image_check_size(v->path, f->width < 0 ? 0 : (uint64_t)f->width,
                               f->height < 0 ? 0 : (uint64_t)f->height, err));
    v->convert = sws_getCachedContext(v->convert, f->width, f->height, (enum AVPixelFormat)f->format,
                                      f->width, f->height, AV_PIX_FMT_RGB24, SWS_BICUBIC, NULL,
                                      NULL, NULL);
    CR_CHECK(v->convert, err, CR_ERR_UNSUPPORTED, "%s: its pixels cannot be converted to RGB",
             v->path);
    const int *const matrix = sws_getCoefficients((int)f->colorspace); /* unknown: BT.601 */
    sws_setColorspaceDetails(v->convert, matrix, f->color_range == AVCOL_RANGE_JPEG, matrix, 0, 0,
                             1 << 16, 1 << 16);
    /* swscale's loops write whole vectors: into rows with room, which are then copied */
    uint8_t *plane[4] = {NULL};
    int stride[4];
    if (av_image_alloc(plane, stride, f->width, f->height, AV_PIX_FMT_RGB24, 64) < 0)
        return CR_NOMEM(err);
    cr_status st = cr_image_alloc(f->width, f->height, out, err);
    if (st == CR_OK) {
        const size_t row = (size_t)f->width * 3;
        sws_scale(v->convert, (const uint8_t *const *)f->data, f->linesize, 0, f->height, plane,
                  stride);
        for (int y = 0; y < f->height; y++)
            memcpy(out->rgb + (size_t)y * row, plane[0] + (size_t)y * (size_t)stride[0], row);
    }
    av_freep(&plane[0]);
    return st;
}

cr_status cr_video_next(cr_video *v, cr_image *out, bool *more, cr_error *err)
{
    *out = (cr_image){0};
    CR_TRY(decode(v, more, err));
    return *more ? to_picture(v, out, err) : CR_OK;
}

/* Half a frame's time: timestamps are rounded to the container's clock. */
static double tolerance(const cr_video *v)
{
    return v->info.rate > 0 ? .5 / v->info.rate : 1e-3;
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
        st = cr_fail(err, CR_ERR_FORMAT, "%s: no picture can be decoded at %.3f s", v->path,
                     seconds);
    return st == CR_OK ? to_picture(v, out, err) : st;
}
