/* Masks: sum_k coefficient_k prototype_k against the object's pixels, inside its box.
 *
 * Two passes, so that every number has one owner: first each cell that learns an object goes over
 * the pixels of its box, keeps the gradient by each pixel's logit and adds up its coefficients';
 * then each row of the prototypes collects what the cells left there, in the order of the cells.
 * What they leave is bounded by doing so for a group of cells at a time. */
#include <math.h>

#include "base/mem.h"
#include "train/loss_yolov8_job.h"

enum { GROUP_PIXELS = 1 << 24 };

/* The pixels of a cell's object: columns x0..x1-1 and rows y0..y1-1 of the masks. */
typedef struct crop {
    const cr_yolov8_positive *p;
    int x0, y0, x1, y1;
    double weight; /* of each pixel */
    float *slope;  /* [rows, columns], into one block */
    double loss;
} crop;

typedef struct mask_job {
    const cr_yolov8_job *j;
    crop *crops;
    double *logits;    /* [threads, mask width] */
    size_t first, end; /* of the crops at work */
} mask_job;

static const cr_raw *coefficients(const cr_yolov8_job *j, const crop *c)
{
    return &j->head->level[c->p->level].coefficients;
}

static double coefficient(const cr_yolov8_job *j, const crop *c, int k)
{
    const cr_raw *r = coefficients(j, c);
    return cr_raw_get(r, j->head->real, cr_raw_at(r, (size_t)c->p->picture, (size_t)k, c->p->cell));
}

static size_t prototype_at(const cr_yolov8_head *h, const crop *c, int k, int y, int x)
{
    return cr_raw_at(&h->prototype, (size_t)c->p->picture, (size_t)k,
                     (size_t)y * (size_t)h->mask_width + (size_t)x);
}

/* Loss and slopes of one row of pixels; logits[] holds it. */
static double row_loss(const cr_yolov8_job *j, const crop *c, int y, const double *logits)
{
    const cr_yolov8_head *h = j->head;
    const uint8_t *mask =
        j->truth[c->p->picture].masks +
        ((size_t)c->p->object * (size_t)h->mask_height + (size_t)y) * (size_t)h->mask_width;
    float *slope = c->slope + (size_t)(y - c->y0) * (size_t)(c->x1 - c->x0);
    double sum = 0;
    for (int x = c->x0; x < c->x1; x++) {
        const double v = logits[x], e = exp(-fabs(v));
        sum += fmax(v, 0) + log1p(e) - (mask[x] ? v : 0);
        slope[x - c->x0] = (float)(c->weight * ((v >= 0 ? 1 : e) / (1 + e) - (mask[x] != 0)));
    }
    return sum;
}

static void crop_loss(void *ctx, size_t index, int worker)
{
    const mask_job *m = ctx;
    const cr_yolov8_head *h = m->j->head;
    crop *c = &m->crops[m->first + index];
    const cr_raw *r = coefficients(m->j, c);
    double *logits = m->logits + (size_t)worker * (size_t)h->mask_width, sum = 0;
    for (int y = c->y0; y < c->y1; y++) {
        for (int x = c->x0; x < c->x1; x++) logits[x] = 0;
        for (int k = 0; k < h->prototypes; k++) {
            const double by = coefficient(m->j, c, k);
            for (int x = c->x0; x < c->x1; x++)
                logits[x] += by * cr_raw_get(&h->prototype, h->real, prototype_at(h, c, k, y, x));
        }
        sum += row_loss(m->j, c, y, logits);
    }
    c->loss = c->weight * sum;
    for (int k = 0; k < h->prototypes && r->grad; k++) {
        double g = 0;
        const float *slope = c->slope;
        for (int y = c->y0; y < c->y1; y++)
            for (int x = c->x0; x < c->x1; x++)
                g += (double)*slope++ *
                     cr_raw_get(&h->prototype, h->real, prototype_at(h, c, k, y, x));
        cr_raw_put(r, h->real, cr_raw_at(r, (size_t)c->p->picture, (size_t)k, c->p->cell), g);
    }
}

/* Row `index` of all prototypes of all pictures. */
static void collect_row(void *ctx, size_t index, int worker)
{
    const mask_job *m = ctx;
    const cr_yolov8_head *h = m->j->head;
    const int picture = (int)(index / (size_t)h->mask_height);
    const int y = (int)(index % (size_t)h->mask_height);
    double *sum = m->logits + (size_t)worker * (size_t)h->mask_width;
    const cr_raw written = {.value = h->prototype.grad};
    for (int k = 0; k < h->prototypes; k++) {
        for (int x = 0; x < h->mask_width; x++) sum[x] = 0;
        for (size_t i = m->first; i < m->end; i++) {
            const crop *c = &m->crops[i];
            if (c->p->picture != picture || y < c->y0 || y >= c->y1) continue;
            const float *slope = c->slope + (size_t)(y - c->y0) * (size_t)(c->x1 - c->x0);
            const double by = coefficient(m->j, c, k);
            for (int x = c->x0; x < c->x1; x++) sum[x] += by * (double)slope[x - c->x0];
        }
        for (int x = 0; x < h->mask_width; x++) {
            const size_t at = cr_raw_at(&h->prototype, (size_t)picture, (size_t)k,
                                        (size_t)y * (size_t)h->mask_width + (size_t)x);
            if (sum[x] != 0)
                cr_raw_put(&h->prototype, h->real, at, cr_raw_get(&written, h->real, at) + sum[x]);
        }
    }
}

/* The whole numbers n with lo <= n < hi, within 0..size. */
static void whole(double lo, double hi, int size, int *from, int *to)
{
    *from = (int)fmin(fmax(ceil(lo), 0), size);
    *to = (int)fmin(fmax(ceil(hi), *from), size);
}

/* Where the objects' pixels lie; none for those of pictures without masks. */
static void place_crops(const cr_yolov8_job *j, crop *crops, size_t cells)
{
    const cr_yolov8_head *h = j->head;
    const double sx = (double)h->mask_width / h->input_width;
    const double sy = (double)h->mask_height / h->input_height;
    for (size_t i = 0; i < j->count; i++) {
        crop *c = &crops[i];
        c->p = &j->positive[i];
        const cr_truth *t = &j->truth[c->p->picture];
        if (!t->masks) continue;
        const double *b = t->box[c->p->object];
        whole(b[0] * sx, b[2] * sx, h->mask_width, &c->x0, &c->x1);
        whole(b[1] * sy, b[3] * sy, h->mask_height, &c->y0, &c->y1);
        /* the mean over the mask, divided by the box's part of the picture */
        c->weight = j->options->box * h->pictures / (double)cells /
                    ((b[2] - b[0]) * sx * (b[3] - b[1]) * sy);
    }
}

/* Crops from `first` on whose pixels fit into the block together; at least one. */
static size_t group_end(const mask_job *m, size_t first, size_t *pixels)
{
    size_t i = first;
    for (*pixels = 0; i < m->j->count; i++) {
        const crop *c = &m->crops[i];
        const size_t n = (size_t)(c->x1 - c->x0) * (size_t)(c->y1 - c->y0);
        if (i > first && *pixels + n > GROUP_PIXELS) break;
        *pixels += n;
    }
    return i;
}

static cr_status run_group(mask_job *m, size_t pixels, cr_error *err)
{
    const cr_yolov8_head *h = m->j->head;
    float *slopes = cr_calloc(pixels + 1, sizeof *slopes);
    size_t used = 0;
    if (!slopes) return CR_NOMEM(err);
    for (size_t i = m->first; i < m->end; i++) {
        crop *c = &m->crops[i];
        c->slope = slopes + used;
        used += (size_t)(c->x1 - c->x0) * (size_t)(c->y1 - c->y0);
    }
    cr_pool_run(m->j->pool, m->end - m->first, crop_loss, m);
    if (h->prototype.grad)
        cr_pool_run(m->j->pool, (size_t)h->pictures * (size_t)h->mask_height, collect_row, m);
    cr_free(slopes);
    return CR_OK;
}

cr_status cr_yolov8_masks(const cr_yolov8_job *j, cr_loss_parts *parts, cr_error *err)
{
    const cr_yolov8_head *h = j->head;
    cr_status st = CR_OK;
    size_t cells = 0, pixels;
    for (size_t i = 0; i < j->count; i++) cells += j->truth[j->positive[i].picture].masks != NULL;
    if (!cells) return CR_OK;
    mask_job m = {
        j, cr_calloc(j->count, sizeof *m.crops),
        cr_calloc((size_t)cr_pool_threads(j->pool) * (size_t)h->mask_width, sizeof *m.logits)};
    if (m.crops && m.logits)
        place_crops(j, m.crops, cells);
    else
        st = CR_NOMEM(err);
    for (; st == CR_OK && m.first < j->count; m.first = m.end) {
        m.end = group_end(&m, m.first, &pixels);
        st = run_group(&m, pixels, err);
    }
    for (size_t i = 0; st == CR_OK && i < j->count; i++) parts->masks += m.crops[i].loss;
    cr_free(m.crops);
    cr_free(m.logits);
    return st;
}
