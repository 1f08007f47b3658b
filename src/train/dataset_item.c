/* One training picture and its truth. Objects go the way of the pixels: source picture -> tile ->
 * input -> turned. */
#include <math.h>
#include <string.h>

#include "train/dataset_mask.h"
#include "train/dataset_store.h"

static const double SMALLEST = 2, LEAST_PART = .1;

/* What is made, and how. */
typedef struct making {
    cr_dataset *d;
    const cr_item_options *o;
    const cr_augmentation *a; /* NULL: none */
    cr_item *out;
    size_t cap; /* of objects */
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

/* The object's box in the input, cut at the tile's clip. *cut: some of it is lost. */
static void clip_box(const cr_tile *tile, const double from[4], double to[4], bool *cut)
{
    *cut = false;
    for (int e = 0; e < 4; e++) {
        const int k = e % 2;
        const double at = from[e] * tile->gain[k] + tile->shift[k];
        to[e] = fmin(fmax(at, tile->clip[k]), tile->clip[k + 2]);
        *cut |= to[e] != at;
    }
}

static double area_of(const double box[4])
{
    return (box[2] - box[0]) * (box[3] - box[1]);
}

static bool is_left(const making *m, const cr_tile *tile, const double from[4], const double to[4])
{
    const double least = m->a ? SMALLEST : 0;
    const double whole = area_of(from) * tile->gain[0] * tile->gain[1];
    return to[2] - to[0] > least && to[3] - to[1] > least &&
           (!m->a || area_of(to) > LEAST_PART * whole);
}

/* Box and mask of an object in the input, not yet turned; *left: is enough of it there? */
static cr_status place_object(const making *m, const cr_dataset_object *from, const cr_tile *tile,
                              double *box, uint8_t *mask, bool *left, cr_error *err)
{
    const cr_mask_grid grid = {m->o->pre.width, m->o->pre.height, m->o->mask_width,
                               m->o->mask_height};
    bool cut, empty = false;
    clip_box(tile, from->box, box, &cut);
    *left = is_left(m, tile, from->box, box);
    if (!*left || !from->label->mask) return CR_OK;
    if (cut) CR_TRY(cr_mask_tighten(from->label->mask, tile, box, &empty, err));
    *left = !empty && is_left(m, tile, from->box, box);
    if (!*left || !mask) return CR_OK;
    CR_TRY(cr_mask_place(from->label->mask, tile, &grid, box, mask, err));
    if (m->a) cr_augment_turn(m->a->turn, mask, 1, grid.columns, grid.rows);
    return CR_OK;
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

/* What each keypoint is in a mirror, NULL: not known. */
static const int *flip_index_of(const cr_dataset *d, const cr_item_options *o)
{
    /* nose; eyes, ears, shoulders, elbows, wrists, hips, knees, ankles: left, right */
    static const int coco[17] = {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15};
    size_t n;
    const int *pairs = cr_labels_keypoint_pairs(d->labels, &n);
    if (o->flip_index) return o->flip_index;
    if (pairs && n == o->keypoints) return pairs;
    return o->keypoints == 17 ? coco : NULL;
}

static void place_keypoints(const making *m, const cr_tile *tile, const cr_label_box *from,
                            double *to)
{
    const bool mirror = m->a && cr_augment_is_mirror(m->a->turn);
    const int *flip = flip_index_of(m->d, m->o);
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
        uint8_t *mask = area ? (uint8_t *)t->masks + t->count * area : NULL;
        bool left;
        CR_TRY(place_object(m, from, tile, box, mask, &left, err));
        if (!left) continue;
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
    const cr_status st = cr_augment_paint(&tile, &picture, &m->o->pre, pixels, m->o->pool, err);
    cr_image_free(&picture);
    return st == CR_OK ? add_objects(m, &m->d->entry[used], &tile, err) : st;
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
    if (m->o->keypoints && !flip_index_of(m->d, m->o)) o.no_mirror = true;
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
