/* Every frame is encoded as it comes; what the last seconds' packets are is kept in a queue, from a
 * key frame on. When something appears, a file is opened for the queue's packets and for those that
 * follow.
 *
 *     queue   K P P P K P P P K P P P          K: key frame, one each second
 *                     └ from here on when "seconds" reach back into this second
 *
 * So a clip begins up to a second early, and memory is that of compressed video: about a megabyte
 * per second at 1280x720. Rejected: a queue of pictures (1.4 MB each at that size) encoded when
 * they are wanted, which costs memory always and a burst of encoding just when something happens.
 *
 * What appears during a clip makes it longer, up to MOST_SECONDS; then the next one begins. */
#define _POSIX_C_SOURCE 200809L
#include "live/clips.h"

#include <libavcodec/avcodec.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/video_write.h"

enum { MOST_SECONDS = 300 };

struct cr_clips {
    cr_clips_options o;
    AVRational clock; /* of the caller's times */
    cr_video_encoder *encoder;
    cr_video_writer *file; /* NULL: nothing is being written */
    AVPacket **packets;    /* the queue, oldest first; it begins with a key frame */
    size_t count, capacity;
    AVPacket *spare;
    int64_t begun, last; /* caller's times: the clip's first appearance and its last */
    char path[1100];
    long long complete;
};

cr_status cr_clips_create(const cr_clips_options *o, const cr_video_format *f, cr_clips **out,
                          cr_error *err)
{
    *out = NULL;
    CR_CHECK(o->seconds > 0 && o->seconds <= MOST_SECONDS, err, CR_ERR_ARGUMENT,
             "clips reach up to %d seconds before and after", MOST_SECONDS);
    cr_clips *c = cr_calloc(1, sizeof *c);
    if (!c) return CR_NOMEM(err);
    c->o = *o;
    c->clock = (AVRational){f->clock_num, f->clock_den};
    c->spare = av_packet_alloc();
    cr_video_format format = *f;
    format.key_seconds = 1;
    format.audio = NULL;
    const cr_status st =
        c->spare ? cr_video_encoder_open(cr_video_container("clip.mp4"), &format, &c->encoder, err)
                 : CR_NOMEM(err);
    if (st != CR_OK)
        cr_clips_free(&c);
    else
        *out = c;
    return st;
}

static void drop_first(cr_clips *c, size_t n)
{
    for (size_t i = 0; i < n; i++) av_packet_free(&c->packets[i]);
    memmove(c->packets, c->packets + n, (c->count - n) * sizeof(AVPacket *));
    c->count -= n;
}

void cr_clips_free(cr_clips **cp)
{
    if (!cp || !*cp) return;
    cr_clips *c = *cp;
    cr_video_writer_abort(&c->file);
    drop_first(c, c->count);
    cr_free(c->packets);
    av_packet_free(&c->spare);
    cr_video_encoder_free(&c->encoder);
    cr_free(c);
    *cp = NULL;
}

static double seconds_of(const cr_clips *c, const AVPacket *p)
{
    return (double)p->pts * av_q2d(cr_video_encoder_codec(c->encoder)->time_base);
}

/* Leaves the last key frame that is at least o.seconds old at the front. */
static void forget_old(cr_clips *c, double now)
{
    size_t keep = 0;
    for (size_t i = 1; i < c->count && seconds_of(c, c->packets[i]) <= now - c->o.seconds; i++)
        if (c->packets[i]->flags & AV_PKT_FLAG_KEY) keep = i;
    drop_first(c, keep);
}

static cr_status queue_spare(cr_clips *c, cr_error *err)
{
    if (c->count == c->capacity) {
        const size_t capacity = 2 * c->capacity + 64;
        AVPacket **more = cr_realloc(c->packets, capacity * sizeof *more);
        if (!more) return CR_NOMEM(err);
        c->packets = more;
        c->capacity = capacity;
    }
    AVPacket *p = av_packet_alloc();
    if (!p) return CR_NOMEM(err);
    av_packet_move_ref(p, c->spare);
    c->packets[c->count++] = p;
    return CR_OK;
}

/* Packets that are ready: to the file, or into the queue. */
static cr_status drain(cr_clips *c, cr_error *err)
{
    for (;;) {
        bool ready;
        CR_TRY(cr_video_encoder_next(c->encoder, c->spare, &ready, err));
        if (!ready) return CR_OK;
        if (c->file) CR_TRY(cr_video_writer_packet(c->file, c->spare, err));
        CR_TRY(queue_spare(c, err));
        forget_old(c, seconds_of(c, c->packets[c->count - 1]));
    }
}

static void name_clip(cr_clips *c, long long index)
{
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (c->o.dated && localtime_r(&now, &local))
        strftime(date, sizeof date, "-%Y%m%d-%H%M%S", &local);
    snprintf(c->path, sizeof c->path, "%.900s/%s%s-%06lld.mp4", c->o.folder, c->o.name, date,
             index);
}

static cr_status begin(cr_clips *c, int64_t pts, long long index, cr_error *err)
{
    name_clip(c, index);
    CR_TRY(cr_video_writer_open_for(c->path, c->encoder, &c->file, err));
    c->begun = pts;
    for (size_t i = 0; i < c->count; i++)
        CR_TRY(cr_video_writer_packet(c->file, c->packets[i], err));
    return CR_OK;
}

static cr_status end(cr_clips *c, cr_error *err)
{
    CR_TRY(cr_video_writer_commit(&c->file, err));
    c->complete++;
    return CR_OK;
}

static bool past(const cr_clips *c, int64_t pts, int64_t since, double seconds)
{
    return (double)(pts - since) * av_q2d(c->clock) > seconds;
}

cr_status cr_clips_put(cr_clips *c, const AVFrame *f, int64_t pts, long long index, bool appeared,
                       const char **path, cr_error *err)
{
    *path = NULL;
    if (c->file && (past(c, pts, c->last, c->o.seconds) || past(c, pts, c->begun, MOST_SECONDS)))
        CR_TRY(end(c, err));
    CR_TRY(cr_video_encoder_send(c->encoder, f, pts, err));
    CR_TRY(drain(c, err));
    if (appeared) c->last = pts;
    if (appeared && !c->file) CR_TRY(begin(c, pts, index, err));
    if (c->file) *path = c->path;
    return CR_OK;
}

cr_status cr_clips_finish(cr_clips *c, cr_error *err)
{
    if (!c->file) return CR_OK;
    CR_TRY(cr_video_encoder_finish(c->encoder, err));
    CR_TRY(drain(c, err));
    return end(c, err);
}

long long cr_clips_count(const cr_clips *c)
{
    return c->complete;
}
