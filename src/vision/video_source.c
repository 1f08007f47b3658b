/* Opening files, cameras, streams and standard input through FFmpeg. */
#include "vision/video_source.h"

#include <libavdevice/avdevice.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "vision/video.h"

static const char file_demuxers[] = "matroska,webm,mov,mp4,avi,mpeg,mpegts,flv,ogg,asf,ivf,h264,"
                                    "hevc,m4v,mpegvideo,obu,mjpeg,mpjpeg,rawvideo,yuv4mpegpipe,"
                                    "image2pipe,jpeg_pipe,png_pipe";
static const char stream_demuxers[] = "matroska,webm,mov,mp4,avi,mpeg,mpegts,flv,ogg,h264,hevc,"
                                      "m4v,mpegvideo,mjpeg,mpjpeg,rtsp,rtp,sdp,hls,jpeg_pipe";
static const char stream_protocols[] = "rtsp,rtp,srtp,udp,tcp,http,https,httpproxy,tls,crypto,srt";

static bool is_number(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s) && strlen(s) <= 2;
}

static bool is_address(const char *s)
{
    static const char *const schemes[] = {"rtsp://", "rtsps://", "http://", "https://", "udp://",
                                          "tcp://",  "rtp://",   "srt://",  NULL};
    for (int i = 0; schemes[i]; i++)
        if (!strncasecmp(s, schemes[i], strlen(schemes[i]))) return true;
    return false;
}

cr_source_kind cr_source_kind_of(const char *name)
{
    if (!strcmp(name, "-")) return CR_SOURCE_STDIN;
    if (is_number(name) || !strncmp(name, "/dev/video", 10)) return CR_SOURCE_CAMERA;
    if (is_address(name)) return CR_SOURCE_STREAM;
    return cr_video_is_name(name) ? CR_SOURCE_FILE : CR_SOURCE_NONE;
}

void cr_source_label(const char *name, char *out, size_t size)
{
    const char *host = is_address(name) ? strstr(name, "://") + 3 : NULL;
    const char *at = host ? strchr(host, '@') : NULL;
    const char *slash = host ? strchr(host, '/') : NULL;
    if (at && (!slash || at < slash))
        snprintf(out, size, "%.*s***%s", (int)(host - name), name, at);
    else
        snprintf(out, size, "%s", name);
}

static void register_devices(void)
{
    avdevice_register_all();
    avformat_network_init();
}

/* "1280x720:rgb24@30" into the demuxer's options. */
static cr_status read_raw(const char *raw, AVDictionary **options, cr_error *err)
{
    int width = 0, height = 0, used = 0;
    char format[32] = "yuv420p", rate[16] = "30", size[32];
    const bool sized = sscanf(raw, "%5dx%5d%n", &width, &height, &used) == 2;
    const char *rest = raw + used;
    if (sized && *rest == ':') {
        int n = 0;
        if (sscanf(rest, ":%31[a-z0-9_]%n", format, &n) == 1) rest += n;
    }
    if (sized && *rest == '@') {
        int n = 0;
        if (sscanf(rest, "@%15[0-9./]%n", rate, &n) == 1) rest += n;
    }
    CR_CHECK(sized && !*rest && width > 0 && height > 0, err, CR_ERR_ARGUMENT,
             "raw frames: '%s' is not WIDTHxHEIGHT[:FORMAT][@RATE], as in 1280x720:rgb24@30", raw);
    snprintf(size, sizeof size, "%dx%d", width, height);
    av_dict_set(options, "video_size", size, 0);
    av_dict_set(options, "pixel_format", format, 0);
    av_dict_set(options, "framerate", rate, 0);
    return CR_OK;
}

static cr_status describe(const char *name, const char *raw, char *url, size_t size,
                          const AVInputFormat **format, AVDictionary **options, cr_error *err)
{
    const cr_source_kind kind = cr_source_kind_of(name);
    const bool stream = kind == CR_SOURCE_STREAM;
    snprintf(url, size, "%s", name);
    if (kind == CR_SOURCE_STDIN) snprintf(url, size, "pipe:0");
    if (is_number(name)) snprintf(url, size, "/dev/video%s", name);
    if (kind == CR_SOURCE_CAMERA) {
        *format = av_find_input_format("v4l2");
        CR_CHECK(*format, err, CR_ERR_UNSUPPORTED, "%s: this FFmpeg has no Video4Linux input",
                 name);
        return CR_OK;
    }
    if (raw) {
        *format = av_find_input_format("rawvideo");
        CR_TRY(read_raw(raw, options, err));
    }
    av_dict_set(options, "protocol_whitelist",
                stream                    ? stream_protocols
                : kind == CR_SOURCE_STDIN ? "pipe"
                                          : "file",
                0);
    av_dict_set(options, "format_whitelist", stream ? stream_demuxers : file_demuxers, 0);
    if (kind != CR_SOURCE_FILE) av_dict_set(options, "indexmem", "65536", 0); /* nobody seeks there */
    if (stream) {
        av_dict_set(options, "rtsp_transport", "tcp", 0);
        av_dict_set(options, "fflags", "nobuffer", 0);
        av_dict_set(options, "rw_timeout", "10000000", 0); /* microseconds */
    }
    return CR_OK;
}

cr_status cr_source_open(const char *name, const char *raw, AVFormatContext **file, cr_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char url[4096], label[512], text[AV_ERROR_MAX_STRING_SIZE];
    const AVInputFormat *format = NULL;
    AVDictionary *options = NULL;
    pthread_once(&once, register_devices);
    av_log_set_level(AV_LOG_QUIET); /* what goes wrong is said through `err` */
    cr_source_label(name, label, sizeof label);
    CR_CHECK(strlen(name) < sizeof url - 16, err, CR_ERR_ARGUMENT, "%.60s...: the name is too long",
             label);
    cr_status st = describe(name, raw, url, sizeof url, &format, &options, err);
    const int code = st == CR_OK ? avformat_open_input(file, url, format, &options) : 0;
    av_dict_free(&options);
    if (st != CR_OK) return st;
    CR_CHECK(code >= 0, err, code == AVERROR_INVALIDDATA ? CR_ERR_FORMAT : CR_ERR_IO,
             "%s: cannot be read as video: %s", label,
             av_strerror(code, text, sizeof text) < 0 ? "unknown error" : text);
    return CR_OK;
}
