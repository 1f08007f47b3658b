/* ByteTrack.
 *
 * A track is a box that moves with constant velocity: centre, aspect ratio and height each have a
 * Kalman filter of their own (position and velocity). With the noises of SORT and ByteTrack, which
 * depend on the height alone and are independent, the usual filter of eight states falls apart into
 * these four of two. (Rejected: the 8x8 matrices, 50 times the work for the same numbers.)
 *
 * Per frame: predict; pair sure detections with tracks by 1 - overlap * score; pair unsure ones
 * with tracks that are still without by 1 - overlap; confirm or drop what was new in the frame
 * before; begin new tracks with sure detections that are left. Classes are not mixed: boxes of
 * different classes have no overlap. */
#include "crayon/track.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "vision/assign.h"

enum { DIMS = 4 };

typedef struct filter {
    double x, v;          /* position, velocity per frame */
    double pxx, pxv, pvv; /* covariance */
} filter;

typedef enum track_state { TRACK_NEW, TRACK_SEEN, TRACK_LOST } track_state;

typedef struct track {
    int id, class_id;
    track_state state;
    double seen;    /* when it was matched last */
    filter f[DIMS]; /* centre x, centre y, width / height, height */
} track;

struct cr_tracker {
    cr_track_options o;
    track *tracks;
    size_t count, capacity;
    int next_id;
    bool begun;
};

cr_track_options cr_track_options_default(void)
{
    return (cr_track_options){.high = .25f, .low = .1f, .fresh = .25f, .overlap = .2f, .memory = 1};
}

/* ---- one track ---- */

static void measure(const float box[4], double z[DIMS])
{
    const double w = (double)box[2] - (double)box[0], h = (double)box[3] - (double)box[1];
    z[0] = (double)box[0] + w / 2;
    z[1] = (double)box[1] + h / 2;
    z[2] = h > 0 ? w / h : 0;
    z[3] = h;
}

/* Standard deviations of position and velocity: shares of the height; the ratio's are fixed. */
static double position_noise(int d, double height)
{
    return d == 2 ? 1e-2 : height / 20;
}
static double velocity_noise(int d, double height)
{
    return d == 2 ? 1e-5 : height / 160;
}
static double measuring_noise(int d, double height)
{
    return d == 2 ? 1e-1 : height / 20;
}

static void begin_track(track *t, const cr_detection *d, double time)
{
    double z[DIMS];
    measure(d->box, z);
    *t = (track){.class_id = d->class_id, .state = TRACK_NEW, .seen = time};
    for (int i = 0; i < DIMS; i++) {
        const double p = 2 * position_noise(i, z[3]), v = 10 * velocity_noise(i, z[3]);
        t->f[i] = (filter){.x = z[i], .pxx = p * p, .pvv = v * v};
    }
}

static void predict(track *t)
{
    const double height = t->f[3].x;
    if (t->state == TRACK_LOST) t->f[3].v = 0; /* what is hidden does not grow */
    for (int i = 0; i < DIMS; i++) {
        filter *f = &t->f[i];
        const double p = position_noise(i, height), v = velocity_noise(i, height);
        f->x += f->v;
        f->pxx += 2 * f->pxv + f->pvv + p * p;
        f->pxv += f->pvv;
        f->pvv += v * v;
    }
}

static void correct(track *t, const cr_detection *d, double time)
{
    double z[DIMS];
    measure(d->box, z);
    const double height = t->f[3].x;
    for (int i = 0; i < DIMS; i++) {
        filter *f = &t->f[i];
        const double r = measuring_noise(i, height), s = f->pxx + r * r;
        const double kx = f->pxx / s, kv = f->pxv / s, gap = z[i] - f->x;
        f->x += kx * gap;
        f->v += kv * gap;
        f->pvv -= kv * f->pxv;
        f->pxv -= kx * f->pxv;
        f->pxx -= kx * f->pxx;
    }
    t->seen = time;
    t->state = TRACK_SEEN;
}

static void box_of(const track *t, float box[4])
{
    const double h = t->f[3].x, w = t->f[2].x * h;
    box[0] = (float)(t->f[0].x - w / 2);
    box[1] = (float)(t->f[1].x - h / 2);
    box[2] = (float)(t->f[0].x + w / 2);
    box[3] = (float)(t->f[1].x + h / 2);
}

static float overlap(const float a[4], const float b[4])
{
    const float w = fminf(a[2], b[2]) - fmaxf(a[0], b[0]);
    const float h = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    if (!(w > 0) || !(h > 0)) return 0;
    const float inter = w * h, both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
    return inter / (both - inter);
}

/* ---- pairing ---- */

typedef struct stage {
    float low, high; /* scores of the detections that take part: low <= score < high */
    unsigned states; /* bit per track_state */
    bool weigh;      /* overlap times score */
    float most;      /* largest cost of a pair */
} stage;

typedef struct frame {
    cr_detections *found;
    double time;
    bool *taken;   /* by detection */
    bool *matched; /* by track */
    int *rows, *columns, *pair;
    float *cost;
} frame;

static bool takes_part(const stage *s, const cr_detection *d)
{
    return d->score >= s->low && d->score < s->high && isfinite(d->box[0]) && isfinite(d->box[1]) &&
           isfinite(d->box[2]) && isfinite(d->box[3]);
}

static float cost_of(const stage *s, const track *t, const cr_detection *d)
{
    float box[4];
    if (t->class_id != d->class_id) return 1;
    box_of(t, box);
    return 1 - overlap(box, d->box) * (s->weigh ? d->score : 1);
}

static cr_status pair_up(cr_tracker *k, frame *f, const stage *s, cr_error *err)
{
    int rows = 0, columns = 0;
    for (size_t i = 0; i < k->count; i++)
        if (!f->matched[i] && (s->states >> k->tracks[i].state & 1)) f->rows[rows++] = (int)i;
    for (size_t i = 0; i < f->found->count; i++)
        if (!f->taken[i] && takes_part(s, &f->found->items[i])) f->columns[columns++] = (int)i;
    if (!rows || !columns) return CR_OK;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            f->cost[(size_t)r * (size_t)columns + (size_t)c] =
                cost_of(s, &k->tracks[f->rows[r]], &f->found->items[f->columns[c]]);
    CR_TRY(cr_assign(f->cost, rows, columns, s->most, f->pair, err));
    for (int r = 0; r < rows; r++) {
        if (f->pair[r] < 0) continue;
        track *t = &k->tracks[f->rows[r]];
        const int column = f->columns[f->pair[r]];
        if (!t->id) t->id = ++k->next_id;
        correct(t, &f->found->items[column], f->time);
        f->found->items[column].track = t->id;
        f->matched[f->rows[r]] = f->taken[column] = true;
    }
    return CR_OK;
}

/* ---- the list ---- */

static cr_status make_room(cr_tracker *k, size_t more, cr_error *err)
{
    if (k->count + more <= k->capacity) return CR_OK;
    const size_t capacity = 2 * (k->count + more);
    track *bigger = cr_malloc(capacity * sizeof *bigger);
    if (!bigger) return CR_NOMEM(err);
    if (k->count) memcpy(bigger, k->tracks, k->count * sizeof *bigger);
    cr_free(k->tracks);
    k->tracks = bigger;
    k->capacity = capacity;
    return CR_OK;
}

/* What was not matched is lost, new ones at once, others after a while; the order is kept. */
static void drop_lost(cr_tracker *k, const frame *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->count; i++) {
        track *t = &k->tracks[i];
        if (!f->matched[i]) {
            if (t->state == TRACK_NEW || f->time - t->seen > k->o.memory) continue;
            t->state = TRACK_LOST;
        }
        k->tracks[kept++] = *t;
    }
    k->count = kept;
}

static void begin_tracks(cr_tracker *k, frame *f)
{
    for (size_t i = 0; i < f->found->count; i++) {
        cr_detection *d = &f->found->items[i];
        const stage sure = {.low = k->o.fresh, .high = INFINITY};
        if (f->taken[i] || !takes_part(&sure, d)) continue;
        track *t = &k->tracks[k->count++];
        begin_track(t, d, f->time);
        if (k->begun) continue;
        t->state = TRACK_SEEN; /* in the first frame all are new */
        t->id = d->track = ++k->next_id;
    }
    k->begun = true;
}

/* Only what has a number stays; keypoints go with their detections. */
static void keep_tracked(cr_detections *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found->count; i++)
        if (found->items[i].track) found->items[kept++] = found->items[i];
    found->count = kept;
}

static cr_status follow(cr_tracker *k, frame *f, cr_error *err)
{
    const unsigned known = 1u << TRACK_SEEN | 1u << TRACK_LOST;
    const float most = 1 - k->o.overlap;
    const stage stages[] = {
        {k->o.high, INFINITY, known, true, most},
        {k->o.low, k->o.high, 1u << TRACK_SEEN, false, .5f},
        {k->o.high, INFINITY, 1u << TRACK_NEW, true, .7f},
    };
    for (size_t i = 0; i < k->count; i++) predict(&k->tracks[i]);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        CR_TRY(pair_up(k, f, &stages[i], err));
    drop_lost(k, f);
    CR_TRY(make_room(k, f->found->count, err));
    begin_tracks(k, f);
    keep_tracked(f->found);
    return CR_OK;
}

cr_status cr_tracker_update(cr_tracker *k, cr_detections *found, double time, cr_error *err)
{
    const size_t n = found->count, t = k->count;
    frame f = {.found = found, .time = time};
    f.taken = cr_calloc(n + t + 2, sizeof *f.taken);
    f.rows = cr_malloc((n + 2 * t + 3) * sizeof *f.rows);
    f.cost = cr_malloc((n * t + 1) * sizeof *f.cost);
    cr_status st = f.taken && f.rows && f.cost ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) {
        f.matched = f.taken + n + 1;
        f.pair = f.rows + t + 1;
        f.columns = f.pair + t + 1;
        for (size_t i = 0; i < n; i++) found->items[i].track = 0;
        st = follow(k, &f, err);
    }
    cr_free(f.taken);
    cr_free(f.rows);
    cr_free(f.cost);
    return st;
}

cr_status cr_tracker_create(const cr_track_options *options, cr_tracker **out, cr_error *err)
{
    *out = cr_calloc(1, sizeof **out);
    if (!*out) return CR_NOMEM(err);
    (*out)->o = options ? *options : cr_track_options_default();
    return CR_OK;
}

void cr_tracker_free(cr_tracker **k)
{
    if (!k || !*k) return;
    cr_free((*k)->tracks);
    cr_free(*k);
    *k = NULL;
}

void cr_tracker_set_options(cr_tracker *k, const cr_track_options *options)
{
    k->o = *options;
}

int cr_tracker_total(const cr_tracker *k)
{
    return k->next_id;
}
