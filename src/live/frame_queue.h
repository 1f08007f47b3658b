/* The frames in flight: a ring of slots between one capture thread, the workers and one output.
 *
 *     capture            worker                    output
 *     fill  ──▶ [ frame ] ──▶ take ... done ──▶ [ detections ] ──▶ next ... release
 *
 * Slots are filled, taken and given out in one order, so results come out in the order of frames
 * whichever worker is faster. When the ring is full, capture waits (every frame) or replaces the
 * frame that waits (newest). Slots keep their memory: nothing is allocated once all have been used.
 */
#ifndef CR_LIVE_FRAME_QUEUE_H
#define CR_LIVE_FRAME_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>

#include "crayon/live.h"

struct AVFrame;
struct AVPacket;

enum { CR_FRAME_SOUND = 256 };

typedef struct cr_slot {
    struct AVFrame *frame;
    struct AVPacket *sound[CR_FRAME_SOUND]; /* that came before the frame */
    int sound_count;
    long long index;
    double time, arrival_ms;
    cr_image picture; /* reused */
    cr_detections found, versus_found;
    double model_ms, versus_ms;
    cr_status status; /* of the worker */
    cr_error err;
    bool done;
} cr_slot;

typedef struct cr_frame_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled, taken_done, freed;
    cr_slot *slots;
    unsigned long long head, take, out; /* sequence numbers: next to fill, to take, to give out */
    int count;
    bool newest, ended;
    long long dropped;
    const atomic_bool *stop;
} cr_frame_queue;

cr_status cr_frame_queue_init(cr_frame_queue *q, int slots, bool newest, const atomic_bool *stop,
                              cr_error *err);
void cr_frame_queue_destroy(cr_frame_queue *q);

/* Moves a frame with its sound in. Waits for room; false: stopped. */
bool cr_frame_queue_fill(cr_frame_queue *q, struct AVFrame *frame, struct AVPacket **sound,
                         int sound_count, long long index, double time);
/* No more frames will come. */
void cr_frame_queue_end(cr_frame_queue *q);
/* The next frame for a worker; NULL: no more. */
cr_slot *cr_frame_queue_take(cr_frame_queue *q);
void cr_frame_queue_done(cr_frame_queue *q, cr_slot *slot);
/* The next frame for the output, when a worker is done with it; NULL: no more. */
cr_slot *cr_frame_queue_next(cr_frame_queue *q);
void cr_frame_queue_release(cr_frame_queue *q, cr_slot *slot);

long long cr_frame_queue_dropped(cr_frame_queue *q);

double cr_live_now_ms(void);

#endif
