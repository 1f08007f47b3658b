/* Extents come from the run lengths as they are; pixels from the mask unpacked, whose points are
 * looked up from the input back to the source. */
#include "train/dataset_mask.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/runs.h"

static cr_status read_runs(const cr_coco_mask *mask, cr_runs *runs, cr_error *err)
{
    return cr_runs_from_text(mask->counts, (uint32_t)mask->width * (uint32_t)mask->height, runs,
                             err);
}

/* ---- extents --------------------------------------------------------------------------------- */

/* Source pixels: columns x0..x1-1, rows y0..y1-1. */
typedef struct window {
    int64_t x0, y0, x1, y1;
} window;

/* Source pixels whose centres the tile's clip shows. */
static window shown(const cr_tile *t, const cr_coco_mask *mask)
{
    double edge[4];
    for (int k = 0; k < 4; k++) {
        const double size = k % 2 ? mask->height : mask->width;
        const double at = (t->clip[k] - t->shift[k % 2]) / t->gain[k % 2] - .5;
        edge[k] = fmin(fmax(ceil(at), 0), size);
    }
    return (window){(int64_t)edge[0], (int64_t)edge[1], (int64_t)edge[2], (int64_t)edge[3]};
}

/* Widens `found` by what pixels first..last-1 of column x show in the window. */
static void add_column(const window *w, int64_t x, int64_t first, int64_t last, window *found)
{
    const int64_t lo = first > w->y0 ? first : w->y0, hi = last < w->y1 ? last : w->y1;
    if (x < w->x0 || x >= w->x1 || lo >= hi) return;
    if (x < found->x0) found->x0 = x;
    if (x >= found->x1) found->x1 = x + 1;
    if (lo < found->y0) found->y0 = lo;
    if (hi > found->y1) found->y1 = hi;
}

/* Runs go down the columns and from one into the next. */
static window extent_in(const cr_runs *runs, int64_t height, const window *w)
{
    window found = {INT64_MAX, INT64_MAX, -1, -1};
    int64_t at = 0;
    for (size_t i = 0; i < runs->count; i++) {
        const int64_t end = at + runs->length[i];
        for (int64_t next; i % 2 && at < end; at = next) {
            const int64_t x = at / height, top = x * height;
            next = end < top + height ? end : top + height;
            add_column(w, x, at - top, next - top, &found);
        }
        at = end;
    }
    return found;
}

cr_status cr_mask_tighten(const cr_coco_mask *mask, const cr_tile *tile, double box[4], bool *empty,
                          cr_error *err)
{
    cr_runs runs = {0};
    const window w = shown(tile, mask);
    const cr_status st = read_runs(mask, &runs, err);
    if (st == CR_OK) {
        const window e = extent_in(&runs, mask->height, &w);
        const double edge[4] = {(double)e.x0, (double)e.y0, (double)e.x1, (double)e.y1};
        *empty = e.x1 < 0;
        for (int k = 0; k < 4 && !*empty; k++) {
            const double gain = tile->gain[k % 2];
            const double at = edge[k] * gain + tile->shift[k % 2];
            if ((k < 2 ? at - box[k] : box[k] - at) > gain) box[k] = at;
        }
    }
    cr_runs_free(&runs);
    return st;
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* The mask's pixels by columns, 0 or 1. */
static cr_status unpack(const cr_coco_mask *mask, uint8_t *bits, cr_error *err)
{
    cr_runs runs = {0};
    size_t at = 0;
    const cr_status st = read_runs(mask, &runs, err);
    for (size_t i = 0; st == CR_OK && i < runs.count; i++) {
        memset(bits + at, i % 2, runs.length[i]);
        at += runs.length[i];
    }
    cr_runs_free(&runs);
    return st;
}

/* The source pixel under a point of the input, -1: the point is not the tile's. */
static int64_t source_of(const cr_tile *tile, int axis, double x, int size)
{
    if (!(x >= tile->clip[axis] && x < tile->clip[axis + 2])) return -1;
    const double from = floor((x - tile->shift[axis]) / tile->gain[axis]);
    return (int64_t)fmin(fmax(from, 0), size - 1);
}

/* Columns or rows of cells that the box reaches into. */
static void cells_of(double lo, double hi, double cell, int size, int *from, int *to)
{
    *from = (int)fmax(floor(lo / cell), 0);
    *to = (int)fmin(ceil(hi / cell), size);
}

cr_status cr_mask_place(const cr_coco_mask *mask, const cr_tile *tile, const cr_mask_grid *grid,
                        const double box[4], uint8_t *out, cr_error *err)
{
    const double cell[2] = {(double)grid->width / grid->columns, (double)grid->height / grid->rows};
    uint8_t *bits = cr_malloc((size_t)mask->width * (size_t)mask->height);
    if (!bits) return CR_NOMEM(err);
    const cr_status st = unpack(mask, bits, err);
    int x0, x1, y0, y1;
    cells_of(box[0], box[2], cell[0], grid->columns, &x0, &x1);
    cells_of(box[1], box[3], cell[1], grid->rows, &y0, &y1);
    for (int y = y0; st == CR_OK && y < y1; y++)
        for (int x = x0; x < x1; x++) {
            int on = 0;
            for (int k = 0; k < 4; k++) {
                const double px = (x + (k % 2 ? .75 : .25)) * cell[0];
                const double py = (y + (k / 2 ? .75 : .25)) * cell[1];
                const int64_t sx = source_of(tile, 0, px, mask->width);
                const int64_t sy = source_of(tile, 1, py, mask->height);
                if (sx >= 0 && sy >= 0) on += bits[sx * mask->height + sy];
            }
            out[(size_t)y * (size_t)grid->columns + (size_t)x] = on >= 2;
        }
    cr_free(bits);
    return st;
}
