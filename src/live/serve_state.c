/* The newest frame for viewers, and the thread that encodes it. */
#define _POSIX_C_SOURCE 200809L
#include "live/serve_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"

enum { QUALITY = 80, PATIENCE_S = 5 };

static struct timespec in_seconds(int seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += seconds;
    return t;
}

/* ---- blobs ---- */

static cr_blob *make_blob(const char *head, const void *body, size_t body_size, const char *tail)
{
    const size_t h = strlen(head), t = strlen(tail);
    cr_blob *b = cr_malloc(sizeof *b + h + body_size + t);
    if (!b) return NULL;
    atomic_init(&b->refs, 1);
    b->size = h + body_size + t;
    b->body_at = h;
    b->body_size = body_size;
    memcpy(b->bytes, head, h);
    memcpy(b->bytes + h, body, body_size);
    memcpy(b->bytes + h + body_size, tail, t);
    return b;
}

void cr_blob_release(cr_blob *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1) cr_free(b);
}

static void publish(cr_board *b, cr_feed feed, cr_blob *blob)
{
    if (!blob) return;
    pthread_mutex_lock(&b->lock);
    cr_blob *old = b->newest[feed];
    b->newest[feed] = blob;
    b->number[feed]++;
    if (feed == CR_FEED_LIVE) b->snapshot = false;
    pthread_cond_broadcast(&b->fresh);
    pthread_mutex_unlock(&b->lock);
    cr_blob_release(old);
}

/* ---- the encoder's thread ---- */

static bool wanted(const cr_board *b, int side)
{
    return b->has_waiting[side] && (b->viewers[side] > 0 || (side == 0 && b->snapshot));
}

/* The planes change hands, so that the next frame can be put down while this one is encoded. */
static cr_live_picture pick_up(cr_board *b, int side, uint8_t **planes, size_t *capacity)
{
    uint8_t *const spare = *planes;
    const size_t spare_capacity = *capacity;
    *planes = b->planes[side];
    *capacity = b->capacity[side];
    b->planes[side] = spare;
    b->capacity[side] = spare_capacity;
    b->has_waiting[side] = false;
    return b->waiting[side];
}

static void encode(cr_board *b, int side, const cr_live_picture *p)
{
    unsigned char *bytes;
    size_t size;
    char head[128];
    if (cr_mjpeg_encode(b->encoder, p, &bytes, &size, NULL) != CR_OK) return;
    snprintf(head, sizeof head,
             "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n", size);
    publish(b, side ? CR_FEED_VERSUS : CR_FEED_LIVE, make_blob(head, bytes, size, "\r\n"));
    free(bytes);
}

static void *encoder_main(void *user)
{
    cr_board *b = user;
    uint8_t *planes[2] = {NULL};
    size_t capacity[2] = {0};
    pthread_mutex_lock(&b->lock);
    while (!b->closing) {
        const int side = wanted(b, 0) ? 0 : wanted(b, 1) ? 1 : -1;
        if (side < 0) {
            pthread_cond_wait(&b->pending, &b->lock);
            continue;
        }
        const cr_live_picture p = pick_up(b, side, &planes[side], &capacity[side]);
        pthread_mutex_unlock(&b->lock);
        encode(b, side, &p);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    for (int i = 0; i < 2; i++) cr_free(planes[i]);
    return NULL;
}

/* ---- beginning and end ---- */

cr_status cr_board_init(cr_board *b, int class_count, cr_error *err)
{
    pthread_condattr_t clock;
    *b = (cr_board){.class_count = class_count};
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&b->fresh, &clock);
    pthread_cond_init(&b->pending, &clock);
    pthread_condattr_destroy(&clock);
    b->counts = cr_calloc((size_t)class_count + 1, sizeof *b->counts);
    if (!b->counts) return CR_NOMEM(err);
    CR_TRY(cr_mjpeg_create(QUALITY, &b->encoder, err));
    b->started = !pthread_create(&b->thread, NULL, encoder_main, b);
    CR_CHECK(b->started, err, CR_ERR_MEMORY, "cannot start a thread");
    return CR_OK;
}

void cr_board_close(cr_board *b)
{
    pthread_mutex_lock(&b->lock);
    b->closing = true;
    pthread_cond_broadcast(&b->fresh);
    pthread_cond_broadcast(&b->pending);
    pthread_mutex_unlock(&b->lock);
}

void cr_board_destroy(cr_board *b)
{
    cr_board_close(b);
    if (b->started) pthread_join(b->thread, NULL);
    for (int i = 0; i < CR_FEED_COUNT; i++) cr_blob_release(b->newest[i]);
    for (int i = 0; i < 2; i++) cr_free(b->planes[i]);
    cr_mjpeg_free(&b->encoder);
    cr_free(b->counts);
    pthread_cond_destroy(&b->fresh);
    pthread_cond_destroy(&b->pending);
    pthread_mutex_destroy(&b->lock);
}

/* ---- frames ---- */

/* A copy of the picture, tightly packed; false: no memory, the frame is not shown. */
static bool put_down(cr_board *b, int side, const cr_live_picture *p)
{
    const size_t w = (size_t)p->width, h = (size_t)p->height, cw = (w + 1) / 2, ch = (h + 1) / 2;
    const size_t size = w * h + 2 * cw * ch;
    if (b->capacity[side] < size) {
        cr_free(b->planes[side]);
        b->planes[side] = cr_malloc(size);
        b->capacity[side] = b->planes[side] ? size : 0;
    }
    if (!b->planes[side]) return false;
    b->waiting[side] = *p;
    uint8_t *to = b->planes[side];
    for (int i = 0; i < 3; i++) {
        const size_t width = i ? cw : w, height = i ? ch : h;
        b->waiting[side].plane[i] = to;
        b->waiting[side].stride[i] = (int)width;
        for (size_t y = 0; y < height; y++, to += width)
            memcpy(to, p->plane[i] + y * (size_t)p->stride[i], width);
    }
    return true;
}

static void count_objects(cr_board *b, const cr_detections *found)
{
    memset(b->counts, 0, (size_t)b->class_count * sizeof *b->counts);
    for (size_t i = 0; i < found->count; i++) {
        const int id = found->items[i].class_id;
        if (id >= 0 && id < b->class_count) b->counts[id]++;
    }
}

void cr_board_show(cr_board *b, const cr_live_frame *f, const char *event)
{
    const cr_live_picture *const pictures[2] = {f->picture, f->versus_picture};
    pthread_mutex_lock(&b->lock);
    b->frames++;
    b->figures = *f;
    count_objects(b, f->found);
    for (int i = 0; i < 2; i++) b->has_waiting[i] = pictures[i] && put_down(b, i, pictures[i]);
    pthread_cond_signal(&b->pending);
    pthread_mutex_unlock(&b->lock);
    if (event) publish(b, CR_FEED_EVENTS, make_blob("data: ", event, strlen(event), "\n\n"));
}

/* ---- viewers ---- */

void cr_board_join(cr_board *b, cr_feed feed)
{
    pthread_mutex_lock(&b->lock);
    b->viewers[feed]++;
    pthread_cond_signal(&b->pending);
    pthread_mutex_unlock(&b->lock);
}

void cr_board_leave(cr_board *b, cr_feed feed)
{
    pthread_mutex_lock(&b->lock);
    b->viewers[feed]--;
    pthread_mutex_unlock(&b->lock);
}

static cr_blob *hold(cr_blob *blob)
{
    if (blob) atomic_fetch_add(&blob->refs, 1);
    return blob;
}

cr_blob *cr_board_wait(cr_board *b, cr_feed feed, unsigned long long *number)
{
    const struct timespec end = in_seconds(PATIENCE_S);
    pthread_mutex_lock(&b->lock);
    while (!b->closing && b->number[feed] == *number)
        if (pthread_cond_timedwait(&b->fresh, &b->lock, &end)) break;
    cr_blob *blob = b->closing ? NULL : hold(b->newest[feed]);
    *number = b->number[feed];
    pthread_mutex_unlock(&b->lock);
    return blob;
}

cr_blob *cr_board_snapshot(cr_board *b)
{
    pthread_mutex_lock(&b->lock);
    unsigned long long number = b->number[CR_FEED_LIVE];
    b->snapshot = true;
    pthread_cond_signal(&b->pending);
    pthread_mutex_unlock(&b->lock);
    return cr_board_wait(b, CR_FEED_LIVE, &number);
}
