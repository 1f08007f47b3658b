/* Pictures in memory: creation, format dispatch by content (never by file name), orientation.
 *
 * Bytes from outside enter the library here. A decoder gets a bounded block of memory, not a
 * stream, so that all its reads can be checked against one length. */
#include "crayon/image.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "vision/image_codec.h"

cr_status cr_image_check_size(const char *name, uint64_t width, uint64_t height, cr_error *err)
{
    const bool ok = width >= 1 && height >= 1 && width <= CR_IMAGE_MAX_PIXELS &&
                    height <= CR_IMAGE_MAX_PIXELS && width * height <= CR_IMAGE_MAX_PIXELS;
    CR_CHECK(ok, err, CR_ERR_LIMIT, "%s: %llux%llu pixels; between 1 and %zu can be read", name,
             (unsigned long long)width, (unsigned long long)height, CR_IMAGE_MAX_PIXELS);
    return CR_OK;
}

cr_status cr_image_alloc(int width, int height, cr_image *out, cr_error *err)
{
    *out = (cr_image){0};
    CR_CHECK(width >= 1 && height >= 1, err, CR_ERR_ARGUMENT, "a picture of %dx%d pixels", width,
             height);
    CR_TRY(cr_image_check_size("new picture", (uint64_t)width, (uint64_t)height, err));
    out->rgb = cr_malloc((size_t)width * (size_t)height * 3);
    if (!out->rgb) return CR_NOMEM(err);
    out->width = width;
    out->height = height;
    return CR_OK;
}

cr_status cr_image_create(int width, int height, cr_image *out, cr_error *err)
{
    CR_TRY(cr_image_alloc(width, height, out, err));
    memset(out->rgb, 0, (size_t)width * (size_t)height * 3);
    return CR_OK;
}

void cr_image_free(cr_image *img)
{
    if (!img) return;
    cr_free(img->rgb);
    *img = (cr_image){0};
}

static void reverse(uint8_t *first, size_t pixels)
{
    uint8_t *last = first + 3 * pixels;
    while (first + 3 < last) {
        uint8_t pixel[3];
        last -= 3;
        memcpy(pixel, first, 3);
        memcpy(first, last, 3);
        memcpy(last, pixel, 3);
        first += 3;
    }
}

/* EXIF 2: mirrored, 3: by half a turn, 4: both. */
static void mirror(cr_image *img, int orientation)
{
    const size_t w = (size_t)img->width, h = (size_t)img->height;
    if (orientation != 2) reverse(img->rgb, w * h);
    for (size_t y = 0; orientation != 3 && y < h; y++) reverse(img->rgb + 3 * y * w, w);
}

/* Where the pixels of a transposed picture come from: target (x, y) is at
 * first + x * step_x + y * step_y of the stored one, in pixels. */
struct turn {
    ptrdiff_t first, step_x, step_y;
};

/* EXIF 5..8 of a picture stored w pixels wide and h high. */
static struct turn find_turn(int orientation, ptrdiff_t w, ptrdiff_t h)
{
    switch (orientation) {
    case 5:
        return (struct turn){0, w, 1};
    case 6:
        return (struct turn){w * (h - 1), -w, 1};
    case 7:
        return (struct turn){w * h - 1, -w, -1};
    default:
        return (struct turn){w - 1, w, -1};
    }
}

/* By tiles: walking down the columns of a whole picture would miss the cache at every pixel. */
static void turn_pixels(const uint8_t *src, const struct turn *t, const cr_image *out)
{
    enum { TILE = 32 };
    const ptrdiff_t w = out->width, h = out->height;
    for (ptrdiff_t y0 = 0; y0 < h; y0 += TILE) {
        const ptrdiff_t rows = h - y0 < TILE ? h : y0 + TILE;
        for (ptrdiff_t x0 = 0; x0 < w; x0 += TILE) {
            const ptrdiff_t n = w - x0 < TILE ? w - x0 : TILE;
            for (ptrdiff_t y = y0; y < rows; y++) {
                const uint8_t *from = src + 3 * (t->first + x0 * t->step_x + y * t->step_y);
                uint8_t *to = out->rgb + 3 * (y * w + x0);
                for (ptrdiff_t x = 0; x < n; x++) memcpy(to + 3 * x, from + 3 * x * t->step_x, 3);
            }
        }
    }
}

cr_status cr_image_orient(cr_image *img, int orientation, cr_error *err)
{
    if (orientation < 2 || orientation > 8) return CR_OK;
    if (orientation <= 4) {
        mirror(img, orientation);
        return CR_OK;
    }
    const struct turn turn = find_turn(orientation, img->width, img->height);
    cr_image turned;
    CR_TRY(cr_image_alloc(img->height, img->width, &turned, err));
    turn_pixels(img->rgb, &turn, &turned);
    cr_image_free(img);
    *img = turned;
    return CR_OK;
}

static const char *describe(const uint8_t *p, size_t n)
{
    if (n == 0) return "the file is empty";
    if (n >= 2 && p[0] == 'B' && p[1] == 'M') return "this is a BMP picture";
    if (n >= 4 && !memcmp(p, "GIF8", 4)) return "this is a GIF picture";
    if (n >= 12 && !memcmp(p, "RIFF", 4) && !memcmp(p + 8, "WEBP", 4))
        return "this is a WebP picture";
    const size_t head = n < 64 ? n : 64;
    for (size_t i = 0; i < head; i++)
        if (!isprint(p[i]) && !isspace(p[i])) return "the content is neither";
    return "the file holds text";
}

cr_status cr_image_decode(const void *bytes, size_t size, const char *name, cr_image *out,
                          cr_error *err)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const uint8_t *p = bytes;
    int orientation = 1;
    *out = (cr_image){0};
    CR_CHECK(size <= CR_IMAGE_MAX_BYTES, err, CR_ERR_LIMIT,
             "%s: more than the limit of %zu bytes for a picture", name, CR_IMAGE_MAX_BYTES);
    cr_status st;
    if (size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff)
        st = cr_jpeg_decode(p, size, name, out, &orientation, err);
    else if (size >= sizeof png && !memcmp(p, png, sizeof png))
        st = cr_png_decode(p, size, name, out, &orientation, err);
    else
        return cr_fail(err, CR_ERR_FORMAT, "%s: not a JPEG or PNG picture: %s", name,
                       describe(p, size));
    if (st == CR_OK) st = cr_image_orient(out, orientation, err);
    if (st != CR_OK) cr_image_free(out);
    return st;
}

cr_status cr_image_write(const char *path, const cr_image *img, cr_error *err)
{
    const char *dot = strrchr(path, '.');
    const bool jpeg = dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
    CR_CHECK(jpeg || (dot && !strcasecmp(dot, ".png")), err, CR_ERR_ARGUMENT,
             "%s: pictures are written as .jpg or .png", path);
    CR_CHECK(img->rgb && img->width >= 1 && img->height >= 1, err, CR_ERR_ARGUMENT,
             "%s: the picture to write is empty", path);
    cr_outfile *f;
    CR_TRY(cr_outfile_open(path, &f, err));
    FILE *const stream = cr_outfile_stream(f);
    const cr_status st =
        jpeg ? cr_jpeg_encode(stream, path, img, err) : cr_png_encode(stream, path, img, err);
    if (st == CR_OK) return cr_outfile_commit(&f, err);
    cr_outfile_abort(&f);
    return st;
}
