/* Masks of segmentation models (Bolya et al. 2019, "YOLACT": prototypes and coefficients).
 *
 * A mask is the sum of the prototypes weighted by the detection's coefficients, positive inside.
 * The sum is taken at the prototypes' resolution over the cells that the box covers, then read at
 * each source pixel's centre, bilinearly (half-pixel centres, clamped at the edge), and cut to the
 * box. That is what Ultralytics' process_mask_native does (retina masks), without computing what
 * the box cuts away. (Rejected: thresholds at the network's resolution, enlarged afterwards: stairs
 * at every edge.) */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/runs.h"
#include "vision/heads.h"

/* The cells that one detection needs. */
typedef struct patch {
    int x, y, width, height;
    float *logits; /* [height, width] */
} patch;

typedef struct scale {
    double step, offset; /* prototype coordinate = source pixel * step + offset */
    int cells;
} scale;

static scale scale_of(float gain, float pad, int cells, int input)
{
    const double ratio = (double)cells / input;
    return (scale){(double)gain * ratio, (.5 * (double)gain + (double)pad) * ratio - .5, cells};
}

static int clamp_cell(double v, int cells)
{
    return v < 0 ? 0 : v > cells - 1 ? cells - 1 : (int)v;
}

/* Pixels whose centres are inside the box: first and count. */
static void covered(float low, float high, int size, int *first, int *count)
{
    const int a = (int)fmax(ceil((double)low - .5), 0);
    const int b = (int)fmin(ceil((double)high - .5), size);
    *first = a < size ? a : size;
    *count = b > a ? b - a : 0;
}

static void sum_prototypes(const float *proto, int count, size_t plane, int stride, const float *w,
                           size_t step, const patch *p)
{
    for (int y = 0; y < p->height; y++) {
        float *row = p->logits + (size_t)y * (size_t)p->width;
        for (int k = 0; k < count; k++) {
            const float *from =
                proto + (size_t)k * plane + (size_t)(p->y + y) * (size_t)stride + (size_t)p->x;
            const float weight = w[(size_t)k * step];
            for (int x = 0; x < p->width; x++) row[x] += weight * from[x];
        }
    }
}

/* The two cells beside a coordinate and the second one's share, relative to the patch. */
static void neighbours(double v, int cells, int first, int *a, int *b, float *share)
{
    const double at = v < 0 ? 0 : v > cells - 1 ? cells - 1 : v;
    const int low = (int)at, high = low + 1 < cells ? low + 1 : low;
    *a = low - first;
    *b = high - first;
    *share = (float)(at - low);
}

static void fill(cr_mask *m, const patch *p, const scale *sx, const scale *sy)
{
    for (int y = 0; y < m->height; y++) {
        int top, bottom;
        float down;
        neighbours((m->y + y) * sy->step + sy->offset, sy->cells, p->y, &top, &bottom, &down);
        const float *upper = p->logits + (size_t)top * (size_t)p->width;
        const float *lower = p->logits + (size_t)bottom * (size_t)p->width;
        for (int x = 0; x < m->width; x++) {
            int left, right;
            float across;
            neighbours((m->x + x) * sx->step + sx->offset, sx->cells, p->x, &left, &right, &across);
            const float a = upper[left] + (upper[right] - upper[left]) * across;
            const float b = lower[left] + (lower[right] - lower[left]) * across;
            m->on[(size_t)y * (size_t)m->width + (size_t)x] = a + (b - a) * down > 0;
        }
    }
}

static patch patch_for(const cr_mask *m, const scale *sx, const scale *sy)
{
    patch p;
    p.x = clamp_cell(m->x * sx->step + sx->offset, sx->cells);
    p.y = clamp_cell(m->y * sy->step + sy->offset, sy->cells);
    p.width = clamp_cell((m->x + m->width - 1) * sx->step + sx->offset + 1, sx->cells) - p.x + 1;
    p.height = clamp_cell((m->y + m->height - 1) * sy->step + sy->offset + 1, sy->cells) - p.y + 1;
    return p;
}

static cr_status make_mask(const cr_head *h, const cr_output *outs, const cr_placement *place,
                           const cr_detection *d, cr_mask *m, cr_error *err)
{
    const int rows = (int)outs[1].dim[2], columns = (int)outs[1].dim[3];
    const scale sx = scale_of(place->gain_x, place->pad_x, columns, h->input_width);
    const scale sy = scale_of(place->gain_y, place->pad_y, rows, h->input_height);
    const float *w;
    size_t step;
    CR_CHECK(cr_head_coefficients(h, &outs[0], d->index, &w, &step), err, CR_ERR_FORMAT,
             "the head's output has no %d mask coefficients per box", h->masks);
    covered(d->box[0], d->box[2], place->src_width, &m->x, &m->width);
    covered(d->box[1], d->box[3], place->src_height, &m->y, &m->height);
    if (!m->width || !m->height) {
        m->width = m->height = 0;
        return CR_OK;
    }
    patch p = patch_for(m, &sx, &sy);
    p.logits = cr_calloc((size_t)p.width * (size_t)p.height, sizeof *p.logits);
    m->on = cr_malloc((size_t)m->width * (size_t)m->height);
    if (p.logits && m->on) {
        sum_prototypes(outs[1].data, h->masks, (size_t)rows * (size_t)columns, columns, w, step,
                       &p);
        fill(m, &p, &sx, &sy);
    }
    const bool ok = p.logits && m->on;
    cr_free(p.logits);
    return ok ? CR_OK : CR_NOMEM(err);
}

cr_status cr_head_masks(const cr_head *h, const cr_output *outs, size_t n,
                        const cr_placement *place, cr_detections *found, cr_error *err)
{
    if (!found->count) return CR_OK;
    CR_CHECK(n >= 2 && outs[1].data && outs[1].rank == 4 && outs[1].dim[0] == 1 &&
                 outs[1].dim[1] == h->masks && outs[1].dim[2] >= 1 && outs[1].dim[3] >= 1,
             err, CR_ERR_FORMAT, "output 2 does not hold the %d prototypes of the masks", h->masks);
    found->masks = cr_calloc(found->count, sizeof *found->masks);
    if (!found->masks) return CR_NOMEM(err);
    found->mask_count = found->count;
    for (size_t i = 0; i < found->count; i++) {
        found->items[i].mask = &found->masks[i];
        CR_TRY(make_mask(h, outs, place, &found->items[i], &found->masks[i], err));
    }
    return CR_OK;
}

/* ---- run lengths ---- */

static bool count_runs(const cr_mask *m, int width, int height, cr_runs *r)
{
    bool ok = cr_runs_add(r, false, (uint32_t)m->x * (uint32_t)height);
    for (int x = 0; ok && x < m->width; x++) {
        ok = cr_runs_add(r, false, (uint32_t)m->y);
        for (int y = 0; ok && y < m->height; y++)
            ok = cr_runs_add(r, m->on[(size_t)y * (size_t)m->width + (size_t)x], 1);
        ok = ok && cr_runs_add(r, false, (uint32_t)(height - m->y - m->height));
    }
    return ok && cr_runs_add(r, false, (uint32_t)(width - m->x - m->width) * (uint32_t)height);
}

cr_status cr_mask_to_rle(const cr_mask *m, int width, int height, char **text, cr_error *err)
{
    cr_runs r = {0};
    *text = NULL;
    CR_CHECK(m->x >= 0 && m->y >= 0 && m->width >= 0 && m->height >= 0 &&
                 m->width <= width - m->x && m->height <= height - m->y,
             err, CR_ERR_ARGUMENT, "the mask reaches beyond the picture of %dx%d", width, height);
    if (count_runs(m, width, height, &r)) *text = cr_runs_to_text(&r);
    cr_runs_free(&r);
    return *text ? CR_OK : CR_NOMEM(err);
}
