/* COCO's masks, pixel for pixel (pycocotools' maskApi.c, rleFrPoly, is the definition):
 *
 * corners are rounded on a grid five times finer than the pixels, edges are drawn there as rows of
 * points, and wherever such a row steps from fine column 5c+2 to 5c+3 (or back) it crosses the
 * centre of pixel column c: from the crossing's y on, the column's pixels change between on and
 * off. The sorted crossings are the run lengths.
 *
 * Only the crossings are visited, at most one per edge and column, found by the same rounding:
 * walking each fine point, as the definition reads, takes time by the length of an edge, which a
 * hostile file chooses. */
#include "eval/mask_runs.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static const int64_t FINE = 5;
static const size_t CROSSINGS_MAX = (size_t)1 << 25;

typedef struct crossings {
    uint32_t *at; /* place in the column order where pixels change */
    size_t count, cap;
} crossings;

typedef struct fine_point {
    int64_t x, y;
} fine_point;

cr_status cr_mask_check_size(int width, int height, cr_error *err)
{
    CR_CHECK(width > 0 && height > 0 && width <= CR_MASK_SIDE_MAX && height <= CR_MASK_SIDE_MAX &&
                 (int64_t)width * height <= INT32_MAX,
             err, CR_ERR_FORMAT, "%dx%d pixels: not the size of a mask", width, height);
    return CR_OK;
}

/* The pixel row from which a crossing at fine row v counts. */
static uint32_t row_of(int64_t v, int height)
{
    const double y = ((double)v + .5) / (double)FINE - .5;
    return (uint32_t)ceil(y < 0 ? 0 : y > height ? height : y);
}

static cr_status add_crossing(crossings *c, int64_t column, int64_t v, int height, cr_error *err)
{
    CR_CHECK(c->count < CROSSINGS_MAX, err, CR_ERR_LIMIT, "a polygon crosses more than %zu columns",
             CROSSINGS_MAX);
    if (!cr_grow((void **)&c->at, &c->cap, c->count, sizeof *c->at)) return CR_NOMEM(err);
    c->at[c->count++] = (uint32_t)column * (uint32_t)height + row_of(v, height);
    return CR_OK;
}

static int64_t rounded(int64_t from, double slope, int64_t step)
{
    return (int64_t)((double)from + slope * (double)step + .5);
}

/* The first step at which a steep edge's x is beyond `column` (above, or below if it falls). */
static int64_t step_beyond(const fine_point *a, double slope, int64_t steps, int64_t x)
{
    int64_t low = 0, high = steps;
    while (low < high) {
        const int64_t mid = low + (high - low) / 2, at = rounded(a->x, slope, mid);
        if (slope > 0 ? at > x : at <= x)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Fine row of the crossing between fine columns x and x + 1: the upper one of its two points. */
static int64_t crossing_row(const fine_point *a, const fine_point *b, int64_t x)
{
    const int64_t dx = llabs(b->x - a->x), dy = llabs(b->y - a->y);
    if (dx >= dy) {
        const double slope = (double)(b->y - a->y) / (double)dx;
        const int64_t left = rounded(a->y, slope, x - a->x);
        const int64_t right = rounded(a->y, slope, x + 1 - a->x);
        return left < right ? left : right;
    }
    const double slope = (double)(b->x - a->x) / (double)dy;
    return a->y + step_beyond(a, slope, dy, x) - 1;
}

static cr_status cross_edge(crossings *c, fine_point a, fine_point b, int width, int height,
                            cr_error *err)
{
    const int64_t dx = llabs(b.x - a.x), dy = llabs(b.y - a.y);
    if (dx >= dy ? a.x > b.x : a.y > b.y) {
        const fine_point t = a;
        a = b;
        b = t;
    }
    const int64_t low = a.x < b.x ? a.x : b.x, high = a.x < b.x ? b.x : a.x;
    int64_t column = low <= 2 ? 0 : (low + 2) / FINE; /* first with low <= 5 column + 2 */
    for (; column < width && FINE * column + 2 < high; column++)
        CR_TRY(add_crossing(c, column, crossing_row(&a, &b, FINE * column + 2), height, err));
    return CR_OK;
}

static int by_place(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static cr_status join_crossings(crossings *c, uint32_t pixels, cr_runs *out, cr_error *err)
{
    uint32_t before = 0;
    bool on = false;
    if (c->count) qsort(c->at, c->count, sizeof *c->at, by_place);
    for (size_t i = 0; i <= c->count; i++, on = !on) {
        const uint32_t at = i < c->count ? c->at[i] : pixels;
        if (!cr_runs_add(out, on, at - before)) return CR_NOMEM(err);
        before = at;
    }
    return CR_OK;
}

static fine_point fine(const double *xy)
{
    return (fine_point){(int64_t)((double)FINE * xy[0] + .5), (int64_t)((double)FINE * xy[1] + .5)};
}

cr_status cr_runs_from_polygon(const double *xy, size_t n, int width, int height, cr_runs *out,
                               cr_error *err)
{
    CR_TRY(cr_mask_check_size(width, height, err));
    CR_CHECK(n >= 3, err, CR_ERR_FORMAT, "a polygon of %zu corners", n);
    for (size_t i = 0; i < 2 * n; i++)
        CR_CHECK(fabs(xy[i]) <= CR_MASK_COORDINATE_MAX, err, CR_ERR_FORMAT,
                 "a polygon's corner lies at %g", xy[i]);
    crossings c = {0};
    cr_status st = CR_OK;
    for (size_t i = 0; i < n && st == CR_OK; i++)
        st = cross_edge(&c, fine(xy + 2 * i), fine(xy + 2 * ((i + 1) % n)), width, height, err);
    if (st == CR_OK) st = join_crossings(&c, (uint32_t)width * (uint32_t)height, out, err);
    cr_free(c.at);
    return st;
}

/* ---- two masks ------------------------------------------------------------------------------- */

/* Walks two lists of runs side by side: pieces in which neither changes. */
typedef struct side_by_side {
    const cr_runs *a, *b;
    size_t i, j; /* of the runs that the piece is in */
    uint32_t a_left, b_left;
} side_by_side;

static side_by_side both(const cr_runs *a, const cr_runs *b)
{
    return (side_by_side){a, b, 0, 0, a->count ? a->length[0] : 0, b->count ? b->length[0] : 0};
}

/* Length of the next piece, and whether it is on in each; false: the end. */
static bool next_piece(side_by_side *s, uint32_t *length, bool *in_a, bool *in_b)
{
    while (!s->a_left && s->i + 1 < s->a->count) s->a_left = s->a->length[++s->i];
    while (!s->b_left && s->j + 1 < s->b->count) s->b_left = s->b->length[++s->j];
    *length = s->a_left < s->b_left ? s->a_left : s->b_left;
    *in_a = s->i & 1;
    *in_b = s->j & 1;
    s->a_left -= *length;
    s->b_left -= *length;
    return *length;
}

cr_status cr_runs_unite(cr_runs *a, const cr_runs *b, cr_error *err)
{
    cr_runs sum = {0};
    side_by_side s = both(a, b);
    uint32_t length;
    for (bool in_a, in_b; next_piece(&s, &length, &in_a, &in_b);)
        if (!cr_runs_add(&sum, in_a || in_b, length)) {
            cr_runs_free(&sum);
            return CR_NOMEM(err);
        }
    cr_runs_free(a);
    *a = sum;
    return CR_OK;
}

uint64_t cr_runs_area(const cr_runs *r)
{
    uint64_t area = 0;
    for (size_t i = 1; i < r->count; i += 2) area += r->length[i];
    return area;
}

double cr_runs_overlap(const cr_runs *a, const cr_runs *b, bool crowd)
{
    uint64_t shared = 0, any = 0;
    side_by_side s = both(a, b);
    uint32_t length;
    for (bool in_a, in_b; next_piece(&s, &length, &in_a, &in_b);) {
        if (in_a && in_b) shared += length;
        if (in_a || in_b) any += length;
    }
    if (!shared) return 0;
    return (double)shared / (double)(crowd ? cr_runs_area(a) : any);
}

void cr_runs_box(const cr_runs *r, int height, double out[4])
{
    const uint32_t h = (uint32_t)height;
    uint32_t at = 0, x0 = UINT32_MAX, x1 = 0, y0 = UINT32_MAX, y1 = 0;
    for (size_t i = 0; i < r->count; at += r->length[i++]) {
        if (!(i & 1)) continue;
        const uint32_t last = at + r->length[i] - 1;
        const bool one_column = at / h == last / h;
        const uint32_t top = one_column ? at % h : 0, bottom = one_column ? last % h : h - 1;
        if (at / h < x0) x0 = at / h;
        if (last / h > x1) x1 = last / h;
        if (top < y0) y0 = top;
        if (bottom > y1) y1 = bottom;
    }
    const bool any = x0 != UINT32_MAX;
    out[0] = any ? x0 : 0;
    out[1] = any ? y0 : 0;
    out[2] = any ? x1 - x0 + 1 : 0;
    out[3] = any ? y1 - y0 + 1 : 0;
}

cr_status cr_mask_runs(const cr_coco_mask *m, const char *what, size_t index, cr_runs *out,
                       cr_error *err)
{
    cr_status st = cr_mask_check_size(m->width, m->height, err);
    if (st == CR_OK)
        st = cr_runs_from_text(m->counts, (uint32_t)m->width * (uint32_t)m->height, out, err);
    if (st == CR_OK) return CR_OK;
    cr_runs_free(out);
    return cr_fail_prefix(err, st, "%s %zu: mask", what, index);
}
