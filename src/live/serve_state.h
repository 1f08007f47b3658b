/* What the web server and the pipeline share: the newest frame, as viewers want it.
 *
 * cr_server_show copies the frame's planes into the waiting place and wakes the encoder thread,
 * which makes one JPEG for all viewers, and none when nobody looks. Blobs are counted: a viewer
 * keeps the one that it is sending while newer ones take its place. */
#ifndef CR_LIVE_SERVE_STATE_H
#define CR_LIVE_SERVE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "crayon/serve.h"
#include "live/mjpeg.h"

typedef enum cr_feed { CR_FEED_LIVE, CR_FEED_VERSUS, CR_FEED_EVENTS, CR_FEED_COUNT } cr_feed;

typedef struct cr_blob {
    atomic_int refs;
    size_t size;    /* of bytes, as they go to a viewer */
    size_t body_at; /* where the JPEG begins */
    size_t body_size;
    unsigned char bytes[];
} cr_blob;

typedef struct cr_board {
    pthread_mutex_t lock;
    pthread_cond_t fresh, pending;
    cr_blob *newest[CR_FEED_COUNT];
    unsigned long long number[CR_FEED_COUNT]; /* 1, 2, ...; 0: none yet */
    int viewers[CR_FEED_COUNT];
    bool snapshot; /* somebody waits for one picture */
    cr_live_picture waiting[2];
    uint8_t *planes[2];
    size_t capacity[2];
    bool has_waiting[2];
    unsigned long long frames;
    cr_live_frame figures; /* of the last frame; its pointers are not kept */
    int *counts;           /* objects by class in the last frame */
    int class_count;
    cr_mjpeg *encoder;
    pthread_t thread;
    bool started;
    atomic_bool closing;
} cr_board;

cr_status cr_board_init(cr_board *b, int class_count, cr_error *err);
void cr_board_destroy(cr_board *b);
/* Viewers that wait get NULL from now on. */
void cr_board_close(cr_board *b);

/* `event` is the frame's JSON; it is copied. */
void cr_board_show(cr_board *b, const cr_live_frame *f, const char *event);

void cr_board_join(cr_board *b, cr_feed feed);
void cr_board_leave(cr_board *b, cr_feed feed);
/* The first blob newer than *number, which becomes its; after 5 seconds without one the same again
 * (NULL if there is none yet). NULL with b->closing: the end. The caller releases it. */
cr_blob *cr_board_wait(cr_board *b, cr_feed feed, unsigned long long *number);
/* One picture, at most 5 seconds old or waited for. */
cr_blob *cr_board_snapshot(cr_board *b);
void cr_blob_release(cr_blob *blob);

#endif
