/* The ring of frames in flight. */
#define _POSIX_C_SOURCE 200809L
#include "live/frame_queue.h"

#include <libavcodec/packet.h>
#include <libavutil/frame.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"

double cr_live_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Waits a tenth of a second at most: `stop` may be set by a signal handler, which can wake nobody.
 */
static void wait_on(cr_frame_queue *q, pthread_cond_t *c)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 100000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    pthread_cond_timedwait(c, &q->lock, &t);
}

static bool stopped(const cr_frame_queue *q)
{
    return atomic_load(q->stop);
}

cr_status cr_frame_queue_init(cr_frame_queue *q, int slots, bool newest, const atomic_bool *stop,
                              cr_error *err)
{
    pthread_condattr_t clock;
    *q = (cr_frame_queue){.count = slots, .newest = newest, .stop = stop};
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&q->filled, &clock);
    pthread_cond_init(&q->taken_done, &clock);
    pthread_cond_init(&q->freed, &clock);
    pthread_condattr_destroy(&clock);
    q->slots = cr_calloc((size_t)slots, sizeof *q->slots);
    if (!q->slots) return CR_NOMEM(err);
    for (int i = 0; i < slots; i++) {
        q->slots[i].frame = av_frame_alloc();
        if (!q->slots[i].frame) return CR_NOMEM(err);
    }
    return CR_OK;
}

static void drop_sound(cr_slot *s)
{
    for (int i = 0; i < s->sound_count; i++) av_packet_free(&s->sound[i]);
    s->sound_count = 0;
}

void cr_frame_queue_destroy(cr_frame_queue *q)
{
    for (int i = 0; q->slots && i < q->count; i++) {
        cr_slot *s = &q->slots[i];
        drop_sound(s);
        av_frame_free(&s->frame);
        cr_image_free(&s->picture);
        cr_detections_free(&s->found);
        cr_detections_free(&s->versus_found);
    }
    if (!q->count) return;
    cr_free(q->slots);
    pthread_cond_destroy(&q->filled);
    pthread_cond_destroy(&q->taken_done);
    pthread_cond_destroy(&q->freed);
    pthread_mutex_destroy(&q->lock);
    *q = (cr_frame_queue){0};
}

/* The slot for a new frame, with the lock held; NULL: it is dropped (newest), or stopped. */
static cr_slot *room(cr_frame_queue *q)
{
    if (q->newest && q->take < q->head) {
        q->dropped++;
        return &q->slots[(q->head - 1) % (unsigned)q->count];
    }
    while (q->head - q->out == (unsigned)q->count && !stopped(q)) {
        if (q->newest) {
            q->dropped++;
            return NULL;
        }
        wait_on(q, &q->freed);
    }
    return stopped(q) ? NULL : &q->slots[q->head++ % (unsigned)q->count];
}

bool cr_frame_queue_fill(cr_frame_queue *q, AVFrame *frame, AVPacket **sound, int sound_count,
                         long long index, double time)
{
    pthread_mutex_lock(&q->lock);
    cr_slot *s = room(q);
    if (s) {
        av_frame_unref(s->frame);
        av_frame_move_ref(s->frame, frame);
        drop_sound(s);
        memcpy(s->sound, sound, (size_t)sound_count * sizeof *sound);
        s->sound_count = sound_count;
        s->index = index;
        s->time = time;
        s->arrival_ms = cr_live_now_ms();
        s->done = false;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->lock);
    if (s) return true;
    av_frame_unref(frame);
    for (int i = 0; i < sound_count; i++) av_packet_free(&sound[i]);
    return !stopped(q);
}

void cr_frame_queue_end(cr_frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->ended = true;
    pthread_cond_broadcast(&q->filled);
    pthread_cond_broadcast(&q->taken_done);
    pthread_mutex_unlock(&q->lock);
}

/* Newest: a frame is taken up only when at most one is in front of it, so that none grows old
 * between worker and output. */
static bool may_take(const cr_frame_queue *q)
{
    return q->take < q->head && !(q->newest && q->take - q->out >= 2);
}

cr_slot *cr_frame_queue_take(cr_frame_queue *q)
{
    cr_slot *s = NULL;
    pthread_mutex_lock(&q->lock);
    while (!may_take(q) && !(q->ended && q->take == q->head) && !stopped(q)) wait_on(q, &q->filled);
    if (may_take(q) && !stopped(q)) s = &q->slots[q->take++ % (unsigned)q->count];
    pthread_mutex_unlock(&q->lock);
    return s;
}

void cr_frame_queue_done(cr_frame_queue *q, cr_slot *s)
{
    pthread_mutex_lock(&q->lock);
    s->done = true;
    pthread_cond_signal(&q->taken_done);
    pthread_mutex_unlock(&q->lock);
}

/* After a stop, frames that workers have in hand still come out; the others do not. */
cr_slot *cr_frame_queue_next(cr_frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    cr_slot *s = NULL;
    for (;;) {
        const bool given = q->out < q->take;
        s = given ? &q->slots[q->out % (unsigned)q->count] : NULL;
        if (given && s->done) break;
        if (!given && (stopped(q) || (q->ended && q->out == q->head))) break;
        s = NULL;
        wait_on(q, &q->taken_done);
    }
    pthread_mutex_unlock(&q->lock);
    return s;
}

void cr_frame_queue_release(cr_frame_queue *q, cr_slot *s)
{
    pthread_mutex_lock(&q->lock);
    drop_sound(s);
    av_frame_unref(s->frame);
    cr_detections_free(&s->found);
    cr_detections_free(&s->versus_found);
    q->out++;
    pthread_cond_signal(&q->freed);
    if (q->newest) pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

long long cr_frame_queue_dropped(cr_frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const long long n = q->dropped;
    pthread_mutex_unlock(&q->lock);
    return n;
}
