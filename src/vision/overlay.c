/* A transparent layer, and its way into a YUV frame.
 *
 * cairo's ARGB32 is premultiplied: out = frame * (1 - a) + layer. In YUV the layer's colour becomes
 * matrix * rgb, plus a times the offset (16 or 128). Chroma takes the mean of its 2x2 pixels. */
#include "vision/overlay.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum { MAX_RECTS = 2048, SHADES = 1024 };

typedef struct rect {
    int x1, y1, x2, y2; /* even but at the frame's edge; x2 and y2 exclusive */
} rect;

/* In 1/65536: rows are Y, U, V, columns R, G, B; Y's offset and the others' 128 come on top. */
typedef struct matrix {
    int32_t m[3][3];
    int offset;
} matrix;

/* What a pixel of the layer adds to Y, U and V, in 1/65536, and its alpha. A frame has few colours,
 * most of them edges of letters: they are kept by a hash. */
typedef struct shade {
    uint32_t argb;
    int alpha;
    int32_t yuv[3];
} shade;

typedef struct palette {
    matrix k;
    shade shades[SHADES];
} palette;

struct cr_overlay {
    cairo_surface_t *surface;
    cairo_t *cr;
    int width, height;
    rect rects[MAX_RECTS];
    int count;
    palette palette;
};

static matrix matrix_for(const cr_yuv *f)
{
    const double kr = f->bt709 ? .2126 : .299, kb = f->bt709 ? .0722 : .114, kg = 1 - kr - kb;
    const double luma = f->full_range ? 1 : 219.0 / 255, chroma = f->full_range ? 1 : 224.0 / 255;
    const double u = chroma / 2 / (1 - kb), v = chroma / 2 / (1 - kr);
    const double rows[3][3] = {{kr * luma, kg * luma, kb * luma},
                               {-kr * u, -kg * u, (1 - kb) * u},
                               {(1 - kr) * v, -kg * v, -kb * v}};
    matrix out = {.offset = f->full_range ? 0 : 16};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) out.m[i][j] = (int32_t)lrint(rows[i][j] * 65536);
    return out;
}

cr_status cr_overlay_create(int width, int height, cr_overlay **out, cr_error *err)
{
    *out = NULL;
    cr_overlay *o = cr_calloc(1, sizeof *o);
    if (!o) return CR_NOMEM(err);
    o->width = width;
    o->height = height;
    o->surface = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, width, height);
    o->cr = cairo_create(o->surface);
    if (cairo_status(o->cr) != CAIRO_STATUS_SUCCESS) {
        const cr_status st = cr_fail(err, CR_ERR_MEMORY, "cannot draw on %dx%d pixels: %s", width,
                                     height, cairo_status_to_string(cairo_status(o->cr)));
        cr_overlay_free(&o);
        return st;
    }
    *out = o;
    return CR_OK;
}

void cr_overlay_free(cr_overlay **op)
{
    if (!op || !*op) return;
    cairo_destroy((*op)->cr);
    cairo_surface_destroy((*op)->surface);
    cr_free(*op);
    *op = NULL;
}

/* Down (up) to an even number in 0..high; high itself may be odd. */
static int even_below(double v)
{
    return v < 0 ? 0 : (int)(v / 2) * 2;
}

static int even_above(double v, int high)
{
    return v < 0 ? 0 : v >= high ? high : (int)fmin(2 * ceil(v / 2), high);
}

static void note(void *user, double x1, double y1, double x2, double y2)
{
    cr_overlay *o = user;
    const rect r = {even_below(fmin(x1, o->width)), even_below(fmin(y1, o->height)),
                    even_above(x2, o->width), even_above(y2, o->height)};
    if (r.x1 >= r.x2 || r.y1 >= r.y2) return;
    if (o->count < MAX_RECTS) {
        o->rects[o->count++] = r;
        return;
    }
    rect *all = &o->rects[MAX_RECTS - 1]; /* the last takes in what there is no room for */
    all->x1 = r.x1 < all->x1 ? r.x1 : all->x1;
    all->y1 = r.y1 < all->y1 ? r.y1 : all->y1;
    all->x2 = r.x2 > all->x2 ? r.x2 : all->x2;
    all->y2 = r.y2 > all->y2 ? r.y2 : all->y2;
}

cr_pen cr_overlay_pen(cr_overlay *o)
{
    cr_pen p = cr_pen_begin(o->cr, o->width, o->height);
    p.touch = note;
    p.user = o;
    return p;
}

static void mix_shade(const matrix *k, uint32_t argb, shade *s)
{
    const int32_t rgb[3] = {argb >> 16 & 255, argb >> 8 & 255, argb & 255};
    s->argb = argb;
    s->alpha = (int)(argb >> 24);
    for (int p = 0; p < 3; p++) {
        const int offset = p ? 128 : k->offset;
        s->yuv[p] = k->m[p][0] * rgb[0] + k->m[p][1] * rgb[1] + k->m[p][2] * rgb[2] +
                    offset * s->alpha * 65536 / 255;
    }
}

static inline const shade *shade_of(palette *c, uint32_t argb)
{
    shade *s = &c->shades[argb * 2654435761u >> 22];
    if (s->argb != argb) mix_shade(&c->k, argb, s);
    return s;
}

/* below * (255 - alpha) / 255 + added / 65536, rounded. */
static uint8_t mix(int below, int alpha, int32_t added)
{
    const int32_t v = (below * (255 - alpha) * 257 + added + 32768) >> 16;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* n pixels of the frame's luma under one colour of the layer. */
static void blend_run(uint8_t *luma, int n, const shade *s)
{
    const int keep = (255 - s->alpha) * 257, add = s->yuv[0] + 32768;
    for (int i = 0; i < n; i++) {
        const int v = (luma[i] * keep + add) >> 16;
        luma[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static int run_length(const uint32_t *row, int n)
{
    int i = 1;
    while (i < n && row[i] == row[0]) i++;
    return i;
}

static void blend_luma(const cr_yuv *f, palette *c, const uint32_t *row, int y, int x1, int x2)
{
    uint8_t *luma = f->plane[0] + (size_t)y * (size_t)f->stride[0];
    for (int x = x1, n; x < x2; x += n) {
        n = run_length(row + x, x2 - x);
        if (row[x]) blend_run(luma + x, n, shade_of(c, row[x]));
    }
}

/* The mean of 2x2 pixels over each place of the chroma; at an odd frame's edge the last row and
 * column count twice. */
static void blend_chroma(const cr_yuv *f, palette *c, const uint32_t *upper, const uint32_t *lower,
                         int y, int x1, int x2)
{
    uint8_t *pu = f->plane[1] + (size_t)(y / 2) * (size_t)f->stride[1];
    uint8_t *pv = f->plane[2] + (size_t)(y / 2) * (size_t)f->stride[2];
    for (int x = x1; x < x2; x += 2) {
        const int next = x + 1 < f->width ? x + 1 : x;
        const uint32_t block[4] = {upper[x], upper[next], lower[x], lower[next]};
        if (!(block[0] | block[1] | block[2] | block[3])) continue;
        int alpha = 0, u = 0, v = 0;
        for (int i = 0; i < 4; i++) {
            const shade *s = shade_of(c, block[i]);
            alpha += s->alpha;
            u += s->yuv[1];
            v += s->yuv[2];
        }
        pu[x / 2] = mix(pu[x / 2], alpha / 4, u / 4);
        pv[x / 2] = mix(pv[x / 2], alpha / 4, v / 4);
    }
}

static void blend_rect(const cr_yuv *f, palette *c, uint8_t *layer, size_t stride, const rect *r)
{
    for (int y = r->y1; y < r->y2; y += 2) {
        const bool pair = y + 1 < f->height;
        const uint32_t *upper = (const uint32_t *)(const void *)(layer + (size_t)y * stride);
        const uint32_t *lower = pair ? upper + stride / 4 : upper;
        blend_luma(f, c, upper, y, r->x1, r->x2);
        if (pair) blend_luma(f, c, lower, y + 1, r->x1, r->x2);
        blend_chroma(f, c, upper, lower, y, r->x1, r->x2);
    }
    for (int y = r->y1; y < r->y2; y++) /* wiped: where rectangles overlap, the first has it all */
        memset(layer + (size_t)y * stride + 4 * (size_t)r->x1, 0, 4 * (size_t)(r->x2 - r->x1));
}

cr_status cr_overlay_blend(cr_overlay *o, const cr_yuv *f, cr_error *err)
{
    const matrix k = matrix_for(f);
    if (memcmp(&k, &o->palette.k, sizeof k)) {
        memset(&o->palette, 0, sizeof o->palette);
        o->palette.k = k;
    }
    cairo_surface_flush(o->surface);
    uint8_t *layer = cairo_image_surface_get_data(o->surface);
    const size_t stride = (size_t)cairo_image_surface_get_stride(o->surface);
    const cairo_status_t state = cairo_status(o->cr);
    CR_CHECK(state == CAIRO_STATUS_SUCCESS && layer, err, CR_ERR_MEMORY, "cannot draw: %s",
             cairo_status_to_string(state));
    CR_CHECK(f->width == o->width && f->height == o->height, err, CR_ERR_ARGUMENT,
             "a layer of %dx%d pixels does not fit a frame of %dx%d", o->width, o->height, f->width,
             f->height);
    for (int i = 0; i < o->count; i++) blend_rect(f, &o->palette, layer, stride, &o->rects[i]);
    o->count = 0;
    cairo_surface_mark_dirty(o->surface);
    return CR_OK;
}
