/* The pictures on which two lists of detections agree least, side by side.
 *
 * Agreement of one picture is cr_coco_agreement_results' mAP50-95 on it alone (the left side as truth),
 * less when the right side finds what the left one does not: a picture with detections on the right
 * only has 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/mask_runs.h"
#include "report/report_image.h"
#include "report/report_page.h"

enum { LARGEST = 640 };

typedef struct judged {
    size_t picture;
    double agreement;
    size_t left, right; /* detections to be drawn */
} judged;

typedef struct place {
    int64_t image_id;
    size_t index;
} place;

/* One list, and those of it that belong to the picture at hand. */
typedef struct side {
    const char *name;
    const cr_coco_results *all;
    place *order; /* by picture, those of one as they came */
    cr_coco_results own; /* texts of masks are those of `all` */
} side;

static int64_t id_of(const cr_report_views *v, size_t picture)
{
    return v->ids ? v->ids[picture] : (int64_t)picture + 1;
}

static int by_picture(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->image_id != y->image_id) return x->image_id < y->image_id ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void close_side(side *s)
{
    cr_free(s->order);
    cr_free(s->own.boxes);
    cr_free(s->own.masks);
    cr_free(s->own.points);
    cr_free(s->own.corners);
}

static cr_status open_side(side *s, const char *name, const cr_coco_results *all, cr_error *err)
{
    const size_t n = all->count + 1;
    *s = (side){.name = name, .all = all, .order = cr_calloc(n, sizeof *s->order)};
    s->own = (cr_coco_results){.boxes = cr_calloc(n, sizeof *s->own.boxes), .keypoints = all->keypoints};
    if (all->masks) s->own.masks = cr_calloc(n, sizeof *s->own.masks);
    if (all->points) s->own.points = cr_calloc(n, 3 * all->keypoints * sizeof *s->own.points);
    if (all->corners) s->own.corners = cr_calloc(n, 8 * sizeof *s->own.corners);
    if (!s->order || !s->own.boxes || (all->masks && !s->own.masks) ||
        (all->points && !s->own.points) || (all->corners && !s->own.corners))
        return CR_NOMEM(err);
    for (size_t i = 0; i < all->count; i++) s->order[i] = (place){all->boxes[i].image_id, i};
    if (all->count) qsort(s->order, all->count, sizeof *s->order, by_picture);
    return CR_OK;
}

static void take_one(side *s, size_t from)
{
    const cr_coco_results *a = s->all;
    cr_coco_results *o = &s->own;
    const size_t to = o->count++, each = 3 * a->keypoints;
    o->boxes[to] = a->boxes[from];
    if (a->masks) o->masks[to] = a->masks[from];
    if (a->points) memcpy(o->points + to * each, a->points + from * each, each * sizeof *a->points);
    if (a->corners) memcpy(o->corners + to * 8, a->corners + from * 8, 8 * sizeof *a->corners);
}

/* What is to be drawn of one picture becomes s->own. */
static void take(side *s, int64_t id)
{
    size_t low = 0, high = s->all->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s->order[middle].image_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    s->own.count = 0;
    for (; low < s->all->count && s->order[low].image_id == id; low++)
        if (s->all->boxes[s->order[low].index].score >= CR_AGREEMENT_CONF)
            take_one(s, s->order[low].index);
}

static cr_status judge(const cr_report_views *v, side s[2], size_t picture, judged *out, cr_error *err)
{
    cr_coco_metrics forth, back;
    for (int k = 0; k < 2; k++) take(&s[k], id_of(v, picture));
    *out = (judged){picture, 1, s[0].own.count, s[1].own.count};
    if (!out->left && !out->right) return CR_OK;
    CR_TRY(cr_coco_agreement_results(&s[0].own, &s[1].own, v->metric, CR_AGREEMENT_CONF, &forth, err));
    CR_TRY(cr_coco_agreement_results(&s[1].own, &s[0].own, v->metric, CR_AGREEMENT_CONF, &back, err));
    out->agreement = fmin(fmax(forth.ap, 0), fmax(back.ap, 0));
    return CR_OK;
}

static int worst_first(const void *x, const void *y)
{
    const judged *a = x, *b = y;
    if (a->agreement != b->agreement) return a->agreement < b->agreement ? -1 : 1;
    const size_t n = a->left + a->right, m = b->left + b->right;
    return n != m ? (n > m ? -1 : 1) : (a->picture > b->picture) - (a->picture < b->picture);
}

/* ---- one picture ---- */

/* A canvas, and what turns pixels of the file into its own. */
typedef struct canvas {
    cr_image img;
    double fx, fy;
} canvas;

/* The pixels of a mask, column by column. */
static cr_status spread(const cr_coco_mask *m, size_t index, uint8_t **pixels, double xywh[4], cr_error *err)
{
    cr_runs runs = {0};
    *pixels = NULL;
    CR_TRY(cr_mask_runs(m, "detection", index, &runs, err));
    cr_runs_box(&runs, m->height, xywh);
    *pixels = cr_malloc((size_t)m->width * (size_t)m->height + 1);
    uint8_t *at = *pixels;
    for (size_t i = 0; at && i < runs.count; at += runs.length[i++])
        if (runs.length[i]) memset(at, i & 1, runs.length[i]);
    cr_runs_free(&runs);
    return *pixels ? CR_OK : CR_NOMEM(err);
}

static cr_status shrink_mask(const canvas *c, const cr_coco_mask *m, size_t index, cr_mask *out, cr_error *err)
{
    uint8_t *pixels;
    double box[4];
    CR_TRY(spread(m, index, &pixels, box, err));
    out->x = (int)(box[0] * c->fx);
    out->y = (int)(box[1] * c->fy);
    out->width = (int)fmin(ceil((box[0] + box[2]) * c->fx), c->img.width) - out->x;
    out->height = (int)fmin(ceil((box[1] + box[3]) * c->fy), c->img.height) - out->y;
    if (box[2] <= 0 || out->width < 0 || out->height < 0) out->width = out->height = 0;
    out->on = cr_calloc((size_t)out->width * (size_t)out->height + 1, 1);
    for (int y = 0; out->on && y < out->height; y++)
        for (int x = 0; x < out->width; x++) {
            const int sx = (int)fmin((out->x + x + .5) / c->fx, m->width - 1);
            const int sy = (int)fmin((out->y + y + .5) / c->fy, m->height - 1);
            out->on[(size_t)y * (size_t)out->width + (size_t)x] = pixels[(size_t)sx * (size_t)m->height + (size_t)sy];
        }
    cr_free(pixels);
    return out->on ? CR_OK : CR_NOMEM(err);
}

static void scale_points(const canvas *c, const double *from, size_t n, size_t step, float *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i * step] = (float)(from[i * step] * c->fx);
        to[i * step + 1] = (float)(from[i * step + 1] * c->fy);
        if (step == 3) to[i * step + 2] = (float)from[i * step + 2];
    }
}

static cr_status make_detection(const canvas *c, const cr_coco_results *r, size_t i, cr_detections *list,
                                cr_error *err)
{
    const cr_coco_box *b = &r->boxes[i];
    cr_detection *d = &list->items[i];
    d->class_id = b->category_id >= 0 && b->category_id < INT32_MAX ? (int)b->category_id : 0;
    d->score = (float)b->score;
    d->box[0] = (float)(b->x * c->fx);
    d->box[1] = (float)(b->y * c->fy);
    d->box[2] = (float)((b->x + b->w) * c->fx);
    d->box[3] = (float)((b->y + b->h) * c->fy);
    d->oriented = r->corners != NULL;
    if (r->corners) scale_points(c, r->corners + 8 * i, 4, 2, d->corners);
    if (r->points) {
        d->keypoints = list->keypoint_block + 3 * r->keypoints * i;
        scale_points(c, r->points + 3 * r->keypoints * i, r->keypoints, 3, d->keypoints);
    }
    if (!r->masks) return CR_OK;
    d->mask = &list->masks[i];
    return shrink_mask(c, &r->masks[i], i, &list->masks[i], err);
}

static cr_status draw(canvas *c, const cr_report_views *v, const cr_coco_results *r, cr_error *err)
{
    const size_t n = r->count + 1;
    cr_detections found = {.items = cr_calloc(n, sizeof *found.items),
                           .count = r->count,
                           .keypoint_count = r->points ? (int)r->keypoints : 0,
                           .keypoint_block = cr_calloc(n, 3 * (r->keypoints + 1) * sizeof(float)),
                           .masks = cr_calloc(n, sizeof *found.masks),
                           .mask_count = r->count};
    cr_status st = found.items && found.keypoint_block && found.masks ? CR_OK : CR_NOMEM(err);
    for (size_t i = 0; st == CR_OK && i < r->count; i++) st = make_detection(c, r, i, &found, err);
    if (st == CR_OK) st = cr_draw_detections(&c->img, &found, v->names, v->name_count, err);
    for (size_t i = 0; found.masks && i < r->count; i++) cr_free(found.masks[i].on);
    cr_free(found.items);
    cr_free(found.keypoint_block);
    cr_free(found.masks);
    return st;
}

static cr_status put_side(FILE *f, const side *s, const char *path, const canvas *base,
                          const cr_report_views *v, cr_error *err)
{
    canvas c = *base;
    CR_TRY(cr_image_create(base->img.width, base->img.height, &c.img, err));
    memcpy(c.img.rgb, base->img.rgb, (size_t)base->img.width * (size_t)base->img.height * 3);
    cr_status st = draw(&c, v, &s->own, err);
    fputs("<div>", f);
    if (st == CR_OK) st = cr_report_image_put(f, path, &c.img, err);
    fputs("<span>", f);
    cr_report_text(f, s->name);
    fprintf(f, ": %zu</span></div>", s->own.count);
    cr_image_free(&c.img);
    return st;
}

static cr_status put_pair(FILE *f, const cr_report_views *v, side s[2], const judged *j, cr_error *err)
{
    const char *path = v->paths[j->picture], *slash = strrchr(path, '/');
    canvas base;
    CR_TRY(cr_report_image_read(path, LARGEST, &base.img, &base.fx, &base.fy, err));
    cr_status st = CR_OK;
    fputs("<figure class=\"pair\"><div class=\"sides\">", f);
    for (int k = 0; k < 2 && st == CR_OK; k++) {
        take(&s[k], id_of(v, j->picture));
        st = put_side(f, &s[k], path, &base, v, err);
    }
    fputs("</div><figcaption><b>", f);
    cr_report_name(f, slash ? slash + 1 : path, 60);
    fprintf(f, "</b> agreement %.2f</figcaption></figure>\n", j->agreement);
    cr_image_free(&base.img);
    return st;
}

cr_status cr_report_pictures(cr_report_page *p, const cr_report_views *v, size_t most, cr_error *err)
{
    side s[2] = {{.name = NULL}, {.name = NULL}};
    judged *list = cr_calloc(v->count + 1, sizeof *list);
    cr_status st = list ? open_side(&s[0], v->left_name, v->left, err) : CR_NOMEM(err);
    if (st == CR_OK) st = open_side(&s[1], v->right_name, v->right, err);
    if (st != CR_OK || !v->count) goto done;
    size_t same = 0;
    for (size_t i = 0; i < v->count; i++) {
        CR_TRY_GOTO(judge(v, s, i, &list[i], err), done);
        same += list[i].agreement > .9995;
    }
    qsort(list, v->count, sizeof *list, worst_first);
    const size_t shown = v->count - same < most ? v->count - same : most;
    cr_report_begin(p, "pictures", "Pictures", NULL);
    fprintf(p->body, "<p class=\"lead\">Where the two agree least, of %zu pictures; on %zu they agree entirely. "
                     "What has a confidence of .25 and more.</p>\n<div class=\"pairs\">\n", v->count, same);
    for (size_t i = 0; i < shown && st == CR_OK; i++) st = put_pair(p->body, v, s, &list[i], err);
    fputs("</div>\n", p->body);
    cr_report_end(p);
done:
    cr_free(list);
    close_side(&s[0]);
    close_side(&s[1]);
    return st;
}
