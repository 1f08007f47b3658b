#include "train/augment.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

cr_augment_options cr_augment_options_default(void)
{
    return (cr_augment_options){.mosaic = 1,
                                .scale = .5,
                                .translate = .1,
                                .flip = .5,
                                .hue = .015,
                                .saturation = .7,
                                .value = .4};
}

cr_status cr_augment_check(const cr_augment_options *o, cr_error *err)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"mosaic", o->mosaic}, {"scale", o->scale}, {"translate", o->translate},
                   {"flip", o->flip},     {"hue", o->hue},     {"saturation", o->saturation},
                   {"value", o->value}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        CR_CHECK(numbers[i].value >= 0 && numbers[i].value <= 1, err, CR_ERR_ARGUMENT,
                 "augmentation: %s is %g, it must be 0 to 1", numbers[i].name, numbers[i].value);
    CR_CHECK(o->scale < 1, err, CR_ERR_ARGUMENT, "augmentation: a scale of 1 leaves nothing");
    return CR_OK;
}

bool cr_augment_is_mirror(unsigned turn)
{
    return ((turn >> 2) ^ (turn >> 1) ^ turn) & 1;
}

static unsigned draw_turn(const cr_augment_options *o, bool square, cr_rng *rng)
{
    const unsigned any = cr_rng_below(rng, 8);
    const bool flip = cr_rng_unit(rng) < o->flip;
    if (!o->symmetries) return flip && !o->no_mirror ? CR_TURN_X : 0;
    unsigned turn = square ? any : any & (CR_TURN_X | CR_TURN_Y);
    if (o->no_mirror && cr_augment_is_mirror(turn)) turn ^= CR_TURN_X;
    return turn;
}

/* Draws as many numbers whatever the options, so that one option does not move the others. */
void cr_augment_draw(const cr_augment_options *o, bool square, cr_rng *rng, cr_augmentation *out)
{
    out->tiles = cr_rng_unit(rng) < o->mosaic ? CR_MOSAIC : 1;
    for (int k = 0; k < 2; k++) out->cross[k] = cr_rng_range(rng, .5, 1.5);
    out->gain = cr_rng_range(rng, 1 - o->scale, 1 + o->scale);
    for (int k = 0; k < 2; k++) out->shift[k] = cr_rng_range(rng, -o->translate, o->translate);
    out->turn = draw_turn(o, square, rng);
    out->hue = cr_rng_range(rng, -o->hue, o->hue);
    out->saturation = cr_rng_range(rng, 1 - o->saturation, 1 + o->saturation);
    out->value = cr_rng_range(rng, 1 - o->value, 1 + o->value);
}

/* ---- geometry -------------------------------------------------------------------------------- */

/* Gain of a picture that fills the input as `fit` says, and where its corner lies. */
static void fit_picture(const cr_preprocess *pre, const int size[2], double gain[2],
                        double corner[2])
{
    const double side[2] = {pre->width, pre->height};
    const double x = side[0] / size[0], y = side[1] / size[1];
    const double both = pre->fit == CR_FIT_CENTERCROP ? fmax(x, y) : fmin(x, y);
    gain[0] = pre->fit == CR_FIT_STRETCH ? x : both;
    gain[1] = pre->fit == CR_FIT_STRETCH ? y : both;
    for (int k = 0; k < 2; k++)
        corner[k] = pre->fit == CR_FIT_TOPLEFT ? 0 : (side[k] - size[k] * gain[k]) / 2;
}

/* Tiles 0..3 are the quarters left above, right above, left below, right below the cross of a
 * canvas of two sides; each picture touches the cross with a corner. The input looks at the canvas'
 * middle, `gain` times as large. */
cr_tile cr_augment_place(const cr_augmentation *a, const cr_preprocess *pre, int k, int width,
                         int height)
{
    const int size[2] = {width, height};
    const double side[2] = {pre->width, pre->height};
    double gain[2], corner[2];
    cr_tile t;
    fit_picture(pre, size, gain, corner);
    for (int i = 0; i < 2; i++) {
        const double middle = side[i] / 2, move = middle + a->shift[i] * side[i];
        double first = 0, last = side[i]; /* what the picture may cover before the gain */
        double centre = middle;
        if (a->tiles == CR_MOSAIC) {
            const double cross = a->cross[i] * side[i];
            const bool behind = (k >> i) & 1;
            corner[i] = behind ? cross : cross - size[i] * gain[i];
            first = behind ? cross : 0;
            last = behind ? 2 * side[i] : cross;
            centre = side[i];
        }
        first = fmax(first, corner[i]);
        last = fmin(last, corner[i] + size[i] * gain[i]);
        t.gain[i] = gain[i] * a->gain;
        t.shift[i] = (corner[i] - centre) * a->gain + move;
        t.clip[i] = fmin(fmax((first - centre) * a->gain + move, 0), side[i]);
        t.clip[i + 2] = fmin(fmax((last - centre) * a->gain + move, 0), side[i]);
    }
    return t;
}

void cr_augment_turn_point(unsigned turn, double width, double height, double xy[2])
{
    if (turn & CR_TURN_SWAP) {
        const double x = xy[0];
        xy[0] = xy[1];
        xy[1] = x;
    }
    if (turn & CR_TURN_X) xy[0] = width - xy[0];
    if (turn & CR_TURN_Y) xy[1] = height - xy[1];
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* Without the care for NaN of fminf and fmaxf, which makes calls of them. */
static inline float lower(float a, float b)
{
    return a < b ? a : b;
}

static inline float higher(float a, float b)
{
    return a > b ? a : b;
}

/* Between which two source pixels an output pixel lies, and how far from the first. */
typedef struct lerp {
    int from, to;
    float part;
} lerp;

static lerp lerp_of(const cr_tile *t, int axis, int at, int size)
{
    const double x = (at + .5 - t->shift[axis]) / t->gain[axis] - .5;
    const double inside = fmin(fmax(x, 0), size - 1);
    const int from = (int)inside;
    return (lerp){from, from + 1 < size ? from + 1 : from, (float)(inside - from)};
}

typedef struct paint {
    const cr_tile *tile;
    const cr_image *picture;
    const lerp *column; /* of x0 .. x1 - 1, places in bytes */
    uint8_t *out;
    int width, x0, x1, y0;
} paint;

static void paint_row(void *ctx, size_t index, int worker)
{
    const paint *p = ctx;
    const int y = p->y0 + (int)index;
    const lerp v = lerp_of(p->tile, 1, y, p->picture->height);
    const size_t stride = (size_t)p->picture->width * 3;
    const uint8_t *above = p->picture->rgb + (size_t)v.from * stride;
    const uint8_t *below = p->picture->rgb + (size_t)v.to * stride;
    uint8_t *out = p->out + ((size_t)y * (size_t)p->width + (size_t)p->x0) * 3;
    (void)worker;
    for (int x = 0; x < p->x1 - p->x0; x++, out += 3) {
        const lerp h = p->column[x];
        for (int c = 0; c < 3; c++) {
            const float a = above[h.from + c], b = above[h.to + c];
            const float d = below[h.from + c], e = below[h.to + c];
            const float top = a + (b - a) * h.part, bottom = d + (e - d) * h.part;
            out[c] = (uint8_t)(top + (bottom - top) * v.part + .5f);
        }
    }
}

/* The first pixel whose centre lies at or behind an edge. */
static int first_pixel(double edge)
{
    return (int)ceil(edge - .5);
}

cr_status cr_augment_paint(const cr_tile *tile, const cr_image *picture, const cr_preprocess *pre,
                           uint8_t *out, cr_pool *pool, cr_error *err)
{
    const int x0 = first_pixel(tile->clip[0]), x1 = first_pixel(tile->clip[2]);
    const int y0 = first_pixel(tile->clip[1]), y1 = first_pixel(tile->clip[3]);
    if (x1 <= x0 || y1 <= y0) return CR_OK;
    lerp *column = cr_malloc((size_t)(x1 - x0) * sizeof *column);
    if (!column) return CR_NOMEM(err);
    for (int x = x0; x < x1; x++) {
        lerp *l = &column[x - x0];
        *l = lerp_of(tile, 0, x, picture->width);
        l->from *= 3;
        l->to *= 3;
    }
    paint p = {tile, picture, column, out, pre->width, x0, x1, y0};
    cr_pool_run(pool, (size_t)(y1 - y0), paint_row, &p);
    cr_free(column);
    return CR_OK;
}

/* One pixel by hue h (to add, in sixths of the circle), factors s and v. */
static void recolour(uint8_t *rgb, float h, float s, float v)
{
    const float r = rgb[0], g = rgb[1], b = rgb[2];
    const float most = higher(higher(r, g), b), range = most - lower(lower(r, g), b);
    float sixth = 0;
    if (range > 0)
        sixth = most == r ? (g - b) / range : most == g ? 2 + (b - r) / range : 4 + (r - g) / range;
    const float value = lower(most * v, 255);
    const float chroma = most > 0 ? value * lower(range / most * s, 1) : 0;
    for (int c = 0; c < 3; c++) {
        /* distance from where the channel is 0 or full: 5, 3 and 1 sixths for R, G and B */
        float k = (float)(5 - 2 * c) + sixth + h + 12;
        k -= 6 * (float)(int)(k / 6);
        k = lower(k, 4 - k);
        rgb[c] = (uint8_t)(value - chroma * higher(0, lower(k, 1)) + .5f);
    }
}

enum { COLOUR_CHUNK = 4096 };

typedef struct colour {
    const cr_augmentation *a;
    uint8_t *rgb;
    size_t n;
} colour;

static void colour_chunk(void *ctx, size_t index, int worker)
{
    const colour *c = ctx;
    const size_t first = index * COLOUR_CHUNK;
    const size_t last = c->n - first < COLOUR_CHUNK ? c->n : first + COLOUR_CHUNK;
    (void)worker;
    for (size_t i = first; i < last; i++)
        recolour(c->rgb + i * 3, (float)(c->a->hue * 6), (float)c->a->saturation,
                 (float)c->a->value);
}

void cr_augment_colour(const cr_augmentation *a, uint8_t *rgb, size_t n, cr_pool *pool)
{
    const colour c = {a, rgb, n};
    if (a->hue == 0 && a->saturation == 1 && a->value == 1) return;
    cr_pool_run(pool, (n + COLOUR_CHUNK - 1) / COLOUR_CHUNK, colour_chunk, (void *)&c);
}

static void exchange(uint8_t *a, uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t keep = a[i];
        a[i] = b[i];
        b[i] = keep;
    }
}

void cr_augment_turn(unsigned turn, uint8_t *pixels, int channels, int width, int height)
{
    const size_t c = (size_t)channels, w = (size_t)width, h = (size_t)height;
    if (turn & CR_TURN_SWAP)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < y; x++)
                exchange(pixels + (y * w + x) * c, pixels + (x * w + y) * c, c);
    if (turn & CR_TURN_X)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w / 2; x++)
                exchange(pixels + (y * w + x) * c, pixels + (y * w + w - 1 - x) * c, c);
    if (turn & CR_TURN_Y)
        for (size_t y = 0; y < h / 2; y++)
            exchange(pixels + y * w * c, pixels + (h - 1 - y) * w * c, w * c);
}
