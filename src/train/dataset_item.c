/* One training picture and its truth. Objects go the way of the pixels: source picture -> tile ->
 * input -> turned. A mask's pixel is on where at least half of four points in it are: a quarter of
 * its side off its middle; its points come back from the input to the source picture. */
#include <math.h>
#include <string.h>

#include "base/runs.h"
#include "train/dataset_store.h"

static const double SMALLEST = 2, LEAST_PART = .1;

/* What is made, and how. */
typedef struct making {
    cr_dataset *d;
    const cr_item_options *o;
    const cr_augmentation *a; /* NULL: none */
    cr_item *out;
    size_t cap; /* of objects */
    uint8_t *masks;
} making;

void cr_item_free(cr_item *item)
{
    cr_arena_free(&item->memory);
    memset(item, 0, sizeof *item);
}

/* ---- truth ----------------------------------------------------------------------------------- */

/* Room for `more` objects; what is there moves. */
static cr_status reserve(making *m, size_t more, cr_error *err)
{
    cr_truth *t = &m->out->truth;
    const size_t k = m->o->keypoints * 3, n = t->count + more,
                 area = (size_t)m->o->mask_height * (size_t)m->o->mask_width;
    cr_arena *a = &m->out->memory;
    if (n <= m->cap) return CR_OK;
    int *class_id = cr_arena_alloc(a, n * sizeof *class_id);
    double(*box)[4] = cr_arena_alloc(a, n * sizeof *box);
    double *keypoints = k ? cr_arena_alloc(a, n * k * sizeof *keypoints) : NULL;
    uint8_t *masks = area ? cr_arena_alloc(a, n * area) : NULL;
    if (!class_id || !box || (k && !keypoints) || (area && !masks)) return CR_NOMEM(err);
    if (t->count) {
        memcpy(class_id, t->class_id, t->count * sizeof *class_id);
        memcpy(box, t->box, t->count * sizeof *box);
        if (k) memcpy(keypoints, t->keypoints, t->count * k * sizeof *keypoints);
        if (area) memcpy(masks, t->masks, t->count * area);
    }
    *t = (cr_truth){t->count, class_id, (const double(*)[4])box, keypoints, masks};
    m->cap = n;
    return CR_OK;
}

/* The object's box in the input, cut at the tile's clip; false: too little of it is left. */
static bool place_box(const making *m, const cr_tile *tile, const double from[4], double to[4])
{
    double whole = 1, left = 1;
    for (int k = 0; k < 2; k++) {
        const double lo = from[k] * tile->gain[k] + tile->shift[k];
        const double hi = from[k + 2] * tile->gain[k] + tile->shift[k];
        to[k] = fmin(fmax(lo, tile->clip[k]), tile->clip[k + 2]);
        to[k + 2] = fmin(fmax(hi, tile->clip[k]), tile->clip[k + 2]);
        const double side = to[k + 2] - to[k];
        if (!(side > (m->a ? SMALLEST : 0))) return false;
        whole *= hi - lo;
        left *= side;
    }
    return !m->a || left > LEAST_PART * whole;
}

static void turn_box(const making *m, double box[4])
{
    double b[4];
    if (!m->a) return;
    memcpy(b, box, sizeof b);
    cr_augment_turn_point(m->a->turn, m->o->pre.width, m->o->pre.height, b);
    cr_augment_turn_point(m->a->turn, m->o->pre.width, m->o->pre.height, b + 2);
    for (int k = 0; k < 2; k++) {
        box[k] = fmin(b[k], b[k + 2]);
        box[k + 2] = fmax(b[k], b[k + 2]);
    }
}

static const int *flip_index_of(const cr_item_options *o)
{
    /* nose; eyes, ears, shoulders, elbows, wrists, hips, knees, ankles: left, right */
    static const int coco[17] = {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15};
    return o->flip_index ? o->flip_index : o->keypoints == 17 ? coco : NULL;
}

static void place_keypoints(const making *m, const cr_tile *tile, const cr_label_box *from,
                            double *to)
{
    const bool mirror = m->a && cr_augment_is_mirror(m->a->turn);
    const int *flip = flip_index_of(m->o);
    for (size_t k = 0; k < m->o->keypoints && k < from->keypoint_count; k++) {
        const double *p = from->keypoints + k * 3;
        const int place = mirror && flip ? flip[k] : (int)k;
        if (place < 0 || (size_t)place >= m->o->keypoints || p[2] == 0) continue;
        double xy[2];
        bool inside = true;
        for (int i = 0; i < 2; i++) {
            xy[i] = p[i] * tile->gain[i] + tile->shift[i];
            inside &= xy[i] >= tile->clip[i] && xy[i] <= tile->clip[i + 2];
        }
        if (!inside) continue;
        if (m->a) cr_augment_turn_point(m->a->turn, m->o->pre.width, m->o->pre.height, xy);
        to[place * 3] = xy[0];
        to[place * 3 + 1] = xy[1];
        to[place * 3 + 2] = p[2];
    }
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* A mask's pixels by columns, 0 or 1, from its run lengths. */
static cr_status unpack_mask(const cr_coco_mask *mask, uint8_t *bits, cr_error *err)
{
    cr_runs runs = {0};
    const size_t all = (size_t)mask->width * (size_t)mask->height;
    size_t at = 0;
    cr_status st = cr_runs_from_text(mask->counts, (uint32_t)all, &runs, err);
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

/* Columns or rows of the mask that the box reaches into. */
static void mask_range(double lo, double hi, double cell, int size, int *from, int *to)
{
    *from = (int)fmax(floor(lo / cell), 0);
    *to = (int)fmin(ceil(hi / cell), size);
}

/* box: of the object in the input, before it is turned. */
static cr_status place_mask(const making *m, const cr_tile *tile, const cr_coco_mask *mask,
                            const double box[4], uint8_t *out, cr_error *err)
{
    const int mw = m->o->mask_width, mh = m->o->mask_height;
    const double cell[2] = {(double)m->o->pre.width / mw, (double)m->o->pre.height / mh};
    uint8_t *bits = cr_malloc((size_t)mask->width * (size_t)mask->height);
    if (!bits) return CR_NOMEM(err);
    const cr_status st = unpack_mask(mask, bits, err);
    int x0, x1, y0, y1;
    mask_range(box[0], box[2], cell[0], mw, &x0, &x1);
    mask_range(box[1], box[3], cell[1], mh, &y0, &y1);
    for (int y = y0; st == CR_OK && y < y1; y++)
        for (int x = x0; x < x1; x++) {
            int on = 0;
            for (int k = 0; k < 4; k++) {
                const int64_t sx =
                    source_of(tile, 0, (x + (k % 2 ? .75 : .25)) * cell[0], mask->width);
                const int64_t sy =
                    source_of(tile, 1, (y + (k / 2 ? .75 : .25)) * cell[1], mask->height);
                if (sx >= 0 && sy >= 0) on += bits[sx * mask->height + sy];
            }
            out[(size_t)y * (size_t)mw + (size_t)x] = on >= 2;
        }
    cr_free(bits);
    if (m->a) cr_augment_turn(m->a->turn, out, 1, mw, mh);
    return st;
}

/* ---- pictures -------------------------------------------------------------------------------- */

static cr_status add_objects(making *m, const cr_dataset_entry *e, const cr_tile *tile,
                             cr_error *err)
{
    cr_truth *t = &m->out->truth;
    const size_t area = (size_t)m->o->mask_height * (size_t)m->o->mask_width;
    CR_TRY(reserve(m, e->count, err));
    for (size_t i = 0; i < e->count; i++) {
        const cr_dataset_object *from = &m->d->object[e->first + i];
        double *box = (double *)t->box[t->count];
        if (!place_box(m, tile, from->box, box)) continue;
        if (area && from->label->mask)
            CR_TRY(place_mask(m, tile, from->label->mask, box,
                              (uint8_t *)t->masks + t->count * area, err));
        if (m->o->keypoints)
            place_keypoints(m, tile, from->label,
                            (double *)t->keypoints + t->count * m->o->keypoints * 3);
        turn_box(m, box);
        ((int *)t->class_id)[t->count++] = from->class_id;
    }
    return CR_OK;
}

/* As the runtime has it: the same pixels. */
static cr_status make_plain(making *m, size_t index, uint8_t *pixels, cr_error *err)
{
    const cr_preprocess *pre = &m->o->pre;
    cr_image picture = {0};
    cr_placement p;
    CR_TRY(cr_dataset_read(m->d, index, &picture, &m->out->index, err));
    cr_status st = cr_preprocess_pixels(pre, &picture, pixels, &p, err);
    if (st == CR_OK) {
        const double w = pre->width, h = pre->height;
        const double x0 = (double)p.pad_x, y0 = (double)p.pad_y;
        const cr_tile tile = {{(double)p.gain_x, (double)p.gain_y},
                              {x0, y0},
                              {fmax(x0, 0), fmax(y0, 0),
                               fmin(x0 + picture.width * (double)p.gain_x, w),
                               fmin(y0 + picture.height * (double)p.gain_y, h)}};
        st = add_objects(m, &m->d->entry[m->out->index], &tile, err);
    }
    cr_image_free(&picture);
    return st;
}

static cr_status make_tile(making *m, int k, size_t index, uint8_t *pixels, cr_error *err)
{
    cr_image picture = {0};
    size_t used;
    CR_TRY(cr_dataset_read(m->d, index, &picture, &used, err));
    if (k == 0) m->out->index = used;
    const cr_tile tile = cr_augment_place(m->a, &m->o->pre, k, picture.width, picture.height);
    cr_augment_paint(&tile, &picture, &m->o->pre, pixels, m->o->pool);
    cr_image_free(&picture);
    return add_objects(m, &m->d->entry[used], &tile, err);
}

static void swap_red_and_blue(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++, pixels += 3) {
        const uint8_t red = pixels[0];
        pixels[0] = pixels[2];
        pixels[2] = red;
    }
}

static cr_status make_augmented(making *m, size_t index, cr_rng *rng, uint8_t *pixels,
                                cr_error *err)
{
    const cr_preprocess *pre = &m->o->pre;
    const size_t n = (size_t)pre->width * (size_t)pre->height;
    cr_augmentation a;
    cr_augment_options o = m->o->augment;
    uint32_t others[CR_MOSAIC];
    if (m->o->keypoints && !flip_index_of(m->o)) o.no_mirror = true;
    cr_augment_draw(&o, pre->width == pre->height, rng, &a);
    for (int k = 1; k < CR_MOSAIC; k++) others[k] = cr_rng_below(rng, (uint32_t)m->d->count);
    m->a = &a;
    memset(pixels, pre->pad, n * 3);
    for (int k = 0; k < a.tiles; k++) CR_TRY(make_tile(m, k, k ? others[k] : index, pixels, err));
    cr_augment_colour(&a, pixels, n, m->o->pool);
    cr_augment_turn(a.turn, pixels, 3, pre->width, pre->height);
    if (pre->bgr) swap_red_and_blue(pixels, n);
    return CR_OK;
}

static cr_status check_options(const cr_dataset *d, const cr_item_options *o, cr_error *err)
{
    enum { SIDE_MAX = 1 << 14 };
    CR_CHECK(o->pre.width >= 1 && o->pre.height >= 1 && o->pre.width <= SIDE_MAX &&
                 o->pre.height <= SIDE_MAX && o->mask_height >= 0 && o->mask_width >= 0 &&
                 o->mask_height <= SIDE_MAX && o->mask_width <= SIDE_MAX &&
                 !o->mask_height == !o->mask_width,
             err, CR_ERR_ARGUMENT, "training picture: %dx%d pixels with masks of %dx%d",
             o->pre.width, o->pre.height, o->mask_width, o->mask_height);
    CR_CHECK((!o->mask_height || d->parts & CR_LABEL_MASKS) &&
                 (!o->keypoints || d->parts & CR_LABEL_KEYPOINTS),
             err, CR_ERR_ARGUMENT, "training picture: the labels were read without %s",
             o->mask_height ? "masks" : "keypoints");
    return cr_augment_check(&o->augment, err);
}

cr_status cr_dataset_item(cr_dataset *d, const cr_item_options *o, size_t index, cr_rng *rng,
                          float *input, cr_item *out, cr_error *err)
{
    making m = {d, o, NULL, out};
    memset(out, 0, sizeof *out);
    CR_TRY(check_options(d, o, err));
    uint8_t *pixels = cr_malloc((size_t)o->pre.width * (size_t)o->pre.height * 3);
    if (!pixels) return CR_NOMEM(err);
    cr_status st =
        rng ? make_augmented(&m, index, rng, pixels, err) : make_plain(&m, index, pixels, err);
    if (st == CR_OK) st = cr_preprocess_normalize(&o->pre, pixels, input, err);
    if (st == CR_OK) {
        const cr_dataset_entry *e = &d->entry[out->index];
        out->class_id = e->count ? d->object[e->first].class_id : -1;
    } else
        cr_item_free(out);
    cr_free(pixels);
    return st;
}
