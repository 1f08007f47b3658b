/* From pixels to the network's input: fit, pad, reorder, scale.
 *
 * Two forms of the same input: letterboxed pixels [height, width, 3] in the network's channel
 * order, and float planes [3, height, width] made of them by (pixel - mean) / div, a subtraction
 * and a division in float32 as NumPy pipelines do. Rows go one by one from the resizer into either;
 * the float form never has a whole resized picture, and a crop is a pointer and a stride.
 *
 * Rejected: a table of 256 floats per plane. It needs a load per value; the division of a vector
 * costs less. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "vision/resize.h"

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

static cr_status check_numbers(const cr_preprocess *pre, cr_error *err)
{
    CR_CHECK(pre->width >= 1 && pre->height >= 1 && pre->width <= MAX_SIDE &&
                 pre->height <= MAX_SIDE,
             err, CR_ERR_ARGUMENT, "a network input of %dx%d pixels; sides are 1 to %d", pre->width,
             pre->height, MAX_SIDE);
    for (int c = 0; c < 3; c++)
        CR_CHECK(pre->div[c] != 0 && isfinite(pre->div[c]) && isfinite(pre->mean[c]), err,
                 CR_ERR_ARGUMENT, "preprocessing divides plane %d by %g with mean %g", c,
                 (double)pre->div[c], (double)pre->mean[c]);
    return CR_OK;
}

static cr_status check(const cr_preprocess *pre, const cr_image *img, cr_error *err)
{
    CR_CHECK(img->rgb && img->width >= 1 && img->height >= 1, err, CR_ERR_ARGUMENT,
             "the picture to preprocess is empty");
    return check_numbers(pre, err);
}

static cr_status open_fitted(cr_resizer *r, const struct fitting *f, const cr_image *img,
                             cr_error *err)
{
    const size_t stride = (size_t)img->width * 3;
    return cr_resizer_open(r, img->rgb + (size_t)f->from_y * stride + (size_t)f->from_x * 3, stride,
                           f->from_w, f->from_h, 3, f->to_w, f->to_h, err);
}

cr_status cr_preprocess_pixels(const cr_preprocess *pre, const cr_image *img, uint8_t *out,
                               cr_placement *place, cr_error *err)
{
    CR_TRY(check(pre, img, err));
    cr_placement unused;
    cr_resizer r;
    const struct fitting f = fit(pre, img, place ? place : &unused);
    CR_TRY(open_fitted(&r, &f, img, err));
    const size_t row = (size_t)pre->width * 3, left = (size_t)f.to_x * 3,
                 inner = (size_t)f.to_w * 3;
    const size_t above = (size_t)f.to_y * row,
                 below = (size_t)(pre->height - f.to_y - f.to_h) * row;
    memset(out, pre->pad, above);
    out += above;
    for (int y = 0; y < f.to_h; y++, out += row) {
        memset(out, pre->pad, left);
        cr_resizer_row(&r, y, out + left);
        if (pre->bgr) r.ops->swap(out + left, (size_t)f.to_w);
        memset(out + left + inner, pre->pad, row - left - inner);
    }
    memset(out, pre->pad, below);
    cr_resizer_close(&r);
    return CR_OK;
}

cr_status cr_preprocess_normalize(const cr_preprocess *pre, const uint8_t *pixels, float *out,
                                  cr_error *err)
{
    CR_TRY(check_numbers(pre, err));
    const size_t n = (size_t)pre->width * (size_t)pre->height;
    float *const planes[3] = {out, out + n, out + 2 * n};
    cr_pixels_choose(cr_cpu_flags())->planes(pixels, n, pre->mean, pre->div, planes);
    return CR_OK;
}

/* Copies of what is filled already, as memcpy is fast at every CPU level. */
static void fill(float *p, size_t n, float value)
{
    enum { SEED = 16, MOST = 1024 };
    size_t done = n < SEED ? n : SEED;
    for (size_t i = 0; i < done; i++) p[i] = value;
    while (done < n) {
        size_t more = done < MOST ? done : MOST;
        if (more > n - done) more = n - done;
        memcpy(p + done, p, more * sizeof *p);
        done += more;
    }
}

/* One plane's border, around what the rows have filled. */
static void fill_border(const cr_preprocess *pre, const struct fitting *f, float value,
                        float *plane)
{
    const size_t width = (size_t)pre->width, left = (size_t)f->to_x, inner = (size_t)f->to_w;
    const size_t above = (size_t)f->to_y * width;
    fill(plane, above, value);
    plane += above;
    for (int y = 0; y < f->to_h; y++, plane += width) {
        fill(plane, left, value);
        fill(plane + left + inner, width - left - inner, value);
    }
    fill(plane, (size_t)(pre->height - f->to_y - f->to_h) * width, value);
}

/* Row y of the inner rectangle; `order` is where R, G and B go. */
static void write_row(const cr_preprocess *pre, const struct fitting *f, cr_resizer *r, int y,
                      const int order[3], uint8_t *row, float *out)
{
    const size_t width = (size_t)pre->width, plane = width * (size_t)pre->height;
    float *const at = out + ((size_t)f->to_y + (size_t)y) * width + (size_t)f->to_x, *planes[3];
    float mean[3], div[3];
    for (int c = 0; c < 3; c++) {
        planes[c] = at + (size_t)order[c] * plane;
        mean[c] = pre->mean[order[c]];
        div[c] = pre->div[order[c]];
    }
    cr_resizer_row(r, y, row);
    r->ops->planes(row, (size_t)f->to_w, mean, div, planes);
}

cr_status cr_preprocess_run(const cr_preprocess *pre, const cr_image *img, float *out,
                            cr_placement *place, cr_error *err)
{
    static const int rgb[3] = {0, 1, 2}, bgr[3] = {2, 1, 0};
    CR_TRY(check(pre, img, err));
    cr_placement unused;
    cr_resizer r;
    const struct fitting f = fit(pre, img, place ? place : &unused);
    CR_TRY(open_fitted(&r, &f, img, err));
    uint8_t *const row = cr_malloc((size_t)f.to_w * 3);
    if (row) {
        const size_t plane = (size_t)pre->width * (size_t)pre->height;
        for (size_t c = 0; c < 3; c++)
            fill_border(pre, &f, ((float)pre->pad - pre->mean[c]) / pre->div[c], out + c * plane);
        for (int y = 0; y < f.to_h; y++) write_row(pre, &f, &r, y, pre->bgr ? bgr : rgb, row, out);
    }
    cr_free(row);
    cr_resizer_close(&r);
    return row ? CR_OK : CR_NOMEM(err);
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
