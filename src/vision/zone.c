/* Lines and zones: what crosses them, what is inside.
 *
 * An object stands at the middle of its box's lower side. Of each track the last place is kept; a
 * step from there to the next place crosses a line if the two segments meet, and enters or leaves a
 * zone if only one of the two places is inside (even-odd rule). Places of tracks that are gone are
 * forgotten after 300 frames. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/track.h"

enum { FORGET_AFTER = 300 };

typedef struct place {
    int track;
    float x, y;
    long long frame;
} place;

struct cr_zone_counter {
    cr_zone zone;
    place *places;
    size_t count, capacity;
    long long frame;
    cr_zone_counts counts;
};

cr_status cr_zone_counter_create(const cr_zone *zone, cr_zone_counter **out, cr_error *err)
{
    *out = NULL;
    CR_CHECK(zone->points >= 2 && zone->points <= CR_MAX_ZONE_POINTS, err, CR_ERR_ARGUMENT,
             "a line has 2 points, a zone 3 to %d, not %d", CR_MAX_ZONE_POINTS, zone->points);
    for (int i = 0; i < zone->points; i++)
        CR_CHECK(isfinite(zone->x[i]) && isfinite(zone->y[i]), err, CR_ERR_ARGUMENT,
                 "point %d of the line or zone is not a number", i + 1);
    *out = cr_calloc(1, sizeof **out);
    if (!*out) return CR_NOMEM(err);
    (*out)->zone = *zone;
    return CR_OK;
}

void cr_zone_counter_free(cr_zone_counter **c)
{
    if (!c || !*c) return;
    cr_free((*c)->places);
    cr_free(*c);
    *c = NULL;
}

/* Which side of a -> b is p on: > 0 right (with y down), < 0 left. */
static double side(double ax, double ay, double bx, double by, double px, double py)
{
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax);
}

/* +1: crossed from left to right, -1: the other way. A place on the line counts as right. */
static int crosses(const cr_zone *z, const place *from, double x, double y)
{
    const double ax = z->x[0], ay = z->y[0], bx = z->x[1], by = z->y[1];
    const bool before = side(ax, ay, bx, by, from->x, from->y) >= 0;
    const bool after = side(ax, ay, bx, by, x, y) >= 0;
    if (before == after) return 0;
    const double a = side(from->x, from->y, x, y, ax, ay), b = side(from->x, from->y, x, y, bx, by);
    if ((a > 0 && b > 0) || (a < 0 && b < 0)) return 0; /* past one of its ends */
    return after ? 1 : -1;
}

static bool is_inside(const cr_zone *z, double x, double y)
{
    bool inside = false;
    for (int i = 0, j = z->points - 1; i < z->points; j = i++) {
        const double xi = z->x[i], yi = z->y[i], xj = z->x[j], yj = z->y[j];
        if ((yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) inside = !inside;
    }
    return inside;
}

static place *place_of(const cr_zone_counter *c, int track)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->places[i].track == track) return &c->places[i];
    return NULL;
}

static void forget(cr_zone_counter *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->frame - c->places[i].frame <= FORGET_AFTER) c->places[kept++] = c->places[i];
    c->count = kept;
}

static cr_status make_room(cr_zone_counter *c, size_t more, cr_error *err)
{
    if (c->count + more <= c->capacity) return CR_OK;
    const size_t capacity = 2 * (c->count + more);
    place *bigger = cr_malloc(capacity * sizeof *bigger);
    if (!bigger) return CR_NOMEM(err);
    if (c->count) memcpy(bigger, c->places, c->count * sizeof *bigger);
    cr_free(c->places);
    c->places = bigger;
    c->capacity = capacity;
    return CR_OK;
}

static void move(cr_zone_counter *c, int track, float x, float y)
{
    const bool line = c->zone.points == 2, inside = !line && is_inside(&c->zone, x, y);
    place *p = place_of(c, track);
    if (p) {
        const int way =
            line ? crosses(&c->zone, p, x, y) : (int)inside - (int)is_inside(&c->zone, p->x, p->y);
        c->counts.forward += way > 0;
        c->counts.backward += way < 0;
    } else {
        p = &c->places[c->count++];
        c->counts.forward += inside; /* appeared in the zone */
    }
    *p = (place){track, x, y, c->frame};
    c->counts.inside += inside;
}

cr_status cr_zone_counter_update(cr_zone_counter *c, const cr_detections *found, cr_error *err)
{
    c->frame++;
    c->counts.inside = 0;
    forget(c);
    CR_TRY(make_room(c, found->count, err));
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        if (d->track) move(c, d->track, (d->box[0] + d->box[2]) / 2, d->box[3]);
    }
    return CR_OK;
}

cr_zone_counts cr_zone_counter_get(const cr_zone_counter *c)
{
    return c->counts;
}
