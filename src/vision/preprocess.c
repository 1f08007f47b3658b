/* From pixels to the network's input: fit, pad, reorder, scale.
 *
 * A pixel has 256 values, so (pixel - mean) / div is a table of 256 floats per plane, made with the
 * same float32 division that NumPy pipelines do: equal to the last bit and no division per pixel.
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/image.h"

enum { MAX_SIDE = 1 << 14 };

/* Source rectangle -> inner rectangle of the input. */
struct fitting {
    int from_x, from_y, from_w, from_h;
    int to_x, to_y, to_w, to_h;
};

const char *cr_fit_name(cr_fit fit)
{
    static const char *const names[] = {"letterbox", "stretch", "topleft", "centercrop"};
    return (unsigned)fit < 4 ? names[fit] : "unknown";
}

cr_preprocess cr_preprocess_default(int width, int height)
{
    return (cr_preprocess){.fit = CR_FIT_LETTERBOX,
                           .width = width,
                           .height = height,
                           .pad = 114,
                           .div = {255, 255, 255}};
}

static int at_least_one(double x)
{
    return x < 1 ? 1 : (int)x;
}

/* Python's round() is rint() in the default rounding mode: half to even. */
static struct fitting fit_letterbox(const cr_preprocess *pre, const cr_image *img,
                                    cr_placement *place)
{
    const double r = fmin((double)pre->height / img->height, (double)pre->width / img->width);
    const int w = at_least_one(rint(img->width * r)), h = at_least_one(rint(img->height * r));
    const int left = (int)rint((pre->width - w) / 2.0 - 0.1);
    const int top = (int)rint((pre->height - h) / 2.0 - 0.1);
    place->gain_x = place->gain_y = (float)r;
    place->pad_x = (float)left;
    place->pad_y = (float)top;
    return (struct fitting){0, 0, img->width, img->height, left, top, w, h};
}

static struct fitting fit_topleft(const cr_preprocess *pre, const cr_image *img,
                                  cr_placement *place)
{
    const double r = fmin((double)pre->height / img->height, (double)pre->width / img->width);
    place->gain_x = place->gain_y = (float)r;
    return (struct fitting){0,
                            0,
                            img->width,
                            img->height,
                            0,
                            0,
                            at_least_one(img->width * r),
                            at_least_one(img->height * r)};
}

static struct fitting fit_stretch(const cr_preprocess *pre, const cr_image *img,
                                  cr_placement *place)
{
    place->gain_x = (float)((double)pre->width / img->width);
    place->gain_y = (float)((double)pre->height / img->height);
    return (struct fitting){0, 0, img->width, img->height, 0, 0, pre->width, pre->height};
}

static struct fitting fit_crop(const cr_preprocess *pre, const cr_image *img, cr_placement *place)
{
    const int side = img->width < img->height ? img->width : img->height;
    const int left = (img->width - side) / 2, top = (img->height - side) / 2;
    place->gain_x = (float)((double)pre->width / side);
    place->gain_y = (float)((double)pre->height / side);
    place->pad_x = -(float)left * place->gain_x;
    place->pad_y = -(float)top * place->gain_y;
    return (struct fitting){left, top, side, side, 0, 0, pre->width, pre->height};
}

static struct fitting fit(const cr_preprocess *pre, const cr_image *img, cr_placement *place)
{
    *place = (cr_placement){.src_width = img->width, .src_height = img->height};
    switch (pre->fit) {
    case CR_FIT_STRETCH:
        return fit_stretch(pre, img, place);
    case CR_FIT_TOPLEFT:
        return fit_topleft(pre, img, place);
    case CR_FIT_CENTERCROP:
        return fit_crop(pre, img, place);
    default:
        return fit_letterbox(pre, img, place);
    }
}

/* The cropped source, packed: a copy only if the rectangle is not whole rows. */
static cr_status crop(const cr_image *img, const struct fitting *f, uint8_t **owned,
                      const uint8_t **pixels, cr_error *err)
{
    const size_t stride = (size_t)img->width * 3, row = (size_t)f->from_w * 3;
    *owned = NULL;
    *pixels = img->rgb + (size_t)f->from_y * stride;
    if (row == stride) return CR_OK;
    *owned = cr_malloc(row * (size_t)f->from_h);
    if (!*owned) return CR_NOMEM(err);
    for (size_t y = 0; y < (size_t)f->from_h; y++)
        memcpy(*owned + y * row, *pixels + y * stride + (size_t)f->from_x * 3, row);
    *pixels = *owned;
    return CR_OK;
}

static void fill(float *p, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) p[i] = value;
}

/* One plane: border from the table's pad entry, inside from the resized pixels. */
static void write_plane(const uint8_t *rgb, int channel, const struct fitting *f,
                        const cr_preprocess *pre, const float *table, float *out)
{
    const size_t width = (size_t)pre->width, w = (size_t)f->to_w;
    const float border = table[pre->pad];
    fill(out, (size_t)f->to_y * width, border);
    for (size_t y = 0; y < (size_t)f->to_h; y++) {
        float *row = out + ((size_t)f->to_y + y) * width;
        const uint8_t *p = rgb + y * w * 3 + channel;
        fill(row, (size_t)f->to_x, border);
        row += f->to_x;
        for (size_t x = 0; x < w; x++) row[x] = table[p[3 * x]];
        fill(row + w, width - (size_t)f->to_x - w, border);
    }
    const size_t done = (size_t)f->to_y + (size_t)f->to_h;
    fill(out + done * width, ((size_t)pre->height - done) * width, border);
}

static cr_status check(const cr_preprocess *pre, const cr_image *img, cr_error *err)
{
    CR_CHECK(pre->width >= 1 && pre->height >= 1 && pre->width <= MAX_SIDE &&
                 pre->height <= MAX_SIDE,
             err, CR_ERR_ARGUMENT, "a network input of %dx%d pixels; sides are 1 to %d", pre->width,
             pre->height, MAX_SIDE);
    CR_CHECK(img->rgb && img->width >= 1 && img->height >= 1, err, CR_ERR_ARGUMENT,
             "the picture to preprocess is empty");
    for (int c = 0; c < 3; c++)
        CR_CHECK(pre->div[c] != 0 && isfinite(pre->div[c]) && isfinite(pre->mean[c]), err,
                 CR_ERR_ARGUMENT, "preprocessing divides plane %d by %g with mean %g", c,
                 (double)pre->div[c], (double)pre->mean[c]);
    return CR_OK;
}

cr_status cr_preprocess_run(const cr_preprocess *pre, const cr_image *img, float *out,
                            cr_placement *place, cr_error *err)
{
    CR_TRY(check(pre, img, err));
    cr_placement unused;
    const struct fitting f = fit(pre, img, place ? place : &unused);
    uint8_t *owned = NULL, *resized = NULL;
    const uint8_t *pixels = NULL;
    cr_status st;
    CR_TRY_GOTO(crop(img, &f, &owned, &pixels, err), done);
    resized = cr_malloc((size_t)f.to_w * (size_t)f.to_h * 3);
    if (!resized) {
        st = CR_NOMEM(err);
        goto done;
    }
    CR_TRY_GOTO(cr_resize_linear_u8(pixels, f.from_w, f.from_h, 3, resized, f.to_w, f.to_h, err),
                done);
    for (int c = 0; c < 3; c++) {
        float table[256];
        for (int v = 0; v < 256; v++) table[v] = ((float)v - pre->mean[c]) / pre->div[c];
        write_plane(resized, pre->bgr ? 2 - c : c, &f, pre, table,
                    out + (size_t)c * (size_t)pre->width * (size_t)pre->height);
    }
done:
    cr_free(resized);
    cr_free(owned);
    return st;
}

static float clip(float x, int limit)
{
    const float top = (float)limit;
    return x < 0 ? 0 : x > top ? top : x;
}

void cr_placement_box(const cr_placement *place, float box[4])
{
    for (int i = 0; i < 4; i += 2) {
        box[i] = clip((box[i] - place->pad_x) / place->gain_x, place->src_width);
        box[i + 1] = clip((box[i + 1] - place->pad_y) / place->gain_y, place->src_height);
    }
}
