/* The pictures on which two lists of boxes agree least, side by side.
 *
 * Agreement of one picture is cr_coco_agreement's mAP50-95 on it alone (the left side as truth), less
 * when the right side finds what the left one does not: a picture with boxes on the right only has 0.
 * Pictures are made small first and drawn on afterwards, so that labels stay readable. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_page.h"
#include "vision/image_codec.h"

enum { LARGEST = 640 };

typedef struct judged {
    size_t picture;
    double agreement;
    size_t left, right; /* boxes to be drawn */
} judged;

static int64_t id_of(const cr_report_views *v, size_t picture)
{
    return v->ids ? v->ids[picture] : (int64_t)picture + 1;
}

/* Boxes in order of their pictures, those of one in the order that they had. */
typedef struct sorted_boxes {
    cr_coco_box *items;
    size_t count;
} sorted_boxes;

typedef struct placed {
    cr_coco_box box;
    size_t order;
} placed;

static int by_picture(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->box.image_id != y->box.image_id) return x->box.image_id < y->box.image_id ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static cr_status sort_boxes(const cr_coco_box *from, size_t n, sorted_boxes *out, cr_error *err)
{
    placed *list = cr_calloc(n + 1, sizeof *list);
    out->items = cr_calloc(n + 1, sizeof *out->items);
    out->count = n;
    for (size_t i = 0; list && i < n; i++) list[i] = (placed){from[i], i};
    if (list) qsort(list, n, sizeof *list, by_picture);
    for (size_t i = 0; list && out->items && i < n; i++) out->items[i] = list[i].box;
    const bool good = list && out->items;
    cr_free(list);
    return good ? CR_OK : CR_NOMEM(err);
}

/* Boxes of one picture, those to be drawn: into out (room for all), the number back. */
static size_t take(const sorted_boxes *from, int64_t id, cr_coco_box *out)
{
    size_t low = 0, high = from->count, count = 0;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (from->items[middle].image_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < from->count && from->items[low].image_id == id; low++)
        if (from->items[low].score >= CR_AGREEMENT_CONF) out[count++] = from->items[low];
    return count;
}

typedef struct sides {
    sorted_boxes left, right;
    cr_coco_box *a, *b;      /* room for those of one picture */
} sides;

static cr_status open_sides(const cr_report_views *v, sides *s, cr_error *err)
{
    CR_TRY(sort_boxes(v->left, v->left_count, &s->left, err));
    CR_TRY(sort_boxes(v->right, v->right_count, &s->right, err));
    s->a = cr_calloc(v->left_count + 1, sizeof *s->a);
    s->b = cr_calloc(v->right_count + 1, sizeof *s->b);
    return s->a && s->b ? CR_OK : CR_NOMEM(err);
}

static void close_sides(sides *s)
{
    cr_free(s->left.items);
    cr_free(s->right.items);
    cr_free(s->a);
    cr_free(s->b);
}

static cr_status judge(const cr_report_views *v, const sides *s, size_t picture, judged *out, cr_error *err)
{
    const int64_t id = id_of(v, picture);
    cr_coco_metrics forth, back;
    *out = (judged){picture, 1, 0, 0};
    out->left = take(&s->left, id, s->a);
    out->right = take(&s->right, id, s->b);
    if (!out->left && !out->right) return CR_OK;
    CR_TRY(cr_coco_agreement(s->a, out->left, s->b, out->right, CR_AGREEMENT_CONF, &forth, err));
    CR_TRY(cr_coco_agreement(s->b, out->right, s->a, out->left, CR_AGREEMENT_CONF, &back, err));
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

static cr_status shrink(cr_image *img, double *factor, cr_error *err)
{
    const int side = img->width > img->height ? img->width : img->height;
    *factor = side > LARGEST ? (double)LARGEST / side : 1;
    if (side <= LARGEST) return CR_OK;
    cr_image small;
    const int w = (int)fmax(1, round(img->width * *factor)), h = (int)fmax(1, round(img->height * *factor));
    /* halves first: bilinear alone skips pixels */
    while (img->width >= 2 * w && img->height >= 2 * h && img->width > 2 && img->height > 2) {
        CR_TRY(cr_image_create(img->width / 2, img->height / 2, &small, err));
        for (int y = 0; y < small.height; y++)
            for (int x = 0; x < 3 * small.width; x++) {
                const uint8_t *s = img->rgb + ((size_t)2 * y * img->width + 2 * (x / 3)) * 3 + x % 3;
                const size_t row = (size_t)img->width * 3;
                small.rgb[(size_t)y * small.width * 3 + x] = (uint8_t)((s[0] + s[3] + s[row] + s[row + 3] + 2) / 4);
            }
        cr_image_free(img);
        *img = small;
    }
    CR_TRY(cr_image_create(w, h, &small, err));
    const cr_status st = cr_resize_linear_u8(img->rgb, img->width, img->height, 3, small.rgb, w, h, err);
    cr_image_free(img);
    *img = small;
    return st;
}

static cr_status draw_boxes(cr_image *img, double fx, double fy, const cr_report_views *v, const cr_coco_box *boxes,
                            size_t n, cr_error *err)
{
    cr_detections found = {.items = cr_calloc(n + 1, sizeof *found.items), .count = n};
    if (!found.items) return CR_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        const cr_coco_box *b = &boxes[i];
        cr_detection *d = &found.items[i];
        d->class_id = b->category_id >= 0 && b->category_id < INT32_MAX ? (int)b->category_id : 0;
        d->score = (float)b->score;
        d->box[0] = (float)(b->x * fx);
        d->box[1] = (float)(b->y * fy);
        d->box[2] = (float)((b->x + b->w) * fx);
        d->box[3] = (float)((b->y + b->h) * fy);
    }
    const cr_status st = cr_draw_detections(img, &found, v->names, v->name_count, err);
    cr_free(found.items);
    return st;
}

static void put_base64(FILE *f, const unsigned char *s, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const unsigned a = s[i], b = i + 1 < n ? s[i + 1] : 0, c = i + 2 < n ? s[i + 2] : 0;
        const unsigned bits = a << 16 | b << 8 | c;
        fputc(digits[bits >> 18], f);
        fputc(digits[bits >> 12 & 63], f);
        fputc(i + 1 < n ? digits[bits >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digits[bits & 63] : '=', f);
    }
}

static cr_status put_jpeg(FILE *f, const char *name, const cr_image *img, cr_error *err)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&bytes, &size);
    if (!memory) return CR_NOMEM(err);
    cr_status st = cr_jpeg_encode(memory, name, img, err);
    if (fclose(memory) && st == CR_OK) st = CR_NOMEM(err);
    if (st == CR_OK) {
        fprintf(f, "<img width=\"%d\" height=\"%d\" alt=\"\" src=\"data:image/jpeg;base64,", img->width, img->height);
        put_base64(f, (const unsigned char *)bytes, size);
        fputs("\">", f);
    }
    free(bytes);
    return st;
}

static cr_status put_side(FILE *f, const char *title, const char *name, const cr_image *base, double fx, double fy,
                          const cr_report_views *v, const cr_coco_box *boxes, size_t n, cr_error *err)
{
    cr_image img;
    CR_TRY(cr_image_create(base->width, base->height, &img, err));
    memcpy(img.rgb, base->rgb, (size_t)base->width * (size_t)base->height * 3);
    cr_status st = draw_boxes(&img, fx, fy, v, boxes, n, err);
    fputs("<div>", f);
    if (st == CR_OK) st = put_jpeg(f, name, &img, err);
    fputs("<span>", f);
    cr_report_text(f, title);
    fprintf(f, ": %zu</span></div>", n);
    cr_image_free(&img);
    return st;
}

static cr_status put_pair(FILE *f, const cr_report_views *v, const sides *s, const judged *j, cr_error *err)
{
    const char *path = v->paths[j->picture], *slash = strrchr(path, '/');
    const int64_t id = id_of(v, j->picture);
    cr_image img;
    double factor;
    CR_TRY(cr_image_read(path, &img, err));
    const int width = img.width, height = img.height;
    cr_status st = shrink(&img, &factor, err);
    const double fx = (double)img.width / width, fy = (double)img.height / height;
    fputs("<figure class=\"pair\"><div class=\"sides\">", f);
    const size_t left = take(&s->left, id, s->a), right = take(&s->right, id, s->b);
    if (st == CR_OK) st = put_side(f, v->left_name, path, &img, fx, fy, v, s->a, left, err);
    if (st == CR_OK) st = put_side(f, v->right_name, path, &img, fx, fy, v, s->b, right, err);
    fputs("</div><figcaption><b>", f);
    cr_report_name(f, slash ? slash + 1 : path, 60);
    fprintf(f, "</b> agreement %.2f</figcaption></figure>\n", j->agreement);
    cr_image_free(&img);
    return st;
}

cr_status cr_report_pictures(cr_report_page *p, const cr_report_views *v, size_t most, cr_error *err)
{
    sides s = {.a = NULL};
    judged *list = cr_calloc(v->count + 1, sizeof *list);
    cr_status st = list ? open_sides(v, &s, err) : CR_NOMEM(err);
    if (st != CR_OK) goto done;
    size_t same = 0;
    for (size_t i = 0; i < v->count; i++) {
        CR_TRY_GOTO(judge(v, &s, i, &list[i], err), done);
        same += list[i].agreement > .9995;
    }
    qsort(list, v->count, sizeof *list, worst_first);
    size_t shown = v->count - same < most ? v->count - same : most;
    if (!v->count) goto done;
    cr_report_begin(p, "pictures", "Pictures", NULL);
    fprintf(p->body, "<p class=\"lead\">Where the two agree least, of %zu pictures; on %zu they agree entirely. "
                     "Boxes of a confidence of .25 and more.</p>\n<div class=\"pairs\">\n", v->count, same);
    for (size_t i = 0; i < shown && st == CR_OK; i++) st = put_pair(p->body, v, &s, &list[i], err);
    fputs("</div>\n", p->body);
    cr_report_end(p);
done:
    cr_free(list);
    close_sides(&s);
    return st;
}
