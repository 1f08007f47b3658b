/* Following objects from frame to frame, and counting them at lines and in zones.
 *
 *     cr_tracker *t = NULL;
 *     cr_tracker_create(NULL, &t, &err);
 *     for each frame: cr_tracker_update(t, &found, seconds, &err);      found.items[i].track: 1, 2,
 * ... cr_tracker_free(&t); */
#ifndef CRAYON_TRACK_H
#define CRAYON_TRACK_H

#include "crayon/detect.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ByteTrack (Zhang et al. 2022, "ByteTrack: Multi-Object Tracking by Associating Every Detection
 * Box"): sure detections are matched to tracks first, then unsure ones to what is left, so that an
 * object that is half hidden for a while keeps its number. Scores are those of the detections; for
 * unsure ones the detector must give boxes down to `low`. */
typedef struct cr_track_options {
    float high;    /* sure from here on, .25 */
    float low;     /* unsure from here on, .1; below: ignored */
    float fresh;   /* a new track begins with at least this score, .25 */
    float overlap; /* least share of overlap times score to be the same object, .2 */
    double memory; /* seconds until a lost track is forgotten, 1 */
} cr_track_options;
CR_API cr_track_options cr_track_options_default(void);

typedef struct cr_tracker cr_tracker;
/* options NULL: the defaults. */
CR_API cr_status cr_tracker_create(const cr_track_options *options, cr_tracker **out,
                                   cr_error *err);
CR_API void cr_tracker_free(cr_tracker **tracker);
/* Numbers what belongs to a track; takes out the rest: unsure boxes without one, and the first
 * sight of an object unless the tracker itself is new (it may be a flash; the next frame confirms
 * it). `time` in seconds, not falling. */
CR_API cr_status cr_tracker_update(cr_tracker *tracker, cr_detections *found, double time,
                                   cr_error *err);
/* Other thresholds from the next frame on. */
CR_API void cr_tracker_set_options(cr_tracker *tracker, const cr_track_options *options);
/* So many tracks were begun and confirmed. */
CR_API int cr_tracker_total(const cr_tracker *tracker);

/* A line (2 points) or a zone (a polygon of 3 to 32 points), in source pixels. */
enum { CR_MAX_ZONE_POINTS = 32 };
typedef struct cr_zone {
    int points;
    float x[CR_MAX_ZONE_POINTS], y[CR_MAX_ZONE_POINTS];
} cr_zone;

/* Where an object stands is the middle of its box's lower side. */
typedef struct cr_zone_counts {
    long long forward;  /* a line crossed from its left to its right, seen from the first point to
                           the  second with y down; a zone: entered */
    long long backward; /* the other way; a zone: left */
    long long inside;   /* a zone: now in it */
} cr_zone_counts;

typedef struct cr_zone_counter cr_zone_counter;
CR_API cr_status cr_zone_counter_create(const cr_zone *zone, cr_zone_counter **out, cr_error *err);
CR_API void cr_zone_counter_free(cr_zone_counter **counter);
/* After cr_tracker_update, with the same frame. */
CR_API cr_status cr_zone_counter_update(cr_zone_counter *counter, const cr_detections *found,
                                        cr_error *err);
CR_API cr_zone_counts cr_zone_counter_get(const cr_zone_counter *counter);

#ifdef __cplusplus
}
#endif
#endif
