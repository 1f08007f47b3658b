/* Frames out: YUV 4:2:0 at 8 bits whatever came in, drawn on, encoded at the times that they had.
 */
#include "live/frame_out.h"

#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "live/clips.h"
#include "vision/overlay.h"
#include "vision/video.h"
#include "vision/video_write.h"

enum { LIVE_CLOCK = 90000 };

struct cr_frame_out {
    const cr_live_options *o;
    const char *source;
    bool live, begun; /* begun: the first frame has come */
    const cr_video *video;
    AVFrame *frame, *versus; /* the one in hand, as YUV 4:2:0: what each model found drawn in */
    struct SwsContext *convert;
    cr_overlay *overlay;
    int overlay_width, overlay_height;
    cr_video_writer *writer;
    cr_clips *clips;
    int width, height; /* of the file */
    int64_t first_pts;
    double first_time, first_arrival;
    cr_live_picture picture, versus_picture;
    char codec[32];
};

cr_status cr_frame_out_create(const cr_live_options *o, const char *source, bool live,
                              cr_frame_out **out, cr_error *err)
{
    *out = NULL;
    cr_frame_out *w = cr_calloc(1, sizeof *w);
    if (!w) return CR_NOMEM(err);
    w->o = o;
    w->source = source;
    w->live = live;
    w->frame = av_frame_alloc();
    w->versus = av_frame_alloc();
    if (!w->frame || !w->versus) {
        cr_frame_out_free(&w);
        return CR_NOMEM(err);
    }
    *out = w;
    return CR_OK;
}

void cr_frame_out_set_video(cr_frame_out *w, const cr_video *video)
{
    w->video = video;
}

void cr_frame_out_free(cr_frame_out **wp)
{
    if (!wp || !*wp) return;
    cr_frame_out *w = *wp;
    cr_video_writer_abort(&w->writer);
    cr_clips_free(&w->clips);
    av_frame_free(&w->frame);
    av_frame_free(&w->versus);
    sws_freeContext(w->convert);
    cr_overlay_free(&w->overlay);
    cr_free(w);
    *wp = NULL;
}

/* ---- pixels ---- */

static cr_status copy_of(cr_frame_out *w, const AVFrame *f, AVFrame *to, int width, int height,
                         cr_error *err)
{
    w->convert =
        sws_getCachedContext(w->convert, f->width, f->height, (enum AVPixelFormat)f->format, width,
                             height, AV_PIX_FMT_YUV420P, SWS_BILINEAR, NULL, NULL, NULL);
    CR_CHECK(w->convert, err, CR_ERR_UNSUPPORTED, "frames of type %s cannot be written",
             av_get_pix_fmt_name((enum AVPixelFormat)f->format));
    to->format = AV_PIX_FMT_YUV420P;
    to->width = width;
    to->height = height;
    if (av_frame_get_buffer(to, 0) < 0) return CR_NOMEM(err);
    to->colorspace = f->colorspace;
    to->color_range = f->color_range;
    sws_scale(w->convert, (const uint8_t *const *)f->data, f->linesize, 0, f->height, to->data,
              to->linesize);
    return CR_OK;
}

/* The decoder may still need its frame, and the file has one size. */
static cr_status make_own(cr_frame_out *w, const AVFrame *f, AVFrame *to, cr_error *err)
{
    const int width = w->width ? w->width : f->width, height = w->height ? w->height : f->height;
    const bool plain = f->format == AV_PIX_FMT_YUV420P || f->format == AV_PIX_FMT_YUVJ420P;
    av_frame_unref(to);
    if (!plain || f->width != width || f->height != height)
        return copy_of(w, f, to, width, height, err);
    if (av_frame_ref(to, f) < 0 || av_frame_make_writable(to) < 0) return CR_NOMEM(err);
    return CR_OK;
}

/* ---- drawing ---- */

static cr_yuv yuv_of(const AVFrame *f)
{
    return (cr_yuv){{f->data[0], f->data[1], f->data[2]},
                    {f->linesize[0], f->linesize[1], f->linesize[2]},
                    f->width,
                    f->height,
                    f->colorspace == AVCOL_SPC_BT709,
                    f->color_range == AVCOL_RANGE_JPEG || f->format == AV_PIX_FMT_YUVJ420P};
}

static cr_status fit_overlay(cr_frame_out *w, int width, int height, cr_error *err)
{
    if (w->overlay && w->overlay_width == width && w->overlay_height == height) return CR_OK;
    cr_overlay_free(&w->overlay);
    w->overlay_width = width;
    w->overlay_height = height;
    return cr_overlay_create(width, height, &w->overlay, err);
}

/* counts NULL: without lines and zones. */
static cr_status draw(cr_frame_out *w, AVFrame *on, const cr_detections *found,
                      const cr_zone_counts *counts, const char *panel, cr_error *err)
{
    const cr_yuv yuv = yuv_of(on);
    CR_TRY(fit_overlay(w, yuv.width, yuv.height, err));
    const cr_pen pen = cr_overlay_pen(w->overlay);
    cr_pen_detections(&pen, found, w->o->names, w->o->name_count);
    for (int i = 0; counts && i < w->o->zone_count; i++)
        cr_pen_zone(&pen, &w->o->zones[i], &counts[i]);
    if (w->o->panel) cr_pen_panel(&pen, panel);
    return cr_overlay_blend(w->overlay, &yuv, err);
}

static cr_status draw_frame(cr_frame_out *w, const cr_live_frame *f, cr_error *err)
{
    char text[64];
    snprintf(text, sizeof text, "%.1f FPS  %.1f ms", f->fps, f->model_ms);
    return draw(w, w->frame, f->found, f->zones, text, err);
}

static cr_status draw_versus(cr_frame_out *w, const cr_slot *s, const cr_live_frame *f,
                             cr_error *err)
{
    char text[64];
    CR_TRY(make_own(w, s->frame, w->versus, err));
    snprintf(text, sizeof text, "%.1f ms", f->versus_ms);
    return draw(w, w->versus, f->versus_found, NULL, text, err);
}

/* ---- writing ---- */

static cr_video_format format_of(const cr_frame_out *w, const cr_slot *s)
{
    const AVStream *stream = w->video ? cr_video_stream(w->video) : NULL;
    const AVRational clock = w->live || !stream ? (AVRational){1, LIVE_CLOCK} : stream->time_base;
    const double rate = w->video ? cr_video_get_info(w->video).rate : 0;
    return (cr_video_format){.width = w->frame->width,
                             .height = w->frame->height,
                             .rate = rate / (double)w->o->stride,
                             .clock_num = clock.num,
                             .clock_den = clock.den,
                             .space = w->frame->colorspace,
                             .range = w->frame->color_range,
                             .aspect_num = s->frame->sample_aspect_ratio.num,
                             .aspect_den = s->frame->sample_aspect_ratio.den,
                             .audio = w->live || !w->video ? NULL : cr_video_audio(w->video),
                             .threads = 1,
                             .preset = w->o->preset};
}

/* Files are called after the source: its name without folders and ending, where it has one. */
static void name_clips(const cr_frame_out *w, char *out, size_t size)
{
    const char *slash = strrchr(w->source, '/'), *base = slash ? slash + 1 : w->source;
    const char *dot = strrchr(base, '.');
    const bool plain = !w->live && strcmp(base, "-") && *base;
    const int n = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
    snprintf(out, size, "%.*s", plain ? n : 4, plain ? base : "live");
}

static cr_status open_clips(cr_frame_out *w, const cr_video_format *f, cr_error *err)
{
    cr_clips_options o = {.seconds = w->o->clip, .folder = w->o->clip_folder, .dated = w->live};
    name_clips(w, o.name, sizeof o.name);
    return cr_clips_create(&o, f, &w->clips, err);
}

/* What is written has the first frame's size and begins at its time. */
static cr_status open_files(cr_frame_out *w, const cr_slot *s, cr_error *err)
{
    const cr_video_format f = format_of(w, s);
    w->begun = true;
    w->width = f.width;
    w->height = f.height;
    w->first_pts = s->frame->best_effort_timestamp;
    w->first_time = s->time;
    w->first_arrival = s->arrival_ms;
    if (w->o->clip > 0) CR_TRY(open_clips(w, &f, err));
    if (!w->o->save) return CR_OK;
    CR_TRY(cr_video_writer_open(w->o->save, &f, &w->writer, err));
    snprintf(w->codec, sizeof w->codec, "%s", cr_video_writer_codec(w->writer));
    return CR_OK;
}

/* In the file's clock, from its first frame. */
static int64_t time_of(const cr_frame_out *w, const cr_slot *s)
{
    const AVStream *stream = w->video ? cr_video_stream(w->video) : NULL;
    if (w->live) return (int64_t)((s->arrival_ms - w->first_arrival) * (LIVE_CLOCK / 1e3));
    if (!stream) return (int64_t)((s->time - w->first_time) * LIVE_CLOCK);
    if (s->frame->best_effort_timestamp != AV_NOPTS_VALUE && w->first_pts != AV_NOPTS_VALUE)
        return s->frame->best_effort_timestamp - w->first_pts;
    return (int64_t)((s->time - w->first_time) / av_q2d(stream->time_base));
}

static cr_status write_frame(cr_frame_out *w, cr_slot *s, cr_live_frame *f, cr_error *err)
{
    if (!w->begun) CR_TRY(open_files(w, s, err));
    const int64_t time = time_of(w, s);
    if (w->clips)
        CR_TRY(cr_clips_put(w->clips, w->frame, time, f->index, f->appeared, &f->clip, err));
    if (!w->writer) return CR_OK;
    for (int i = 0; i < s->sound_count; i++)
        CR_TRY(cr_video_writer_sound(w->writer, s->sound[i], w->first_time, err));
    return cr_video_writer_frame(w->writer, w->frame, time, err);
}

static cr_live_picture picture_of(const AVFrame *frame)
{
    const cr_yuv y = yuv_of(frame);
    return (cr_live_picture){{y.plane[0], y.plane[1], y.plane[2]},
                             {y.stride[0], y.stride[1], y.stride[2]},
                             y.width,
                             y.height,
                             y.bt709,
                             y.full_range};
}

cr_status cr_frame_out_put(cr_frame_out *w, cr_slot *s, cr_live_frame *f, cr_error *err)
{
    const bool writes = w->o->save || w->o->clip > 0;
    if (!writes && !w->o->pictures) return CR_OK;
    CR_TRY(make_own(w, s->frame, w->frame, err));
    CR_TRY(draw_frame(w, f, err));
    if (writes) CR_TRY(write_frame(w, s, f, err));
    if (!w->o->pictures) return CR_OK;
    w->picture = picture_of(w->frame);
    f->picture = &w->picture;
    if (!f->versus_found) return CR_OK;
    CR_TRY(draw_versus(w, s, f, err));
    w->versus_picture = picture_of(w->versus);
    f->versus_picture = &w->versus_picture;
    return CR_OK;
}

cr_status cr_frame_out_commit(cr_frame_out *w, cr_live_report *report, cr_error *err)
{
    report->codec = w->codec;
    report->audio_left_out = w->writer && w->video && !w->live && cr_video_audio(w->video) &&
                             !cr_video_writer_has_audio(w->writer);
    if (w->clips) {
        CR_TRY(cr_clips_finish(w->clips, err));
        report->clips = cr_clips_count(w->clips);
    }
    if (w->o->save)
        CR_CHECK(w->writer, err, CR_ERR_FORMAT, "%s: not written: no frame came", w->o->save);
    return w->writer ? cr_video_writer_commit(&w->writer, err) : CR_OK;
}
