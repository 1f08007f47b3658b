/* Video through a detector: capture, detection and output overlap in threads.
 *
 *     capture thread ──▶ frame queue ──▶ workers (RGB, letterbox, network, boxes)
 *                                           └──▶ the caller's thread, in order: draw, encode, see()
 *
 * Every frame (files): as many workers as threads, each with one thread and a frame of its own.
 * That costs no synchronization inside a network, so it gives the most frames per second. Newest
 * (live): one worker with all threads, which gives a frame the least delay.
 *
 * A live source that ends or fails is closed and opened again after 0.5, 1, 2 ... 30 seconds. */
#define _POSIX_C_SOURCE 200809L
#include "crayon/live.h"

#include <libavcodec/packet.h>
#include <libavutil/frame.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "live/appear.h"
#include "live/frame_out.h"
#include "live/frame_queue.h"
#include "live/frame_source.h"
#include "vision/video_source.h"

enum { MAX_WORKERS = 64, SPARE_SLOTS = 3 };

struct cr_live {
    const cr_model *model;
    cr_live_options o;
    cr_frame_source source;
    char *name;
    cr_video *video; /* of the built-in source */
    atomic_bool stop, ended;
    cr_frame_queue queue;
    cr_detector *detectors[MAX_WORKERS], *versus[MAX_WORKERS];
    cr_frame_converter converters[MAX_WORKERS];
    pthread_t capture, workers[MAX_WORKERS];
    int worker_count, started;
    bool capturing, opened;
    pthread_mutex_t lock;     /* of what follows */
    cr_detect_options detect; /* its classes are `classes` */
    int *classes;
    cr_status capture_status;
    cr_error capture_err;
    _Atomic int losses;
    cr_tracker *tracker; /* NULL without options.track */
    cr_zone_counter *zones[CR_MAX_ZONES];
    cr_appear appear;
    cr_frame_out *out;
    cr_live_report report;
};

cr_live_options cr_live_options_default(void)
{
    return (cr_live_options){
        .detect = cr_detect_options_default(), .stride = 1, .losses = -1, .wait = .5, .decoder = "auto"};
}

void cr_live_label(const char *name, char *out, size_t size)
{
    cr_source_label(name, out, size);
}

bool cr_live_is_source(const char *name)
{
    return cr_source_kind_of(name) != CR_SOURCE_NONE;
}

bool cr_live_is_stream(const char *name)
{
    const cr_source_kind kind = cr_source_kind_of(name);
    return kind == CR_SOURCE_CAMERA || kind == CR_SOURCE_STREAM;
}

/* ---- the built-in source ---- */

static cr_status video_open(void *user, const atomic_bool *stop, cr_error *err)
{
    cr_live *l = user;
    const cr_video_options o = {.any_source = true,
                                .raw = l->o.raw,
                                .decoder = l->o.raw ? NULL : l->o.decoder,
                                .audio = l->o.save != NULL && !l->source.live,
                                .stop = stop};
    CR_TRY(cr_video_open_with(l->name, &o, &l->video, err));
    return l->o.start > 0 ? cr_video_skip_to(l->video, l->o.start, err) : CR_OK;
}

static cr_status video_next(void *user, AVFrame *out, double *time, bool *more, cr_error *err)
{
    cr_live *l = user;
    CR_TRY(cr_video_next_frame(l->video, out, more, err));
    *time = cr_video_time(l->video);
    return CR_OK;
}

static void video_close(void *user)
{
    cr_live *l = user;
    cr_video_close(&l->video);
}

static cr_video *video_of(void *user)
{
    cr_live *l = user;
    return l->video;
}

/* ---- capture ---- */

/* Sleeps in small pieces, so that a stop ends it. */
static void sleep_for(const cr_live *l, double seconds)
{
    const double end = cr_live_now_ms() + seconds * 1e3;
    for (double left; !atomic_load(&l->stop) && (left = end - cr_live_now_ms()) > .05;)
        nanosleep(&(struct timespec){0, (long)(fmin(left, 20) * 1e6)}, NULL);
}

/* Opens a lost source again; false: given up, or stopped. */
static bool open_again(cr_live *l, cr_error *err)
{
    double wait = l->o.wait;
    l->source.close(l->source.user);
    l->opened = false;
    while (!atomic_load(&l->stop)) {
        if (l->o.losses >= 0 && atomic_load(&l->losses) >= l->o.losses) return false;
        atomic_fetch_add(&l->losses, 1);
        sleep_for(l, wait);
        wait = fmin(2 * wait, 30);
        if (l->source.open(l->source.user, &l->stop, err) == CR_OK) {
            l->opened = true;
            return true;
        }
    }
    return false;
}

/* A file at the pace of its own clock; where every frame counts, a pause moves the clock. */
static void keep_pace(const cr_live *l, double time, double *begin)
{
    const double now = cr_live_now_ms() / 1e3;
    const bool paused = !l->queue.newest && now - time - *begin > .5;
    if (*begin < 0 || paused) *begin = now - time;
    if (l->o.realtime) sleep_for(l, *begin + time - now);
}

/* Puts a frame into the queue with the sound in front of it. */
static bool give(cr_live *l, AVFrame *frame, long long index, double time)
{
    AVPacket *sound[CR_FRAME_SOUND];
    cr_video *v = l->source.video ? l->source.video(l->source.user) : NULL;
    const int n = v ? cr_video_take_audio(v, sound, CR_FRAME_SOUND) : 0;
    return cr_frame_queue_fill(&l->queue, frame, sound, n, index, time);
}

static cr_status read_frames(cr_live *l, AVFrame *frame, cr_error *err)
{
    long long index = 0, looked_at = 0;
    double begin = -1; /* the clock at time 0 */
    while (!atomic_load(&l->stop)) {
        double time = 0;
        bool more = false;
        const cr_status st = l->source.next(l->source.user, frame, &time, &more, err);
        if (st != CR_OK || !more) {
            if (atomic_load(&l->stop)) return CR_OK;
            if (!l->source.live) return st;
            if (!open_again(l, err)) return atomic_load(&l->stop) ? CR_OK : st;
            continue;
        }
        const bool wanted = index % l->o.stride == 0;
        if (!l->source.live) keep_pace(l, time, &begin);
        if (!wanted) av_frame_unref(frame);
        if (wanted && !give(l, frame, index, time)) return CR_OK;
        looked_at += wanted;
        index++;
        if (l->o.limit && looked_at == l->o.limit) return CR_OK;
    }
    return CR_OK;
}

static void *capture_main(void *user)
{
    cr_live *l = user;
    cr_error err = {0};
    AVFrame *frame = av_frame_alloc();
    const cr_status st = frame ? read_frames(l, frame, &err) : CR_NOMEM(&err);
    av_frame_free(&frame);
    pthread_mutex_lock(&l->lock);
    l->capture_status = st;
    l->capture_err = err;
    pthread_mutex_unlock(&l->lock);
    cr_frame_queue_end(&l->queue);
    return NULL;
}

/* ---- detection ---- */

/* The settings of this moment; the caller frees *classes. */
static cr_status settings_now(cr_live *l, cr_detect_options *o, int **classes, cr_error *err)
{
    pthread_mutex_lock(&l->lock);
    *o = l->detect;
    const size_t bytes = o->class_count * sizeof **classes;
    *classes = o->class_count ? cr_malloc(bytes) : NULL;
    if (*classes) memcpy(*classes, l->classes, bytes);
    pthread_mutex_unlock(&l->lock);
    o->classes = *classes;
    if (l->tracker) o->conf = fminf(o->conf, cr_track_options_default().low);
    return o->class_count && !*classes ? CR_NOMEM(err) : CR_OK;
}

static cr_status detect(cr_detector *d, cr_slot *s, const cr_detect_options *o, cr_detections *out,
                        double *ms)
{
    const double start = cr_live_now_ms();
    const cr_status st = cr_detector_run(d, &s->picture, o, out, &s->err);
    *ms = cr_live_now_ms() - start;
    return st;
}

static void look_at(cr_live *l, int worker, cr_slot *s)
{
    cr_detect_options o;
    int *classes;
    s->err = (cr_error){0};
    s->versus_ms = 0;
    s->status = settings_now(l, &o, &classes, &s->err);
    if (s->status == CR_OK)
        s->status =
            cr_frame_to_picture(&l->converters[worker], s->frame, l->name, &s->picture, &s->err);
    if (s->status == CR_OK)
        s->status = detect(l->detectors[worker], s, &o, &s->found, &s->model_ms);
    if (s->status == CR_OK && l->versus[worker])
        s->status = detect(l->versus[worker], s, &o, &s->versus_found, &s->versus_ms);
    cr_free(classes);
}

typedef struct seat {
    cr_live *live;
    int worker;
} seat;

static void *worker_main(void *user)
{
    const seat me = *(seat *)user;
    cr_free(user);
    for (cr_slot *s; (s = cr_frame_queue_take(&me.live->queue)) != NULL;) {
        look_at(me.live, me.worker, s);
        cr_frame_queue_done(&me.live->queue, s);
    }
    return NULL;
}

/* ---- output ---- */

static void count(cr_live *l, const cr_slot *s, double now, double first)
{
    cr_live_report *r = &l->report;
    const double n = (double)++r->frames;
    r->model_ms += (s->model_ms - r->model_ms) / n;
    r->latency_ms += (now - s->arrival_ms - r->latency_ms) / n;
    r->seconds = (now - first) / 1e3;
    r->losses = atomic_load(&l->losses);
    r->newest = l->queue.newest;
}

/* A running mean over about a second of the time between frames. */
static double rate(double *mean, double *last, double now)
{
    const double gap = now - *last;
    if (*last > 0) {
        const double share = *mean > 0 ? 1 - exp(-gap / 1e3) : 1;
        *mean += share * (gap - *mean);
    }
    *last = now;
    return *mean > 0 ? 1e3 / *mean : 0;
}

/* Numbers the frame's objects, and counts them. */
static cr_status follow(cr_live *l, cr_slot *s, cr_live_frame *f, cr_error *err)
{
    if (!l->tracker) return CR_OK;
    cr_track_options o = cr_track_options_default();
    pthread_mutex_lock(&l->lock);
    o.high = o.fresh = l->detect.conf;
    pthread_mutex_unlock(&l->lock);
    o.low = fminf(o.low, o.high);
    cr_tracker_set_options(l->tracker, &o);
    const double time = l->source.live ? s->arrival_ms / 1e3 : s->time;
    CR_TRY(cr_tracker_update(l->tracker, &s->found, time, err));
    for (int i = 0; i < l->o.zone_count; i++) {
        CR_TRY(cr_zone_counter_update(l->zones[i], &s->found, err));
        f->zones[i] = l->report.zones[i] = cr_zone_counter_get(l->zones[i]);
    }
    l->report.tracks = cr_tracker_total(l->tracker);
    return CR_OK;
}

static cr_status put_out(cr_live *l, cr_slot *s, double fps, cr_live_frame *f, cr_error *err)
{
    *f = (cr_live_frame){.index = s->index,
                         .time = s->time,
                         .width = s->frame->width,
                         .height = s->frame->height,
                         .found = &s->found,
                         .model_ms = s->model_ms,
                         .versus_found = l->o.versus ? &s->versus_found : NULL,
                         .versus_ms = s->versus_ms,
                         .fps = fps,
                         .dropped = cr_frame_queue_dropped(&l->queue),
                         .losses = atomic_load(&l->losses)};
    CR_TRY(follow(l, s, f, err));
    CR_TRY(cr_appear_look(&l->appear, &s->found, &f->appeared, err));
    return cr_frame_out_put(l->out, s, f, err);
}

static cr_status hand_out(cr_live *l, bool (*see)(void *user, const cr_live_frame *frame),
                          void *user, cr_error *err)
{
    double mean = 0, last = 0, first = 0;
    cr_status st = CR_OK;
    for (cr_slot *s; st == CR_OK && (s = cr_frame_queue_next(&l->queue)) != NULL;) {
        cr_live_frame f;
        if (first <= 0) first = s->arrival_ms;
        st = s->status;
        if (st != CR_OK) *err = s->err;
        if (st == CR_OK) st = put_out(l, s, rate(&mean, &last, cr_live_now_ms()), &f, err);
        f.latency_ms = cr_live_now_ms() - s->arrival_ms;
        if (st == CR_OK && see && !see(user, &f)) atomic_store(&l->stop, true);
        if (st == CR_OK) count(l, s, cr_live_now_ms(), first);
        cr_frame_queue_release(&l->queue, s);
    }
    return st;
}

/* ---- beginning and end ---- */

static cr_status check_options(const cr_live_options *o, cr_error *err)
{
    CR_CHECK(o->stride >= 1 && o->limit >= 0 && o->start >= 0 && o->threads >= 0, err,
             CR_ERR_ARGUMENT, "stride, limit, start and threads must not be negative (stride: 1)");
    return CR_OK;
}

static cr_status make_workers(const cr_model *m, int count, int threads, cr_detector **out,
                              cr_error *err)
{
    CR_TRY(cr_detector_create(m, threads, &out[0], err));
    for (int i = 1; i < count; i++) CR_TRY(cr_detector_share(out[0], 1, &out[i], err));
    return CR_OK;
}

static cr_status make_detectors(cr_live *l, cr_error *err)
{
    const int threads = l->o.threads ? l->o.threads : cr_cpu_count();
    const bool newest = l->queue.newest;
    l->worker_count = newest ? 1 : threads < MAX_WORKERS ? threads : MAX_WORKERS;
    const int each = newest ? threads : 1;
    CR_TRY(make_workers(l->model, l->worker_count, each, l->detectors, err));
    return l->o.versus ? make_workers(l->o.versus, l->worker_count, each, l->versus, err) : CR_OK;
}

static cr_status make_tracker(cr_live *l, cr_error *err)
{
    CR_CHECK(!l->o.zone_count || l->o.track, err, CR_ERR_ARGUMENT,
             "lines and zones count tracked objects: tracking is off");
    CR_CHECK(l->o.zone_count >= 0 && l->o.zone_count <= CR_MAX_ZONES, err, CR_ERR_ARGUMENT,
             "at most %d lines and zones", CR_MAX_ZONES);
    if (l->o.track) CR_TRY(cr_tracker_create(NULL, &l->tracker, err));
    for (int i = 0; i < l->o.zone_count; i++)
        CR_TRY(cr_zone_counter_create(&l->o.zones[i], &l->zones[i], err));
    return CR_OK;
}

static cr_status prepare(cr_live *l, cr_error *err)
{
    const bool newest =
        l->o.mode == CR_LIVE_AUTO ? l->source.live || l->o.realtime : l->o.mode == CR_LIVE_NEWEST;
    const int threads = l->o.threads ? l->o.threads : cr_cpu_count();
    const int slots = SPARE_SLOTS + (newest ? 1 : threads < MAX_WORKERS ? threads : MAX_WORKERS);
    CR_TRY(check_options(&l->o, err));
    CR_TRY(cr_frame_queue_init(&l->queue, slots, newest, &l->stop, err));
    CR_TRY(make_detectors(l, err));
    CR_TRY(make_tracker(l, err));
    CR_TRY(l->source.open(l->source.user, &l->stop, err));
    l->opened = true;
    const cr_model_info *info = cr_model_get_info(l->model);
    if (!l->o.names) {
        l->o.names = info->names;
        l->o.name_count = info->name_count;
    }
    CR_TRY(cr_frame_out_create(&l->o, l->name, l->source.live, &l->out, err));
    if (!l->source.live && l->source.video)
        cr_frame_out_set_video(l->out, l->source.video(l->source.user));
    return CR_OK;
}

static cr_status create(const cr_model *model, const cr_frame_source *source, const char *name,
                        const cr_live_options *options, cr_live **out, cr_error *err)
{
    *out = NULL;
    cr_live *l = cr_calloc(1, sizeof *l);
    if (!l) return CR_NOMEM(err);
    l->model = model;
    l->o = options ? *options : cr_live_options_default();
    pthread_mutex_init(&l->lock, NULL);
    l->name = cr_strdup(name);
    l->source =
        source ? *source
               : (cr_frame_source){.user = l,
                                   .live = cr_live_is_stream(name),
                                   .open = video_open,
                                   .next = video_next,
                                   .close = video_close,
                                   .video = video_of};
    cr_status st = l->name ? cr_live_set_detect(l, &l->o.detect, err) : CR_NOMEM(err);
    if (st == CR_OK) st = prepare(l, err);
    if (st == CR_OK)
        *out = l;
    else
        cr_live_free(&l);
    return st;
}

cr_status cr_live_create(const cr_model *model, const char *source, const cr_live_options *options,
                         cr_live **out, cr_error *err)
{
    return create(model, NULL, source, options, out, err);
}

cr_status cr_live_create_from(const cr_model *model, const cr_frame_source *source,
                              const cr_live_options *options, cr_live **out, cr_error *err)
{
    return create(model, source, "frames", options, out, err);
}

static cr_status start(cr_live *l, cr_error *err)
{
    l->capturing = !pthread_create(&l->capture, NULL, capture_main, l);
    CR_CHECK(l->capturing, err, CR_ERR_MEMORY, "cannot start a thread");
    for (; l->started < l->worker_count; l->started++) {
        seat *s = cr_malloc(sizeof *s);
        if (!s) return CR_NOMEM(err);
        *s = (seat){l, l->started};
        if (pthread_create(&l->workers[l->started], NULL, worker_main, s)) {
            cr_free(s);
            return cr_fail(err, CR_ERR_MEMORY, "cannot start a thread");
        }
    }
    return CR_OK;
}

static void join(cr_live *l)
{
    if (l->capturing) pthread_join(l->capture, NULL);
    for (int i = 0; i < l->started; i++) pthread_join(l->workers[i], NULL);
    l->capturing = false;
    l->started = 0;
}

cr_status cr_live_run(cr_live *l, bool (*see)(void *user, const cr_live_frame *frame), void *user,
                      cr_error *err)
{
    CR_CHECK(!atomic_exchange(&l->ended, true), err, CR_ERR_ARGUMENT,
             "this source has been run through; open it again");
    cr_status st = start(l, err);
    if (st == CR_OK) st = hand_out(l, see, user, err);
    if (st != CR_OK) atomic_store(&l->stop, true);
    join(l);
    l->report.dropped = cr_frame_queue_dropped(&l->queue);
    if (st == CR_OK && l->capture_status != CR_OK) {
        *err = l->capture_err;
        st = l->capture_status;
    }
    if (st == CR_OK) st = cr_frame_out_commit(l->out, &l->report, err);
    return st;
}

void cr_live_stop(cr_live *l)
{
    atomic_store(&l->stop, true);
}

cr_status cr_live_set_detect(cr_live *l, const cr_detect_options *options, cr_error *err)
{
    const size_t bytes = options->class_count * sizeof *l->classes;
    int *classes = bytes ? cr_malloc(bytes) : NULL;
    if (bytes && !classes) return CR_NOMEM(err);
    if (bytes) memcpy(classes, options->classes, bytes);
    pthread_mutex_lock(&l->lock);
    cr_free(l->classes);
    l->classes = classes;
    l->detect = *options;
    l->detect.classes = classes;
    pthread_mutex_unlock(&l->lock);
    return CR_OK;
}

cr_live_report cr_live_get_report(const cr_live *l)
{
    return l->report;
}

void cr_live_free(cr_live **lp)
{
    if (!lp || !*lp) return;
    cr_live *l = *lp;
    atomic_store(&l->stop, true);
    join(l);
    if (l->opened) l->source.close(l->source.user);
    cr_appear_clear(&l->appear);
    cr_frame_out_free(&l->out);
    cr_tracker_free(&l->tracker);
    for (int i = 0; i < CR_MAX_ZONES; i++) cr_zone_counter_free(&l->zones[i]);
    for (int i = MAX_WORKERS - 1; i >= 0; i--) {
        cr_detector_free(&l->detectors[i]);
        cr_detector_free(&l->versus[i]);
        cr_frame_converter_free(&l->converters[i]);
    }
    cr_frame_queue_destroy(&l->queue);
    pthread_mutex_destroy(&l->lock);
    cr_free(l->classes);
    cr_free(l->name);
    cr_free(l);
    *lp = NULL;
}
